//! A provider that is slow is not crowded, and holds up neither people nor other connectors.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, http::HeaderMap, routing::get};
use chrono::TimeDelta;
use entity::authorization;
use patchbay::{clock::Clock, db::Db};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    harness::{Setup, Stage, id},
    metrics::number,
};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A provider whose API takes keys, and which, once it is closed, lets nobody leave until it is told to.
pub(crate) struct CrowdedProvider {
    address: String,
    pub(crate) closed: Arc<AtomicBool>,
    /// How many are inside, and how many were at once at most.
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    /// Gets a permit when somebody has come in,
    arrived: Arc<Semaphore>,
    /// and takes one for everybody who may leave.
    pub(crate) leave: Arc<Semaphore>,
}

/// Who shows this key never has to stay.
const IN_A_HURRY: &str = "in-a-hurry";

impl CrowdedProvider {
    pub(crate) async fn start() -> Self {
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

    /// A stage with a connector of this provider, which is asked at that pace, and with a tick that is over soon.
    pub(crate) async fn stage(&self, pace: &str) -> Stage {
        let text = format!(
            "slug = \"crowded\"\nname = \"Crowded\"\ncategory = \"test\"\nmode = \"warehouse\"\nrequirements = \"A key.\"\n\
             [[field]]\nname = \"api_key\"\nlabel = \"Key\"\nsecret = true\n\
             [auth]\nmethod = \"api_key\"\nplacement = \"bearer\"\n\
             [identity]\nurl = \"http://{0}/me\"\nid = \"/id\"\nname = \"/name\"\n[api]\nbase_url = \"http://{0}\"\n\
             [pace]\n{pace}\n",
            self.address
        );
        let settings = vec![("PATCHBAY_JOB_TICK".to_owned(), "50ms".to_owned())];
        let connectors = vec![("crowded.toml".to_owned(), text)];
        Stage::with(Setup { settings, connectors, also_allowed: vec![self.address.clone()], ..Setup::default() }).await
    }

    /// Waits until so many more have come in.
    pub(crate) async fn receives(&self, count: u32) {
        timeout(PATIENCE, self.arrived.acquire_many(count)).await.expect("nobody came").unwrap().forget();
    }
}

async fn connects(stage: &Stage, key: &str) -> String {
    let using = json!({ "credentials": [{ "name": "api_key", "value": key }] });
    let input = json!({ "connector": "crowded", "using": using });
    id(&stage.admin_now().does("connect", input, "connection { id }").await["connection"])
}

/// A person has a connection checked, and does not queue behind what nobody waits for.
async fn is_checked_at_once(stage: &Stage, connection: &str) {
    let (admin, input) = (stage.admin_now(), json!({ "connectionId": connection }));
    let check = admin.does("checkConnection", input, "connection { status }");
    let checked = timeout(PATIENCE / 2, check).await.expect("they queue");
    assert_eq!(checked["connection"]["status"], "CONNECTED");
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
    let stage = provider.stage("concurrent = 2").await;
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
            is_checked_at_once(&stage, &not_due).await;
        }
        assert_eq!(provider.inside.load(Ordering::SeqCst), 2);
        provider.leave.add_permits(2);
    }
    timeout(PATIENCE, probing).await.unwrap().unwrap().unwrap();
    assert_eq!(provider.most.load(Ordering::SeqCst), 2);
    assert_eq!(provider.arrived.available_permits(), 0, "each of the twenty was asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_does_not_wait_for_a_neighbour_that_hangs() {
    let provider = CrowdedProvider::start().await;
    let stage = provider.stage("concurrent = 2").await;
    connects(&stage, "key").await;
    let neighbour = connects(&stage, IN_A_HURRY).await;
    provider.closed.store(true, Ordering::SeqCst);
    let before = last_looked_at(&stage, &neighbour).await;
    stage.later(TimeDelta::minutes(17));
    let jobs = stage.jobs.clone();
    let probing = tokio::spawn(async move { jobs.run_due().await });
    provider.receives(1).await;
    is_looked_at(&stage, &neighbour, &before).await;
    let begun = Instant::now();
    is_checked_at_once(&stage, &neighbour).await;
    eprintln!("the check took {:?}, while another of the same connector hung", begun.elapsed());
    assert!(!probing.is_finished(), "it hangs still");
    provider.leave.add_permits(1);
    timeout(PATIENCE, probing).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_holds_up_no_other_connector() {
    let provider = CrowdedProvider::start().await;
    let stage = provider.stage("concurrent = 2").await;
    for number in 0..20 {
        connects(&stage, &format!("key-{number}")).await;
    }
    let acme = stage.admin.creates_client("Acme").await;
    let others = [stage.keyed("lamps", &acme).await, id(&stage.shops(&["north"]).await[0])];
    provider.closed.store(true, Ordering::SeqCst);
    let stop = CancellationToken::new();
    stage.jobs.start(&stop);
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
    provider.leave.add_permits(1000);
    timeout(PATIENCE, stage.jobs.tasks.drained()).await.expect("the jobs go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_comes_while_much_is_worked_on_holds_nothing_up() {
    let provider = CrowdedProvider::start().await;
    let stage = provider.stage("concurrent = 200\nper_second = 1000").await;
    for number in 0..200 {
        connects(&stage, &format!("key-{number}")).await;
    }
    stage.later(TimeDelta::minutes(17));
    let moved = stage.clock.now();
    let stop = CancellationToken::new();
    stage.jobs.start(&stop);
    // Not through the server's own pool, for which it is about.
    let outside = Db::open(stage.database.url(), 2).await.unwrap();
    let seen = authorization::Entity::find().filter(authorization::Column::LastCheckedAt.gt(moved));
    let all_seen = async {
        while seen.clone().count(outside.reader()).await.unwrap() < 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let begun = Instant::now();
    timeout(PATIENCE * 3, all_seen).await.expect("not all of them are looked at");
    eprintln!("200 due at once were looked at in {:?}", begun.elapsed());
    stop.cancel();
    timeout(PATIENCE, stage.jobs.tasks.drained()).await.expect("the jobs go on");
    for job in ["probe", "renew-tokens", "probe-accounts", "watch-incidents"] {
        let failures = format!("patchbay_job_failures_total{{job=\"{job}\"}}");
        assert_eq!(number(&stage, &failures).await, Some(0.0), "{job}");
    }
}
