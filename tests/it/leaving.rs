//! A client that leaves, and a server that is told to stop: what was begun is finished.

use std::time::Duration;

use chrono::TimeDelta;
use entity::journal_entry;
use patchbay::sandbox::{Ended, Endpoint, Gate};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};
use url::Url;

use crate::harness::{Browser, Landing, Person, Setup, Stage, id};

/// How long a test waits for what has to come. It is no measure.
const PATIENCE: Duration = Duration::from_secs(30);

fn analytics() -> Value {
    json!({ "connector": "sandbox-analytics" })
}

/// Waits until the provider has done what it was asked, whose answer is held, and leaves.
async fn asks_and_leaves<T>(held: &Gate, asking: JoinHandle<T>) {
    timeout(PATIENCE, held.reached_by(1)).await.expect("the provider is not asked");
    asking.abort();
}

fn asking(person: &Person, query: String) -> JoinHandle<u16> {
    let person = person.clone();
    tokio::spawn(async move { person.tries(&query, Value::Null).await.status })
}

fn opening(browser: Browser, callback: &Url) -> JoinHandle<Landing> {
    let callback = callback.clone();
    tokio::spawn(async move { browser.opens(callback.as_str()).await })
}

/// How often the journal tells of `action`.
async fn told(stage: &Stage, action: &str) -> u64 {
    let entries = journal_entry::Entity::find().filter(journal_entry::Column::Action.eq(action));
    entries.count(stage.db.reader()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_on_its_way_is_stored_before_the_server_stops() {
    let settings = vec![("PATCHBAY_JOB_TICK".to_owned(), "1m".to_owned())];
    let stage = Stage::with(Setup { jobs_run: true, settings, ..Setup::default() }).await;
    let grant = stage.shared_grant().await;
    stage.later(TimeDelta::minutes(70));
    let held = stage.gates(Endpoint::Token, 1);
    let accounts =
        format!("{{ authorization(id: \"{}\") {{ availableAccounts {{ totalCount }} }} }}", grant.authorization);
    asks_and_leaves(&held, asking(&stage.admin_now(), accounts)).await;

    let tasks = stage.tasks.clone();
    let restarting = tokio::spawn(stage.restarts());
    assert!(tasks.unfinished().contains("renewal"), "stopping waits for it: {}", tasks.unfinished());
    held.open();
    let stage = timeout(PATIENCE, restarting).await.expect("it does not stop").unwrap();
    assert_eq!(stage.sandbox.token_calls().refresh_token, 1);

    // The rotated token is there to be used: the one before is spent.
    stage.later(TimeDelta::minutes(70));
    stage.run_jobs().await;
    assert_eq!(stage.sandbox.grants()[0].ended, None);
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
    assert!(stage.sandbox.token_calls().refresh_token >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_begun_for_a_client_that_left_is_finished_before_the_server_stops() {
    let stage = Stage::new().await;
    let (admin, kept) = (stage.admin.clone(), stage.shared_grant().await);
    let removed = id(&admin.connects(&stage.browser(), analytics(), "ada").await);
    let dataset = {
        let key = stage.keyed(stage.sandbox.keys()[0].id, &kept.acme).await;
        admin.makes_dataset(&key, "invoices").await
    };

    // A removal whose grant is being given back,
    let revoke = stage.gates(Endpoint::Revoke, 1);
    let removal =
        format!("mutation {{ removeConnection(input: {{ connectionId: \"{removed}\" }}) {{ errors {{ code }} }} }}");
    asks_and_leaves(&revoke, asking(&admin, removal)).await;
    // a refresh whose rows are being read,
    let rows = stage.gates(Endpoint::Keyed, 1);
    let refresh =
        format!("mutation {{ refreshDataset(input: {{ datasetId: \"{dataset}\" }}) {{ errors {{ code }} }} }}");
    asks_and_leaves(&rows, asking(&admin, refresh)).await;
    // and a sign-in whose code is being exchanged: by another connector, since of the same it would wait for the removal.
    let ads = json!({ "connector": "sandbox-ads", "accountId": "100-302" });
    let (attempt, url) = admin.starts_connecting(ads).await;
    let browser = stage.browser();
    let callback = browser.allows(&url, "ada").await;
    let exchange = stage.gates(Endpoint::Token, 1);
    asks_and_leaves(&exchange, opening(browser, &callback)).await;

    let (tasks, sandbox) = (stage.tasks.clone(), stage.sandbox.clone());
    let restarting = tokio::spawn(stage.restarts());
    for effect in ["mutation", "dataset refresh", "reading", "sign-in"] {
        assert!(tasks.unfinished().contains(effect), "{effect} is not waited for: {}", tasks.unfinished());
    }
    [revoke, rows, exchange].iter().for_each(|held| held.open());
    let stage = timeout(PATIENCE, restarting).await.expect("it does not stop").unwrap();
    assert_eq!(stage.admin_now().attempt(&attempt).await["status"], "SUCCEEDED");
    assert_eq!(stage.admin_now().dataset(&dataset).await["status"], "FRESH");
    let ended: Vec<_> = sandbox.grants().into_iter().map(|grant| grant.ended).collect();
    assert!(ended.contains(&Some(Ended::ByClient)), "the removed one's grant was given back: {ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_takes_long_is_finished_without_its_browser_which_sees_it_when_it_looks_again() {
    let limits = |limits: &mut patchbay::config::Limits| limits.browser_patience = Duration::from_millis(50);
    let stage = Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await;
    let (attempt, url) = stage.admin.starts_connecting(analytics()).await;
    let (browser, stranger) = (stage.browser(), stage.browser());
    let callback = browser.allows(&url, "ada").await;
    let held = stage.gates(Endpoint::Token, 1);
    let first = browser.opens(callback.as_str()).await;
    assert_eq!((first.status, first.headers["refresh"].to_str().unwrap()), (202, "2"), "{}", first.body);
    assert!(first.body.contains("goes on"), "{}", first.body);
    assert_eq!(browser.opens(callback.as_str()).await.status, 202, "doubled");
    assert_eq!(stranger.opens(callback.as_str()).await.status, 400);
    assert_eq!(stage.admin.attempt(&attempt).await["status"], "PENDING");

    held.open();
    let shown = async {
        loop {
            let landing = browser.opens(callback.as_str()).await;
            if landing.status != 202 {
                return landing;
            }
        }
    };
    let shown = timeout(PATIENCE, shown).await.expect("it does not end");
    assert_eq!(shown.status, 200);
    assert!(shown.body.contains("Connected"), "{}", shown.body);
    assert_eq!(stranger.opens(callback.as_str()).await.status, 400);
    assert_eq!(stage.admin.attempt(&attempt).await["status"], "SUCCEEDED");
    assert_eq!(stage.sandbox.token_calls().authorization_code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_did_not_work_is_shown_again_as_that() {
    let stage = Stage::new().await;
    let (_, url) = stage.admin.starts_connecting(analytics()).await;
    let browser = stage.browser();
    let provider = browser.departs(&url).await;
    let callback = stage.sandbox.cancel(&provider).unwrap();
    let (first, again) = (browser.opens(callback.as_str()).await, browser.opens(callback.as_str()).await);
    assert!(first.body.contains("cancelled"), "{}", first.body);
    assert_eq!((first.status, first.body), (again.status, again.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_being_exchanged_does_not_expire_as_one_that_waits_for_its_browser() {
    let stage = Stage::new().await;
    let (attempt, url) = stage.admin.starts_connecting(analytics()).await;
    let browser = stage.browser();
    let provider = browser.departs(&url).await;
    stage.later(TimeDelta::minutes(9) + TimeDelta::seconds(50));
    let callback = stage.sandbox.approve(&provider, "ada").unwrap();
    let held = stage.gates(Endpoint::Token, 1);
    asks_and_leaves(&held, opening(browser, &callback)).await;
    stage.later(TimeDelta::minutes(1));
    stage.run_jobs().await;
    assert_eq!(stage.admin.attempt(&attempt).await["status"], "PENDING");
    held.open();
    timeout(PATIENCE, stage.tasks.drained()).await.expect("it does not end");
    assert_eq!(stage.admin.attempt(&attempt).await["status"], "SUCCEEDED");
    assert_eq!((told(&stage, "attempt.expired").await, told(&stage, "attempt.succeeded").await), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_never_ends_expires_and_what_it_brings_too_late_is_given_back() {
    let stage = Stage::new().await;
    let (attempt, url) = stage.admin.starts_connecting(analytics()).await;
    let browser = stage.browser();
    let callback = browser.allows(&url, "ada").await;
    let held = stage.gates(Endpoint::Token, 1);
    asks_and_leaves(&held, opening(browser, &callback)).await;
    stage.later(TimeDelta::minutes(6));
    assert_eq!(stage.admin.attempt(&attempt).await["status"], "EXPIRED", "also before the sweep comes by");
    stage.run_jobs().await;
    assert_eq!(told(&stage, "attempt.expired").await, 1);
    held.open();
    timeout(PATIENCE, stage.tasks.drained()).await.expect("it does not end");
    assert_eq!(stage.admin.attempt(&attempt).await["status"], "EXPIRED");
    for other in ["attempt.succeeded", "attempt.failed", "attempt.waiting"] {
        assert_eq!(told(&stage, other).await, 0, "{other}: nothing moved, and nothing is told");
    }
    assert_eq!(told(&stage, "attempt.expired").await, 1);
    assert_eq!(stage.sandbox.grants()[0].ended, Some(Ended::ByClient));
    let none = stage.admin.sees("{ connections { totalCount } }").await;
    assert_eq!(none["connections"]["totalCount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_links_form_began_is_finished_without_its_browser() {
    let limits = |limits: &mut patchbay::config::Limits| limits.browser_patience = Duration::from_millis(50);
    let stage = Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await;
    let acme = stage.admin.creates_client("Acme").await;
    let link = json!({ "clientId": acme, "connectors": ["sandbox-billing"] });
    let made = stage.admin.does("createConnectLink", link, "url").await;
    let url = made["url"].as_str().unwrap().to_owned();
    let value = stage.sandbox.keys()[0].value.clone();
    let held = stage.gates(Endpoint::Keyed, 1);
    let browser = stage.browser();
    let form = [("connector", "sandbox-billing"), ("field.api_key", value.as_str())];
    let landing = browser.submits(&url, &form).await;
    assert_eq!(landing.status, 202, "{}", landing.body);
    assert!(landing.headers["refresh"].to_str().unwrap().contains("/connect/"), "{:?}", landing.headers);
    assert!(!landing.body.contains(&value));
    held.open();
    timeout(PATIENCE, stage.tasks.drained()).await.expect("it does not end");
    let connected = stage.admin.sees("{ connections { nodes { status client { name } } } }").await;
    assert_eq!(connected["connections"]["nodes"], json!([{ "status": "CONNECTED", "client": { "name": "Acme" } }]));
    assert_eq!(browser.opens(&url).await.status, 410, "there is nothing left to do");
}
