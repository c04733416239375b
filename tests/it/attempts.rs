//! An attempt from its start to its end: who sees it, who hears of it, how long it lives, and that it outlives the
//! server that started it.

use chrono::TimeDelta;
use entity::{AttemptStatus, attempt};
use patchbay::sandbox::{Ended, Grant};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::harness::{Frame, Setup, Socket, Stage};

const CHANGED: &str =
    "subscription($id: ID!) { authorizationAttemptChanged(id: $id) { status connections { id } error { code } } }";

fn ads() -> Value {
    json!({ "connector": "sandbox-ads" })
}

fn analytics() -> Value {
    json!({ "connector": "sandbox-analytics" })
}

/// The status that comes next on a subscription.
async fn next_status(socket: &mut Socket) -> String {
    socket.event().await["authorizationAttemptChanged"]["status"].as_str().unwrap().to_owned()
}

async fn completes(socket: &mut Socket, id: &str) {
    assert_eq!(socket.next().await, Frame::Message(json!({ "id": id, "type": "complete" })));
}

fn live(grants: &[Grant]) -> usize {
    grants.iter().filter(|grant| grant.ended.is_none()).count()
}

/// The rows of attempts that still hold something sealed.
async fn sealed(stage: &Stage) -> usize {
    let rows = attempt::Entity::find().all(stage.db.reader()).await.unwrap();
    rows.iter().filter(|row| row.secret.is_some()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_seen_by_whoever_started_it_alone() {
    let stage = Stage::new().await;
    let (bob, stranger) = (stage.person("Bob", "ADMIN", None).await, stage.stranger().await);
    let (id, url) = stage.admin.starts_connecting(ads()).await;
    stage.browser().signs_in(&url, "ada").await;
    for other in [&bob, &stranger] {
        assert_eq!(other.attempt(&id).await, Value::Null);
        let query = "query($id: ID!) { node(id: $id) { id } }";
        assert_eq!(other.ask(query, json!({ "variables": { "id": id } })).await["node"], Value::Null);
        let decision = json!({ "attemptId": id, "accountId": "100-301" });
        let error = other.refused("decideAttempt", decision).await;
        assert_eq!((error["code"].as_str(), &error["field"]), (Some("NOT_FOUND"), &json!(["attemptId"])));
        let mut socket = other.socket().await;
        socket.subscribe("a", CHANGED, json!({ "id": id })).await;
        assert_eq!(socket.error().await, "BAD_USER_INPUT");
    }
    assert_eq!(stage.admin.attempt(&id).await["status"], "NEEDS_DECISION");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_started_it_hears_it_go_from_pending_to_succeeded_and_no_further() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(analytics()).await;
    let mut socket = stage.admin.socket().await;
    socket.subscribe("a", CHANGED, json!({ "id": id })).await;
    assert_eq!(next_status(&mut socket).await, "PENDING");
    stage.browser().signs_in(&url, "ada").await;
    let event = socket.event().await["authorizationAttemptChanged"].clone();
    assert_eq!((&event["status"], event["connections"].as_array().unwrap().len()), (&json!("SUCCEEDED"), 1));
    completes(&mut socket, "a").await;

    // One that has ended says so, and that is all.
    socket.subscribe("b", CHANGED, json!({ "id": id })).await;
    assert_eq!(next_status(&mut socket).await, "SUCCEEDED");
    completes(&mut socket, "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_is_needed_is_heard_of_and_so_is_what_it_came_to() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(ads()).await;
    let mut socket = stage.admin.socket().await;
    socket.subscribe("a", CHANGED, json!({ "id": id })).await;
    assert_eq!(next_status(&mut socket).await, "PENDING");
    stage.browser().signs_in(&url, "ada").await;
    assert_eq!(next_status(&mut socket).await, "NEEDS_DECISION");
    stage.admin.does("decideAttempt", json!({ "attemptId": id, "accountId": "100-301" }), "").await;
    assert_eq!(next_status(&mut socket).await, "SUCCEEDED");
    completes(&mut socket, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_and_an_end_of_time_are_heard_of() {
    let stage = Stage::new().await;
    let mut socket = stage.admin.socket().await;
    let (id, url) = stage.admin.starts_connecting(analytics()).await;
    socket.subscribe("a", CHANGED, json!({ "id": id })).await;
    assert_eq!(next_status(&mut socket).await, "PENDING");
    stage.browser().cancels(&url).await;
    let event = socket.event().await["authorizationAttemptChanged"].clone();
    assert_eq!((&event["status"], &event["error"]["code"]), (&json!("FAILED"), &json!("DENIED")));
    completes(&mut socket, "a").await;

    let (id, _) = stage.admin.starts_connecting(analytics()).await;
    socket.subscribe("b", CHANGED, json!({ "id": id })).await;
    assert_eq!(next_status(&mut socket).await, "PENDING");
    stage.later(TimeDelta::minutes(10));
    stage.run_jobs().await;
    assert_eq!(next_status(&mut socket).await, "EXPIRED");
    completes(&mut socket, "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_nobody_finishes_expires_and_keeps_nothing() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(analytics()).await;
    stage.later(TimeDelta::minutes(9));
    stage.run_jobs().await;
    assert_eq!(stage.admin.attempt(&id).await["status"], "PENDING");
    stage.later(TimeDelta::minutes(1));
    assert_eq!(stage.admin.attempt(&id).await["status"], "EXPIRED", "also before anybody swept");
    assert_eq!(stage.browser().opens(&url).await.status, 410);
    stage.run_jobs().await;
    assert_eq!(stage.admin.attempt(&id).await["status"], "EXPIRED");
    assert_eq!(sealed(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_waits_ten_more_minutes_for_its_decision_and_is_given_back_then() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(ads()).await;
    stage.later(TimeDelta::minutes(9));
    stage.browser().signs_in(&url, "ada").await;
    stage.later(TimeDelta::minutes(9));
    stage.run_jobs().await;
    assert_eq!(stage.admin.attempt(&id).await["status"], "NEEDS_DECISION");
    assert_eq!((live(&stage.sandbox.grants()), sealed(&stage).await), (1, 1));

    stage.later(TimeDelta::minutes(1));
    let late = stage.admin.refused("decideAttempt", json!({ "attemptId": id, "accountId": "100-301" })).await;
    assert_eq!((late["code"].as_str(), &late["field"]), (Some("INVALID"), &json!(["attemptId"])));
    stage.run_jobs().await;
    assert_eq!(stage.admin.attempt(&id).await["status"], "EXPIRED");
    assert_eq!(stage.sandbox.grants()[0].ended, Some(Ended::ByClient));
    assert_eq!(sealed(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_is_dropped_does_not_take_the_accounts_authorization_with_it() {
    let stage = Stage::new().await;
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-301" });
    let connection = stage.admin.connects(&stage.browser(), input, "ada").await;
    let (id, url) = stage.admin.starts_connecting(ads()).await;
    stage.browser().signs_in(&url, "ada").await;
    stage.admin.does("decideAttempt", json!({ "attemptId": id, "accountChange": "REFUSE" }), "").await;
    assert_eq!(stage.admin.attempt(&id).await["status"], "FAILED");
    assert_eq!(live(&stage.sandbox.grants()), 2, "a provider may end all grants of an account at once");
    assert_eq!(sealed(&stage).await, 0);
    stage.after_a_probe_interval().await;
    assert_eq!(stage.admin.connection(connection["id"].as_str().unwrap()).await["status"], "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_decisions_at_once_come_to_one_result() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(ads()).await;
    stage.browser().signs_in(&url, "ada").await;
    let decide = |account: &str| {
        stage.admin.mutates("decideAttempt", json!({ "attemptId": id, "accountId": account }), "attempt { status }")
    };
    let (one, other) = tokio::join!(decide("100-301"), decide("100-302"));
    let refused = [&one, &other].iter().filter(|payload| payload["errors"] != json!([])).count();
    assert_eq!(refused, 1, "{one:#} {other:#}");
    let attempt = stage.admin.attempt(&id).await;
    assert_eq!((&attempt["status"], &attempt["connectionCount"]), (&json!("SUCCEEDED"), &json!(1)));
    assert_eq!(stage.admin.sees("{ connections { totalCount } }").await["connections"]["totalCount"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_of_an_attempt_whose_starter_was_made_inactive_meanwhile() {
    let stage = Stage::new().await;
    let (bob, browser) = (stage.person("Bob", "STAFF", None).await, stage.browser());
    let (id, url) = bob.starts_connecting(analytics()).await;
    let callback = browser.allows(&url, "ada").await;
    stage.admin.does("updateUser", json!({ "userId": bob.id, "active": false }), "").await;
    browser.opens(callback.as_str()).await;
    stage.admin.does("updateUser", json!({ "userId": bob.id, "active": true }), "").await;
    let attempt = stage.signed_in(&bob.id).attempt(&id).await;
    assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("REJECTED")));
    let seen = stage.admin.sees("{ connections { totalCount } authorizations { totalCount } }").await;
    assert_eq!(seen, json!({ "connections": { "totalCount": 0 }, "authorizations": { "totalCount": 0 } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_at_the_token_call_leaves_nothing_and_says_try_again() {
    use patchbay::sandbox::{Endpoint, Fault};
    let stage = Stage::new().await;
    for (endpoint, fault, code) in [
        (Endpoint::Token, Fault::ServerError, "PROVIDER_UNAVAILABLE"),
        (Endpoint::Token, Fault::Garbage, "PROVIDER_UNAVAILABLE"),
        (Endpoint::Token, Fault::OAuthError("invalid_grant"), "REJECTED"),
        (Endpoint::Token, Fault::OAuthError("invalid_client"), "NOT_CONFIGURED"),
        (Endpoint::Identity, Fault::ServerError, "PROVIDER_UNAVAILABLE"),
        (Endpoint::Identity, Fault::Without("sub"), "PROVIDER_UNAVAILABLE"),
        (Endpoint::Accounts, Fault::ServerError, "PROVIDER_UNAVAILABLE"),
    ] {
        stage.sandbox.fail_next(endpoint, fault.clone(), 1);
        let (id, url) = stage.admin.starts_connecting(ads()).await;
        stage.browser().signs_in(&url, "ada").await;
        let attempt = stage.admin.attempt(&id).await;
        let came = (&attempt["status"], &attempt["error"]["code"]);
        assert_eq!(came, (&json!("FAILED"), &json!(code)), "{endpoint:?} {fault:?}");
    }
    let seen = stage.admin.sees("{ connections { totalCount } authorizations { totalCount } }").await;
    assert_eq!(seen, json!({ "connections": { "totalCount": 0 }, "authorizations": { "totalCount": 0 } }));
    assert_eq!(sealed(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_start_and_callback_loses_nothing() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let (id, url) = stage.admin.starts_connecting(analytics()).await;
    let (waiting, other_url) = stage.admin.starts_connecting(ads()).await;
    let callback = browser.allows(&url, "ada").await;
    browser.signs_in(&other_url, "ada").await;

    let stage = stage.restarts().await;
    assert_eq!(browser.opens(callback.as_str()).await.status, 200);
    assert_eq!(stage.admin.attempt(&id).await["status"], "SUCCEEDED");
    let decision = json!({ "attemptId": waiting, "accountId": "100-302" });
    let decided = stage.admin.does("decideAttempt", decision, "attempt { status }").await;
    assert_eq!(decided["attempt"]["status"], "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_may_take_the_callback() {
    let settings = vec![("PATCHBAY_PUBLIC_URL".to_owned(), "http://localhost:1".to_owned())];
    let first = Stage::with(Setup { settings, ..Setup::default() }).await;
    let second = first.another_node().await;
    let at = |node: &Stage, address: &str| {
        let address = url::Url::parse(address).unwrap();
        let mut there = node.url.join(address.path()).unwrap();
        there.set_query(address.query());
        there.to_string()
    };
    let browser = first.browser();
    let mut socket = first.admin.socket().await;
    let (id, url) = first.admin.starts_connecting(analytics()).await;
    socket.subscribe("a", CHANGED, json!({ "id": id })).await;
    assert_eq!(next_status(&mut socket).await, "PENDING");
    let callback = browser.allows(&at(&first, &url), "ada").await;
    assert_eq!(browser.opens(&at(&second, callback.as_str())).await.status, 200);
    assert_eq!(next_status(&mut socket).await, "SUCCEEDED", "the first node's socket hears of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_of_an_exchange_leaves_an_attempt_that_expires() {
    let stage = Stage::new().await;
    let browser = stage.browser();
    let (id, url) = stage.admin.starts_connecting(analytics()).await;
    browser.allows(&url, "ada").await;
    // As the callback leaves it before it asks the provider.
    let row = attempt::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    let exchanging = attempt::ActiveModel {
        id: sea_orm::ActiveValue::Unchanged(row.id),
        status: sea_orm::ActiveValue::Set(AttemptStatus::Exchanging),
        state_hash: sea_orm::ActiveValue::Set(None),
        ..Default::default()
    };
    attempt::Entity::update(exchanging).exec(stage.db.writer()).await.unwrap();
    assert_eq!(stage.admin.attempt(&id).await["status"], "PENDING");
    stage.later(TimeDelta::minutes(10));
    stage.run_jobs().await;
    assert_eq!(stage.admin.attempt(&id).await["status"], "EXPIRED");
    assert_eq!(sealed(&stage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_gets_more_time_while_others_are_ended_does_not_expire() {
    let stage = Stage::new().await;
    let site = stage.admin.connects(&stage.browser(), analytics(), "ada").await;
    // One has waited for its decision for ten minutes, and its end takes as long as giving its grant back.
    let (over, url) = stage.admin.starts_connecting(ads()).await;
    stage.browser().signs_in(&url, "ben").await;
    stage.later(TimeDelta::minutes(6));
    // Another has been at the provider for longer than an exchange may take.
    let (late, url) = stage.admin.starts_reconnecting(site["id"].as_str().unwrap(), "ASK").await;
    let browser = stage.browser();
    let callback = browser.allows(&url, "ben").await;
    let mut exchanging = stage.holds("/token");
    let landing = tokio::spawn(async move { browser.opens(callback.as_str()).await.status });
    exchanging.arrived().await;
    stage.later(TimeDelta::minutes(6));
    let mut giving_back = stage.holds("/revoke");
    let jobs = stage.jobs.clone();
    let sweeping = tokio::spawn(async move { jobs.run_due().await.unwrap() });
    giving_back.arrived().await;
    exchanging.goes_on();
    assert_eq!(landing.await.unwrap(), 200);
    giving_back.goes_on();
    sweeping.await.unwrap();
    let admin = stage.admin_now();
    assert_eq!(admin.attempt(&over).await["status"], "EXPIRED");
    assert_eq!(admin.attempt(&late).await["status"], "NEEDS_DECISION", "it came in time to be decided");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_redeemed_at_the_last_minute_has_the_time_that_takes() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(analytics()).await;
    stage.later(TimeDelta::minutes(9));
    let browser = stage.browser();
    let callback = browser.allows(&url, "ada").await;
    let mut exchanging = stage.holds("/token");
    let landing = tokio::spawn(async move { browser.opens(callback.as_str()).await.status });
    exchanging.arrived().await;
    stage.later(TimeDelta::minutes(2));
    stage.run_jobs().await;
    exchanging.goes_on();
    assert_eq!(landing.await.unwrap(), 200);
    assert_eq!(stage.admin_now().attempt(&id).await["status"], "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_comes_to_a_question_after_its_end_is_given_back() {
    let stage = Stage::new().await;
    let (id, url) = stage.admin.starts_connecting(ads()).await;
    let browser = stage.browser();
    let callback = browser.allows(&url, "ada").await;
    // It is known who signed in, and not yet which accounts there are.
    let mut listing = stage.holds("/accounts");
    let landing = tokio::spawn(async move { browser.opens(callback.as_str()).await.status });
    listing.arrived().await;
    stage.later(TimeDelta::minutes(6));
    stage.run_jobs().await;
    let admin = stage.admin_now();
    assert_eq!(admin.attempt(&id).await["status"], "EXPIRED");
    listing.goes_on();
    landing.await.unwrap();
    assert_eq!(admin.attempt(&id).await["status"], "EXPIRED");
    assert_eq!((live(&stage.sandbox.grants()), sealed(&stage).await), (0, 0));
}
