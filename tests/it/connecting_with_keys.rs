//! Plugging in, and reconnecting, with an API key: tried before it is stored, and one authorization for each
//! connection.

use entity::authorization;
use patchbay::sandbox::{Endpoint, Fault};
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};

use crate::harness::{CONNECTION, Person, Stage};

fn with_key(key: &str, client: Option<&str>) -> Value {
    let credentials = json!([{ "name": "api_key", "value": key }]);
    json!({ "connector": "sandbox-billing", "clientId": client, "using": { "credentials": credentials } })
}

/// The present value of one of the sandbox's keys.
fn key(stage: &Stage, id: &str) -> String {
    stage.sandbox.keys().iter().find(|key| key.id == id).unwrap().value.clone()
}

async fn connects(person: &Person, key: &str, client: Option<&str>) -> Value {
    let fields = format!("connection {{ {CONNECTION} }} attempt {{ id }}");
    person.does("connect", with_key(key, client), &fields).await["connection"].clone()
}

/// How many authorizations there ever were in the tables.
async fn stored(stage: &Stage) -> u64 {
    authorization::Entity::find().count(stage.db.reader()).await.unwrap()
}

async fn reconnect(person: &Person, connection: &Value, key: &str, change: &str) -> Value {
    let credentials = json!([{ "name": "api_key", "value": key }]);
    let input = json!({ "connectionId": connection["id"], "credentials": credentials, "accountChange": change });
    let fields = format!(
        "attempt {{ id }} connections {{ {CONNECTION} }} authorization {{ id }} disconnection {{ id endedBy }}"
    );
    person.mutates("reconnect", input, &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_works_connects_at_once() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let connection = connects(&stage.admin, &key(&stage, "lamps"), Some(&acme)).await;
    assert_eq!(connection["name"], "Sandbox Billing – Lindqvist Lamps");
    assert_eq!(
        (connection["status"].as_str(), connection["client"]["id"].as_str()),
        (Some("CONNECTED"), Some(acme.as_str()))
    );
    assert_eq!(connection["authorization"]["account"], json!({ "accountId": "lamps", "name": "Lindqvist Lamps" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_tried_before_it_is_stored() {
    let stage = Stage::new().await;
    let error = stage.admin.refused("connect", with_key("hunter2", None)).await;
    assert_eq!((error["code"].as_str(), &error["field"]), (Some("REJECTED"), &json!(["using", "credentials"])));
    assert!(!error.to_string().contains("hunter2"), "{error}");

    for fault in [Fault::ServerError, Fault::Garbage, Fault::RateLimited { retry_after: 7 }] {
        stage.sandbox.fail_next(Endpoint::Keyed, fault.clone(), 1);
        let error = stage.admin.refused("connect", with_key(&key(&stage, "lamps"), None)).await;
        assert_eq!(error["code"], "PROVIDER_UNAVAILABLE", "{fault:?}");
    }
    stage.sandbox.set_outage(true);
    let error = stage.admin.refused("connect", with_key(&key(&stage, "lamps"), None)).await;
    assert_eq!(error["code"], "PROVIDER_UNAVAILABLE");
    assert_eq!(stored(&stage).await, 0);
    assert_eq!(stage.admin.sees("{ connections { totalCount } }").await["connections"]["totalCount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_does_not_fit_is_named_and_nobody_is_asked() {
    let stage = Stage::new().await;
    let field = |name: &str, value: &str| json!({ "name": name, "value": value });
    let at = |index: Option<&str>| json!(["using", "credentials"].into_iter().chain(index).collect::<Vec<_>>());
    for (credentials, place) in [
        (json!([]), at(None)),
        (json!([field("api_key", "")]), at(Some("0"))),
        (json!([field("password", "hunter2")]), at(Some("0"))),
        (json!([field("api_key", "hunter2"), field("api_key", "hunter2")]), at(Some("1"))),
        (json!([field("api_key", "hunter2\0")]), at(Some("0"))),
    ] {
        let input = json!({ "connector": "sandbox-billing", "using": { "credentials": credentials } });
        let error = stage.admin.refused("connect", input).await;
        assert_eq!((error["code"].as_str(), &error["field"]), (Some("INVALID"), &place), "{error:#}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let in_browser = json!({ "connector": "sandbox-billing", "using": { "browser": {} } });
    let error = stage.admin.refused("connect", in_browser).await;
    assert_eq!((error["code"].as_str(), &error["field"]), (Some("INVALID"), &json!(["using", "browser"])));
    assert_eq!(stage.sandbox.calls(Endpoint::Keyed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connection_with_a_key_has_an_authorization_of_its_own() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let lamps = key(&stage, "lamps");
    let first = connects(&stage.admin, &lamps, Some(&acme)).await;
    let second = connects(&stage.admin, &lamps, Some(&globex)).await;
    assert_ne!(first["authorization"]["id"], second["authorization"]["id"]);

    let error = stage.admin.refused("connect", with_key(&lamps, Some(&acme))).await;
    assert_eq!((error["code"].as_str(), &error["conflictsWith"]["id"]), (Some("CONFLICT"), &first["id"]));
    assert_eq!(stored(&stage).await, 2, "nothing is left of what was refused");

    let through = json!({ "authorizationId": first["authorization"]["id"] });
    let error = stage.admin.refused("connect", json!({ "connector": "sandbox-billing", "using": through })).await;
    assert_eq!((error["code"].as_str(), &error["field"]), (Some("INVALID"), &json!(["using", "authorizationId"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_reconnects_in_place_and_that_connection_only() {
    let stage = Stage::new().await;
    let bob = stage.person("Bob", "STAFF", None).await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let lamps = key(&stage, "lamps");
    let first = connects(&stage.admin, &lamps, Some(&acme)).await;
    let second = connects(&stage.admin, &lamps, Some(&globex)).await;
    stage.sandbox.change_key("lamps").unwrap();
    stage.after_a_probe_interval().await;
    let broken = stage.admin.connection(first["id"].as_str().unwrap()).await;
    assert_eq!(
        (&broken["status"], &broken["disconnection"]["reason"]),
        (&json!("DISCONNECTED"), &json!("CREDENTIALS_REJECTED"))
    );

    let still = reconnect(&bob, &first, &lamps, "ASK").await;
    assert_eq!(
        (&still["errors"][0]["code"], &still["errors"][0]["field"]),
        (&json!("REJECTED"), &json!(["credentials"]))
    );
    assert_eq!(stage.admin.connection(first["id"].as_str().unwrap()).await["status"], "DISCONNECTED");

    let done = reconnect(&bob, &first, &key(&stage, "lamps"), "ASK").await;
    assert_eq!((&done["errors"], &done["attempt"]), (&json!([]), &Value::Null));
    assert_eq!(done["authorization"]["id"], first["authorization"]["id"]);
    assert_eq!(done["disconnection"], json!({ "id": broken["disconnection"]["id"], "endedBy": "RECONNECTED" }));
    let healed = &done["connections"][0];
    assert_eq!((&healed["id"], &healed["status"]), (&first["id"], &json!("CONNECTED")));
    assert_eq!(healed["createdBy"]["id"], bob.id);
    assert_eq!(healed["sharedWith"], json!([{ "id": stage.admin.id }]));
    assert_eq!(stage.admin.connection(second["id"].as_str().unwrap()).await["status"], "DISCONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_key_is_taken_only_where_that_is_meant() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let first = connects(&stage.admin, &key(&stage, "lamps"), Some(&acme)).await;
    for change in ["ASK", "REFUSE"] {
        let payload = reconnect(&stage.admin, &first, &key(&stage, "hotels"), change).await;
        assert_eq!(payload["errors"][0]["code"], "ACCOUNT_MISMATCH", "{change}");
    }
    let same = stage.admin.connection(first["id"].as_str().unwrap()).await;
    assert_eq!(same["authorization"]["account"]["accountId"], "lamps");

    let done = reconnect(&stage.admin, &first, &key(&stage, "hotels"), "THIS_CONNECTION").await;
    assert_eq!(done["errors"], json!([]), "{done:#}");
    assert_eq!(done["connections"][0]["authorization"]["account"]["accountId"], "hotels");

    // It goes by its new account from now on.
    let error = stage.admin.refused("connect", with_key(&key(&stage, "hotels"), Some(&acme))).await;
    assert_eq!((error["code"].as_str(), &error["conflictsWith"]["id"]), (Some("CONFLICT"), &first["id"]));
    let lamps = connects(&stage.admin, &key(&stage, "lamps"), Some(&acme)).await;
    let payload = reconnect(&stage.admin, &lamps, &key(&stage, "hotels"), "WHOLE_AUTHORIZATION").await;
    assert_eq!(payload["errors"][0]["code"], "CONFLICT", "{payload:#}");
    assert_eq!(payload["errors"][0]["conflictsWith"]["id"], first["id"]);
    let unmoved = stage.admin.connection(lamps["id"].as_str().unwrap()).await;
    assert_eq!(unmoved["authorization"]["account"]["accountId"], "lamps");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_reconnected_by_a_key_and_a_sign_in_by_a_sign_in() {
    let stage = Stage::new().await;
    let keyed = connects(&stage.admin, &key(&stage, "lamps"), None).await;
    let signed_in = stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await;
    let credentials = json!([{ "name": "api_key", "value": "hunter2" }]);
    for (connection, extra, at) in [
        (&keyed, json!({}), "credentials"),
        (&keyed, json!({ "authorizationId": signed_in["authorization"]["id"] }), "authorizationId"),
        (&signed_in, json!({ "credentials": credentials }), "credentials"),
    ] {
        let mut input = json!({ "connectionId": connection["id"] });
        input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let error = stage.admin.refused("reconnect", input).await;
        assert_eq!((error["code"].as_str(), &error["field"]), (Some("INVALID"), &json!([at])), "{error:#}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
