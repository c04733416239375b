//! Refusals: one says nothing yet, and one about what is no longer so says nothing at all.

use chrono::TimeDelta;
use patchbay::sandbox::{Endpoint, Fault};
use serde_json::json;

use crate::harness::{Stage, id};

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_sign_in_that_is_denied_once_is_not_lost_and_twice_in_a_row_is() {
    let stage = Stage::new().await;
    let (acme, globex) =
        (stage.admin.connects_site(&stage, "Acme").await, stage.admin.connects_site(&stage, "Globex").await);
    let statuses = async || (stage.status(&id(&acme)).await, stage.status(&id(&globex)).await);
    let works = || ("CONNECTED".to_owned(), "CONNECTED".to_owned());

    // Twice with one that works between is once, and once more.
    for round in 1..=2 {
        stage.sandbox.fail_next(Endpoint::Identity, Fault::Forbidden, 1);
        stage.after_a_probe_interval().await;
        assert_eq!(statuses().await, works(), "denied once, in round {round}");
        stage.after_ticks(2).await;
        assert_eq!(statuses().await, works());
    }
    assert_eq!(stage.disconnections().await.len(), 0);
    stage.sandbox.fail_next(Endpoint::Identity, Fault::Forbidden, 2);
    stage.after_a_probe_interval().await;
    assert_eq!(statuses().await, works());
    stage.after_ticks(1).await;
    assert_eq!(statuses().await, ("DISCONNECTED".to_owned(), "DISCONNECTED".to_owned()));
    let outages = stage.disconnections().await;
    assert_eq!((outages.len(), &outages[0]["reason"]), (1, &json!("ACCESS_LOST")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_what_was_reconnected_or_changed_meanwhile_is_dropped() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let site = id(&stage.admin.connects_site(&stage, "Initech").await);

    // A refusal of the sign-in's own probe, and of an account's, each while somebody signs in anew.
    for (connection, endpoint, path) in
        [(&site, Endpoint::Identity, "/userinfo"), (&grant.lamps, Endpoint::Account, "/accounts/100-301")]
    {
        stage.sandbox.fail_next(endpoint, Fault::Forbidden, 1);
        let mut probing = stage.holds(path);
        let input = json!({ "connectionId": connection });
        let checking = stage.begins("checkConnection", input, "connection { status }");
        probing.arrived().await;
        let (attempt, _) = stage.admin.reconnects(&stage.browser(), connection, "REFUSE", "ada").await;
        assert_eq!(attempt["status"], "SUCCEEDED");
        // Were the first taken for one of the new sign-in, this would be the second look.
        stage.sandbox.fail_next(endpoint, Fault::Forbidden, 1);
        probing.goes_on();
        let checked = checking.await.unwrap();
        stage.sandbox.clear_faults();
        assert_eq!(checked["connection"]["status"], "CONNECTED", "{path}: {checked:#}");
    }

    // A dataset's, twice, while its connection gets another account of the same sign-in.
    let dataset = stage.admin.makes_dataset(&grant.lamps, "report").await;
    stage.reports(Fault::Forbidden, 2);
    stage.holds("/accounts/100-301/report").goes_on();
    let mut reading = stage.holds("/accounts/100-301/report");
    let refreshing = stage.begins("refreshDataset", json!({ "datasetId": dataset }), "dataset { id }");
    reading.arrived().await;
    let input = json!({ "connectionId": grant.lamps, "accountId": "100-303" });
    stage.admin.does("updateConnection", input, "connection { id }").await;
    reading.goes_on();
    refreshing.await.unwrap();
    assert_eq!((stage.status(&grant.lamps).await.as_str(), stage.disconnections().await.len()), ("CONNECTED", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_an_access_token_that_ended_before_it_was_used_says_nothing_of_the_grant() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let dataset = stage.admin.makes_dataset(&grant.lamps, "report").await;
    let rounds = [
        ("checkConnection", json!({ "connectionId": grant.lamps }), "connection { status }"),
        ("refreshDataset", json!({ "datasetId": dataset }), "dataset { id }"),
    ];
    for (mutation, input, fields) in rounds {
        // The token is refused and renewed, and its hour passes before the answer is there.
        stage.sandbox.fail_next(Endpoint::Identity, Fault::Unauthorized, 1);
        stage.reports(Fault::Unauthorized, 1);
        let mut renewing = stage.holds("/token");
        let asking = stage.begins(mutation, input, fields);
        renewing.arrived().await;
        stage.later(TimeDelta::hours(2));
        renewing.goes_on();
        asking.await.unwrap();
        assert_eq!(stage.status(&grant.lamps).await, "CONNECTED", "{mutation}");
        stage.sandbox.clear_faults();
        stage.after_ticks(3).await;
    }
    assert_eq!(stage.disconnections().await.len(), 0);

    // Nothing is hidden so: a grant that did end is noticed by its next renewal.
    stage.sandbox.revoke_person("ada");
    stage.later(TimeDelta::hours(2));
    stage.run_jobs().await;
    assert_eq!(stage.status(&grant.lamps).await, "DISCONNECTED");
}
