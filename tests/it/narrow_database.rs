//! A database where it is narrow: many who write at once, and a disk that is full.

use std::collections::BTreeSet;

use entity::journal_entry;
use futures_util::future::join_all;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseBackend, EntityTrait, PaginatorTrait, QueryFilter, Statement};
use serde_json::json;

use crate::harness::{Person, Stage, each, nodes};

/// How many entries of this action the journal has.
async fn entries(stage: &Stage, action: &str) -> u64 {
    let those = journal_entry::Entity::find().filter(journal_entry::Column::Action.eq(action));
    those.count(stage.db.reader()).await.unwrap()
}

const WRITERS: usize = 50;
/// How often each of them writes.
const TIMES: usize = 4;

/// The names of all clients, page after page.
async fn clients(admin: &Person) -> Vec<String> {
    let query = "query($after: String) { clients(first: 100, after: $after) { nodes { name } pageInfo { hasNextPage endCursor } } }";
    let (mut names, mut after) = (Vec::new(), json!(null));
    loop {
        let page = admin.ask(query, json!({ "variables": { "after": after } })).await["clients"].clone();
        names.extend(nodes(&page).iter().map(|client| client["name"].as_str().unwrap().to_owned()));
        if page["pageInfo"]["hasNextPage"] == false {
            return names;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_write_at_once_nothing_is_lost_and_each_is_told_once() {
    let stage = Stage::new().await;
    let client = stage.admin.creates_client("Acme").await;
    let connection = stage.keyed("lamps", &client).await;
    let mut socket = stage.admin.socket().await;
    let query = "subscription($after: String) { connectionsChanged(after: $after) { cursor kind } }";
    let start = stage.admin.event_cursor().await;
    socket.subscribe("1", query, json!({ "after": start })).await;
    let writes = |writer: usize| {
        let (stage, connection) = (&stage, &connection);
        async move {
            for time in 0..TIMES {
                stage.admin.creates_client(&format!("Client {writer} {time}")).await;
            }
            let renamed = json!({ "connectionId": connection, "name": format!("Lamps {writer}") });
            stage.admin.does("updateConnection", renamed, "connection { id }").await;
        }
    };
    join_all((0..WRITERS).map(writes)).await;

    let made: BTreeSet<String> = clients(&stage.admin).await.into_iter().collect();
    assert_eq!(made.len(), 1 + WRITERS * TIMES);
    assert_eq!(entries(&stage, "client.created").await, (1 + WRITERS * TIMES) as u64);
    let mut heard = Vec::new();
    for _ in 0..WRITERS {
        heard.push(socket.event().await["connectionsChanged"]["cursor"].as_str().unwrap().to_owned());
    }
    let changes = stage.changes_since(&start).await;
    assert_eq!(
        (heard.len(), &heard),
        (changes.len(), &each(&changes, "cursor").iter().map(|at| (*at).to_owned()).collect())
    );
    assert_eq!(entries(&stage, "connection.updated").await, WRITERS as u64);
}

/// What the one handle that writes answers to a pragma.
async fn pragma(stage: &Stage, pragma: &str) -> String {
    let statement = Statement::from_string(DatabaseBackend::Sqlite, format!("PRAGMA {pragma}"));
    let row = stage.db.writer().query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index::<i64>(0).map(|number| number.to_string()).or_else(|_| row.try_get_by_index(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_a_mutation_fails_whole_and_the_file_is_intact() {
    let stage = Stage::new().await;
    if !stage.database.is_sqlite() {
        return;
    }
    // SQLite says the same of a file that may not grow as of a disk that is full (https://sqlite.org/rescode.html#full).
    let pages = pragma(&stage, "page_count").await;
    pragma(&stage, &format!("max_page_count = {pages}")).await;
    let mut done = Vec::new();
    let failed = loop {
        let name = format!("{} {}", "x".repeat(150), done.len());
        assert!(done.len() < 1_000, "the file does not fill");
        let answer = stage.admin.tries_mutation("createClient", json!({ "name": name }), "client { id }").await;
        if answer.body["errors"].is_null() {
            done.push(name);
            continue;
        }
        assert_eq!(answer.code(), Some("UNAVAILABLE"), "{:#}", answer.body);
        break name;
    };

    let whole = async || {
        let made: BTreeSet<String> = clients(&stage.admin).await.into_iter().collect();
        assert_eq!(entries(&stage, "client.created").await, made.len() as u64);
        made
    };
    assert_eq!(whole().await, done.iter().cloned().collect(), "all that was done, and nothing of what failed");
    assert_eq!(pragma(&stage, "integrity_check").await, "ok");

    // Room is made.
    pragma(&stage, "max_page_count = 1000000").await;
    stage.admin.creates_client(&failed).await;
    done.push(failed);
    assert_eq!(whole().await, done.into_iter().collect());
    assert_eq!(pragma(&stage, "integrity_check").await, "ok");
    let stage = stage.restarts().await;
    assert_eq!(pragma(&stage, "integrity_check").await, "ok");
}
