//! Changing a connection: its name, client, account and external id; what is absent stays, what is null is cleared.

use serde_json::{Value, json};

use crate::harness::{CONNECTION, Person, Stage};

fn id(node: &Value) -> &str {
    node["id"].as_str().unwrap()
}

async fn updates(person: &Person, connection: &Value, change: Value) -> Value {
    let mut input = change;
    input["connectionId"] = connection["id"].clone();
    person.mutates("updateConnection", input, &format!("connection {{ {CONNECTION} }}")).await
}

/// An update that has to work: the connection after it.
async fn updated(person: &Person, connection: &Value, change: Value) -> Value {
    let payload = updates(person, connection, change).await;
    assert_eq!(payload["errors"], json!([]), "{payload:#}");
    payload["connection"].clone()
}

/// An update that is to be refused: code and field.
async fn refused(person: &Person, connection: &Value, change: Value) -> (String, Value) {
    let payload = updates(person, connection, change).await;
    assert_eq!(payload["connection"], Value::Null, "{payload:#}");
    (payload["errors"][0]["code"].as_str().unwrap().to_owned(), payload["errors"][0]["field"].clone())
}

fn invalid(field: &str) -> (String, Value) {
    ("INVALID".to_owned(), json!([field]))
}

/// Ada's Lindqvist Lamps, connected for Acme.
async fn lamps(stage: &Stage) -> (Value, String) {
    let acme = stage.admin.creates_client("Acme").await;
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-301", "clientId": acme, "externalId": "crm-1" });
    (stage.admin.connects(&stage.browser(), input, "ada").await, acme)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_absent_stays_as_it_is() {
    let stage = Stage::new().await;
    let (connection, acme) = lamps(&stage).await;
    let renamed = updated(&stage.admin, &connection, json!({ "name": "Lamps" })).await;
    assert_eq!(renamed["name"], "Lamps");
    assert_eq!((&renamed["client"]["id"], &renamed["externalId"]), (&json!(acme), &json!("crm-1")));
    assert_eq!(renamed["account"]["accountId"], "100-301");
    let untouched = updated(&stage.admin, &connection, json!({})).await;
    assert_eq!((&untouched["name"], &untouched["externalId"]), (&json!("Lamps"), &json!("crm-1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn null_clears_what_may_be_empty_and_is_invalid_elsewhere() {
    let stage = Stage::new().await;
    let (connection, _) = lamps(&stage).await;
    let cleared = updated(&stage.admin, &connection, json!({ "externalId": null, "clientId": null })).await;
    assert_eq!((&cleared["externalId"], &cleared["client"]), (&Value::Null, &Value::Null));
    for field in ["name", "accountId"] {
        assert_eq!(refused(&stage.admin, &connection, json!({ field: null })).await, invalid(field));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_values_are_named_and_change_nothing() {
    let stage = Stage::new().await;
    let (connection, _) = lamps(&stage).await;
    let theirs = stage.stranger().await.creates_client("Theirs").await;
    let before = stage.admin.connection(id(&connection)).await;
    let not_found = |field: &str| ("NOT_FOUND".to_owned(), json!([field]));
    for (change, expected) in [
        (json!({ "name": " " }), invalid("name")),
        (json!({ "name": "a\nb" }), invalid("name")),
        (json!({ "name": "x".repeat(1_000_000) }), invalid("name")),
        (json!({ "externalId": "" }), invalid("externalId")),
        (json!({ "name": "Good", "clientId": "nonsense" }), not_found("clientId")),
        (json!({ "name": "Good", "clientId": theirs }), not_found("clientId")),
        (json!({ "name": "Good", "accountId": "100-404" }), not_found("accountId")),
    ] {
        assert_eq!(refused(&stage.admin, &connection, change).await, expected);
    }
    assert_eq!(stage.admin.connection(id(&connection)).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_to_another_client_moves_the_counts_and_what_its_people_see() {
    let stage = Stage::new().await;
    let (connection, acme) = lamps(&stage).await;
    let globex = stage.admin.creates_client("Globex").await;
    let (carl, dora) =
        (stage.person("Carl", "CLIENT", Some(&acme)).await, stage.person("Dora", "CLIENT", Some(&globex)).await);
    let (carls, doras) = (carl.event_cursor().await, dora.event_cursor().await);
    let cursor = stage.admin.event_cursor().await;

    let moved = updated(&stage.admin, &connection, json!({ "clientId": globex })).await;
    assert_eq!(moved["client"]["id"], globex);
    let query = "query($id: ID) { client(id: $id) { connectionCounts { total } } }";
    for (client, total) in [(&acme, 0), (&globex, 1)] {
        let counts = stage.admin.ask(query, json!({ "variables": { "id": client } })).await;
        assert_eq!(counts["client"]["connectionCounts"]["total"], total);
    }
    let mut changes = stage.admin.changes_since(&cursor).await;
    let change = changes.pop().unwrap();
    assert_eq!((&change["kind"], change["clients"].as_array().unwrap().len()), (&json!("UPDATED"), 2), "{change:#}");

    // For the one it is gone, for the other it is new.
    assert_eq!(carl.connection(id(&connection)).await, Value::Null);
    assert_eq!(carl.changes_since(&carls).await[0]["removedConnectionIds"], json!([connection["id"]]));
    let gained = &dora.changes_since(&doras).await[0];
    assert_eq!(gained["addedConnections"], json!([{ "id": connection["id"] }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_the_account_already_is_in_conflict() {
    let stage = Stage::new().await;
    let (connection, acme) = lamps(&stage).await;
    let globex = stage.admin.creates_client("Globex").await;
    let authorization = id(&connection["authorization"]);
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-301", "clientId": globex });
    let globexs = stage.admin.connects_through(authorization, input).await;
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-302", "clientId": acme });
    let hotels = stage.admin.connects_through(authorization, input).await;
    let before = stage.admin.connection(id(&connection)).await;
    for (change, other) in [(json!({ "clientId": globex }), &globexs), (json!({ "accountId": "100-302" }), &hotels)] {
        let error = updates(&stage.admin, &connection, change).await["errors"][0].clone();
        assert_eq!((&error["code"], &error["conflictsWith"]["id"]), (&json!("CONFLICT"), &other["id"]));
    }
    assert_eq!(stage.admin.connection(id(&connection)).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_of_the_same_authorization_is_read_from_now_on() {
    let stage = Stage::new().await;
    let (connection, acme) = lamps(&stage).await;
    let moved = updated(&stage.admin, &connection, json!({ "accountId": "100-302" })).await;
    assert_eq!(moved["account"], json!({ "accountId": "100-302", "name": "Harbour Hotels" }));
    assert_eq!(moved["name"], connection["name"], "a name is not changed behind anybody's back");
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-301", "clientId": acme });
    stage.admin.connects_through(id(&connection["authorization"]), input).await;

    let site = stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await;
    assert_eq!(refused(&stage.admin, &site, json!({ "accountId": "100-302" })).await, invalid("accountId"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_lost_is_left_behind_for_one_that_works() {
    let stage = Stage::new().await;
    let (connection, _) = lamps(&stage).await;
    stage.sandbox.withdraw("100-301");
    stage.admin.does("checkConnection", json!({ "connectionId": connection["id"] }), "").await;
    assert_eq!(stage.admin.connection(id(&connection)).await["disconnection"]["reason"], "ACCESS_LOST");
    let moved = updated(&stage.admin, &connection, json!({ "accountId": "100-302" })).await;
    assert_eq!((&moved["status"], &moved["disconnection"]), (&json!("CONNECTED"), &Value::Null));
    let open = stage.admin.sees("{ disconnections(filter: { open: true }) { totalCount } }").await;
    assert_eq!(open["disconnections"]["totalCount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_id_is_unique_in_the_workspace() {
    let stage = Stage::new().await;
    let (connection, _) = lamps(&stage).await;
    let other = stage.admin.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ada").await;
    let error =
        updates(&stage.admin, &other, json!({ "externalId": "crm-1", "name": "New" })).await["errors"][0].clone();
    assert_eq!((&error["code"], &error["field"]), (&json!("CONFLICT"), &json!(["externalId"])));
    assert_eq!(error["conflictsWith"]["id"], connection["id"]);
    assert_eq!(stage.admin.connection(id(&other)).await["name"], other["name"]);
    let kept = updated(&stage.admin, &connection, json!({ "externalId": "crm-1" })).await;
    assert_eq!(kept["externalId"], "crm-1", "its own is not in its way");

    // Another workspace may use it, too.
    let stranger = stage.stranger().await;
    let theirs = stranger.connects(&stage.browser(), json!({ "connector": "sandbox-analytics" }), "ben").await;
    assert_eq!(updated(&stranger, &theirs, json!({ "externalId": "crm-1" })).await["externalId"], "crm-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_tend_it_changes_nothing() {
    let stage = Stage::new().await;
    let (connection, acme) = lamps(&stage).await;
    let (carl, nina) = (stage.person("Carl", "CLIENT", Some(&acme)).await, stage.person("Nina", "MEMBER", None).await);
    let input = json!({ "connectionId": connection["id"], "name": "Theirs" });
    assert_eq!(carl.tries_mutation("updateConnection", input, "").await.code(), Some("FORBIDDEN"));
    let not_found = ("NOT_FOUND".to_owned(), json!(["connectionId"]));
    for person in [&nina, &stage.stranger().await] {
        assert_eq!(refused(person, &connection, json!({ "name": "Theirs" })).await, not_found);
    }
    stage.admin.does("shareConnection", json!({ "connectionId": connection["id"], "userIds": [nina.id] }), "").await;
    assert_eq!(updated(&nina, &connection, json!({ "name": "Hers, too" })).await["name"], "Hers, too");
    stage.admin.does("removeConnection", json!({ "connectionId": connection["id"] }), "").await;
    assert_eq!(refused(&stage.admin, &connection, json!({ "name": "Late" })).await, not_found);
}
