//! The tables: what a provider calls an error, and what that means. Nothing else is here.
//!
//! A row is there because a standard or the provider's own documentation says so, named above it; the test of the tables
//! has a case for each. What the documentation leaves open has no row, and is transient.

use std::ops::RangeInclusive;

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// Only the person can go on, by signing in again.
    InvalidGrant,
    OurClient,
    Unauthorized,
    Forbidden,
    Missing,
    /// Too many requests, or a failure of theirs.
    Busy,
}

use Means::{Busy, Forbidden, InvalidGrant, OurClient, Unauthorized};

/// Errors that have names.
pub(super) type Names = [(&'static str, Means)];
/// Errors that have numbers.
pub(super) type Codes = [(RangeInclusive<i64>, Means)];

/// The token endpoint's errors, in an answer of any status but the excused ones.
pub(super) const TOKEN_ERRORS: &Names = &[
    // RFC 6749 §5.2. `invalid_request`, `unsupported_grant_type` and `invalid_scope` blame the request: nobody is refused.
    ("invalid_grant", InvalidGrant),
    ("invalid_client", OurClient),
    ("unauthorized_client", OurClient),
    // Fitbit and Strava have the errors of an API (RFC 6750 §3.1) at the token endpoint too: it is the refresh token's.
    ("invalid_token", InvalidGrant),
    ("expired_token", InvalidGrant),
    // RFC 6749 §4.1.2.1; Microsoft has it at the token endpoint too.
    ("temporarily_unavailable", Busy),
    // OpenID Connect Core §3.1.2.6; Microsoft has them at the token endpoint too: a second factor, a consent withdrawn.
    ("interaction_required", InvalidGrant),
    ("login_required", InvalidGrant),
    ("consent_required", InvalidGrant),
    ("account_selection_required", InvalidGrant),
    // Google: an administrator no longer allows the app; the client was deleted or disabled.
    ("admin_policy_enforced", InvalidGrant),
    ("deleted_client", OurClient),
    ("disabled_client", OurClient),
    // GitHub and Google
    ("redirect_uri_mismatch", OurClient),
    // GitHub, with status 200
    ("bad_refresh_token", InvalidGrant),
    ("bad_verification_code", InvalidGrant),
    ("unverified_user_email", InvalidGrant),
    ("incorrect_client_credentials", OurClient),
    // Slack, with status 200 and `ok: false`
    ("invalid_refresh_token", InvalidGrant),
    ("invalid_code", InvalidGrant),
    ("code_already_used", InvalidGrant),
    ("invalid_code_verifier", InvalidGrant),
    ("token_revoked", InvalidGrant),
    ("token_expired", InvalidGrant),
    ("account_inactive", InvalidGrant),
    ("user_email_unverified", InvalidGrant),
    ("bad_client_secret", OurClient),
    ("bad_redirect_uri", OurClient),
    ("ratelimited", Busy),
    ("internal_error", Busy),
    ("fatal_error", Busy),
    ("service_unavailable", Busy),
    ("request_timeout", Busy),
    // Slack: the workspace moves into an organisation, and is away meanwhile.
    ("org_login_required", Busy),
    ("team_added_to_org", Busy),
    // Slack and Salesforce
    ("invalid_client_id", OurClient),
    // Salesforce
    ("inactive_user", InvalidGrant),
    ("inactive_org", InvalidGrant),
    ("invalid_client_credentials", OurClient),
    ("rate_limit_exceeded", Busy),
    // HubSpot, as `status`
    ("BAD_REFRESH_TOKEN", InvalidGrant),
    ("BAD_AUTH_CODE", InvalidGrant),
    ("BAD_CLIENT_ID", OurClient),
    ("BAD_CLIENT_SECRET", OurClient),
];

/// Microsoft's `error_codes` (AADSTS…) that are passing whatever `error` stands beside them: 50196 comes with
/// `invalid_grant`. Only to excuse: Microsoft may change these numbers, and wants nobody refused by them.
pub(super) const MICROSOFT_TOKEN_CODES: &Codes = &[
    (50_033..=50_033, Busy), // a transient error
    (50_087..=50_087, Busy), // temporarily unavailable
    (50_196..=50_196, Busy), // too many of the same request
    (70_012..=70_012, Busy), // a server error for a personal account
    (90_006..=90_006, Busy), // temporarily unavailable
    (90_012..=90_012, Busy), // timed out
    (90_024..=90_024, Busy), // a transient error
    (90_033..=90_033, Busy), // the directory is not available
    (90_055..=90_055, Busy), // too many requests of this tenant
    (90_090..=90_090, Busy), // temporarily unavailable
];

/// Meta's `error.code` where a token is asked for: its long-lived token takes the refresh token's place.
pub(super) const META_TOKEN_CODES: &Codes = &[
    (190..=190, InvalidGrant), // as in the API, below
    (102..=102, InvalidGrant), // session ended
    (101..=101, OurClient),    // no such app
];

/// An API's errors, in an answer with status 200 that holds one, or with a status (400 to 499) that says less.
pub(super) const API_ERRORS: &Names = &[
    // RFC 6750 §3.1, where the status does not say it (Mailchimp's metadata)
    ("invalid_token", Unauthorized),
    ("insufficient_scope", Forbidden),
    // The same, as others write it: Fitbit, GitLab, Zoho
    ("expired_token", Unauthorized),
    ("invalid_access_token", Unauthorized),
    ("INVALID_TOKEN", Unauthorized),
    // Microsoft Graph
    ("InvalidAuthenticationToken", Unauthorized),
    ("AuthenticationError", Unauthorized),
    // HubSpot, as `category`
    ("INVALID_AUTHENTICATION", Unauthorized),
    ("EXPIRED_AUTHENTICATION", Unauthorized),
    // QuickBooks, as `fault.type`
    ("AUTHENTICATION", Unauthorized),
    // Keys: Stripe, Klaviyo, SendGrid, and what is usual
    ("authentication_error", Unauthorized),
    ("authentication_failed", Unauthorized),
    ("not_authenticated", Unauthorized),
    ("invalid_api_key", Unauthorized),
    ("api_key_expired", Unauthorized),
    ("InvalidApiKey", Unauthorized),
    // Slack, beside `ok: false`
    ("invalid_auth", Unauthorized),
    ("not_authed", Unauthorized),
    ("token_revoked", Unauthorized),
    ("token_expired", Unauthorized),
    ("account_inactive", Unauthorized),
    ("access_denied", Forbidden),
    ("missing_scope", Forbidden),
    ("no_permission", Forbidden),
    ("team_access_not_granted", Forbidden),
    ("ratelimited", Busy),
    ("internal_error", Busy),
    ("fatal_error", Busy),
    ("service_unavailable", Busy),
    ("request_timeout", Busy),
    ("org_login_required", Busy),
    ("team_added_to_org", Busy),
    // Shopify
    ("ACCESS_DENIED", Forbidden),
    ("THROTTLED", Busy),
    // Apollo
    ("UNAUTHENTICATED", Unauthorized),
    ("FORBIDDEN", Forbidden),
];

/// Names that say "not with this credential" beside any status but 403, where they may be about what was asked for.
pub(super) const UNAUTHORIZED_NAMES: &Names =
    &[("unauthorized", Unauthorized), ("Unauthorized", Unauthorized), ("UNAUTHORIZED", Unauthorized)];

/// The schemes of RFC 9110 §11 by which an API is shown a token.
pub(super) const TOKEN_SCHEMES: [&str; 3] = ["bearer", "oauth", "token"];
/// Those by which people and machines sign in to a network: a proxy's, where the call was signed in another way.
pub(super) const LOGIN_SCHEMES: [&str; 5] = ["basic", "digest", "negotiate", "ntlm", "kerberos"];

/// Names of a provider's own for an error, beside a status (400 to 499) which says less: they go before the others.
pub(super) const NAMED_API_ERRORS: &Names = &[
    // Google, with status 400: https://cloud.google.com/docs/authentication/api-keys-errors
    ("API_KEY_INVALID", Unauthorized),
    ("API_KEY_EXPIRED", Unauthorized),
    ("ACCESS_TOKEN_EXPIRED", Unauthorized),
    ("authError", Unauthorized),
    // Google's quotas, with status 403: `reason`, `domain` or `status`
    ("rateLimitExceeded", Busy),
    ("userRateLimitExceeded", Busy),
    ("sharingRateLimitExceeded", Busy),
    ("quotaExceeded", Busy),
    ("dailyLimitExceeded", Busy),
    ("concurrentLimitExceeded", Busy),
    ("RATE_LIMIT_EXCEEDED", Busy),
    ("QUOTA_EXCEEDED", Busy),
    ("RESOURCE_QUOTA_EXCEEDED", Busy),
    ("RESOURCE_EXHAUSTED", Busy),
    // Google, with status 403: the project of this server's OAuth client has the API switched off, or is itself switched off.
    ("accessNotConfigured", OurClient),
    ("SERVICE_DISABLED", OurClient),
    ("CONSUMER_SUSPENDED", OurClient),
    ("CONSUMER_INVALID", OurClient),
    // Google's older domain of quotas; it speaks of the API that is switched off too, by a reason above.
    ("usageLimits", Busy),
    // Google Ads: the developer token is this server's, and so is the project with its organisation.
    ("DEVELOPER_TOKEN_INVALID", OurClient),
    ("DEVELOPER_TOKEN_NOT_APPROVED", OurClient),
    ("DEVELOPER_TOKEN_NOT_ON_ALLOWLIST", OurClient),
    ("DEVELOPER_TOKEN_PROHIBITED", OurClient),
    ("PROJECT_DISABLED", OurClient),
    ("CLOUD_PROJECT_NOT_UNDER_ORGANIZATION", OurClient),
    ("ORGANIZATION_NOT_RECOGNIZED", OurClient),
    ("ORGANIZATION_NOT_APPROVED", OurClient),
    ("ORGANIZATION_NOT_ASSOCIATED_WITH_DEVELOPER_TOKEN", OurClient),
    // Salesforce
    ("INVALID_SESSION_ID", Unauthorized),
    ("API_DISABLED_FOR_ORG", Forbidden),
    ("REQUEST_LIMIT_EXCEEDED", Busy),
];

/// Meta's `error.code` of its API, whatever the status (mostly 400).
pub(super) const META_API_CODES: &Codes = &[
    (1..=2, Busy),             // unknown, service unavailable
    (4..=4, Busy),             // the app's rate
    (17..=17, Busy),           // the user's rate
    (32..=32, Busy),           // the page's rate
    (341..=341, Busy),         // the app's limit
    (368..=368, Busy),         // blocked for a while, by policy
    (613..=613, Busy),         // a call's own rate
    (80_000..=80_014, Busy),   // business use cases
    (102..=102, Unauthorized), // session ended
    // Subcodes say how it ended: 458 app removed, 459 and 464 the person has to sign in to Facebook, 460 password changed,
    // 463 expired, 467 invalid, 492 no role on the page any more.
    (190..=190, Unauthorized),
    (10..=10, Forbidden),   // permission not granted or removed
    (200..=299, Forbidden), // a permission is missing
];

/// Microsoft Advertising's `Errors[0].Code`, mostly with status 400.
pub(super) const MICROSOFT_ADS_CODES: &Codes = &[
    (106..=106, Forbidden),    // the user may not do this with that account
    (109..=109, Unauthorized), // token expired
    (117..=117, Busy),         // calls a minute
    (207..=207, Busy),         // calls at once
];

/// The errors of a revocation endpoint that say that there is nothing left to revoke. RFC 7009 §2.2 wants 200 for them.
pub(super) const ALREADY_REVOKED: &[&str] = &[
    // Google
    "invalid_token",
    // whoever answers as the token endpoint does
    "invalid_grant",
    // Slack
    "token_revoked",
    "token_expired",
    "invalid_auth",
    "account_inactive",
];

pub(super) fn by_name(table: &Names, name: &str) -> Option<Means> {
    table.iter().find(|(listed, _)| *listed == name).map(|(_, means)| *means)
}

pub(super) fn by_code(table: &Codes, code: i64) -> Option<Means> {
    table.iter().find(|(listed, _)| listed.contains(&code)).map(|(_, means)| *means)
}
