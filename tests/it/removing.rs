//! Unplugging: what is gone, what stays to be read, and when the grant goes back.

use entity::{attempt, authorization};
use patchbay::sandbox::{Ended, Endpoint, Fault};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use serde_json::{Value, json};

use crate::harness::{Person, Stage};

fn id(node: &Value) -> &str {
    node["id"].as_str().unwrap()
}

fn analytics(client: &str) -> Value {
    json!({ "connector": "sandbox-analytics", "clientId": client })
}

async fn removes(person: &Person, connection: &Value) -> Value {
    let input = json!({ "connectionId": connection["id"] });
    let fields = "removedConnectionId client { id connectionCounts { total } } \
                  workspace { connectionCounts { total connected disconnected } } authorization { id removedAt }";
    person.does("removeConnection", input, fields).await
}

/// How many secrets the tables hold: credentials, and what attempts carry.
async fn secrets(stage: &Stage) -> (u64, u64) {
    let credentials = authorization::Entity::find().filter(authorization::Column::Credential.is_not_null());
    let carried = attempt::Entity::find().filter(attempt::Column::Secret.is_not_null());
    (credentials.count(stage.db.reader()).await.unwrap(), carried.count(stage.db.reader()).await.unwrap())
}

fn ended(stage: &Stage) -> Vec<Option<Ended>> {
    stage.sandbox.grants().iter().map(|grant| grant.ended).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_leaves_every_list_and_count_and_keeps_its_history() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let connection = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let outage = stage.admin.connection(id(&connection)).await["disconnection"]["id"].clone();
    let cursor = stage.admin.event_cursor().await;

    let removed = removes(&stage.admin, &connection).await;
    assert_eq!(removed["removedConnectionId"], connection["id"]);
    assert_eq!(removed["client"], json!({ "id": acme, "connectionCounts": { "total": 0 } }));
    let none = json!({ "total": 0, "connected": 0, "disconnected": 0 });
    assert_eq!(removed["workspace"]["connectionCounts"], none);
    assert_eq!(removed["authorization"]["id"], connection["authorization"]["id"]);
    assert_ne!(removed["authorization"]["removedAt"], Value::Null);

    let lists = stage
        .admin
        .sees(
            "{ connections { totalCount nodes { id } } authorizations { totalCount } clients { nodes { connections { totalCount } } } \
               disconnections(filter: { open: true }) { totalCount } \
               connectors(filter: { search: \"sandbox\" }) { nodes { connectionCounts { total } } } }",
        )
        .await;
    assert_eq!(lists["connections"], json!({ "totalCount": 0, "nodes": [] }));
    assert_eq!(lists["authorizations"]["totalCount"], 0);
    assert_eq!(lists["clients"]["nodes"][0]["connections"]["totalCount"], 0);
    assert_eq!(lists["disconnections"]["totalCount"], 0);
    let counts: Vec<_> = lists["connectors"]["nodes"].as_array().unwrap().iter().collect();
    assert!(counts.iter().all(|one| one["connectionCounts"]["total"] == 0), "{counts:#?}");

    let history = stage.admin.connection(id(&connection)).await;
    assert_eq!(history["name"], connection["name"]);
    assert_ne!(history["removedAt"], Value::Null);
    for may in ["viewerCanReconnect", "viewerCanRemove", "viewerCanShare"] {
        assert_eq!(history[may], false, "{may}");
    }
    let query = "{ disconnections { nodes { id endedBy reconnectedBy { id } reconnectConnectionId connections { nodes { id } } } } }";
    let past = &stage.admin.sees(query).await["disconnections"]["nodes"][0];
    assert_eq!((&past["id"], &past["endedBy"]), (&outage, &json!("REMOVED")));
    assert_eq!((&past["reconnectedBy"], &past["reconnectConnectionId"]), (&Value::Null, &Value::Null));
    assert_eq!(past["connections"]["nodes"], json!([{ "id": connection["id"] }]));

    let changes = stage.admin.changes_since(&cursor).await;
    assert_eq!((changes.len(), &changes[0]["kind"]), (1, &json!("REMOVED")));
    assert_eq!(changes[0]["removedConnectionIds"], json!([connection["id"]]));
    assert_eq!(changes[0]["disconnection"]["id"], outage);
    assert_eq!(changes[0]["by"]["id"], stage.admin.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_goes_back_with_the_last_connection_that_used_it_and_not_before() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let first = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    let second = stage.admin.connects_through(id(&first["authorization"]), analytics(&globex)).await;

    let removed = removes(&stage.admin, &first).await;
    assert_eq!(removed["authorization"]["removedAt"], Value::Null);
    assert_eq!((ended(&stage), secrets(&stage).await), (vec![None], (1, 0)));
    stage.after_a_probe_interval().await;
    assert_eq!(stage.admin.connection(id(&second)).await["status"], "CONNECTED");

    removes(&stage.admin, &second).await;
    assert_eq!((ended(&stage), secrets(&stage).await), (vec![Some(Ended::ByClient)], (0, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_several_lasts_until_the_last_of_them_is_removed() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let first = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    let second = stage.admin.connects_through(id(&first["authorization"]), analytics(&globex)).await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let outages = "{ disconnections { nodes { endedBy reconnectConnectionId connections { totalCount } } } }";
    removes(&stage.admin, &first).await;
    let expected =
        json!([{ "endedBy": null, "reconnectConnectionId": second["id"], "connections": { "totalCount": 2 } }]);
    assert_eq!(stage.admin.sees(outages).await["disconnections"]["nodes"], expected);
    removes(&stage.admin, &second).await;
    let expected = json!([{ "endedBy": "REMOVED", "reconnectConnectionId": null, "connections": { "totalCount": 2 } }]);
    assert_eq!(stage.admin.sees(outages).await["disconnections"]["nodes"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_answer_keeps_nothing_from_being_removed() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let connection = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    stage.sandbox.fail_next(Endpoint::Revoke, Fault::ServerError, 1);
    removes(&stage.admin, &connection).await;
    assert_eq!(stage.sandbox.calls(Endpoint::Revoke), 1);
    assert_eq!(secrets(&stage).await, (0, 0));
    assert_ne!(stage.admin.connection(id(&connection)).await["removedAt"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_read_by_whoever_saw_it_and_nobody_else() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    let (nina, otto) = (stage.person("Nina", "MEMBER", None).await, stage.person("Otto", "MEMBER", None).await);
    let carl = stage.person("Carl", "CLIENT", Some(&acme)).await;
    let dora = stage.person("Dora", "CLIENT", Some(&globex)).await;
    let connection = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    stage.admin.does("shareConnection", json!({ "connectionId": connection["id"], "userIds": [nina.id] }), "").await;
    stage.sandbox.revoke_person("ada");
    stage.after_a_probe_interval().await;
    let query = "query($after: String!) { connectionChanges(after: $after) { nodes { kind removedConnectionIds } } }";
    let mut cursors = Vec::new();
    for person in [&nina, &carl, &otto, &dora] {
        cursors.push(person.event_cursor().await);
    }
    removes(&stage.admin, &connection).await;
    for (person, sees, cursor) in [
        (&nina, true, &cursors[0]),
        (&carl, true, &cursors[1]),
        (&otto, false, &cursors[2]),
        (&dora, false, &cursors[3]),
    ] {
        let history = person.connection(id(&connection)).await;
        assert_eq!(!history.is_null(), sees, "{history:#}");
        let past = person.sees("{ disconnections { totalCount } connections { totalCount } }").await;
        assert_eq!(past["disconnections"]["totalCount"], u64::from(sees));
        assert_eq!(past["connections"]["totalCount"], 0);
        let heard = person.ask(query, json!({ "variables": { "after": cursor } })).await;
        let expected =
            if sees { json!([{ "kind": "REMOVED", "removedConnectionIds": [connection["id"]] }]) } else { json!([]) };
        assert_eq!(heard["connectionChanges"]["nodes"], expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_can_be_connected_again() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let first = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    removes(&stage.admin, &first).await;
    let second = stage.admin.connects(&stage.browser(), analytics(&acme), "ada").await;
    assert_ne!(first["id"], second["id"]);
    assert_ne!(first["authorization"]["id"], second["authorization"]["id"]);
    assert_eq!(second["status"], "CONNECTED");
    assert_eq!(ended(&stage), [Some(Ended::ByClient), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_own_it_removes_nothing() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let (nina, otto) = (stage.person("Nina", "MEMBER", None).await, stage.person("Otto", "MEMBER", None).await);
    let (carl, stranger) = (stage.person("Carl", "CLIENT", Some(&acme)).await, stage.stranger().await);
    let connection = nina.connects(&stage.browser(), analytics(&acme), "ada").await;
    nina.does("shareConnection", json!({ "connectionId": connection["id"], "userIds": [otto.id] }), "").await;
    let input = json!({ "connectionId": connection["id"] });
    for person in [&carl, &otto] {
        assert_eq!(person.tries_mutation("removeConnection", input.clone(), "").await.code(), Some("FORBIDDEN"));
    }
    assert_eq!(
        carl.tries_mutation("removeConnection", json!({ "connectionId": "x" }), "").await.code(),
        Some("FORBIDDEN")
    );
    assert_eq!(stranger.refused("removeConnection", input.clone()).await["code"], "NOT_FOUND");
    removes(&nina, &connection).await;
    let again = nina.refused("removeConnection", input).await;
    assert_eq!((again["code"].as_str(), &again["field"]), (Some("NOT_FOUND"), &json!(["connectionId"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_removal_and_a_reconnect_at_once_no_secret_is_left_behind() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    for _ in 0..8 {
        let browser = stage.browser();
        let connection = stage.admin.connects(&browser, analytics(&acme), "ada").await;
        let (attempt, url) = stage.admin.starts_reconnecting(id(&connection), "ASK").await;
        let callback = browser.allows(&url, "ada").await;
        let (_, landing) = tokio::join!(removes(&stage.admin, &connection), browser.opens(callback.as_str()));
        assert_eq!(landing.status, 200, "{}", landing.body);
        let attempt = stage.admin.attempt(&attempt).await;
        let lost = matches!(attempt["error"]["code"].as_str(), Some("NOT_FOUND" | "CONFLICT"));
        assert!(attempt["status"] == "SUCCEEDED" || lost, "{attempt:#}");
        assert_ne!(stage.admin.connection(id(&connection)).await["removedAt"], Value::Null);
        assert_eq!(secrets(&stage).await, (0, 0));
        let newest = stage.sandbox.grants().pop().unwrap();
        assert_eq!(newest.ended, Some(Ended::ByClient), "the grant that came last is not left alive");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_removal_and_a_new_connection_at_once_the_new_one_lives_and_works() {
    let stage = Stage::new().await;
    let (acme, globex) = (stage.admin.creates_client("Acme").await, stage.admin.creates_client("Globex").await);
    for _ in 0..8 {
        let browser = stage.browser();
        let old = stage.admin.connects(&browser, analytics(&acme), "ada").await;
        let (attempt, url) = stage.admin.starts_connecting(analytics(&globex)).await;
        let callback = browser.allows(&url, "ada").await;
        tokio::join!(removes(&stage.admin, &old), browser.opens(callback.as_str()));
        let attempt = stage.admin.attempt(&attempt).await;
        assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
        let new = &attempt["connections"][0];
        stage.after_a_probe_interval().await;
        assert_eq!(stage.admin.connection(id(new)).await["status"], "CONNECTED");
        assert_eq!(secrets(&stage).await, (1, 0));
        removes(&stage.admin, new).await;
    }
}
