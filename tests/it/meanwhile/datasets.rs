//! Datasets whose connection is reconnected, moved or given another account while they are read, or between two readings.

use chrono::TimeDelta;
use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use super::code;
use crate::harness::{Setup, Stage, dataset_of, id, leave_out, report};

impl Stage {
    /// What a dataset of visits or of a report tells of the account that it was read from: its first row.
    async fn first_row(&self, dataset: &str) -> Value {
        self.admin_now().rows(dataset).await["nodes"][0].clone()
    }

    async fn refreshed_at(&self, dataset: &str) -> Value {
        self.admin_now().dataset(dataset).await["lastRefreshedAt"].clone()
    }

    fn asked_for_rows(&self) -> u64 {
        self.sandbox.calls(Endpoint::Report)
    }

    /// Rounds of the jobs until a dataset that is due is read, if it is due.
    async fn reads_what_is_due(&self) -> u64 {
        let before = self.asked_for_rows();
        self.after_ticks(2).await;
        self.asked_for_rows() - before
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnecting_makes_every_dataset_due_also_one_that_was_fresh_and_has_no_schedule() {
    let stage = Stage::new().await;
    let admin = &stage.admin;
    let grant = stage.shared_grant().await;
    let billing = stage.keyed("lamps", &grant.acme).await;
    let ads = [admin.makes_dataset(&grant.lamps, "report").await, admin.makes_dataset(&grant.hotels, "report").await];
    let invoices = admin.makes_dataset(&billing, "invoices").await;
    assert_eq!(stage.reads_what_is_due().await, 0, "nothing is due");
    for dataset in ads.iter().chain([&invoices]) {
        assert_eq!(admin.dataset(dataset).await["status"], "FRESH");
    }

    // It worked all the while: whoever reconnects may have another account in mind.
    let (attempt, _) = admin.reconnects(&stage.browser(), &grant.lamps, "REFUSE", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED");
    assert_eq!(stage.reads_what_is_due().await, 2, "of every connection of the sign-in");

    let calls = stage.sandbox.calls(Endpoint::Keyed);
    let input = json!({ "connectionId": billing, "credentials": stage.key("lamps") });
    admin.does("reconnect", input, "connections { id }").await;
    let tried = stage.sandbox.calls(Endpoint::Keyed);
    stage.after_ticks(2).await;
    assert!(tried > calls && stage.sandbox.calls(Endpoint::Keyed) == tried + 1, "the invoices were read once more");

    // Another account of the same sign-in.
    let input = json!({ "connectionId": grant.hotels, "accountId": "100-303" });
    let before = stage.first_row(&ads[1]).await;
    admin.does("updateConnection", input, "connection { id }").await;
    assert_eq!(stage.reads_what_is_due().await, 1);
    assert_ne!(stage.first_row(&ads[1]).await, before, "these are the other account's");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_asked_for_before_the_account_changed_are_dropped_when_they_come() {
    let stage = Stage::new().await;
    let admin = &stage.admin;
    let grant = stage.shared_grant().await;
    let dataset = admin.makes_dataset(&grant.lamps, "report").await;
    let of_the_first = stage.first_row(&dataset).await;

    // Another account of the same sign-in, then another sign-in: both while the old account's rows are on their way.
    let mut reading = stage.holds("/accounts/100-301/report");
    let refreshing = stage.begins("refreshDataset", json!({ "datasetId": dataset }), "dataset { id }");
    reading.arrived().await;
    let input = json!({ "connectionId": grant.lamps, "accountId": "100-303" });
    admin.does("updateConnection", input, "connection { id }").await;
    reading.goes_on();
    refreshing.await.unwrap();
    stage.after_ticks(3).await;
    let of_the_second = stage.first_row(&dataset).await;
    assert_ne!(of_the_second, of_the_first);

    let mut reading = stage.holds("/accounts/100-303/report");
    let refreshing = stage.begins("refreshDataset", json!({ "datasetId": dataset }), "dataset { id }");
    reading.arrived().await;
    let input = json!({ "connectionId": grant.lamps, "accountId": "100-301" });
    admin.does("updateConnection", input, "connection { id }").await;
    reading.goes_on();
    refreshing.await.unwrap();
    // The version alone keeps them out: the job has not come by yet.
    assert_eq!(stage.first_row(&dataset).await, of_the_second, "what was shown stays until the next rows");
    stage.after_ticks(3).await;
    assert_eq!(stage.first_row(&dataset).await, of_the_first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_moves_to_another_sign_in_makes_its_dataset_due_and_drops_rows_that_are_on_their_way() {
    let stage = Stage::new().await;
    let admin = &stage.admin;
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-303" });
    let fjord = id(&admin.connects(&stage.browser(), input, "ada").await);
    // With another beside it, the first leaves its sign-in, and does not take it along.
    let grant = stage.shared_grant().await;
    let dataset = admin.makes_dataset(&fjord, "report").await;
    assert_eq!(stage.reads_what_is_due().await, 0);

    let before = stage.refreshed_at(&dataset).await;
    let mut reading = stage.holds("/accounts/100-303/report");
    let refreshing = stage.begins("refreshDataset", json!({ "datasetId": dataset }), "dataset { id }");
    reading.arrived().await;
    let (attempt, _) = admin.reconnects(&stage.browser(), &fjord, "THIS_CONNECTION", "ben").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    let (its, adas) = (admin.connection(&fjord).await, json!(grant.authorization));
    assert_ne!(its["authorization"]["id"], adas, "it moved");
    reading.goes_on();
    refreshing.await.unwrap();
    assert_eq!(stage.refreshed_at(&dataset).await, before, "Ben may see less than Ada");
    assert_eq!(stage.reads_what_is_due().await, 1);
    assert_ne!(stage.refreshed_at(&dataset).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_dataset_while_its_source_is_asked_counts() {
    let stage = Stage::new().await;
    let admin = &stage.admin;
    let grant = stage.shared_grant().await;
    let dataset = admin.makes_dataset(&grant.lamps, "report").await;

    // It is removed: its refresh ends in nothing.
    let mut reading = stage.holds("/accounts/100-301/report");
    let refreshing = stage.begins("refreshDataset", json!({ "datasetId": dataset }), "dataset { id }");
    reading.arrived().await;
    admin.does("removeDataset", json!({ "datasetId": dataset }), "").await;
    reading.goes_on();
    assert_eq!(code(&refreshing.await.unwrap()), "NOT_FOUND");
    assert_eq!(admin.dataset(&dataset).await, Value::Null);

    // Its connection is removed while a new one is tried: there is nothing to make it of.
    let mut reading = stage.holds("/accounts/100-301/report");
    let input = dataset_of(&grant.lamps, "report");
    let creating = stage.begins("createDataset", input, "dataset { id }");
    reading.arrived().await;
    admin.does("removeConnection", json!({ "connectionId": grant.lamps }), "").await;
    reading.goes_on();
    assert_eq!(code(&creating.await.unwrap()), "NOT_FOUND");

    // Rows come while a metric is computed of those before: the metric is of the new ones in the end.
    let dataset = admin.makes_dataset(&grant.hotels, "report").await;
    stage.reports(report(r#"[{"n": 1}]"#), 1);
    admin.refreshes(&dataset).await;
    let metric = admin.makes_metric(&dataset, "SUM", Some("n")).await;
    assert_eq!(admin.metric(&metric).await["value"], 1.0);

    // Two who remove the same: one has done it.
    let both = tokio::join!(
        admin.mutates("removeDataset", json!({ "datasetId": dataset }), ""),
        admin.mutates("removeDataset", json!({ "datasetId": dataset }), ""),
    );
    let refused = [&both.0, &both.1].iter().filter(|payload| payload["errors"] != json!([])).count();
    assert_eq!(refused, 1, "{both:#?}");
    assert_eq!(admin.audited("dataset.removed").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_finds_its_dataset_locked_for_a_moment_is_left_to_the_job() {
    let stage = Stage::new().await;
    if stage.database.is_sqlite() {
        leave_out("on SQLite nothing is locked but the file");
        return;
    }
    let grant = stage.shared_grant().await;
    let dataset = stage.admin.makes_dataset(&grant.lamps, "report").await;
    let asked = stage.asked_for_rows();
    let lock = stage.locks_dataset(&dataset).await;
    let refreshing = stage.begins("refreshDataset", json!({ "datasetId": dataset }), "dataset { status }");
    stage.waiting_for_locks(1).await;
    lock.ends().await;
    assert_eq!(refreshing.await.unwrap()["errors"], json!([]));
    assert_eq!(stage.asked_for_rows(), asked, "it could not be claimed");
    assert_eq!(stage.reads_what_is_due().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_an_older_look_failed_says_nothing_once_another_brought_rows() {
    let ads = include_str!("../../../src/sandbox/connectors/sandbox-ads.toml").replace("sandbox-ads", "live-ads");
    let ads = ads.replace("mode = \"warehouse\"", "mode = \"direct_query\"");
    let stage = Stage::with(Setup { connectors: vec![("live-ads.toml".to_owned(), ads)], ..Setup::default() }).await;
    let input = json!({ "connector": "live-ads", "accountId": "100-301" });
    let lamps = id(&stage.admin.connects(&stage.browser(), input, "ada").await);
    let dataset = stage.admin.makes_dataset(&lamps, "report").await;
    // What was read a moment ago is served for ten seconds.
    stage.later(TimeDelta::seconds(11));
    stage.reports(Fault::ServerError, 1);
    let mut reading = stage.holds("/accounts/100-301/report");
    let (admin, its) = (stage.admin.clone(), dataset.clone());
    let looking = tokio::spawn(async move { admin.rows(&its).await });
    reading.arrived().await;
    stage.admin.does("refreshDataset", json!({ "datasetId": dataset }), "").await;
    reading.goes_on();
    looking.await.unwrap();
    let seen = stage.admin.dataset(&dataset).await;
    assert_eq!((&seen["status"], &seen["error"]), (&json!("FRESH"), &Value::Null));
}
