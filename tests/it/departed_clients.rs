//! Removing a client: with its connections or not at all, and nobody sees anything through it afterwards.

use patchbay::sandbox::Ended;
use serde_json::{Value, json};

use crate::{
    agency::Agency,
    harness::{Person, Stage, each, nodes},
};

async fn removes(person: &Person, client: &str, with_connections: bool) -> Value {
    let input = json!({ "clientId": client, "removeConnections": with_connections });
    person.mutates("removeClient", input, "removedClientId").await
}

async fn code(person: &Person) -> Option<String> {
    person.tries("{ viewer { id } }", Value::Null).await.code().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_connections_is_removed_and_its_external_id_is_free() {
    let stage = Stage::new().await;
    let input = json!({ "name": "Acme", "externalId": "c-1" });
    let made = stage.admin.does("createClient", input.clone(), "client { id }").await["client"]["id"].clone();
    let removed = removes(&stage.admin, made.as_str().unwrap(), false).await;
    assert_eq!(removed, json!({ "removedClientId": made, "errors": [] }));
    let seen = "query($id: ID!) { client(id: $id) { id } node(id: $id) { id } clients { totalCount } }";
    let seen = stage.admin.ask(seen, json!({ "variables": { "id": made } })).await;
    assert_eq!(seen, json!({ "client": null, "node": null, "clients": { "totalCount": 0 } }));
    let again = removes(&stage.admin, made.as_str().unwrap(), false).await;
    assert_eq!(again["errors"][0]["code"], "NOT_FOUND");
    let another = stage.admin.does("createClient", input, "client { id }").await;
    assert_ne!(another["client"]["id"], made);
    let log = r#"{ auditLog(filter: { action: "client.removed" }) { nodes { details } } }"#;
    let log = nodes(&stage.admin.sees(log).await["auditLog"]);
    assert_eq!(log, [json!({ "details": { "before": { "name": "Acme", "externalId": "c-1" } } })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_connections_stays_unless_they_are_to_go_with_it() {
    let agency = Agency::new().await;
    let payload = removes(&agency.staff, &agency.acme, false).await;
    let error = &payload["errors"][0];
    assert_eq!((&error["code"], &error["field"]), (&json!("CONFLICT"), &json!(["clientId"])), "{payload:#}");
    let in_the_way = error["conflictsWith"]["id"].as_str().unwrap();
    assert!([&agency.acme_ads, &agency.acme_visits].contains(&&in_the_way.to_owned()));
    assert_eq!(code(&agency.acme_login).await, None, "nothing happened");

    agency.ben_leaves().await;
    let cursor = agency.admin.event_cursor().await;
    assert_eq!(removes(&agency.staff, &agency.acme, true).await["errors"], json!([]));
    let changes = agency.stage.changes_since(&cursor).await;
    assert_eq!(each(&changes, "kind"), ["REMOVED", "REMOVED"]);
    for connection in [&agency.acme_ads, &agency.acme_visits] {
        assert_ne!(agency.admin.connection(connection).await["removedAt"], Value::Null);
    }
    assert_eq!(agency.admin.connection(&agency.globex_ads).await["status"], "CONNECTED");
    let open = agency.admin.sees("{ disconnections(filter: { open: true }) { totalCount } }").await;
    assert_eq!(open["disconnections"]["totalCount"], 0);
    assert_eq!(agency.stage.disconnections().await[0]["endedBy"], "REMOVED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_goes_back_only_when_nobody_else_uses_it() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    let visits = json!({ "connector": "sandbox-analytics", "clientId": grant.acme });
    stage.admin.connects(&stage.browser(), visits, "ben").await;
    let ended = || stage.sandbox.grants().iter().map(|grant| grant.ended).collect::<Vec<_>>();
    assert_eq!(ended(), [None, None]);
    assert_eq!(removes(&stage.admin, &grant.acme, true).await["errors"], json!([]));
    assert_eq!(ended(), [None, Some(Ended::ByClient)], "Globex still uses the first");
    assert_eq!(removes(&stage.admin, &grant.globex, true).await["errors"], json!([]));
    assert!(ended().iter().all(Option::is_some));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_logins_and_keys_see_nothing_more_and_do_not_come_back() {
    let agency = Agency::new().await;
    let input = json!({ "name": "Theirs", "role": "CLIENT", "clientId": agency.acme });
    let (key, holder) = agency.admin.makes_key(input.clone()).await;
    let other = json!({ "name": "Globex", "role": "CLIENT", "clientId": agency.globex });
    let (_, other) = agency.admin.makes_key(other).await;
    assert_eq!((code(&agency.acme_login).await, code(&holder).await), (None, None));
    removes(&agency.admin, &agency.acme, true).await;
    for gone in [&agency.acme_login, &holder] {
        assert_eq!(code(gone).await.as_deref(), Some("UNAUTHENTICATED"));
    }
    for stays in [&agency.globex_login, &other] {
        assert_eq!(code(stays).await, None);
    }
    let log = "{ auditLog(first: 5) { nodes { action subject { id } user { id } } } }";
    let log = nodes(&agency.admin.sees(log).await["auditLog"]);
    assert_eq!(
        each(&log, "action"),
        ["connection.removed", "connection.removed", "client.removed", "api_key.revoked", "user.deactivated"]
    );
    assert!(log.iter().all(|entry| entry["user"]["id"] == json!(agency.admin.id)));
    let keys = agency.admin.sees("{ apiKeys { nodes { id } } }").await;
    assert!(!keys.to_string().contains(&key));

    // Neither comes back to a client that is gone.
    let back = json!({ "userId": agency.acme_login.id, "active": true });
    let payload = agency.admin.mutates("updateUser", back, "user { id }").await;
    assert_eq!((&payload["errors"][0]["code"], &payload["user"]), (&json!("NOT_FOUND"), &Value::Null));
    let payload = agency.admin.mutates("createApiKey", input, "apiKey { id }").await;
    assert_eq!(payload["errors"][0]["field"], json!(["clientId"]));
    let elsewhere = json!({ "userId": agency.acme_login.id, "active": true, "clientId": agency.globex });
    agency.admin.does("updateUser", elsewhere, "user { id }").await;
    assert_eq!(code(&agency.acme_login).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_comes_too_late_connects_nothing_for_a_client_that_is_gone() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let input = json!({ "connector": "sandbox-analytics", "clientId": acme });
    let (attempt, url) = stage.admin.starts_connecting(input).await;
    removes(&stage.admin, &acme, false).await;
    stage.browser().signs_in(&url, "ada").await;
    let attempt = stage.admin.attempt(&attempt).await;
    assert_eq!((&attempt["status"], &attempt["error"]["code"]), (&json!("FAILED"), &json!("NOT_FOUND")));
    assert_eq!(stage.sandbox.grants()[0].ended, Some(Ended::ByClient));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_connects_at_the_same_moment_leaves_no_connection_without_a_client() {
    let stage = Stage::new().await;
    let grant = stage.shared_grant().await;
    for round in 0..6 {
        let client = stage.admin.creates_client(&format!("Client {round}")).await;
        let input = json!({
            "connector": "sandbox-ads", "clientId": client, "accountId": "100-303",
            "using": { "authorizationId": grant.authorization },
        });
        let (connected, removed) = tokio::join!(
            stage.admin.mutates("connect", input, "connection { id }"),
            removes(&stage.admin, &client, round % 2 == 0),
        );
        let connections = stage.admin.sees("{ connections { nodes { id client { id } } } }").await;
        let left = connections.to_string().contains(&client);
        let gone = removed["errors"] == json!([]);
        assert!(!(gone && left), "{connected:#}\n{removed:#}");
        let refused = connected["errors"] != json!([]);
        assert!(gone || !refused, "one of the two is done: {connected:#}\n{removed:#}");
        removes(&stage.admin, &client, true).await;
    }
}
