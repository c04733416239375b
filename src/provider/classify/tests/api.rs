//! An API, answer by answer: RFC 6750 §3.1, and how providers bend it.

use super::*;

fn cases() -> Vec<Case> {
    let by_endpoint = [
        by_status(),
        by_gateways(),
        told_otherwise(),
        by_challenge(),
        by_google(),
        by_meta_and_microsoft(),
        by_others(),
        in_answers_with_200(),
        missing(),
    ];
    by_endpoint.into_iter().flatten().collect()
}

fn by_status() -> Vec<Case> {
    let with = |headers, status, body: &str, verdict| Case { headers, ..case(status, body, verdict) };
    vec![
        case(200, r#"{"id": 1}"#, "works"),
        case(200, "[]", "works"),
        case(200, r#""pong""#, "works"),
        case(204, "", "works"),
        case(401, r#"{"error": "rate limit"}"#, "unauthorized"),
        // RFC 6750 §3.1, whose names stand beside a status that says it already
        case(401, r#"{"error": "invalid_token"}"#, "unauthorized"),
        case(403, r#"{"error": "insufficient_scope"}"#, "forbidden"),
        // A 403 that promises an end
        with(&[("x-ratelimit-remaining", "0")], 403, r#"{"message": "no"}"#, "wait"),
        with(&[("x-ratelimit-remaining", "12")], 403, r#"{"message": "no"}"#, "forbidden"),
        with(&[("retry-after", "60")], 403, "", "wait"),
        // The status excuses.
        case(500, r#"{"ok": false, "error": "invalid_auth"}"#, "transient"),
        case(502, meta(190), "transient"),
        case(503, "", "transient"),
        case(408, "", "transient"),
        case(429, r#"{"error": "invalid_auth"}"#, "wait"),
        // Unparsable, or not listed
        case(200, "<html>Sign in</html>", "transient"),
        case(200, "", "transient"),
        case(302, "", "transient"),
        case(402, r#"{"message": "Payment Required"}"#, "transient"),
        case(423, r#"{"errors": "Locked"}"#, "transient"),
    ]
}

/// What stands in front of an API refuses in its own name: its page is nobody's verdict.
fn by_gateways() -> Vec<Case> {
    let with = |headers, status, body: &str, verdict| Case { headers, ..case(status, body, verdict) };
    let json = r#"{"message": "no"}"#;
    vec![
        case(401, "", "transient"),
        case(401, "<!DOCTYPE html><title>Sign in</title>", "transient"),
        case(401, "\u{feff}  <html>", "transient"),
        case(401, "Forbidden", "unauthorized"), // Mailgun
        case(401, "{}", "unauthorized"),
        case(403, "", "transient"),
        case(403, "<html>", "transient"),
        case(403, "Access denied", "transient"),
        case(403, "{}", "transient"),
        case(403, json, "forbidden"),
        with(&[("content-type", "text/html; charset=utf-8")], 401, "Blocked", "transient"),
        with(&[("content-type", "text/html")], 403, json, "transient"),
        with(&[("cf-mitigated", "challenge")], 403, json, "transient"),
        with(&[("cf-mitigated", "challenge")], 401, json, "transient"),
        // Whoever wants to be signed in to in another way is a proxy.
        with(&[("www-authenticate", "Basic realm=\"proxy\"")], 401, json, "transient"),
        with(&[("www-authenticate", "Negotiate, NTLM")], 403, json, "transient"),
        with(&[("www-authenticate", "Digest realm=\"a, b\", nonce=\"c\"")], 401, "", "transient"),
        with(&[("www-authenticate", "Bearer realm=\"api\"")], 401, "", "unauthorized"),
        with(&[("www-authenticate", "Basic realm=\"x\", Bearer")], 401, json, "unauthorized"),
        with(&[("www-authenticate", "OAuth realm=\"api\"")], 401, json, "unauthorized"),
        // A name that is known is the API's, whatever else stands there.
        with(&[("cf-mitigated", "challenge")], 401, r#"{"error": "invalid_token"}"#, "unauthorized"),
    ]
}

/// A token that has ended, and a key that is refused, told otherwise than by 401.
fn told_otherwise() -> Vec<Case> {
    let token = r#"{"error": "invalid_token"}"#;
    vec![
        case(400, token, "unauthorized"),
        case(403, token, "unauthorized"),
        case(419, r#"{"message": "Authentication timeout"}"#, "unauthorized"),
        case(419, "<html>Page Expired</html>", "transient"),
        case(498, r#"{"error": {"code": 498, "message": "Invalid Token"}}"#, "unauthorized"),
        case(498, "", "transient"),
        case(400, r#"{"errors": [{"errorType": "expired_token"}]}"#, "unauthorized"), // Fitbit
        case(400, r#"{"error": {"code": "InvalidAuthenticationToken"}}"#, "unauthorized"), // Microsoft Graph
        case(400, r#"{"error": {"type": "AuthenticationError"}}"#, "unauthorized"),
        case(400, r#"{"fault": {"type": "AUTHENTICATION", "error": [{"code": "3200"}]}}"#, "unauthorized"), // QuickBooks
        case(422, r#"{"error": {"type": "authentication_error"}}"#, "unauthorized"),
        case(400, r#"{"errors": [{"code": "authentication_failed"}]}"#, "unauthorized"),
        case(200, r#"{"error": {"name": "invalid_access_token"}}"#, "unauthorized"),
        case(200, r#"{"errors": [{"reason": "INVALID_TOKEN"}]}"#, "unauthorized"),
        case(400, r#"{"category": "INVALID_AUTHENTICATION"}"#, "unauthorized"),
        case(422, r#"{"error": "invalid_api_key"}"#, "unauthorized"),
        case(400, r#"{"error": {"code": "InvalidApiKey"}}"#, "unauthorized"),
        case(400, r#"{"ok": false, "error": "invalid_auth"}"#, "unauthorized"),
        // Google
        case(
            400,
            r#"{"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}"#,
            "unauthorized",
        ),
        case(400, google_detail("API_KEY_EXPIRED"), "unauthorized"),
        case(403, google_detail("ACCESS_TOKEN_EXPIRED"), "unauthorized"),
        case(400, google("authError"), "unauthorized"),
        // "Not with this credential", unless it may be "not this"
        case(422, r#"{"error": "unauthorized"}"#, "unauthorized"),
        case(400, r#"{"errors": [{"code": "Unauthorized"}]}"#, "unauthorized"),
        case(200, r#"{"error": {"code": "UNAUTHORIZED"}}"#, "unauthorized"),
        case(403, r#"{"error": "unauthorized"}"#, "forbidden"),
        // Data is not an error, whatever its members are called.
        case(200, r#"{"status": "UNAUTHORIZED", "type": "authentication_error", "id": 1}"#, "works"),
    ]
}

/// RFC 6750 §3: the challenge names the error.
fn by_challenge() -> Vec<Case> {
    let with = |headers, status, body: &str, verdict| Case { headers, ..case(status, body, verdict) };
    let ended: &[_] =
        &[("www-authenticate", "Bearer realm=\"api\", error=\"invalid_token\", error_description=\"expired\"")];
    let scope: &[_] = &[("www-authenticate", "Bearer error=\"insufficient_scope\", scope=\"read\"")];
    vec![
        with(ended, 401, "", "unauthorized"),
        with(ended, 403, "", "unauthorized"),
        with(ended, 400, "<html>", "unauthorized"),
        with(scope, 403, "", "forbidden"),
        with(&[("www-authenticate", "Bearer error=\"odd\"")], 403, "", "transient"),
        with(ended, 200, r#"{"id": 1}"#, "works"),
        with(ended, 500, "", "transient"),
    ]
}

fn by_google() -> Vec<Case> {
    let mut cases = vec![
        case(403, google("insufficientPermissions"), "forbidden"),
        case(403, r#"{"error": {"code": 403, "status": "PERMISSION_DENIED"}}"#, "forbidden"),
        case(403, r#"{"error": {"errors": [{"domain": "usageLimits", "reason": "newLimitExceeded"}]}}"#, "wait"),
        case(
            403,
            r#"{"error": {"errors": [{"domain": "usageLimits", "reason": "accessNotConfigured"}]}}"#,
            "our client",
        ),
        case(403, r#"{"error": {"status": "RESOURCE_EXHAUSTED"}}"#, "wait"),
        case(403, r#"{"error": {"details": [{"@type": "…"}, {"reason": "RATE_LIMIT_EXCEEDED"}]}}"#, "wait"),
        case(
            403,
            r#"{"error": {"status": "PERMISSION_DENIED", "details": [{"reason": "SERVICE_DISABLED"}]}}"#,
            "our client",
        ),
        case(403, google_ads("authorizationError", "USER_PERMISSION_DENIED"), "forbidden"),
        case(403, google_ads("authorizationError", "CUSTOMER_NOT_ENABLED"), "forbidden"),
        case(401, google_ads("authenticationError", "OAUTH_TOKEN_REVOKED"), "unauthorized"),
        case(401, google_ads("authenticationError", "DEVELOPER_TOKEN_INVALID"), "our client"),
        case(401, google_ads("authenticationError", "ORGANIZATION_NOT_RECOGNIZED"), "our client"),
        case(401, google_ads("authenticationError", "ORGANIZATION_NOT_APPROVED"), "our client"),
        case(401, google_ads("authenticationError", "ORGANIZATION_NOT_ASSOCIATED_WITH_DEVELOPER_TOKEN"), "our client"),
        case(403, google_ads("authorizationError", "DEVELOPER_TOKEN_NOT_APPROVED"), "our client"),
        case(403, google_ads("authorizationError", "DEVELOPER_TOKEN_NOT_ON_ALLOWLIST"), "our client"),
        case(403, google_ads("authorizationError", "DEVELOPER_TOKEN_PROHIBITED"), "our client"),
        case(403, google_ads("authorizationError", "PROJECT_DISABLED"), "our client"),
        case(403, google_ads("authorizationError", "CLOUD_PROJECT_NOT_UNDER_ORGANIZATION"), "our client"),
    ];
    let quotas = [
        "rateLimitExceeded",
        "userRateLimitExceeded",
        "sharingRateLimitExceeded",
        "quotaExceeded",
        "dailyLimitExceeded",
        "concurrentLimitExceeded",
    ];
    cases.extend(quotas.map(|reason| case(403, google(reason), "wait")));
    let quotas = ["QUOTA_EXCEEDED", "RESOURCE_QUOTA_EXCEEDED"];
    cases.extend(quotas.map(|reason| case(403, google_detail(reason), "wait")));
    let projects = ["CONSUMER_SUSPENDED", "CONSUMER_INVALID"];
    cases.extend(projects.map(|reason| case(403, google_detail(reason), "our client")));
    cases
}

fn by_meta_and_microsoft() -> Vec<Case> {
    vec![
        // Meta, whose status is mostly 400
        case(400, meta(190), "unauthorized"),
        case(200, meta(190), "unauthorized"),
        case(400, r#"{"error": {"type": "OAuthException", "code": 190, "error_subcode": 460}}"#, "unauthorized"),
        case(400, meta(102), "unauthorized"),
        case(400, meta(10), "forbidden"),
        case(403, meta(200), "forbidden"),
        case(403, meta(299), "forbidden"),
        case(400, meta(1), "wait"),
        case(400, meta(2), "wait"),
        case(403, meta(4), "wait"),
        case(400, meta(17), "wait"),
        case(400, meta(32), "wait"),
        case(400, meta(341), "wait"),
        case(403, meta(368), "wait"),
        case(403, meta(613), "wait"),
        case(400, meta(80_000), "wait"),
        case(400, meta(80_004), "wait"),
        case(400, meta(80_014), "wait"),
        case(400, meta(3), "transient"),
        case(400, meta(100), "transient"),
        case(400, r#"{"error": {"code": 190}}"#, "transient"),
        // Microsoft Advertising
        case(400, microsoft_ads(106), "forbidden"),
        case(401, microsoft_ads(109), "unauthorized"),
        case(400, microsoft_ads(109), "unauthorized"),
        case(400, microsoft_ads(117), "wait"),
        case(400, microsoft_ads(207), "wait"),
        case(401, microsoft_ads(105), "unauthorized"),
        case(400, microsoft_ads(100), "transient"),
    ]
}

fn by_others() -> Vec<Case> {
    vec![
        // GitHub
        case(401, r#"{"message": "Bad credentials"}"#, "unauthorized"),
        case(403, r#"{"message": "You have exceeded a secondary rate limit."}"#, "wait"),
        case(403, r#"{"message": "Resource not accessible by integration"}"#, "forbidden"),
        // Salesforce
        case(401, r#"[{"message": "m", "errorCode": "INVALID_SESSION_ID"}]"#, "unauthorized"),
        case(403, r#"[{"message": "m", "errorCode": "INVALID_SESSION_ID"}]"#, "unauthorized"),
        case(403, r#"[{"message": "m", "errorCode": "API_DISABLED_FOR_ORG"}]"#, "forbidden"),
        case(403, r#"[{"message": "m", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]"#, "wait"),
        // LinkedIn
        case(401, r#"{"status": 401, "serviceErrorCode": 65601, "code": "REVOKED_ACCESS_TOKEN"}"#, "unauthorized"),
        case(403, r#"{"status": 403, "serviceErrorCode": 100, "message": "Not enough permissions"}"#, "forbidden"),
        case(426, r#"{"status": 426, "code": "NONEXISTENT_VERSION"}"#, "transient"),
        // HubSpot
        case(401, r#"{"status": "error", "category": "EXPIRED_AUTHENTICATION"}"#, "unauthorized"),
        case(403, r#"{"status": "error", "category": "MISSING_SCOPES"}"#, "forbidden"),
        // Xero
        case(
            401,
            r#"{"title": "Unauthorized", "status": 401, "detail": "AuthenticationUnsuccessful"}"#,
            "unauthorized",
        ),
        case(403, r#"{"title": "Forbidden", "status": 403, "detail": "AuthenticationUnsuccessful"}"#, "forbidden"),
        // Stripe, Klaviyo, Shopify, Mailchimp
        case(401, r#"{"error": {"type": "invalid_request_error", "code": "api_key_expired"}}"#, "unauthorized"),
        case(401, r#"{"errors": [{"status": 401, "code": "not_authenticated"}]}"#, "unauthorized"),
        case(401, r#"{"errors": "[API] Invalid API key or access token"}"#, "unauthorized"),
        case(403, r#"{"title": "User Disabled", "status": 403, "detail": "…"}"#, "forbidden"),
    ]
}

fn in_answers_with_200() -> Vec<Case> {
    vec![
        // RFC 6750 §3.1 (Mailchimp's metadata)
        case(200, r#"{"error": "invalid_token"}"#, "unauthorized"),
        case(200, r#"{"error": "insufficient_scope"}"#, "forbidden"),
        // Slack
        case(200, r#"{"ok": true, "user": "u"}"#, "works"),
        case(200, r#"{"ok": false, "error": "invalid_auth"}"#, "unauthorized"),
        case(200, r#"{"ok": false, "error": "not_authed"}"#, "unauthorized"),
        case(200, r#"{"ok": false, "error": "token_revoked"}"#, "unauthorized"),
        case(200, r#"{"ok": false, "error": "token_expired"}"#, "unauthorized"),
        case(200, r#"{"ok": false, "error": "account_inactive"}"#, "unauthorized"),
        case(200, r#"{"ok": false, "error": "access_denied"}"#, "forbidden"),
        case(200, r#"{"ok": false, "error": "missing_scope"}"#, "forbidden"),
        case(200, r#"{"ok": false, "error": "no_permission"}"#, "forbidden"),
        case(200, r#"{"ok": false, "error": "team_access_not_granted"}"#, "forbidden"),
        case(200, r#"{"ok": false, "error": "ratelimited"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "internal_error"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "fatal_error"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "service_unavailable"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "request_timeout"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "org_login_required"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "team_added_to_org"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "ekm_access_denied"}"#, "transient"),
        case(200, r#"{"ok": false, "error": "two_factor_setup_required"}"#, "transient"),
        case(200, r#"{"ok": false}"#, "transient"),
        // GraphQL: Shopify, Apollo
        case(200, r#"{"errors": [{"extensions": {"code": "THROTTLED"}}]}"#, "wait"),
        case(200, r#"{"errors": [{"extensions": {"code": "ACCESS_DENIED"}}], "data": null}"#, "forbidden"),
        case(200, r#"{"errors": [{"extensions": {"code": "FORBIDDEN"}}]}"#, "forbidden"),
        case(200, r#"{"errors": [{"extensions": {"code": "UNAUTHENTICATED"}}]}"#, "unauthorized"),
        case(200, r#"{"errors": [{"message": "broken"}]}"#, "transient"),
        case(200, r#"{"errors": [{"message": "half"}], "data": {"me": 1}}"#, "works"),
        case(200, r#"{"errors": [], "data": null}"#, "works"),
        // Nobody in particular
        case(200, r#"{"error": "something"}"#, "transient"),
        case(200, r#"{"error": {"message": "something"}}"#, "transient"),
        case(200, r#"{"error": null, "id": 1}"#, "works"),
        case(200, r#"{"error": {"code": "ok", "message": ""}, "data": {}}"#, "works"),
    ]
}

/// 404, where the API says it and not the web server before it.
fn missing() -> Vec<Case> {
    vec![
        case(404, r#"{"error": {"code": 404, "status": "NOT_FOUND"}}"#, "missing"),
        case(404, r#"{"error": "not_found"}"#, "missing"),
        case(404, r#"{"errors": "Not Found"}"#, "missing"),
        case(404, r#"{"errors": [{"status": 404, "code": "not_found"}]}"#, "missing"),
        case(404, microsoft_ads(100), "missing"),
        case(404, r#"{"message": "Domain not found"}"#, "missing"),
        case(404, r#"{"title": "Resource Not Found", "status": 404, "detail": "…"}"#, "missing"),
        case(404, "", "transient"),
        case(404, "<html>Not Found</html>", "transient"),
        case(404, "{}", "transient"),
        case(404, "null", "transient"),
        case(404, r#""not found""#, "transient"),
        case(404, r#"{"error": null, "errors": [], "message": ""}"#, "transient"),
        case(404, r#"{"title": "Not Found"}"#, "transient"),
        case(404, r#"{"id": 1}"#, "transient"),
        case(404, r#"[{"errorCode": "NOT_FOUND", "message": "m"}]"#, "missing"), // Salesforce
        // A name that is known goes before the status.
        case(404, meta(190), "unauthorized"),
        case(404, meta(80_004), "wait"),
        // A version that is no more (Klaviyo)
        case(410, r#"{"errors": [{"code": "gone"}]}"#, "transient"),
        case(410, "", "transient"),
        // Only for 404
        case(400, r#"{"error": "not_found"}"#, "transient"),
        case(405, r#"{"message": "no"}"#, "transient"),
    ]
}

fn google(reason: &str) -> String {
    json!({"error": {"code": 403, "errors": [{"reason": reason}]}}).to_string()
}

fn google_detail(reason: &str) -> String {
    let info = json!({"@type": "…ErrorInfo", "reason": reason, "domain": "googleapis.com"});
    json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "details": [info]}}).to_string()
}

fn google_ads(kind: &str, name: &str) -> String {
    let failure = json!({"@type": "…GoogleAdsFailure", "errors": [{"errorCode": {kind: name}, "message": "m"}]});
    json!({"error": {"code": 400, "details": [failure]}}).to_string()
}

fn meta(code: i64) -> String {
    json!({"error": {"message": "m", "code": code, "fbtrace_id": "x"}}).to_string()
}

fn microsoft_ads(code: i64) -> String {
    json!({"TrackingId": "t", "Errors": [{"Code": code, "ErrorCode": "…"}]}).to_string()
}

#[test]
fn every_answer_of_an_api_has_its_verdict() {
    for case in cases() {
        assert_eq!(word(api_answer(&case.answer(), &[], now())), case.verdict, "{}", case.shown());
    }
}

#[test]
fn every_row_has_a_case() {
    assert_names_have_cases(table::API_ERRORS, &cases());
    assert_names_have_cases(table::UNAUTHORIZED_NAMES, &cases());
    assert_names_have_cases(table::NAMED_API_ERRORS, &cases());
    assert_codes_have_cases(table::META_API_CODES, &cases(), meta);
    assert_codes_have_cases(table::MICROSOFT_ADS_CODES, &cases(), microsoft_ads);
}

#[test]
fn whoever_did_not_see_the_credential_cannot_refuse_it() {
    for case in cases().into_iter().filter(|case| case.verdict != "works" && case.status != 429) {
        let answer = Answer { anonymous: true, ..case.answer() };
        assert_eq!(word(api_answer(&answer, &[], now())), "transient", "{}", case.shown());
    }
}

/// How a call is signed says whose challenge an answer has.
#[test]
fn a_challenge_is_of_the_scheme_that_the_call_was_signed_in() {
    let refused = |scheme: Option<&str>, challenge: &'static str| {
        let answer = answer(401, &[("www-authenticate", challenge)], r#"{"message": "no"}"#);
        word(api_answer(&Answer { scheme: scheme.map(str::to_owned), ..answer }, &[], now()))
    };
    for (scheme, challenge, verdict) in [
        (Some("basic"), "Basic realm=\"api\"", "unauthorized"),
        (Some("basic"), "Negotiate", "transient"),
        (Some("basic"), "Bearer", "transient"),
        (Some("bearer"), "Basic realm=\"proxy\"", "transient"),
        (Some("bearer"), "Bearer", "unauthorized"),
        (Some("bearer"), "Token", "unauthorized"),
        (Some("klaviyo-api-key"), "Klaviyo-API-Key", "unauthorized"),
        (Some("klaviyo-api-key"), "NTLM", "transient"),
        (None, "Key realm=\"kong\"", "unauthorized"),
        (None, "Kerberos", "transient"),
    ] {
        assert_eq!(refused(scheme, challenge), verdict, "{scheme:?} {challenge}");
    }
}
