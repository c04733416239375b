//! The whole policy at a glance: every answer with its verdict, a file for each endpoint. Each row of the tables has a
//! case of its own; what holds for all endpoints is tested here.

mod api;
mod database;
mod revocation;
mod token;

use std::collections::HashSet;

use reqwest::header::{HeaderMap, HeaderName};
use serde_json::json;

use super::*;
use table::{Codes, Names};

/// An answer and its verdict, in a word.
struct Case {
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: String,
    verdict: &'static str,
}

fn case(status: u16, body: impl Into<String>, verdict: &'static str) -> Case {
    Case { status, headers: &[], body: body.into(), verdict }
}

impl Case {
    fn answer(&self) -> Answer {
        answer(self.status, self.headers, &self.body)
    }

    fn shown(&self) -> String {
        format!("{} {:?} {}", self.status, self.headers, self.body)
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let parsed = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    let headers: HeaderMap = headers.iter().map(parsed).collect();
    let status = StatusCode::from_u16(status).unwrap();
    Answer { status, headers, body: body.as_bytes().to_vec(), anonymous: false, scheme: None }
}

fn now() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// A verdict in a word, so that the cases read as a table. "wait" is transient too, because a row says so.
fn word<T>(verdict: Result<T, Failure>) -> &'static str {
    match verdict {
        Ok(_) => "works",
        Err(Failure::Transient { what, .. }) if what == "the provider asks to wait" => "wait",
        Err(Failure::Transient { refuses: true, .. }) => "refuses",
        Err(Failure::Transient { .. }) => "transient",
        Err(Failure::Rejected(Rejection::InvalidGrant)) => "invalid grant",
        Err(Failure::Rejected(Rejection::Unauthorized)) => "unauthorized",
        Err(Failure::Rejected(Rejection::Forbidden)) => "forbidden",
        Err(Failure::Rejected(Rejection::Missing)) => "missing",
        Err(Failure::OurClientRejected) => "our client",
    }
}

fn word_of(means: Means) -> &'static str {
    match means {
        Means::InvalidGrant => "invalid grant",
        Means::OurClient => "our client",
        Means::Unauthorized => "unauthorized",
        Means::Forbidden => "forbidden",
        Means::Missing => "missing",
        Means::Busy => "wait",
    }
}

/// Each name of a table stands in a case that ends as its row says.
fn assert_names_have_cases(table: &Names, cases: &[Case]) {
    for (name, means) in table {
        let quoted = format!("\"{name}\"");
        let has_case = cases.iter().any(|case| case.verdict == word_of(*means) && case.body.contains(&quoted));
        assert!(has_case, "no case ends with {name} as {}", word_of(*means));
    }
}

/// Both ends of each range of a table stand in a case that ends as its row says. `made` is a body with that number.
fn assert_codes_have_cases(table: &Codes, cases: &[Case], made: impl Fn(i64) -> String) {
    for (range, means) in table {
        for code in [range.start(), range.end()] {
            let has_case = cases.iter().any(|case| case.verdict == word_of(*means) && case.body == made(*code));
            assert!(has_case, "no case ends with {code} as {}", word_of(*means));
        }
    }
}

#[test]
fn no_row_hides_another() {
    for table in [table::TOKEN_ERRORS, table::API_ERRORS, table::NAMED_API_ERRORS] {
        let mut known = HashSet::new();
        assert!(table.iter().all(|(name, _)| known.insert(name)), "{known:?}");
    }
    for table in
        [table::MICROSOFT_TOKEN_CODES, table::META_TOKEN_CODES, table::META_API_CODES, table::MICROSOFT_ADS_CODES]
    {
        let mut known = HashSet::new();
        assert!(table.iter().flat_map(|(range, _)| range.clone()).all(|code| known.insert(code)), "{known:?}");
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
    assert_eq!(wait(token_answer(&in_seconds, &[], now())), Some(120));
    assert_eq!(wait(api_answer(&in_seconds, &[], now())), Some(120));
    assert_eq!(wait(token_answer(&by_date, &[], now())), Some(30));
    assert_eq!(wait(api_answer(&answer(403, &[("retry-after", "5")], ""), &[], now())), Some(5));
    assert_eq!(wait(api_answer(&answer(500, &[], ""), &[], now())), None);
    // HubSpot, while it moves an account to another data centre: a status that no row knows.
    let moving = answer(477, &[("retry-after", "3600")], r#"{"message": "migration in progress"}"#);
    assert_eq!(wait(api_answer(&moving, &[], now())), Some(3600));
    assert_eq!(wait(token_answer(&moving, &[], now())), Some(3600));
}

#[test]
fn no_message_quotes_an_answer() {
    let planted =
        r#"{"error": "planted", "error_description": "planted", "access_token": "planted", "message": "planted"}"#;
    for status in [200, 302, 400, 401, 403, 404, 418, 429, 500] {
        for body in [planted, "planted"] {
            let answer = answer(status, &[("location", "https://planted.example/"), ("x-planted", "planted")], body);
            let token = token_answer(&answer, &[], now()).unwrap_err();
            let api = api_answer(&answer, &[], now()).unwrap_err();
            let revocation = revocation_answer(&answer, now()).err();
            let shown = format!("{token} {token:?} {api} {api:?} {revocation:?}");
            assert!(!shown.contains("planted"), "{status}: {shown}");
        }
    }
}

fn rows(text: &str) -> Vec<KnownAnswer> {
    let file = format!(
        "slug = \"x\"\nname = \"X\"\ncategory = \"c\"\nmode = \"warehouse\"\nrequirements = \"r\"\n[auth]\nmethod = \"api_key\"\n\
         [identity]\nurl = \"https://x.example/me\"\nid = \"/id\"\n[api]\nbase_url = \"https://x.example\"\n{text}"
    );
    crate::catalogue::parse("x.toml", &file).unwrap().known_answers().to_vec()
}

#[test]
fn what_the_connectors_file_says_goes_before_all_else() {
    let rows = rows(
        r#"
        [[api.answer]]
        status = 200
        pointer = "/result"
        value = 7
        means = "rejected"
        [[api.answer]]
        status = 500
        pointer = "/error"
        pattern = "token .*"
        means = "renew"
        [[api.answer]]
        pointer = "/locked"
        value = true
        means = "access_lost"
        [[api.answer]]
        status = 401
        means = "transient"
        [[api.answer]]
        status = 451
        means = "our_client"
        "#,
    );
    for (status, body, verdict) in [
        (200, r#"{"result": 7}"#, "invalid grant"),
        (200, r#"{"result": "7"}"#, "invalid grant"),
        (200, r#"{"result": 8}"#, "works"),
        (500, r#"{"error": "token has ended"}"#, "unauthorized"),
        (500, r#"{"error": "no token has ended"}"#, "transient"),
        (400, r#"{"locked": true}"#, "forbidden"),
        (400, r#"{"locked": "false"}"#, "transient"),
        (401, r#"{"error": "invalid_token"}"#, "wait"),
        (451, "", "our client"),
    ] {
        assert_eq!(word(api_answer(&answer(status, &[], body), &rows, now())), verdict, "{status} {body}");
    }
    let refused = answer(500, &[], r#"{"result": "any"}"#);
    assert_eq!(word(token_answer(&refused, &rows, now())), "transient");
    assert_eq!(word(token_answer(&answer(451, &[], ""), &rows, now())), "our client");
}
