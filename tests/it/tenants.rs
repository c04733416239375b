//! Nothing crosses a workspace: an id of another one is like an id of nothing, wherever an id can be sent, and nobody
//! hears of what happens there.

use std::collections::BTreeSet;

use patchbay::ids::{self, Kind};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    agency::{id, ids as ids_of},
    elsewhere::two_workspaces,
    harness::{Frame, Person, dataset_of},
    schema_fields,
};

/// What comes of an id of nothing.
enum Expected {
    /// The field is null.
    Null,
    /// `nodes: [null]`.
    NullNode,
    /// A page without rows.
    NoRows,
    /// The mutation's error NOT_FOUND, at this path of its input.
    NotFound(&'static [&'static str]),
}
use Expected::{NoRows, NotFound, Null, NullNode};

/// Where an id can be sent, of what kind, how it is sent there (words are ids of the sender's own), and what comes of it.
type Place = (&'static str, Kind, &'static str, Expected);

const QUERIES: &[Place] = &[
    ("Query.node(id:)", Kind::Connection, "node(id: $id) { id }", Null),
    ("Query.nodes(ids:)", Kind::Connection, "nodes(ids: [$id]) { id }", NullNode),
    ("Query.client(id:)", Kind::Client, "client(id: $id) { id name }", Null),
    ("Query.connection(id:)", Kind::Connection, "connection(id: $id) { id name }", Null),
    ("Query.authorization(id:)", Kind::Authorization, "authorization(id: $id) { id }", Null),
    ("Query.authorizationAttempt(id:)", Kind::Attempt, "authorizationAttempt(id: $id) { id }", Null),
    (
        "ConnectionFilter.clientId",
        Kind::Client,
        "connections(filter: { clientId: [$id] }) { totalCount nodes { id } }",
        NoRows,
    ),
    (
        "ConnectionFilter.authorizationId",
        Kind::Authorization,
        "connections(filter: { authorizationId: $id }) { totalCount nodes { id } }",
        NoRows,
    ),
    (
        "ConnectionFilter.createdBy",
        Kind::User,
        "connections(filter: { createdBy: [$id] }) { totalCount nodes { id } }",
        NoRows,
    ),
    (
        "DisconnectionFilter.connectionId",
        Kind::Connection,
        "disconnections(filter: { connectionId: $id }) { totalCount nodes { id } }",
        NoRows,
    ),
    (
        "DisconnectionFilter.clientId",
        Kind::Client,
        "disconnections(filter: { clientId: $id }) { totalCount nodes { id } }",
        NoRows,
    ),
    ("Query.dataset(id:)", Kind::Dataset, "dataset(id: $id) { id name }", Null),
    ("Query.metric(id:)", Kind::Metric, "metric(id: $id) { id name }", Null),
    (
        "DatasetFilter.connectionId",
        Kind::Connection,
        "datasets(filter: { connectionId: $id }) { totalCount nodes { id } }",
        NoRows,
    ),
    ("DatasetFilter.clientId", Kind::Client, "datasets(filter: { clientId: $id }) { totalCount nodes { id } }", NoRows),
    (
        "MetricFilter.datasetId",
        Kind::Dataset,
        "metrics(filter: { datasetId: $id }) { totalCount nodes { id } }",
        NoRows,
    ),
    ("AuditFilter.userId", Kind::User, "auditLog(filter: { userId: $id }) { totalCount nodes { id } }", NoRows),
    ("AuditFilter.apiKeyId", Kind::ApiKey, "auditLog(filter: { apiKeyId: $id }) { totalCount nodes { id } }", NoRows),
    ("AuditFilter.subjectId", Kind::Client, "auditLog(filter: { subjectId: $id }) { totalCount nodes { id } }", NoRows),
];

const MUTATIONS: &[Place] = &[
    (
        "ConnectInput.clientId",
        Kind::Client,
        r#"connect(input: { connector: "sandbox-analytics", clientId: $id, using: { browser: {} } })"#,
        NotFound(&["clientId"]),
    ),
    (
        "ConnectUsing.authorizationId",
        Kind::Authorization,
        r#"connect(input: { connector: "sandbox-analytics", using: { authorizationId: $id } })"#,
        NotFound(&["using", "authorizationId"]),
    ),
    (
        "ConnectAccountsInput.authorizationId",
        Kind::Authorization,
        r#"connectAccounts(input: { authorizationId: $id, accounts: [{ accountId: "100-301" }] })"#,
        NotFound(&["authorizationId"]),
    ),
    (
        "DecideAttemptInput.attemptId",
        Kind::Attempt,
        "decideAttempt(input: { attemptId: $id })",
        NotFound(&["attemptId"]),
    ),
    (
        "ReconnectInput.connectionId",
        Kind::Connection,
        "reconnect(input: { connectionId: $id })",
        NotFound(&["connectionId"]),
    ),
    (
        "ReconnectInput.authorizationId",
        Kind::Authorization,
        r#"reconnect(input: { connectionId: "@connection", authorizationId: $id })"#,
        NotFound(&["authorizationId"]),
    ),
    (
        "CreateReconnectLinkInput.connectionId",
        Kind::Connection,
        "createReconnectLink(input: { connectionId: $id })",
        NotFound(&["connectionId"]),
    ),
    (
        "CreateConnectLinkInput.clientId",
        Kind::Client,
        r#"createConnectLink(input: { clientId: $id, connectors: ["sandbox-ads"] })"#,
        NotFound(&["clientId"]),
    ),
    (
        "RemoveConnectionInput.connectionId",
        Kind::Connection,
        "removeConnection(input: { connectionId: $id })",
        NotFound(&["connectionId"]),
    ),
    (
        "UpdateConnectionInput.connectionId",
        Kind::Connection,
        r#"updateConnection(input: { connectionId: $id, name: "Taken" })"#,
        NotFound(&["connectionId"]),
    ),
    (
        "UpdateConnectionInput.clientId",
        Kind::Client,
        r#"updateConnection(input: { connectionId: "@connection", clientId: $id })"#,
        NotFound(&["clientId"]),
    ),
    (
        "ShareConnectionInput.connectionId",
        Kind::Connection,
        r#"shareConnection(input: { connectionId: $id, userIds: ["@user"] })"#,
        NotFound(&["connectionId"]),
    ),
    (
        "ShareConnectionInput.userIds",
        Kind::User,
        r#"shareConnection(input: { connectionId: "@connection", userIds: [$id] })"#,
        NotFound(&["userIds", "0"]),
    ),
    (
        "UnshareConnectionInput.connectionId",
        Kind::Connection,
        r#"unshareConnection(input: { connectionId: $id, userIds: ["@user"] })"#,
        NotFound(&["connectionId"]),
    ),
    (
        "UnshareConnectionInput.userIds",
        Kind::User,
        r#"unshareConnection(input: { connectionId: "@connection", userIds: [$id] })"#,
        NotFound(&["userIds", "0"]),
    ),
    (
        "CheckConnectionInput.connectionId",
        Kind::Connection,
        "checkConnection(input: { connectionId: $id })",
        NotFound(&["connectionId"]),
    ),
    (
        "ReportDisconnectionInput.connectionId",
        Kind::Connection,
        r#"reportDisconnection(input: { connectionId: $id, message: "401" })"#,
        NotFound(&["connectionId"]),
    ),
    (
        "MarkNotificationsReadInput.notificationIds",
        Kind::Notification,
        "markNotificationsRead(input: { notificationIds: [$id] })",
        NotFound(&["notificationIds"]),
    ),
    (
        "MarkNotificationsReadInput.through",
        Kind::Notification,
        "markNotificationsRead(input: { through: $id })",
        NotFound(&["through"]),
    ),
    (
        "CreateDatasetInput.connectionId",
        Kind::Connection,
        r#"createDataset(input: { connectionId: $id, name: "Taken", query: { http: { path: "report" } } })"#,
        NotFound(&["connectionId"]),
    ),
    (
        "UpdateDatasetInput.datasetId",
        Kind::Dataset,
        r#"updateDataset(input: { datasetId: $id, name: "Taken" })"#,
        NotFound(&["datasetId"]),
    ),
    (
        "UpdateDatasetInput.connectionId",
        Kind::Connection,
        r#"updateDataset(input: { datasetId: "@dataset", connectionId: $id })"#,
        NotFound(&["connectionId"]),
    ),
    (
        "RefreshDatasetInput.datasetId",
        Kind::Dataset,
        "refreshDataset(input: { datasetId: $id })",
        NotFound(&["datasetId"]),
    ),
    (
        "RemoveDatasetInput.datasetId",
        Kind::Dataset,
        "removeDataset(input: { datasetId: $id })",
        NotFound(&["datasetId"]),
    ),
    (
        "CreateMetricInput.datasetId",
        Kind::Dataset,
        r#"createMetric(input: { datasetId: $id, name: "Taken", aggregation: COUNT })"#,
        NotFound(&["datasetId"]),
    ),
    ("RemoveMetricInput.metricId", Kind::Metric, "removeMetric(input: { metricId: $id })", NotFound(&["metricId"])),
    (
        "UpdateClientInput.clientId",
        Kind::Client,
        r#"updateClient(input: { clientId: $id, name: "Taken" })"#,
        NotFound(&["clientId"]),
    ),
    (
        "RemoveClientInput.clientId",
        Kind::Client,
        "removeClient(input: { clientId: $id, removeConnections: true })",
        NotFound(&["clientId"]),
    ),
    (
        "CreateApiKeyInput.clientId",
        Kind::Client,
        r#"createApiKey(input: { name: "Reports", role: CLIENT, clientId: $id })"#,
        NotFound(&["clientId"]),
    ),
    ("RevokeApiKeyInput.apiKeyId", Kind::ApiKey, "revokeApiKey(input: { apiKeyId: $id })", NotFound(&["apiKeyId"])),
    (
        "CreateUserInput.clientId",
        Kind::Client,
        r#"createUser(input: { name: "Ned", email: "ned@lighthouse.example", role: CLIENT, clientId: $id })"#,
        NotFound(&["clientId"]),
    ),
    ("UpdateUserInput.userId", Kind::User, "updateUser(input: { userId: $id, active: false })", NotFound(&["userId"])),
    (
        "UpdateUserInput.clientId",
        Kind::Client,
        r#"updateUser(input: { userId: "@user", role: CLIENT, clientId: $id })"#,
        NotFound(&["clientId"]),
    ),
];

/// Tested below, each by itself.
const BY_THEMSELVES: [&str; 3] = [
    "Subscription.authorizationAttemptChanged(id:)",
    "Subscription.datasetsChanged(connectionId:)",
    "AccountToConnect.clientId",
];

#[test]
fn every_place_for_an_id_has_a_row_and_every_row_a_place() {
    let rows: BTreeSet<String> =
        QUERIES.iter().chain(MUTATIONS).map(|row| row.0).chain(BY_THEMSELVES).map(str::to_owned).collect();
    let arguments = schema_fields::fields().into_iter().flat_map(|field| field.arguments);
    let places = arguments.chain(schema_fields::inputs()).filter(|input| input.type_name == "ID");
    let places: BTreeSet<String> = places.map(|input| input.place).collect();
    let difference: Vec<_> = rows.symmetric_difference(&places).collect();
    assert!(difference.is_empty(), "on one side only, of the table and the schema: {difference:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_workspace_is_like_one_of_nothing_in_every_query_and_filter() {
    let (agency, elsewhere) = two_workspaces().await;
    for (place, kind, call, expected) in QUERIES {
        let query = format!("query($id: ID!) {{ {call} }}");
        let foreign = alike(&agency.admin, place, &query, *kind, &elsewhere.id(*kind)).await;
        let field = name(call);
        let nothing = match expected {
            Null => json!({ field: null }),
            NullNode => json!({ field: [null] }),
            NoRows => json!({ field: { "totalCount": 0, "nodes": [] } }),
            NotFound(_) => unreachable!("a query has no payload"),
        };
        assert_eq!(foreign, json!({ "data": nothing }), "{place}");
        let own = elsewhere.admin.ask(&query, json!({ "variables": { "id": elsewhere.id(*kind) } })).await;
        assert_ne!(own, nothing, "{place}: the id is of something, for those who may see it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_workspace_is_a_node() {
    let (agency, elsewhere) = two_workspaces().await;
    let query = "query($id: ID!) { node(id: $id) { __typename id } }";
    for (kind, theirs) in &elsewhere.ids {
        assert_eq!(alike(&agency.admin, "node", query, *kind, theirs).await, json!({ "data": { "node": null } }));
        let own = elsewhere.admin.ask(query, json!({ "variables": { "id": theirs } })).await;
        assert_eq!(own["node"]["id"], json!(theirs), "{kind:?}");
    }
    let all: Vec<&String> = elsewhere.ids.iter().map(|(_, id)| id).collect();
    let many = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    let seen = agency.admin.ask(many, json!({ "variables": { "ids": all } })).await;
    assert_eq!(seen["nodes"], json!(vec![Value::Null; all.len()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_workspace_is_like_one_of_nothing_in_every_mutation() {
    let (agency, elsewhere) = two_workspaces().await;
    let dataset = agency.admin.makes_dataset(&agency.acme_ads, "report").await;
    let before = elsewhere.whole().await;
    for (place, kind, call, expected) in MUTATIONS {
        let call = call
            .replace("@connection", &agency.acme_visits)
            .replace("@user", &agency.newcomer.id)
            .replace("@dataset", &dataset);
        let mutation =
            format!("mutation($id: ID!) {{ {call} {{ errors {{ code field message conflictsWith {{ id }} }} }} }}");
        let foreign = alike(&agency.admin, place, &mutation, *kind, &elsewhere.id(*kind)).await;
        let NotFound(path) = expected else { panic!("{place}: a mutation has a payload") };
        let error = &foreign["data"][name(&call)]["errors"][0];
        assert_eq!((&error["code"], &error["field"]), (&json!("NOT_FOUND"), &json!(path)), "{place}: {foreign:#}");
        assert_eq!(error["conflictsWith"], Value::Null, "{place}");
    }
    assert_eq!(elsewhere.whole().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_workspace_is_like_none_in_a_row_of_many() {
    let (agency, elsewhere) = two_workspaces().await;
    let before = elsewhere.whole().await;
    let mutation = format!(
        r#"mutation($id: ID!) {{ connectAccounts(input: {{ authorizationId: "{}",
             accounts: [{{ accountId: "100-303", clientId: $id }}] }})
             {{ results {{ connection {{ id }} errors {{ code field conflictsWith {{ id }} }} }} errors {{ code }} }} }}"#,
        agency.ads_authorization
    );
    let client = elsewhere.id(Kind::Client);
    let foreign = alike(&agency.admin, "AccountToConnect.clientId", &mutation, Kind::Client, &client).await;
    let error = json!({ "code": "NOT_FOUND", "field": ["accounts", "0", "clientId"], "conflictsWith": null });
    let row = json!({ "connection": null, "errors": [error] });
    assert_eq!(foreign["data"]["connectAccounts"], json!({ "results": [row], "errors": [] }));
    assert_eq!(elsewhere.whole().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_workspace_is_like_one_of_nobody() {
    let (agency, _elsewhere) = two_workspaces().await;
    let mut answers = Vec::new();
    for address in ["eve@elsewhere.example", "nobody@elsewhere.example"] {
        let input = json!({ "connectionId": agency.acme_ads, "emails": [address] });
        answers.push(agency.admin.mutates("shareConnection", input, "connection { id }").await);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0]["errors"][0]["code"], "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn external_ids_and_addresses_are_each_workspaces_own() {
    let (agency, elsewhere) = two_workspaces().await;
    for query in [
        r#"{ found: client(externalId: "c-1") { id } }"#,
        r#"{ found: connection(externalId: "s-1") { id } }"#,
        r#"{ found: dataset(externalId: "d-1") { id } }"#,
    ] {
        assert_eq!(agency.admin.sees(query).await["found"], Value::Null);
        assert_ne!(elsewhere.admin.sees(query).await["found"], Value::Null);
    }
    let client =
        agency.admin.does("createClient", json!({ "name": "Initech", "externalId": "c-1" }), "client { id }").await;
    assert_ne!(id(&client["client"]), elsewhere.id(Kind::Client));
    let input = json!({
        "connector": "sandbox-ads", "clientId": agency.acme, "accountId": "100-303", "externalId": "s-1",
        "using": { "authorizationId": agency.ads_authorization },
    });
    let connected = agency.admin.does("connect", input, "connection { client { id } }").await;
    assert_eq!(id(&connected["connection"]["client"]), agency.acme);
    let mut report = dataset_of(&agency.acme_ads, "report");
    report["externalId"] = json!("d-1");
    agency.admin.does("createDataset", report, "dataset { id }").await;
    let namesake = json!({ "name": "Eve", "email": "eve@elsewhere.example", "role": "STAFF" });
    agency.admin.does("createUser", namesake, "user { id }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_of_another_workspace_is_like_one_of_nothing_to_a_subscription() {
    let (agency, elsewhere) = two_workspaces().await;
    let attempt = elsewhere.id(Kind::Attempt);
    let subscription = "subscription($id: ID!) { authorizationAttemptChanged(id: $id) { id status } }";
    let mut frames = Vec::new();
    for id in [attempt.clone(), of_nothing(Kind::Attempt), "hunter2".to_owned()] {
        let mut socket = agency.admin.socket().await;
        socket.subscribe("1", subscription, json!({ "id": id })).await;
        frames.push(socket.next().await);
    }
    let Frame::Message(refused) = &frames[0] else { panic!("{frames:?}") };
    assert_eq!(refused["payload"][0]["extensions"]["code"], "BAD_USER_INPUT");
    assert!(frames.iter().all(|frame| *frame == frames[0]), "{frames:#?}");

    let mut own = elsewhere.admin.socket().await;
    own.subscribe("1", subscription, json!({ "id": attempt })).await;
    assert_eq!(own.event().await["authorizationAttemptChanged"]["id"], json!(attempt));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hears_of_what_happens_in_another_workspace() {
    let (agency, elsewhere) = two_workspaces().await;
    let filters = [
        json!({}),
        json!({ "clientId": [agency.acme] }),
        json!({ "authorizationId": agency.ads_authorization }),
        json!({ "createdBy": [agency.admin.id] }),
        json!({ "search": "Acme" }),
    ];
    let changes = "subscription($filter: ConnectionFilter, $after: String) \
                   { connectionsChanged(filter: $filter, after: $after) \
                   { kind connections { id } removedConnectionIds clients { id } by { id } } }";
    let cursor = elsewhere.admin.event_cursor().await;
    let mut socket = elsewhere.admin.socket().await;
    for (place, filter) in filters.iter().enumerate() {
        socket.subscribe(&place.to_string(), changes, json!({ "filter": filter, "after": cursor })).await;
    }
    agency.renames(&agency.acme_ads, "Acme Renamed").await;
    agency.shares(&agency.acme_ads, &agency.member).await;
    agency.admin.does("removeConnection", json!({ "connectionId": agency.globex_ads }), "").await;
    let theirs = elsewhere.id(Kind::Connection);
    elsewhere.admin.does("updateConnection", json!({ "connectionId": theirs, "name": "Theirs" }), "").await;

    let Frame::Message(first) = socket.next().await else { panic!("no event came") };
    let change = &first["payload"]["data"]["connectionsChanged"];
    assert_eq!((&first["id"], ids_of(&change["connections"])), (&json!("0"), vec![theirs]), "{first:#}");
    assert!(socket.is_quiet().await, "the filters name nothing that is here");

    let polled = "query($after: String!, $filter: ConnectionFilter) \
                  { connectionChanges(after: $after, filter: $filter) { nodes { kind } } }";
    for (filter, expected) in filters.iter().zip([1, 0, 0, 0, 0]) {
        let variables = json!({ "variables": { "after": cursor, "filter": filter } });
        let page = elsewhere.admin.ask(polled, variables).await;
        assert_eq!(page["connectionChanges"]["nodes"].as_array().unwrap().len(), expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hears_of_datasets_of_another_workspace() {
    let (agency, elsewhere) = two_workspaces().await;
    let changes = "subscription($connection: ID, $after: String) \
                   { datasetsChanged(connectionId: $connection, after: $after) { kind datasetId dataset { id } } }";
    let cursor = elsewhere.admin.event_cursor().await;
    let mut socket = elsewhere.admin.socket().await;
    for (name, connection) in [("all", Value::Null), ("ours", json!(agency.acme_ads)), ("none", json!("hunter2"))] {
        socket.subscribe(name, changes, json!({ "connection": connection, "after": cursor })).await;
    }
    let ours = agency.admin.makes_dataset(&agency.acme_ads, "report").await;
    agency.admin.does("refreshDataset", json!({ "datasetId": ours }), "").await;
    agency.admin.does("removeDataset", json!({ "datasetId": ours }), "").await;
    let theirs = elsewhere.id(Kind::Dataset);
    elsewhere.admin.does("removeDataset", json!({ "datasetId": theirs }), "").await;

    let Frame::Message(first) = socket.next().await else { panic!("no event came") };
    let expected = json!({ "kind": "REMOVED", "datasetId": theirs, "dataset": null });
    assert_eq!((&first["id"], &first["payload"]["data"]["datasetsChanged"]), (&json!("all"), &expected));
    assert!(socket.is_quiet().await, "the filters name nothing that is here");
}

// ── what these tests ask ──

/// Sends an id of another workspace, of nothing, of another kind, and no id at all: the one answer to all of them.
async fn alike(person: &Person, place: &str, operation: &str, kind: Kind, foreign: &str) -> Value {
    let other = if kind == Kind::Dataset { Kind::Metric } else { Kind::Dataset };
    let ids = [
        foreign.to_owned(),
        of_nothing(kind),
        of_nothing(other),
        "hunter2".to_owned(),
        String::new(),
        format!("{foreign}x"),
    ];
    let mut answers = Vec::new();
    for id in &ids {
        answers.push(person.tries(operation, json!({ "variables": { "id": id } })).await.body);
    }
    for (id, answer) in ids.iter().zip(&answers) {
        assert_eq!(answer, &answers[0], "{place}: {id:?} is told from an id of another workspace");
    }
    answers.swap_remove(0)
}

/// An id of this kind that nothing has.
fn of_nothing(kind: Kind) -> String {
    ids::encode(kind, Uuid::from_u128(0x0192_7b3c_aaaa_7bbb_8ccc_dddd_eeee_ffff))
}

/// The field that a call asks for.
fn name(call: &str) -> &str {
    call.split(['(', ' ']).next().unwrap()
}
