//! Several nodes on one database: PostgreSQL's, save where a test needs servers that do not hear each other.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use entity::authorization;
use patchbay::{
    clock::{Clock, NodeClock, SystemClock},
    jobs::compare_clocks,
    sandbox::Endpoint,
};
use sea_orm::{ConnectionTrait, EntityTrait};
use serde_json::{Value, json};

use crate::harness::{Person, Setup, Stage, Statements, each, leave_out, mail::MailServer};

/// Two nodes on one PostgreSQL, with one provider; none on SQLite.
pub async fn two_nodes() -> Option<(Stage, Stage)> {
    two_nodes_apart(TimeDelta::zero()).await
}

/// The same, and the clock of the second is ahead.
pub async fn two_nodes_apart(by: TimeDelta) -> Option<(Stage, Stage)> {
    let first = Stage::new().await;
    if first.database.is_sqlite() {
        leave_out("several nodes need PostgreSQL");
        return None;
    }
    let second = first.another_node_ahead(by).await;
    Some((first, second))
}

async fn rename(person: &Person, connection: &str, name: &str) {
    let input = json!({ "connectionId": connection, "name": name });
    person.does("updateConnection", input, "connection { id }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_at_one_node_is_told_at_the_other_in_order() {
    let Some((first, second)) = two_nodes().await else { return };
    let grant = first.shared_grant().await;
    let there = first.admin.at(&second.url);
    let cursor = there.event_cursor().await;
    let mut socket = there.socket().await;
    let query = "subscription($after: String) { connectionsChanged(after: $after) { cursor kind } }";
    socket.subscribe("1", query, json!({ "after": cursor })).await;
    // Both write, each into the same journal.
    let writing = async |person: &Person, name: &str| {
        for number in 0..15 {
            rename(person, &grant.lamps, &format!("{name} {number}")).await;
        }
    };
    tokio::join!(writing(&first.admin, "here"), writing(&there, "there"));
    let mut heard = Vec::new();
    for _ in 0..30 {
        heard.push(socket.event().await["connectionsChanged"]["cursor"].as_str().unwrap().to_owned());
    }
    assert_eq!(heard, each(&first.changes_since(&cursor).await, "cursor"));

    first.sandbox.revoke_person("ada");
    first.after_a_probe_interval().await;
    assert_eq!(socket.event().await["connectionsChanged"]["kind"], "DISCONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_one_node_is_good_at_the_other() {
    let Some((first, second)) = two_nodes().await else { return };
    let grant = first.shared_grant().await;
    let cursor = first.admin.event_cursor().await;
    rename(&first.admin, &grant.lamps, "Lights").await;
    let missed = first.admin.at(&second.url).changes_matching(&cursor, Value::Null).await;
    assert_eq!(each(&missed, "kind"), ["UPDATED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_with_one_rotating_token_make_one_token_call() {
    let Some((first, second)) = two_nodes().await else { return };
    let grant = first.shared_grant().await;
    for renewals in 1..=200 {
        first.later(TimeDelta::minutes(54));
        tokio::join!(first.run_jobs(), second.run_jobs());
        assert_eq!(first.sandbox.token_calls().refresh_token, renewals);
    }
    assert_eq!(first.sandbox.grants()[0].ended, None);
    assert_eq!(first.status(&grant.lamps).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_clocks_are_five_minutes_apart_double_nothing() {
    let Some((first, second)) = two_nodes_apart(TimeDelta::minutes(5)).await else { return };
    let grant = first.shared_grant().await;
    let staff = first.person("Sam", "STAFF", None).await;
    let version = async || {
        let row = authorization::Entity::find().one(first.db.reader()).await.unwrap().unwrap();
        u64::try_from(row.credential_version).unwrap()
    };
    let rounds = async |count: usize| {
        for _ in 0..count {
            first.later(TimeDelta::minutes(10));
            tokio::join!(first.run_jobs(), second.run_jobs());
        }
    };
    let (cursor, before) = (first.admin.event_cursor().await, version().await);
    rounds(40).await;
    let renewals = first.sandbox.token_calls().refresh_token;
    assert_eq!(version().await - before, renewals, "one token call for each renewal");
    assert!((7..=10).contains(&renewals), "{renewals} renewals in 400 minutes");
    assert_eq!((first.sandbox.grants()[0].ended, first.status(&grant.lamps).await.as_str()), (None, "CONNECTED"));

    first.sandbox.revoke_person("ada");
    rounds(10).await;
    assert_eq!(first.disconnections().await.len(), 1);
    assert_eq!(each(&first.changes_since(&cursor).await, "kind"), ["DISCONNECTED"]);
    for person in [&first.admin, &staff] {
        assert_eq!(each(&first.signed_in(&person.id).tray().await, "kind"), ["DISCONNECTED"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_both_nodes_look_at_is_one_disconnection() {
    let Some((first, second)) = two_nodes().await else { return };
    first.shared_grant().await;
    let cursor = first.admin.event_cursor().await;
    first.sandbox.revoke_person("ada");
    first.later(TimeDelta::minutes(17));
    tokio::join!(first.run_jobs(), second.run_jobs());
    assert_eq!(first.disconnections().await.len(), 1);
    assert_eq!(each(&first.changes_since(&cursor).await, "kind"), ["DISCONNECTED"]);
    assert_eq!(first.admin.tray().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_asks_to_wait_is_left_alone_by_every_node() {
    use patchbay::sandbox::{Endpoint, Fault};
    let Some((first, second)) = two_nodes().await else { return };
    first.shared_grant().await;
    first.sandbox.fail_next(Endpoint::Identity, Fault::RateLimited { retry_after: 3 * 3600 }, 1);
    first.after_a_probe_interval().await;
    let asked = first.sandbox.calls(Endpoint::Identity);
    for _ in 0..6 {
        first.later(TimeDelta::minutes(17));
        tokio::join!(first.run_jobs(), second.run_jobs());
    }
    assert_eq!(first.sandbox.calls(Endpoint::Identity), asked);
}

/// The machine's time, but five minutes ahead.
struct FastClock;

impl Clock for FastClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::minutes(5)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_machine_is_five_minutes_ahead_goes_by_the_databases_clock() {
    let Some((first, _second)) = two_nodes().await else { return };
    let clock = NodeClock::over(Arc::new(FastClock));
    let off = async || {
        let theirs = first.db.time(clock.now()).await.unwrap();
        (clock.now() - theirs).abs()
    };
    assert!(off().await > TimeDelta::minutes(4));
    compare_clocks(&first.db, &clock).await.unwrap();
    assert!(off().await < TimeDelta::minutes(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_did_between_the_look_and_the_claim_of_another_is_not_claimed_once_more() {
    let statements = Statements::default();
    let first = Stage::with(Setup { statements: Some(statements.watch()), ..Setup::default() }).await;
    if first.database.is_sqlite() {
        leave_out("several nodes need PostgreSQL");
        return;
    }
    let second = first.another_node().await;
    let grant = first.shared_grant().await;
    first.admin.makes_dataset(&grant.lamps, "report").await;
    let due = [
        (r#""authorization" SET "renew_at""#, "authorization", Endpoint::Token),
        (r#""authorization" SET "probe_at""#, "authorization", Endpoint::Identity),
        (r#""connection" SET "probe_at""#, "authorization", Endpoint::Account),
        (r#""dataset" SET "refresh_at""#, "dataset", Endpoint::Report),
    ];
    for (column, claimed, endpoint) in due {
        let calls = first.sandbox.calls(endpoint);
        let one = "id = (SELECT min(id::text)::uuid FROM";
        let table = column.split(' ').next().unwrap();
        let now = first.clock.now().to_rfc3339();
        let makes_due = format!("UPDATE {column} = '{now}' WHERE {one} {table})");
        first.db.writer().execute_unprepared(&makes_due).await.unwrap();

        let claims = format!(r#"UPDATE "{claimed}" SET "claimed_by""#);
        let mut claiming = statements.holds(&[&claims]);
        let jobs = second.jobs.clone();
        let late = tokio::spawn(async move { jobs.run_due().await.unwrap() });
        claiming.arrived().await;
        first.run_jobs().await;
        assert_eq!(first.sandbox.calls(endpoint), calls + 1, "{column}");
        statements.take();
        claiming.goes_on();
        late.await.unwrap();
        assert_eq!(first.sandbox.calls(endpoint), calls + 1, "{column}");
        // A claim that got nothing has nothing to give back.
        let more: Vec<String> = statements.take().into_iter().filter(|sql| sql.starts_with(&claims)).collect();
        assert_eq!(more, Vec::<String>::new(), "{column}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_that_one_node_sent_since_another_found_it_is_not_sent_again() {
    let (mail, statements) = (MailServer::start().await, Statements::default());
    let setup = Setup { settings: mail.settings(), statements: Some(statements.watch()), ..Setup::default() };
    let first = Stage::with(setup).await;
    if first.database.is_sqlite() {
        leave_out("several nodes need PostgreSQL");
        return;
    }
    let second = first.another_node().await;
    first.shared_grant().await;
    first.sandbox.revoke_person("ada");
    first.after_a_probe_interval().await;
    first.later(TimeDelta::days(2));
    let mut claiming = statements.holds(&[r#"UPDATE "reminder" SET "claimed_by""#]);
    let jobs = second.jobs.clone();
    let late = tokio::spawn(async move { jobs.run_due().await.unwrap() });
    claiming.arrived().await;
    first.run_jobs().await;
    assert_eq!(mail.letters().len(), 1);
    claiming.goes_on();
    late.await.unwrap();
    assert_eq!(mail.letters().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_arrives_though_its_ring_was_lost() {
    let first = Stage::new().await;
    let (second, grant) = (first.another_node().await, first.shared_grant().await);
    let there = first.admin.at(&second.url);
    let mut socket = there.socket().await;
    let query = "subscription($after: String) { connectionsChanged(after: $after) { connections { name } } }";
    socket.subscribe("1", query, json!({ "after": there.event_cursor().await })).await;
    // On SQLite a ring is heard by its own server alone. On PostgreSQL nobody listens at this moment.
    let deafen = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                  WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    for name in ["one", "two"] {
        if !first.database.is_sqlite() {
            first.db.writer().execute_unprepared(deafen).await.unwrap();
        }
        rename(&first.admin, &grant.lamps, name).await;
        assert_eq!(socket.event().await["connectionsChanged"]["connections"][0]["name"], name);
    }
}
