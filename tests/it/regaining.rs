//! A reconnect heals at once what depends on the sign-in alone. What had lost access on its own is asked about after that: a
//! few at once, and for so long at most.

use std::time::Duration;

use chrono::TimeDelta;
use patchbay::{
    clock::Clock,
    sandbox::{Endpoint, Fault},
};
use serde_json::{Value, json};

use crate::harness::{Setup, Stage, each, id, ids_of, within_patience};

/// Ada's accounts 100-301, which works, and 100-303, which she lost; then her grant broke.
async fn one_lost_and_all_broken(setup: Setup) -> (Stage, String, String) {
    let stage = Stage::with(setup).await;
    let ads = |account: &str| json!({ "connector": "sandbox-ads", "accountId": account });
    let lamps = id(&stage.admin.connects(&stage.browser(), ads("100-301"), "ada").await);
    let fjord = id(&stage.admin.connects(&stage.browser(), ads("100-303"), "ada").await);
    stage.sandbox.withdraw("100-303");
    check(&stage, &fjord).await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    for connection in [&lamps, &fjord] {
        assert_eq!(stage.status(connection).await, "DISCONNECTED");
    }
    stage.sandbox.give_back("100-303");
    (stage, lamps, fjord)
}

async fn check(stage: &Stage, connection: &str) {
    let input = json!({ "connectionId": connection });
    stage.admin_now().does("checkConnection", input, "connection { status }").await;
}

fn impatient() -> Setup {
    Setup { limits: Some(|limits| limits.regain_within = Duration::from_millis(20)), ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_the_sign_in_heals_works_before_anything_else_is_asked() {
    let (stage, lamps, fjord) = one_lost_and_all_broken(Setup::default()).await;
    let admin = stage.admin_now();
    let (attempt, url) = admin.starts_reconnecting(&fjord, "ASK").await;
    let (browser, cursor) = (stage.browser(), admin.event_cursor().await);
    let gate = stage.gates(Endpoint::Account, 1);
    let meanwhile = async {
        let healed = admin.attempt(&attempt).await;
        assert_eq!((&healed["status"], &healed["connectionCount"]), (&json!("SUCCEEDED"), &json!(1)), "{healed:#}");
        assert_eq!(ids_of(&healed["stillDisconnected"]), [&*fjord]);
        assert_eq!(stage.status(&lamps).await, "CONNECTED");
        // No job asks a second time while somebody waits for the first answer.
        stage.run_jobs().await;
        assert_eq!(gate.arrived(), 1);
    };
    let (landing, ()) = stage.while_held(&gate, 1, browser.signs_in(&url, "ada"), meanwhile).await;
    assert_eq!(landing.status, 200, "{}", landing.body);

    let done = admin.attempt(&attempt).await;
    assert_eq!((&done["connectionCount"], &done["stillDisconnected"]), (&json!(2), &json!([])), "{done:#}");
    assert_eq!(ids_of(&done["connections"]), [&*lamps, &*fjord]);
    let changes = stage.changes_since(&cursor).await;
    assert_eq!(each(&changes, "kind"), ["RECONNECTED", "RECONNECTED"]);
    assert_eq!(ids_of(&changes[1]["connections"]), [&*fjord]);
    assert_eq!(changes[1]["by"]["id"], *admin.id);
    assert_eq!(each(&stage.disconnections().await, "endedBy"), ["RECONNECTED", "RECONNECTED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_answered_in_time_is_left_to_the_jobs_at_once() {
    let (stage, lamps, fjord) = one_lost_and_all_broken(impatient()).await;
    let admin = stage.admin_now();
    let (attempt, url) = admin.starts_reconnecting(&fjord, "ASK").await;
    let gate = stage.gates(Endpoint::Account, 1);
    let landing = within_patience(stage.browser().signs_in(&url, "ada")).await;
    assert_eq!(landing.status, 200);
    gate.open();
    let done = admin.attempt(&attempt).await;
    assert_eq!((&done["status"], &done["connectionCount"]), (&json!("SUCCEEDED"), &json!(1)));
    assert_eq!(ids_of(&done["stillDisconnected"]), [&*fjord]);
    assert_eq!((stage.status(&lamps).await, stage.status(&fjord).await), ("CONNECTED".into(), "DISCONNECTED".into()));

    stage.run_jobs().await;
    assert_eq!(stage.status(&fjord).await, "CONNECTED");
    let done = admin.attempt(&attempt).await;
    assert_eq!(done["stillDisconnected"], json!([]), "as it is now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_are_asked_about_at_once() {
    let text = include_str!("../../src/sandbox/connectors/sandbox-ads.toml");
    let text = text.replace("slug = \"sandbox-ads\"", "slug = \"paced\"") + "\n[pace]\nconcurrent = 3\n";
    let stage = Stage::with(Setup { connectors: vec![("paced.toml".to_owned(), text)], ..Setup::default() }).await;
    stage.sandbox.configure(|options| options.managed_accounts = 7);
    let first = json!({ "connector": "paced", "accountId": "100-301" });
    let first = stage.admin.connects(&stage.browser(), first, "ada").await;
    let accounts: Vec<Value> = (1..=7).map(|number| json!({ "accountId": format!("200-{number:03}") })).collect();
    let input = json!({ "authorizationId": first["authorization"]["id"], "accounts": accounts });
    let connected = stage.admin.does("connectAccounts", input, "results { connection { id } }").await;
    stage.sandbox.configure(|options| options.managed_accounts = 0);
    for connected in connected["results"].as_array().unwrap() {
        check(&stage, &id(&connected["connection"])).await;
    }
    let lost = stage.admin.sees("{ connections(filter: { status: [DISCONNECTED] }) { totalCount } }").await;
    assert_eq!(lost["connections"]["totalCount"], 7);
    stage.sandbox.configure(|options| options.managed_accounts = 7);

    let (attempt, url) = stage.admin.starts_reconnecting(&id(&first), "ASK").await;
    let (gate, browser) = (stage.gates(Endpoint::Account, 7), stage.browser());
    let meanwhile = async { assert_eq!(gate.arrived(), 3, "as many as its pace allows") };
    stage.while_held(&gate, 3, browser.signs_in(&url, "ada"), meanwhile).await;
    let done = stage.admin.attempt(&attempt).await;
    assert_eq!((&done["connectionCount"], &done["stillDisconnected"]), (&json!(8), &json!([])));
}

/// A key that reaches several accounts, of which each is asked about on its own.
pub(crate) const DAYS: &str = r#"
    slug = "days"
    name = "Days"
    category = "payments"
    mode = "warehouse"
    requirements = "A key."
    [[field]]
    name = "api_key"
    label = "API key"
    secret = true
    [auth]
    method = "api_key"
    placement = "header:X-Api-Key"
    [identity]
    url = "@BASE@/keyed/me"
    id = "/id"
    name = "/name"
    [accounts]
    url = "@BASE@/keyed/invoices"
    list = "/rows"
    id = "/date"
    [probe]
    account_url = "@BASE@/keyed/me?account={account.id}"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn credentials_bring_back_an_account_that_works_with_them_and_no_other() {
    let setup = Setup { connectors: vec![("days.toml".to_owned(), DAYS.to_owned())], ..Setup::default() };
    let stage = Stage::with(setup).await;
    let credentials = stage.key("lamps");
    let day = (stage.clock.now() - TimeDelta::days(1)).date_naive().to_string();
    let input = json!({ "connector": "days", "accountId": day, "using": { "credentials": credentials } });
    let connection = id(&stage.admin.does("connect", input, "connection { id }").await["connection"]);
    let fails = |answers: &[Fault]| {
        for answer in answers {
            stage.sandbox.fail_next(Endpoint::Keyed, answer.clone(), 1);
        }
    };
    let usual = || Fault::With("ok", json!(true));
    fails(&[usual(), Fault::Forbidden, Fault::Forbidden]);
    check(&stage, &connection).await;
    stage.sandbox.clear_faults();
    assert_eq!(stage.status(&connection).await, "DISCONNECTED");
    let open = id(&stage.disconnections().await[0]);

    let reconnect = async || {
        let input = json!({ "connectionId": connection, "credentials": credentials });
        stage.admin.does("reconnect", input, "connections { status } disconnection { id }").await
    };
    // Whose key it is, and whether it works: that is asked first.
    fails(&[usual(), usual(), Fault::Forbidden]);
    let refused = reconnect().await;
    stage.sandbox.clear_faults();
    assert_eq!(
        (&refused["connections"][0]["status"], &refused["disconnection"]),
        (&json!("DISCONNECTED"), &Value::Null)
    );
    let works = reconnect().await;
    assert_eq!(works["connections"][0]["status"], "CONNECTED", "{works:#}");
    assert_eq!(works["disconnection"]["id"], open);
    stage.later(TimeDelta::hours(25));
    stage.run_jobs().await;
    assert_eq!(stage.status(&connection).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_sign_in_reached_is_not_regained_by_one_that_does_not() {
    let (stage, lamps, fjord) = one_lost_and_all_broken(Setup::default()).await;
    let admin = stage.admin_now();
    let (_, url) = admin.starts_reconnecting(&lamps, "ASK").await;
    let mut asking = stage.holds("/accounts/100-303");
    let browser = stage.browser();
    let earlier = tokio::spawn(async move { browser.signs_in(&url, "ada").await.status });
    asking.arrived().await;
    stage.sandbox.withdraw("100-303");
    let (attempt, _) = admin.reconnects(&stage.browser(), &lamps, "ASK", "ada").await;
    assert_eq!(ids_of(&attempt["connections"]), [&*lamps], "{attempt:#}");
    asking.goes_on();
    assert_eq!(earlier.await.unwrap(), 200);
    assert_eq!((stage.status(&lamps).await, stage.status(&fjord).await), ("CONNECTED".into(), "DISCONNECTED".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_account_answered_is_not_said_of_the_next() {
    let (stage, lamps, fjord) = one_lost_and_all_broken(Setup::default()).await;
    let admin = stage.admin_now();
    let (_, url) = admin.starts_reconnecting(&lamps, "ASK").await;
    let mut asking = stage.holds("/accounts/100-303");
    let browser = stage.browser();
    let signing_in = tokio::spawn(async move { browser.signs_in(&url, "ada").await.status });
    asking.arrived().await;
    // It gets another account, which is lost as well.
    let input = json!({ "connectionId": fjord, "accountId": "100-302" });
    admin.does("updateConnection", input, "connection { id }").await;
    stage.sandbox.withdraw("100-302");
    check(&stage, &fjord).await;
    assert_eq!(stage.status(&fjord).await, "DISCONNECTED");
    asking.goes_on();
    assert_eq!(signing_in.await.unwrap(), 200);
    assert_eq!(stage.status(&fjord).await, "DISCONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_that_is_gone_was_asking_about_the_jobs_ask_about_soon() {
    let (stage, lamps, fjord) = one_lost_and_all_broken(Setup::default()).await;
    let (_, url) = stage.admin_now().starts_reconnecting(&lamps, "ASK").await;
    let gate = stage.gates(Endpoint::Account, 1);
    let meanwhile = async {
        stage.later(TimeDelta::seconds(6));
        stage.run_jobs().await;
        stage.status(&fjord).await
    };
    let (_, found) = stage.while_held(&gate, 1, stage.browser().signs_in(&url, "ada"), meanwhile).await;
    assert_eq!(found, "CONNECTED", "it need not wait for the first answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_works_says_nothing_of_a_sign_in_that_was_refused_since() {
    let stage = Stage::new().await;
    let ads = |account: &str| json!({ "connector": "sandbox-ads", "accountId": account });
    let lamps = id(&stage.admin.connects(&stage.browser(), ads("100-301"), "ada").await);
    let fjord = id(&stage.admin.connects(&stage.browser(), ads("100-303"), "ada").await);
    stage.sandbox.withdraw("100-303");
    check(&stage, &fjord).await;
    stage.sandbox.give_back("100-303");
    let mut asking = stage.holds("/accounts/100-303");
    let (admin, input) = (stage.admin.clone(), json!({ "connectionId": fjord }));
    let checking = tokio::spawn(async move { admin.does("checkConnection", input, "connection { status }").await });
    asking.arrived().await;
    stage.claims_run_out().await;
    stage.sandbox.revoke_person("ada");
    check(&stage, &lamps).await;
    assert_eq!(stage.status(&lamps).await, "DISCONNECTED");
    asking.goes_on();
    checking.await.unwrap();
    assert_eq!(stage.status(&fjord).await, "DISCONNECTED");
    assert_eq!(each(&stage.disconnections().await, "endedBy"), ["", ""], "nothing has recovered");
}
