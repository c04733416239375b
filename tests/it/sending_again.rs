//! A mutation that is sent again with its `Idempotency-Key`: done once, answered alike; and how much anyone may ask.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{Person, Setup, Stage, http, nodes};

/// What came of a request with a key.
struct Reply {
    status: u16,
    /// Whether it was answered before.
    replayed: bool,
    body: Value,
}

impl Reply {
    fn code(&self) -> &str {
        self.body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
    }
}

/// Sends `body` as `person`, under the key.
async fn send(stage: &Stage, person: &Person, key: &str, body: Value) -> Reply {
    let request = http()
        .post(stage.url.join("/graphql").unwrap())
        .header("accept", "application/graphql-response+json")
        .header("idempotency-key", key)
        .bearer_auth(&person.token)
        .json(&body);
    let response = request.send().await.unwrap();
    let replayed = response.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
    Reply { status: response.status().as_u16(), replayed, body: response.json().await.unwrap() }
}

fn creating(name: &str) -> Value {
    let query =
        "mutation($input: CreateClientInput!) { createClient(input: $input) { client { id } errors { code } } }";
    json!({ "query": query, "variables": { "input": { "name": name } } })
}

async fn clients(stage: &Stage) -> usize {
    nodes(&stage.admin.sees("{ clients { nodes { id } } }").await["clients"]).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_twice_under_one_key_is_done_once_and_answered_alike() {
    let stage = Stage::new().await;
    let first = send(&stage, &stage.admin, "order-1", creating("Acme")).await;
    let again = send(&stage, &stage.admin, "\"order-1\"", creating("Acme")).await;
    assert!(first.body["data"]["createClient"]["client"]["id"].is_string(), "{}", first.body);
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(clients(&stage).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_knows_the_answer_and_a_restart_does_not_lose_it() {
    let stage = Stage::new().await;
    let first = send(&stage, &stage.admin, "k", creating("Acme")).await;
    let other = stage.another_node().await;
    assert_eq!(send(&other, &stage.admin, "k", creating("Acme")).await.body, first.body);
    let admin = stage.admin.clone();
    let stage = stage.restarts().await;
    assert_eq!(send(&stage, &admin, "k", creating("Acme")).await.body, first.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_under_the_same_key_is_refused_and_not_done() {
    let stage = Stage::new().await;
    send(&stage, &stage.admin, "k", creating("Acme")).await;
    let other = send(&stage, &stage.admin, "k", creating("Globex")).await;
    assert_eq!((other.status, other.code()), (400, "BAD_USER_INPUT"), "{}", other.body);
    assert!(!other.body.to_string().contains("Globex"));
    assert_eq!(clients(&stage).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_its_senders_own() {
    let stage = Stage::new().await;
    let bob = stage.person("Bob", "STAFF", None).await;
    send(&stage, &stage.admin, "k", creating("Acme")).await;
    let theirs = send(&stage, &bob, "k", creating("Globex")).await;
    assert!(theirs.body["data"]["createClient"]["client"]["id"].is_string(), "{}", theirs.body);
    assert_eq!(clients(&stage).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_under_one_key_do_it_once() {
    let stage = Stage::new().await;
    let sent = (0..8).map(|_| send(&stage, &stage.admin, "k", creating("Acme")));
    for reply in futures_util::future::join_all(sent).await {
        assert!(reply.status == 200 || reply.status == 503 && reply.code() == "UNAVAILABLE", "{}", reply.body);
    }
    assert_eq!(clients(&stage).await, 1);
    assert_eq!(send(&stage, &stage.admin, "k", creating("Acme")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_a_key_is_free_again() {
    let stage = Stage::new().await;
    // PostgreSQL goes by its own clock, which no test moves.
    if !stage.database.is_sqlite() {
        return;
    }
    send(&stage, &stage.admin, "k", creating("Acme")).await;
    stage.later(TimeDelta::hours(24) + TimeDelta::seconds(1));
    let admin = stage.signed_in(&stage.admin.id);
    let later = send(&stage, &admin, "k", creating("Globex")).await;
    assert!(!later.replayed && later.status == 200, "{}", later.body);
    stage.later(TimeDelta::hours(25));
    stage.run_jobs().await;
    assert_eq!(kept(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_can_be_mended_are_an_answer_and_a_refused_document_is_none() {
    let stage = Stage::new().await;
    let empty = send(&stage, &stage.admin, "k", creating(" ")).await;
    assert_eq!(empty.body["data"]["createClient"]["errors"][0]["code"], "INVALID", "{}", empty.body);
    assert!(send(&stage, &stage.admin, "k", creating(" ")).await.replayed);
    let broken = send(&stage, &stage.admin, "l", json!({ "query": "mutation { nothing }" })).await;
    assert_eq!(broken.status, 400, "{}", broken.body);
    assert!(!send(&stage, &stage.admin, "l", creating("Acme")).await.replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_answered_anew_whatever_its_key() {
    let stage = Stage::new().await;
    let count = json!({ "query": "{ clients { totalCount } }" });
    assert_eq!(send(&stage, &stage.admin, "k", count.clone()).await.body["data"]["clients"]["totalCount"], 0);
    send(&stage, &stage.admin, "k", creating("Acme")).await;
    assert_eq!(send(&stage, &stage.admin, "k", count).await.body["data"]["clients"]["totalCount"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_and_a_key_on_a_batch_are_refused() {
    let stage = Stage::new().await;
    for (key, body) in [(" ", creating("Acme")), ("two words", creating("Acme")), ("k", json!([creating("Acme")]))] {
        let reply = send(&stage, &stage.admin, key, body).await;
        assert_eq!((reply.status, reply.code()), (400, "BAD_USER_INPUT"), "{key}: {}", reply.body);
    }
    assert_eq!(clients(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_not_in_the_database_in_clear() {
    let stage = Stage::new().await;
    send(&stage, &stage.admin, "k", creating("Planted Name")).await;
    use sea_orm::EntityTrait as _;
    let row = entity::kept_answer::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&row.sealed).into_owned();
    assert!(!text.contains("Planted") && !text.contains("createClient"), "{text}");
}

/// How many answers are kept.
async fn kept(stage: &Stage) -> u64 {
    use sea_orm::{EntityTrait as _, PaginatorTrait as _};
    entity::kept_answer::Entity::find().count(stage.db.reader()).await.unwrap()
}

async fn allowed(burst: &str) -> Stage {
    let settings = [("PATCHBAY_MAX_RATE", "1"), ("PATCHBAY_MAX_BURST", burst)];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Stage::with(Setup { settings, ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_by_aliases_count_one_by_one() {
    let stage = allowed("30").await;
    let guesses = |n: usize| {
        let guess = |i: usize| format!("g{i}: client(externalId: \"{i}\") {{ id }}");
        format!("{{ {} }}", (0..n).map(guess).collect::<Vec<_>>().join(" "))
    };
    stage.admin.sees(&guesses(25)).await;
    let refused = stage.admin.tries(&guesses(25), Value::Null).await;
    assert_eq!((refused.status, refused.code()), (429, Some("RATE_LIMITED")), "{}", refused.body);
    let wait = refused.body["errors"][0]["extensions"]["retryAfterSeconds"].as_u64().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_differ_are_one_operation() {
    let stage = allowed("3").await;
    stage.admin.sees("{ viewer { id } clients { totalCount } connections { totalCount } eventCursor }").await;
    stage.admin.sees("{ viewer { id } clients { totalCount } connections { totalCount } eventCursor }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_waits_and_nobody_else_does() {
    let stage = allowed("5").await;
    let bob = stage.person("Bob", "STAFF", None).await;
    let mut refused = None;
    for _ in 0..12 {
        let answer = stage.admin.tries("{ __typename }", Value::Null).await;
        if answer.status == 429 {
            refused = Some(answer);
        }
    }
    assert_eq!(refused.unwrap().code(), Some("RATE_LIMITED"));
    bob.sees("{ viewer { id } }").await;
}
