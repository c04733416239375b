//! Whatever a provider answers, whoever asks, and wherever the server dies: no status contradicts what the provider last
//! said, and no outage is open twice.

use std::{future::Future, pin::pin, task::Poll};

use chrono::TimeDelta;
use patchbay::{
    error::Error,
    sandbox::{Endpoint, Fault},
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::harness::{SharedGrant, Stage, each, id, nodes};

/// How often at most something is tried that a dead worker's last statement is in the way of.
const TRIES: u32 = 4;

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    /// The grant is taken back at the provider.
    Revoke,
    /// The account of one of the connections is taken away, and given back.
    Withdraw,
    GiveBack,
    /// The provider misbehaves for some calls, and says nothing that is true of the grant.
    Fault(Endpoint, Fault, usize),
    /// Time passes, and the jobs do a round.
    Later(TimeDelta),
    /// The jobs begin a round, and die within it.
    Die {
        after_polls: usize,
    },
    /// Somebody signs in again.
    Reconnect,
    /// Somebody asks whether it works.
    Check,
    /// Somebody says that it does not.
    Report,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let endpoint = prop_oneof![Just(Endpoint::Token), Just(Endpoint::Identity), Just(Endpoint::Account)];
    let fault = prop_oneof![
        Just(Fault::ServerError),
        Just(Fault::Garbage),
        Just(Fault::QuotaExceeded),
        Just(Fault::RateLimited { retry_after: 600 }),
        Just(Fault::LoseAnswer),
        Just(Fault::Without("refresh_token")),
        Just(Fault::With("expires_in", json!("soon"))),
        Just(Fault::OAuthError("temporarily_unavailable")),
    ];
    let faults =
        (endpoint, fault, 1..4_usize).prop_filter("only tokens have an answer to lose", |(endpoint, fault, _)| {
            let of_tokens =
                matches!(fault, Fault::LoseAnswer | Fault::Without(_) | Fault::With(..) | Fault::OAuthError(_));
            !of_tokens || *endpoint == Endpoint::Token
        });
    let client_refused = (Just(Endpoint::Token), Just(Fault::OAuthError("invalid_client")), 1..3_usize);
    vec(
        prop_oneof![
            1 => Just(Step::Revoke),
            1 => Just(Step::Withdraw),
            1 => Just(Step::GiveBack),
            3 => faults.prop_map(|(endpoint, fault, calls)| Step::Fault(endpoint, fault, calls)),
            1 => client_refused.prop_map(|(endpoint, fault, calls)| Step::Fault(endpoint, fault, calls)),
            6 => (1..120_i64).prop_map(|minutes| Step::Later(TimeDelta::minutes(minutes))),
            3 => (1..60_usize).prop_map(|after_polls| Step::Die { after_polls }),
            2 => Just(Step::Reconnect),
            1 => Just(Step::Check),
            1 => Just(Step::Report),
        ],
        1..25,
    )
}

/// The server with one shared grant, and what is true of it at the provider.
struct World {
    stage: Stage,
    grant: SharedGrant,
    /// Its number at the provider.
    number: u64,
    withdrawn: bool,
}

impl World {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let grant = stage.shared_grant().await;
        let number = stage.sandbox.grants().last().unwrap().id;
        Self { stage, grant, number, withdrawn: false }
    }

    async fn take(&mut self, step: &Step) {
        let stage = &self.stage;
        match step {
            Step::Revoke => drop(stage.sandbox.revoke_person("ada")),
            Step::Withdraw => {
                stage.sandbox.withdraw("100-301");
                self.withdrawn = true;
            }
            Step::GiveBack => {
                stage.sandbox.give_back("100-301");
                self.withdrawn = false;
            }
            Step::Fault(endpoint, fault, calls) => stage.sandbox.fail_next(*endpoint, fault.clone(), *calls),
            Step::Later(time) => {
                stage.later(*time);
                self.jobs_run().await;
            }
            Step::Die { after_polls } => {
                stage.later(TimeDelta::minutes(55));
                dies_after(*after_polls, stage.jobs.run_due()).await;
                self.claims_run_out().await;
            }
            Step::Reconnect => self.reconnects().await,
            Step::Check => self.asks("checkConnection", json!({})).await,
            Step::Report => self.asks("reportDisconnection", json!({ "message": "401" })).await,
        }
    }

    async fn reconnects(&mut self) {
        // A sign-in that fails is tried again until it works.
        self.stage.sandbox.clear_faults();
        let admin = self.stage.admin_now();
        let (attempt, _) = admin.reconnects(&self.stage.browser(), &self.grant.hotels, "ASK", "ada").await;
        assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
        self.number = self.stage.sandbox.grants().last().unwrap().id;
    }

    /// A provider that asked to wait is not asked, which is said: that is fine as well.
    async fn asks(&self, mutation: &str, more: Value) {
        let mut input = more;
        input["connectionId"] = json!(self.grant.lamps);
        self.stage.admin_now().tries_mutation(mutation, input, "").await;
    }

    /// What a process that died had claimed is free after a while.
    async fn claims_run_out(&self) {
        let free = "UPDATE \"authorization\" SET claimed_until = NULL, claimed_by = NULL";
        let mut tries = 1;
        while let Err(error) = self.stage.db.writer().execute_unprepared(free).await {
            assert!(tries < TRIES, "{error}");
            tries += 1;
        }
    }

    /// A round of jobs. What a dead worker's last statement waits for it holds until the database gives that up: then the
    /// round is due again.
    async fn jobs_run(&self) {
        let mut tries = 1;
        while let Err(error) = self.stage.jobs.run_due().await {
            assert!(matches!(error, Error::Unavailable) && tries < TRIES, "{error:?}");
            tries += 1;
        }
    }

    fn grant_lives(&self) -> bool {
        let grants = self.stage.sandbox.grants();
        grants.iter().any(|grant| grant.id == self.number && grant.ended.is_none())
    }

    /// The authorization, its connections, and the disconnections that are open.
    async fn seen(&self) -> (Value, Vec<Value>, Vec<Value>) {
        let query = format!(
            "{{ authorization(id: \"{}\") {{ status disconnection {{ id }} connections {{ nodes {{ id status }} }} }} \
             disconnections(filter: {{ open: true }}) {{ nodes {{ id reason connection {{ id }} }} }} }}",
            self.grant.authorization
        );
        let seen = self.stage.admin_now().sees(&query).await;
        let authorization = seen["authorization"].clone();
        let connections = nodes(&authorization["connections"]);
        (authorization, connections, nodes(&seen["disconnections"]))
    }

    async fn is_consistent(&self) {
        let (authorization, connections, open) = self.seen().await;
        let whole: Vec<&Value> = open.iter().filter(|outage| outage["connection"].is_null()).collect();
        assert!(whole.len() <= 1, "{open:#?}");
        let down = authorization["status"] == "DISCONNECTED";
        assert_eq!(down, whole.len() == 1, "{authorization:#} {open:#?}");
        assert_eq!(authorization["disconnection"].is_null(), !down);
        for connection in &connections {
            let own = open.iter().filter(|outage| outage["connection"]["id"] == connection["id"]).count();
            assert!(own <= 1, "{open:#?}");
            assert_eq!(connection["status"] == "DISCONNECTED", down || own == 1, "{connection:#} {open:#?}");
        }
        assert!(!down || !self.grant_lives(), "a grant that lives was flagged: {open:#?}");
    }

    /// Whatever went wrong, more than a day later everything is as it is at the provider.
    async fn settles(&self) {
        self.stage.sandbox.clear_faults();
        for _ in 0..30 {
            self.stage.later(TimeDelta::minutes(61));
            self.jobs_run().await;
        }
        self.is_consistent().await;
        let (authorization, connections, open) = self.seen().await;
        let lives = self.grant_lives();
        assert_eq!(authorization["status"] == "CONNECTED", lives, "{authorization:#} {open:#?}");
        for connection in connections {
            let lost = self.withdrawn && id(&connection) == self.grant.lamps;
            assert_eq!(connection["status"] == "CONNECTED", lives && !lost, "{connection:#} {open:#?}");
        }
    }
}

/// Polls `work` so many times and drops it: it dies wherever it waits then.
async fn dies_after(polls: usize, work: impl Future) {
    let (mut work, mut left) = (pin!(work), polls);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        work.as_mut().poll(context).map(drop)
    })
    .await;
}

#[test]
fn no_sequence_of_answers_crashes_and_reconnects_leaves_a_status_that_contradicts_the_last_truth() {
    let usual = Config::default();
    // More where the environment asks for more.
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { usual.cases } else { 16 };
    let config = Config { cases, max_shrink_iters: 40, failure_persistence: None, ..usual };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let played = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.take(step).await;
                world.is_consistent().await;
            }
            world.settles().await;
        });
        Ok(())
    });
    if let Err(failure) = played {
        panic!("{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_a_new_sign_in_is_not_the_one_that_ended_a_moment_ago() {
    let stage = Stage::new().await;
    let lamps = stage.shared_grant().await.lamps;
    let check = async || {
        let input = json!({ "connectionId": lamps });
        stage.admin_now().does("checkConnection", input, "connection { status }").await;
        stage.status(&lamps).await
    };
    stage.sandbox.fail_next(Endpoint::Identity, Fault::Unauthorized, 3);
    assert_eq!(check().await, "DISCONNECTED");
    assert_eq!(check().await, "CONNECTED", "by itself");
    let (attempt, _) = stage.admin_now().reconnects(&stage.browser(), &lamps, "REFUSE", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED");
    stage.sandbox.fail_next(Endpoint::Identity, Fault::Unauthorized, 3);
    assert_eq!(check().await, "DISCONNECTED");
    assert_eq!(each(&stage.disconnections().await, "endedBy"), ["", "RECOVERED"]);
}
