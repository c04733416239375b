//! Ids that are malformed, of another kind or of nothing: like ones that do not exist.

use patchbay::ids::{self, Kind};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

/// Texts that are no id of a thing of this workspace; `other` is the id of something of another kind.
fn no_ids(prefix: &str, other: &str) -> Vec<String> {
    let suffix = other.rsplit_once('_').unwrap().1;
    vec![
        String::new(),
        "hunter2".to_owned(),
        format!("{prefix}_"),
        format!("{prefix}_hunter2"),
        format!("{prefix}_{}", suffix.to_uppercase()),
        format!("{prefix}_{}0", suffix),
        format!("{prefix}_8zzzzzzzzzzzzzzzzzzzzzzzzz"),
        format!("{prefix}_{suffix}"),
        format!(" {other}"),
        other.to_owned(),
        "01234567-89ab-7def-8123-456789abcdef".to_owned(),
        "hunter2\0".to_owned(),
        "' OR '1'='1".to_owned(),
        PLANTED.repeat(1 << 16),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_finds_nothing_by_what_is_no_id_and_says_which_one() {
    let (stage, client, connection) = furnished().await;
    let dataset = stage.admin.makes_dataset(&connection, "invoices").await;
    let query = json!({ "http": { "path": "invoices", "rowsPointer": "/rows" } });
    let tried: [(&str, &str, &str, Value); 19] = [
        ("removeConnection", "connectionId", "connection", json!({})),
        ("updateConnection", "connectionId", "connection", json!({ "name": "x" })),
        ("checkConnection", "connectionId", "connection", json!({})),
        ("reportDisconnection", "connectionId", "connection", json!({ "message": "x" })),
        ("reconnect", "connectionId", "connection", json!({})),
        ("createReconnectLink", "connectionId", "connection", json!({})),
        ("createConnectLink", "clientId", "client", json!({ "connectors": ["sandbox-ads"] })),
        ("shareConnection", "connectionId", "connection", json!({ "userIds": [] })),
        ("updateConnection", "clientId", "client", json!({ "connectionId": connection })),
        ("updateClient", "clientId", "client", json!({ "name": "x" })),
        ("updateUser", "userId", "user", json!({ "name": "x" })),
        ("decideAttempt", "attemptId", "attempt", json!({ "accountId": "x" })),
        ("createDataset", "connectionId", "connection", json!({ "name": "x", "query": query })),
        ("updateDataset", "datasetId", "dataset", json!({ "name": "x" })),
        ("updateDataset", "connectionId", "connection", json!({ "datasetId": dataset })),
        ("refreshDataset", "datasetId", "dataset", json!({})),
        ("removeDataset", "datasetId", "dataset", json!({})),
        ("createMetric", "datasetId", "dataset", json!({ "name": "x", "aggregation": "COUNT" })),
        ("removeMetric", "metricId", "metric", json!({})),
    ];
    for (mutation, field, prefix, rest) in tried {
        let other = if prefix == "client" { &connection } else { &client };
        for id in no_ids(prefix, other) {
            let mut input = rest.clone();
            input[field] = json!(id);
            refused_at(&stage, mutation, input, "NOT_FOUND", json!([field])).await;
        }
    }
    for id in no_ids("user", &client) {
        let input = json!({ "connectionId": connection, "userIds": [id] });
        refused_at(&stage, "shareConnection", input, "NOT_FOUND", json!(["userIds", "0"])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_finds_nothing_by_what_is_no_id() {
    let (stage, client, connection) = furnished().await;
    let variables = |id: &str| json!({ "variables": { "id": id } });
    for (field, prefix, other) in [
        ("node(id: $id)", "node", &client),
        ("connection(id: $id)", "connection", &client),
        ("client(id: $id)", "client", &connection),
        ("authorization(id: $id)", "authorization", &client),
        ("authorizationAttempt(id: $id)", "attempt", &client),
        ("dataset(id: $id)", "dataset", &client),
        ("metric(id: $id)", "metric", &client),
    ] {
        // `node` finds whatever is there.
        for id in no_ids(prefix, other).into_iter().filter(|id| prefix != "node" || id != other) {
            let answer =
                stage.admin.tries(&format!("query($id: ID!) {{ found: {field} {{ id }} }}"), variables(&id)).await;
            repeats_nothing(&answer);
            assert_eq!(answer.body, json!({ "data": { "found": null } }), "{field} {id}");
        }
    }
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    let ids = [&no_ids("connection", &client)[..5], std::slice::from_ref(&connection)].concat();
    let nodes = stage.admin.ask(query, json!({ "variables": { "ids": ids } })).await["nodes"].clone();
    let mut expected = vec![Value::Null; 5];
    expected.push(json!({ "id": connection }));
    assert_eq!(nodes, Value::Array(expected), "each in its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_by_what_is_no_id_matches_nothing() {
    let (stage, client, _) = furnished().await;
    for (field, filter, prefix) in [
        ("connections", "clientId", "client"),
        ("connections", "createdBy", "user"),
        ("connections", "authorizationId", "authorization"),
        ("disconnections", "connectionId", "connection"),
        ("disconnections", "clientId", "client"),
        ("auditLog", "userId", "user"),
        ("datasets", "connectionId", "connection"),
        ("datasets", "clientId", "client"),
        ("metrics", "datasetId", "dataset"),
    ] {
        let (kind, listed) = match (field, filter) {
            ("connections", "authorizationId") => ("ConnectionFilter", false),
            ("connections", _) => ("ConnectionFilter", true),
            ("auditLog", _) => ("AuditFilter", false),
            ("datasets", _) => ("DatasetFilter", false),
            ("metrics", _) => ("MetricFilter", false),
            _ => ("DisconnectionFilter", false),
        };
        let other = if prefix == "client" { stage.admin.id.clone() } else { client.clone() };
        for id in no_ids(prefix, &other) {
            let id = if listed { json!([id]) } else { json!(id) };
            let query = format!("query($f: {kind}) {{ page: {field}(filter: $f) {{ totalCount nodes {{ id }} }} }}");
            let answer = stage.admin.tries(&query, json!({ "variables": { "f": { filter: id } } })).await;
            repeats_nothing(&answer);
            assert_eq!(answer.body["data"]["page"], json!({ "totalCount": 0, "nodes": [] }), "{field} {filter} {id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_nothing_is_like_one_that_was_never_given_out() {
    let (stage, ..) = furnished().await;
    for id in [Uuid::nil(), Uuid::max(), Uuid::from_u128(7)] {
        let id = ids::encode(Kind::Connection, id);
        refused_at(&stage, "removeConnection", json!({ "connectionId": id }), "NOT_FOUND", json!(["connectionId"]))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_ways_to_name_a_thing_is_asked_for_and_not_both_or_none() {
    let (stage, client, connection) = furnished().await;
    for query in [
        "{ client { id } }".to_owned(),
        format!("{{ client(id: \"{client}\", externalId: \"hunter2\") {{ id }} }}"),
        "{ connection { id } }".to_owned(),
        format!("{{ connection(id: \"{connection}\", externalId: \"hunter2\") {{ id }} }}"),
        "{ dataset { id } }".to_owned(),
        format!("{{ dataset(id: \"{connection}\", externalId: \"hunter2\") {{ id }} }}"),
    ] {
        let answer = stage.admin.tries(&query, Value::Null).await;
        repeats_nothing(&answer);
        assert_eq!(answer.code(), Some("BAD_USER_INPUT"), "{query}: {:#}", answer.body);
    }
}
