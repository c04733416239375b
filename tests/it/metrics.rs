//! `/metrics`, as Prometheus reads it.

use chrono::TimeDelta;
use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use crate::harness::{Stage, http};

const CHANGES: &str = "subscription { connectionsChanged { kind } }";

/// What is shown now, a line each, without the comments.
async fn numbers(stage: &Stage) -> Vec<String> {
    let response = http().get(stage.url.join("/metrics").unwrap()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// The value of the series that is written so; none when there is none.
pub async fn number(stage: &Stage, series: &str) -> Option<f64> {
    // The database is asked once a second at most.
    stage.later(TimeDelta::seconds(1));
    let lines = numbers(stage).await;
    let value = lines.iter().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

/// Waits until a series has this value: sockets come and go on their own.
async fn becomes(stage: &Stage, series: &str, value: f64) {
    for _ in 0..200 {
        if number(stage, series).await == Some(value) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{series} never is {value}: {:#?}", numbers(stage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_counted_by_root_field_and_code() {
    let stage = Stage::new().await;
    let staff = stage.person("Sam", "STAFF", None).await;
    for _ in 0..3 {
        stage.admin.sees("query Mine { ...All } fragment All on Query { all: clients { totalCount } }").await;
    }
    staff.tries("{ auditLog { totalCount } }", Value::Null).await;
    stage.admin.sees("{ connectors { totalCount } clients { totalCount } }").await;
    stage.admin.tries("{ fabricated }", Value::Null).await;
    stage.admin.tries("{ no graphql", Value::Null).await;
    for (labels, count) in [
        (r#"type="query",field="clients",code="OK""#, 3.0),
        (r#"type="query",field="auditLog",code="FORBIDDEN""#, 1.0),
        (r#"type="query",field="several",code="OK""#, 1.0),
        (r#"type="query",field="unknown",code="BAD_USER_INPUT""#, 1.0),
        (r#"type="invalid",field="",code="BAD_USER_INPUT""#, 1.0),
        (r#"type="mutation",field="createUser",code="OK""#, 1.0),
    ] {
        let series = format!("patchbay_operations_total{{{labels}}}");
        assert_eq!(number(&stage, &series).await, Some(count), "{series}");
    }
    let took = r#"patchbay_operation_duration_seconds_count{type="query",field="clients"}"#;
    assert_eq!(number(&stage, took).await, Some(3.0));
    assert!(number(&stage, r#"patchbay_http_requests_total{route="/graphql",status="200"}"#).await.unwrap() >= 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_and_subscriptions_are_counted_while_they_last() {
    let stage = Stage::new().await;
    let (sockets, running) = ("patchbay_sockets", r#"patchbay_subscriptions{field="connectionsChanged"}"#);
    let mut socket = stage.admin.socket().await;
    let _idle = stage.admin.socket().await;
    for id in ["1", "2"] {
        socket.subscribe(id, CHANGES, json!({})).await;
    }
    becomes(&stage, sockets, 2.0).await;
    becomes(&stage, running, 2.0).await;
    assert_eq!(number(&stage, "patchbay_journal_followed_workspaces").await, Some(1.0));
    becomes(&stage, "patchbay_journal_lag_entries", 0.0).await;
    socket.send(json!({ "id": "1", "type": "complete" })).await;
    becomes(&stage, running, 1.0).await;
    drop(socket);
    becomes(&stage, sockets, 1.0).await;
    becomes(&stage, running, 0.0).await;
    let ended = r#"patchbay_operations_total{type="subscription",field="connectionsChanged",code="OK"}"#;
    assert_eq!(number(&stage, ended).await, Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_the_jobs_and_the_build_are_told() {
    let stage = Stage::new().await;
    stage.run_jobs().await;
    stage.run_jobs().await;
    assert_eq!(number(&stage, "patchbay_db_up").await, Some(1.0));
    let pools: &[&str] = if stage.database.is_sqlite() { &["reader", "writer"] } else { &["shared"] };
    for pool in pools {
        let handles = async |state: &str| {
            number(&stage, &format!("patchbay_db_pool_handles{{pool=\"{pool}\",state=\"{state}\"}}")).await.unwrap()
        };
        let open = handles("idle").await + handles("in_use").await;
        let most = number(&stage, &format!("patchbay_db_pool_max_handles{{pool=\"{pool}\"}}")).await.unwrap();
        assert!(open >= 1.0 && open <= most, "{pool}: {open} of {most}");
    }
    assert_eq!(number(&stage, r#"patchbay_job_rounds_total{job="probe"}"#).await, Some(2.0));
    assert_eq!(number(&stage, r#"patchbay_job_failures_total{job="probe"}"#).await, Some(0.0));
    assert!(number(&stage, r#"patchbay_job_last_duration_seconds{job="probe"}"#).await.unwrap() > 0.0);
    let build = format!("patchbay_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(number(&stage, &build).await, Some(1.0));
    assert!(number(&stage, "process_start_time_seconds").await.unwrap() > 1_700_000_000.0);
}

/// The same, for a series that has to be there.
async fn count(stage: &Stage, series: &str) -> f64 {
    number(stage, series).await.unwrap_or_else(|| panic!("there is no {series}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_providers_answer_is_counted_by_connector_question_and_verdict() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.keyed("lamps", &grant.acme).await;
    stage.sandbox.fail_next(Endpoint::Identity, Fault::ServerError, 1);
    stage.after_a_probe_interval().await;
    stage.later(TimeDelta::seconds(11));
    stage.run_jobs().await;
    stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_client"), 1);
    stage.later(TimeDelta::hours(27));
    stage.sandbox.withdraw("100-301");
    stage.run_jobs().await;
    stage.sandbox.change_key("lamps").unwrap();
    stage.after_a_probe_interval().await;
    stage.sandbox.revoke_person("ada");
    stage.later(TimeDelta::hours(1));
    stage.run_jobs().await;
    let answers = |connector: &str, asked: &str, verdict: &str| {
        let labels = format!("connector=\"{connector}\",asked=\"{asked}\",verdict=\"{verdict}\"");
        format!("patchbay_provider_answers_total{{{labels}}}")
    };
    for (connector, asked, verdict) in [
        ("sandbox-ads", "probe", "transient"),
        ("sandbox-ads", "probe", "works"),
        ("sandbox-ads", "renewal", "our_client_rejected"),
        ("sandbox-ads", "renewal", "works"),
        ("sandbox-ads", "renewal", "invalid_grant"),
        ("sandbox-ads", "account", "works"),
        ("sandbox-ads", "account", "forbidden"),
        ("sandbox-billing", "probe", "works"),
        ("sandbox-billing", "probe", "unauthorized"),
    ] {
        assert!(count(&stage, &answers(connector, asked, verdict)).await >= 1.0, "{connector} {asked} {verdict}");
    }
    assert_eq!(count(&stage, &answers("sandbox-ads", "probe", "transient")).await, 1.0);
    assert_eq!(count(&stage, &answers("sandbox-ads", "renewal", "our_client_rejected")).await, 1.0);

    // Each answer took its time.
    let lines = numbers(&stage).await;
    let renewals = lines
        .iter()
        .filter(|line| line.starts_with("patchbay_provider_answers_total{connector=\"sandbox-ads\",asked=\"renewal\""));
    let answered: f64 = renewals.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    let took = r#"patchbay_provider_answer_duration_seconds_count{connector="sandbox-ads",asked="renewal"}"#;
    assert_eq!(count(&stage, took).await, answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_what_fails_is_shown_by_connector() {
    let stage = Stage::new().await;
    stage.shops(&["north", "south", "east"]).await;
    let due = |job: &str| format!("patchbay_due{{job=\"{job}\",connector=\"sandbox-shop\"}}");
    let incidents = r#"patchbay_incidents{connector="sandbox-shop"}"#;
    assert_eq!(number(&stage, &due("probe")).await.unwrap_or_default(), 0.0);
    stage.later(TimeDelta::minutes(54));
    assert_eq!(number(&stage, &due("probe")).await, Some(3.0));
    assert_eq!(number(&stage, &due("renew-tokens")).await, Some(3.0));
    assert_eq!(number(&stage, incidents).await.unwrap_or_default(), 0.0);

    stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_client"), 1000);
    stage.run_jobs().await;
    assert_eq!(number(&stage, &due("probe")).await.unwrap_or_default(), 0.0);
    assert_eq!(number(&stage, incidents).await, Some(1.0));
    stage.sandbox.clear_faults();
    for _ in 0..2 {
        stage.later(TimeDelta::minutes(16));
        stage.run_jobs().await;
    }
    assert_eq!(number(&stage, incidents).await.unwrap_or_default(), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_name_no_tenant_no_person_and_nothing_that_a_client_made_up() {
    let stage = Stage::new().await;
    let stranger = stage.stranger().await;
    stranger.creates_client("Umbrella").await;
    stage.admin.tries("query Fabricated { fabricated: viewer { id } }", Value::Null).await;
    stage.admin.tries("{ fabricated1 fabricated2 }", Value::Null).await;
    for path in ["/fabricated", "/oauth/start/fabricated", "/graphql?query=fabricated"] {
        http().get(stage.url.join(path).unwrap()).send().await.unwrap();
    }
    let method = reqwest::Method::from_bytes(b"FABRICATED").unwrap();
    http().request(method, stage.url.join("/graphql").unwrap()).send().await.unwrap();
    let shown = numbers(&stage).await.join("\n").to_lowercase();
    for word in ["fabricated", "umbrella", "lighthouse", "elsewhere", "user_0", "workspace_0"] {
        assert!(!shown.contains(word), "{word} in\n{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_coming_too_often_is_counted() {
    let limits: fn(&mut patchbay::config::Limits) = |limits| {
        limits.requests_per_second = 1;
        limits.request_burst = 1;
    };
    let stage = Stage::with(crate::harness::Setup { limits: Some(limits), ..Default::default() }).await;
    for _ in 0..5 {
        stage.admin.tries("{ __typename }", Value::Null).await;
    }
    let series = r#"patchbay_operations_total{type="invalid",field="",code="RATE_LIMITED"}"#;
    assert!(number(&stage, series).await.unwrap() >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_every_route_has_an_id_of_its_own() {
    let stage = Stage::new().await;
    let mut ids = std::collections::BTreeSet::new();
    let routes =
        ["/", "/explorer", "/healthz", "/readyz", "/metrics", "/graphql", "/nowhere", "/oauth/callback/stripe"];
    for path in routes {
        let request = http().get(stage.url.join(path).unwrap()).header("x-request-id", "forged");
        let response = request.send().await.unwrap();
        let id = response.headers().get("x-request-id").unwrap_or_else(|| panic!("{path} has none"));
        assert!(uuid::Uuid::parse_str(id.to_str().unwrap()).is_ok(), "{path}: {id:?}");
        ids.insert(id.to_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), routes.len());
}
