//! Datasets and metrics on real sources: made, kept fresh, and the best detector of what does not work any more.

mod access;
mod editing;
mod making;
mod metrics;
mod noticing;
mod pages;
mod recovering;
mod refreshing;
mod removing;
mod telling;

use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use crate::harness::{Person, SharedGrant, Stage, each, nodes};

/// Ada's grant behind two clients' connections, and a dataset of the report behind Acme's.
async fn one_dataset() -> (Stage, SharedGrant, String) {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let dataset = stage.admin.makes_dataset(&grant.lamps, "report").await;
    (stage, grant, dataset)
}

/// Where the sandbox has the rows behind [`one_dataset`].
const REPORT: &str = "/accounts/100-301/report";

/// More often than any test asks.
const ALWAYS: usize = 100_000;

impl Stage {
    /// How often rows were asked for.
    fn reports_asked(&self) -> u64 {
        self.sandbox.calls(Endpoint::Report)
    }

    /// Rows are asked for from now on, and this is what comes.
    fn only_reports(&self, fault: Fault) {
        self.sandbox.clear_faults();
        self.reports(fault, ALWAYS);
    }

    /// A dataset as the ADMIN sees it.
    async fn dataset(&self, id: &str) -> Value {
        self.admin_now().dataset(id).await
    }
}

impl Person {
    /// What happened to datasets since `cursor`, so many events, oldest first; and no more.
    async fn hears(&self, cursor: &str, count: usize) -> Vec<Value> {
        let mut socket = self.socket().await;
        let query = "subscription($after: String) { datasetsChanged(after: $after) \
                     { cursor kind datasetId dataset { status error { message } connection { id } } } }";
        socket.subscribe("1", query, json!({ "after": cursor })).await;
        let mut heard = Vec::with_capacity(count);
        for _ in 0..count {
            heard.push(socket.event().await["datasetsChanged"].clone());
        }
        assert!(socket.is_quiet().await, "more than {count} came");
        heard
    }

    /// Kinds of what happened to datasets since `cursor`, so many, oldest first; and no more.
    async fn hears_kinds(&self, cursor: &str, count: usize) -> Vec<String> {
        each(&self.hears(cursor, count).await, "kind").into_iter().map(str::to_owned).collect()
    }

    /// The ids of the metrics that this filter shows, with their errors.
    async fn metrics_matching(&self, filter: Value) -> Vec<Value> {
        let query = "query($filter: MetricFilter) { metrics(filter: $filter, first: 100) { totalCount nodes { id error { message } } } }";
        let page = self.ask(query, json!({ "variables": { "filter": filter } })).await["metrics"].clone();
        assert_eq!(page["totalCount"], nodes(&page).len());
        nodes(&page)
    }
}

/// The message of a dataset's error.
fn message(dataset: &Value) -> &str {
    dataset["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {dataset:#}"))
}
