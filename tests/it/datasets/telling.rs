//! What is told of datasets: to subscribers every change that they may see, in order, also later; to the audit log what
//! people did.

use patchbay::sandbox::Fault;
use serde_json::{Value, json};

use super::*;
use crate::{agency::Agency, harness::Frame};

const CHANGES: &str = "subscription($connection: ID, $after: String) \
     { datasetsChanged(connectionId: $connection, after: $after) { cursor at kind datasetId dataset { id name } } }";

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_happens_to_a_dataset_is_told_in_order_and_again_after_a_cursor() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let mut live = stage.admin.socket().await;
    live.subscribe("1", CHANGES, json!({})).await;
    let cursor = stage.admin.event_cursor().await;
    let dataset = stage.admin.makes_dataset(&grant.lamps, "report").await;
    let metric = stage.admin.makes_metric(&dataset, "COUNT", None).await;
    stage.admin.refreshes(&dataset).await;
    stage.reports(Fault::ServerError, 1);
    stage.admin.refreshes(&dataset).await;
    stage.admin.does("removeMetric", json!({ "metricId": metric }), "").await;
    stage.admin.edits_dataset(&dataset, json!({ "name": "Days" })).await;
    stage.admin.does("removeDataset", json!({ "datasetId": dataset }), "").await;

    let mut heard = Vec::new();
    for _ in 0..8 {
        heard.push(live.event().await["datasetsChanged"].clone());
    }
    let kinds = ["CREATED", "UPDATED", "REFRESHED", "FAILED", "UPDATED", "UPDATED", "REFRESHED", "REMOVED"];
    assert_eq!(each(&heard, "kind"), kinds);
    assert!(heard.iter().all(|change| change["datasetId"] == json!(dataset)));
    assert_eq!((&heard[7]["dataset"], live.is_quiet().await), (&Value::Null, true));

    let replayed = stage.admin.hears(&cursor, 8).await;
    assert_eq!((each(&replayed, "kind"), each(&replayed, "cursor")), (kinds.to_vec(), each(&heard, "cursor")));
    let middle = heard[3]["cursor"].as_str().unwrap();
    assert_eq!(each(&stage.admin.hears(middle, 4).await, "kind"), kinds[4..]);
    // Nor is a replay lost by a restart.
    let stage = stage.restarts().await;
    assert_eq!(stage.admin.hears_kinds(middle, 4).await, kinds[4..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_one_may_see_and_asks_for_is_told() {
    let agency = Agency::new().await;
    let mut sockets = Vec::new();
    for (who, connection) in [
        (&agency.member, Value::Null),
        (&agency.newcomer, Value::Null),
        (&agency.acme_login, Value::Null),
        (&agency.globex_login, Value::Null),
        (&agency.admin, json!(agency.globex_ads)),
        (&agency.admin, Value::Null),
    ] {
        let mut socket = who.socket().await;
        socket.subscribe("1", CHANGES, json!({ "connection": connection, "after": who.event_cursor().await })).await;
        sockets.push(socket);
    }
    let acme = agency.admin.makes_dataset(&agency.acme_ads, "report").await;
    let globex = agency.admin.makes_dataset(&agency.globex_ads, "report").await;
    let visits = agency.admin.makes_dataset(&agency.acme_visits, "visits").await;
    agency.shares(&agency.acme_ads, &agency.newcomer).await;
    agency.admin.edits_dataset(&acme, json!({ "name": "Days" })).await;
    let expected: [&[(&str, &String)]; 6] = [
        &[("CREATED", &visits)],
        &[("UPDATED", &acme), ("REFRESHED", &acme)],
        &[("CREATED", &acme), ("CREATED", &visits), ("UPDATED", &acme), ("REFRESHED", &acme)],
        &[("CREATED", &globex)],
        &[("CREATED", &globex)],
        &[("CREATED", &acme), ("CREATED", &globex), ("CREATED", &visits), ("UPDATED", &acme), ("REFRESHED", &acme)],
    ];
    for (place, (socket, expected)) in sockets.iter_mut().zip(expected).enumerate() {
        for (kind, dataset) in expected {
            let change = socket.event().await["datasetsChanged"].clone();
            assert_eq!((&change["kind"], &change["datasetId"]), (&json!(kind), &json!(dataset)), "{place}");
            assert_eq!(change["dataset"]["id"], json!(dataset));
        }
        assert!(socket.is_quiet().await, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_moves_is_gone_to_those_who_lose_sight_of_it_and_new_to_those_who_gain_it() {
    let agency = Agency::new().await;
    let dataset = agency.admin.makes_dataset(&agency.acme_ads, "report").await;
    let cursor = agency.admin.event_cursor().await;
    let (acme, globex) = (agency.acme_login.event_cursor().await, agency.globex_login.event_cursor().await);
    agency.admin.edits_dataset(&dataset, json!({ "connectionId": agency.globex_ads })).await;
    assert_eq!(agency.admin.hears_kinds(&cursor, 2).await, ["UPDATED", "REFRESHED"]);
    assert_eq!(agency.globex_login.hears_kinds(&globex, 2).await, ["CREATED", "REFRESHED"]);
    assert_eq!(agency.acme_login.hears_kinds(&acme, 1).await, ["REMOVED"]);
    assert_eq!(agency.acme_login.dataset(&dataset).await, Value::Null);
    // Nor do those who ask for one connection's hear of it but so.
    for (connection, kinds) in [
        (&agency.acme_ads, &["REMOVED"][..]),
        (&agency.globex_ads, &["CREATED", "REFRESHED"]),
        (&agency.acme_visits, &[]),
    ] {
        let mut socket = agency.admin.socket().await;
        socket.subscribe("1", CHANGES, json!({ "connection": connection, "after": cursor })).await;
        for kind in kinds {
            assert_eq!(socket.event().await["datasetsChanged"]["kind"], json!(kind));
        }
        assert!(socket.is_quiet().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_what_people_refresh_and_not_what_the_server_does() {
    let (stage, _, dataset) = one_dataset().await;
    stage.admin.edits_dataset(&dataset, json!({ "refreshEveryMinutes": 10 })).await;
    let refreshes = async || stage.admin.audited("dataset.refreshed").await.len();
    let asked_for = refreshes().await;
    assert_eq!(asked_for, 1, "that of the edit");
    let asked = stage.reports_asked();
    for _ in 0..3 {
        stage.later(chrono::TimeDelta::minutes(12));
        stage.run_jobs().await;
    }
    assert_eq!((stage.reports_asked(), refreshes().await), (asked + 3, 1));
    stage.only_reports(Fault::ServerError);
    stage.later(chrono::TimeDelta::minutes(12));
    stage.run_jobs().await;
    assert_eq!(
        (&stage.dataset(&dataset).await["status"], stage.admin.audited("dataset.failed").await.len()),
        (&json!("FAILED"), 0)
    );
    stage.admin.refreshes(&dataset).await;
    let failed = stage.admin.audited("dataset.failed").await;
    assert_eq!((failed.len(), &failed[0]["user"]["id"]), (1, &json!(stage.admin.id)));
    assert_eq!(failed[0]["subject"], json!({ "__typename": "Dataset", "id": dataset }));
    stage.sandbox.clear_faults();
    stage.admin.refreshes(&dataset).await;
    assert_eq!(refreshes().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_undone_at_its_source_is_told_as_it_comes() {
    // The same rows again are a refresh like any other.
    let (stage, _, dataset) = one_dataset().await;
    let mut socket = stage.admin.socket().await;
    socket.subscribe("1", CHANGES, json!({ "after": stage.admin.event_cursor().await })).await;
    for _ in 0..3 {
        stage.admin.refreshes(&dataset).await;
        let Frame::Message(message) = socket.next().await else { panic!("nothing came") };
        assert_eq!(message["payload"]["data"]["datasetsChanged"]["kind"], "REFRESHED");
    }
    assert!(socket.is_quiet().await);
}
