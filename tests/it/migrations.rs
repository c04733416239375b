//! The migrations: what they make is what the entities read, there and back, whoever comes first.

mod with_data;

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
};

use migration::{Migrator, MigratorTrait};
use patchbay::db::Db;
use sea_orm::{
    ColumnTrait, Database as SeaOrm, EntityTrait, IdenStatic, Iterable,
    sqlx::{Connection, Executor, SqliteConnection},
};

use crate::harness::{
    Database, JWT_SECRET, KEYS,
    tables::{self, Column},
};

/// The columns that an entity reads and writes.
fn columns_of<E: EntityTrait>(entity: E) -> Vec<Column> {
    let column = |column: E::Column| Column {
        table: entity.table_name().to_owned(),
        name: column.as_str().to_owned(),
        nullable: column.def().is_null(),
    };
    E::Column::iter().map(column).collect()
}

fn columns_of_all_entities() -> BTreeSet<Column> {
    [
        columns_of(entity::api_key::Entity),
        columns_of(entity::attempt::Entity),
        columns_of(entity::authorization::Entity),
        columns_of(entity::binding::Entity),
        columns_of(entity::client::Entity),
        columns_of(entity::connection::Entity),
        columns_of(entity::connection_share::Entity),
        columns_of(entity::connector::Entity),
        columns_of(entity::disconnection::Entity),
        columns_of(entity::disconnection_connection::Entity),
        columns_of(entity::give_back::Entity),
        columns_of(entity::incident::Entity),
        columns_of(entity::dataset::Entity),
        columns_of(entity::snapshot::Entity),
        columns_of(entity::snapshot_part::Entity),
        columns_of(entity::metric::Entity),
        columns_of(entity::journal_entry::Entity),
        columns_of(entity::journal_floor::Entity),
        columns_of(entity::journal_head::Entity),
        columns_of(entity::kept_answer::Entity),
        columns_of(entity::link::Entity),
        columns_of(entity::link_connector::Entity),
        columns_of(entity::notification::Entity),
        columns_of(entity::pause::Entity),
        columns_of(entity::reminder::Entity),
        columns_of(entity::reminder_disconnection::Entity),
        columns_of(entity::user::Entity),
        columns_of(entity::wait_request::Entity),
        columns_of(entity::workspace::Entity),
    ]
    .into_iter()
    .flatten()
    .collect()
}

async fn migrated(database: &Database) -> Db {
    let db = Db::open(database.url(), 2).await.unwrap();
    db.migrate().await.unwrap();
    db
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_that_was_migrated_is_what_the_entities_say() {
    let database = Database::new().await;
    let db = migrated(&database).await;
    let (made, expected) = (tables::columns(&db).await, columns_of_all_entities());
    let missing: Vec<_> = expected.difference(&made).collect();
    let left_over: Vec<_> = made.difference(&expected).collect();
    assert!(missing.is_empty() && left_over.is_empty(), "missing: {missing:#?}\nleft over: {left_over:#?}");
}

#[test]
fn no_entity_is_left_out_of_the_comparison() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("entity/src");
    let sources = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let named = sources.filter_map(|source| {
        let (_, after) = source.split_once("table_name = \"")?;
        Some(after.split_once('"')?.0.to_owned())
    });
    let compared: BTreeSet<String> = columns_of_all_entities().into_iter().map(|column| column.table).collect();
    assert_eq!(named.collect::<BTreeSet<_>>(), compared);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_down_leads_to_nothing_and_the_way_up_again_to_the_same() {
    let database = Database::new().await;
    let db = migrated(&database).await;
    let first = tables::columns(&db).await;
    let own = SeaOrm::connect(database.url()).await.unwrap();
    Migrator::down(&own, None).await.unwrap();
    assert_eq!(tables::names(&db).await, BTreeSet::new());
    db.migrate().await.unwrap();
    own.close().await.unwrap();
    assert_eq!(tables::columns(&db).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_again_changes_nothing() {
    let database = Database::new().await;
    let db = migrated(&database).await;
    let first = tables::columns(&db).await;
    db.migrate().await.unwrap();
    assert_eq!(tables::columns(&db).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_processes_that_migrate_at_once_one_does_and_all_succeed() {
    let database = Database::new().await;
    let processes: Vec<Child> = (0..4).map(|_| migrate(&database)).collect();
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let db = Db::open(database.url(), 2).await.unwrap();
    assert_eq!(tables::columns(&db).await, columns_of_all_entities());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_process_writes_at_that_moment_is_opened_once_it_has() {
    let database = Database::new().await;
    if !database.is_sqlite() {
        return;
    }
    let mut other = SqliteConnection::connect(&format!("{}?mode=rwc", database.url())).await.unwrap();
    other.execute("CREATE TABLE one (id INTEGER); BEGIN IMMEDIATE; INSERT INTO one VALUES (0)").await.unwrap();
    let url = database.url().to_owned();
    let opening = tokio::spawn(async move { Db::open(&url, 2).await.map(drop) });
    // Meanwhile it is told many times that the file is locked.
    for _ in 0..1000 {
        other.execute("INSERT INTO one SELECT id + 1 FROM one ORDER BY id DESC LIMIT 1").await.unwrap();
    }
    other.execute("COMMIT").await.unwrap();
    opening.await.unwrap().unwrap();
}

/// Starts `patchbay migrate` on the database.
fn migrate(database: &Database) -> Child {
    Command::new(env!("CARGO_BIN_EXE_patchbay"))
        .arg("migrate")
        .current_dir(database.folder())
        .env_clear()
        .env("PATCHBAY_DATABASE_URL", database.url())
        .env("PATCHBAY_ENCRYPTION_KEYS", KEYS)
        .env("PATCHBAY_JWT_SECRET", JWT_SECRET)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}
