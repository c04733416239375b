//! Nothing ends before it began, nor changes before it last did: whichever node's clock is ahead, and whoever waited for whom.

use chrono::TimeDelta;
use entity::{attempt, connection, disconnection, incident, link};
use patchbay::{
    clock::Clock,
    sandbox::{Endpoint, Fault},
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use serde_json::{Value, json};

use crate::{
    harness::{Person, Stage, each, id, within_patience},
    nodes::two_nodes_apart,
};

async fn assert_in_order(stage: &Stage) {
    let db = stage.db.reader();
    let spans = |what: &str, began, ended: Option<_>| {
        assert!(ended.is_none_or(|ended| began <= ended), "{what}: {began} to {ended:?}");
    };
    for row in disconnection::Entity::find().all(db).await.unwrap() {
        spans("a disconnection", row.started_at, row.ended_at);
    }
    for row in attempt::Entity::find().all(db).await.unwrap() {
        spans("an attempt", row.created_at, row.ended_at);
    }
    for row in link::Entity::find().all(db).await.unwrap() {
        spans("a link", row.created_at, row.ended_at);
    }
    for row in incident::Entity::find().all(db).await.unwrap() {
        spans("an incident", row.started_at, row.ended_at);
    }
}

async fn check(person: &Person, connection: &str) -> Value {
    let input = json!({ "connectionId": connection });
    person.does("checkConnection", input, "connection { status statusChangedAt }").await["connection"].clone()
}

async fn breaks(stage: &Stage, person: &Person, connection: &str) -> Value {
    stage.sandbox.fail_next(Endpoint::Keyed, Fault::Unauthorized, 1);
    check(person, connection).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_clock_dated_later_ends_after_that() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let lamps = stage.keyed("lamps", &acme).await;
    breaks(&stage, &stage.admin, &lamps).await;
    let link = stage.admin.does("createReconnectLink", json!({ "connectionId": lamps }), "url").await;
    assert!(link["url"].is_string());
    let (started, _) = stage.admin.starts_connecting(json!({ "connector": "sandbox-ads" })).await;
    // As a node would have written it whose clock is five minutes ahead.
    let ahead = stage.clock.now() + TimeDelta::minutes(5);
    let db = stage.db.writer();
    let began = disconnection::Entity::update_many().col_expr(disconnection::Column::StartedAt, Expr::value(ahead));
    began.exec(db).await.unwrap();
    let changed = connection::Entity::update_many().col_expr(connection::Column::StatusChangedAt, Expr::value(ahead));
    changed.exec(db).await.unwrap();
    link::Entity::update_many().col_expr(link::Column::CreatedAt, Expr::value(ahead)).exec(db).await.unwrap();
    let sent = attempt::Entity::update_many()
        .col_expr(attempt::Column::CreatedAt, Expr::value(ahead))
        .col_expr(attempt::Column::ExpiresAt, Expr::value(stage.clock.now()));
    sent.exec(db).await.unwrap();

    assert_eq!(check(&stage.admin, &lamps).await["status"], "CONNECTED");
    stage.run_jobs().await;
    assert_eq!(stage.admin.attempt(&started).await["status"], "EXPIRED");
    let ended = link::Entity::find().filter(link::Column::EndedAt.is_not_null()).all(db).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_in_order(&stage).await;
    let row = connection::Entity::find().one(db).await.unwrap().unwrap();
    assert!(row.status_changed_at > ahead, "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_nodes_whose_clocks_are_apart_everything_happens_in_its_order() {
    let Some((first, ahead)) = two_nodes_apart(TimeDelta::minutes(5)).await else { return };
    let acme = first.admin.creates_client("Acme").await;
    let lamps = first.keyed("lamps", &acme).await;
    let (here, there) = (first.admin.clone(), first.admin.at(&ahead.url));
    let mut changed = vec![String::new()];
    let mut note = |seen: Value, status: &str| {
        assert_eq!(seen["status"], status);
        let at = seen["statusChangedAt"].as_str().unwrap().to_owned();
        assert!(at > *changed.last().unwrap(), "{at} after {changed:?}");
        changed.push(at);
    };
    for (breaking, mending) in [(&there, &here), (&here, &there), (&there, &here), (&there, &there), (&here, &here)] {
        note(breaks(&first, breaking, &lamps).await, "DISCONNECTED");
        note(check(mending, &lamps).await, "CONNECTED");
        assert_eq!(each(&here.tray().await, "kind")[0], "RECOVERED");
        assert_in_order(&first).await;
    }
    let (attempt, url) = there.starts_connecting(json!({ "connector": "sandbox-analytics" })).await;
    first.browser().signs_in(&url.replace(ahead.url.as_str(), first.url.as_str()), "ada").await;
    assert_eq!(here.attempt(&attempt).await["status"], "SUCCEEDED");
    assert_in_order(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_for_a_lock_happens_after_what_it_waited_for() {
    let stage = Stage::new().await;
    if stage.database.is_sqlite() {
        eprintln!("skipped: on SQLite one transaction waits for the other before it begins");
        return;
    }
    let acme = stage.admin.creates_client("Acme").await;
    let lamps = stage.keyed("lamps", &acme).await;
    breaks(&stage, &stage.admin, &lamps).await;
    let authorization = id(&stage.admin.connection(&lamps).await["authorization"]);
    let gate = stage.gates(Endpoint::Keyed, 1);
    let checking = {
        let (admin, lamps) = (stage.admin.clone(), lamps.clone());
        tokio::spawn(async move { check(&admin, &lamps).await })
    };
    within_patience(gate.reached_by(1)).await;
    let lock = stage.locks(&authorization).await;
    gate.open();
    stage.waiting_for_locks(1).await;
    // Somebody else dates what happened meanwhile, before the lock is free.
    let now = stage.clock.now();
    let dated =
        format!("UPDATE disconnection SET started_at = '{now}'; UPDATE connection SET status_changed_at = '{now}'");
    lock.ends_with(&dated).await;
    assert_eq!(checking.await.unwrap()["status"], "CONNECTED");
    assert_in_order(&stage).await;
}
