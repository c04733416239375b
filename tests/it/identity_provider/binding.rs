//! Whom a subject is bound to.

use serde_json::{Value, json};

use super::{House, but, claims};
use crate::harness::{Person, Stage, leave_out, nodes};

/// The audit entries of bindings, as the ADMIN reads them.
async fn bound(stage: &Stage) -> Vec<Value> {
    let query = r#"{ auditLog(filter: { action: "user.bound" }) { nodes { user { id } subject { id } details } } }"#;
    nodes(&stage.admin.sees(query).await["auditLog"])
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_bound_once_and_the_audit_log_tells_without_the_token() {
    let house = House::new().await;
    let token = house.key.signs(&house.mara());
    let asking = (0..8).map(|_| house.accepts(&token, &house.stage.admin));
    futures_util::future::join_all(asking).await;
    let entries = bound(&house.stage).await;
    let mara = json!({ "id": house.stage.admin.id });
    let details = json!({ "after": { "issuer": super::ISSUER, "subject": "s-mara" } });
    assert_eq!(entries, [json!({ "user": mara, "subject": mara, "details": details })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_verified_address_of_somebody_here_binds() {
    let house = House::new().await;
    let good = house.mara();
    for value in [json!(false), json!("false"), json!("True"), json!(1), json!(null), json!([true])] {
        house.refuses(&house.key.signs(&but(&good, "email_verified", value.clone())), &value.to_string()).await;
    }
    for address in [
        json!(null),
        json!(""),
        json!("nobody@lighthouse.example"),
        json!("mara@lighthouse.example, eve@evil.example"),
        json!("mara@lighthouse.example\u{0}"),
        // Letters that fold to those of the address: a mailbox of somebody else.
        json!("ｍara@lighthouse.example"),
        json!("mara@lighthouse.example".replace('m', "ᵐ")),
    ] {
        house.refuses(&house.key.signs(&but(&good, "email", address.clone())), &address.to_string()).await;
    }
    assert_eq!(bound(&house.stage).await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_bound_is_not_taken_over_by_another_subject_with_the_address() {
    let house = House::new().await;
    let (good, admin) = (house.mara(), &house.stage.admin);
    house.accepts(&house.key.signs(&good), admin).await;
    house.refuses(&house.key.signs(&but(&good, "sub", json!("s-other"))), "another subject").await;
    house.refuses(&house.key.signs(&but(&good, "sub", json!("S-MARA"))), "a subject is told letter by letter").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_bound_stays_so_whatever_becomes_of_the_address() {
    let house = House::new().await;
    let (good, admin) = (house.mara(), house.stage.admin.clone());
    let sam = house.stage.person("Sam", "STAFF", None).await;
    house.accepts(&house.key.signs(&good), &admin).await;
    for (claim, value) in [
        ("email", json!("mara@new.example")),
        ("email", json!("sam@lighthouse.example")),
        ("email", json!(null)),
        ("email_verified", json!(false)),
    ] {
        house.accepts(&house.key.signs(&but(&good, claim, value)), &admin).await;
    }
    house.accepts(&house.key.signs(&claims(&house.stage, "s-sam", "sam@lighthouse.example")), &sam).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn role_and_activity_are_the_databases_each_time() {
    let house = House::new().await;
    let sam = house.stage.person("Sam", "STAFF", None).await;
    let token = house.key.signs(&claims(&house.stage, "s-sam", "sam@lighthouse.example"));
    let there = Person::new(&house.stage.url, &sam.id, token.clone());
    let admin = &house.stage.admin;
    let role = async || there.sees("{ viewer { role } }").await["viewer"]["role"].clone();
    assert_eq!(role().await, "STAFF");
    admin.does("updateUser", json!({ "userId": sam.id, "role": "MEMBER" }), "").await;
    assert_eq!(role().await, "MEMBER");

    let mut socket = there.socket().await;
    socket.subscribe("1", "subscription { connectionsChanged { kind } }", json!({})).await;
    admin.does("updateUser", json!({ "userId": sam.id, "active": false }), "").await;
    assert_eq!(socket.ends().await, 4403);
    house.refuses(&token, "deactivated").await;
    admin.does("updateUser", json!({ "userId": sam.id, "active": true }), "").await;
    house.accepts(&token, &sam).await;
    assert_eq!(bound(&house.stage).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_inactive_is_not_bound() {
    let house = House::new().await;
    let sam = house.stage.person("Sam", "STAFF", None).await;
    house.stage.admin.does("updateUser", json!({ "userId": sam.id, "active": false }), "").await;
    let token = house.key.signs(&claims(&house.stage, "s-sam", "sam@lighthouse.example"));
    house.refuses(&token, "inactive").await;
    assert_eq!(bound(&house.stage).await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_knows_who_is_bound_and_who_left() {
    let house = House::new().await;
    if house.stage.database.is_sqlite() {
        leave_out("several nodes need PostgreSQL");
        return;
    }
    let other = house.stage.another_node().await;
    let sam = house.stage.person("Sam", "STAFF", None).await;
    let token = house.key.signs(&claims(&house.stage, "s-sam", "sam@lighthouse.example"));
    let both = (0..6).map(|turn| super::viewer(if turn % 2 == 0 { &house.stage } else { &other }, &token));
    for answer in futures_util::future::join_all(both).await {
        assert_eq!(answer.body["data"]["viewer"]["user"]["id"], json!(sam.id), "{:#}", answer.body);
    }
    assert_eq!(bound(&house.stage).await.len(), 1);
    house.stage.admin.does("updateUser", json!({ "userId": sam.id, "active": false }), "").await;
    super::refuses(&other, &token, "deactivated at the other node").await;
}
