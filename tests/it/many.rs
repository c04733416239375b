//! Very many connections of one grant, and very many grants of one minute.

use std::time::Instant;

use chrono::TimeDelta;
use entity::{Topic, authorization, connection, disconnection, disconnection_connection, journal_entry, notification};
use patchbay::{
    clock::{Clock, SystemEntropy},
    ids::{self, Kind},
};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};
use serde_json::{Value, json};

use crate::harness::{Socket, Stage, each, id};

const MANY: usize = 10_000;
/// As many rows as go into a statement.
const BATCH: usize = 500;

/// Plugs so many more connections in beside `like`, all through its authorization, behind the server's back.
async fn plug_in_more(stage: &Stage, like: &str, count: usize) {
    let like = ids::decode(Kind::Connection, like).unwrap();
    let like = connection::Entity::find_by_id(like).one(stage.db.reader()).await.unwrap().unwrap();
    let copy = |number: usize| connection::Model {
        id: ids::new(stage.clock.now(), &SystemEntropy),
        name: format!("{} {number:05}", like.name),
        name_key: format!("{} {number:05}", like.name_key),
        account_key: format!("{} {number:05}", like.account_key),
        ..like.clone()
    };
    let copies: Vec<connection::ActiveModel> =
        (0..count).map(|number| connection::ActiveModel::from(copy(number)).reset_all()).collect();
    for part in copies.chunks(BATCH) {
        let insert = connection::Entity::insert_many(part.iter().cloned());
        insert.exec_without_returning(stage.db.writer()).await.unwrap();
    }
}

/// The last number of the journal.
async fn head(stage: &Stage) -> i64 {
    let last = journal_entry::Entity::find().order_by_desc(journal_entry::Column::Seq).one(stage.db.reader()).await;
    last.unwrap().unwrap().seq
}

/// Topic and action of every entry after `seq`, in order; attempts have a topic of their own, which is left out.
async fn entries_after(stage: &Stage, seq: i64) -> Vec<(Topic, String)> {
    let entries = journal_entry::Entity::find()
        .filter(journal_entry::Column::Seq.gt(seq))
        .order_by_asc(journal_entry::Column::Seq)
        .all(stage.db.reader())
        .await
        .unwrap();
    let told = entries.into_iter().map(|entry| (entry.topic, entry.action));
    told.filter(|(topic, _)| *topic != Topic::Attempts).collect()
}

/// The kind of the next change that a socket hears of, and of how many connections.
async fn heard(socket: &mut Socket) -> (String, u64) {
    let change = socket.event().await["connectionsChanged"].clone();
    (change["kind"].as_str().unwrap().to_owned(), change["connectionCount"].as_u64().unwrap())
}

async fn rename(stage: &Stage, connection: &str, name: &str) {
    let input = json!({ "connectionId": connection, "name": name });
    stage.admin_now().does("updateConnection", input, "connection { id }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_of_one_grant_break_and_are_healed_as_one() {
    let stage = Stage::new().await;
    let staff = stage.person("Sam", "STAFF", None).await;
    let client = stage.admin.creates_client("Acme").await;
    let other = stage.keyed("lamps", &client).await;
    let input = json!({ "connector": "sandbox-ads", "clientId": client, "accountId": "100-301", "name": "Lamps" });
    let first = id(&stage.admin.connects(&stage.browser(), input, "ada").await);
    plug_in_more(&stage, &first, MANY - 1).await;
    let mut socket = stage.admin.socket().await;
    let query = "subscription($after: String) { connectionsChanged(after: $after) { kind connectionCount } }";
    socket.subscribe("1", query, json!({ "after": stage.admin.event_cursor().await })).await;

    stage.sandbox.revoke_person("ada");
    let before = head(&stage).await;
    stage.later(TimeDelta::minutes(17));
    let begun = Instant::now();
    stage.run_jobs().await;
    let took = begun.elapsed();
    let disconnected = [
        (Topic::Notifications, "notification.added".to_owned()),
        (Topic::Connections, "connection.disconnected".to_owned()),
    ];
    assert_eq!(entries_after(&stage, before).await, disconnected);
    let count_of = async |status: entity::Status| {
        let those = connection::Entity::find().filter(connection::Column::Status.eq(status));
        those.count(stage.db.reader()).await.unwrap()
    };
    assert_eq!(count_of(entity::Status::Disconnected).await, MANY as u64);
    let outages = disconnection::Entity::find().all(stage.db.reader()).await.unwrap();
    let links = disconnection_connection::Entity::find().count(stage.db.reader()).await.unwrap();
    assert_eq!((outages.len(), links), (1, MANY as u64));
    let told = notification::Entity::find().all(stage.db.reader()).await.unwrap();
    let mut people: Vec<_> = told.iter().map(|notification| notification.user_id).collect();
    people.sort_unstable();
    let mut concerned = vec![stage.admin.uuid(), staff.uuid()];
    concerned.sort_unstable();
    assert_eq!(people, concerned);
    eprintln!(
        "{MANY} connections were disconnected in {took:?}: 1 disconnection, {links} links, {} notifications",
        told.len()
    );
    assert_eq!(heard(&mut socket).await, ("DISCONNECTED".to_owned(), MANY as u64));
    rename(&stage, &other, "Still here").await;
    assert_eq!(heard(&mut socket).await, ("UPDATED".to_owned(), 1));

    let before = head(&stage).await;
    let begun = Instant::now();
    let (attempt, _) = stage.admin_now().reconnects(&stage.browser(), &first, "ASK", "ada").await;
    let took = begun.elapsed();
    assert_eq!((&attempt["status"], &attempt["connectionCount"]), (&json!("SUCCEEDED"), &json!(MANY)));
    assert_eq!(entries_after(&stage, before).await, [(Topic::Connections, "connection.reconnected".to_owned())]);
    assert_eq!(count_of(entity::Status::Connected).await, MANY as u64 + 1);
    assert_eq!(each(&stage.disconnections().await, "endedBy"), ["RECONNECTED"]);
    eprintln!("{MANY} connections were healed in {took:?}, with the browser's round trip");
    assert_eq!(heard(&mut socket).await, ("RECONNECTED".to_owned(), MANY as u64));
    rename(&stage, &other, "Here as ever").await;
    assert_eq!(heard(&mut socket).await, ("UPDATED".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_were_granted_in_the_same_minute_are_renewed_spread_out() {
    let stage = Stage::new().await;
    let names: Vec<String> = (0..150).map(|number| format!("shop-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let begun = stage.clock.now();
    let shops: Vec<Value> = stage.shops(&names).await;
    assert!(stage.clock.now() - begun < TimeDelta::minutes(1), "they were granted in the same minute");
    let rows = authorization::Entity::find().all(stage.db.reader()).await.unwrap();
    let mut due: Vec<_> = rows.iter().map(|row| row.renew_at.unwrap()).collect();
    due.sort_unstable();
    assert_eq!((due.len(), shops.len()), (150, 150));
    let spread = due[149] - due[0];
    eprintln!("150 tokens of an hour are renewed spread over {} s", spread.num_seconds());
    assert!(spread >= TimeDelta::minutes(6), "{spread}");
    let crowd =
        due.iter().map(|at| due.iter().filter(|other| (**other - *at).abs() <= TimeDelta::seconds(30)).count()).max();
    assert!(crowd.unwrap() < 50, "{crowd:?} of them fall into one minute");

    // And so they are: whoever looks every minute renews a few each time, all of them once, and none too late.
    let (mut renewed, mut rounds) = (0, 0);
    stage.later(due[0] - stage.clock.now());
    while renewed < 150 {
        stage.run_jobs().await;
        let now = stage.sandbox.token_calls().refresh_token;
        assert!(now - renewed < 50, "{} in one minute", now - renewed);
        (renewed, rounds) = (now, rounds + 1);
        stage.later(TimeDelta::minutes(1));
    }
    assert!((6..=14).contains(&rounds), "{rounds} minutes");
    assert_eq!(renewed, 150);
}
