//! An account that is gone or denied is lost to its own connection, at a second look, and never for a failure of theirs.

use chrono::TimeDelta;
use entity::{authorization, connection};
use patchbay::{
    clock::Clock,
    sandbox::{Endpoint, Fault},
};
use sea_orm::{EntityTrait, sea_query::Expr};
use serde_json::json;

use crate::harness::{Stage, each, id};

/// As an API says that there is no such account.
fn gone() -> Fault {
    let body = json!({ "error": { "code": 404, "message": "Customer not found", "status": "NOT_FOUND" } });
    answer(404, "application/json", body.to_string())
}

/// As a gateway says that there is no such page.
fn no_such_page() -> Fault {
    answer(404, "text/html", "<!doctype html><title>404 Not Found</title>".to_owned())
}

fn answer(status: u16, kind: &str, body: String) -> Fault {
    Fault::Exactly { status, headers: vec![("content-type".to_owned(), kind.to_owned())], body }
}

/// One account of Ada's, 100-301, connected for a day.
async fn connected_for_a_day() -> (Stage, String) {
    let stage = Stage::new().await;
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-301" });
    let connection = id(&stage.admin.connects(&stage.browser(), input, "ada").await);
    stage.later(TimeDelta::hours(27));
    (stage, connection)
}

async fn a_tick_later(stage: &Stage) {
    stage.later(TimeDelta::seconds(6));
    stage.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_gone_is_lost_at_the_second_look() {
    let (stage, connection) = connected_for_a_day().await;
    stage.sandbox.fail_next(Endpoint::Account, gone(), 2);
    stage.run_jobs().await;
    assert_eq!(stage.status(&connection).await, "CONNECTED", "missing once only");
    a_tick_later(&stage).await;
    let lost = stage.admin_now().connection(&connection).await;
    assert_eq!((&lost["status"], &lost["disconnection"]["reason"]), (&json!("DISCONNECTED"), &json!("ACCESS_LOST")));
    assert_eq!(lost["authorization"]["status"], "CONNECTED");
    stage.later(TimeDelta::minutes(31));
    stage.run_jobs().await;
    assert_eq!(stage.status(&connection).await, "CONNECTED", "it is there again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_missing_once_is_not_lost() {
    let (stage, connection) = connected_for_a_day().await;
    stage.sandbox.fail_next(Endpoint::Account, gone(), 1);
    stage.run_jobs().await;
    for _ in 0..3 {
        a_tick_later(&stage).await;
    }
    assert_eq!(stage.sandbox.calls(Endpoint::Account), 2, "it was looked at once more");
    assert_eq!((stage.status(&connection).await.as_str(), stage.disconnections().await.len()), ("CONNECTED", 0));
}

/// Its tokens and its account are due now, its own probe in ten minutes: as where the probe waits for its turn after it
/// failed.
async fn all_but_the_probe_is_due(stage: &Stage) {
    let now = stage.clock.now();
    authorization::Entity::update_many()
        .col_expr(authorization::Column::RenewAt, Expr::value(now))
        .col_expr(authorization::Column::ProbeAt, Expr::value(now + TimeDelta::minutes(10)))
        .exec(stage.db.writer())
        .await
        .unwrap();
    let account = connection::Entity::update_many().col_expr(connection::Column::ProbeAt, Expr::value(now));
    account.exec(stage.db.writer()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_authorizations_own_probe_fails_a_missing_account_says_nothing() {
    let (stage, connection) = connected_for_a_day().await;
    stage.sandbox.fail_next(Endpoint::Identity, Fault::ServerError, 10_000);
    stage.sandbox.fail_next(Endpoint::Account, gone(), 10_000);
    stage.run_jobs().await;
    for renewals in 2..=5 {
        all_but_the_probe_is_due(&stage).await;
        stage.run_jobs().await;
        assert_eq!(
            stage.sandbox.token_calls().refresh_token,
            renewals,
            "that tokens are to be had says nothing either"
        );
        a_tick_later(&stage).await;
        stage.after_a_probe_interval().await;
    }
    assert!(stage.sandbox.calls(Endpoint::Account) >= 5, "it was looked at");
    assert_eq!((stage.status(&connection).await.as_str(), stage.disconnections().await.len()), ("CONNECTED", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_page_is_no_missing_account() {
    let (stage, connection) = connected_for_a_day().await;
    stage.sandbox.fail_next(Endpoint::Account, no_such_page(), 10_000);
    stage.run_jobs().await;
    for _ in 0..20 {
        a_tick_later(&stage).await;
        stage.after_a_probe_interval().await;
    }
    assert!(stage.sandbox.calls(Endpoint::Account) >= 10, "it was looked at");
    assert_eq!((stage.status(&connection).await.as_str(), stage.disconnections().await.len()), ("CONNECTED", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_authorizations_own_probe_is_denied_each_account_has_the_word_about_itself() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Identity, Fault::Forbidden, 10_000);
    stage.sandbox.withdraw("100-302");
    let cursor = stage.admin.event_cursor().await;
    stage.run_jobs().await;
    // For two days.
    for _ in 0..96 {
        a_tick_later(&stage).await;
        stage.later(TimeDelta::minutes(30));
        stage.run_jobs().await;
        assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
    }
    let hotels = stage.admin_now().connection(&grant.hotels).await;
    assert_eq!(
        (&hotels["status"], &hotels["disconnection"]["reason"]),
        (&json!("DISCONNECTED"), &json!("ACCESS_LOST"))
    );
    assert_eq!(hotels["authorization"]["status"], "CONNECTED");
    assert_eq!(each(&stage.changes_since(&cursor).await, "kind"), ["DISCONNECTED"], "nothing flaps");
    assert_eq!(each(&stage.admin_now().tray().await, "kind"), ["DISCONNECTED"]);
    assert_eq!(stage.disconnections().await.len(), 1);
}
