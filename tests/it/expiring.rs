//! What ends on a known day is announced a week ahead, once, and healed by reconnecting early.

use chrono::TimeDelta;
use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use crate::harness::{Setup, Stage, each};

/// A connector of grants that end after a year or two months: the sandbox's analytics with another slug.
fn ending(slug: &str, refresh: &str) -> Setup {
    let text = include_str!("../../src/sandbox/connectors/sandbox-analytics.toml");
    let text = text.replace("slug = \"sandbox-analytics\"", &format!("slug = \"{slug}\""));
    let text = text.replace("refresh = \"token\"", refresh);
    Setup { connectors: vec![(format!("{slug}.toml"), text)], ..Setup::default() }
}

async fn connected(stage: &Stage, slug: &str) -> Value {
    stage.admin.connects(&stage.browser(), json!({ "connector": slug }), "ada").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_with_a_known_end_is_expiring_seven_days_ahead_and_expired_past_it() {
    let stage = Stage::with(ending("sixty-days", "refresh = \"token\"\nexpires_after_days = 60")).await;
    let connection = connected(&stage, "sixty-days").await;
    let id = connection["id"].as_str().unwrap();
    assert_eq!(connection["status"], "CONNECTED");
    let cursor = stage.admin.event_cursor().await;
    stage.later(TimeDelta::days(52));
    stage.run_jobs().await;
    assert_eq!(stage.status(id).await, "CONNECTED");
    stage.later(TimeDelta::days(2));
    stage.run_jobs().await;
    assert_eq!(stage.status(id).await, "EXPIRING");
    stage.after_ticks(2).await;
    let tray = stage.admin_now().tray().await;
    assert_eq!(each(&tray, "kind"), ["EXPIRING"]);
    assert_eq!(tray[0]["disconnection"], Value::Null);
    assert_eq!(each(&stage.changes_since(&cursor).await, "kind"), ["EXPIRING"]);

    stage.sandbox.revoke_person("ada");
    stage.later(TimeDelta::days(7));
    stage.run_jobs().await;
    let ended = stage.admin_now().connection(id).await;
    assert_eq!(ended["disconnection"]["reason"], "EXPIRED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_a_few_days_is_expiring_at_once_and_nobody_is_told() {
    let stage = Stage::with(ending("five-days", "refresh = \"token\"\nexpires_after_days = 5")).await;
    let connection = connected(&stage, "five-days").await;
    assert_eq!(connection["status"], "EXPIRING");
    stage.after_a_probe_interval().await;
    assert_eq!(stage.status(connection["id"].as_str().unwrap()).await, "EXPIRING");
    assert_eq!(stage.admin.tray().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnecting_what_is_expiring_moves_its_end() {
    let stage = Stage::with(ending("sixty-days", "refresh = \"token\"\nexpires_after_days = 60")).await;
    let connection = connected(&stage, "sixty-days").await;
    let id = connection["id"].as_str().unwrap();
    stage.later(TimeDelta::days(54));
    stage.run_jobs().await;
    assert_eq!(stage.status(id).await, "EXPIRING");
    let (attempt, _) = stage.admin_now().reconnects(&stage.browser(), id, "ASK", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED");
    assert_eq!(stage.status(id).await, "CONNECTED");
    assert_eq!(stage.admin_now().tray().await.len(), 0, "it does not end soon any more");
    stage.later(TimeDelta::days(54));
    stage.run_jobs().await;
    assert_eq!(stage.status(id).await, "EXPIRING");
    assert_eq!(each(&stage.admin_now().tray().await, "kind"), ["EXPIRING"]);
    stage.admin_now().does("removeConnection", json!({ "connectionId": id }), "").await;
    assert_eq!(stage.admin_now().tray().await.len(), 0, "nothing is there that could end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_moves_the_end_after_all_makes_what_was_expiring_connected() {
    let stage = Stage::with(ending("exchanged", "refresh = \"exchange\"")).await;
    stage.sandbox.configure(|options| options.access_token_lifetime = TimeDelta::days(60));
    let connection = connected(&stage, "exchanged").await;
    let id = connection["id"].as_str().unwrap();
    stage.sandbox.fail_next(Endpoint::Token, Fault::ServerError, 1);
    stage.later(TimeDelta::days(54));
    stage.run_jobs().await;
    assert_eq!(stage.status(id).await, "EXPIRING");

    let body =
        json!({ "access_token": "another", "token_type": "Bearer", "expires_in": 60 * 86_400, "region": "north" });
    let answer = Fault::Exactly { status: 200, headers: Vec::new(), body: body.to_string() };
    stage.sandbox.fail_next(Endpoint::Token, answer, 1);
    assert_eq!(each(&stage.admin_now().tray().await, "kind"), ["EXPIRING"]);
    stage.after_ticks(2).await;
    assert_eq!(stage.status(id).await, "CONNECTED");
    assert_eq!(stage.disconnections().await.len(), 0);
    assert_eq!(stage.admin_now().tray().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_again_for_the_few_days_that_it_has_left_is_told_to_end() {
    let stage = Stage::with(ending("sixty-days", "refresh = \"none\"\nexpires_after_days = 60")).await;
    let connection = connected(&stage, "sixty-days").await;
    let id = connection["id"].as_str().unwrap();
    let check = async || {
        stage.admin_now().does("checkConnection", json!({ "connectionId": id }), "connection { id }").await;
    };
    stage.sandbox.configure(|options| options.access_token_lifetime = TimeDelta::days(60));
    stage.admin.reconnects(&stage.browser(), id, "ASK", "ada").await;
    stage.later(TimeDelta::days(54));
    stage.run_jobs().await;
    stage.sandbox.fail_next(Endpoint::Identity, Fault::Unauthorized, 1);
    check().await;
    assert_eq!(stage.status(id).await, "DISCONNECTED");
    check().await;
    assert_eq!(stage.status(id).await, "EXPIRING");
    assert_eq!(each(&stage.admin_now().tray().await, "kind"), ["EXPIRING", "RECOVERED", "DISCONNECTED"]);

    // It breaks again at once: that it will is not the last word.
    stage.sandbox.fail_next(Endpoint::Identity, Fault::Unauthorized, 1);
    check().await;
    assert_eq!(each(&stage.admin_now().tray().await, "kind"), ["DISCONNECTED"]);
    check().await;
    assert_eq!(each(&stage.admin_now().tray().await, "kind"), ["EXPIRING", "RECOVERED", "DISCONNECTED"]);
}
