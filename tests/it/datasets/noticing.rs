//! A refusal while real data is read is how most outages are found. It goes the way of a probe's, and flags nobody for
//! what only a query did.

use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use super::*;
use crate::harness::id;

/// Reason and detector of the outage that a connection is in.
async fn outage(stage: &Stage, connection: &str) -> (String, String) {
    let seen = stage.admin_now().connection(connection).await;
    let text = |field: &str| seen["disconnection"][field].as_str().unwrap_or_else(|| panic!("{seen:#}")).to_owned();
    assert_eq!(seen["status"], "DISCONNECTED");
    (text("reason"), text("detectedBy"))
}

fn found(reason: &str) -> (String, String) {
    (reason.to_owned(), "DATASET_REFRESH".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_renewed_and_the_rows_come() {
    let (stage, grant, dataset) = one_dataset().await;
    let renewals = stage.sandbox.token_calls().refresh_token;
    stage.sandbox.expire_access_tokens();
    let refreshed = stage.admin.refreshes(&dataset).await;
    assert_eq!((&refreshed["status"], &refreshed["rowCount"]), (&json!("FRESH"), &json!(28)));
    assert_eq!(stage.sandbox.token_calls().refresh_token, renewals + 1);
    assert_eq!((stage.status(&grant.lamps).await.as_str(), stage.disconnections().await.len()), ("CONNECTED", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn datasets_that_are_refused_at_once_renew_once() {
    let (stage, grant, dataset) = one_dataset().await;
    let other = stage.admin.makes_dataset(&grant.hotels, "report").await;
    let renewals = stage.sandbox.token_calls().refresh_token;
    stage.sandbox.expire_access_tokens();
    let both = tokio::join!(stage.admin.refreshes(&dataset), stage.admin.refreshes(&other));
    assert_eq!((&both.0["status"], &both.1["status"]), (&json!("FRESH"), &json!("FRESH")));
    assert_eq!(stage.sandbox.token_calls().refresh_token, renewals + 1);
    assert_eq!(stage.sandbox.grants()[0].ended, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_with_a_fresh_token_is_disconnected_for_every_client() {
    let (stage, grant, dataset) = one_dataset().await;
    let staff = stage.person("Stella", "STAFF", None).await;
    let cursor = stage.admin.event_cursor().await;
    stage.reports(Fault::Unauthorized, 3);
    let refreshed = stage.admin.refreshes(&dataset).await;
    assert_eq!((&refreshed["status"], &refreshed["error"]["needsReconnect"]), (&json!("FAILED"), &json!(true)));
    assert_eq!(
        (outage(&stage, &grant.lamps).await, outage(&stage, &grant.hotels).await),
        (found("REVOKED"), found("REVOKED"))
    );
    let disconnections = stage.disconnections().await;
    assert_eq!(disconnections.len(), 1);
    assert_eq!(disconnections[0]["message"], json!(message(&refreshed)), "both say the same");
    for person in [&stage.admin, &staff] {
        assert_eq!(each(&person.tray().await, "kind"), ["DISCONNECTED"]);
    }
    assert_eq!(each(&stage.changes_since(&cursor).await, "kind"), ["DISCONNECTED"]);
    assert_eq!(stage.admin.hears_kinds(&cursor, 1).await, ["FAILED"]);
    assert_eq!(refreshed["rowCount"], 28);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_gone_is_found_by_the_renewal_that_a_dataset_needs() {
    let (stage, grant, dataset) = one_dataset().await;
    stage.sandbox.revoke_person("ada");
    let refreshed = stage.admin.refreshes(&dataset).await;
    assert_eq!(refreshed["error"]["needsReconnect"], true);
    assert_eq!(outage(&stage, &grant.hotels).await, found("REVOKED"));
    assert_eq!(stage.disconnections().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_twice_is_lost_to_its_own_connection() {
    let (stage, grant, dataset) = one_dataset().await;
    stage.admin.edits_dataset(&dataset, json!({ "refreshEveryMinutes": 60 })).await;
    let asked = stage.reports_asked();
    stage.only_reports(Fault::Forbidden);
    stage.later(chrono::TimeDelta::minutes(67));
    stage.run_jobs().await;
    assert_eq!(stage.reports_asked(), asked + 2, "it was looked at twice");
    assert_eq!(outage(&stage, &grant.lamps).await, found("ACCESS_LOST"));
    let lost = stage.admin_now().connection(&grant.lamps).await;
    assert_eq!(
        (stage.status(&grant.hotels).await.as_str(), &lost["authorization"]["status"]),
        ("CONNECTED", &json!("CONNECTED"))
    );
    let dataset = stage.dataset(&dataset).await;
    assert_eq!((&dataset["status"], &dataset["error"]["needsReconnect"]), (&json!("FAILED"), &json!(true)));
    assert_eq!(lost["disconnection"]["message"], json!(message(&dataset)));
    assert_eq!(stage.disconnections().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_once_and_then_answered_says_nothing() {
    let (stage, grant, dataset) = one_dataset().await;
    stage.reports(Fault::Forbidden, 1);
    assert_eq!(stage.admin.refreshes(&dataset).await["status"], "FRESH");
    stage.admin.edits_dataset(&dataset, json!({ "refreshEveryMinutes": 30 })).await;
    let asked = stage.reports_asked();
    stage.reports(Fault::Forbidden, 1);
    stage.later(chrono::TimeDelta::minutes(34));
    stage.run_jobs().await;
    assert_eq!((stage.reports_asked(), &stage.dataset(&dataset).await["status"]), (asked + 2, &json!("FRESH")));
    assert_eq!((stage.status(&grant.lamps).await.as_str(), stage.disconnections().await.len()), ("CONNECTED", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_query_that_is_refused_flags_nobody_while_the_probe_works() {
    let (stage, grant, dataset) = one_dataset().await;
    for fault in [Fault::Forbidden, Fault::Unauthorized] {
        stage.only_reports(fault);
        let query = json!({ "http": { "path": "report", "parameters": { "of": "all" }, "rowsPointer": "/rows" } });
        let edited = stage.admin.edits_dataset(&dataset, json!({ "query": query })).await;
        assert_eq!((&edited["status"], &edited["error"]["needsReconnect"]), (&json!("FAILED"), &json!(false)));
        assert_eq!(message(&edited), "Sandbox Ads does not let this connection read that.");
        for _ in 0..3 {
            assert_eq!(stage.admin.refreshes(&dataset).await["status"], "FAILED");
        }
        assert_eq!((stage.status(&grant.lamps).await.as_str(), stage.disconnections().await.len()), ("CONNECTED", 0));
    }
    // The probe is refused as well: then it is the connection.
    stage.sandbox.revoke_person("ada");
    assert_eq!(stage.admin.refreshes(&dataset).await["error"]["needsReconnect"], true);
    assert_eq!(stage.status(&grant.lamps).await, "DISCONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_changed_is_found_by_the_first_read() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let (lamps, hotels) = (stage.keyed("lamps", &acme).await, stage.keyed("hotels", &acme).await);
    let dataset = stage.admin.makes_dataset(&lamps, "invoices").await;
    stage.sandbox.change_key("lamps");
    let refreshed = stage.admin.refreshes(&dataset).await;
    assert_eq!((&refreshed["status"], &refreshed["error"]["needsReconnect"]), (&json!("FAILED"), &json!(true)));
    assert_eq!(
        (outage(&stage, &lamps).await, stage.status(&hotels).await.as_str()),
        (found("CREDENTIALS_REJECTED"), "CONNECTED")
    );

    let input = json!({ "connectionId": lamps, "credentials": stage.key("lamps") });
    stage.admin.does("reconnect", input, "connections { id }").await;
    stage.run_jobs().await;
    let again = stage.dataset(&dataset).await;
    assert_eq!(
        (&again["status"], &again["error"], stage.status(&lamps).await.as_str()),
        (&json!("FRESH"), &Value::Null, "CONNECTED")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_fails_says_nothing_about_a_new_query() {
    let (stage, grant, dataset) = one_dataset().await;
    stage.only_reports(Fault::Forbidden);
    stage.sandbox.fail_next(Endpoint::Identity, Fault::ServerError, ALWAYS);
    stage.sandbox.fail_next(Endpoint::Account, Fault::ServerError, ALWAYS);
    let query = json!({ "http": { "path": "report", "parameters": { "of": "all" }, "rowsPointer": "/rows" } });
    let edited = stage.admin.edits_dataset(&dataset, json!({ "query": query })).await;
    assert_eq!((&edited["status"], &edited["error"]["needsReconnect"]), (&json!("FAILED"), &json!(false)));
    assert_eq!((stage.status(&grant.lamps).await.as_str(), stage.disconnections().await.len()), ("CONNECTED", 0));
    assert_eq!(id(&edited), dataset);
}
