//! A provider that asks to be left alone is left alone: by all that has to do with it, and by nothing else.

use chrono::TimeDelta;
use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use crate::harness::{Setup, Stage, id};

/// Every node there can be: two on PostgreSQL, one on SQLite.
struct Nodes {
    first: Stage,
    second: Option<Stage>,
}

impl Nodes {
    async fn with(setup: Setup) -> Self {
        let first = Stage::with(setup).await;
        let second = if first.database.is_sqlite() { None } else { Some(first.another_node().await) };
        Self { first, second }
    }

    /// A round of jobs on all of them at once.
    async fn run_jobs(&self) {
        let second = async {
            if let Some(second) = &self.second {
                second.run_jobs().await;
            }
        };
        tokio::join!(self.first.run_jobs(), second);
    }

    async fn after_minutes(&self, minutes: i64) {
        self.first.later(TimeDelta::minutes(minutes));
        self.run_jobs().await;
    }
}

fn every(interval: &str) -> Setup {
    Setup { settings: vec![("PATCHBAY_PROBE_INTERVAL".to_owned(), interval.to_owned())], ..Setup::default() }
}

async fn ads(stage: &Stage, person: &str, account: &str) -> Value {
    let input = json!({ "connector": "sandbox-ads", "accountId": account });
    stage.admin_now().connects(&stage.browser(), input, person).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_asks_to_wait_is_left_alone_by_jobs_probes_and_use() {
    let nodes = Nodes::with(every("30m")).await;
    let stage = &nodes.first;
    let adas = ads(stage, "ada", "100-301").await;
    stage.later(TimeDelta::minutes(30));
    let bens = ads(stage, "ben", "100-404").await;
    let renewals = || stage.sandbox.token_calls().refresh_token;
    stage.sandbox.fail_next(Endpoint::Token, Fault::RateLimited { retry_after: 1800 }, 1);
    nodes.after_minutes(24).await;
    assert_eq!(renewals(), 1, "Ada's was due");

    // Ten minutes on, Ada's access token has ended, and Ben's is refused when it is probed.
    stage.sandbox.expire_access_tokens();
    nodes.after_minutes(10).await;
    assert_eq!(renewals(), 2, "nobody told Ben to wait");
    let input = json!({ "connectionId": adas["id"] });
    stage.admin_now().does("checkConnection", input, "connection { id }").await;
    assert_eq!(renewals(), 2, "a person's check");
    let accounts = "query($id: ID!) { authorization(id: $id) { availableAccounts { totalCount } } }";
    let variables = json!({ "variables": { "id": adas["authorization"]["id"] } });
    stage.admin_now().tries(accounts, variables).await;
    assert_eq!(renewals(), 2, "use");
    nodes.after_minutes(19).await;
    assert_eq!(renewals(), 2, "Ada's renewal");

    nodes.after_minutes(2).await;
    assert_eq!(renewals(), 3, "half an hour has passed");
    for connection in [&adas, &bens] {
        assert_eq!(stage.status(&id(connection)).await, "CONNECTED");
    }
    assert_eq!(stage.disconnections().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_asks_to_wait_is_obeyed_for_that_authorization_and_by_no_other() {
    let nodes = Nodes::with(Setup::default()).await;
    let stage = &nodes.first;
    stage.shops(&["north"]).await;
    stage.later(TimeDelta::minutes(10));
    stage.shops(&["south", "east"]).await;
    let shops = || stage.sandbox.calls(Endpoint::Identity);
    let before = shops();
    stage.sandbox.fail_next(Endpoint::Identity, Fault::RateLimited { retry_after: 2 * 3600 }, 1);
    nodes.after_minutes(7).await;
    assert_eq!(shops(), before + 1, "the first shop was due");

    nodes.after_minutes(10).await;
    assert_eq!(shops(), before + 3, "the others go on");
    for round in 1..=6 {
        nodes.after_minutes(17).await;
        assert_eq!(shops(), before + 3 + 2 * round);
    }
    nodes.after_minutes(20).await;
    assert_eq!(shops(), before + 18, "two hours have passed");
    assert_eq!(stage.disconnections().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_pauses_once_three_of_its_authorizations_were_told_to_wait_and_not_again_at_once() {
    let nodes = Nodes::with(Setup::default()).await;
    let stage = &nodes.first;
    stage.shops(&["one", "two", "three"]).await;
    stage.later(TimeDelta::minutes(10));
    let north = stage.shops(&["north"]).await;
    let acme = stage.admin.creates_client("Acme").await;
    stage.keyed("lamps", &acme).await;
    let (shops, keyed) = (|| stage.sandbox.calls(Endpoint::Identity), || stage.sandbox.calls(Endpoint::Keyed));
    let before = (shops(), keyed());
    stage.sandbox.fail_next(Endpoint::Identity, Fault::RateLimited { retry_after: 2 * 3600 }, 3);
    nodes.after_minutes(7).await;
    assert_eq!(shops(), before.0 + 3, "three were due");

    nodes.after_minutes(10).await;
    assert_eq!(shops(), before.0 + 3, "the fourth is due, and waits for a probe interval");
    assert_eq!(keyed(), before.1 + 1, "another connector does not");
    let check = json!({ "connectionId": north[0]["id"] });
    let refused = stage.admin_now().mutates("checkConnection", check, "connection { id }").await;
    assert_eq!(refused["errors"][0]["code"], "PROVIDER_UNAVAILABLE", "{refused:#}");
    nodes.after_minutes(6).await;
    assert_eq!(shops(), before.0 + 4, "it goes on");

    // It paused for a quarter of an hour, and may again after as much time: in fourteen minutes from now.
    let more = stage.shops(&["five", "six", "seven"]).await;
    let are_told = async |how_many, seconds| {
        stage.sandbox.fail_next(Endpoint::Identity, Fault::RateLimited { retry_after: seconds }, how_many);
        for shop in &more[..how_many] {
            let check = json!({ "connectionId": shop["id"] });
            stage.admin_now().does("checkConnection", check, "connection { id }").await;
        }
    };
    stage.later(TimeDelta::minutes(7));
    are_told(3, 60).await;
    let before = shops();
    stage.later(TimeDelta::minutes(5));
    let check = json!({ "connectionId": north[0]["id"] });
    stage.admin_now().does("checkConnection", check, "connection { id }").await;
    assert_eq!(shops(), before + 1, "it does not pause again yet");
    stage.later(TimeDelta::minutes(3));
    // The two others were told within the same quarter of an hour.
    are_told(1, 600).await;
    let before = shops();
    nodes.after_minutes(9).await;
    assert_eq!(shops(), before, "now it does");
    nodes.after_minutes(10).await;
    assert_eq!(shops(), before + 4, "all go on that need not wait longer");
    assert_eq!(stage.disconnections().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_workspace_alone_pauses_no_connector_that_another_uses() {
    let nodes = Nodes::with(Setup::default()).await;
    let stage = &nodes.first;
    let stranger = stage.stranger().await;
    stage.shops(&["one", "two", "three", "four"]).await;
    stage.later(TimeDelta::minutes(10));
    stranger.connects_shop(&stage.browser(), "elsewhere").await;
    let shops = || stage.sandbox.calls(Endpoint::Identity);
    let told_to_wait = |times| {
        stage.sandbox.fail_next(Endpoint::Identity, Fault::RateLimited { retry_after: 2 * 3600 }, times);
    };
    told_to_wait(4);
    let before = shops();
    nodes.after_minutes(7).await;
    assert_eq!(shops(), before + 4, "four of one workspace were due, and told to wait");
    stage.later(TimeDelta::minutes(3));
    stage.shops(&["five"]).await;

    let before = shops();
    told_to_wait(1);
    nodes.after_minutes(7).await;
    assert_eq!(shops(), before + 1, "the other workspace's goes on, and is told so as well");
    nodes.after_minutes(10).await;
    assert_eq!(shops(), before + 1, "that makes it the connector's matter: the fifth is due, and waits");
    nodes.after_minutes(7).await;
    assert_eq!(shops(), before + 2);
}

/// The sandbox's shops as a connector of their own, which is asked two calls at once.
fn paced_shops() -> Setup {
    let text = include_str!("../../src/sandbox/connectors/sandbox-shop.toml");
    let text = text.replace("slug = \"sandbox-shop\"", "slug = \"paced-shop\"") + "\n[pace]\nconcurrent = 2\n";
    Setup { connectors: vec![("paced-shop.toml".to_owned(), text)], ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_are_due_when_an_api_asks_to_wait_are_not_asked_one_after_the_other() {
    let nodes = Nodes::with(paced_shops()).await;
    let stage = &nodes.first;
    for shop in ["one", "two", "three", "four", "five", "six", "seven", "eight"] {
        let fields = json!([{ "name": "shop", "value": shop }]);
        let input = json!({ "connector": "paced-shop", "using": { "browser": { "fields": fields } } });
        stage.admin.connects(&stage.browser(), input, "ada").await;
    }
    let asked = stage.sandbox.calls(Endpoint::Identity);
    stage.sandbox.fail_next(Endpoint::Identity, Fault::RateLimited { retry_after: 600 }, 100);
    stage.after_a_probe_interval().await;
    let more = stage.sandbox.calls(Endpoint::Identity) - asked;
    assert!((3..=4).contains(&more), "{more} calls: three until it pauses, and one that was under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn to_be_told_to_wait_for_no_time_is_no_leave_to_ask_without_a_pause() {
    let nodes = Nodes::with(Setup::default()).await;
    let stage = &nodes.first;
    ads(stage, "ada", "100-301").await;
    for endpoint in [Endpoint::Identity, Endpoint::Token, Endpoint::Account] {
        stage.later(TimeDelta::hours(27));
        stage.run_jobs().await;
        stage.later(TimeDelta::hours(27));
        let asked = stage.sandbox.calls(endpoint);
        stage.sandbox.fail_next(endpoint, Fault::RateLimited { retry_after: 0 }, 30);
        stage.run_jobs().await;
        let more = stage.sandbox.calls(endpoint) - asked;
        assert!((1..=3).contains(&more), "{more} calls of {endpoint:?} in one round");
        stage.sandbox.clear_faults();
    }
}
