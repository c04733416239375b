//! The table, answer by answer: what design and RFC 6749 §5.2 say, and how providers bend it.

use reqwest::header::{HeaderMap, HeaderName};
use serde_json::json;

use super::*;

const GRANTED: &str = r#"{"access_token": "planted-token", "token_type": "Bearer"}"#;

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let parsed = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    let headers: HeaderMap = headers.iter().map(parsed).collect();
    let status = StatusCode::from_u16(status).unwrap();
    Answer { status, headers, body: body.as_bytes().to_vec(), anonymous: false }
}

fn now() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// A verdict in a word, so that the tables below read as tables.
fn word<T>(verdict: Result<T, Failure>) -> &'static str {
    match verdict {
        Ok(_) => "works",
        Err(Failure::Transient { .. }) => "transient",
        Err(Failure::Rejected(Rejection::InvalidGrant)) => "invalid grant",
        Err(Failure::Rejected(Rejection::Unauthorized)) => "unauthorized",
        Err(Failure::Rejected(Rejection::Forbidden)) => "forbidden",
        Err(Failure::OurClientRejected) => "our client",
    }
}

#[test]
fn the_token_endpoint() {
    let meta = |code: i64| json!({"error": {"message": "m", "type": "OAuthException", "code": code}}).to_string();
    for (status, body, means) in [
        (200, GRANTED, "works"),
        (201, GRANTED, "works"),
        // RFC 6749 §5.2
        (400, r#"{"error": "invalid_grant"}"#, "invalid grant"),
        (401, r#"{"error": "invalid_grant"}"#, "invalid grant"),
        (403, r#"{"error": "invalid_grant", "error_description": "d"}"#, "invalid grant"),
        (400, r#"{"error": "invalid_client"}"#, "our client"),
        (401, r#"{"error": "invalid_client"}"#, "our client"),
        (400, r#"{"error": "unauthorized_client"}"#, "our client"),
        (400, r#"{"error": "invalid_request"}"#, "transient"),
        (400, r#"{"error": "unsupported_grant_type"}"#, "transient"),
        (400, r#"{"error": "invalid_scope"}"#, "transient"),
        (400, r#"{"error": "temporarily_unavailable"}"#, "transient"),
        // GitHub
        (200, r#"{"error": "bad_refresh_token"}"#, "invalid grant"),
        (200, r#"{"error": "bad_verification_code"}"#, "invalid grant"),
        (200, r#"{"error": "incorrect_client_credentials"}"#, "our client"),
        // HubSpot
        (400, r#"{"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token"}"#, "invalid grant"),
        (400, r#"{"status": "BAD_CLIENT_SECRET", "error": "invalid_client"}"#, "our client"),
        (400, r#"{"status": "error", "message": "m"}"#, "transient"),
        // Slack
        (200, r#"{"ok": false, "error": "invalid_refresh_token"}"#, "invalid grant"),
        (200, r#"{"ok": false, "error": "invalid_code"}"#, "invalid grant"),
        (200, r#"{"ok": false, "error": "code_already_used"}"#, "invalid grant"),
        (200, r#"{"ok": false, "error": "invalid_client_id"}"#, "our client"),
        (200, r#"{"ok": false, "error": "bad_client_secret"}"#, "our client"),
        (200, r#"{"ok": false, "error": "internal_error"}"#, "transient"),
        (200, r#"{"ok": false, "access_token": "t"}"#, "transient"),
        // Meta
        (400, &meta(190), "invalid grant"),
        (400, &meta(102), "invalid grant"),
        (400, &meta(101), "our client"),
        (400, &meta(4), "transient"),
        (400, r#"{"error": {"code": 190}}"#, "transient"),
        // An error beside a token is an error.
        (200, r#"{"access_token": "t", "error": "odd"}"#, "transient"),
        (200, r#"{"access_token": "t", "error": ""}"#, "works"),
        // The status excuses, whatever the body says.
        (500, r#"{"error": "invalid_grant"}"#, "transient"),
        (503, r#"{"error": "invalid_client"}"#, "transient"),
        (599, GRANTED, "transient"),
        (408, r#"{"error": "invalid_grant"}"#, "transient"),
        (429, r#"{"error": "invalid_grant"}"#, "transient"),
        // Redirects say nothing.
        (302, r#"{"error": "invalid_grant"}"#, "transient"),
        (307, "", "transient"),
        // Unparsable, or not what was asked for.
        (200, "<html>Welcome</html>", "transient"),
        (200, "", "transient"),
        (200, "{", "transient"),
        (200, "[]", "transient"),
        (200, "null", "transient"),
        (200, r#"{"token_type": "Bearer"}"#, "transient"),
        (200, r#"{"access_token": ""}"#, "transient"),
        (200, r#"{"access_token": 7}"#, "transient"),
        (400, "invalid_grant", "transient"),
        (401, "", "transient"),
        (403, "<html>", "transient"),
        (404, r#"{"error": "not_found"}"#, "transient"),
        (400, GRANTED, "transient"),
    ] {
        assert_eq!(word(token_answer(&answer(status, &[], body), now())), means, "{status} {body}");
    }
}

#[test]
fn the_api() {
    let meta = |code: i64| json!({"error": {"message": "m", "code": code, "fbtrace_id": "x"}}).to_string();
    let google = |reason: &str| json!({"error": {"code": 403, "errors": [{"reason": reason}]}}).to_string();
    let google_ads = |kind: &str, name: &str| {
        let failure = json!({"@type": "…GoogleAdsFailure", "errors": [{"errorCode": {kind: name}, "message": "m"}]});
        json!({"error": {"code": 400, "details": [failure]}}).to_string()
    };
    for (status, headers, body, means) in [
        (200, &[][..], r#"{"id": 1}"#, "works"),
        (200, &[], "[]", "works"),
        (200, &[], r#""pong""#, "works"),
        (204, &[], "", "works"),
        (401, &[], "", "unauthorized"),
        (401, &[], r#"{"error": "rate limit"}"#, "unauthorized"),
        (403, &[], "", "forbidden"),
        (403, &[], "<html>", "forbidden"),
        (403, &[], r#"{"error": {"code": 403, "status": "PERMISSION_DENIED"}}"#, "forbidden"),
        // Google's quotas
        (403, &[], &google("rateLimitExceeded"), "transient"),
        (403, &[], &google("userRateLimitExceeded"), "transient"),
        (403, &[], &google("quotaExceeded"), "transient"),
        (403, &[], &google("dailyLimitExceeded"), "transient"),
        (403, &[], &google("insufficientPermissions"), "forbidden"),
        (
            403,
            &[],
            r#"{"error": {"errors": [{"domain": "usageLimits", "reason": "accessNotConfigured"}]}}"#,
            "transient",
        ),
        (403, &[], r#"{"error": {"status": "RESOURCE_EXHAUSTED"}}"#, "transient"),
        (403, &[], r#"{"error": {"details": [{"@type": "…"}, {"reason": "RATE_LIMIT_EXCEEDED"}]}}"#, "transient"),
        // GitHub's limits
        (403, &[("x-ratelimit-remaining", "0")], r#"{"message": "no"}"#, "transient"),
        (403, &[("x-ratelimit-remaining", "12")], r#"{"message": "no"}"#, "forbidden"),
        (403, &[("retry-after", "60")], "", "transient"),
        (403, &[], r#"{"message": "You have exceeded a secondary rate limit."}"#, "transient"),
        (403, &[], r#"{"message": "Resource not accessible by integration"}"#, "forbidden"),
        // Meta, whose status is mostly 400
        (400, &[], &meta(190), "unauthorized"),
        (200, &[], &meta(190), "unauthorized"),
        (400, &[], &meta(102), "unauthorized"),
        (400, &[], &meta(10), "forbidden"),
        (403, &[], &meta(200), "forbidden"),
        (403, &[], &meta(4), "transient"),
        (400, &[], &meta(17), "transient"),
        (403, &[], &meta(613), "transient"),
        (400, &[], &meta(80_004), "transient"),
        (400, &[], &meta(100), "transient"),
        (400, &[], r#"{"error": {"code": 190}}"#, "transient"),
        // Slack, whose status is 200
        (200, &[], r#"{"ok": true, "user": "u"}"#, "works"),
        (200, &[], r#"{"ok": false, "error": "invalid_auth"}"#, "unauthorized"),
        (200, &[], r#"{"ok": false, "error": "token_revoked"}"#, "unauthorized"),
        (200, &[], r#"{"ok": false, "error": "token_expired"}"#, "unauthorized"),
        (200, &[], r#"{"ok": false, "error": "account_inactive"}"#, "unauthorized"),
        (200, &[], r#"{"ok": false, "error": "not_authed"}"#, "unauthorized"),
        (200, &[], r#"{"ok": false, "error": "missing_scope"}"#, "forbidden"),
        (200, &[], r#"{"ok": false, "error": "no_permission"}"#, "forbidden"),
        (200, &[], r#"{"ok": false, "error": "ratelimited"}"#, "transient"),
        (200, &[], r#"{"ok": false, "error": "fatal_error"}"#, "transient"),
        (200, &[], r#"{"ok": false}"#, "transient"),
        // GraphQL
        (200, &[], r#"{"errors": [{"extensions": {"code": "THROTTLED"}}]}"#, "transient"),
        (200, &[], r#"{"errors": [{"extensions": {"code": "ACCESS_DENIED"}}], "data": null}"#, "forbidden"),
        (200, &[], r#"{"errors": [{"extensions": {"code": "FORBIDDEN"}}]}"#, "forbidden"),
        (200, &[], r#"{"errors": [{"extensions": {"code": "UNAUTHENTICATED"}}]}"#, "unauthorized"),
        (200, &[], r#"{"errors": [{"message": "broken"}]}"#, "transient"),
        (200, &[], r#"{"errors": [{"message": "half"}], "data": {"me": 1}}"#, "works"),
        (200, &[], r#"{"errors": [], "data": null}"#, "works"),
        // Google Ads' developer token, which is this server's
        (401, &[], &google_ads("authenticationError", "DEVELOPER_TOKEN_INVALID"), "our client"),
        (403, &[], &google_ads("authorizationError", "DEVELOPER_TOKEN_NOT_APPROVED"), "our client"),
        (403, &[], &google_ads("authorizationError", "USER_PERMISSION_DENIED"), "forbidden"),
        (401, &[], &google_ads("authenticationError", "OAUTH_TOKEN_REVOKED"), "unauthorized"),
        // Salesforce
        (403, &[], r#"[{"message": "m", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]"#, "transient"),
        (403, &[], r#"[{"message": "m", "errorCode": "API_DISABLED_FOR_ORG"}]"#, "forbidden"),
        (401, &[], r#"[{"message": "m", "errorCode": "INVALID_SESSION_ID"}]"#, "unauthorized"),
        // Microsoft Advertising
        (
            400,
            &[],
            r#"{"TrackingId": "t", "Errors": [{"Code": 106, "ErrorCode": "UserIsNotAuthorized"}]}"#,
            "forbidden",
        ),
        (400, &[], r#"{"Errors": [{"Code": 117, "ErrorCode": "CallRateExceeded"}]}"#, "transient"),
        (401, &[], r#"{"Errors": [{"Code": 109, "ErrorCode": "AuthenticationTokenExpired"}]}"#, "unauthorized"),
        (401, &[], r#"{"Errors": [{"Code": 105, "ErrorCode": "InvalidCredentials"}]}"#, "unauthorized"),
        (400, &[], r#"{"Errors": [{"Code": 100, "ErrorCode": "NullRequest"}]}"#, "transient"),
        // 200 with an error body, of nobody in particular
        (200, &[], r#"{"error": "something"}"#, "transient"),
        (200, &[], r#"{"error": {"message": "something"}}"#, "transient"),
        (200, &[], r#"{"error": null, "id": 1}"#, "works"),
        (200, &[], r#"{"error": {"code": "ok", "message": ""}, "data": {}}"#, "works"),
        // The status excuses.
        (500, &[], r#"{"ok": false, "error": "invalid_auth"}"#, "transient"),
        (502, &[], &meta(190), "transient"),
        (503, &[], "", "transient"),
        (408, &[], "", "transient"),
        (429, &[], r#"{"error": "invalid_auth"}"#, "transient"),
        // Unparsable, or not listed.
        (200, &[], "<html>Sign in</html>", "transient"),
        (200, &[], "", "transient"),
        (302, &[], "", "transient"),
        (400, &[], r#"{"ok": false, "error": "invalid_auth"}"#, "transient"),
        (404, &[], "", "transient"),
        (410, &[], "", "transient"),
    ] {
        assert_eq!(word(api_answer(&answer(status, headers, body), now())), means, "{status} {headers:?} {body}");
    }
}

#[test]
fn whoever_did_not_see_the_credential_cannot_refuse_it() {
    for (status, body) in [(401, ""), (403, ""), (200, r#"{"ok": false, "error": "token_revoked"}"#)] {
        let answer = Answer { anonymous: true, ..answer(status, &[], body) };
        assert_eq!(word(api_answer(&answer, now())), "transient", "{status} {body}");
    }
}

#[test]
fn the_revocation_endpoint() {
    for (status, body, means) in [
        (200, "", "works"),
        (200, "{}", "works"),
        (204, "", "works"),
        (400, r#"{"error": "invalid_token"}"#, "works"),
        (400, r#"{"error": "invalid_grant"}"#, "works"),
        (200, r#"{"ok": false, "error": "token_revoked"}"#, "works"),
        (401, r#"{"error": "invalid_client"}"#, "our client"),
        (400, r#"{"error": "unsupported_token_type"}"#, "transient"),
        (200, r#"{"ok": false, "error": "fatal_error"}"#, "transient"),
        (302, "", "transient"),
        (400, "", "transient"),
        (429, "", "transient"),
        (500, r#"{"error": "invalid_token"}"#, "transient"),
    ] {
        assert_eq!(word(revocation_answer(&answer(status, &[], body), now())), means, "{status} {body}");
    }
}

#[test]
fn a_wish_to_wait_is_passed_on() {
    let wait = |verdict: Result<Value, Failure>| match verdict {
        Err(Failure::Transient { retry_after, .. }) => retry_after.map(|wait| wait.as_secs()),
        other => panic!("{}", word(other)),
    };
    let in_seconds = answer(429, &[("retry-after", "120")], "");
    let by_date = answer(503, &[("retry-after", "Mon, 23 Nov 2026 12:00:30 GMT")], "");
    assert_eq!(wait(token_answer(&in_seconds, now())), Some(120));
    assert_eq!(wait(api_answer(&in_seconds, now())), Some(120));
    assert_eq!(wait(token_answer(&by_date, now())), Some(30));
    assert_eq!(wait(api_answer(&answer(403, &[("retry-after", "5")], ""), now())), Some(5));
    assert_eq!(wait(api_answer(&answer(500, &[], ""), now())), None);
}

#[test]
fn no_message_quotes_an_answer() {
    let planted =
        r#"{"error": "planted", "error_description": "planted", "access_token": "planted", "message": "planted"}"#;
    for status in [200, 302, 400, 401, 403, 404, 418, 429, 500] {
        for body in [planted, "planted"] {
            let answer = answer(status, &[("location", "https://planted.example/"), ("x-planted", "planted")], body);
            let token = token_answer(&answer, now()).unwrap_err();
            let api = api_answer(&answer, now()).unwrap_err();
            let revocation = revocation_answer(&answer, now()).err();
            let shown = format!("{token} {token:?} {api} {api:?} {revocation:?}");
            assert!(!shown.contains("planted"), "{status}: {shown}");
        }
    }
}
