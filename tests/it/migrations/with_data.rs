//! Upgrades of a database that is in use: there and back with its rows, killed half-way, and under a node that runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Child,
    time::Duration,
};

use migration::{Migrator, MigratorTrait};
use patchbay::db::Db;
use sea_orm::{
    ConnectionTrait, Database as SeaOrm, DatabaseConnection,
    sqlx::{Connection, Executor, PgConnection, SqliteConnection, query_scalar},
};
use serde_json::json;
use tokio::time::timeout;

use super::migrate;
use crate::harness::{
    Database, Stage, id,
    tables::{self, Column, Row},
};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// The migration in which an upgrade is killed.
const KILLED_IN: &str = "m20261130_000060_retention";

type Rows = BTreeMap<String, Vec<Row>>;

/// What a workspace has after a while; the connections by a key and by a sign-in that work.
async fn fill(stage: &Stage) -> [String; 2] {
    let shared = stage.shared_grant().await;
    stage.person("Sam", "MEMBER", None).await;
    let keyed = stage.keyed("lamps", &shared.acme).await;
    let analytics = json!({ "connector": "sandbox-analytics", "clientId": shared.globex });
    let signed_in = id(&stage.admin.connects(&stage.browser(), analytics, "ben").await);
    let dataset = stage.admin.makes_dataset(&keyed, "invoices").await;
    stage.admin.makes_metric(&dataset, "COUNT", None).await;
    stage.admin.makes_key(json!({ "name": "Nightly", "role": "STAFF" })).await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    assert_eq!(stage.status(&shared.lamps).await, "DISCONNECTED");
    [keyed, signed_in]
}

/// Their secrets open: the provider is asked with them.
async fn assert_work(stage: &Stage, connections: &[String]) {
    for connection in connections {
        let input = json!({ "connectionId": connection });
        let checked = stage.admin_now().does("checkConnection", input, "connection { status }").await;
        assert_eq!(checked["connection"]["status"], "CONNECTED");
    }
}

/// What a version with these columns knows of `rows`. The last check is left out: a probe's is kept with the
/// authorization by some versions and with its connections by others, and goes from one to the other.
fn as_known_to(columns: &BTreeSet<Column>, rows: &BTreeMap<String, BTreeSet<Row>>) -> Rows {
    let mut known: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for column in columns.iter().filter(|column| column.name != "last_checked_at") {
        known.entry(&column.table).or_default().push(&column.name);
    }
    let of_table = |(table, names): (&str, Vec<&str>)| {
        let part = |row: &Row| names.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect();
        let mut parts: Vec<Row> = rows[table].iter().map(part).collect();
        parts.sort();
        (table.to_owned(), parts)
    };
    known.into_iter().map(of_table).collect()
}

/// The first table whose rows differ, with both.
fn assert_same(found: &Rows, expected: &Rows, after: &str) {
    for (table, rows) in expected {
        assert_eq!(&found[table], rows, "{table} {after}");
    }
}

async fn open(database: &Database) -> (Db, DatabaseConnection) {
    (Db::open(database.url(), 2).await.unwrap(), SeaOrm::connect(database.url()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn however_far_down_and_up_again_the_rows_are_the_same_and_secrets_open() {
    let stage = Stage::new().await;
    let works = fill(&stage).await;
    let stage = stage
        .restarts_after(async |database| {
            let (db, own) = open(database).await;
            let (newest, all) = (tables::columns(&db).await, tables::rows(&db).await);
            // The first migration makes the tables: below it there is nothing to keep.
            for steps in 1..u32::try_from(Migrator::migrations().len()).unwrap() {
                Migrator::down(&own, Some(steps)).await.unwrap();
                let older = tables::columns(&db).await;
                let expected = as_known_to(&older, &all);
                assert!(expected["connection"].len() == 4 && expected["journal_entry"].len() > 10);
                let down = as_known_to(&older, &tables::rows(&db).await);
                assert_same(&down, &expected, &format!("{steps} down"));
                db.migrate().await.unwrap();
                assert_eq!(tables::columns(&db).await, newest);
                let up = as_known_to(&older, &tables::rows(&db).await);
                assert_same(&up, &expected, &format!("{steps} down and up"));
            }
            own.close().await.unwrap();
            db.close().await;
        })
        .await;
    assert_work(&stage, &works).await;
}

/// Keeps a migration from going beyond [`KILLED_IN`].
enum Hold {
    /// A statement that counts without end; what holds the file cannot be asked what it does.
    Sqlite,
    /// A lock that the migration waits for, held here.
    Postgres(Box<PgConnection>),
}

const ENDLESS: &str = "\
    CREATE VIEW endless AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n; \
    CREATE TRIGGER held AFTER INSERT ON seaql_migrations WHEN NEW.version = '@IN' \
    BEGIN SELECT count(*) FROM endless; END;";
const WAITS: &str = "\
    CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN PERFORM pg_advisory_xact_lock(105); RETURN NEW; END $$; \
    CREATE TRIGGER held AFTER INSERT ON seaql_migrations FOR EACH ROW \
    WHEN (NEW.version = '@IN') EXECUTE FUNCTION held();";

impl Hold {
    async fn on(database: &Database, own: &DatabaseConnection) -> Self {
        let sql = if database.is_sqlite() { ENDLESS } else { WAITS };
        own.execute_unprepared(&sql.replace("@IN", KILLED_IN)).await.unwrap();
        if database.is_sqlite() {
            return Self::Sqlite;
        }
        let mut holder = PgConnection::connect(database.url()).await.unwrap();
        holder.execute("SELECT pg_advisory_lock(105)").await.unwrap();
        Self::Postgres(Box::new(holder))
    }

    /// Kills what migrates while it is held.
    async fn kill_in_the_middle(&mut self, database: &Database, mut migrating: Child) {
        match self {
            Self::Sqlite => {
                let mut other = SqliteConnection::connect(database.url()).await.unwrap();
                other.execute("PRAGMA busy_timeout = 0").await.unwrap();
                // Until it is the one that writes: it has begun, and cannot end.
                while other.execute("BEGIN IMMEDIATE").await.is_ok() {
                    other.execute("ROLLBACK").await.unwrap();
                }
                migrating.kill().unwrap();
            }
            Self::Postgres(holder) => {
                let waits =
                    "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 105";
                while !query_scalar::<_, bool>(waits).fetch_one(&mut **holder).await.unwrap() {}
                migrating.kill().unwrap();
                holder.execute("SELECT pg_advisory_unlock(105)").await.unwrap();
            }
        }
        assert!(!migrating.wait_with_output().unwrap().status.success(), "it was killed");
    }

    async fn release(self, own: &DatabaseConnection) {
        let sql = match self {
            Self::Sqlite => "DROP TRIGGER held; DROP VIEW endless;",
            Self::Postgres(_) => "DROP TRIGGER held ON seaql_migrations; DROP FUNCTION held();",
        };
        own.execute_unprepared(sql).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_half_way_left_nothing_and_the_next_start_completes_it() {
    let stage = Stage::new().await;
    let works = fill(&stage).await;
    let mut newest = None;
    let stage = stage
        .restarts_after(async |database| {
            let (db, own) = open(database).await;
            newest = Some(tables::columns(&db).await);
            // One more has been done by then, and there are some to come.
            let later = Migrator::migrations().iter().rev().position(|migration| migration.name() == KILLED_IN);
            let behind = u32::try_from(later.unwrap() + 2).unwrap();
            Migrator::down(&own, Some(behind)).await.unwrap();
            let (older, rows) = (tables::columns(&db).await, tables::rows(&db).await);
            let mut hold = Hold::on(database, &own).await;
            timeout(PATIENCE, hold.kill_in_the_middle(database, migrate(database))).await.expect("it does not begin");
            hold.release(&own).await;
            assert_eq!(tables::columns(&db).await, older);
            assert_eq!(tables::rows(&db).await, rows);
            own.close().await.unwrap();
            db.close().await;
        })
        .await;
    assert_eq!(Some(tables::columns(&stage.db).await), newest);
    assert_work(&stage, &works).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_runs_goes_on_while_a_newer_one_adds_to_its_tables_and_keeps_what_that_wrote() {
    let stage = Stage::new().await;
    let works = fill(&stage).await;
    let mut socket = stage.admin_now().socket().await;
    socket.subscribe("1", "subscription { connectionsChanged { kind } }", json!({})).await;
    let look =
        "{ connections { nodes { id name client { name } } } clients { totalCount } datasets { nodes { name } } }";
    let seen = stage.admin_now().sees(look).await;

    // As the upgrade of another node does it: a table of its own, a column and an index for each of ours.
    let newer = SeaOrm::connect(stage.database.url()).await.unwrap();
    let added = tables::names(&stage.db).await.into_iter().map(|table| {
        format!("ALTER TABLE \"{table}\" ADD COLUMN later text; CREATE INDEX \"{table}_later\" ON \"{table}\" (later);")
    });
    let added = added.collect::<String>() + "CREATE TABLE later (id text); UPDATE connection SET later = 'new';";
    newer.execute_unprepared(&added).await.unwrap();

    assert_eq!(stage.admin_now().sees(look).await, seen);
    assert_work(&stage, &works).await;
    let renamed = json!({ "connectionId": works[0], "name": "Renamed" });
    stage.admin_now().does("updateConnection", renamed, "connection { id }").await;
    while socket.event().await["connectionsChanged"]["kind"] != "UPDATED" {}
    stage.admin_now().creates_client("Initech").await;
    stage.after_a_probe_interval().await;
    let kept = tables::rows(&stage.db).await;
    let written = kept["connection"].iter().filter(|row| row["later"].as_deref().is_some_and(|it| it.contains("new")));
    assert_eq!(written.count(), 4);
    newer.close().await.unwrap();
}
