//! Metrics: exact numbers of whatever rows were last read, and at their foot what is wrong.

use patchbay::sandbox::Fault;
use serde_json::{Value, json};

use super::*;
use crate::{
    agency::sorted,
    harness::{METRIC, each, report},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_aggregation_is_exact() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let rows = r#"[{"spend": 0.1, "of": {"clicks": "9007199254740993"}}, {"spend": 0.2, "of": {"clicks": 2}},
                   {"spend": null, "of": {}}, {"spend": "0.3"}]"#;
    stage.only_reports(report(rows));
    let dataset = stage.admin.makes_dataset(&grant.lamps, "report").await;
    for (aggregation, column, exact) in [
        ("COUNT", None, "4"),
        ("SUM", Some("spend"), "0.6"),
        ("AVG", Some("spend"), "0.2"),
        ("MIN", Some("spend"), "0.1"),
        ("MAX", Some("spend"), "0.3"),
        ("LAST", Some("spend"), "0.3"),
        ("SUM", Some("of.clicks"), "9007199254740995"),
        ("AVG", Some("of.clicks"), "4503599627370497.5"),
        ("MAX", Some("of.clicks"), "9007199254740993"),
    ] {
        let metric = stage.admin.makes_metric(&dataset, aggregation, column).await;
        let metric = stage.admin.metric(&metric).await;
        assert_eq!(metric["exactValue"], exact, "{metric:#}");
        assert_eq!(metric["value"].as_f64(), Some(exact.parse().unwrap()));
        assert_eq!(
            (&metric["aggregation"], &metric["column"], &metric["error"]),
            (&json!(aggregation), &json!(column), &Value::Null)
        );
        assert_eq!(metric["dataset"]["id"], json!(dataset));
    }
    // They follow the rows.
    stage.only_reports(report(r#"[{"spend": 1, "of": {"clicks": 1}}]"#));
    stage.admin.refreshes(&dataset).await;
    let query = format!("query($id: ID) {{ dataset(id: $id) {{ metrics {{ nodes {{ {METRIC} }} }} }} }}");
    let all = stage.admin.ask(&query, json!({ "variables": { "id": dataset } })).await["dataset"]["metrics"].clone();
    assert_eq!(each(&nodes(&all), "exactValue"), ["1"; 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gives_no_number_is_null_or_says_why_and_the_last_value_stays() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.only_reports(report(r#"[{"n": null, "day": "Monday", "m": 5}]"#));
    let dataset = stage.admin.makes_dataset(&grant.lamps, "report").await;
    let nothing = stage.admin.makes_metric(&dataset, "MAX", Some("n")).await;
    let text = stage.admin.makes_metric(&dataset, "SUM", Some("day")).await;
    let gone = stage.admin.makes_metric(&dataset, "SUM", Some("m")).await;
    let said = async |metric: &str| {
        let metric = stage.admin.metric(metric).await;
        (metric["exactValue"].clone(), metric["value"].clone(), metric["error"]["message"].clone())
    };
    assert_eq!(said(&nothing).await, (Value::Null, Value::Null, Value::Null), "no number, and nothing wrong");
    let no_number = json!("The column holds something that is no number.");
    assert_eq!(said(&text).await, (Value::Null, Value::Null, no_number.clone()));
    assert_eq!(said(&gone).await, (json!("5"), json!(5.0), Value::Null));

    stage.only_reports(report(r#"[{"n": 1, "day": 7}]"#));
    stage.admin.refreshes(&dataset).await;
    let no_column = json!("The dataset has no such column any more.");
    assert_eq!(said(&gone).await, (json!("5"), json!(5.0), no_column));
    assert_eq!(said(&text).await, (json!("7"), json!(7.0), Value::Null), "it has mended itself");
    assert_eq!(said(&nothing).await.0, json!("1"));

    stage.only_reports(report(r#"[{"n": 1e400, "day": 7, "m": 6}]"#));
    stage.admin.refreshes(&dataset).await;
    let (exact, value, error) = said(&nothing).await;
    assert_eq!(
        (exact.as_str().unwrap().len(), value, error),
        (401, Value::Null, Value::Null),
        "too large for a double"
    );
    assert_eq!(said(&gone).await, (json!("6"), json!(6.0), Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_is_of_a_column_that_there_is_and_a_dataset_has_a_hundred_at_most() {
    let (stage, _, dataset) = one_dataset().await;
    let input = |aggregation: &str, column: Value| json!({ "datasetId": dataset, "name": "A number", "aggregation": aggregation, "column": column });
    for (input, field) in [
        (input("SUM", Value::Null), "column"),
        (input("SUM", json!("hunter2")), "column"),
        (input("LAST", json!("")), "column"),
        (json!({ "datasetId": dataset, "name": " ", "aggregation": "COUNT" }), "name"),
    ] {
        let error = stage.admin.refused("createMetric", input).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!([field])), "{error}");
        assert!(!error.to_string().contains("hunter2"));
    }
    for _ in 0..100 {
        stage.admin.makes_metric(&dataset, "COUNT", None).await;
    }
    let error = stage.admin.refused("createMetric", input("COUNT", Value::Null)).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["datasetId"])), "{error}");
    let removed = stage.admin.metrics_matching(json!({ "datasetId": dataset })).await[0]["id"].clone();
    let payload = stage.admin.does("removeMetric", json!({ "metricId": removed }), "removedMetricId").await;
    assert_eq!(payload["removedMetricId"], removed);
    stage.admin.makes_metric(&dataset, "COUNT", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_its_connection_is_disconnected_a_metric_says_what_to_reconnect_and_keeps_its_value() {
    let (stage, grant, dataset) = one_dataset().await;
    let metric = stage.admin.makes_metric(&dataset, "SUM", Some("clicks")).await;
    let before = stage.admin.metric(&metric).await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    assert_eq!(stage.dataset(&dataset).await["status"], "FRESH", "nobody has refreshed it");
    let after = stage.admin.metric(&metric).await;
    let outage = stage.admin.connection(&grant.lamps).await["disconnection"].clone();
    assert_eq!(after["error"]["message"], outage["message"]);
    assert_eq!(after["error"]["connection"]["id"], json!(grant.lamps));
    assert_eq!((&after["exactValue"], &after["value"]), (&before["exactValue"], &before["value"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_shows_exactly_those_that_have_an_error() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let admin = &stage.admin;
    let billing = stage.keyed("lamps", &grant.acme).await;
    let removed = stage.keyed("hotels", &grant.acme).await;
    let shop = stage.shops(&["north-lights"]).await[0]["id"].as_str().unwrap().to_owned();
    let mut metrics = Vec::new();
    let mut datasets = Vec::new();
    for (connection, path, column) in [
        (&grant.lamps, "report", "clicks"),
        (&grant.lamps, "report", "date"),
        (&billing, "invoices", "amount"),
        (&removed, "invoices", "amount"),
        (&shop, "orders", "revenue"),
        (&shop, "orders", "orders"),
    ] {
        let dataset = admin.makes_dataset(connection, path).await;
        metrics.push(admin.makes_metric(&dataset, "SUM", Some(column)).await);
        datasets.push(dataset);
    }
    // No number; disconnected and never refreshed since; removed; a refresh that failed.
    stage.sandbox.change_key("lamps");
    admin.does("checkConnection", json!({ "connectionId": billing }), "").await;
    admin.does("removeConnection", json!({ "connectionId": removed }), "").await;
    stage.reports(Fault::ServerError, 1);
    admin.refreshes(&datasets[4]).await;

    let all = admin.metrics_matching(json!({})).await;
    let with_error = |wanted: bool| {
        sorted(
            all.iter().filter(|one| one["error"].is_null() != wanted).map(|one| one["id"].as_str().unwrap().to_owned()),
        )
    };
    assert_eq!(with_error(true), sorted([1, 2, 3, 4].map(|place: usize| metrics[place].clone())));
    for failing in [true, false] {
        let shown = admin.metrics_matching(json!({ "failing": failing })).await;
        let shown = sorted(shown.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        assert_eq!(shown, with_error(failing), "failing: {failing}");
    }
    let of_one = admin.metrics_matching(json!({ "failing": true, "datasetId": datasets[4] })).await;
    assert_eq!(each(&of_one, "id"), [metrics[4].as_str()]);
}
