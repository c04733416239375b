//! Making a dataset: its query is tried first, and what is not answered is not made.

use std::time::Duration;

use chrono::TimeDelta;
use patchbay::sandbox::Fault;
use serde_json::{Value, json};

use super::*;
use crate::harness::{DATASET, dataset_of, id, report, tables};

/// A dataset to make, and how its query differs from one that works.
fn asking(connection: &str, query: Value) -> Value {
    let mut input = dataset_of(connection, "report");
    input["query"] = query;
    input
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_is_made_with_the_rows_that_its_query_brings() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let mut input = dataset_of(&grant.lamps, "report");
    (input["externalId"], input["refreshEveryMinutes"]) = (json!("lamps-report"), json!(60));
    let made = stage.admin.does("createDataset", input, &format!("dataset {{ {DATASET} }}")).await["dataset"].clone();
    assert_eq!(made["columns"], json!(["clicks", "date", "impressions", "spend"]));
    assert_eq!((&made["status"], &made["rowCount"], &made["mode"]), (&json!("FRESH"), &json!(28), &json!("WAREHOUSE")));
    assert_eq!((&made["error"], &made["connection"]["id"]), (&Value::Null, &json!(grant.lamps)));
    assert_eq!((&made["externalId"], &made["refreshEveryMinutes"]), (&json!("lamps-report"), &json!(60)));
    let http = json!({ "path": "report", "parameters": null, "rowsPointer": "/rows" });
    assert_eq!(made["query"], json!({ "sql": null, "http": http }));
    assert!(made["lastRefreshedAt"].is_string());
    assert_eq!(stage.reports_asked(), 1, "its rows are those that the trial brought");
    let rows = stage.admin.rows(&id(&made)).await;
    assert_eq!((&rows["totalCount"], rows["nodes"].as_array().unwrap().len()), (&json!(28), 28));
    let found = stage.admin.sees(r#"{ dataset(externalId: "lamps-report") { id } }"#).await;
    assert_eq!(found["dataset"]["id"], made["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_source_does_not_answer_is_not_made_and_flags_nobody() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let before = tables::counts(&stage.db).await;
    let no_json = Fault::Exactly { status: 200, headers: Vec::new(), body: "{".to_owned() };
    let unavailable = ("PROVIDER_UNAVAILABLE", json!(["connectionId"]));
    for (fault, (code, field)) in [
        (Fault::ServerError, unavailable.clone()),
        (Fault::Garbage, unavailable.clone()),
        (no_json, unavailable.clone()),
        (Fault::Hang(Duration::from_millis(10)), unavailable.clone()),
        (Fault::QuotaExceeded, unavailable.clone()),
        // The probe says that the connection works.
        (Fault::Forbidden, ("REJECTED", json!(["query"]))),
        (Fault::Unauthorized, ("REJECTED", json!(["query"]))),
        (report("12"), ("INVALID", json!(["query"]))),
    ] {
        stage.only_reports(fault.clone());
        let error = stage.admin.refused("createDataset", dataset_of(&grant.lamps, "report")).await;
        assert_eq!((error["code"].as_str(), &error["field"]), (Some(code), &field), "{fault:?}: {error}");
    }
    stage.sandbox.clear_faults();
    let error = stage.admin.refused("createDataset", dataset_of(&grant.lamps, "reports")).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["query"])), "no such page: {error}");
    let query = json!({ "http": { "path": "report", "rowsPointer": "/lines" } });
    let error = stage.admin.refused("createDataset", asking(&grant.lamps, query)).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["query"])), "no such list: {error}");
    assert_eq!((stage.status(&grant.lamps).await.as_str(), stage.disconnections().await.len()), ("CONNECTED", 0));
    let kept = tables::counts(&stage.db).await;
    for table in ["dataset", "snapshot", "snapshot_part", "journal_entry"] {
        assert_eq!(kept[table], before[table], "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_asks_to_wait_is_not_asked_until_then() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.reports(Fault::RateLimited { retry_after: 60 }, 1);
    for _ in 0..2 {
        let error = stage.admin.refused("createDataset", dataset_of(&grant.lamps, "report")).await;
        assert_eq!(error["code"], "PROVIDER_UNAVAILABLE", "{error}");
        assert_eq!(stage.reports_asked(), 1);
    }
    stage.later(TimeDelta::seconds(61));
    stage.admin.makes_dataset(&grant.lamps, "report").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_can_never_be_asked_says_what_is_wrong_and_nobody_is_asked() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let http = |path: &str| json!({ "http": { "path": path, "rowsPointer": "/rows" } });
    for path in
        ["../userinfo", "a/../../userinfo", "%2e%2e/userinfo", "a?b=c", "//evil.example/", "{token.access}", "a b"]
    {
        let error = stage.admin.refused("createDataset", asking(&grant.lamps, http(path))).await;
        let place = json!(["query", "http", "path"]);
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &place), "{path}: {error}");
    }
    for parameters in
        [json!([1]), json!("x"), json!({ "a": { "b": 1 } }), json!({ "a\u{0}": 1 }), json!({ "a": "\u{0}" })]
    {
        let query = json!({ "http": { "path": "report", "parameters": parameters } });
        let error = stage.admin.refused("createDataset", asking(&grant.lamps, query)).await;
        let place = json!(["query", "http", "parameters"]);
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &place), "{parameters}: {error}");
    }
    let query = json!({ "http": { "path": "report", "rowsPointer": "rows" } });
    let error = stage.admin.refused("createDataset", asking(&grant.lamps, query)).await;
    assert_eq!(error["field"], json!(["query", "http", "rowsPointer"]), "{error}");
    let error = stage.admin.refused("createDataset", asking(&grant.lamps, json!({ "sql": "SELECT 1" }))).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["query", "sql"])), "{error}");
    for minutes in [0, -1, 44_641] {
        let mut input = dataset_of(&grant.lamps, "report");
        input["refreshEveryMinutes"] = json!(minutes);
        let error = stage.admin.refused("createDataset", input).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["refreshEveryMinutes"])), "{error}");
    }
    assert_eq!(stage.reports_asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_id_is_one_datasets_and_a_second_one_is_told_whose() {
    let (stage, grant, _) = one_dataset().await;
    let mut input = dataset_of(&grant.lamps, "report");
    input["externalId"] = json!("d-1");
    let first = id(&stage.admin.does("createDataset", input.clone(), "dataset { id }").await["dataset"]);
    let asked = stage.reports_asked();
    let error = stage.admin.refused("createDataset", input.clone()).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("CONFLICT"), &json!(["externalId"])), "{error}");
    assert_eq!(error["conflictsWith"]["id"], json!(first));
    assert_eq!(stage.reports_asked(), asked, "nobody is asked for what is not made");

    // Two at once: one is made, and the other is told of it.
    input["externalId"] = json!("d-2");
    let both = tokio::join!(
        stage.admin.mutates("createDataset", input.clone(), "dataset { id }"),
        stage.admin.mutates("createDataset", input, "dataset { id }"),
    );
    let (made, refused) = if both.0["dataset"].is_null() { (both.1, both.0) } else { both };
    let error = &refused["errors"][0];
    assert_eq!((&error["code"], &error["conflictsWith"]["id"]), (&json!("CONFLICT"), &made["dataset"]["id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_repeat_the_credential_are_not_taken() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let billing = stage.keyed("lamps", &acme).await;
    let dataset = stage.admin.makes_dataset(&billing, "invoices").await;
    let key = stage.key("lamps")[0]["value"].as_str().unwrap().to_owned();
    let rows = stage.admin.rows(&dataset).await;
    for line in [format!(r#"[{{"x-api-key": "{key}"}}]"#), format!(r#"[{{"echo": ["of {key} and more"]}}]"#)] {
        stage.sandbox.fail_next(Endpoint::Keyed, report(&line), 1);
        let refreshed = stage.admin.refreshes(&dataset).await;
        assert_eq!(refreshed["status"], "FAILED");
        assert!(!refreshed.to_string().contains(&key), "{refreshed:#}");
        assert_eq!(stage.admin.rows(&dataset).await, rows);
    }
    assert_eq!(stage.status(&billing).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_sent_and_an_empty_list_is_a_dataset_without_rows() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.reports(report("[]"), 1);
    let query =
        json!({ "http": { "path": "report", "parameters": { "day": [1, 2], "x": null }, "rowsPointer": "/rows" } });
    let fields = format!("dataset {{ {DATASET} }}");
    let made = stage.admin.does("createDataset", asking(&grant.lamps, query), &fields).await["dataset"].clone();
    assert_eq!((&made["rowCount"], &made["columns"], &made["status"]), (&json!(0), &json!([]), &json!("FRESH")));
    assert_eq!(made["query"]["http"]["parameters"], json!({ "day": [1, 2], "x": null }));
    assert_eq!(stage.admin.rows(&id(&made)).await, json!({ "nodes": [], "totalCount": 0 }));
}
