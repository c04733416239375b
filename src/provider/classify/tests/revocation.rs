//! The revocation endpoint, answer by answer: RFC 7009 §2.2, and how providers bend it.

use super::*;

fn cases() -> Vec<Case> {
    vec![
        case(200, "", "works"),
        case(200, "{}", "works"),
        case(200, "OK", "works"),
        case(204, "", "works"),
        case(200, r#"{"ok": true, "revoked": true}"#, "works"),
        // There was nothing left to revoke.
        case(400, r#"{"error": "invalid_token"}"#, "works"),
        case(400, r#"{"error": "invalid_grant"}"#, "works"),
        case(200, r#"{"ok": false, "error": "token_revoked"}"#, "works"),
        case(200, r#"{"ok": false, "error": "token_expired"}"#, "works"),
        case(200, r#"{"ok": false, "error": "invalid_auth"}"#, "works"),
        case(200, r#"{"ok": false, "error": "account_inactive"}"#, "works"),
        // This server's client is refused.
        case(401, r#"{"error": "invalid_client"}"#, "our client"),
        case(400, r#"{"error": "unauthorized_client"}"#, "our client"),
        // RFC 7009 §2.2.1
        case(400, r#"{"error": "unsupported_token_type"}"#, "transient"),
        case(503, "", "transient"),
        // Whatever no row knows
        case(400, r#"{"error": "invalid_request"}"#, "transient"),
        case(200, r#"{"ok": false, "error": "fatal_error"}"#, "transient"),
        case(200, r#"{"ok": false}"#, "transient"),
        case(200, r#"{"error": {"message": "odd"}}"#, "transient"),
        case(302, "", "transient"),
        case(400, "", "transient"),
        case(401, "", "transient"),
        case(404, "", "transient"),
        // The status excuses.
        case(429, "", "wait"),
        case(408, r#"{"error": "invalid_token"}"#, "transient"),
        case(500, r#"{"error": "invalid_token"}"#, "transient"),
    ]
}

#[test]
fn every_answer_of_the_revocation_endpoint_has_its_verdict() {
    for case in cases() {
        assert_eq!(word(revocation_answer(&case.answer(), now())), case.verdict, "{}", case.shown());
    }
}

#[test]
fn every_row_has_a_case() {
    for name in table::ALREADY_REVOKED {
        let quoted = format!("\"{name}\"");
        assert!(cases().iter().any(|case| case.verdict == "works" && case.body.contains(&quoted)), "{name}");
    }
}
