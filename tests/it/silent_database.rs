//! A database that falls silent, or is held by another: what is under way is answered in time, nothing stays taken, and
//! what comes after works.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use patchbay::{db::Db, error::Error};
use sea_orm::{
    ConnectionTrait, DbErr,
    sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, query_scalar},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{Database, InTheWay, Person, Setup, Stage, Statements, Way, http, nodes, within_patience};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);
const HANDLES: u32 = 4;

fn passes(error: DbErr) {
    let shown = error.to_string();
    assert!(matches!(Error::from(error), Error::Unavailable), "{shown}");
}

/// Takes every handle at once, and gives all back.
async fn all_are_there(db: &Db) {
    let taken = join_all((0..HANDLES).map(|_| async { db.begin().await })).await;
    for taken in join_all(taken.into_iter().map(|taken| async { taken.unwrap().commit().await })).await {
        taken.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_whose_database_fell_silent_is_closed_and_leaves_its_place_to_another() {
    let database = Database::migrated().await;
    if database.is_sqlite() {
        return;
    }
    let way = Way::to(database.url()).await;
    let db = Db::open_within(way.url(), HANDLES, database.short_deadline().await).await.unwrap();

    // At work, with others waiting.
    let held = join_all((0..HANDLES).map(|_| async { db.begin().await.unwrap() })).await;
    way.fall_silent();
    let at_work = join_all(held.iter().map(|txn| txn.execute_unprepared("SELECT 1")));
    let waiting = join_all((0..8).map(|_| db.reader().execute_unprepared("SELECT 1")));
    let (at_work, waiting) = timeout(PATIENCE, async { tokio::join!(at_work, waiting) }).await.expect("no deadline");
    for failed in at_work.into_iter().chain(waiting) {
        passes(failed.expect_err("nobody answered"));
    }
    drop(held);
    all_are_there(&db).await;

    // On the way back to the pool.
    let held = join_all((0..HANDLES).map(|_| async { db.begin().await.unwrap() })).await;
    way.fall_silent();
    drop(held);
    all_are_there(&db).await;

    // Idle.
    way.fall_silent();
    all_are_there(&db).await;

    // About to commit.
    let held = join_all((0..HANDLES).map(|_| async { db.begin().await.unwrap() })).await;
    way.fall_silent();
    for failed in join_all(held.into_iter().map(|txn| txn.commit())).await {
        passes(failed.unwrap_err());
    }
    all_are_there(&db).await;
    db.close().await;
}

/// A mutation with a key.
async fn creates_client(stage: &Stage, admin: &Person, name: &str) -> (u16, Value) {
    let query = "mutation($input: CreateClientInput!) { createClient(input: $input) { client { id } } }";
    let request = http()
        .post(stage.url.join("/graphql").unwrap())
        .header("accept", "application/graphql-response+json")
        .header("idempotency-key", name.replace(' ', "-"))
        .bearer_auth(&admin.token)
        .json(&json!({ "query": query, "variables": { "input": { "name": name } } }));
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The answer says UNAVAILABLE: of the request, or of the field where the request had begun.
fn assert_unavailable(status: u16, body: &Value) {
    assert!(matches!(status, 200 | 503), "{status}: {body}");
    assert_eq!(body["errors"][0]["extensions"]["code"], "UNAVAILABLE", "{body}");
}

/// Sends it again until it was done.
async fn creates_client_in_the_end(stage: &Stage, name: &str) {
    let done = async {
        loop {
            let (status, body) = creates_client(stage, &stage.admin, name).await;
            if body["data"]["createClient"]["client"]["id"].is_string() {
                return;
            }
            assert_unavailable(status, &body);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, done).await.expect("it is never done");
}

/// Waits until the answer to `sql` is yes.
async fn until(db: &mut PgConnection, sql: &str) {
    let yes = async {
        while !query_scalar::<_, bool>(AssertSqlSafe(sql.to_owned())).fetch_one(&mut *db).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, yes).await.unwrap_or_else(|_| panic!("never: {sql}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_database_fell_silent_says_so_in_time_and_goes_on_with_another_way() {
    let database = Arc::new(Database::migrated().await);
    if database.is_sqlite() {
        return;
    }
    let way = Way::to(database.url()).await;
    let mut outside = PgConnection::connect(database.url()).await.unwrap();
    let settings = vec![
        ("PATCHBAY_DATABASE_URL".to_owned(), way.url().to_owned()),
        ("PATCHBAY_DATABASE_POOL".to_owned(), HANDLES.to_string()),
    ];
    let database_deadline = Some(database.short_deadline().await);
    let setup = Setup { settings, database: Some(database), database_deadline, ..Setup::default() };
    let stage = Stage::with(setup).await;

    // Twelve mutations are under way, of which some have handles and wait for the journal.
    outside.execute("BEGIN; UPDATE journal_head SET seq = seq").await.unwrap();
    let names: Vec<String> = (0..12).map(|number| format!("Client {number}")).collect();
    let sent = join_all(names.iter().map(|name| creates_client(&stage, &stage.admin, name)));
    let falling_silent = async {
        let waits = "SELECT count(*) >= 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until(&mut outside, waits).await;
        let now: String = query_scalar("SELECT clock_timestamp()::text").fetch_one(&mut outside).await.unwrap();
        way.fall_silent();
        outside.execute("ROLLBACK").await.unwrap();
        // What listens for other nodes finds its way back, too. It shows so until it asks for something else.
        let listens = format!(
            "SELECT count(*) >= 1 FROM pg_stat_activity WHERE datname = current_database() AND \
             query LIKE 'LISTEN%' AND backend_start > '{now}'"
        );
        until(&mut outside, &listens).await;
    };
    let (answers, ()) = tokio::join!(timeout(PATIENCE, sent), falling_silent);
    for (status, body) in answers.expect("they wait without end") {
        assert_unavailable(status, &body);
    }
    join_all(names.iter().map(|name| creates_client_in_the_end(&stage, name))).await;
    assert_eq!(nodes(&stage.admin.sees("{ clients { nodes { name } } }").await["clients"]).len(), 12);
    outside.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_process_holds_is_unavailable_and_nothing_of_that_is_kept() {
    let database = Arc::new(Database::migrated().await);
    if !database.is_sqlite() {
        return;
    }
    let url = database.url().to_owned();
    let database_deadline = Some(database.short_deadline().await);
    let setup = Setup { database: Some(database), database_deadline, ..Setup::default() };
    let stage = Stage::with(setup).await;
    let other = Db::open(&url, 1).await.unwrap();
    let held = other.begin().await.unwrap();
    let (status, body) = creates_client(&stage, &stage.admin, "Acme").await;
    assert_unavailable(status, &body);
    held.rollback().await.unwrap();
    creates_client_in_the_end(&stage, "Acme").await;
    assert_eq!(nodes(&stage.admin.sees("{ clients { nodes { name } } }").await["clients"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_kept_while_the_database_is_away_is_kept_once_it_is_back() {
    let (database, statements) = (Arc::new(Database::migrated().await), Statements::default());
    let setup = Setup {
        database: Some(database.clone()),
        database_deadline: Some(database.short_deadline().await),
        statements: Some(statements.watch()),
        ..Setup::default()
    };
    let stage = Stage::with(setup).await;
    let mut keeping = statements.holds(&[r#"UPDATE "kept_answer" SET "sealed""#]);
    let going_away = async {
        keeping.arrived().await;
        let in_the_way = InTheWay::of(&database, "kept_answer").await;
        keeping.goes_on();
        in_the_way
    };
    let ((status, first), in_the_way) = tokio::join!(creates_client(&stage, &stage.admin, "Acme"), going_away);
    assert!(status == 200 && first["data"]["createClient"]["client"]["id"].is_string(), "{first}");
    let (status, meanwhile) = creates_client(&stage, &stage.admin, "Acme").await;
    assert_unavailable(status, &meanwhile);

    in_the_way.leaves().await;
    let tasks = stage.tasks.clone();
    within_patience(tasks.drained()).await;
    assert_eq!(creates_client(&stage, &stage.admin, "Acme").await, (200, first));
    assert_eq!(nodes(&stage.admin.sees("{ clients { nodes { name } } }").await["clients"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_holds_a_transaction_and_asks_for_another_handle_is_refused() {
    let database = Database::migrated().await;
    let db = Db::open(database.url(), HANDLES).await.unwrap();
    let asks_twice = |db: Db| async move {
        let txn = db.begin().await.unwrap();
        let another = db.reader().execute_unprepared("SELECT 1").await;
        (another.is_ok(), txn.rollback().await.is_ok())
    };
    assert!(tokio::spawn(asks_twice(db.clone())).await.unwrap_err().is_panic());
    // Leases have handles of their own, and what runs beside it holds its own.
    let leases = db.clone();
    let may = tokio::spawn(async move {
        let txn = leases.begin().await.unwrap();
        let time = leases.time(chrono::DateTime::default()).await.is_ok();
        let beside = patchbay::db::beside(async { leases.reader().execute_unprepared("SELECT 1").await.is_ok() }).await;
        (time, beside, txn.rollback().await.is_ok())
    });
    assert_eq!(may.await.unwrap(), (true, true, true));
    db.close().await;
}
