//! A pipeline outside says that it was refused: `reportDisconnection`. It is looked at before it is believed.

use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use crate::harness::{CONNECTION, Person, Setup, Stage, each, id, ids_of};

/// Reports a connection with what `more` says beside that; the connection as it is then.
async fn reports(person: &Person, connection: &str, more: Value) -> Value {
    let fields = format!("connection {{ {CONNECTION} }}");
    let payload = person.does("reportDisconnection", input(connection, more), &fields).await;
    payload["connection"].clone()
}

/// A report of a connection, with what `more` says beside that.
fn input(connection: &str, more: Value) -> Value {
    let mut input = json!({ "connectionId": connection, "message": "401 at the nightly pull" });
    input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    input
}

/// The reports in the audit log, oldest first.
async fn logged(stage: &Stage) -> Vec<Value> {
    stage.admin_now().audited("connection.reported").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_what_works_is_not_believed_and_is_kept_in_the_audit_log() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let cursor = stage.admin.event_cursor().await;
    let asked = (stage.sandbox.calls(Endpoint::Identity), stage.sandbox.calls(Endpoint::Account));
    let seen = reports(&stage.admin, &grant.lamps, json!({ "reason": "REVOKED" })).await;
    assert_eq!((&seen["status"], &seen["disconnection"]), (&json!("CONNECTED"), &Value::Null));
    let now = (stage.sandbox.calls(Endpoint::Identity), stage.sandbox.calls(Endpoint::Account));
    assert_eq!(now, (asked.0 + 1, asked.1 + 1), "the authorization and the account were looked at");
    assert_eq!(stage.changes_since(&cursor).await, Vec::<Value>::new());
    assert_eq!(stage.admin.tray().await.len(), 0);

    let log = logged(&stage).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0]["subject"], json!({ "__typename": "Connection", "id": grant.lamps }));
    assert_eq!(log[0]["user"]["id"], *stage.admin.id);
    let details = json!({ "reason": "REVOKED", "message": "401 at the nightly pull", "believed": false });
    assert_eq!(log[0]["details"], details);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_what_is_broken_disconnects_all_that_share_it_for_the_reason_that_was_found() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.revoke_person("ada");
    let cursor = stage.admin.event_cursor().await;
    let seen = reports(&stage.admin, &grant.lamps, json!({ "reason": "ACCESS_LOST" })).await;
    assert_eq!((&seen["status"], &seen["authorization"]["status"]), (&json!("DISCONNECTED"), &json!("DISCONNECTED")));
    assert_eq!(
        (&seen["disconnection"]["reason"], &seen["disconnection"]["detectedBy"]),
        (&json!("REVOKED"), &json!("REPORT"))
    );
    assert_eq!(stage.status(&grant.hotels).await, "DISCONNECTED");
    let outages = stage.disconnections().await;
    assert_eq!(outages.len(), 1);
    assert_eq!(ids_of(&outages[0]["connections"]["nodes"]), [&*grant.lamps, &*grant.hotels]);
    let changes = stage.changes_since(&cursor).await;
    assert_eq!((each(&changes, "kind"), &changes[0]["connectionCount"]), (vec!["DISCONNECTED"], &json!(2)));
    assert_eq!(logged(&stage).await[0]["details"]["believed"], true);

    reports(&stage.admin, &grant.hotels, Value::Null).await;
    assert_eq!(stage.changes_since(&cursor).await.len(), 1, "it is told of once");
    assert_eq!(each(&stage.admin.tray().await, "kind"), ["DISCONNECTED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_refused_twice_is_lost_to_its_connection_alone() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.withdraw("100-301");
    let seen = reports(&stage.admin, &grant.lamps, Value::Null).await;
    assert_eq!((&seen["status"], &seen["authorization"]["status"]), (&json!("DISCONNECTED"), &json!("CONNECTED")));
    let outage = &seen["disconnection"];
    assert_eq!((&outage["reason"], &outage["detectedBy"]), (&json!("ACCESS_LOST"), &json!("REPORT")));
    assert_eq!(outage["connection"]["id"], *grant.lamps);
    assert_eq!(stage.status(&grant.hotels).await, "CONNECTED");
    assert_eq!(logged(&stage).await[0]["details"]["believed"], true);

    stage.sandbox.fail_next(Endpoint::Account, Fault::Forbidden, 1);
    let seen = reports(&stage.admin, &grant.hotels, Value::Null).await;
    assert_eq!(seen["status"], "CONNECTED", "refused once only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_bears_no_report_out() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    for fault in [Fault::ServerError, Fault::Garbage, Fault::QuotaExceeded] {
        stage.sandbox.fail_next(Endpoint::Identity, fault.clone(), 2);
        stage.sandbox.fail_next(Endpoint::Account, fault.clone(), 2);
        let seen = reports(&stage.admin, &grant.lamps, json!({ "reason": "REVOKED" })).await;
        assert_eq!(seen["status"], "CONNECTED", "{fault:?}");
        stage.sandbox.clear_faults();
    }
    let believed: Vec<Value> = logged(&stage).await.iter().map(|entry| entry["details"]["believed"].clone()).collect();
    assert_eq!(believed, [false, false, false]);
}

/// A connector of keys that nobody can look at: it has neither a probe nor an identity.
fn mute() -> Setup {
    let text = "slug = \"mute\"\nname = \"Mute\"\ncategory = \"test\"\nmode = \"warehouse\"\nrequirements = \"A key.\"\n\
                [[field]]\nname = \"api_key\"\nlabel = \"Key\"\nsecret = true\n\
                [auth]\nmethod = \"api_key\"\nplacement = \"bearer\"\n[api]\nbase_url = \"@BASE@/mute\"\n";
    Setup { connectors: vec![("mute.toml".to_owned(), text.to_owned())], ..Setup::default() }
}

fn credentials(key: &str) -> Value {
    json!([{ "name": "api_key", "value": key }])
}

/// A connection of the connector that nobody can look at.
async fn muted(stage: &Stage) -> String {
    let client = stage.admin.creates_client("Acme").await;
    let input = json!({ "connector": "mute", "clientId": client, "using": { "credentials": credentials("one") } });
    id(&stage.admin.does("connect", input, "connection { id }").await["connection"])
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_look_a_report_is_believed_as_it_comes_until_somebody_reconnects() {
    let stage = Stage::with(mute()).await;
    let connection = muted(&stage).await;
    let cursor = stage.admin.event_cursor().await;
    let seen = reports(&stage.admin, &connection, Value::Null).await;
    let outage = &seen["disconnection"];
    assert_eq!((&seen["status"], &outage["reason"]), (&json!("DISCONNECTED"), &json!("REPORTED")));
    assert_eq!(outage["detectedBy"], "REPORT");
    assert!(outage["message"].as_str().unwrap().contains("401 at the nightly pull"), "{outage:#}");
    assert_eq!(each(&stage.changes_since(&cursor).await, "kind"), ["DISCONNECTED"]);
    assert_eq!(stage.admin.titles().await, ["Mute disconnected for Acme."]);
    assert_eq!(logged(&stage).await[0]["details"]["believed"], true);

    stage.after_a_probe_interval().await;
    assert_eq!(stage.status(&connection).await, "DISCONNECTED", "nothing looks, so nothing recovers");
    let input = json!({ "connectionId": connection, "credentials": credentials("two") });
    stage.admin.does("reconnect", input, "connections { id }").await;
    assert_eq!(stage.status(&connection).await, "CONNECTED");
    assert_eq!(each(&stage.disconnections().await, "endedBy"), ["RECONNECTED"]);

    let seen = reports(&stage.admin, &connection, json!({ "reason": "CREDENTIALS_REJECTED" })).await;
    assert_eq!(seen["disconnection"]["reason"], "CREDENTIALS_REJECTED");
    assert_eq!(stage.disconnections().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_and_their_keys_report_and_nobody_else() {
    let stage = Stage::with(mute()).await;
    let grant = stage.shared_grant().await;
    let staff = stage.person("Sam", "STAFF", None).await;
    let member = stage.person("Mia", "MEMBER", None).await;
    let client = stage.person("Cleo", "CLIENT", Some(&grant.acme)).await;
    let input_of_share = json!({ "connectionId": grant.lamps, "userIds": [member.id] });
    stage.admin.does("shareConnection", input_of_share, "connection { id }").await;
    let (_, key) = stage.admin.makes_key(json!({ "name": "Pipeline", "role": "STAFF" })).await;
    let (_, reader) = stage.admin.makes_key(json!({ "name": "Reader", "role": "STAFF", "readOnly": true })).await;
    let asked = stage.sandbox.calls(Endpoint::Identity);
    for person in [&member, &client, &reader] {
        let answer =
            person.tries_mutation("reportDisconnection", input(&grant.lamps, Value::Null), "connection { id }");
        assert_eq!(answer.await.code(), Some("FORBIDDEN"));
    }
    assert_eq!((stage.sandbox.calls(Endpoint::Identity), logged(&stage).await.len()), (asked, 0));
    for person in [&stage.admin, &staff, &key] {
        assert_eq!(reports(person, &grant.lamps, Value::Null).await["status"], "CONNECTED");
    }
    assert_eq!(stage.sandbox.calls(Endpoint::Identity), asked + 3);
    assert_eq!(logged(&stage).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_one_line_of_at_most_five_hundred_characters() {
    let stage = Stage::with(mute()).await;
    let connection = muted(&stage).await;
    let before = stage.admin.event_cursor().await;
    for message in [String::new(), "x".repeat(501), "401\nUnauthorized".to_owned(), "401\r".to_owned()] {
        let error = stage.admin.refused("reportDisconnection", input(&connection, json!({ "message": message }))).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["message"])), "{message:?}");
    }
    assert_eq!(stage.admin.event_cursor().await, before);
    assert_eq!(stage.status(&connection).await, "CONNECTED");
    let seen = reports(&stage.admin, &connection, json!({ "message": "é".repeat(500) })).await;
    assert_eq!(seen["status"], "DISCONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_another_workspace_cannot_be_reported() {
    let stage = Stage::with(mute()).await;
    let connection = muted(&stage).await;
    let elsewhere = stage.stranger().await;
    for nothing in [connection.as_str(), "connection_01jd8q3v9zf4x8b7n2m6k5t0ce", &stage.admin.id] {
        let error = elsewhere.refused("reportDisconnection", input(nothing, Value::Null)).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("NOT_FOUND"), &json!(["connectionId"])), "{nothing}");
    }
    assert_eq!(stage.status(&connection).await, "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_asks_to_wait_neither_a_check_nor_a_report_asks_it() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    stage.sandbox.fail_next(Endpoint::Identity, Fault::RateLimited { retry_after: 600 }, 1);
    stage.after_a_probe_interval().await;
    stage.sandbox.revoke_person("ada");
    let asked = (stage.sandbox.calls(Endpoint::Identity), stage.sandbox.token_calls());
    let check = json!({ "connectionId": grant.lamps });
    for (mutation, input) in
        [("checkConnection", check.clone()), ("reportDisconnection", input(&grant.lamps, Value::Null))]
    {
        let error = stage.admin.refused(mutation, input).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("PROVIDER_UNAVAILABLE"), &json!(["connectionId"])));
        assert!(error["message"].as_str().unwrap().contains("seconds"), "{error}");
    }
    assert_eq!((stage.sandbox.calls(Endpoint::Identity), stage.sandbox.token_calls()), asked);
    assert_eq!((stage.status(&grant.lamps).await.as_str(), logged(&stage).await.len()), ("CONNECTED", 0));

    stage.later(chrono::TimeDelta::seconds(601));
    let seen = reports(&stage.admin, &grant.lamps, Value::Null).await;
    assert_eq!(seen["disconnection"]["reason"], "REVOKED");
}
