//! Sharing a connection with colleagues, and taking it back.

use serde_json::{Value, json};

use crate::harness::{Person, Stage};

fn id(node: &Value) -> &str {
    node["id"].as_str().unwrap()
}

async fn site(person: &Person, stage: &Stage) -> Value {
    person.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await
}

/// With whom it is shared after the mutation.
async fn shared(person: &Person, mutation: &str, input: Value) -> Vec<String> {
    let payload = person.does(mutation, input, "connection { sharedWith { id } }").await;
    let people = payload["connection"]["sharedWith"].as_array().unwrap();
    let mut ids: Vec<String> = people.iter().map(|user| id(user).to_owned()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_named_by_id_or_by_address_and_the_owner_needs_no_share() {
    let stage = Stage::new().await;
    let (nina, otto) = (stage.person("Nina", "MEMBER", None).await, stage.person("Otto", "STAFF", None).await);
    let connection = site(&stage.admin, &stage).await;
    let input = json!({
        "connectionId": connection["id"], "userIds": [nina.id, nina.id, stage.admin.id], "emails": ["OTTO@lighthouse.example"],
    });
    let mut both = vec![nina.id.clone(), otto.id.clone()];
    both.sort_unstable();
    assert_eq!(shared(&stage.admin, "shareConnection", input.clone()).await, both);
    let cursor = stage.admin.event_cursor().await;
    assert_eq!(shared(&stage.admin, "shareConnection", input).await, both, "shared already stays shared");
    assert_eq!(stage.admin.changes_since(&cursor).await, Vec::<Value>::new(), "and is no change");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_it_is_shared_with_sees_and_tends_it_and_no_longer_after_it_was_taken_back() {
    let stage = Stage::new().await;
    let nina = stage.person("Nina", "MEMBER", None).await;
    let connection = site(&stage.admin, &stage).await;
    let share = json!({ "connectionId": connection["id"], "userIds": [nina.id] });
    assert_eq!(nina.connection(id(&connection)).await, Value::Null);

    let cursor = nina.event_cursor().await;
    stage.admin.does("shareConnection", share.clone(), "").await;
    let seen = nina.connection(id(&connection)).await;
    let may = |right: &str| seen[right].as_bool().unwrap();
    assert!(may("viewerCanReconnect") && !may("viewerCanRemove") && !may("viewerCanShare"), "{seen:#}");
    let relation = "{ connections(filter: { relation: [SHARED_WITH_ME] }) { nodes { id } } }";
    assert_eq!(nina.sees(relation).await["connections"]["nodes"], json!([{ "id": connection["id"] }]));
    let gained = nina.changes_since(&cursor).await;
    assert_eq!((gained.len(), &gained[0]["addedConnections"]), (1, &json!([{ "id": connection["id"] }])));
    let otto = stage.person("Otto", "MEMBER", None).await;
    let on = json!({ "connectionId": connection["id"], "userIds": [otto.id] });
    assert_eq!(nina.tries_mutation("shareConnection", on, "").await.code(), Some("FORBIDDEN"));

    let cursor = nina.event_cursor().await;
    assert_eq!(shared(&stage.admin, "unshareConnection", share.clone()).await, Vec::<String>::new());
    assert_eq!(nina.connection(id(&connection)).await, Value::Null);
    let lost = nina.changes_since(&cursor).await;
    assert_eq!((lost.len(), &lost[0]["removedConnectionIds"]), (1, &json!([connection["id"]])));
    assert_eq!(lost[0]["connections"], json!([]));
    assert_eq!(shared(&stage.admin, "unshareConnection", share).await, Vec::<String>::new(), "once more is no error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_shares_what_they_made() {
    let stage = Stage::new().await;
    let (nina, otto) = (stage.person("Nina", "MEMBER", None).await, stage.person("Otto", "MEMBER", None).await);
    let connection = site(&nina, &stage).await;
    let input = json!({ "connectionId": connection["id"], "userIds": [otto.id] });
    assert_eq!(shared(&nina, "shareConnection", input.clone()).await, std::slice::from_ref(&otto.id));
    assert_eq!(otto.tries_mutation("unshareConnection", input, "").await.code(), Some("FORBIDDEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shared_with_who_is_not_there_or_could_not_see_it() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let (nina, carl) = (stage.person("Nina", "MEMBER", None).await, stage.person("Carl", "CLIENT", Some(&acme)).await);
    let stranger = stage.stranger().await;
    let connection = site(&stage.admin, &stage).await;
    for (people, code, at) in [
        (json!({ "userIds": [nina.id, "nonsense"] }), "NOT_FOUND", json!(["userIds", "1"])),
        (json!({ "userIds": [stranger.id] }), "NOT_FOUND", json!(["userIds", "0"])),
        (json!({ "emails": ["eve@elsewhere.example"] }), "NOT_FOUND", json!(["emails", "0"])),
        (json!({ "userIds": [nina.id], "emails": ["nobody@lighthouse.example"] }), "NOT_FOUND", json!(["emails", "0"])),
        (json!({ "userIds": [carl.id] }), "INVALID", json!(["userIds", "0"])),
        (json!({}), "INVALID", json!(["userIds"])),
    ] {
        let mut input = people;
        input["connectionId"] = connection["id"].clone();
        let error = stage.admin.refused("shareConnection", input).await;
        assert_eq!((error["code"].as_str(), &error["field"]), (Some(code), &at), "{error:#}");
        assert!(!error.to_string().contains("nobody@"), "{error:#}");
    }
    assert_eq!(stage.admin.connection(id(&connection)).await["sharedWith"], json!([]));
    for mutation in ["shareConnection", "unshareConnection"] {
        let input = json!({ "connectionId": connection["id"], "userIds": [nina.id] });
        assert_eq!(nina.refused(mutation, input.clone()).await["code"], "NOT_FOUND");
        assert_eq!(carl.tries_mutation(mutation, input, "").await.code(), Some("FORBIDDEN"));
    }
}
