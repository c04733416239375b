//! Reconnecting onto an authorization that exists already, without a browser: the connection moves there.

use patchbay::sandbox::Ended;
use serde_json::{Value, json};

use crate::harness::{CONNECTION, Person, Stage};

fn ads(client: &str, account: &str) -> Value {
    json!({ "connector": "sandbox-ads", "clientId": client, "accountId": account })
}

fn id(node: &Value) -> &str {
    node["id"].as_str().unwrap()
}

async fn moves(person: &Person, connection: &Value, authorization: &Value) -> Value {
    let input = json!({ "connectionId": connection["id"], "authorizationId": authorization["id"] });
    let fields = format!(
        "attempt {{ id }} connections {{ {CONNECTION} }} authorization {{ id status }} disconnection {{ id endedBy reconnectedBy {{ id }} }}"
    );
    person.mutates("reconnect", input, &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_again_at_once_and_an_emptied_authorization_is_gone() {
    let stage = Stage::new().await;
    let bob = stage.person("Bob", "STAFF", None).await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let broken = stage.admin.connects(&stage.browser(), ads(&acme, "100-303"), "ada").await;
    let bens = stage.admin.connects(&stage.browser(), ads(&globex, "100-404"), "ben").await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let outage = stage.admin.connection(id(&broken)).await["disconnection"]["id"].clone();
    let cursor = bob.event_cursor().await;

    let done = moves(&bob, &broken, &bens["authorization"]).await;
    assert_eq!((&done["errors"], &done["attempt"]), (&json!([]), &Value::Null));
    assert_eq!(done["authorization"], json!({ "id": bens["authorization"]["id"], "status": "CONNECTED" }));
    let ended = json!({ "id": outage, "endedBy": "RECONNECTED", "reconnectedBy": { "id": bob.id } });
    assert_eq!(done["disconnection"], ended);
    let moved = &done["connections"][0];
    assert_eq!((&moved["id"], &moved["status"]), (&broken["id"], &json!("CONNECTED")));
    assert_eq!(moved["authorization"]["id"], bens["authorization"]["id"]);
    assert_eq!(moved["account"]["accountId"], "100-303");
    assert_eq!((&moved["createdBy"]["id"], &moved["sharedWith"]), (&json!(bob.id), &json!([{ "id": stage.admin.id }])));

    let changes = bob.changes_since(&cursor).await;
    assert_eq!((changes.len(), &changes[0]["kind"]), (1, &json!("RECONNECTED")));
    assert_eq!(changes[0]["connections"], json!([{ "id": broken["id"] }]));
    let untouched = stage.admin.connection(id(&bens)).await;
    assert_eq!((&untouched["createdBy"]["id"], &untouched["sharedWith"]), (&json!(stage.admin.id), &json!([])));

    let query = "query($id: ID!) { authorization(id: $id) { removedAt } authorizations { totalCount } }";
    let left = stage.admin.ask(query, json!({ "variables": { "id": broken["authorization"]["id"] } })).await;
    assert_ne!(left["authorization"]["removedAt"], Value::Null);
    assert_eq!(left["authorizations"]["totalCount"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_nothing_uses_after_the_move_is_given_back() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let first = stage.admin.connects(&stage.browser(), ads(&acme, "100-303"), "ada").await;
    let bens = stage.admin.connects(&stage.browser(), ads(&globex, "100-404"), "ben").await;
    let done = moves(&stage.admin, &first, &bens["authorization"]).await;
    assert_eq!(done["errors"], json!([]), "{done:#}");
    let ended: Vec<_> = stage.sandbox.grants().iter().map(|grant| grant.ended).collect();
    assert_eq!(ended, [Some(Ended::ByClient), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_of_its_authorization_stay_as_they_are() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let moving = stage.admin.connects(&stage.browser(), ads(&acme, "100-303"), "ada").await;
    let staying = stage.admin.connects(&stage.browser(), ads(&acme, "100-301"), "ada").await;
    let bens = stage.admin.connects(&stage.browser(), ads(&globex, "100-404"), "ben").await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    moves(&stage.admin, &moving, &bens["authorization"]).await;
    let left = stage.admin.connection(id(&staying)).await;
    assert_eq!((&left["status"], &left["disconnection"]["endedAt"]), (&json!("DISCONNECTED"), &Value::Null));
    assert_eq!(left["authorization"]["id"], moving["authorization"]["id"]);
    let moved = stage.admin.connection(id(&moving)).await;
    assert_eq!((&moved["status"], &moved["disconnection"]), (&json!("CONNECTED"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_that_does_not_reach_the_account_is_in_conflict_and_nothing_moves() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let adas = stage.admin.connects(&stage.browser(), ads(&acme, "100-301"), "ada").await;
    let bens = stage.admin.connects(&stage.browser(), ads(&acme, "100-404"), "ben").await;
    let before = stage.admin.connection(id(&adas)).await;
    let refused = moves(&stage.admin, &adas, &bens["authorization"]).await["errors"][0].clone();
    assert_eq!((&refused["code"], &refused["field"]), (&json!("CONFLICT"), &json!(["authorizationId"])));
    assert_eq!(refused["conflictsWith"]["id"], bens["authorization"]["id"]);
    assert_eq!(stage.admin.connection(id(&adas)).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_the_account_already_is_in_conflict_and_nothing_moves() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let analytics = json!({ "connector": "sandbox-analytics", "clientId": acme });
    let adas = stage.admin.connects(&stage.browser(), analytics.clone(), "ada").await;
    let bens = stage.admin.connects(&stage.browser(), analytics, "ben").await;
    let before = stage.admin.connection(id(&adas)).await;
    let refused = moves(&stage.admin, &adas, &bens["authorization"]).await["errors"][0].clone();
    assert_eq!((&refused["code"], &refused["conflictsWith"]["id"]), (&json!("CONFLICT"), &bens["id"]));
    assert_eq!(stage.admin.connection(id(&adas)).await, before);
    let seen = stage.admin.sees("{ authorizations { totalCount } }").await;
    assert_eq!(seen["authorizations"]["totalCount"], 2);
    assert!(stage.sandbox.grants().iter().all(|grant| grant.ended.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_that_does_not_serve_is_named() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let nina = stage.person("Nina", "MEMBER", None).await;
    let adas = stage.admin.connects(&stage.browser(), ads(&acme, "100-303"), "ada").await;
    let bens = stage.admin.connects(&stage.browser(), ads(&acme, "100-404"), "ben").await;
    let site = stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ben").await;
    let at = json!(["authorizationId"]);
    for (authorization, code) in [
        (&adas["authorization"], "INVALID"),
        (&site["authorization"], "INVALID"),
        (&json!({ "id": "nonsense" }), "NOT_FOUND"),
    ] {
        let error = moves(&stage.admin, &adas, authorization).await["errors"][0].clone();
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &at), "{authorization}");
    }
    for connection in [&adas, &bens] {
        let share = json!({ "connectionId": connection["id"], "userIds": [nina.id] });
        stage.admin.does("shareConnection", share, "").await;
    }
    let input = json!({ "connectionId": adas["id"], "authorizationId": bens["authorization"]["id"] });
    let answer = nina.tries_mutation("reconnect", input, "").await;
    assert_eq!(answer.code(), Some("FORBIDDEN"), "it was shared with her, and is not hers");

    stage.sandbox.revoke_person("ben");
    stage.after_a_probe_interval().await;
    let error = moves(&stage.admin, &adas, &bens["authorization"]).await["errors"][0].clone();
    assert_eq!((&error["code"], &error["conflictsWith"]["id"]), (&json!("CONFLICT"), &bens["authorization"]["id"]));
    assert_eq!(stage.admin.connection(id(&adas)).await["status"], "CONNECTED");
}
