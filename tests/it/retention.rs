//! What is over goes after its time, a part at a time, and nothing goes that still means something.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use entity::{incident, journal_floor, workspace};
use patchbay::clock::Clock;
use sea_orm::{ActiveValue::Set, EntityTrait};
use serde_json::{Value, json};

use crate::harness::{Setup, Stage, Statements, each, id, leave_out, tables};

/// The only node on SQLite, two on PostgreSQL, where nothing that is kept for longer than a month is kept for its history.
async fn nodes() -> (Stage, Option<Stage>) {
    let settings = [("PATCHBAY_HISTORY_KEEP", "30d"), ("PATCHBAY_JOURNAL_KEEP", "400d")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let first = Stage::with(Setup { settings, ..Setup::default() }).await;
    let second = if first.database.is_sqlite() { None } else { Some(first.another_node().await) };
    (first, second)
}

async fn days_later(days: i64, (first, second): &(Stage, Option<Stage>)) {
    first.later(TimeDelta::days(days));
    match second {
        Some(second) => {
            tokio::join!(first.run_jobs(), second.run_jobs());
        }
        None => first.run_jobs().await,
    }
}

/// How many rows these tables have.
async fn rows<const N: usize>(stage: &Stage, names: [&str; N]) -> [i64; N] {
    let counts: BTreeMap<String, i64> = tables::counts(&stage.db).await;
    names.map(|name| counts[name])
}

async fn removes(stage: &Stage, connection: &str) {
    stage.admin_now().does("removeConnection", json!({ "connectionId": connection }), "removedConnectionId").await;
}

/// A connection whose key was changed, which was noticed.
async fn broken(stage: &Stage, key: &str, client: &str) -> String {
    let connection = stage.keyed(key, client).await;
    stage.sandbox.change_key(key).unwrap();
    stage.after_a_probe_interval().await;
    assert_eq!(stage.status(&connection).await, "DISCONNECTED");
    connection
}

/// More incidents that are over than one transaction deletes.
async fn many_incidents(stage: &Stage) {
    let workspace = workspace::Entity::find().one(stage.db.reader()).await.unwrap().unwrap().id;
    let now = stage.clock.now();
    let rows = (0..1_300).map(|_| incident::ActiveModel {
        id: Set(uuid::Uuid::from_u128(rand::random())),
        workspace_id: Set(workspace),
        connector: Set("sandbox-ads".to_owned()),
        ours: Set(false),
        message: Set("It failed.".to_owned()),
        started_at: Set(now),
        ended_at: Set(Some(now)),
    });
    incident::Entity::insert_many(rows).exec_without_returning(stage.db.writer()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_goes_after_its_time_and_what_still_means_something_stays() {
    let all = nodes().await;
    let stage = &all.0;
    let cursor = stage.admin.event_cursor().await;
    let acme = stage.admin.creates_client("Acme").await;
    let gone = broken(stage, "lamps", &acme).await;
    let outage = id(&stage.disconnections().await[0]);
    removes(stage, &gone).await;
    let kept = stage.keyed("hotels", &acme).await;
    let dataset = stage.admin_now().makes_dataset(&kept, "invoices").await;
    removes(stage, &kept).await;
    let lasting = broken(stage, "orchards", &acme).await;
    let link = json!({ "connectionId": lasting, "expiresInHours": 1 });
    stage.admin_now().does("createReconnectLink", link, "url").await;
    stage.admin_now().starts_connecting(json!({ "connector": "sandbox-ads" })).await;
    many_incidents(stage).await;
    let these = ["disconnection", "disconnection_connection", "notification", "connection", "authorization"];
    assert_eq!(rows(stage, these).await, [2, 2, 2, 3, 3]);

    days_later(29, &all).await;
    assert_eq!(rows(stage, these).await, [2, 2, 2, 3, 3]);
    assert_eq!(rows(stage, ["incident", "attempt", "link"]).await, [1_300, 1, 1]);

    days_later(2, &all).await;
    assert_eq!(rows(stage, these).await, [1, 1, 1, 2, 2]);
    assert_eq!(rows(stage, ["incident", "attempt", "link", "dataset"]).await, [0, 1, 1, 1], "it expired two days ago");
    assert_eq!(each(&stage.disconnections().await, "endedAt"), [""], "the one that lasts");
    for deleted in [&gone, &outage] {
        let query = format!("{{ node(id: \"{deleted}\") {{ id }} }}");
        assert_eq!(stage.admin_now().sees(&query).await["node"], Value::Null);
    }
    assert_eq!(stage.admin_now().dataset(&dataset).await["id"], json!(dataset), "a new connection may take it over");
    // The journal is kept for longer: it names what is gone by its id.
    let kinds = ["ADDED", "DISCONNECTED", "REMOVED", "ADDED", "REMOVED", "ADDED", "DISCONNECTED"];
    let changes = stage.changes_since(&cursor).await;
    assert_eq!(each(&changes, "kind"), kinds);
    assert_eq!(changes[2]["removedConnectionIds"], json!([gone]));

    // Once its dataset is taken over, nothing holds the removed connection.
    let again = stage.keyed("hotels", &acme).await;
    assert_eq!(stage.admin_now().dataset(&dataset).await["connection"]["id"], json!(again));
    days_later(1, &all).await;
    assert_eq!(rows(stage, these).await, [1, 1, 1, 2, 2], "lasting and taken over");
    days_later(60, &all).await;
    assert_eq!(rows(stage, ["attempt", "link", "connection"]).await, [0, 0, 2]);
    assert_eq!(stage.status(&lasting).await, "DISCONNECTED");
    stage.sandbox.clear_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_the_journal_was_forgotten_never_goes_back() {
    let statements = Statements::default();
    let settings = vec![("PATCHBAY_JOURNAL_KEEP".to_owned(), "7d".to_owned())];
    let first = Stage::with(Setup { settings, statements: Some(statements.watch()), ..Setup::default() }).await;
    if first.database.is_sqlite() {
        leave_out("several nodes need PostgreSQL");
        return;
    }
    let second = first.another_node().await;
    let grant = first.shared_grant().await;
    let renames = async |name: &str| {
        let input = json!({ "connectionId": grant.lamps, "name": name });
        first.admin_now().does("updateConnection", input, "connection { id }").await;
    };
    renames("Old").await;
    first.later(TimeDelta::days(5));
    renames("Newer").await;
    first.later(TimeDelta::days(3));
    // One found what is older than a week, and comes to forget it days after the other, who found more.
    let mut forgetting = statements.holds(&[r#"INSERT INTO "journal_floor""#]);
    let jobs = second.jobs.clone();
    let late = tokio::spawn(async move { jobs.run_due().await.unwrap() });
    forgetting.arrived().await;
    first.later(TimeDelta::days(5));
    first.run_jobs().await;
    let floors = async || {
        let mut all = journal_floor::Entity::find().all(first.db.reader()).await.unwrap();
        all.sort_by_key(|floor| format!("{:?}", floor.topic));
        all
    };
    let before = floors().await;
    assert!(!before.is_empty());
    forgetting.goes_on();
    late.await.unwrap();
    for (before, after) in before.iter().zip(floors().await) {
        assert!(after.seq >= before.seq, "{before:?} became {after:?}");
    }
}
