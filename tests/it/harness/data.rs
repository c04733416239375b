//! Datasets and metrics as tests make them and look at them.

use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use super::{Person, Stage, scene::id};

/// What tests look at of a dataset.
pub const DATASET: &str = "id name externalId status columns rowCount lastRefreshedAt refreshEveryMinutes mode \
     connection { id } error { message needsReconnect at } query { sql http { path parameters rowsPointer } }";

/// What tests look at of a metric.
pub const METRIC: &str = "id name aggregation column value exactValue dataset { id } \
     error { message connection { id } dataset { id } }";

/// A dataset to make of what the sandbox has at `path` below a connection's API.
pub fn dataset_of(connection: &str, path: &str) -> Value {
    let query = json!({ "http": { "path": path, "rowsPointer": "/rows" } });
    json!({ "connectionId": connection, "name": format!("The {path}"), "query": query })
}

/// An answer of the sandbox with these rows, as they are written here.
pub fn report(rows: &str) -> Fault {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Fault::Exactly { status: 200, headers, body: format!("{{\"rows\":{rows}}}") }
}

impl Stage {
    /// What answers with rows does so in this way, so many times.
    pub fn reports(&self, fault: Fault, times: usize) {
        self.sandbox.fail_next(Endpoint::Report, fault, times);
    }
}

impl Person {
    /// Makes a dataset of what the sandbox has at `path`; its id.
    pub async fn makes_dataset(&self, connection: &str, path: &str) -> String {
        id(&self.does("createDataset", dataset_of(connection, path), "dataset { id }").await["dataset"])
    }

    /// Makes a metric; its id.
    pub async fn makes_metric(&self, dataset: &str, aggregation: &str, column: Option<&str>) -> String {
        let input = json!({ "datasetId": dataset, "name": "A number", "aggregation": aggregation, "column": column });
        id(&self.does("createMetric", input, "metric { id }").await["metric"])
    }

    /// A dataset as they see it.
    pub async fn dataset(&self, id: &str) -> Value {
        let query = format!("query($id: ID) {{ dataset(id: $id) {{ {DATASET} }} }}");
        self.ask(&query, json!({ "variables": { "id": id } })).await["dataset"].clone()
    }

    /// A metric as they see it.
    pub async fn metric(&self, id: &str) -> Value {
        let query = format!("query($id: ID!) {{ metric(id: $id) {{ {METRIC} }} }}");
        self.ask(&query, json!({ "variables": { "id": id } })).await["metric"].clone()
    }

    /// Refreshes a dataset; as it is then.
    pub async fn refreshes(&self, dataset: &str) -> Value {
        let fields = format!("dataset {{ {DATASET} }}");
        self.does("refreshDataset", json!({ "datasetId": dataset }), &fields).await["dataset"].clone()
    }

    /// Changes a dataset; as it is then.
    pub async fn edits_dataset(&self, dataset: &str, mut change: Value) -> Value {
        change["datasetId"] = json!(dataset);
        let fields = format!("dataset {{ {DATASET} }}");
        self.does("updateDataset", change, &fields).await["dataset"].clone()
    }

    /// The first page of a dataset's rows.
    pub async fn rows(&self, dataset: &str) -> Value {
        let query = "query($id: ID) { dataset(id: $id) { rows { nodes totalCount } } }";
        self.ask(query, json!({ "variables": { "id": dataset } })).await["dataset"]["rows"].clone()
    }
}
