//! The token endpoint, answer by answer: RFC 6749 §5.2, and how providers bend it.

use super::*;

const GRANTED: &str = r#"{"access_token": "planted-token", "token_type": "Bearer"}"#;

fn cases() -> Vec<Case> {
    let mut cases = vec![
        case(200, GRANTED, "works"),
        case(201, GRANTED, "works"),
        // RFC 6749 §5.2
        case(400, r#"{"error": "invalid_grant"}"#, "invalid grant"),
        case(401, r#"{"error": "invalid_grant"}"#, "invalid grant"),
        case(403, r#"{"error": "invalid_grant", "error_description": "d"}"#, "invalid grant"),
        case(400, r#"{"error": "invalid_client"}"#, "our client"),
        case(401, r#"{"error": "invalid_client"}"#, "our client"),
        case(400, r#"{"error": "unauthorized_client"}"#, "our client"),
        case(400, r#"{"error": "invalid_request"}"#, "refuses"),
        case(400, r#"{"error": "unsupported_grant_type"}"#, "refuses"),
        case(400, r#"{"error": "invalid_scope"}"#, "refuses"),
        case(400, r#"{"error": "temporarily_unavailable"}"#, "wait"),
        // OpenID Connect
        case(400, r#"{"error": "interaction_required", "suberror": "basic_action"}"#, "invalid grant"),
        case(400, r#"{"error": "login_required"}"#, "invalid grant"),
        case(400, r#"{"error": "consent_required"}"#, "invalid grant"),
        case(400, r#"{"error": "account_selection_required"}"#, "invalid grant"),
        // Microsoft: what its numbers do not excuse is as its names say.
        case(400, r#"{"error": "invalid_grant", "error_codes": [50173]}"#, "invalid grant"),
        case(400, r#"{"error": "invalid_grant", "error_codes": [700082]}"#, "invalid grant"),
        case(
            400,
            r#"{"error": "invalid_grant", "error_codes": [65001], "suberror": "consent_required"}"#,
            "invalid grant",
        ),
        case(401, r#"{"error": "invalid_client", "error_codes": [7000222]}"#, "our client"),
        case(400, r#"{"error": "unauthorized_client", "error_codes": [700016]}"#, "our client"),
        case(400, r#"{"error": "invalid_grant", "error_codes": [70002, 50196]}"#, "wait"),
        case(400, r#"{"error": "invalid_grant", "error_codes": "50196"}"#, "invalid grant"),
        // Google
        case(400, r#"{"error": "invalid_grant", "error_subtype": "invalid_rapt"}"#, "invalid grant"),
        case(400, r#"{"error": "admin_policy_enforced"}"#, "invalid grant"),
        case(401, r#"{"error": "deleted_client"}"#, "our client"),
        case(403, r#"{"error": "disabled_client"}"#, "our client"),
        case(400, r#"{"error": "redirect_uri_mismatch"}"#, "our client"),
        case(400, r#"{"error": "access_denied"}"#, "refuses"),
        case(403, r#"{"error": "org_internal"}"#, "refuses"),
        // GitHub
        case(200, r#"{"error": "bad_refresh_token"}"#, "invalid grant"),
        case(200, r#"{"error": "bad_verification_code"}"#, "invalid grant"),
        case(200, r#"{"error": "unverified_user_email"}"#, "invalid grant"),
        case(200, r#"{"error": "incorrect_client_credentials"}"#, "our client"),
        // Slack
        case(200, r#"{"ok": false, "error": "invalid_refresh_token"}"#, "invalid grant"),
        case(200, r#"{"ok": false, "error": "invalid_code"}"#, "invalid grant"),
        case(200, r#"{"ok": false, "error": "code_already_used"}"#, "invalid grant"),
        case(200, r#"{"ok": false, "error": "invalid_code_verifier"}"#, "invalid grant"),
        case(200, r#"{"ok": false, "error": "token_revoked"}"#, "invalid grant"),
        case(200, r#"{"ok": false, "error": "token_expired"}"#, "invalid grant"),
        case(200, r#"{"ok": false, "error": "account_inactive"}"#, "invalid grant"),
        case(200, r#"{"ok": false, "error": "user_email_unverified"}"#, "invalid grant"),
        case(200, r#"{"ok": false, "error": "invalid_client_id"}"#, "our client"),
        case(200, r#"{"ok": false, "error": "bad_client_secret"}"#, "our client"),
        case(200, r#"{"ok": false, "error": "bad_redirect_uri"}"#, "our client"),
        case(200, r#"{"ok": false, "error": "ratelimited"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "internal_error"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "fatal_error"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "service_unavailable"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "request_timeout"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "org_login_required"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "team_added_to_org"}"#, "wait"),
        case(200, r#"{"ok": false, "error": "invalid_auth"}"#, "transient"),
        case(200, r#"{"ok": false, "error": "ekm_access_denied"}"#, "transient"),
        case(200, r#"{"ok": false, "access_token": "t"}"#, "transient"),
        // Salesforce
        case(
            400,
            r#"{"error": "invalid_grant", "error_description": "expired access/refresh token"}"#,
            "invalid grant",
        ),
        case(400, r#"{"error": "inactive_user", "error_description": "user is inactive"}"#, "invalid grant"),
        case(400, r#"{"error": "inactive_org", "error_description": "org is suspended"}"#, "invalid grant"),
        case(400, r#"{"error": "invalid_client_id"}"#, "our client"),
        case(400, r#"{"error": "invalid_client_credentials"}"#, "our client"),
        case(400, r#"{"error": "rate_limit_exceeded"}"#, "wait"),
        // HubSpot
        case(400, r#"{"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token"}"#, "invalid grant"),
        case(400, r#"{"status": "BAD_AUTH_CODE", "message": "code expired"}"#, "invalid grant"),
        case(400, r#"{"status": "BAD_CLIENT_ID", "message": "missing or invalid client id"}"#, "our client"),
        case(400, r#"{"status": "BAD_CLIENT_SECRET", "error": "invalid_client"}"#, "our client"),
        case(400, r#"{"status": "BAD_CLIENT_SECRET", "error": "odd"}"#, "our client"),
        case(400, r#"{"status": "error", "message": "m"}"#, "refuses"),
        // Meta
        case(400, meta(190), "invalid grant"),
        case(400, meta(102), "invalid grant"),
        case(400, meta(101), "our client"),
        case(400, meta(4), "refuses"),
        case(400, meta(100), "refuses"),
        case(400, r#"{"error": {"code": 190}}"#, "refuses"),
        // An error beside a token is an error.
        case(200, r#"{"access_token": "t", "error": "odd"}"#, "transient"),
        case(200, r#"{"access_token": "t", "error": ""}"#, "works"),
        case(200, r#"{"access_token": "t", "status": "ok"}"#, "works"),
        // The status excuses, whatever the body says.
        case(500, r#"{"error": "invalid_grant"}"#, "transient"),
        case(503, r#"{"error": "invalid_client"}"#, "transient"),
        case(599, GRANTED, "transient"),
        case(408, r#"{"error": "invalid_grant"}"#, "transient"),
        case(429, r#"{"error": "invalid_grant"}"#, "wait"),
        // Named elsewhere than RFC 6749 §5.2 has it: Fitbit, Strava, and as objects
        case(400, r#"{"errors": [{"errorType": "invalid_grant", "message": "m"}], "success": false}"#, "invalid grant"),
        case(401, r#"{"errors": [{"errorType": "expired_token"}]}"#, "invalid grant"),
        case(400, r#"{"errors": [{"errorType": "invalid_client"}]}"#, "our client"),
        case(400, r#"{"error": {"code": "invalid_grant"}}"#, "invalid grant"),
        case(400, r#"{"error": {"type": "invalid_client"}}"#, "our client"),
        case(400, r#"{"code": "invalid_grant", "message": "m"}"#, "invalid grant"),
        case(400, r#"{"errors": [{"reason": "invalid_grant"}]}"#, "invalid grant"),
        case(401, r#"{"error": "invalid_token"}"#, "invalid grant"),
        Case { headers: &[("www-authenticate", "Bearer error=\"invalid_token\"")], ..case(401, "", "invalid grant") },
        // A quota of the provider's, as its API names it
        case(403, r#"{"error": {"errors": [{"reason": "quotaExceeded"}]}}"#, "wait"),
        case(403, r#"{"error": {"status": "RESOURCE_EXHAUSTED"}}"#, "wait"),
        // Refused in words that no row knows
        case(400, "", "refuses"),
        case(400, "<html>Bad Request</html>", "refuses"),
        case(401, "Unauthorized", "refuses"),
        case(410, "", "refuses"),
        case(425, r#"{"error": "too_early"}"#, "transient"),
        Case { headers: &[("retry-after", "60")], ..case(400, "", "transient") },
        // A firewall's page is no word of the token endpoint's.
        case(401, "<html>", "transient"),
        Case { headers: &[("cf-mitigated", "challenge")], ..case(403, "{}", "transient") },
        case(403, r#"{"error": "blocked"}"#, "refuses"),
        // Redirects say nothing.
        case(302, r#"{"error": "invalid_grant"}"#, "transient"),
        case(307, "", "transient"),
        // Unparsable, or not what was asked for
        case(200, "<html>Welcome</html>", "transient"),
        case(200, "", "transient"),
        case(200, "{", "transient"),
        case(200, "[]", "transient"),
        case(200, "null", "transient"),
        case(200, r#"{"token_type": "Bearer"}"#, "transient"),
        case(200, r#"{"access_token": ""}"#, "transient"),
        case(200, r#"{"access_token": 7}"#, "transient"),
        case(400, "invalid_grant", "refuses"),
        case(401, "", "transient"),
        case(403, "<html>", "transient"),
        case(404, r#"{"error": "not_found"}"#, "refuses"),
        case(400, GRANTED, "refuses"),
    ];
    // Microsoft, which is busy whatever it calls it
    let passing = [50_033, 50_087, 50_196, 70_012, 90_006, 90_012, 90_024, 90_033, 90_055, 90_090];
    cases.extend(passing.map(|code| case(400, microsoft(code), "wait")));
    cases
}

fn meta(code: i64) -> String {
    json!({"error": {"message": "m", "type": "OAuthException", "code": code}}).to_string()
}

fn microsoft(code: i64) -> String {
    json!({"error": "invalid_grant", "error_description": "AADSTS…", "error_codes": [code]}).to_string()
}

#[test]
fn every_answer_of_the_token_endpoint_has_its_verdict() {
    for case in cases() {
        assert_eq!(word(token_answer(&case.answer(), &[], now())), case.verdict, "{}", case.shown());
    }
}

#[test]
fn every_row_has_a_case() {
    assert_names_have_cases(table::TOKEN_ERRORS, &cases());
    assert_codes_have_cases(table::META_TOKEN_CODES, &cases(), meta);
    assert_codes_have_cases(table::MICROSOFT_TOKEN_CODES, &cases(), microsoft);
}

#[test]
fn a_form_is_read_by_its_media_type_and_a_byte_order_mark_passed_over() {
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let granted = token_answer(&answer(200, &form, "access_token=a%2Bb&token_type=bearer&scope="), &[], now()).unwrap();
    assert_eq!(granted, json!({"access_token": "a+b", "token_type": "bearer", "scope": ""}));
    let refused = answer(200, &form, "error=bad_refresh_token&error_description=odd");
    assert_eq!(word(token_answer(&refused, &[], now())), "invalid grant");
    let unnamed = answer(200, &[], "access_token=a");
    assert_eq!(word(token_answer(&unnamed, &[], now())), "transient");
    let marked = answer(200, &[], &format!("\u{feff}{GRANTED}"));
    assert_eq!(word(token_answer(&marked, &[], now())), "works");
}
