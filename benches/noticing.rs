//! What renewals and probes cost one node, among 100,000 authorizations: `cargo bench --bench noticing [-- COUNT]`.
//!
//! COUNT authorizations (1,000 by default) are connected through the API and made due at once; the jobs then work them off
//! against a provider in the same process, whose work is in the figures as well. The other rows are there to be searched
//! past. On PostgreSQL (`PATCHBAY_TEST_POSTGRES`) the database's own work is not in the CPU time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that goes wrong may panic")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is the world around the server")]

#[allow(dead_code, unused_imports, unreachable_pub, reason = "the tests' harness has more than is needed here")]
#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::time::{Duration, Instant};

use harness::{Setup, Stage};
use sea_orm::ConnectionTrait;
use serde_json::json;

const ALL: usize = 100_000;

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000);
    tokio::runtime::Runtime::new().unwrap().block_on(measure(count));
}

async fn measure(count: usize) {
    let stage = Stage::with(Setup { connectors: vec![unhurried()], ..Setup::default() }).await;
    let began = Instant::now();
    for shop in 0..count {
        let fields = json!([{ "name": "shop", "value": format!("shop-{shop}") }]);
        let input = json!({ "connector": "bench-shop", "using": { "browser": { "fields": fields } } });
        stage.admin.connects(&stage.browser(), input, "ada").await;
    }
    eprintln!("{count} authorizations connected in {:.1} s", began.elapsed().as_secs_f64());
    others(&stage, ALL.saturating_sub(count)).await;
    for (what, column) in [("renewals", "renew_at"), ("probes", "probe_at")] {
        due(&stage, column).await;
        let (began, cpu) = (Instant::now(), cpu_time());
        stage.run_jobs().await;
        report(what, count, began.elapsed(), cpu_time() - cpu);
    }
    eprintln!(
        "calls at the provider: {:?}, {} probes",
        stage.sandbox.token_calls(),
        stage.sandbox.calls(patchbay::sandbox::Endpoint::Identity)
    );
}

/// The sandbox's shop, with no pace that would be measured instead of the server.
fn unhurried() -> (String, String) {
    let text = include_str!("../src/sandbox/connectors/sandbox-shop.toml");
    let text = text.replace("slug = \"sandbox-shop\"", "slug = \"bench-shop\"");
    ("bench-shop.toml".to_owned(), format!("{text}\n[pace]\nconcurrent = 16\nper_second = 100000\n"))
}

/// Authorizations that are not due: copies of one, whose secrets open nowhere.
async fn others(stage: &Stage, count: usize) {
    let (id, far) = if stage.db.is_sqlite() {
        ("randomblob(16)", "'2099-01-01 00:00:00.000000 +00:00'")
    } else {
        ("gen_random_uuid()", "'2099-01-01 00:00:00+00'::timestamptz")
    };
    let rows = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO \"authorization\" (id, workspace_id, connector, method, status, account_id, scopes, missing_scopes, \
         credential, credential_version, renew_at, probe_at, failures, created_at) \
         SELECT {id}, workspace_id, connector, method, status, 'other-' || n.i, scopes, missing_scopes, credential, 1, \
         {far}, {far}, 0, created_at FROM n, (SELECT * FROM \"authorization\" LIMIT 1) one"
    );
    stage.db.writer().execute_unprepared(&rows).await.unwrap();
}

/// Every authorization that can be asked about is due.
async fn due(stage: &Stage, column: &str) {
    let set = format!("UPDATE \"authorization\" SET {column} = created_at WHERE account_id NOT LIKE 'other-%'");
    stage.db.writer().execute_unprepared(&set).await.unwrap();
}

/// User and system time of this process so far (`proc_pid_stat(5)`: fields 14 and 15, in hundredths of a second).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn report(what: &str, count: usize, took: Duration, cpu: Duration) {
    let each = cpu.as_secs_f64() * 1_000.0 / count as f64;
    let busy = each / 1_000.0 * ALL as f64 / 3_600.0 * 100.0;
    eprintln!(
        "{what}: {count} in {:.2} s ({:.0} a second), {each:.2} ms of CPU each; {ALL} in an hour keep one core busy for {busy:.1} % of it",
        took.as_secs_f64(),
        count as f64 / took.as_secs_f64(),
    );
}
