//! What stops working is noticed, once, and nothing is flagged that works.

use chrono::TimeDelta;
use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use crate::harness::{Stage, each, id, ids_of, nodes};

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_is_found_by_the_next_probe_and_is_one_disconnection_of_all_its_connections() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    assert_eq!(stage.sandbox.revoke_person("ada"), 1);
    stage.after_a_probe_interval().await;

    for connection in [&grant.lamps, &grant.hotels] {
        assert_eq!(stage.status(connection).await, "DISCONNECTED");
    }
    let outages = stage.disconnections().await;
    assert_eq!(outages.len(), 1, "{outages:#?}");
    let outage = &outages[0];
    assert_eq!((&outage["reason"], &outage["endedAt"]), (&json!("REVOKED"), &Value::Null));
    assert_eq!(outage["connection"], Value::Null, "it is the grant's, not one connection's");
    assert_eq!(ids_of(&outage["connections"]["nodes"]), [&*grant.lamps, &*grant.hotels]);
    assert_eq!(outage["reconnectConnectionId"], *grant.lamps);
    let lamps = stage.admin.connection(&grant.lamps).await;
    assert_eq!(lamps["disconnection"]["id"], outage["id"]);
    assert_eq!(lamps["authorization"]["status"], "DISCONNECTED");

    let changes = stage.changes_since(&cursor).await;
    assert_eq!(each(&changes, "kind"), ["DISCONNECTED"]);
    assert_eq!(changes[0]["connectionCount"], 2);
    assert_eq!(changes[0]["disconnection"]["id"], outage["id"]);
    assert_eq!(changes[0]["by"], Value::Null, "the server itself noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_and_admins_hear_of_every_disconnection_and_members_of_theirs() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let staff = stage.person("Sam", "STAFF", None).await;
    let shared = stage.person("Mia", "MEMBER", None).await;
    let unconcerned = stage.person("Max", "MEMBER", None).await;
    let client = stage.person("Cleo", "CLIENT", Some(&grant.acme)).await;
    let input = json!({ "connectionId": grant.lamps, "userIds": [shared.id] });
    stage.admin.does("shareConnection", input, "connection { id }").await;

    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let both = "Sandbox Ads disconnected for Acme and Globex.";
    assert_eq!(stage.admin.titles().await, [both]);
    assert_eq!(staff.titles().await, [both]);
    assert_eq!(shared.titles().await, ["Sandbox Ads disconnected for Acme."]);
    assert_eq!(unconcerned.titles().await, [""; 0]);
    assert_eq!(client.titles().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_lasts_is_told_once_and_looked_at_ever_more_rarely() {
    let stage = Stage::new().await;
    stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let calls = stage.sandbox.token_calls().refresh_token;
    for _ in 0..120 {
        stage.later(TimeDelta::minutes(10));
        stage.run_jobs().await;
    }
    assert_eq!(stage.disconnections().await.len(), 1);
    assert_eq!(stage.admin_now().tray().await.len(), 1);
    assert_eq!(stage.changes_since(&cursor).await.len(), 1);
    let query = "{ auditLog(filter: { action: \"connection.disconnected\" }) { totalCount } }";
    assert_eq!(stage.admin_now().sees(query).await["auditLog"]["totalCount"], 1);
    // In twenty hours: after 30 minutes, 1, 2 and 4 hours, and then every 6.
    let more = stage.sandbox.token_calls().refresh_token - calls;
    assert!((4..=8).contains(&more), "{more} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_disconnects_the_connection_that_uses_it_and_no_other() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let (lamps, hotels) = (stage.keyed("lamps", &acme).await, stage.keyed("hotels", &acme).await);
    stage.sandbox.change_key("lamps").unwrap();
    stage.after_a_probe_interval().await;

    assert_eq!(stage.status(&hotels).await, "CONNECTED");
    let connection = stage.admin.connection(&lamps).await;
    assert_eq!(connection["status"], "DISCONNECTED");
    assert_eq!(connection["disconnection"]["reason"], "CREDENTIALS_REJECTED");
    assert_eq!(connection["disconnection"]["detectedBy"], "PROBE");
    assert_eq!(stage.disconnections().await.len(), 1);
}

/// Lets a day pass, so that accounts are looked at, with a round of jobs at its end.
async fn after_a_day(stage: &Stage) {
    stage.later(TimeDelta::hours(27));
    stage.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_account_is_lost_to_its_own_connection_at_the_second_look() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    stage.sandbox.withdraw("100-301");
    after_a_day(&stage).await;
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED", "refused once only");

    stage.later(TimeDelta::seconds(6));
    stage.run_jobs().await;
    let lost = stage.admin_now().connection(&grant.lamps).await;
    assert_eq!(lost["status"], "DISCONNECTED");
    assert_eq!(lost["disconnection"]["reason"], "ACCESS_LOST");
    assert_eq!(lost["disconnection"]["connection"]["id"], *grant.lamps);
    assert_eq!(lost["authorization"]["status"], "CONNECTED");
    assert_eq!(stage.status(&grant.hotels).await, "CONNECTED");
    assert_eq!(stage.admin_now().titles().await, ["Sandbox Ads disconnected for Acme."]);
    let changes = stage.changes_since(&cursor).await;
    assert_eq!(each(&changes, "kind"), ["DISCONNECTED"]);
    assert_eq!(ids_of(&changes[0]["connections"]), [&*grant.lamps]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_once_and_works_at_the_second_look_was_never_lost() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Account, Fault::Forbidden, 1);
    after_a_day(&stage).await;
    for _ in 0..3 {
        stage.later(TimeDelta::seconds(6));
        stage.run_jobs().await;
    }
    assert_eq!(stage.sandbox.calls(Endpoint::Account), 3, "one of the two was looked at twice");
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
    assert_eq!(stage.disconnections().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_asks_to_wait_about_one_account_is_asked_about_none() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Account, Fault::RateLimited { retry_after: 2 * 3600 }, 1);
    after_a_day(&stage).await;
    let asked = stage.sandbox.calls(Endpoint::Identity);
    for _ in 0..6 {
        stage.after_a_probe_interval().await;
    }
    assert_eq!((stage.sandbox.calls(Endpoint::Account), stage.sandbox.calls(Endpoint::Identity)), (1, asked));
    stage.later(TimeDelta::minutes(30));
    stage.run_jobs().await;
    assert_eq!((stage.sandbox.calls(Endpoint::Account), stage.sandbox.calls(Endpoint::Identity)), (3, asked + 1));
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_theirs_is_no_first_look_at_a_refusal() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Identity, Fault::ServerError, 1);
    stage.sandbox.fail_next(Endpoint::Identity, Fault::Forbidden, 1);
    stage.after_a_probe_interval().await;
    stage.later(TimeDelta::seconds(12));
    stage.run_jobs().await;
    assert_eq!(stage.status(&grant.lamps).await, "CONNECTED", "refused once only");
    stage.after_a_probe_interval().await;
    assert_eq!(stage.disconnections().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_asked_for_by_a_person_looks_twice_at_once() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.withdraw("100-301");
    let input = json!({ "connectionId": grant.lamps });
    let checked = stage.admin.does("checkConnection", input, "connection { status disconnection { reason } }").await;
    assert_eq!(checked["connection"]["status"], "DISCONNECTED");
    assert_eq!(checked["connection"]["disconnection"]["reason"], "ACCESS_LOST");
    assert_eq!(stage.status(&grant.hotels).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_given_back_recovers_by_itself_and_its_people_are_told() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.withdraw("100-301");
    after_a_day(&stage).await;
    stage.later(TimeDelta::seconds(6));
    stage.run_jobs().await;
    let cursor = stage.admin_now().event_cursor().await;
    stage.sandbox.give_back("100-301");
    stage.later(TimeDelta::minutes(31));
    stage.run_jobs().await;

    let back = stage.admin_now().connection(&grant.lamps).await;
    assert_eq!((&back["status"], &back["disconnection"]), (&json!("CONNECTED"), &Value::Null));
    assert_eq!(back["createdBy"]["id"], *stage.admin.id, "recovering moves nothing");
    let outages = stage.disconnections().await;
    assert_eq!(each(&outages, "endedBy"), ["RECOVERED"]);
    assert_eq!(outages[0]["reconnectConnectionId"], Value::Null);
    let tray = stage.admin_now().tray().await;
    assert_eq!(each(&tray, "kind"), ["RECOVERED", "DISCONNECTED"]);
    assert_eq!(tray[0]["title"], "Sandbox Ads works again for Acme.", "Globex never stopped");
    let changes = stage.changes_since(&cursor).await;
    assert_eq!(each(&changes, "kind"), ["RECONNECTED"]);
    assert_eq!(changes[0]["by"], Value::Null);
    assert_eq!(ids_of(&changes[0]["connections"]), [&*grant.lamps]);
}

/// Has the ADMIN check a connection now; its status then.
async fn checked(stage: &Stage, connection: &str) -> String {
    let input = json!({ "connectionId": connection });
    let checked = stage.admin_now().does("checkConnection", input, "connection { status }").await;
    checked["connection"]["status"].as_str().unwrap().to_owned()
}

/// Breaks `connection` for a moment with `break_it`, and lets it recover by itself.
async fn breaks_and_recovers(stage: &Stage, connection: &str, break_it: impl Fn()) {
    break_it();
    assert_eq!(checked(stage, connection).await, "DISCONNECTED");
    assert_eq!(checked(stage, connection).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_again_within_ten_minutes_is_the_same_disconnection() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let keyed = stage.keyed("lamps", &acme).await;
    let refuse = || stage.sandbox.fail_next(Endpoint::Keyed, Fault::Unauthorized, 1);
    breaks_and_recovers(&stage, &keyed, refuse).await;
    let cursor = stage.admin.event_cursor().await;
    let first = id(&stage.disconnections().await[0]);

    stage.later(TimeDelta::minutes(9));
    refuse();
    assert_eq!(checked(&stage, &keyed).await, "DISCONNECTED");
    let again = stage.disconnections().await;
    assert_eq!((again.len(), id(&again[0])), (1, first.clone()));
    assert_eq!((&again[0]["endedAt"], &again[0]["endedBy"]), (&Value::Null, &Value::Null));
    assert_eq!(each(&stage.changes_since(&cursor).await, "kind"), ["DISCONNECTED"]);
    assert_eq!(each(&stage.admin.tray().await, "kind"), ["DISCONNECTED"], "nobody is told again, and nothing false");

    assert_eq!(checked(&stage, &keyed).await, "CONNECTED");
    stage.later(TimeDelta::minutes(11));
    refuse();
    assert_eq!(checked(&stage, &keyed).await, "DISCONNECTED");
    assert_eq!(stage.disconnections().await.len(), 2, "after ten minutes it is another one");
    assert_eq!(stage.admin.tray().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_renewed_when_it_recovered_flaps_like_any_other() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let refuse = || {
        stage.sandbox.fail_next(Endpoint::Identity, Fault::Unauthorized, 1);
        stage.sandbox.fail_next(Endpoint::Token, Fault::OAuthError("invalid_grant"), 1);
    };
    breaks_and_recovers(&stage, &grant.lamps, refuse).await;
    refuse();
    assert_eq!(checked(&stage, &grant.lamps).await, "DISCONNECTED");
    assert_eq!(stage.disconnections().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_reconnected_has_ended_for_good() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let keyed = stage.keyed("lamps", &acme).await;
    stage.sandbox.change_key("lamps").unwrap();
    assert_eq!(checked(&stage, &keyed).await, "DISCONNECTED");
    let input = json!({ "connectionId": keyed, "credentials": stage.key("lamps") });
    stage.admin.does("reconnect", input, "connections { id }").await;
    assert_eq!(stage.status(&keyed).await, "CONNECTED");
    stage.sandbox.change_key("lamps").unwrap();
    assert_eq!(checked(&stage, &keyed).await, "DISCONNECTED");
    let outages = stage.disconnections().await;
    assert_eq!(each(&outages, "endedBy"), ["", "RECONNECTED"]);
    assert_eq!(each(&stage.admin.tray().await, "kind"), ["DISCONNECTED", "DISCONNECTED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn last_checked_moves_with_every_look_without_an_entry_in_the_journal() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let query = format!("{{ eventCursor connection(id: \"{}\") {{ lastCheckedAt }} }}", grant.lamps);
    let before = stage.admin.sees(&query).await;
    stage.after_a_probe_interval().await;
    let after = stage.admin.sees(&query).await;
    assert!(after["connection"]["lastCheckedAt"].as_str() > before["connection"]["lastCheckedAt"].as_str());
    assert_eq!(after["eventCursor"], before["eventCursor"]);
    let counts = stage.admin.sees("{ disconnections { totalCount nodes { id } } }").await;
    assert_eq!((counts["disconnections"]["totalCount"].as_i64(), nodes(&counts["disconnections"]).len()), (Some(0), 0));
}
