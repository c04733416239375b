//! What providers are asked for by those who look: once for a request, at the connector's pace, and nobody waits for long.

use chrono::TimeDelta;
use futures_util::future::join_all;
use patchbay::sandbox::Endpoint;
use serde_json::{Value, json};

use crate::harness::{Person, Stage, http};

/// Calls at once that a connector's pace allows one workspace where its file does not say.
const AT_ONCE: usize = 12;

async fn authorization(stage: &Stage, connection: &str) -> String {
    let connection = stage.admin.connection(connection).await;
    connection["authorization"]["id"].as_str().unwrap().to_owned()
}

fn asked(authorization: &str, first: usize) -> String {
    format!("{{ authorization(id: \"{authorization}\") {{ availableAccounts(first: {first}) {{ totalCount }} }} }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_asks_for_the_accounts_of_an_authorization_once_under_whatever_names() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let authorization = authorization(&stage, &grant.lamps).await;
    let calls = || stage.sandbox.calls(Endpoint::Accounts);
    let before = calls();
    let page = |number: usize| format!("a{number}: availableAccounts(first: {number}) {{ totalCount }}");
    let pages: String = (1..8).map(page).collect();
    let query = format!(
        "{{ authorization(id: \"{authorization}\") {{ {pages} }} connection(id: \"{}\") {{ authorization {{ {pages} }} }} \
         nodes(ids: [\"{authorization}\"]) {{ ... on Authorization {{ {pages} }} }} }}",
        grant.hotels
    );
    let seen = stage.admin.sees(&query).await;
    assert_eq!(calls(), before + 1);
    assert_eq!(seen["authorization"]["a1"], seen["connection"]["authorization"]["a7"]);
    assert!(seen["nodes"][0]["a3"]["totalCount"].as_i64().unwrap() > 0);

    stage.admin.sees(&query).await;
    assert_eq!(calls(), before + 2, "another request asks again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_of_a_batch_ask_once_together() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let authorization = authorization(&stage, &grant.lamps).await;
    let before = stage.sandbox.calls(Endpoint::Accounts);
    let batch: Vec<Value> = (1..6).map(|first| json!({ "query": asked(&authorization, first) })).collect();
    let token = stage.token(&stage.admin.id, TimeDelta::hours(1));
    let sent = http().post(stage.url.join("/graphql").unwrap()).bearer_auth(token).json(&batch).send().await.unwrap();
    let answers: Vec<Value> = sent.json().await.unwrap();
    assert_eq!(answers.len(), 5);
    assert!(answers.iter().all(|answer| answer["data"]["authorization"]["availableAccounts"].is_object()));
    assert_eq!(stage.sandbox.calls(Endpoint::Accounts), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_a_provider_keep_to_its_pace_and_who_would_wait_for_long_is_told() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let authorization = authorization(&stage, &grant.lamps).await;
    let query = asked(&authorization, 1);
    let ask = |admin: Person| {
        let query = query.clone();
        async move { admin.tries(&query, json!({})).await }
    };
    let gate = stage.gates(Endpoint::Accounts, AT_ONCE);
    let first = join_all((0..AT_ONCE).map(|_| ask(stage.admin.clone())));
    let (first, late) = stage.while_held(&gate, AT_ONCE, first, ask(stage.admin.clone())).await;
    assert_eq!(late.code(), Some("UNAVAILABLE"));
    for answer in first {
        assert!(answer.body["data"]["authorization"]["availableAccounts"].is_object(), "{}", answer.body);
    }
}
