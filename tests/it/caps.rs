//! How much of what ends by itself one person may have: attempts and links; the answers that are kept for them are in
//! `sending_again`.

use chrono::TimeDelta;
use entity::{attempt, link};
use patchbay::clock::Clock;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
};
use serde_json::{Value, json};

use crate::harness::{Stage, id};

fn random() -> uuid::Uuid {
    uuid::Uuid::from_u128(rand::random())
}

/// As many attempts more as `row`, each like it.
async fn more_attempts(stage: &Stage, row: &attempt::Model, count: usize) {
    let rows: Vec<_> = (0..count).map(|_| attempt::Model { id: random(), ..row.clone() }.into_active_model()).collect();
    for part in rows.chunks(500) {
        attempt::Entity::insert_many(part.iter().cloned()).exec_without_returning(stage.db.writer()).await.unwrap();
    }
}

async fn more_links(stage: &Stage, row: &link::Model, count: usize) {
    let like = |_| {
        let token_hash = random().as_bytes().to_vec();
        link::Model { id: random(), token_hash, ..row.clone() }.into_active_model()
    };
    let rows: Vec<_> = (0..count).map(like).collect();
    for part in rows.chunks(1_000) {
        link::Entity::insert_many(part.iter().cloned()).exec_without_returning(stage.db.writer()).await.unwrap();
    }
}

fn site() -> Value {
    json!({ "connector": "sandbox-analytics", "using": { "browser": {} } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_has_a_thousand_sign_ins_under_way_and_no_more() {
    let stage = Stage::new().await;
    let (nina, otto) = (stage.person("Nina", "MEMBER", None).await, stage.person("Otto", "MEMBER", None).await);
    let connection = id(&nina.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await);
    nina.starts_connecting(site()).await;
    let open = attempt::Entity::find().filter(attempt::Column::EndedAt.is_null());
    let row = open.clone().one(stage.db.reader()).await.unwrap().unwrap();
    more_attempts(&stage, &row, 998).await;
    let (last, _) = nina.starts_connecting(site()).await;
    for (mutation, input) in [("connect", site()), ("reconnect", json!({ "connectionId": connection }))] {
        let error = nina.refused(mutation, input).await;
        assert_eq!(error["code"], "TOO_MANY", "{mutation}: {error:#}");
        assert!(error["message"].as_str().unwrap().contains("wait ten minutes"), "{error:#}");
    }
    assert_eq!(open.count(stage.db.reader()).await.unwrap(), 1_000);
    otto.starts_connecting(site()).await;
    assert_eq!(nina.attempt(&last).await["status"], "PENDING");

    stage.later(TimeDelta::minutes(11));
    stage.signed_in(&nina.id).starts_connecting(site()).await;
    // A hundred at each tick, as they always were.
    stage.after_ticks(12).await;
    let left =
        attempt::Entity::find().filter(attempt::Column::EndedAt.is_null()).count(stage.db.reader()).await.unwrap();
    assert_eq!(left, 1, "the rest has been swept");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_link_over_and_over_keeps_its_maker_from_nothing() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let made = async || {
        let input = json!({ "clientId": acme, "connectors": ["sandbox-ads"] });
        let made = stage.admin.does("createConnectLink", input, "url").await;
        made["url"].as_str().unwrap().to_owned()
    };
    let (link, other) = (made().await, made().await);
    let browser = stage.browser();
    let form = [("connector", "sandbox-ads")];
    assert_eq!(browser.submits(&link, &form).await.status, 200);
    let row = attempt::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    more_attempts(&stage, &row, 99).await;
    let over = browser.submits(&link, &form).await;
    assert_eq!(over.status, 422, "{}", over.body);
    assert!(over.body.contains("Wait ten minutes"), "{}", over.body);
    assert_eq!(browser.submits(&other, &form).await.status, 200, "another link has room");
    stage.admin.starts_connecting(site()).await;
    more_attempts(&stage, &row, 1_000).await;
    stage.admin.starts_connecting(site()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_has_ten_thousand_open_links_and_no_more() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let nina = stage.person("Nina", "MEMBER", None).await;
    let connection = id(&nina.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await);
    let again = json!({ "connectionId": connection, "expiresInHours": 1 });
    nina.does("createReconnectLink", again.clone(), "url").await;
    let row = link::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    more_links(&stage, &row, 9_999).await;
    let error = nina.refused("createReconnectLink", again.clone()).await;
    assert_eq!(error["code"], "TOO_MANY", "{error:#}");
    stage.admin.does("createReconnectLink", again.clone(), "url").await;
    let (_, key) = stage.admin.makes_key(json!({ "name": "Tool", "role": "STAFF" })).await;
    key.does("createConnectLink", json!({ "clientId": acme, "connectors": ["sandbox-ads"] }), "url").await;
    // One that ended makes room.
    let mut ended = row.into_active_model();
    ended.ended_at = Set(Some(stage.clock.now()));
    ended.update(stage.db.writer()).await.unwrap();
    nina.does("createReconnectLink", again.clone(), "url").await;
    stage.later(TimeDelta::hours(2));
    let nina = stage.signed_in(&nina.id);
    nina.does("createReconnectLink", again, "url").await;
}
