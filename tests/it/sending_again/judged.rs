//! Whoever sends the same again is judged anew: the answer is theirs only while they are what they were.

use super::*;
use crate::harness::id;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_handed_out_to_who_is_still_what_they_were() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let otis = stage.person("Otis", "ADMIN", None).await;
    let set = async |change: Value| {
        let mut input = change;
        input["userId"] = json!(otis.id);
        stage.admin.does("updateUser", input, "").await;
    };
    let again = async || {
        let reply = send(&stage, &otis, "k", making_key()).await;
        (reply.replayed, reply.code().to_owned(), reply.body["data"]["createApiKey"]["secret"].is_string())
    };
    let first = send(&stage, &otis, "k", making_key()).await;
    assert!(first.body["data"]["createApiKey"]["secret"].is_string(), "{}", first.body);
    assert_eq!(again().await, (true, String::new(), true));
    for lesser in
        [json!({ "role": "STAFF" }), json!({ "role": "MEMBER" }), json!({ "role": "CLIENT", "clientId": acme })]
    {
        set(lesser.clone()).await;
        assert_eq!(again().await, (false, "FORBIDDEN".to_owned(), false), "{lesser}");
    }
    set(json!({ "role": "ADMIN" })).await;
    assert_eq!(again().await, (true, String::new(), true), "what it was, once more");
}

/// Makes a key that can do all, whose secret is shown once.
fn making_key() -> Value {
    let query = "mutation { createApiKey(input: { name: \"Robot\", role: ADMIN }) { secret errors { code } } }";
    json!({ "query": query })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_became_more_gets_the_answer_and_a_key_is_judged_by_what_it_may_now() {
    let stage = Stage::new().await;
    let otis = stage.person("Otis", "STAFF", None).await;
    send(&stage, &otis, "k", creating("Acme")).await;
    stage.admin.does("updateUser", json!({ "userId": otis.id, "role": "ADMIN" }), "").await;
    assert!(send(&stage, &otis, "k", creating("Acme")).await.replayed);

    let (_, key) = otis.makes_key(json!({ "name": "Tool", "role": "ADMIN" })).await;
    send(&stage, &key, "k", making_key()).await;
    assert!(send(&stage, &key, "k", making_key()).await.replayed);
    stage.admin.does("updateUser", json!({ "userId": otis.id, "role": "STAFF" }), "").await;
    assert_eq!(send(&stage, &key, "k", making_key()).await.code(), "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_was_taken_back_takes_the_answers_about_it_along() {
    let stage = Stage::new().await;
    let nina = stage.person("Nina", "MEMBER", None).await;
    let shared = id(&stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await);
    let hidden = stage.keyed("lamps", &stage.admin.creates_client("Acme").await).await;
    let share = json!({ "connectionId": shared, "userIds": [nina.id] });
    stage.admin.does("shareConnection", share.clone(), "").await;
    let dataset = stage.admin.makes_dataset(&shared, "visits").await;
    // Neither names the connection in its answer.
    let renaming = |connection: &str| {
        let query = "mutation($input: UpdateConnectionInput!) { updateConnection(input: $input) { connection { name } errors { code } } }";
        json!({ "query": query, "variables": { "input": { "connectionId": connection, "name": "Nina's" } } })
    };
    let measuring = {
        let query =
            "mutation($input: CreateMetricInput!) { createMetric(input: $input) { metric { name } errors { code } } }";
        let input = json!({ "datasetId": dataset, "name": "Visits", "aggregation": "COUNT" });
        json!({ "query": query, "variables": { "input": input } })
    };
    let asked = [("one", renaming(&shared)), ("two", measuring), ("three", renaming(&hidden))];
    for (key, body) in &asked {
        let first = send(&stage, &nina, key, body.clone()).await;
        assert_eq!(first.status, 200, "{key}: {}", first.body);
        let again = send(&stage, &nina, key, body.clone()).await;
        assert_eq!((again.replayed, &again.body), (true, &first.body), "{key}");
    }
    stage.admin.does("unshareConnection", share.clone(), "").await;
    let mut codes = Vec::new();
    for (key, body) in &asked {
        let reply = send(&stage, &nina, key, body.clone()).await;
        codes.push((reply.replayed, reply.code().to_owned()));
    }
    let gone = (false, "FORBIDDEN".to_owned());
    let as_before = (true, String::new());
    assert_eq!(
        codes,
        [gone.clone(), gone, as_before],
        "what was never seen is answered as before: it tells of nothing"
    );
    stage.admin.does("shareConnection", share, "").await;
    assert!(send(&stage, &nina, "one", renaming(&shared)).await.replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_has_so_many_answers_kept_and_no_more() {
    use entity::kept_answer;
    use sea_orm::{EntityTrait as _, IntoActiveModel as _};
    let stage = Stage::new().await;
    let bob = stage.person("Bob", "STAFF", None).await;
    send(&stage, &stage.admin, "k", creating("Acme")).await;
    let row = kept_answer::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    let many: Vec<_> = (1..20_000_u32)
        .map(|number| kept_answer::Model {
            id: uuid::Uuid::from_u128(rand::random()),
            idempotency_key: format!("kept-{number}"),
            ..row.clone()
        })
        .collect();
    for part in many.chunks(1_000) {
        let rows = part.iter().cloned().map(kept_answer::Model::into_active_model);
        kept_answer::Entity::insert_many(rows).exec_without_returning(stage.db.writer()).await.unwrap();
    }
    let over = send(&stage, &stage.admin, "one-more", creating("Globex")).await;
    assert_eq!((over.status, over.code()), (429, "RATE_LIMITED"), "{}", over.body);
    let wait = over.body["errors"][0]["extensions"]["retryAfterSeconds"].as_u64().unwrap();
    assert!((86_000..=86_401).contains(&wait), "until the oldest is forgotten: {wait}");
    assert!(send(&stage, &stage.admin, "k", creating("Acme")).await.replayed, "what is kept is handed out");
    assert!(!send(&stage, &bob, "one-more", creating("Globex")).await.replayed, "others have room");
    stage.admin.creates_client("Initech").await;
    assert_eq!(clients(&stage).await, 3, "without a key nothing is kept");
}
