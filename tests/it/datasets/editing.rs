//! Editing a dataset: whatever is changed, it is refreshed.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::*;
use crate::{agency::Agency, harness::report};

#[tokio::test(flavor = "multi_thread")]
async fn every_edit_refreshes_also_one_that_changes_nothing() {
    let (stage, _, dataset) = one_dataset().await;
    let made = stage.dataset(&dataset).await;
    for (change, calls) in [(json!({}), 2), (json!({ "name": "Days" }), 3), (json!({ "refreshEveryMinutes": 5 }), 4)] {
        let edited = stage.admin.edits_dataset(&dataset, change).await;
        assert_eq!((stage.reports_asked(), &edited["status"]), (calls, &json!("FRESH")));
        assert_ne!(edited["lastRefreshedAt"], made["lastRefreshedAt"]);
    }
    let edited = stage.dataset(&dataset).await;
    assert_eq!((&edited["name"], &edited["refreshEveryMinutes"]), (&json!("Days"), &json!(5)));
    assert_eq!(
        (&edited["query"], &edited["connection"]),
        (&made["query"], &made["connection"]),
        "what is left out stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_cleared_is_none() {
    let (stage, _, dataset) = one_dataset().await;
    stage.admin.edits_dataset(&dataset, json!({ "refreshEveryMinutes": 30 })).await;
    let cleared = stage.admin.edits_dataset(&dataset, json!({ "refreshEveryMinutes": null })).await;
    assert_eq!(cleared["refreshEveryMinutes"], Value::Null);
    let asked = stage.reports_asked();
    for _ in 0..4 {
        stage.later(TimeDelta::minutes(34));
        stage.run_jobs().await;
    }
    assert_eq!(stage.reports_asked(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_query_that_fails_stays_with_its_error_and_the_old_rows_stay_too() {
    let (stage, grant, dataset) = one_dataset().await;
    let rows = stage.admin.rows(&dataset).await;
    let query = |path: &str| json!({ "query": { "http": { "path": path, "rowsPointer": "/rows" } } });
    let edited = stage.admin.edits_dataset(&dataset, query("nothing")).await;
    assert_eq!((&edited["status"], &edited["rowCount"]), (&json!("FAILED"), &json!(28)));
    assert_eq!(edited["query"]["http"]["path"], "nothing");
    assert_eq!(
        (message(&edited), &edited["error"]["needsReconnect"]),
        ("The API has nothing at this path (404).", &json!(false))
    );
    assert_eq!(stage.admin.rows(&dataset).await, rows);
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");

    // What cannot be asked at all changes nothing.
    let error =
        stage.admin.refused("updateDataset", json!({ "datasetId": dataset, "query": { "sql": "SELECT 1" } })).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["query", "sql"])));

    let mended = stage.admin.edits_dataset(&dataset, query("report")).await;
    assert_eq!((&mended["status"], &mended["error"]), (&json!("FRESH"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_is_moved_reads_through_the_other_connection() {
    let (stage, grant, dataset) = one_dataset().await;
    let of_hotels = stage.admin.makes_dataset(&grant.hotels, "report").await;
    assert_ne!(stage.admin.rows(&dataset).await, stage.admin.rows(&of_hotels).await);
    let cursor = stage.admin.event_cursor().await;
    let moved = stage.admin.edits_dataset(&dataset, json!({ "connectionId": grant.hotels })).await;
    assert_eq!(moved["connection"]["id"], json!(grant.hotels));
    assert_eq!(stage.admin.rows(&dataset).await, stage.admin.rows(&of_hotels).await);
    assert_eq!(stage.admin.hears_kinds(&cursor, 2).await, ["UPDATED", "REFRESHED"]);

    // One of another kind is asked otherwise, and finds nothing there. The rows were the other connection's.
    let billing = stage.keyed("lamps", &grant.acme).await;
    let moved = stage.admin.edits_dataset(&dataset, json!({ "connectionId": billing })).await;
    assert_eq!((&moved["status"], &moved["rowCount"]), (&json!("FAILED"), &json!(0)));
    assert_eq!(stage.status(&billing).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_is_moved_only_between_connections_that_one_may_tend() {
    let agency = Agency::new().await;
    agency.shares(&agency.acme_ads, &agency.member).await;
    let dataset = agency.member.makes_dataset(&agency.acme_ads, "report").await;
    let there = json!({ "datasetId": dataset, "connectionId": agency.globex_ads });
    let error = agency.member.refused("updateDataset", there.clone()).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("NOT_FOUND"), &json!(["connectionId"])));
    assert_eq!(agency.admin.dataset(&dataset).await["connection"]["id"], json!(agency.acme_ads));
    let moved = agency.admin.edits_dataset(&dataset, json!({ "connectionId": agency.globex_ads })).await;
    assert_eq!(moved["connection"]["id"], json!(agency.globex_ads));
    assert_eq!(agency.member.dataset(&dataset).await, Value::Null, "they do not see what it reads through");
    assert_eq!(agency.member.refused("updateDataset", there).await["field"], json!(["datasetId"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_during_a_refresh_drops_what_that_brings() {
    let (stage, _, dataset) = one_dataset().await;
    let asked = stage.reports_asked();
    stage.reports(patchbay::sandbox::Fault::ServerError, 1);
    let mut reading = stage.holds(REPORT);
    let (admin, id) = (stage.admin.clone(), dataset.clone());
    let refreshing = tokio::spawn(async move { admin.refreshes(&id).await });
    reading.arrived().await;
    assert_eq!(stage.dataset(&dataset).await["status"], "REFRESHING");
    let edited = stage.admin.edits_dataset(&dataset, json!({ "name": "Days" })).await;
    assert_eq!((&edited["name"], &edited["status"]), (&json!("Days"), &json!("REFRESHING")));
    reading.goes_on();
    let refreshed = refreshing.await.unwrap();
    assert_eq!((&refreshed["status"], &refreshed["error"]), (&json!("FRESH"), &Value::Null), "its 500 was dropped");
    stage.reports(report("[{\"n\":1}]"), 1);
    stage.after_ticks(2).await;
    assert_eq!((&stage.dataset(&dataset).await["rowCount"], stage.reports_asked()), (&json!(1), asked + 2));
}
