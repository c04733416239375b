//! A look at what works is one row to write, however many connections there are behind it.

use chrono::{DateTime, TimeDelta, Utc};
use entity::{authorization, connection};
use migration::{Migrator, MigratorTrait};
use patchbay::sandbox::{Endpoint, Fault};
use sea_orm::{ColumnTrait, ConnectionTrait, Database, EntityTrait, QueryFilter, QuerySelect};
use serde_json::json;

use crate::harness::{Setup, Stage, Statements};

const MIGRATION: &str = "m20261130_000050_plans";

/// From now on it is noted how often a connection's row is written.
async fn count_writes(stage: &Stage) {
    let watch = if stage.database.is_sqlite() {
        "CREATE TABLE written (id blob); \
         CREATE TRIGGER written AFTER UPDATE ON connection BEGIN INSERT INTO written VALUES (NEW.id); END;"
    } else {
        "CREATE TABLE written (id uuid); \
         CREATE FUNCTION note_written() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO written VALUES (NEW.id); RETURN NEW; END $$; \
         CREATE TRIGGER written AFTER UPDATE ON connection FOR EACH ROW EXECUTE FUNCTION note_written();"
    };
    stage.db.writer().execute_unprepared(watch).await.unwrap();
}

/// How often since the last time.
async fn written(stage: &Stage) -> u64 {
    stage.db.writer().execute_unprepared("DELETE FROM written").await.unwrap().rows_affected()
}

async fn last_checked(stage: &Stage, connection: &str) -> String {
    let query = format!("{{ connection(id: \"{connection}\") {{ lastCheckedAt authorization {{ id }} }} }}");
    stage.admin_now().sees(&query).await["connection"]["lastCheckedAt"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_or_a_renewal_that_works_writes_no_connection() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    count_writes(&stage).await;
    let before = last_checked(&stage, &grant.lamps).await;
    stage.after_a_probe_interval().await;
    assert_eq!(written(&stage).await, 0, "a probe");
    let seen = last_checked(&stage, &grant.lamps).await;
    assert!(seen > before, "{seen} {before}");
    assert_eq!(last_checked(&stage, &grant.hotels).await, seen, "both by the same probe");
    // An hour's token is renewed before it ends.
    let renewals = stage.sandbox.calls(Endpoint::Token);
    for _ in 0..4 {
        stage.after_a_probe_interval().await;
    }
    assert!(stage.sandbox.calls(Endpoint::Token) > renewals);
    stage.sandbox.fail_next(Endpoint::Identity, Fault::ServerError, 1);
    stage.after_a_probe_interval().await;
    assert_eq!(written(&stage).await, 0, "a renewal, and a provider that is down");

    assert!(stage.sandbox.revoke_person("ada") > 0);
    stage.after_a_probe_interval().await;
    assert_eq!(stage.status(&grant.lamps).await, "DISCONNECTED");
    assert_eq!(written(&stage).await, 2, "each, once, as its status changes");
    let flagged = last_checked(&stage, &grant.lamps).await;
    stage.later(TimeDelta::hours(7));
    stage.run_jobs().await;
    assert_eq!(written(&stage).await, 0, "it is refused once more");
    assert!(last_checked(&stage, &grant.lamps).await > flagged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_works_loads_no_connection_but_those_that_lost_access() {
    let statements = Statements::default();
    let stage = Stage::with(Setup { statements: Some(statements.watch()), ..Setup::default() }).await;
    stage.shared_grant().await;
    let probes = stage.sandbox.calls(Endpoint::Identity);
    statements.take();
    stage.after_a_probe_interval().await;
    assert!(stage.sandbox.calls(Endpoint::Identity) > probes);
    let loads = |sql: &String| sql.starts_with("SELECT") && sql.contains(r#""connection"."authorization_id" IN"#);
    let loads: Vec<String> = statements.take().into_iter().filter(loads).collect();
    assert!(!loads.is_empty());
    for sql in loads {
        assert!(sql.contains(r#""connection"."lost_access" ="#), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_as_it_is_is_neither_written_nor_told() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let query = format!("{{ connection(id: \"{}\") {{ name statusChangedAt }} }}", grant.lamps);
    let before = stage.admin.sees(&query).await;
    count_writes(&stage).await;
    let cursor = stage.admin.event_cursor().await;
    let input = json!({ "connectionId": grant.lamps, "name": "Lamps", "accountId": "100-301", "clientId": grant.acme });
    stage.admin.does("updateConnection", input, "connection { id }").await;
    assert_eq!((written(&stage).await, stage.changes_since(&cursor).await.len()), (0, 0), "an update to what it is");

    // It works already, and is the admin's already.
    let (attempt, _) = stage.admin.reconnects(&stage.browser(), &grant.hotels, "REFUSE", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED");
    assert_eq!((written(&stage).await, stage.admin.sees(&query).await), (0, before), "a reconnect of what works");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_or_lost_its_access_was_last_checked_on_its_own() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.after_a_probe_interval().await;
    let query = |id: &str| format!("{{ node(id: \"{id}\") {{ ... on Connection {{ lastCheckedAt }} }} }}");
    let before = last_checked(&stage, &grant.hotels).await;
    stage.admin_now().does("removeConnection", json!({ "connectionId": grant.hotels }), "").await;
    let lost = connection::Entity::update_many()
        .col_expr(connection::Column::LostAccess, sea_orm::sea_query::Expr::value(true))
        .filter(connection::Column::RemovedAt.is_null());
    lost.exec(stage.db.writer()).await.unwrap();
    let alone = last_checked(&stage, &grant.lamps).await;
    stage.after_a_probe_interval().await;
    let removed = stage.admin_now().sees(&query(&grant.hotels)).await;
    assert_eq!(removed["node"]["lastCheckedAt"], json!(before), "it is not looked at any more");
    assert!(last_checked(&stage, &grant.lamps).await <= alone, "its authorization says nothing about it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_probe_saw_goes_back_to_the_connections_on_the_way_down() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.after_a_probe_interval().await;
    let seen = authorization::Entity::find().one(stage.db.reader()).await.unwrap().unwrap().last_checked_at;
    assert!(seen.is_some());
    let db = Database::connect(stage.database.url()).await.unwrap();
    let names: Vec<String> = Migrator::migrations().iter().map(|one| one.name().to_owned()).collect();
    let later = names.iter().rev().position(|name| name == MIGRATION).unwrap();
    let steps = u32::try_from(later + 1).unwrap();
    Migrator::down(&db, Some(steps)).await.unwrap();
    let rows = connection::Entity::find().select_only().column(connection::Column::LastCheckedAt);
    let rows: Vec<Option<DateTime<Utc>>> = rows.into_tuple().all(&db).await.unwrap();
    assert_eq!(rows, [seen, seen]);
    Migrator::up(&db, None).await.unwrap();
    let again = authorization::Entity::find().one(&db).await.unwrap().unwrap();
    assert_eq!(again.last_checked_at, None);
    db.close().await.unwrap();
    assert_eq!(last_checked(&stage, &grant.lamps).await, shown(seen.unwrap()));
}

fn shown(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}
