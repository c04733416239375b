//! Connecting what is connected already: the same account for another client, the same one twice, and by an external
//! id that is known.

use patchbay::sandbox::Ended;
use serde_json::{Value, json};

use crate::harness::{Person, Stage};

fn analytics(client: &str) -> Value {
    json!({ "connector": "sandbox-analytics", "clientId": client })
}

fn ads(client: &str, account: &str) -> Value {
    json!({ "connector": "sandbox-ads", "clientId": client, "accountId": account })
}

async fn authorizations(person: &Person) -> u64 {
    person.sees("{ authorizations { totalCount } }").await["authorizations"]["totalCount"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_account_again_renews_its_one_authorization() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let bob = stage.person("Bob", "STAFF", None).await;
    let cursor = stage.admin.event_cursor().await;
    let first = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    let second = bob.connects(&stage.browser(), analytics(&globex), "ada").await;
    assert_eq!(first["authorization"]["id"], second["authorization"]["id"]);
    assert_eq!(authorizations(&stage.admin).await, 1);

    // What was working is not reconnected by the way.
    let kinds: Vec<_> = stage.admin.changes_since(&cursor).await.iter().map(|one| one["kind"].clone()).collect();
    assert_eq!(kinds, ["ADDED", "ADDED"]);
    let first = stage.admin.connection(first["id"].as_str().unwrap()).await;
    assert_eq!((&first["createdBy"]["id"], &first["sharedWith"]), (&json!(stage.admin.id), &json!([])));

    // Both live by the newer grant now.
    assert!(stage.sandbox.revoke_grant(1));
    stage.after_a_probe_interval().await;
    for connection in [&first, &second] {
        assert_eq!(stage.admin.connection(connection["id"].as_str().unwrap()).await["status"], "CONNECTED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_a_dead_account_once_more_heals_it_and_its_owners_stay() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let bob = stage.person("Bob", "STAFF", None).await;
    let first = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let broken = stage.admin.connection(first["id"].as_str().unwrap()).await;
    assert_eq!(broken["disconnection"]["reason"], "REVOKED");

    let cursor = stage.admin.event_cursor().await;
    let second = bob.connects(&stage.browser(), analytics(&globex), "ada").await;
    assert_eq!(second["status"], "CONNECTED");

    let changes = stage.admin.changes_since(&cursor).await;
    let kinds: Vec<_> = changes.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["RECONNECTED", "ADDED"]);
    assert_eq!(changes[0]["connections"], json!([{ "id": first["id"] }]));
    assert_eq!(changes[0]["by"]["id"], bob.id);
    assert_eq!(changes[0]["disconnection"]["id"], broken["disconnection"]["id"]);
    assert_eq!(changes[0]["disconnection"]["endedBy"], "RECONNECTED");
    assert_eq!(changes[0]["disconnection"]["reconnectedBy"]["id"], bob.id);

    let healed = stage.admin.connection(first["id"].as_str().unwrap()).await;
    assert_eq!((healed["status"].as_str(), &healed["disconnection"]), (Some("CONNECTED"), &Value::Null));
    assert_eq!((&healed["createdBy"]["id"], &healed["sharedWith"]), (&json!(stage.admin.id), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_who_signs_in_heals_what_they_cannot_see_and_still_does_not_see_it() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let nina = stage.person("Nina", "MEMBER", None).await;
    let first = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let cursor = nina.event_cursor().await;
    nina.connects(&stage.browser(), analytics(&globex), "ada").await;
    assert_eq!(stage.admin.connection(first["id"].as_str().unwrap()).await["status"], "CONNECTED");
    assert_eq!(nina.connection(first["id"].as_str().unwrap()).await, Value::Null);
    let kinds: Vec<_> = nina.changes_since(&cursor).await.iter().map(|one| one["kind"].clone()).collect();
    assert_eq!(kinds, ["ADDED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_is_connected_once_for_a_client_by_whatever_way() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let first = stage.admin.connects(&stage.browser(), ads(&acme, "100-303"), "ada").await;

    // Ben reaches the same account by an authorization of his own.
    let (id, url) = stage.admin.starts_connecting(ads(&acme, "100-303")).await;
    stage.browser().signs_in(&url, "ben").await;
    let attempt = stage.admin.attempt(&id).await;
    assert_eq!((attempt["status"].as_str(), attempt["error"]["code"].as_str()), (Some("FAILED"), Some("CONFLICT")));
    assert_eq!(attempt["error"]["conflictsWith"]["id"], first["id"]);
    assert_eq!(authorizations(&stage.admin).await, 1, "nothing is left of the other sign-in");
    assert_eq!(stage.sandbox.grants()[1].ended, Some(Ended::ByClient));

    let mut through = ads(&acme, "100-303");
    through["using"] = json!({ "authorizationId": first["authorization"]["id"] });
    let error = stage.admin.refused("connect", through).await;
    assert_eq!((error["code"].as_str(), &error["conflictsWith"]["id"]), (Some("CONFLICT"), &first["id"]));

    let authorization = first["authorization"]["id"].as_str().unwrap();
    stage.admin.connects_through(authorization, ads(&globex, "100-303")).await;
    stage.admin.connects_through(authorization, ads(&acme, "100-301")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workspaces_own_connections_are_a_client_like_any_other_to_a_conflict() {
    let stage = Stage::new().await;
    let own = json!({ "connector": "sandbox-analytics" });
    let first = stage.admin.connects(&stage.browser(), own.clone(), "ada").await;
    let (id, url) = stage.admin.starts_connecting(own).await;
    stage.browser().signs_in(&url, "ada").await;
    let attempt = stage.admin.attempt(&id).await;
    assert_eq!(
        (&attempt["error"]["code"], &attempt["error"]["conflictsWith"]["id"]),
        (&json!("CONFLICT"), &first["id"])
    );
    let still = stage.admin.connection(first["id"].as_str().unwrap()).await;
    assert_eq!(still["status"], "CONNECTED");
    stage.after_a_probe_interval().await;
    assert_eq!(stage.admin.connection(first["id"].as_str().unwrap()).await["status"], "CONNECTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_not_named_to_who_cannot_see_it() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let nina = stage.person("Nina", "MEMBER", None).await;
    stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    let (id, url) = nina.starts_connecting(analytics(&acme)).await;
    stage.browser().signs_in(&url, "ada").await;
    let attempt = nina.attempt(&id).await;
    assert_eq!((&attempt["error"]["code"], &attempt["error"]["conflictsWith"]), (&json!("CONFLICT"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_connect_the_same_account_at_once_share_one_authorization() {
    let stage = Stage::new().await;
    let bob = stage.person("Bob", "STAFF", None).await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let (one, other) = (stage.browser(), stage.browser());
    let (first, url) = stage.admin.starts_connecting(analytics(&acme)).await;
    let callback = one.allows(&url, "ada").await;
    let (second, url) = bob.starts_connecting(analytics(&globex)).await;
    let other_callback = other.allows(&url, "ada").await;
    tokio::join!(one.opens(callback.as_str()), other.opens(other_callback.as_str()));
    let (first, second) = (stage.admin.attempt(&first).await, bob.attempt(&second).await);
    assert_eq!(
        (&first["status"], &second["status"]),
        (&json!("SUCCEEDED"), &json!("SUCCEEDED")),
        "{first:#} {second:#}"
    );
    assert_eq!(first["connections"][0]["authorization"]["id"], second["connections"][0]["authorization"]["id"]);
    assert_eq!(authorizations(&stage.admin).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_connect_the_same_account_for_one_client_at_once_get_one_connection() {
    let stage = Stage::new().await;
    let bob = stage.person("Bob", "STAFF", None).await;
    let acme = stage.admin.creates_client("Acme").await;
    let first = stage.admin.connects(&stage.browser(), ads(&acme, "100-301"), "ada").await;
    let mut through = ads(&acme, "100-302");
    through["using"] = json!({ "authorizationId": first["authorization"]["id"] });
    let fields = "connection { id }";
    let (one, other) = tokio::join!(
        stage.admin.mutates("connect", through.clone(), fields),
        bob.mutates("connect", through.clone(), fields)
    );
    let (won, lost) = if one["connection"].is_null() { (other, one) } else { (one, other) };
    assert_eq!(lost["errors"][0]["code"], "CONFLICT", "{won:#} {lost:#}");
    assert_eq!(lost["errors"][0]["conflictsWith"]["id"], won["connection"]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_external_id_is_connected_once() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let mut input = analytics(&acme);
    input["externalId"] = json!("crm-17");
    let first = stage.admin.connects(&stage.browser(), input.clone(), "ada").await;
    input["using"] = json!({ "browser": {} });
    let again = stage.admin.does("connect", input.clone(), "connection { id } attempt { id }").await;
    assert_eq!((&again["connection"]["id"], &again["attempt"]), (&first["id"], &Value::Null));

    let nina = stage.person("Nina", "MEMBER", None).await;
    let error = nina.refused("connect", input.clone()).await;
    assert_eq!((error["code"].as_str(), &error["field"]), (Some("CONFLICT"), &json!(["externalId"])));
    assert_eq!(error["conflictsWith"], Value::Null, "she does not see what has it");

    stage.admin.does("removeConnection", json!({ "connectionId": first["id"] }), "").await;
    let anew = stage.admin.connects(&stage.browser(), input, "ada").await;
    assert_ne!(anew["id"], first["id"]);
    assert_eq!(anew["externalId"], "crm-17");
}
