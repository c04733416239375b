//! Every mutation leaves an entry: who, what, to what. And so does everyone who tries what they may not.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::log;
use crate::{
    agency::Agency,
    harness::{Person, Socket, each, nodes},
    schema_fields,
};

/// A mutation, its input with words in place of ids, the action that it leaves, and the type of what it was done to;
/// nothing where that is no more.
type Row = (&'static str, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    (
        "connect",
        r#"{"connector": "sandbox-analytics", "using": {"browser": {}}}"#,
        "attempt.started",
        "AuthorizationAttempt",
    ),
    ("decideAttempt", r#"{"attemptId": "@waiting", "accountId": "100-303"}"#, "connection.added", "Connection"),
    (
        "connectAccounts",
        r#"{"authorizationId": "@authorization", "accounts": [{"accountId": "100-301"}]}"#,
        "connection.added",
        "Authorization",
    ),
    ("updateConnection", r#"{"connectionId": "@connection", "name": "Renamed"}"#, "connection.updated", "Connection"),
    ("checkConnection", r#"{"connectionId": "@connection"}"#, "connection.checked", "Connection"),
    (
        "reportDisconnection",
        r#"{"connectionId": "@connection", "message": "401"}"#,
        "connection.reported",
        "Connection",
    ),
    (
        "shareConnection",
        r#"{"connectionId": "@connection", "userIds": ["@colleague"]}"#,
        "connection.updated",
        "Connection",
    ),
    (
        "unshareConnection",
        r#"{"connectionId": "@connection", "userIds": ["@colleague"]}"#,
        "connection.updated",
        "Connection",
    ),
    ("reconnect", r#"{"connectionId": "@connection"}"#, "attempt.started", "AuthorizationAttempt"),
    ("createReconnectLink", r#"{"connectionId": "@connection"}"#, "link.created", "Connection"),
    ("createConnectLink", r#"{"clientId": "@client", "connectors": ["sandbox-ads"]}"#, "link.created", "Client"),
    ("markNotificationsRead", "{}", "notification.read", "User"),
    ("updateNotificationPreferences", r#"{"reminderEmails": false}"#, "user.preferences_changed", "User"),
    ("createClient", r#"{"name": "Initech"}"#, "client.created", "Client"),
    ("updateClient", r#"{"clientId": "@client", "name": "Acme Inc."}"#, "client.updated", "Client"),
    ("updateWorkspace", r#"{"reminderTime": "08:00"}"#, "workspace.updated", "Workspace"),
    ("createApiKey", r#"{"name": "Pipeline", "role": "STAFF"}"#, "api_key.created", "ApiKey"),
    ("revokeApiKey", r#"{"apiKeyId": "@key"}"#, "api_key.revoked", ""),
    ("createUser", r#"{"name": "Ned", "email": "ned@lighthouse.example", "role": "STAFF"}"#, "user.created", "User"),
    ("updateUser", r#"{"userId": "@colleague", "name": "Nora N."}"#, "user.updated", "User"),
    (
        "createDataset",
        r#"{"connectionId": "@ads", "name": "Days", "query": {"http": {"path": "report", "rowsPointer": "/rows"}}}"#,
        "dataset.created",
        "Dataset",
    ),
    ("updateDataset", r#"{"datasetId": "@dataset", "name": "Renamed"}"#, "dataset.updated", "Dataset"),
    ("refreshDataset", r#"{"datasetId": "@dataset"}"#, "dataset.refreshed", "Dataset"),
    (
        "createMetric",
        r#"{"datasetId": "@dataset", "name": "Clicks", "aggregation": "SUM", "column": "clicks"}"#,
        "metric.created",
        "Metric",
    ),
    ("removeMetric", r#"{"metricId": "@metric"}"#, "metric.removed", ""),
    ("removeDataset", r#"{"datasetId": "@dataset"}"#, "dataset.removed", ""),
    ("removeConnection", r#"{"connectionId": "@connection"}"#, "connection.removed", "Connection"),
    ("removeClient", r#"{"clientId": "@client", "removeConnections": true}"#, "client.removed", ""),
];

#[test]
fn every_mutation_has_a_row_and_every_row_a_mutation() {
    let rows: BTreeSet<String> = ROWS.iter().map(|(mutation, ..)| (*mutation).to_owned()).collect();
    let fields = schema_fields::fields().into_iter().filter(|field| field.owner == "Mutation");
    let fields: BTreeSet<String> = fields.map(|field| field.name).collect();
    let difference: Vec<_> = rows.symmetric_difference(&fields).collect();
    assert!(difference.is_empty(), "on one side only, of the table and the schema: {difference:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_says_who_did_what_to_what() {
    let agency = Agency::new().await;
    agency.ben_leaves().await;
    let started = json!({ "connector": "sandbox-ads", "clientId": agency.acme, "using": { "browser": {} } });
    let (waiting, url) = agency.admin.starts_connecting(started).await;
    agency.stage.browser().signs_in(&url, "ada").await;
    let key = json!({ "name": "Old", "role": "STAFF" });
    let key =
        agency.admin.does("createApiKey", key, "apiKey { id }").await["apiKey"]["id"].as_str().unwrap().to_owned();
    let dataset = agency.admin.makes_dataset(&agency.acme_ads, "report").await;
    let metric = agency.admin.makes_metric(&dataset, "COUNT", None).await;
    let words = [
        ("connection", &agency.acme_visits),
        ("ads", &agency.acme_ads),
        ("dataset", &dataset),
        ("metric", &metric),
        ("authorization", &agency.ads_authorization),
        ("key", &key),
        ("client", &agency.acme),
        ("colleague", &agency.newcomer.id),
        ("waiting", &waiting),
    ];
    for (mutation, input, action, subject) in ROWS {
        let before = log(&agency.admin, Value::Null).await.len();
        let input = words.iter().fold((*input).to_owned(), |input, (word, id)| input.replace(&format!("@{word}"), id));
        agency.admin.does(mutation, serde_json::from_str(&input).unwrap(), "").await;
        let entries = log(&agency.admin, Value::Null).await.split_off(before);
        let found = entries.iter().find(|entry| entry["action"] == *action);
        let found = found.unwrap_or_else(|| panic!("{mutation} left no {action}, but {entries:#?}"));
        assert_eq!(found["user"]["id"], *agency.admin.id, "{mutation}");
        // An attempt is seen by whoever started it, here the same person.
        assert_eq!(found["subject"]["__typename"].as_str().unwrap_or_default(), *subject, "{mutation}: {found:#}");
        assert!(found["details"].is_object(), "{mutation}: {found:#}");
    }
}

const REFUSED: &str = "access.refused";

/// Oldest first. (Their total may be one more already: they are written whenever they are.)
async fn refusals(admin: &Person) -> Vec<Value> {
    let query = "query($filter: AuditFilter) { auditLog(filter: $filter, first: 100) { nodes { action user { id } \
                 subject { __typename id } details } } }";
    let variables = json!({ "variables": { "filter": { "action": REFUSED } } });
    let mut entries = nodes(&admin.ask(query, variables).await["auditLog"]);
    entries.reverse();
    entries
}

/// The refusals, once there are so many: they are written after the answer has left.
async fn awaited(admin: &Person, count: usize) -> Vec<Value> {
    for _ in 0..200 {
        let found = refusals(admin).await;
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("there are {} refusals, not {count}", refusals(admin).await.len());
}

async fn tries(person: &Person, mutation: &str, input: Value) {
    let answer = person.tries_mutation(mutation, input, "").await;
    assert_eq!(answer.code(), Some("FORBIDDEN"), "{mutation}: {:#}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_a_mutation_that_they_may_not_do_is_in_the_log() {
    let agency = Agency::new().await;
    let input = json!({ "name": "PLANTED", "email": "planted@lighthouse.example", "role": "ADMIN" });
    tries(&agency.staff, "createUser", input).await;
    tries(&agency.acme_login, "removeConnection", json!({ "connectionId": agency.acme_ads })).await;
    let found = awaited(&agency.admin, 2).await;
    for (person, mutation) in [(&agency.staff, "createUser"), (&agency.acme_login, "removeConnection")] {
        let entry = found.iter().find(|entry| entry["user"]["id"] == *person.id).unwrap();
        assert_eq!(entry["subject"], json!({ "__typename": "User", "id": person.id }));
        assert_eq!(entry["details"], json!({ "mutation": mutation, "before": 0 }));
    }
    assert!(!Value::Array(found).to_string().contains("PLANTED"), "no typed value");
    let stranger = agency.stage.stranger().await;
    assert_eq!(refusals(&stranger).await.len(), 0, "another workspace has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_fills_the_log_and_what_is_left_out_is_counted() {
    let agency = Agency::new().await;
    for _ in 0..20 {
        tries(&agency.member, "createClient", json!({ "name": "x" })).await;
    }
    tries(&agency.member, "updateClient", json!({ "clientId": agency.acme, "name": "x" })).await;
    assert_eq!(each(&awaited(&agency.admin, 2).await, "action"), [REFUSED, REFUSED], "one for each mutation");
    agency.stage.later(TimeDelta::minutes(1));
    tries(&agency.member, "createClient", json!({ "name": "x" })).await;
    let found = awaited(&agency.admin, 3).await;
    assert_eq!(found[2]["details"], json!({ "mutation": "createClient", "before": 19 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_noted_by_whatever_way_they_come_and_whatever_they_call_it() {
    let agency = Agency::new().await;
    let query = r#"mutation Innocent { connectors: createClient(input: { name: "x" }) { client { id } } }"#;
    let mut socket: Socket = agency.member.socket().await;
    socket.subscribe("1", query, json!({})).await;
    socket.next().await;
    let spread =
        r#"mutation { ...All } fragment All on Mutation { updateUser(input: { userId: "x" }) { user { id } } }"#;
    agency.staff.tries(spread, Value::Null).await;
    let hidden: String = (0..50).map(|n| format!("n{n}: __typename ")).collect();
    let hidden = format!("mutation {{ {hidden} updateUser(input: {{ userId: \"x\" }}) {{ user {{ id }} }} }}");
    agency.member.tries(&hidden, Value::Null).await;
    let found = awaited(&agency.admin, 3).await;
    let mut mutations: Vec<&str> = found.iter().map(|entry| entry["details"]["mutation"].as_str().unwrap()).collect();
    mutations.sort_unstable();
    assert_eq!(mutations, ["createClient", "updateUser", "updateUser"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mendable_what_is_only_read_and_who_is_nobody_are_not_noted() {
    let agency = Agency::new().await;
    assert_eq!(agency.staff.tries("{ auditLog { nodes { id } } }", Value::Null).await.code(), Some("FORBIDDEN"));
    agency.staff.mutates("createClient", json!({ "name": "" }), "").await;
    agency.staff.mutates("updateClient", json!({ "clientId": "nonsense", "name": "x" }), "").await;
    // What is noted afterwards comes after what would have been noted before.
    tries(&agency.member, "createClient", json!({ "name": "x" })).await;
    assert_eq!(awaited(&agency.admin, 1).await.len(), 1);
    assert_eq!(refusals(&agency.admin).await[0]["user"]["id"], *agency.member.id);
}
