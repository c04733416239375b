//! Refreshing: when somebody asks, when it is due, and again after what passes.

use chrono::{DateTime, TimeDelta};
use patchbay::sandbox::Fault;
use sea_orm::{EntityTrait, sea_query::Expr};
use serde_json::{Value, json};

use super::*;
use crate::{
    harness::{Frame, report},
    nodes::two_nodes,
};

/// A dataset that is refreshed by schedule.
async fn scheduled(minutes: i32) -> (Stage, SharedGrant, String) {
    let (stage, grant, dataset) = one_dataset().await;
    stage.admin.edits_dataset(&dataset, json!({ "refreshEveryMinutes": minutes })).await;
    (stage, grant, dataset)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_refreshes_gets_the_new_rows() {
    let (stage, _, dataset) = one_dataset().await;
    stage.reports(report(r#"[{"b": 1, "a": {"c": "x", "d": 12345678901234567890.10}}, {"e": true}]"#), 1);
    let refreshed = stage.admin.refreshes(&dataset).await;
    assert_eq!((&refreshed["status"], &refreshed["rowCount"]), (&json!("FRESH"), &json!(2)));
    assert_eq!(refreshed["columns"], json!(["b", "a.c", "a.d", "e"]));
    let rows = json!([{ "b": 1, "a": { "c": "x", "d": "12345678901234567890.10" } }, { "e": true }]);
    assert_eq!(stage.admin.rows(&dataset).await, json!({ "nodes": rows, "totalCount": 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_refreshed_and_not_before() {
    let (stage, _, dataset) = scheduled(60).await;
    let mut asked = stage.reports_asked();
    for _ in 0..3 {
        // A tenth earlier at most.
        stage.later(TimeDelta::minutes(53));
        stage.run_jobs().await;
        assert_eq!(stage.reports_asked(), asked, "it is not due yet");
        // Nor more than a tenth later.
        stage.later(TimeDelta::minutes(14));
        stage.run_jobs().await;
        asked += 1;
        assert_eq!(stage.reports_asked(), asked);
    }
    assert_eq!(stage.dataset(&dataset).await["status"], "FRESH");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_refresh_what_is_due_once() {
    let Some((first, second)) = two_nodes().await else { return };
    let grant = first.shared_grant().await;
    for _ in 0..3 {
        let dataset = first.admin.makes_dataset(&grant.lamps, "report").await;
        first.admin.edits_dataset(&dataset, json!({ "refreshEveryMinutes": 30 })).await;
    }
    for round in 1..=5 {
        let asked = first.reports_asked();
        first.later(TimeDelta::minutes(34));
        tokio::join!(first.run_jobs(), second.run_jobs());
        assert_eq!(first.reports_asked(), asked + 3, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_who_refresh_at_once_ask_once() {
    let (stage, _, dataset) = one_dataset().await;
    let asked = stage.reports_asked();
    stage.reports(Fault::ServerError, 1);
    let mut reading = stage.holds(REPORT);
    let (admin, id) = (stage.admin.clone(), dataset.clone());
    let first = tokio::spawn(async move { admin.refreshes(&id).await });
    reading.arrived().await;
    assert_eq!(stage.admin.refreshes(&dataset).await["status"], "REFRESHING");
    reading.goes_on();
    assert_eq!(first.await.unwrap()["status"], "FAILED");
    assert_eq!(stage.reports_asked(), asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_after_pauses_that_grow_and_flags_nobody() {
    let (stage, grant, dataset) = scheduled(600).await;
    let cursor = stage.admin.event_cursor().await;
    let rows = stage.admin.rows(&dataset).await;
    stage.only_reports(Fault::ServerError);
    let failed = stage.admin.refreshes(&dataset).await;
    assert_eq!((&failed["status"], &failed["error"]["needsReconnect"]), (&json!("FAILED"), &json!(false)));
    assert!(message(&failed).starts_with("Sandbox Ads could not be read"), "{failed:#}");
    // A tick, two, four, eight.
    for (asked, ticks) in (stage.reports_asked()..).zip([1, 2, 4, 8]) {
        for tick in 1..=ticks {
            stage.after_ticks(1).await;
            assert_eq!(stage.reports_asked(), asked + u64::from(tick == ticks), "tick {tick} of {ticks}");
        }
    }
    assert_eq!((stage.status(&grant.lamps).await.as_str(), stage.disconnections().await.len()), ("CONNECTED", 0));
    assert_eq!((stage.admin.rows(&dataset).await, stage.admin.tray().await.len()), (rows, 0));
    stage.sandbox.clear_faults();
    stage.after_ticks(16).await;
    let again = stage.dataset(&dataset).await;
    assert_eq!((&again["status"], &again["error"]), (&json!("FRESH"), &Value::Null));
    // The same failure is told once; the end of each refresh is, for those who saw it under way.
    let told = ["FAILED", "UPDATED", "UPDATED", "UPDATED", "UPDATED", "REFRESHED"];
    assert_eq!(stage.admin.hears_kinds(&cursor, told.len()).await, told);
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_never_grow_longer_than_the_probe_interval() {
    let (stage, grant, dataset) = scheduled(40_000).await;
    stage.only_reports(Fault::ServerError);
    stage.admin.refreshes(&dataset).await;
    for _ in 0..12 {
        stage.later(TimeDelta::minutes(15));
        stage.run_jobs().await;
    }
    let asked = stage.reports_asked();
    for more in 1..=4 {
        stage.later(TimeDelta::minutes(15));
        stage.run_jobs().await;
        assert_eq!(stage.reports_asked(), asked + more);
    }
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_failure_is_told_and_a_person_who_asks_is_answered_each_time() {
    let (stage, _, dataset) = one_dataset().await;
    let cursor = stage.admin.event_cursor().await;
    stage.only_reports(Fault::ServerError);
    stage.admin.refreshes(&dataset).await;
    stage.admin.refreshes(&dataset).await;
    stage.only_reports(Fault::Garbage);
    stage.after_ticks(4).await;
    let heard = stage.admin.hears(&cursor, 3).await;
    assert_eq!(each(&heard, "kind"), ["FAILED", "FAILED", "FAILED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_says_when_to_come_back_is_not_asked_before() {
    let (stage, grant, dataset) = scheduled(600).await;
    stage.reports(Fault::RateLimited { retry_after: 300 }, 1);
    assert_eq!(stage.admin.refreshes(&dataset).await["status"], "FAILED");
    let asked = stage.reports_asked();
    stage.later(TimeDelta::seconds(280));
    stage.run_jobs().await;
    let error = stage.admin.refused("refreshDataset", json!({ "datasetId": dataset })).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("PROVIDER_UNAVAILABLE"), &json!(["datasetId"])), "{error}");
    assert_eq!(stage.reports_asked(), asked, "neither by the clock nor for a person");
    stage.later(TimeDelta::seconds(30));
    stage.run_jobs().await;
    assert_eq!((stage.reports_asked(), &stage.dataset(&dataset).await["status"]), (asked + 1, &json!("FRESH")));
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_wants_no_wait_is_asked_a_tick_later_and_no_sooner() {
    let (stage, _, dataset) = scheduled(600).await;
    stage.only_reports(Fault::RateLimited { retry_after: 0 });
    assert_eq!(stage.admin.refreshes(&dataset).await["status"], "FAILED");
    let asked = stage.reports_asked();
    for _ in 0..3 {
        stage.run_jobs().await;
    }
    assert_eq!(stage.reports_asked(), asked);
    stage.after_ticks(1).await;
    assert_eq!(stage.reports_asked(), asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_was_cut_off_leaves_the_old_rows_and_runs_again() {
    let (stage, _, dataset) = scheduled(600).await;
    let rows = stage.admin.rows(&dataset).await;
    let cursor = stage.admin.event_cursor().await;
    stage.reports(Fault::ServerError, 1);
    let mut reading = stage.holds(REPORT);
    let (admin, id) = (stage.admin.clone(), dataset.clone());
    let cut_off =
        tokio::spawn(async move { admin.tries_mutation("refreshDataset", json!({ "datasetId": id }), "").await });
    reading.arrived().await;
    cut_off.abort();
    assert!(cut_off.await.unwrap_err().is_cancelled());
    reading.goes_on();
    // Whoever asked has hung up; it goes on to its end.
    let mut socket = stage.admin.socket().await;
    let query = "subscription($after: String) { datasetsChanged(after: $after) { kind } }";
    socket.subscribe("1", query, json!({ "after": cursor })).await;
    let Frame::Message(first) = socket.next().await else { panic!("nothing came") };
    assert_eq!(first["payload"]["data"]["datasetsChanged"]["kind"], "FAILED");
    assert_eq!(stage.admin.rows(&dataset).await, rows);
    stage.after_ticks(2).await;
    assert_eq!(socket.event().await["datasetsChanged"]["kind"], "REFRESHED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_whose_worker_is_thought_dead_is_run_by_the_job_though_nothing_else_made_it_due() {
    let (stage, _, dataset) = one_dataset().await;
    let asked = stage.reports_asked();
    let mut reading = stage.holds(REPORT);
    let (admin, id) = (stage.admin.clone(), dataset.clone());
    let frozen = tokio::spawn(async move { admin.refreshes(&id).await });
    reading.arrived().await;
    let runs_out = entity::dataset::Entity::update_many()
        .col_expr(entity::dataset::Column::ClaimedUntil, Expr::value(DateTime::UNIX_EPOCH));
    runs_out.exec(stage.db.writer()).await.unwrap();
    stage.run_jobs().await;
    assert_eq!(stage.reports_asked(), asked + 2);
    let by_the_job = stage.dataset(&dataset).await;
    assert_eq!(by_the_job["status"], "FRESH");
    reading.goes_on();
    frozen.await.unwrap();
    assert_eq!(stage.dataset(&dataset).await, by_the_job);
}
