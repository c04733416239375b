//! What a dataset found, a dataset ends: no probe, which may ask for less, takes it back while the dataset waits. And
//! whoever reconnects has nothing else to do.

use chrono::TimeDelta;
use patchbay::{
    ids::{self, Kind},
    sandbox::Fault,
};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use super::*;

/// A day passes, half an hour at a time.
async fn a_day_passes(stage: &Stage) {
    for _ in 0..48 {
        stage.later(TimeDelta::minutes(30));
        stage.run_jobs().await;
    }
}

/// How the one outage ended.
async fn ended_by(stage: &Stage) -> Value {
    let disconnections = stage.disconnections().await;
    assert_eq!(disconnections.len(), 1, "{disconnections:#?}");
    disconnections[0]["endedBy"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_works_does_not_end_what_a_dataset_found_and_a_later_read_does() {
    for (fault, reason) in [(Fault::Unauthorized, "REVOKED"), (Fault::Forbidden, "ACCESS_LOST")] {
        let (stage, grant, dataset) = one_dataset().await;
        let cursor = stage.admin.event_cursor().await;
        stage.only_reports(fault);
        stage.admin.refreshes(&dataset).await;
        assert_eq!(stage.admin.connection(&grant.lamps).await["disconnection"]["reason"], reason);
        a_day_passes(&stage).await;
        stage.admin_now().mutates("checkConnection", json!({ "connectionId": grant.lamps }), "").await;
        assert_eq!(stage.status(&grant.lamps).await, "DISCONNECTED", "{reason}: every probe has worked");
        assert_eq!(each(&stage.changes_since(&cursor).await, "kind"), ["DISCONNECTED"], "nothing flaps");
        assert_eq!(stage.admin_now().tray().await.len(), 1);
        let failed = stage.dataset(&dataset).await;
        assert_eq!((&failed["status"], &failed["error"]["needsReconnect"]), (&json!("FAILED"), &json!(true)));

        stage.sandbox.clear_faults();
        a_day_passes(&stage).await;
        assert_eq!(
            (stage.status(&grant.lamps).await.as_str(), ended_by(&stage).await),
            ("CONNECTED", json!("RECOVERED"))
        );
        let again = stage.dataset(&dataset).await;
        assert_eq!((&again["status"], &again["error"]), (&json!("FRESH"), &Value::Null), "{reason}");
        assert_eq!(each(&stage.changes_since(&cursor).await, "kind"), ["DISCONNECTED", "RECONNECTED"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_refreshes_need_not_wait_for_that() {
    let (stage, grant, dataset) = one_dataset().await;
    stage.reports(Fault::Unauthorized, 3);
    stage.admin.refreshes(&dataset).await;
    assert_eq!(stage.status(&grant.hotels).await, "DISCONNECTED");
    assert_eq!(stage.admin.refreshes(&dataset).await["status"], "FRESH");
    assert_eq!(
        (stage.status(&grant.lamps).await.as_str(), stage.status(&grant.hotels).await.as_str()),
        ("CONNECTED", "CONNECTED")
    );
    assert_eq!(ended_by(&stage).await, "RECOVERED");
}

#[tokio::test(flavor = "multi_thread")]
async fn once_the_dataset_is_gone_the_probe_has_the_word_again() {
    for fault in [Fault::Unauthorized, Fault::Forbidden] {
        let (stage, grant, dataset) = one_dataset().await;
        stage.only_reports(fault);
        stage.admin.refreshes(&dataset).await;
        stage.admin.does("removeDataset", json!({ "datasetId": dataset }), "").await;
        a_day_passes(&stage).await;
        a_day_passes(&stage).await;
        assert_eq!(
            (stage.status(&grant.lamps).await.as_str(), ended_by(&stage).await),
            ("CONNECTED", json!("RECOVERED"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_reconnecting_every_dataset_that_waited_is_refreshed_by_itself() {
    let (stage, grant, lamps) = one_dataset().await;
    let hotels = stage.admin.makes_dataset(&grant.hotels, "report").await;
    let metric = stage.admin.makes_metric(&hotels, "COUNT", None).await;
    stage.sandbox.revoke_person("ada");
    stage.admin.refreshes(&lamps).await;
    stage.admin.refreshes(&hotels).await;
    assert_eq!(stage.admin.metric(&metric).await["error"]["connection"]["id"], json!(grant.hotels));
    let asked = stage.reports_asked();
    stage.after_ticks(3).await;
    assert_eq!(stage.reports_asked(), asked, "nobody asks with a grant that is gone");

    let cursor = stage.admin.event_cursor().await;
    let (attempt, _) = stage.admin.reconnects(&stage.browser(), &grant.lamps, "REFUSE", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    stage.run_jobs().await;
    for dataset in [&lamps, &hotels] {
        let again = stage.dataset(dataset).await;
        assert_eq!((&again["status"], &again["error"]), (&json!("FRESH"), &Value::Null));
    }
    assert_eq!(stage.admin.metric(&metric).await["error"], Value::Null);
    assert_eq!(stage.admin.hears_kinds(&cursor, 2).await, ["REFRESHED", "REFRESHED"]);
    assert_eq!(ended_by(&stage).await, "RECONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnecting_ends_what_a_dataset_found_and_nothing_reopens_it() {
    for (fault, reason) in [(Fault::Unauthorized, "REVOKED"), (Fault::Forbidden, "ACCESS_LOST")] {
        let (stage, grant, dataset) = one_dataset().await;
        stage.only_reports(fault);
        stage.admin.refreshes(&dataset).await;
        assert_eq!(stage.admin.connection(&grant.lamps).await["disconnection"]["reason"], reason);
        stage.sandbox.clear_faults();
        let (attempt, _) = stage.admin.reconnects(&stage.browser(), &grant.lamps, "REFUSE", "ada").await;
        assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
        assert_eq!(
            (stage.status(&grant.lamps).await.as_str(), ended_by(&stage).await),
            ("CONNECTED", json!("RECONNECTED"))
        );
        stage.run_jobs().await;
        let again = stage.dataset(&dataset).await;
        assert_eq!((&again["status"], &again["error"]), (&json!("FRESH"), &Value::Null), "{reason}");
        a_day_passes(&stage).await;
        assert_eq!(stage.disconnections().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_denies_again_after_reconnecting_is_a_new_outage_and_says_so_once() {
    let (stage, grant, dataset) = one_dataset().await;
    let cursor = stage.admin.event_cursor().await;
    stage.only_reports(Fault::Unauthorized);
    stage.admin.refreshes(&dataset).await;
    let (attempt, _) = stage.admin.reconnects(&stage.browser(), &grant.lamps, "REFUSE", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
    stage.run_jobs().await;
    a_day_passes(&stage).await;
    assert_eq!(stage.status(&grant.lamps).await, "DISCONNECTED");
    assert_eq!(each(&stage.changes_since(&cursor).await, "kind"), ["DISCONNECTED", "RECONNECTED", "DISCONNECTED"]);
    assert_eq!((stage.disconnections().await.len(), stage.admin_now().tray().await.len()), (2, 2));
    assert_eq!(stage.dataset(&dataset).await["error"]["needsReconnect"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_still_fails_after_reconnecting_says_why() {
    let (stage, grant, dataset) = one_dataset().await;
    let metric = stage.admin.makes_metric(&dataset, "SUM", Some("clicks")).await;
    stage.sandbox.revoke_person("ada");
    stage.admin.refreshes(&dataset).await;
    stage.reports(crate::harness::report(r#"[{"day": 1}]"#), 1);
    let (attempt, _) = stage.admin.reconnects(&stage.browser(), &grant.lamps, "REFUSE", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED");
    stage.run_jobs().await;
    let metric = stage.admin.metric(&metric).await;
    assert_eq!(metric["error"]["message"], "The dataset has no such column any more.");
    assert_eq!((&metric["error"]["connection"], &metric["error"]["dataset"]["id"]), (&Value::Null, &json!(dataset)));
    assert!(metric["exactValue"].is_string(), "the last value stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_probe_found_ends_by_a_probe_and_the_datasets_follow() {
    let (stage, grant, dataset) = one_dataset().await;
    let asked = stage.reports_asked();
    stage.sandbox.fail_next(patchbay::sandbox::Endpoint::Identity, Fault::Unauthorized, 3);
    stage.after_a_probe_interval().await;
    assert_eq!(stage.status(&grant.lamps).await, "DISCONNECTED");
    let refreshed = stage.admin_now().refreshes(&dataset).await;
    assert_eq!((&refreshed["status"], &refreshed["error"]["needsReconnect"]), (&json!("FAILED"), &json!(true)));
    assert_eq!(stage.reports_asked(), asked, "what is disconnected is not asked");
    stage.later(TimeDelta::minutes(34));
    stage.run_jobs().await;
    stage.after_ticks(1).await;
    assert_eq!((stage.status(&grant.lamps).await.as_str(), ended_by(&stage).await), ("CONNECTED", json!("RECOVERED")));
    assert_eq!(stage.dataset(&dataset).await["status"], "FRESH");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_connection_is_due_at_the_moment_at_which_that_recovers() {
    let (stage, grant, dataset) = one_dataset().await;
    let check = async || {
        let input = json!({ "connectionId": grant.lamps });
        stage.admin.does("checkConnection", input, "connection { status }").await;
        stage.status(&grant.lamps).await
    };
    stage.sandbox.fail_next(Endpoint::Identity, Fault::Unauthorized, 3);
    assert_eq!(check().await, "DISCONNECTED");
    let refreshed = stage.admin.refreshes(&dataset).await;
    assert_eq!(refreshed["error"]["needsReconnect"], true, "{refreshed:#}");
    let is_due = async || {
        let id = ids::decode(Kind::Dataset, &dataset).unwrap();
        let row = entity::dataset::Entity::find_by_id(id).one(stage.db.reader()).await.unwrap().unwrap();
        row.refresh_at.is_some()
    };
    assert!(!is_due().await, "it waits");
    assert_eq!(check().await, "CONNECTED");
    // No job has come by, which would find that it waits in vain.
    assert!(is_due().await);
}
