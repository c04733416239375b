//! Answers that no row knows: they flag nobody at once, and nobody is left with what has been dead for long.

use chrono::{DateTime, TimeDelta, Utc};
use entity::authorization;
use patchbay::{
    clock::Clock,
    ids::{self, Kind},
    sandbox::{Endpoint, Fault},
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, sea_query::Expr};
use serde_json::{Value, json};

use crate::harness::{Stage, each, ids_of};

fn answer(status: u16, kind: &str, body: &str) -> Fault {
    Fault::Exactly { status, headers: vec![("content-type".to_owned(), kind.to_owned())], body: body.to_owned() }
}

async fn every_five_minutes(stage: &Stage, times: usize) {
    for _ in 0..times {
        stage.later(TimeDelta::minutes(5));
        stage.run_jobs().await;
    }
}

async fn every_hour(stage: &Stage, times: usize) {
    for _ in 0..times {
        stage.later(TimeDelta::hours(1));
        stage.run_jobs().await;
        stage.after_ticks(3).await;
    }
}

async fn found_failing(stage: &Stage) -> Vec<String> {
    let seen = stage.admin_now().sees("{ connections(filter: { failing: true }) { nodes { id } } }").await;
    ids_of(&seen["connections"]["nodes"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_is_refused_in_unknown_words_is_believed_once_its_token_has_ended_and_not_before() {
    for fault in [
        answer(400, "application/json", r#"{"error": "invalid_request"}"#),
        answer(400, "application/json", r#"{"problem": {"kind": "withdrawn"}}"#),
        answer(401, "text/plain", "Unauthorized"),
        answer(400, "text/plain", ""),
        answer(400, "text/html", "<html>Bad Request</html>"),
        answer(410, "application/json", "{}"),
    ] {
        let stage = Stage::new().await;
        let grant = stage.shared_grant().await;
        stage.sandbox.fail_next(Endpoint::Token, fault.clone(), 1_000);
        stage.later(TimeDelta::minutes(54));
        stage.run_jobs().await;
        assert_eq!(stage.status(&grant.lamps).await, "CONNECTED", "{fault:?}: the token is good");
        let seen = stage.admin_now().connection(&grant.lamps).await;
        assert_eq!(seen["disconnection"], Value::Null);
        every_five_minutes(&stage, 6).await;
        let outages = stage.disconnections().await;
        assert_eq!(each(&outages, "reason"), ["REVOKED"], "{fault:?}");
        assert_eq!(stage.status(&grant.hotels).await, "DISCONNECTED");
        every_five_minutes(&stage, 20).await;
        assert_eq!(stage.disconnections().await.len(), 1, "{fault:?}: once");
        stage.sandbox.clear_faults();
        every_hour(&stage, 7).await;
        assert_eq!(stage.status(&grant.lamps).await, "CONNECTED", "{fault:?}");
        assert_eq!(each(&stage.disconnections().await, "endedBy"), ["RECOVERED"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_firewall_flags_nobody_shows_since_when_and_after_a_day_counts_as_no_answer() {
    for fault in [
        answer(403, "text/html", "<html>Are you a robot?</html>"),
        answer(401, "text/html", "<html>Sign in</html>"),
        answer(403, "text/plain", ""),
        answer(402, "application/json", r#"{"message": "Payment Required"}"#),
        answer(200, "text/html", "<html>Welcome</html>"),
    ] {
        let stage = Stage::new().await;
        let acme = stage.admin.creates_client("Acme").await;
        let keyed = stage.keyed("lamps", &acme).await;
        assert_eq!(found_failing(&stage).await, Vec::<String>::new());
        stage.sandbox.fail_next(Endpoint::Keyed, fault.clone(), 10_000);
        every_hour(&stage, 20).await;
        assert_eq!(stage.status(&keyed).await, "CONNECTED", "{fault:?}");
        assert_eq!(stage.disconnections().await.len(), 0, "{fault:?}");
        assert_eq!(found_failing(&stage).await, std::slice::from_ref(&keyed), "{fault:?}");
        let query = format!(
            "{{ connection(id: \"{keyed}\") {{ authorization {{ failingSince failingMessage disconnection {{ message }} }} }} }}"
        );
        let seen = stage.admin_now().sees(&query).await["connection"]["authorization"].clone();
        let message = seen["failingMessage"].as_str().unwrap().to_owned();
        assert!(seen["failingSince"].is_string() && message.starts_with("the provider answered"), "{seen}");

        every_hour(&stage, 6).await;
        let outages = stage.disconnections().await;
        assert_eq!(each(&outages, "reason"), ["UNRESPONSIVE"], "{fault:?}");
        let told = outages[0]["message"].as_str().unwrap();
        assert!(told.contains(&message) && told.contains("UTC"), "{told}");
        every_hour(&stage, 8).await;
        assert_eq!(stage.disconnections().await.len(), 1, "{fault:?}: once");

        stage.sandbox.clear_faults();
        every_hour(&stage, 7).await;
        assert_eq!(stage.status(&keyed).await, "CONNECTED", "{fault:?}");
        assert_eq!(each(&stage.disconnections().await, "endedBy"), ["RECOVERED"]);
        assert_eq!(found_failing(&stage).await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_answers_oddly_for_a_day_loses_its_own_connection_alone() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Account, answer(400, "application/json", r#"{"odd": true}"#), 10_000);
    every_hour(&stage, 40).await;
    assert_eq!(stage.disconnections().await.len(), 0, "it was first asked about after a day");
    assert!(found_failing(&stage).await.contains(&grant.lamps));
    every_hour(&stage, 30).await;
    let outages = stage.disconnections().await;
    assert_eq!(each(&outages, "reason"), ["UNRESPONSIVE", "UNRESPONSIVE"]);
    stage.sandbox.clear_faults();
    every_hour(&stage, 3).await;
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_that_is_refused_once_is_asked_with_again() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Identity, Fault::Unauthorized, 2);
    stage.admin.mutates("checkConnection", json!({ "connectionId": grant.lamps }), "").await;
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
    assert_eq!(stage.sandbox.token_calls().refresh_token, 1, "one renewal");

    stage.sandbox.fail_next(Endpoint::Identity, Fault::Unauthorized, 1);
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-404" });
    let connected = stage.admin.connects(&stage.browser(), input, "ben").await;
    assert_eq!(connected["status"], "CONNECTED", "a sign-in, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_a_client_that_was_replaced_needs_its_person_and_is_no_incident() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let replaced = "UPDATE \"authorization\" SET oauth_client = 'the client before'";
    stage.db.writer().execute_unprepared(replaced).await.unwrap();
    stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_client"), 1_000);
    stage.later(TimeDelta::minutes(54));
    stage.run_jobs().await;
    stage.after_ticks(2).await;
    let outages = stage.disconnections().await;
    assert_eq!(each(&outages, "reason"), ["REVOKED"]);
    assert!(outages[0]["message"].as_str().unwrap().contains("another OAuth client"), "{outages:?}");
    assert_eq!(each(&stage.admin_now().tray().await, "kind"), ["DISCONNECTED"], "no incident");

    stage.sandbox.clear_faults();
    let (attempt, _) = stage.admin_now().reconnects(&stage.browser(), &grant.lamps, "REFUSE", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED");
    every_hour(&stage, 3).await;
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn that_our_client_is_refused_is_not_believed_of_one_grant_while_it_is_accepted_of_another() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let bens = json!({ "connector": "sandbox-ads", "accountId": "100-404" });
    let bens = stage.admin.connects(&stage.browser(), bens, "ben").await["authorization"]["id"].clone();
    let bens = ids::decode(Kind::Authorization, bens.as_str().unwrap()).unwrap();
    stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_client"), 1_000);
    let put_off = authorization::Entity::update_many()
        .col_expr(authorization::Column::RenewAt, Expr::value(None::<DateTime<Utc>>))
        .col_expr(authorization::Column::ProbeAt, Expr::value(None::<DateTime<Utc>>))
        .filter(authorization::Column::Id.eq(bens));
    put_off.exec(stage.db.writer()).await.unwrap();
    stage.later(TimeDelta::minutes(54));
    stage.run_jobs().await;
    stage.after_ticks(2).await;
    let incident = "{ connector(slug: \"sandbox-ads\") { incident { ours } } }";
    assert_eq!(stage.admin_now().sees(incident).await["connector"]["incident"], json!({ "ours": true }));

    let accepted = authorization::Entity::update_many()
        .col_expr(authorization::Column::LastRefreshedAt, Expr::value(stage.clock.now()))
        .filter(authorization::Column::Id.eq(bens));
    accepted.exec(stage.db.writer()).await.unwrap();
    every_five_minutes(&stage, 8).await;
    assert_eq!(each(&stage.disconnections().await, "reason"), ["REVOKED"]);
    assert_eq!(stage.status(&grant.lamps).await, "DISCONNECTED");
    assert_eq!(stage.admin_now().sees(incident).await["connector"]["incident"], Value::Null);
}
