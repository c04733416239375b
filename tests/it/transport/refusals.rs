//! What is refused before it runs: the answer says where and what, and repeats nothing.

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_repeats_what_was_submitted() {
    let stage = Stage::new().await;
    let with = |query: &str, value: Value| json!({ "query": query, "variables": { "v": value } });
    let filtered = "query($v: ConnectionFilter) { connections(filter: $v) { totalCount } }";
    let connecting = "mutation($v: ConnectInput!) { connect(input: $v) { errors { code } } }";
    let using = |using: Value| with(connecting, json!({ "connector": "stripe", "using": using }));
    for request in [
        json!({ "query": "{ connections(filter: { status: [hunter2] }) { totalCount } }" }),
        json!({ "query": "{ connections(first: \"hunter2\") { totalCount } }" }),
        json!({ "query": "{ connections(first: 99999999999) { totalCount hunter2 } }" }),
        with(filtered, json!({ "status": ["hunter2"] })),
        with(filtered, json!({ "hunter2": 1 })),
        with(filtered, json!({ "statusChangedAfter": "hunter2" })),
        with(filtered, json!({ "statusChangedAfter": { "hunter2": "hunter2" } })),
        with(filtered, json!("hunter2")),
        using(json!({ "authorizationId": "hunter2", "credentials": [] })),
        using(json!({ "credentials": "hunter2" })),
        using(json!({ "credentials": [{ "name": "hunter2" }] })),
        using(json!({ "credentials": [{ "name": "api_key", "value": ["hunter2"] }] })),
        using(json!({ "hunter2": "hunter2" })),
        with(connecting, json!({ "connector": "stripe", "hunter2": "hunter2" })),
        json!({ "query": "{ hunter2 }" }),
        json!({ "query": "{ viewer(hunter2: 1) { id } }" }),
        json!({ "query": "{ viewer { id @hunter2 } }" }),
        json!({ "query": "{ ...hunter2 }" }),
        json!({ "query": "query hunter2($hunter2: Int) { __typename }" }),
        json!({ "query": "query ($a: hunter2) { nodes(ids: $a) { id } }" }),
        json!({ "query": "{ node(id: $hunter2) { id } }" }),
        json!({ "query": "{ connections(filter: \"hunter2\") { totalCount } }" }),
        json!({ "query": "{ __typename } fragment hunter2 on hunter2 { hunter2 }" }),
        json!({ "query": "{ a: eventCursor a: viewer { id } hunter2 }" }),
        json!({ "query": "{ eventCursor(hunter2" }),
        json!({ "query": "hunter2" }),
        json!({ "query": "query A { __typename } query B { __typename }", "operationName": "hunter2" }),
        json!({ "query": { "hunter2": 1 } }),
        json!({ "query": "{ __typename }", "variables": "hunter2" }),
        json!({ "query": "{ __typename }", "operationName": ["hunter2"] }),
        json!("hunter2"),
    ] {
        let reply = ask(&stage, &request).await;
        assert!(!reply.text.contains("hunter2"), "{request}\n{}", reply.text);
        assert_eq!(reply.code(), "BAD_USER_INPUT", "{request}\n{}", reply.text);
        assert!(reply.json()["data"].is_null(), "{request}\n{}", reply.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_where_and_what() {
    let stage = Stage::new().await;
    let query = "{\n  connections(filter: { status: [GONE] }) { totalCount }\n}";
    let error = ask(&stage, &json!({ "query": query })).await.json()["errors"][0].clone();
    assert_eq!(error["message"], "Not a valid value for filter.status.0: ConnectionStatus has no such value.");
    assert_eq!(error["locations"], json!([{ "line": 2, "column": 15 }]));
    let error = ask(&stage, &json!({ "query": "{ viewer { pasword } }" })).await.json()["errors"][0].clone();
    assert_eq!(error["message"], "There is no such field on type Viewer.");
}
