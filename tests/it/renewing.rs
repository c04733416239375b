//! Tokens are renewed ahead of their end, and a failing provider is waited for.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, http::StatusCode, routing::get};
use chrono::TimeDelta;
use entity::authorization;
use patchbay::sandbox::{Endpoint, Fault};
use sea_orm::{ConnectionTrait, EntityTrait};
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore};

use crate::harness::{Setup, Stage, Statements, each};

/// Lets the hour of an access token nearly pass; the jobs do their round.
async fn after_most_of_an_hour(stage: &Stage) {
    stage.later(TimeDelta::minutes(54));
    stage.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_ahead_of_their_end_and_a_rotated_refresh_token_is_kept() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let query = format!("{{ authorization(id: \"{}\") {{ lastRefreshedAt }} }}", grant.authorization);
    let mut refreshed = vec![stage.admin.sees(&query).await];
    for renewals in 1..=4 {
        after_most_of_an_hour(&stage).await;
        assert_eq!(stage.sandbox.token_calls().refresh_token, renewals);
        refreshed.push(stage.admin.sees(&query).await);
    }
    refreshed.dedup();
    assert_eq!(refreshed.len(), 5);
    // The sandbox ends a grant whose spent refresh token comes again.
    assert_eq!(stage.sandbox.grants()[0].ended, None);
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_answer_has_no_refresh_token_the_old_one_goes_on() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.configure(|options| options.rotate_refresh_tokens = false);
    for renewals in 1..=3 {
        after_most_of_an_hour(&stage).await;
        assert_eq!(stage.sandbox.token_calls().refresh_token, renewals);
    }
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
    assert_eq!(stage.disconnections().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_lived_token_is_renewed_about_daily_all_the_same() {
    let stage = Stage::new().await;
    stage.sandbox.configure(|options| options.access_token_lifetime = TimeDelta::days(60));
    stage.shared_grant().await;
    for renewals in 1..=3 {
        stage.later(TimeDelta::hours(27));
        stage.run_jobs().await;
        assert_eq!(stage.sandbox.token_calls().refresh_token, renewals);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewing_often_does_not_keep_probes_from_their_turn() {
    let stage = Stage::new().await;
    stage.sandbox.configure(|options| options.access_token_lifetime = TimeDelta::minutes(10));
    stage.shared_grant().await;
    let before = stage.sandbox.calls(Endpoint::Identity);
    for _ in 0..14 {
        stage.later(TimeDelta::minutes(9));
        stage.run_jobs().await;
    }
    let probes = stage.sandbox.calls(Endpoint::Identity) - before;
    assert!(probes >= 5, "{probes} probes in two hours, with a probe interval of 15 minutes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_refused_on_renewal_is_disconnected_once_and_not_asked_again_at_every_tick() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_grant"), 100);
    after_most_of_an_hour(&stage).await;
    let lamps = stage.admin.connection(&grant.lamps).await;
    assert_eq!(lamps["status"], "DISCONNECTED");
    assert_eq!(lamps["disconnection"]["reason"], "REVOKED");
    assert_eq!(lamps["disconnection"]["detectedBy"], "TOKEN_RENEWAL");
    stage.after_ticks(60).await;
    assert_eq!(stage.sandbox.token_calls().refresh_token, 1);
    assert_eq!(stage.disconnections().await.len(), 1);
    assert_eq!(stage.admin.tray().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_outlives_its_grant_is_no_recovery() {
    let stage = Stage::new().await;
    stage.sandbox.configure(|options| options.access_token_lifetime = TimeDelta::days(60));
    let grant = stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_grant"), 2);
    stage.later(TimeDelta::hours(27));
    stage.run_jobs().await;
    assert_eq!(stage.status(&grant.lamps).await, "DISCONNECTED");
    stage.later(TimeDelta::minutes(31));
    stage.run_jobs().await;
    assert_eq!(stage.status(&grant.lamps).await, "DISCONNECTED", "the API still answers, and the grant is dead");

    // The provider has thought better of it.
    stage.later(TimeDelta::hours(7));
    stage.run_jobs().await;
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
    assert_eq!(each(&stage.disconnections().await, "endedBy"), ["RECOVERED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_flags_nobody_wherever_it_fails() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let keyed = stage.keyed("lamps", &grant.acme).await;
    let faults = [
        Fault::ServerError,
        Fault::RateLimited { retry_after: 1 },
        Fault::Garbage,
        Fault::Redirect("https://elsewhere.example/".to_owned()),
        Fault::OAuthError("temporarily_unavailable"),
        Fault::Hang(std::time::Duration::from_millis(20)),
        Fault::Exactly { status: 200, headers: Vec::new(), body: r#"{"error": "odd"}"#.to_owned() },
        Fault::QuotaExceeded,
    ];
    for fault in faults {
        for endpoint in [Endpoint::Token, Endpoint::Identity, Endpoint::Account, Endpoint::Keyed] {
            stage.sandbox.fail_next(endpoint, fault.clone(), 4);
        }
        for _ in 0..2 {
            // Less than a day in all.
            stage.later(TimeDelta::hours(11));
            stage.run_jobs().await;
            stage.after_ticks(3).await;
        }
        for connection in [&grant.lamps, &grant.hotels, &keyed] {
            assert_eq!(stage.status(connection).await, "CONNECTED", "{fault:?}");
        }
        stage.sandbox.clear_faults();
        after_most_of_an_hour(&stage).await;
    }
    assert_eq!(stage.disconnections().await.len(), 0);
    assert_eq!(stage.admin_now().tray().await.len(), 0);
    after_most_of_an_hour(&stage).await;
    assert_eq!(stage.sandbox.grants()[0].ended, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_oauth_client_of_ours_disconnects_nobody() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_client"), 1000);
    for _ in 0..5 {
        after_most_of_an_hour(&stage).await;
    }
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
    stage.sandbox.clear_faults();
    stage.after_a_probe_interval().await;
    assert_eq!(stage.sandbox.grants()[0].ended, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_provider_is_asked_ever_more_rarely() {
    let stage = Stage::new().await;
    stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Token, Fault::ServerError, 1000);
    after_most_of_an_hour(&stage).await;
    stage.after_ticks(60).await;
    // In five minutes: after 5, 10, 20, 40, 80 and 160 seconds.
    let calls = stage.sandbox.token_calls().refresh_token;
    assert!((5..=9).contains(&calls), "{calls} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_asks_to_wait_is_left_alone_until_then() {
    let stage = Stage::new().await;
    stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Identity, Fault::RateLimited { retry_after: 2 * 3600 }, 1);
    stage.after_a_probe_interval().await;
    let asked = stage.sandbox.calls(Endpoint::Identity);
    for _ in 0..6 {
        stage.after_a_probe_interval().await;
    }
    assert_eq!(stage.sandbox.calls(Endpoint::Identity), asked, "tokens were renewed meanwhile, and nothing else asked");
    stage.after_a_probe_interval().await;
    stage.after_a_probe_interval().await;
    assert!(stage.sandbox.calls(Endpoint::Identity) > asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_asked_for_once_more_and_a_refusal_then_is_honest() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Token, Fault::LoseAnswer, 1);
    after_most_of_an_hour(&stage).await;
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED", "nobody knows yet");
    stage.after_ticks(2).await;
    assert_eq!(stage.sandbox.token_calls().refresh_token, 2);
    let lamps = stage.admin.connection(&grant.lamps).await;
    assert_eq!(lamps["disconnection"]["reason"], "REVOKED");
    let message = &stage.disconnections().await[0]["message"];
    assert!(message.as_str().unwrap().contains("was lost on the way"), "{message}");
    stage.after_ticks(5).await;
    assert_eq!(stage.sandbox.token_calls().refresh_token, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_turned_a_renewal_away_is_not_a_lost_one() {
    let stage = Stage::new().await;
    stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Token, Fault::RateLimited { retry_after: 60 }, 1);
    after_most_of_an_hour(&stage).await;
    stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_grant"), 1);
    stage.later(TimeDelta::minutes(2));
    stage.run_jobs().await;
    let outages = stage.disconnections().await;
    assert_eq!(each(&outages, "reason"), ["REVOKED"]);
    assert!(!outages[0]["message"].as_str().unwrap().contains("lost"), "{outages:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_whose_worker_was_killed_is_sent_once_more_at_once_whyever_it_was_sent() {
    let stage = Stage::new().await;
    stage.sandbox.configure(|options| options.access_token_lifetime = TimeDelta::days(60));
    let grant = stage.shared_grant().await;
    // A token that is refused is renewed hours before its time.
    stage.sandbox.expire_access_tokens();
    stage.sandbox.fail_next(Endpoint::Token, Fault::Hang(std::time::Duration::from_secs(60)), 1);
    let (admin, lamps) = (stage.admin_now(), grant.lamps.clone());
    let checking = tokio::spawn(async move {
        let check = "mutation($input: CheckConnectionInput!) { checkConnection(input: $input) { connection { id } } }";
        admin.tries(check, json!({ "connectionId": lamps })).await
    });
    while stage.sandbox.token_calls().refresh_token == 0 {
        assert!(!checking.is_finished(), "nobody renewed");
        tokio::task::yield_now().await;
    }
    stage.run_jobs().await;
    assert_eq!(stage.sandbox.token_calls().refresh_token, 1, "somebody is at it");
    stage.claims_run_out().await;
    stage.run_jobs().await;
    assert_eq!(stage.sandbox.token_calls().refresh_token, 2);
    let row = authorization::Entity::find().one(stage.db.reader()).await.unwrap().unwrap();
    assert_eq!((row.renewal_sent_at, row.credential_version), (None, 2), "it was answered");
    stage.run_jobs().await;
    assert_eq!(stage.sandbox.token_calls().refresh_token, 2);
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
    checking.abort();
}

/// Has the database refuse every credential, until it is mended.
async fn credentials_cannot_be_stored(stage: &Stage) {
    let break_it: &[&str] = if stage.db.is_sqlite() {
        &["CREATE TRIGGER away BEFORE UPDATE OF credential ON \"authorization\" BEGIN SELECT RAISE(ABORT, 'away'); END"]
    } else {
        &[
            "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'away'; END $$",
            "CREATE TRIGGER away BEFORE UPDATE OF credential ON \"authorization\" FOR EACH ROW EXECUTE FUNCTION away()",
        ]
    };
    for statement in break_it {
        stage.db.writer().execute_unprepared(statement).await.unwrap();
    }
}

async fn credentials_can_be_stored(stage: &Stage) {
    let mend = if stage.db.is_sqlite() { "DROP TRIGGER away" } else { "DROP TRIGGER away ON \"authorization\"" };
    stage.db.writer().execute_unprepared(mend).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_tokens_that_the_database_does_not_take_are_held_until_it_does() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    credentials_cannot_be_stored(&stage).await;
    stage.later(TimeDelta::minutes(54));
    let jobs = stage.jobs.clone();
    let renewing = tokio::spawn(async move { jobs.run_due().await });
    while stage.sandbox.token_calls().refresh_token == 0 {
        assert!(!renewing.is_finished(), "nobody renewed");
        tokio::task::yield_now().await;
    }
    credentials_can_be_stored(&stage).await;
    renewing.await.unwrap().unwrap();

    after_most_of_an_hour(&stage).await;
    assert_eq!(stage.sandbox.token_calls().refresh_token, 2, "the rotated token was there to be used");
    assert_eq!(stage.sandbox.grants()[0].ended, None);
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
}

/// A provider whose API takes keys and, while it is told to, answers slowly that a key is wrong.
struct SlowProvider {
    address: String,
    stuck: Arc<AtomicBool>,
    /// Gets a permit when a request has come in while stuck,
    arrived: Arc<Semaphore>,
    /// and the request one when it may be refused.
    go_on: Arc<Semaphore>,
}

impl SlowProvider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stuck, arrived, go_on) =
            (Arc::<AtomicBool>::default(), Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (is_stuck, arrives, goes_on) = (stuck.clone(), arrived.clone(), go_on.clone());
        let me = async move || {
            if is_stuck.load(Ordering::SeqCst) {
                arrives.add_permits(1);
                goes_on.acquire().await.unwrap().forget();
                return (StatusCode::UNAUTHORIZED, "{}");
            }
            (StatusCode::OK, r#"{"id": "one", "name": "One"}"#)
        };
        tokio::spawn(async { axum::serve(listener, Router::new().route("/me", get(me))).await });
        Self { address, stuck, arrived, go_on }
    }

    fn connector(&self) -> (String, String) {
        let text = format!(
            "slug = \"slow\"\nname = \"Slow\"\ncategory = \"test\"\nmode = \"warehouse\"\nrequirements = \"A key.\"\n\
             [[field]]\nname = \"api_key\"\nlabel = \"Key\"\nsecret = true\n\
             [auth]\nmethod = \"api_key\"\nplacement = \"bearer\"\n\
             [identity]\nurl = \"http://{0}/me\"\nid = \"/id\"\nname = \"/name\"\n[api]\nbase_url = \"http://{0}\"\n",
            self.address
        );
        ("slow.toml".to_owned(), text)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_comes_late_does_not_kill_what_was_reconnected_meanwhile() {
    let provider = SlowProvider::start().await;
    let settings = vec![("PATCHBAY_ALLOWED_HOSTS".to_owned(), provider.address.clone())];
    let stage = Stage::with(Setup { settings, connectors: vec![provider.connector()], ..Setup::default() }).await;
    let credentials = |key: &str| json!([{ "name": "api_key", "value": key }]);
    let input = json!({ "connector": "slow", "using": { "credentials": credentials("old") } });
    let connected = stage.admin.does("connect", input, "connection { id }").await;
    let connection = connected["connection"]["id"].as_str().unwrap();

    provider.stuck.store(true, Ordering::SeqCst);
    stage.later(TimeDelta::minutes(17));
    let jobs = stage.jobs.clone();
    let probing = tokio::spawn(async move { jobs.run_due().await });
    provider.arrived.acquire().await.unwrap().forget();
    provider.stuck.store(false, Ordering::SeqCst);
    let input = json!({ "connectionId": connection, "credentials": credentials("new") });
    stage.admin.does("reconnect", input, "connections { id }").await;
    provider.go_on.add_permits(1);
    probing.await.unwrap().unwrap();

    assert_eq!(stage.status(connection).await, "CONNECTED");
    assert_eq!(stage.disconnections().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_need_a_token_that_has_ended_one_renews_it_for_both() {
    let statements = Statements::default();
    let stage = Stage::with(Setup { statements: Some(statements.watch()), ..Setup::default() }).await;
    let grant = stage.shared_grant().await;
    stage.later(TimeDelta::hours(2));
    let takes = |connection: &str, account: &str| {
        let input = json!({ "connectionId": connection, "accountId": account });
        let admin = stage.admin_now();
        tokio::spawn(async move { admin.mutates("updateConnection", input, "connection { id }").await })
    };
    let mut renewing = stage.holds("/token");
    let first = takes(&grant.lamps, "100-303");
    renewing.arrived().await;
    let mut waiting = statements.holds(&[r#"UPDATE "authorization" SET "claimed_by""#]);
    let second = takes(&grant.hotels, "100-301");
    waiting.arrived().await;
    waiting.goes_on();
    renewing.goes_on();
    for done in [first, second] {
        assert_eq!(done.await.unwrap()["errors"], json!([]));
    }
    assert_eq!(stage.sandbox.token_calls().refresh_token, 1);
}
