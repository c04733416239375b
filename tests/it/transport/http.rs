//! GraphQL over HTTP: who is answered, in which media type, with which status.

use serde_json::{Value, json};

use super::*;
use crate::harness::{Setup, tables};

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_answered_with_an_id_to_find_it_by() {
    let stage = Stage::new().await;
    let reply = ask(&stage, &json!({ "query": "{ viewer { role } }" })).await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "data": { "viewer": { "role": "ADMIN" } } })));
    assert_eq!(reply.header("x-request-id").len(), 36);
    assert_eq!(reply.header("cache-control"), "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_written_in_what_the_client_accepts() {
    let stage = Stage::new().await;
    for (accept, written) in [
        (STRICT, "application/graphql-response+json; charset=utf-8"),
        ("application/json", "application/json; charset=utf-8"),
        ("*/*", "application/json; charset=utf-8"),
        ("text/html, application/json;q=0.9", "application/json; charset=utf-8"),
        ("text/event-stream", "text/event-stream"),
    ] {
        let reply = Reply::of(post(&stage, None, accept).body(r#"{"query":"{ __typename }"}"#)).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, written), "{accept}");
    }
    let reply = Reply::of(post(&stage, None, "text/html").body(r#"{"query":"{ __typename }"}"#)).await;
    assert_eq!(reply.status, 406);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_whether_it_was_executed_where_the_media_type_does() {
    let stage = Stage::new().await;
    let token = Some(stage.admin.token.as_str());
    for (body, strict, lenient) in [
        (r#"{"query":"{ node(id: \"x\") { id } }"}"#, 200, 200),
        (r#"{"query":"{ unknown }"}"#, 400, 200),
        (r#"{"query":"{ broken"}"#, 400, 200),
        (r#"{"query":7}"#, 400, 400),
        (r#"{"variables":{}}"#, 400, 400),
        ("{", 400, 400),
        ("", 400, 400),
    ] {
        assert_eq!(Reply::of(post(&stage, token, STRICT).body(body)).await.status, strict, "{body}");
        assert_eq!(Reply::of(post(&stage, token, "application/json").body(body)).await.status, lenient, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_the_schema_and_nothing_else() {
    let stage = Stage::new().await;
    let before = tables::counts(&stage.db).await;
    for query in ["{ __typename }", "{ __schema { queryType { name } } }"] {
        let reply = Reply::of(post(&stage, None, STRICT).body(json!({ "query": query }).to_string())).await;
        assert_eq!(reply.status, 200, "{query}");
        assert!(reply.json()["data"].is_object(), "{}", reply.text);
    }
    for query in [
        "{ viewer { id } }",
        "{ connector(slug: \"stripe\") { id } __typename }",
        "{ eventCursor }",
        "mutation { createClient(input: {name: \"x\"}) { client { id } } }",
    ] {
        let body = json!({ "query": query }).to_string();
        let reply = Reply::of(post(&stage, None, STRICT).body(body.clone())).await;
        assert_eq!((reply.status, reply.code()), (401, json!("UNAUTHENTICATED")), "{query}");
        assert_eq!(reply.json().get("data"), None, "{query}");
        assert_eq!(Reply::of(post(&stage, None, "application/json").body(body)).await.status, 200, "{query}");
    }
    assert_eq!(tables::counts(&stage.db).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_bearer_is_not_nobody() {
    let stage = Stage::new().await;
    for accept in [STRICT, "application/json"] {
        let reply = Reply::of(post(&stage, Some("garbage"), accept).body(r#"{"query":"{ __typename }"}"#)).await;
        assert_eq!((reply.status, reply.code()), (401, json!("UNAUTHENTICATED")));
        assert_eq!(reply.header("www-authenticate"), "Bearer");
        assert_eq!(reply.json().get("data"), None);
    }
    let basic = post(&stage, None, STRICT).basic_auth("mara", Some("x")).body(r#"{"query":"{ __typename }"}"#);
    assert_eq!(Reply::of(basic).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_url_is_refused() {
    let stage = Stage::new().await;
    for parameter in ["access_token", "token", "Authorization"] {
        let mut url = graphql(&stage);
        url.query_pairs_mut().append_pair("query", "{ __typename }").append_pair(parameter, &stage.admin.token);
        let reply = Reply::of(client().get(url)).await;
        assert_eq!((reply.status, reply.code()), (400, json!("BAD_USER_INPUT")), "{parameter}");
        assert!(!reply.text.contains(&stage.admin.token));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_may_come_by_get_and_a_mutation_may_not() {
    let stage = Stage::new().await;
    let before = tables::counts(&stage.db).await;
    let get = |query: &str| {
        let mut url = graphql(&stage);
        url.query_pairs_mut().append_pair("query", query);
        client().get(url).bearer_auth(&stage.admin.token).header("accept", STRICT)
    };
    let reply = Reply::of(get("{ viewer { role } }")).await;
    assert_eq!((reply.status, reply.json()["data"]["viewer"]["role"].clone()), (200, json!("ADMIN")));
    let reply = Reply::of(get("mutation { createClient(input: {name: \"x\"}) { client { id } } }")).await;
    assert_eq!((reply.status, reply.header("allow")), (405, "POST"));
    assert_eq!(tables::counts(&stage.db).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_a_web_page_can_send_unasked_change_nothing() {
    let stage = Stage::new().await;
    let before = tables::counts(&stage.db).await;
    for media in [
        "text/plain",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "",
    ] {
        let request = client().post(graphql(&stage)).bearer_auth(&stage.admin.token).header("content-type", media);
        let body = r#"{"query":"mutation { createClient(input: {name: \"x\"}) { client { id } } }"}"#;
        assert_eq!(Reply::of(request.body(body)).await.status, 415, "{media}");
    }
    for method in [reqwest::Method::PUT, reqwest::Method::DELETE, reqwest::Method::PATCH] {
        let reply = Reply::of(client().request(method.clone(), graphql(&stage))).await;
        assert_eq!((reply.status, reply.header("allow")), (405, "GET, POST"), "{method}");
    }
    assert_eq!(tables::counts(&stage.db).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_allowed_origins_may_call_and_others_may_not() {
    let stage = Stage::new().await;
    let preflight = async |origin: &str| {
        let request = client().request(reqwest::Method::OPTIONS, graphql(&stage)).header("origin", origin);
        let request = request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization, content-type");
        Reply::of(request).await.header("access-control-allow-origin").to_owned()
    };
    assert_eq!(preflight("https://app.example").await, "https://app.example");
    for origin in ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"] {
        assert_eq!(preflight(origin).await, "", "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_batch_is_answered_in_order_and_a_large_one_refused() {
    let stage = Stage::new().await;
    let create = |n: usize| {
        json!({
            "query": "mutation($name: String!) { createClient(input: {name: $name}) { client { name } } }",
            "variables": { "name": format!("Client {n}") },
        })
    };
    let reply = ask(&stage, &Value::Array((0..3).map(create).collect())).await.json();
    let names: Vec<_> = (0..3).map(|n| reply[n]["data"]["createClient"]["client"]["name"].clone()).collect();
    assert_eq!(names, ["Client 0", "Client 1", "Client 2"]);
    let before = tables::counts(&stage.db).await;
    for n in [0, 11, 500] {
        let reply = ask(&stage, &Value::Array((0..n).map(create).collect())).await;
        assert_eq!((reply.status, reply.code()), (400, json!("BAD_USER_INPUT")), "{n}");
    }
    assert_eq!(tables::counts(&stage.db).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let limits: fn(&mut patchbay::config::Limits) = |limits| {
        limits.requests_per_second = 1;
        limits.request_burst = 2;
    };
    let stage = Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await;
    let body = json!([{ "query": "{ __typename }" }, { "query": "{ __typename }" }, { "query": "{ __typename }" }]);
    let reply = ask(&stage, &body).await.json();
    assert_eq!(reply[2]["errors"][0]["extensions"]["code"], "RATE_LIMITED", "each of a batch counts: {reply}");
    let reply = ask(&stage, &json!({ "query": "{ __typename }" })).await;
    assert_eq!((reply.status, reply.code()), (429, json!("RATE_LIMITED")));
    assert!(reply.json()["errors"][0]["extensions"]["retryAfterSeconds"].as_u64().unwrap() >= 1);
    assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
}
