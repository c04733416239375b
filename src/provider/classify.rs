//! What an answer means: the one table from what a provider said to what is done about it.
//!
//! An answer is judged by where it came from, its status, its headers and its body, into works (`Ok`), or a [`Failure`].
//! The order is always the same: the status that excuses everything (5xx, 408, 429), then what the body says, then the
//! status. Whatever no row knows is transient: better to ask again than to call a person for nothing.
//!
//! No message quotes a body or a header. Waiting and asking again are the jobs', what becomes of a connection is the
//! lifecycle's.

use std::{ops::RangeInclusive, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use serde_json::Value;

use super::{
    outbound::{Answer, NoAnswer},
    patience,
};

/// Why something asked of a provider did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing is known to be wrong: ask again later, flag nobody.
    #[error("{what}")]
    Transient {
        /// The provider's own wish; it goes before any other pace.
        retry_after: Option<Duration>,
        /// Safe to show and to log: no secret, nothing of the answer's body.
        what: String,
    },
    #[error("{0}")]
    Rejected(Rejection),
    /// The provider does not accept this server's OAuth client: no person can mend that by signing in again.
    #[error("the provider refuses this server's OAuth client")]
    OurClientRejected,
}

/// What the provider will not accept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The token endpoint: this refresh token, or this code, is not valid (any more).
    #[error("the provider refuses the grant")]
    InvalidGrant,
    /// The API: this token, key or password is not valid (any more).
    #[error("the provider refuses the credential")]
    Unauthorized,
    /// The API: the credential is valid, but not for this.
    #[error("the provider denies access")]
    Forbidden,
    /// The API: there is nothing at this address.
    #[error("the provider finds nothing there")]
    Missing,
}

impl Failure {
    /// A transient failure with that explanation, which must be safe to show.
    pub(super) fn transient(what: impl Into<String>) -> Self {
        Self::Transient { retry_after: None, what: what.into() }
    }
}

impl From<NoAnswer> for Failure {
    fn from(why: NoAnswer) -> Self {
        Self::transient(format!("the provider {why}"))
    }
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    InvalidGrant,
    OurClient,
    Unauthorized,
    Forbidden,
    /// Too many requests, or a failure of theirs.
    Busy,
}

/// The token endpoint's `error` (or what takes its place), in an answer of any status but the excused ones.
const TOKEN_ERRORS: &[(&str, Means)] = &[
    // RFC 6749 §5.2
    ("invalid_grant", Means::InvalidGrant),
    ("invalid_client", Means::OurClient),
    ("unauthorized_client", Means::OurClient),
    // GitHub, with status 200
    ("bad_refresh_token", Means::InvalidGrant),
    ("bad_verification_code", Means::InvalidGrant),
    ("incorrect_client_credentials", Means::OurClient),
    // Slack, with status 200 and `ok: false`
    ("invalid_refresh_token", Means::InvalidGrant),
    ("invalid_code", Means::InvalidGrant),
    ("code_already_used", Means::InvalidGrant),
    ("invalid_client_id", Means::OurClient),
    ("bad_client_secret", Means::OurClient),
    // HubSpot, as `status`
    ("BAD_REFRESH_TOKEN", Means::InvalidGrant),
    ("BAD_AUTH_CODE", Means::InvalidGrant),
    ("BAD_CLIENT_ID", Means::OurClient),
    ("BAD_CLIENT_SECRET", Means::OurClient),
];

/// Meta's `error.code` where a token is asked for: its long-lived token takes the refresh token's place.
const META_TOKEN_ERRORS: &[(RangeInclusive<i64>, Means)] =
    &[(190..=190, Means::InvalidGrant), (102..=102, Means::InvalidGrant), (101..=101, Means::OurClient)];

/// An API's error in an answer with status 200: Slack's `error` beside `ok: false`, and the `extensions.code` of GraphQL
/// APIs (Shopify's and Apollo's).
const API_ERRORS: &[(&str, Means)] = &[
    // Slack
    ("invalid_auth", Means::Unauthorized),
    ("not_authed", Means::Unauthorized),
    ("token_revoked", Means::Unauthorized),
    ("token_expired", Means::Unauthorized),
    ("account_inactive", Means::Unauthorized),
    ("missing_scope", Means::Forbidden),
    ("no_permission", Means::Forbidden),
    ("ratelimited", Means::Busy),
    // Shopify
    ("ACCESS_DENIED", Means::Forbidden),
    ("THROTTLED", Means::Busy),
    // Apollo
    ("UNAUTHENTICATED", Means::Unauthorized),
    ("FORBIDDEN", Means::Forbidden),
];

/// Meta's `error.code` of its API, whatever the status (mostly 400).
const META_API_ERRORS: &[(RangeInclusive<i64>, Means)] = &[
    (1..=2, Means::Busy),             // unknown, service unavailable
    (4..=4, Means::Busy),             // the app's rate
    (17..=17, Means::Busy),           // the user's rate
    (32..=32, Means::Busy),           // the page's rate
    (341..=341, Means::Busy),         // the app's limit
    (613..=613, Means::Busy),         // a call's own rate
    (80_000..=80_014, Means::Busy),   // business use cases
    (102..=102, Means::Unauthorized), // session ended
    (190..=190, Means::Unauthorized), // token expired or revoked
    (10..=10, Means::Forbidden),      // permission not granted or removed
    (200..=299, Means::Forbidden),    // a permission is missing
];

/// Names that some APIs give their errors beside a status which says less; see [`own_names`].
const NAMED_API_ERRORS: &[(&str, Means)] = &[
    // Google Ads: the token is this server's
    ("DEVELOPER_TOKEN_INVALID", Means::OurClient),
    ("DEVELOPER_TOKEN_NOT_APPROVED", Means::OurClient),
    ("DEVELOPER_TOKEN_PROHIBITED", Means::OurClient),
    // Salesforce, with status 403
    ("REQUEST_LIMIT_EXCEEDED", Means::Busy),
];

/// Microsoft Advertising's `Errors[0].Code`, mostly with status 400.
const MICROSOFT_ADS_ERRORS: &[(RangeInclusive<i64>, Means)] = &[
    (106..=106, Means::Forbidden),    // the user may not do this with that account
    (109..=109, Means::Unauthorized), // token expired
    (117..=117, Means::Busy),         // calls a minute
    (207..=207, Means::Busy),         // calls at once
];

/// What in a 403 of Google's speaks of a quota: `error.errors[].reason` or `.domain`, `error.status`, `error.details[].reason`.
const GOOGLE_QUOTA: &[&str] = &[
    "usageLimits",
    "rateLimitExceeded",
    "userRateLimitExceeded",
    "sharingRateLimitExceeded",
    "quotaExceeded",
    "dailyLimitExceeded",
    "concurrentLimitExceeded",
    "RESOURCE_EXHAUSTED",
    "RATE_LIMIT_EXCEEDED",
    "QUOTA_EXCEEDED",
];

/// The errors of a revocation endpoint that say that there is nothing left to revoke. RFC 7009 §2.2 wants 200 for them.
const ALREADY_REVOKED: &[&str] = &["invalid_token", "invalid_grant", "token_revoked", "token_expired", "invalid_auth"];

/// The token endpoint's answer (RFC 6749 §5), to a code, a refresh token or an exchange. `Ok`: it holds an access token.
pub(super) fn token_answer(answer: &Answer, now: DateTime<Utc>) -> Result<Value, Failure> {
    excused(answer, now)?;
    let body = document(answer)?;
    let means = match meta_code(&body) {
        Some(code) => in_ranges(META_TOKEN_ERRORS, code),
        None => error_name(&body).or(body["status"].as_str()).and_then(|name| by_name(TOKEN_ERRORS, name)),
    };
    if let Some(means) = means {
        return Err(failure(means, answer, now));
    }
    let granted = body["access_token"].as_str().is_some_and(|token| !token.is_empty());
    if answer.status.is_success() && granted && !holds_error(&body) { Ok(body) } else { Err(unlisted(answer)) }
}

/// The answer of an API: identity, accounts, a probe. `Ok`: it works, and this is what it said (null for 204).
pub(super) fn api_answer(answer: &Answer, now: DateTime<Utc>) -> Result<Value, Failure> {
    excused(answer, now)?;
    if answer.status == StatusCode::NO_CONTENT {
        return Ok(Value::Null);
    }
    let body = parsed(answer);
    let said = body.as_ref().and_then(|body| said(answer.status, body));
    match (said, answer.status) {
        // Whoever was asked did not see the credential.
        (refused, status) if answer.anonymous && (refused.is_some() || !status.is_success()) => Err(unlisted(answer)),
        (Some(means), _) => Err(failure(means, answer, now)),
        (None, StatusCode::UNAUTHORIZED) => Err(failure(Means::Unauthorized, answer, now)),
        (None, StatusCode::FORBIDDEN) if speaks_of_quota(answer, body.as_ref()) => {
            Err(failure(Means::Busy, answer, now))
        }
        (None, StatusCode::FORBIDDEN) => Err(failure(Means::Forbidden, answer, now)),
        (None, status) if status.is_success() => match body {
            Some(body) if !holds_error(&body) => Ok(body),
            Some(_) => Err(Failure::transient("the provider answered with an error")),
            None => Err(Failure::transient("the provider answered with something that is not JSON")),
        },
        (None, _) => Err(unlisted(answer)),
    }
}

/// What an API's body says, where it says it in a way that is known.
fn said(status: StatusCode, body: &Value) -> Option<Means> {
    if let Some(code) = meta_code(body) {
        return in_ranges(META_API_ERRORS, code);
    }
    if let Some(code) = body["Errors"][0]["Code"].as_i64() {
        return in_ranges(MICROSOFT_ADS_ERRORS, code);
    }
    if status.is_success() {
        return error_name(body).and_then(|name| by_name(API_ERRORS, name));
    }
    own_names(body).find_map(|name| by_name(NAMED_API_ERRORS, name))
}

/// The revocation endpoint's answer (RFC 7009 §2.2). `Ok`: the token is revoked, or was not valid any more.
pub(super) fn revocation_answer(answer: &Answer, now: DateTime<Utc>) -> Result<(), Failure> {
    excused(answer, now)?;
    let body = parsed(answer).unwrap_or_default();
    match error_name(&body) {
        Some(name) if ALREADY_REVOKED.contains(&name) => Ok(()),
        Some(name) if by_name(TOKEN_ERRORS, name) == Some(Means::OurClient) => Err(Failure::OurClientRejected),
        None if answer.status.is_success() => Ok(()),
        _ => Err(unlisted(answer)),
    }
}

/// 5xx whatever the body, 408, 429: transient, and the body is not even read.
fn excused(answer: &Answer, now: DateTime<Utc>) -> Result<(), Failure> {
    let excused = answer.status.is_server_error()
        || matches!(answer.status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if excused { Err(failure(Means::Busy, answer, now)) } else { Ok(()) }
}

/// The body of an answer that should be JSON whatever its status; a redirect's is nobody's word.
fn document(answer: &Answer) -> Result<Value, Failure> {
    if answer.status.is_redirection() {
        return Err(unlisted(answer));
    }
    parsed(answer).ok_or_else(|| {
        Failure::transient(format!("the provider answered {} with something that is not JSON", answer.status.as_u16()))
    })
}

fn parsed(answer: &Answer) -> Option<Value> {
    serde_json::from_slice(&answer.body).ok()
}

fn failure(means: Means, answer: &Answer, now: DateTime<Utc>) -> Failure {
    match means {
        Means::InvalidGrant => Failure::Rejected(Rejection::InvalidGrant),
        Means::OurClient => Failure::OurClientRejected,
        Means::Unauthorized => Failure::Rejected(Rejection::Unauthorized),
        Means::Forbidden => Failure::Rejected(Rejection::Forbidden),
        Means::Busy => Failure::Transient {
            retry_after: patience::retry_after(&answer.headers, now),
            what: match answer.status {
                status if status.is_server_error() => format!("the provider answered {}", status.as_u16()),
                StatusCode::REQUEST_TIMEOUT => "the provider answered 408".to_owned(),
                _ => "the provider asks to wait".to_owned(),
            },
        },
    }
}

fn unlisted(answer: &Answer) -> Failure {
    Failure::transient(format!("the provider answered {} and no reason that is known", answer.status.as_u16()))
}

fn by_name(table: &[(&str, Means)], name: &str) -> Option<Means> {
    table.iter().find(|(listed, _)| *listed == name).map(|(_, means)| *means)
}

fn in_ranges(table: &[(RangeInclusive<i64>, Means)], code: i64) -> Option<Means> {
    table.iter().find(|(listed, _)| listed.contains(&code)).map(|(_, means)| *means)
}

/// The name of the error in a body: `error` as a text (RFC 6749 §5.2, Slack, GitHub), or the code of the first GraphQL
/// error where there is no data.
fn error_name(body: &Value) -> Option<&str> {
    let in_graphql = || body["errors"][0]["extensions"]["code"].as_str().filter(|_| body["data"].is_null());
    body["error"].as_str().filter(|name| !name.is_empty()).or_else(in_graphql)
}

/// The names of the errors in a body: Google Ads' `error.details[].errors[].errorCode.KIND`, Salesforce's
/// `[].errorCode`.
fn own_names(body: &Value) -> impl Iterator<Item = &str> {
    let google_ads = members(&body["error"]["details"])
        .flat_map(|detail| members(&detail["errors"]))
        .filter_map(|error| error["errorCode"].as_object())
        .flat_map(|code| code.values());
    let salesforce = members(body).map(|error| &error["errorCode"]);
    google_ads.chain(salesforce).filter_map(Value::as_str)
}

fn members(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Meta's number: `{"error": {"type": "OAuthException", "code": 190, "fbtrace_id": …}}`.
fn meta_code(body: &Value) -> Option<i64> {
    let error = &body["error"];
    let is_meta = error["fbtrace_id"].is_string() || error["type"] == "OAuthException";
    error["code"].as_i64().filter(|_| is_meta)
}

/// Whether a body is an error although its status may be 200. `{"error": {"code": "ok"}}` (TikTok) is none.
fn holds_error(body: &Value) -> bool {
    let fine = |code: &Value| code == "ok" || code == 0;
    let error = match &body["error"] {
        Value::String(text) => !text.is_empty(),
        Value::Object(error) => !error.is_empty() && !error.get("code").is_some_and(fine),
        _ => false,
    };
    let in_graphql = body["errors"].as_array().is_some_and(|errors| !errors.is_empty()) && body["data"].is_null();
    error || in_graphql || body["ok"] == false
}

/// Whether a 403 is about how often, not about who. Meta says so by its codes, which are read before.
fn speaks_of_quota(answer: &Answer, body: Option<&Value>) -> bool {
    patience::names_an_end(&answer.headers) || body.is_some_and(|body| google_quota(body) || github_quota(body))
}

fn google_quota(body: &Value) -> bool {
    let error = &body["error"];
    let named =
        |list: &'static str, name: &'static str| members(&error[list]).filter_map(move |member| member[name].as_str());
    named("errors", "reason")
        .chain(named("errors", "domain"))
        .chain(named("details", "reason"))
        .chain(error["status"].as_str())
        .any(|reason| GOOGLE_QUOTA.contains(&reason))
}

/// GitHub's secondary limit has no code, only `{"message": "You have exceeded a secondary rate limit …"}`.
fn github_quota(body: &Value) -> bool {
    body["message"].as_str().is_some_and(|message| message.to_ascii_lowercase().contains("rate limit"))
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
