//! Looking at a connection now, because somebody asks: `checkConnection`.

use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use crate::harness::{CONNECTION, Person, Stage};

fn id(node: &Value) -> &str {
    node["id"].as_str().unwrap()
}

async fn checks(person: &Person, connection: &Value) -> Value {
    let fields = format!("connection {{ {CONNECTION} lastCheckedAt }}");
    person.does("checkConnection", json!({ "connectionId": connection["id"] }), &fields).await["connection"].clone()
}

async fn ads(stage: &Stage, account: &str) -> Value {
    stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-ads", "accountId": account }), "ada").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_was_seen_to_work_now_and_is_no_news() {
    let stage = Stage::new().await;
    let connection = ads(&stage, "100-301").await;
    let first = checks(&stage.admin, &connection).await;
    let cursor = stage.admin.event_cursor().await;
    let second = checks(&stage.admin, &connection).await;
    assert_eq!(second["status"], "CONNECTED");
    assert!(second["lastCheckedAt"].as_str() > first["lastCheckedAt"].as_str(), "{first:#} {second:#}");
    assert_eq!(stage.admin.changes_since(&cursor).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_is_found_at_once_with_all_that_share_it() {
    let stage = Stage::new().await;
    let (lamps, hotels) = (ads(&stage, "100-301").await, ads(&stage, "100-302").await);
    stage.sandbox.revoke_person("ada");
    let cursor = stage.admin.event_cursor().await;
    let broken = checks(&stage.admin, &lamps).await;
    assert_eq!((&broken["status"], &broken["disconnection"]["reason"]), (&json!("DISCONNECTED"), &json!("REVOKED")));
    assert_eq!(stage.admin.connection(id(&hotels)).await["status"], "DISCONNECTED");
    let changes = stage.admin.changes_since(&cursor).await;
    assert_eq!((changes.len(), &changes[0]["connectionCount"]), (1, &json!(2)));
    checks(&stage.admin, &hotels).await;
    assert_eq!(stage.admin.changes_since(&cursor).await.len(), 1, "it is told of once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_has_ended_is_renewed_and_nothing_is_broken() {
    let stage = Stage::new().await;
    let connection = ads(&stage, "100-301").await;
    stage.sandbox.expire_access_tokens();
    assert_eq!(checks(&stage.admin, &connection).await["status"], "CONNECTED");
    assert_eq!(stage.sandbox.token_calls().refresh_token, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_withdrawn_concerns_that_connection_alone_and_is_back_when_it_is() {
    let stage = Stage::new().await;
    let (lamps, hotels) = (ads(&stage, "100-301").await, ads(&stage, "100-302").await);
    stage.sandbox.withdraw("100-301");
    let lost = checks(&stage.admin, &lamps).await;
    assert_eq!((&lost["status"], &lost["disconnection"]["reason"]), (&json!("DISCONNECTED"), &json!("ACCESS_LOST")));
    assert_eq!(lost["authorization"]["status"], "CONNECTED");
    assert_eq!(checks(&stage.admin, &hotels).await["status"], "CONNECTED");

    stage.sandbox.give_back("100-301");
    let cursor = stage.admin.event_cursor().await;
    let back = checks(&stage.admin, &lamps).await;
    assert_eq!((&back["status"], &back["disconnection"]), (&json!("CONNECTED"), &Value::Null));
    let changes = stage.admin.changes_since(&cursor).await;
    assert_eq!((&changes[0]["kind"], &changes[0]["by"]), (&json!("RECONNECTED"), &Value::Null));
    assert_eq!(changes[0]["disconnection"]["endedBy"], "RECOVERED");
    assert_eq!(back["createdBy"]["id"], stage.admin.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_breaks_nothing() {
    let stage = Stage::new().await;
    let connection = ads(&stage, "100-301").await;
    for fault in [Fault::ServerError, Fault::Garbage, Fault::QuotaExceeded, Fault::RateLimited { retry_after: 3 }] {
        stage.sandbox.fail_next(Endpoint::Identity, fault.clone(), 2);
        stage.sandbox.fail_next(Endpoint::Account, fault.clone(), 2);
        assert_eq!(checks(&stage.admin, &connection).await["status"], "CONNECTED", "{fault:?}");
        stage.sandbox.clear_faults();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_is_looked_at_twice() {
    let stage = Stage::new().await;
    let connection = ads(&stage, "100-301").await;
    stage.sandbox.fail_next(Endpoint::Account, Fault::Forbidden, 1);
    assert_eq!(checks(&stage.admin, &connection).await["status"], "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_tend_it_does_not_have_it_looked_at() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let (carl, nina) = (stage.person("Carl", "CLIENT", Some(&acme)).await, stage.person("Nina", "MEMBER", None).await);
    let connection = ads(&stage, "100-301").await;
    let calls = stage.sandbox.calls(Endpoint::Identity);
    let input = json!({ "connectionId": connection["id"] });
    assert_eq!(carl.tries_mutation("checkConnection", input.clone(), "").await.code(), Some("FORBIDDEN"));
    for person in [&nina, &stage.stranger().await] {
        let error = person.refused("checkConnection", input.clone()).await;
        assert_eq!((error["code"].as_str(), &error["field"]), (Some("NOT_FOUND"), &json!(["connectionId"])));
    }
    assert_eq!(stage.sandbox.calls(Endpoint::Identity), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_to_be_lost_is_asked_about_once_by_each_check() {
    let stage = Stage::new().await;
    let connection = ads(&stage, "100-301").await;
    stage.sandbox.withdraw("100-301");
    let asked = stage.sandbox.calls(Endpoint::Account);
    assert_eq!(checks(&stage.admin, &connection).await["status"], "DISCONNECTED");
    assert_eq!(stage.sandbox.calls(Endpoint::Account), asked + 2, "a refusal counts at a second look");
    assert_eq!(checks(&stage.admin, &connection).await["status"], "DISCONNECTED");
    assert_eq!(stage.sandbox.calls(Endpoint::Account), asked + 3);
}
