//! Grants that nobody uses any more go back to their provider: in the end, and never while somebody signs in as the same
//! account. Providers may end all grants of an account with one; the sandbox ends the one, so tests look at what is sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::give_back;
use patchbay::{
    db::Watch,
    sandbox::{Ended, Endpoint, Fault},
};
use sea_orm::{EntityTrait, PaginatorTrait, sea_query::Expr};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use url::Url;

use crate::harness::{Browser, Database, InTheWay, Person, Setup, Stage, Statements, id, leave_out, within_patience};

/// How long the database may take in tests in which it is away.
const DEADLINE: Duration = Duration::from_secs(1);

fn analytics(client: &str) -> Value {
    json!({ "connector": "sandbox-analytics", "clientId": client })
}

fn ended(stage: &Stage) -> Vec<Option<Ended>> {
    stage.sandbox.grants().iter().map(|grant| grant.ended).collect()
}

/// How many grants are still to be given back.
async fn left(stage: &Stage) -> u64 {
    give_back::Entity::find().count(stage.db.reader()).await.unwrap()
}

/// Starts to remove a connection.
fn removing(person: &Person, connection: &Value) -> JoinHandle<Value> {
    let (person, input) = (person.clone(), json!({ "connectionId": connection["id"] }));
    tokio::spawn(async move { person.does("removeConnection", input, "").await })
}

async fn removes(person: &Person, connection: &Value) {
    removing(person, connection).await.unwrap();
}

fn opening(browser: Browser, callback: &Url) -> JoinHandle<u16> {
    let callback = callback.clone();
    tokio::spawn(async move { browser.opens(callback.as_str()).await.status })
}

/// Waits until an attempt has ended.
async fn has_ended(stage: &Stage, attempt: &str) -> Value {
    within_patience(async {
        loop {
            let seen = stage.admin.attempt(attempt).await;
            if seen["status"] != "PENDING" {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// What waited a minute for its turn has it now.
async fn a_minute_later(stage: &Stage) {
    stage.later(TimeDelta::minutes(1));
    stage.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_back_while_somebody_signs_in() {
    for (who, given_back) in [("ada", None), ("ben", Some(Ended::ByClient))] {
        let stage = Stage::new().await;
        let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
        let old = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
        let (attempt, url) = stage.admin.starts_connecting(analytics(&globex)).await;
        let browser = stage.browser();
        let callback = browser.allows(&url, who).await;
        let held = stage.gates(Endpoint::Token, 1);
        let meanwhile = async {
            removes(&stage.admin, &old).await;
            a_minute_later(&stage).await;
            assert_eq!((stage.sandbox.calls(Endpoint::Revoke), left(&stage).await), (0, 1), "{who}");
        };
        stage.while_held(&held, 1, browser.opens(callback.as_str()), meanwhile).await;
        let attempt = has_ended(&stage, &attempt).await;
        assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");

        a_minute_later(&stage).await;
        assert_eq!((ended(&stage), left(&stage).await), (vec![given_back, None], 0), "{who}");
        stage.after_a_probe_interval().await;
        assert_eq!(stage.status(&id(&attempt["connections"][0])).await, "CONNECTED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_waits_for_a_give_back_that_is_on_its_way() {
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = looks.clone();
    let watch = Watch::new(move |statement| {
        let looks_for_claims = statement.sql.contains("give_back")
            && statement.sql.starts_with("SELECT")
            && !statement.sql.contains("due_at");
        counted.fetch_add(usize::from(looks_for_claims), Ordering::SeqCst);
    });
    let stage = Stage::with(Setup { statements: Some(watch), ..Setup::default() }).await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let old = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    let (attempt, url) = stage.admin.starts_connecting(analytics(&globex)).await;
    let browser = stage.browser();
    let callback = browser.allows(&url, "ada").await;

    let revoking = stage.gates(Endpoint::Revoke, 1);
    let removal = removing(&stage.admin, &old);
    within_patience(revoking.reached_by(1)).await;
    let before = looks.load(Ordering::SeqCst);
    let landing = opening(browser, &callback);
    within_patience(async {
        while looks.load(Ordering::SeqCst) < before + 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(stage.sandbox.token_calls().authorization_code, 1, "the code is not redeemed yet");
    revoking.open();
    removal.await.unwrap();
    landing.await.unwrap();
    let attempt = has_ended(&stage, &attempt).await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    assert_eq!((ended(&stage), left(&stage).await), (vec![Some(Ended::ByClient), None], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_decision_uses_the_account() {
    let stage = Stage::new().await;
    let ads = |account: Option<&str>| json!({ "connector": "sandbox-ads", "accountId": account });
    let old = stage.admin.connects(&stage.browser(), ads(Some("100-301")), "ada").await;
    let (attempt, url) = stage.admin.starts_connecting(ads(None)).await;
    stage.browser().signs_in(&url, "ada").await;
    assert_eq!(stage.admin.attempt(&attempt).await["status"], "NEEDS_DECISION");
    removes(&stage.admin, &old).await;
    assert_eq!((stage.sandbox.calls(Endpoint::Revoke), left(&stage).await), (0, 0), "the attempt has it now");
    stage.admin.does("decideAttempt", json!({ "attemptId": attempt, "accountId": "100-302" }), "").await;
    let new = &stage.admin.attempt(&attempt).await["connections"][0];
    stage.after_a_probe_interval().await;
    assert_eq!(stage.status(&id(new)).await, "CONNECTED");

    // Nobody decides: then it goes back with the attempt.
    let (attempt, url) = stage.admin_now().starts_connecting(ads(None)).await;
    stage.browser().signs_in(&url, "ada").await;
    removes(&stage.admin_now(), new).await;
    assert_eq!(stage.sandbox.calls(Endpoint::Revoke), 0);
    a_minute_later(&stage).await;
    stage.later(TimeDelta::minutes(10));
    stage.run_jobs().await;
    assert_eq!(stage.admin_now().attempt(&attempt).await["status"], "EXPIRED");
    assert_eq!((ended(&stage)[2], left(&stage).await), (Some(Ended::ByClient), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_given_back_when_a_node_was_killed_is_given_back_by_another() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let connection = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    // As a node leaves it that is killed while the provider is asked.
    stage.sandbox.fail_next(Endpoint::Revoke, Fault::ServerError, 1);
    removes(&stage.admin, &connection).await;
    let claim = |until: Option<DateTime<Utc>>| {
        give_back::Entity::update_many()
            .col_expr(give_back::Column::ClaimedBy, Expr::value(stage.admin.uuid()))
            .col_expr(give_back::Column::ClaimedUntil, Expr::value(until))
    };
    claim(DateTime::from_timestamp(7_000_000_000, 0)).exec(stage.db.writer()).await.unwrap();
    let stage = stage.restarts().await;
    a_minute_later(&stage).await;
    assert_eq!((stage.sandbox.calls(Endpoint::Revoke), left(&stage).await), (1, 1), "it is at it still");

    give_back::Entity::update_many()
        .col_expr(give_back::Column::ClaimedUntil, Expr::value(DateTime::from_timestamp(0, 0)))
        .exec(stage.db.writer())
        .await
        .unwrap();
    stage.run_jobs().await;
    assert_eq!((ended(&stage), left(&stage).await), (vec![Some(Ended::ByClient)], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_is_asked_again_ever_later_for_a_day() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let first = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    let second = stage.admin.connects(&stage.browser(), analytics(&acme), "ben").await;
    stage.sandbox.fail_next(Endpoint::Revoke, Fault::ServerError, 2);
    removes(&stage.admin, &first).await;
    for (pause, calls) in [(0, 1), (2, 2), (0, 2)] {
        stage.later(TimeDelta::seconds(pause));
        stage.run_jobs().await;
        assert_eq!((stage.sandbox.calls(Endpoint::Revoke), left(&stage).await), (calls, 1));
    }
    stage.later(TimeDelta::seconds(3));
    stage.run_jobs().await;
    assert_eq!((ended(&stage), left(&stage).await), (vec![Some(Ended::ByClient), None], 0));

    stage.sandbox.fail_next(Endpoint::Revoke, Fault::ServerError, 1_000);
    removes(&stage.admin, &second).await;
    for _ in 0..23 {
        stage.later(TimeDelta::hours(1));
        stage.run_jobs().await;
        assert_eq!(left(&stage).await, 1);
    }
    stage.later(TimeDelta::hours(2));
    stage.run_jobs().await;
    assert_eq!(left(&stage).await, 0, "nobody tries for ever, and no secret is kept for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_give_back_that_another_took_over_meanwhile_is_left_to_it() {
    for fault in [None, Some(Fault::ServerError)] {
        let stage = Stage::new().await;
        let acme = stage.admin.creates_client("Acme").await;
        let connection = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
        if let Some(fault) = fault.clone() {
            stage.sandbox.fail_next(Endpoint::Revoke, fault, 1);
        }
        let mut revoking = stage.holds("/revoke");
        let removal = removing(&stage.admin, &connection);
        revoking.arrived().await;
        give_back::Entity::update_many()
            .col_expr(give_back::Column::ClaimedBy, Expr::value(stage.admin.uuid()))
            .exec(stage.db.writer())
            .await
            .unwrap();
        let taken = give_back::Entity::find().one(stage.db.reader()).await.unwrap();
        revoking.goes_on();
        removal.await.unwrap();
        assert_eq!(give_back::Entity::find().one(stage.db.reader()).await.unwrap(), taken, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_give_back_that_was_put_off_since_it_was_found_is_not_tried_before() {
    let statements = Statements::default();
    let stage = Stage::with(Setup { statements: Some(statements.watch()), ..Setup::default() }).await;
    if stage.database.is_sqlite() {
        leave_out("on SQLite a claim that is about to be written holds the one writer");
        return;
    }
    let acme = stage.admin.creates_client("Acme").await;
    let connection = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    stage.sandbox.fail_next(Endpoint::Revoke, Fault::ServerError, 2);
    removes(&stage.admin, &connection).await;
    stage.later(TimeDelta::seconds(2));
    let mut claiming = statements.holds(&[r#"UPDATE "give_back" SET "claimed_by""#]);
    let jobs = stage.jobs.clone();
    let late = tokio::spawn(async move { jobs.run_due().await.unwrap() });
    claiming.arrived().await;
    stage.run_jobs().await;
    assert_eq!(stage.sandbox.calls(Endpoint::Revoke), 2);
    claiming.goes_on();
    late.await.unwrap();
    assert_eq!((stage.sandbox.calls(Endpoint::Revoke), left(&stage).await), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_after_the_exchange_is_waited_for() {
    for (scopes, status, grant) in [(None, "SUCCEEDED", None), (Some(["profile"]), "FAILED", Some(Ended::ByClient))] {
        let database = Arc::new(Database::migrated().await);
        let setup = Setup {
            database: Some(database.clone()),
            database_deadline: Some(DEADLINE),
            limits: Some(|limits| limits.browser_patience = DEADLINE * 3),
            ..Setup::default()
        };
        let stage = Stage::with(setup).await;
        let (attempt, url) = stage.admin.starts_connecting(json!({ "connector": "sandbox-analytics" })).await;
        let browser = stage.browser();
        let provider = browser.departs(&url).await;
        let callback = match scopes {
            Some(scopes) => stage.sandbox.approve_only(&provider, "ada", &scopes),
            None => stage.sandbox.approve(&provider, "ada"),
        };
        let held = stage.gates(Endpoint::Token, 1);
        let landing = opening(browser, &callback.unwrap());
        within_patience(held.reached_by(1)).await;
        let in_the_way = InTheWay::of(&database, "attempt").await;
        held.open();
        // Longer than the database's deadline: it was tried in vain.
        assert_eq!(landing.await.unwrap(), 202, "{status}");
        in_the_way.leaves().await;
        assert_eq!(has_ended(&stage, &attempt).await["status"], status);
        let tasks = stage.tasks.clone();
        within_patience(tasks.drained()).await;
        assert_eq!((ended(&stage), left(&stage).await), (vec![grant], 0), "{status}");
    }
}
