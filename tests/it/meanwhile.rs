//! What happens between a question and its answer: each test holds an answer back, changes what it was asked about, and sees
//! that the answer is judged by what is true when it comes.

mod claims;
mod datasets;
mod following;
mod looks;
mod moving;
mod refusals;

use serde_json::{Value, json};

use crate::harness::{Person, Stage};

impl Stage {
    /// Starts a mutation of the ADMIN's, which goes on while the test does other things: its payload in the end.
    fn begins(&self, name: &'static str, input: Value, fields: &'static str) -> tokio::task::JoinHandle<Value> {
        let admin = self.admin_now();
        tokio::spawn(async move { admin.mutates(name, input, fields).await })
    }

    /// Starts a round of the jobs, which goes on while the test does other things.
    fn begins_jobs(&self) -> tokio::task::JoinHandle<()> {
        let jobs = self.jobs.clone();
        tokio::spawn(async move { jobs.run_due().await.unwrap() })
    }
}

impl Person {
    /// Connects Ada's web site for a client of that name; all of them share one authorization.
    async fn connects_site(&self, stage: &Stage, client: &str) -> Value {
        let client = self.creates_client(client).await;
        let input = json!({ "connector": "sandbox-analytics", "clientId": client });
        self.connects(&stage.browser(), input, "ada").await
    }
}

/// The code of a payload's first error.
fn code(payload: &Value) -> &str {
    payload["errors"][0]["code"].as_str().unwrap_or_else(|| panic!("nothing was refused: {payload:#}"))
}
