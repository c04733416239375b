//! A provider that asks to be left alone is left alone, one that is slow is not crowded, and neither holds up another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::HeaderMap, routing::get};
use chrono::TimeDelta;
use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::harness::{Setup, Stage, id};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

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
    let asked = stage.sandbox.calls(Endpoint::Identity);
    nodes.after_minutes(10).await;
    assert_eq!((stage.sandbox.calls(Endpoint::Identity), renewals()), (asked + 1, 1), "a probe");
    let input = json!({ "connectionId": bens["id"] });
    stage.admin_now().does("checkConnection", input, "connection { id }").await;
    assert_eq!(renewals(), 1, "a person's check");
    let accounts = "query($id: ID!) { authorization(id: $id) { availableAccounts { totalCount } } }";
    let variables = json!({ "variables": { "id": adas["authorization"]["id"] } });
    stage.admin_now().tries(accounts, variables).await;
    assert_eq!(renewals(), 1, "use");
    nodes.after_minutes(19).await;
    assert_eq!(renewals(), 1, "Ben's renewal");

    nodes.after_minutes(2).await;
    assert_eq!(renewals(), 3, "half an hour has passed, and both are renewed");
    for connection in [&adas, &bens] {
        assert_eq!(stage.status(&id(connection)).await, "CONNECTED");
    }
    assert_eq!(stage.disconnections().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_asks_to_wait_is_obeyed_for_that_authorization_and_a_while_for_its_connector() {
    let nodes = Nodes::with(Setup::default()).await;
    let stage = &nodes.first;
    stage.shops(&["north"]).await;
    stage.later(TimeDelta::minutes(10));
    stage.shops(&["south", "east"]).await;
    let acme = stage.admin.creates_client("Acme").await;
    stage.keyed("lamps", &acme).await;
    let (shops, keyed) = (|| stage.sandbox.calls(Endpoint::Identity), || stage.sandbox.calls(Endpoint::Keyed));
    let before = (shops(), keyed());
    stage.sandbox.fail_next(Endpoint::Identity, Fault::RateLimited { retry_after: 2 * 3600 }, 1);
    nodes.after_minutes(7).await;
    assert_eq!(shops(), before.0 + 1, "the first shop was due");

    nodes.after_minutes(10).await;
    assert_eq!(shops(), before.0 + 1, "the others are due, and wait for a probe interval");
    assert_eq!(keyed(), before.1 + 1, "another connector does not");
    nodes.after_minutes(6).await;
    assert_eq!(shops(), before.0 + 3, "they go on, and the first waits still");
    for round in 1..=5 {
        nodes.after_minutes(17).await;
        assert_eq!(shops(), before.0 + 3 + 2 * round);
    }
    nodes.after_minutes(20).await;
    assert_eq!(shops(), before.0 + 16, "two hours have passed");
    assert_eq!(stage.disconnections().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_has_paused_does_not_pause_again_at_once() {
    let nodes = Nodes::with(Setup::default()).await;
    let stage = &nodes.first;
    stage.shops(&["north"]).await;
    stage.later(TimeDelta::minutes(10));
    stage.shops(&["south", "east"]).await;
    stage.later(TimeDelta::minutes(7));
    let ask_to_wait = || stage.sandbox.fail_next(Endpoint::Identity, Fault::RateLimited { retry_after: 2 * 3600 }, 1);
    let calls = || stage.sandbox.calls(Endpoint::Identity);
    ask_to_wait();
    nodes.run_jobs().await;
    stage.later(TimeDelta::minutes(3));
    stage.shops(&["west"]).await;
    let before = calls();

    // The pause has ended, and one of the two due asks for another.
    ask_to_wait();
    nodes.after_minutes(13).await;
    assert_eq!(calls(), before + 2);
    nodes.after_minutes(4).await;
    assert_eq!(calls(), before + 3, "the last one is asked when it is due");

    // As long after the pause as it was itself, another may follow.
    ask_to_wait();
    nodes.after_minutes(13).await;
    assert_eq!(calls(), before + 4);
    nodes.after_minutes(4).await;
    assert_eq!(calls(), before + 4, "now the last one waits");
    nodes.after_minutes(12).await;
    assert_eq!(calls(), before + 5);
}

/// A provider whose API takes keys, and which, once it is closed, lets nobody leave until it is told to.
struct CrowdedProvider {
    address: String,
    closed: Arc<AtomicBool>,
    /// How many are inside, and how many were at once at most.
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    /// Gets a permit when somebody has come in,
    arrived: Arc<Semaphore>,
    /// and takes one for everybody who may leave.
    leave: Arc<Semaphore>,
}

/// Who shows this key never has to stay.
const IN_A_HURRY: &str = "in-a-hurry";

impl CrowdedProvider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            address: listener.local_addr().unwrap().to_string(),
            closed: Arc::default(),
            inside: Arc::default(),
            most: Arc::default(),
            arrived: Arc::new(Semaphore::new(0)),
            leave: Arc::new(Semaphore::new(0)),
        };
        let (closed, inside, most) = (provider.closed.clone(), provider.inside.clone(), provider.most.clone());
        let (arrived, leave) = (provider.arrived.clone(), provider.leave.clone());
        let me = async move |headers: HeaderMap| {
            let key = headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
            if closed.load(Ordering::SeqCst) && key != IN_A_HURRY {
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                arrived.add_permits(1);
                leave.acquire().await.unwrap().forget();
                inside.fetch_sub(1, Ordering::SeqCst);
            }
            axum::Json(json!({ "id": key, "name": key }))
        };
        tokio::spawn(async { axum::serve(listener, Router::new().route("/me", get(me))).await });
        provider
    }

    /// A stage with a connector of this provider, which it asks two calls at once of.
    async fn stage(&self) -> Stage {
        let text = format!(
            "slug = \"crowded\"\nname = \"Crowded\"\ncategory = \"test\"\nmode = \"warehouse\"\nrequirements = \"A key.\"\n\
             [[field]]\nname = \"api_key\"\nlabel = \"Key\"\nsecret = true\n\
             [auth]\nmethod = \"api_key\"\nplacement = \"bearer\"\n\
             [identity]\nurl = \"http://{0}/me\"\nid = \"/id\"\nname = \"/name\"\n[api]\nbase_url = \"http://{0}\"\n\
             [pace]\nconcurrent = 2\n",
            self.address
        );
        // The sandbox's own address is allowed beside it, for a neighbour.
        let settings = vec![("PATCHBAY_JOB_TICK".to_owned(), "50ms".to_owned())];
        let connectors = vec![("crowded.toml".to_owned(), text)];
        Stage::with(Setup { settings, connectors, also_allowed: vec![self.address.clone()], ..Setup::default() }).await
    }

    /// Waits until so many more have come in.
    async fn receives(&self, count: u32) {
        timeout(PATIENCE, self.arrived.acquire_many(count)).await.expect("nobody came").unwrap().forget();
    }
}

async fn connects(stage: &Stage, key: &str) -> String {
    let using = json!({ "credentials": [{ "name": "api_key", "value": key }] });
    let input = json!({ "connector": "crowded", "using": using });
    id(&stage.admin_now().does("connect", input, "connection { id }").await["connection"])
}

/// When somebody last looked at a connection.
async fn last_looked_at(stage: &Stage, connection: &str) -> Value {
    let query = format!("{{ connection(id: \"{connection}\") {{ lastCheckedAt }} }}");
    stage.admin_now().sees(&query).await["connection"]["lastCheckedAt"].clone()
}

/// Waits until somebody has looked at a connection after `before`.
async fn is_looked_at(stage: &Stage, connection: &str, before: &Value) {
    let waiting = async {
        while last_looked_at(stage, connection).await == *before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("nobody looks at it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_keeps_to_the_pace_of_its_connector_and_people_do_not_queue_behind_it() {
    let provider = CrowdedProvider::start().await;
    let stage = provider.stage().await;
    for number in 0..20 {
        connects(&stage, &format!("key-{number}")).await;
    }
    stage.later(TimeDelta::minutes(17));
    let not_due = connects(&stage, IN_A_HURRY).await;
    provider.closed.store(true, Ordering::SeqCst);
    let jobs = stage.jobs.clone();
    let probing = tokio::spawn(async move { jobs.run_due().await });
    for round in 0..10 {
        provider.receives(2).await;
        if round == 0 {
            let input = json!({ "connectionId": not_due });
            let checking = stage.admin_now();
            let check = checking.does("checkConnection", input, "connection { status }");
            let checked = timeout(PATIENCE, check).await.expect("it queues behind what nobody waits for");
            assert_eq!(checked["connection"]["status"], "CONNECTED");
        }
        assert_eq!(provider.inside.load(Ordering::SeqCst), 2);
        provider.leave.add_permits(2);
    }
    timeout(PATIENCE, probing).await.unwrap().unwrap().unwrap();
    assert_eq!(provider.most.load(Ordering::SeqCst), 2);
    assert_eq!(provider.arrived.available_permits(), 0, "each of the twenty was asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_holds_up_no_other_connector() {
    let provider = CrowdedProvider::start().await;
    let stage = provider.stage().await;
    for number in 0..20 {
        connects(&stage, &format!("key-{number}")).await;
    }
    let acme = stage.admin.creates_client("Acme").await;
    let others = [stage.keyed("lamps", &acme).await, id(&stage.shops(&["north"]).await[0])];
    provider.closed.store(true, Ordering::SeqCst);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    stage.jobs.start(&tasks, &stop);
    for round in 0..3 {
        let before = [last_looked_at(&stage, &others[0]).await, last_looked_at(&stage, &others[1]).await];
        stage.later(TimeDelta::minutes(17));
        if round == 0 {
            provider.receives(2).await;
        }
        for (connection, before) in others.iter().zip(&before) {
            is_looked_at(&stage, connection, before).await;
        }
    }
    assert!(provider.inside.load(Ordering::SeqCst) >= 2, "it hangs still");
    stop.cancel();
    tasks.close();
    provider.leave.add_permits(1000);
    timeout(PATIENCE, tasks.wait()).await.expect("the jobs go on");
}
