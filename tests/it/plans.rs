//! No list and nothing that runs by itself looks at all rows of a table. The statements are those that the server sends,
//! run once more on tables that are filled; which lists, orders and filters there are is read from the server's own SDL.
//!
//! `totalCount` is left out: it counts all that match. So are a search (which looks for a piece of a name), and the filters
//! whose rows nothing tells apart ([`WALKED`]).

mod fill;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_graphql::parser::{
    parse_schema,
    types::{TypeDefinition, TypeKind, TypeSystemDefinition},
};
use chrono::TimeDelta;
use patchbay::{
    db::Watch,
    ids::{self, Kind},
};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;
use uuid::Uuid;

use crate::harness::{Person, Setup, Stage};
use fill::{Of, fill, large};
use work::Scales;

/// Each list with what it is asked by; `@` and a letter stand for the id of a row in its middle.
const LISTS: &[(&str, &str)] = &[
    ("Query.apiKeys", "{ apiKeys(ARGS) { EDGES { node { id name createdBy { name } } } } }"),
    ("Query.auditLog", "{ auditLog(ARGS) { EDGES { node { id action user { name } } } } }"),
    ("Query.authorizations", "{ authorizations(ARGS) { EDGES { node { id status disconnection { id } } } } }"),
    ("Query.clients", "{ clients(ARGS) { EDGES { node { id name connectionCounts { total disconnected } } } } }"),
    (
        "Query.connections",
        "{ connections(ARGS) { EDGES { node { id status lastCheckedAt client { name } authorization { id } \
         disconnection { id } createdBy { name } sharedWith { name } } } } }",
    ),
    ("Query.datasets", "{ datasets(ARGS) { EDGES { node { id status connection { id } } } } }"),
    ("Query.disconnections", "{ disconnections(ARGS) { EDGES { node { id reason reconnectConnectionId } } } }"),
    ("Query.metrics", "{ metrics(ARGS) { EDGES { node { id value dataset { id } } } } }"),
    ("Query.users", "{ users(ARGS) { EDGES { node { id name } } } }"),
    ("Query.connectionChanges", "{ connectionChanges(after: \"@cursor\") { nodes { kind } } }"),
    ("Authorization.clients", "{ authorization(id: \"@a\") { clients(ARGS) { EDGES { node { id } } } } }"),
    ("Authorization.connections", "{ authorization(id: \"@a\") { connections(ARGS) { EDGES { node { id } } } } }"),
    ("Client.connections", "{ client(id: \"@c\") { connections(ARGS) { EDGES { node { id } } } } }"),
    ("Connection.datasets", "{ connection(id: \"@b\") { datasets(ARGS) { EDGES { node { id } } } } }"),
    ("Connection.disconnections", "{ connection(id: \"@b\") { disconnections(ARGS) { EDGES { node { id } } } } }"),
    ("Dataset.metrics", "{ dataset(id: \"@e\") { metrics(ARGS) { EDGES { node { id } } } } }"),
    ("Dataset.rows", "{ dataset(id: \"@e\") { rows { nodes } } }"),
    (
        "Disconnection.connections",
        "{ node(id: \"@d\") { ... on Disconnection { connections(ARGS) { EDGES { node { id } } } } } }",
    ),
    (
        "Notification.connections",
        "{ viewer { notifications(first: 5) { nodes { connections(ARGS) { EDGES { node { id } } } } } } }",
    ),
    (
        "Notification.clients",
        "{ viewer { notifications(first: 5) { nodes { clients(ARGS) { EDGES { node { id } } } } } } }",
    ),
    ("Viewer.notifications", "{ viewer { unreadNotificationCount notifications(ARGS) { EDGES { node { id } } } } }"),
];

/// Lists that no table of ours holds.
const NOT_OURS: [&str; 3] =
    ["Query.connectors", "Authorization.availableAccounts", "AuthorizationAttempt.availableAccounts"];

/// What fulfils a filter or an argument.
const VALUES: &[(&str, &str)] = &[
    ("AuditFilter.action", "\"connection.removed\""),
    ("AuditFilter.userId", "\"@member\""),
    ("AuditFilter.apiKeyId", "\"@2\""),
    ("AuditFilter.subjectId", "\"@b\""),
    ("AuthorizationFilter.connector", "[\"sandbox-shop\"]"),
    ("AuthorizationFilter.status", "[DISCONNECTED]"),
    ("ConnectionFilter.status", "[DISCONNECTED]"),
    ("ConnectionFilter.clientId", "[\"@c\"]"),
    ("ConnectionFilter.connector", "[\"sandbox-shop\"]"),
    ("ConnectionFilter.authorizationId", "\"@a\""),
    ("ConnectionFilter.createdBy", "[\"@member\"]"),
    ("ConnectionFilter.relation", "[SHARED_WITH_ME]"),
    ("ConnectionFilter.reason", "[REVOKED]"),
    ("ConnectionFilter.failing", "true"),
    ("ConnectionFilter.statusChangedAfter", "\"2026-03-01T12:00:00Z\""),
    ("DatasetFilter.connectionId", "\"@b\""),
    ("DatasetFilter.clientId", "\"@c\""),
    ("DatasetFilter.status", "[FAILED]"),
    ("DisconnectionFilter.open", "true"),
    ("DisconnectionFilter.connectionId", "\"@b\""),
    ("DisconnectionFilter.clientId", "\"@c\""),
    ("DisconnectionFilter.startedAfter", "\"2026-03-01T12:00:00Z\""),
    ("DisconnectionFilter.startedBefore", "\"2025-12-01T12:00:00Z\""),
    ("MetricFilter.datasetId", "\"@e\""),
    ("Viewer.notifications(unreadOnly:)", "true"),
];

/// Filters that are tried on each row of their list until a page is full.
const WALKED: [&str; 11] = [
    "AuditFilter.after",
    "AuditFilter.before",
    "ConnectionFilter.search",
    "DatasetFilter.search",
    "DisconnectionFilter.connector",
    "DisconnectionFilter.reason",
    "DisconnectionFilter.endedAfter",
    "MetricFilter.failing",
    "Query.clients(search:)",
    "Query.users(search:)",
    "Query.connectionChanges(filter:)",
];

/// How a page is asked for, which [`every_way`] does.
const PAGING: [&str; 4] = ["first", "after", "last", "before"];

/// The statements that a server sent.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<Statement>>>);

impl Record {
    fn watch(&self) -> Watch {
        let record = self.clone();
        Watch::new(move |statement| record.0.lock().unwrap().push(statement.clone()))
    }

    /// Those since the last time.
    fn take(&self) -> Vec<Statement> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A stage whose tables are filled.
struct Filled {
    stage: Stage,
    record: Record,
    scales: Scales,
    member: Person,
    client: Person,
    cursor: String,
}

impl Filled {
    async fn new() -> Self {
        let record = Record::default();
        let stage = Stage::with(Setup { statements: Some(record.watch()), ..Setup::default() }).await;
        let shared = stage.shared_grant().await;
        let dataset = stage.admin.makes_dataset(&shared.lamps, "report").await;
        let metric = json!({ "datasetId": dataset, "name": "Visits", "aggregation": "COUNT" });
        stage.admin.does("createMetric", metric, "").await;
        let member = stage.person("Mel", "MEMBER", None).await;
        let client = stage.person("Carl", "CLIENT", Some(&shared.acme)).await;
        let cursor = stage.admin.sees("{ eventCursor }").await["eventCursor"].as_str().unwrap().to_owned();
        let workspace = entity_workspace(&stage).await;
        fill(&stage.db, &Of { workspace, admin: stage.admin.uuid(), member: member.uuid() }).await;
        let scales = Scales::new(stage.database.url()).await;
        record.take();
        Self { stage, record, scales, member, client, cursor }
    }

    /// Every statement since the last time that looks at too much, and `what` sent it.
    async fn flaws(&self, what: &str) -> Vec<String> {
        let mut flaws = Vec::new();
        for statement in self.record.take() {
            flaws.extend(self.scales.weigh(&statement).await.map(|flaw| format!("{what}: {flaw}\n")));
        }
        flaws
    }

    /// A document with ids in place of words.
    fn with_ids(&self, document: &str) -> String {
        let row = |letter: u128| Uuid::from_u128((letter << 124) | 1_600);
        let shown = [
            ("@member", self.member.id.clone()),
            ("@cursor", self.cursor.clone()),
            ("@a", ids::encode(Kind::Authorization, row(0xa))),
            ("@b", ids::encode(Kind::Connection, row(0xb))),
            ("@c", ids::encode(Kind::Client, row(0xc))),
            ("@d", ids::encode(Kind::Disconnection, row(0xd))),
            ("@e", ids::encode(Kind::Dataset, row(0xe))),
            ("@2", ids::encode(Kind::ApiKey, Uuid::from_u128((2 << 124) | 1))),
        ];
        shown.iter().fold(document.to_owned(), |document, (word, id)| document.replace(word, id))
    }
}

async fn entity_workspace(stage: &Stage) -> Uuid {
    use sea_orm::EntityTrait;
    entity::workspace::Entity::find().one(stage.db.reader()).await.unwrap().unwrap().id
}

/// The definitions of the server's SDL.
fn definitions() -> BTreeMap<String, TypeDefinition> {
    let document = parse_schema(patchbay::graphql::sdl()).unwrap();
    let types = document.definitions.into_iter().filter_map(|definition| match definition {
        TypeSystemDefinition::Type(definition) => Some((definition.node.name.node.to_string(), definition.node)),
        _ => None,
    });
    types.collect()
}

/// Every list, with its arguments and their types.
fn lists(types: &BTreeMap<String, TypeDefinition>) -> BTreeMap<String, Vec<(String, String)>> {
    let mut lists = BTreeMap::new();
    for (owner, definition) in types {
        let TypeKind::Object(object) = &definition.kind else { continue };
        for field in &object.fields {
            let field = &field.node;
            if !field.ty.node.to_string().trim_end_matches('!').ends_with("Page") {
                continue;
            }
            let argument =
                |argument: &async_graphql::Positioned<async_graphql::parser::types::InputValueDefinition>| {
                    let ty = argument.node.ty.node.to_string();
                    (argument.node.name.node.to_string(), ty.trim_end_matches('!').to_owned())
                };
            lists.insert(format!("{owner}.{}", field.name.node), field.arguments.iter().map(argument).collect());
        }
    }
    lists
}

/// The fields of an input, or the values of an enum.
fn names(types: &BTreeMap<String, TypeDefinition>, of: &str) -> Vec<String> {
    match &types[of].kind {
        TypeKind::InputObject(input) => input.fields.iter().map(|field| field.node.name.node.to_string()).collect(),
        TypeKind::Enum(values) => values.values.iter().map(|value| value.node.value.node.to_string()).collect(),
        _ => panic!("{of} has no names"),
    }
}

/// The arguments with which a list is asked, beside none: each of its orders, and each filter.
fn every_way(types: &BTreeMap<String, TypeDefinition>, list: &str, arguments: &[(String, String)]) -> Vec<String> {
    let mut ways = vec![String::new()];
    for (argument, ty) in arguments.iter().filter(|(argument, _)| !PAGING.contains(&argument.as_str())) {
        let value = |place: &str| VALUES.iter().find(|(known, _)| *known == place).map(|(_, value)| *value);
        match (argument.as_str(), types.get(ty)) {
            ("orderBy", Some(_)) => {
                for field in names(types, &format!("{ty}Field")) {
                    for direction in names(types, "OrderDirection") {
                        ways.push(format!("orderBy: {{ field: {field}, direction: {direction} }}"));
                    }
                }
            }
            ("filter", Some(_)) if !WALKED.contains(&&*format!("{list}({argument}:)")) => {
                for field in names(types, ty) {
                    let place = format!("{ty}.{field}");
                    if !WALKED.contains(&place.as_str()) {
                        let value = value(&place).unwrap_or_else(|| panic!("what fulfils {place}? Add it to VALUES"));
                        ways.push(format!("filter: {{ {field}: {value} }}"));
                    }
                }
            }
            _ => {
                let place = format!("{list}({argument}:)");
                if !WALKED.contains(&place.as_str()) {
                    let value = value(&place).unwrap_or_else(|| panic!("what fulfils {place}? Add it to VALUES"));
                    ways.push(format!("{argument}: {value}"));
                }
            }
        }
    }
    ways
}

/// The cursor of the first edge of the list that a document asks for.
fn first_cursor(data: &serde_json::Value) -> Option<String> {
    match data {
        serde_json::Value::Object(fields) => match fields.get("edges") {
            Some(edges) => edges[0]["cursor"].as_str().map(str::to_owned),
            None => fields.values().find_map(first_cursor),
        },
        serde_json::Value::Array(all) => all.iter().find_map(first_cursor),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_looks_at_more_than_its_page_in_any_order() {
    let types = definitions();
    let lists = lists(&types);
    let known: BTreeSet<&str> = LISTS.iter().map(|(list, _)| *list).chain(NOT_OURS).collect();
    let there: BTreeSet<&str> = lists.keys().map(String::as_str).collect();
    assert_eq!(there, known, "every list is asked for in LISTS");

    let filled = Filled::new().await;
    let mut flaws = Vec::new();
    for (list, document) in LISTS {
        for way in every_way(&types, list, &lists[*list]) {
            let asked = |page: &str| {
                let arguments = format!("ARGS: {way} {page}").replace("ARGS: ", "");
                filled.with_ids(&document.replace("ARGS", &arguments).replace("EDGES", "edges { cursor } edges"))
            };
            // The last page first: a cursor far from the start.
            let last = asked("last: 30");
            let data = filled.stage.admin_now().ask(&last, json!({})).await;
            flaws.extend(filled.flaws(&last).await);
            let mut documents = vec![asked("first: 30")];
            documents.extend(first_cursor(&data).map(|cursor| asked(&format!("first: 30, after: \"{cursor}\""))));
            for document in documents {
                filled.stage.admin_now().ask(&document, json!({})).await;
                flaws.extend(filled.flaws(&document).await);
                // Theirs are few rows among many.
                for viewer in [&filled.member, &filled.client] {
                    viewer.tries(&document, json!({})).await;
                    flaws.extend(filled.flaws(&format!("as {}, {document}", viewer.id)).await);
                }
            }
        }
    }
    assert!(flaws.is_empty(), "{} statements look at too much:\n{}", flaws.len(), flaws.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_runs_by_itself_looks_at_what_is_not_due() {
    let filled = Filled::new().await;
    // What was made by hand is due, and done.
    filled.stage.after_a_probe_interval().await;
    filled.record.take();
    let mut flaws = Vec::new();
    for _ in 0..2 {
        filled.stage.later(TimeDelta::seconds(5));
        filled.stage.run_jobs().await;
        flaws.extend(filled.flaws("a round of jobs").await);
        let metrics = crate::harness::http().get(filled.stage.url.join("/metrics").unwrap()).send().await.unwrap();
        assert!(metrics.text().await.unwrap().contains("patchbay_"));
        flaws.extend(filled.flaws("/metrics").await);
    }
    assert!(flaws.is_empty(), "{} statements look at too much:\n{}", flaws.len(), flaws.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_clients_are_read_from_an_index_of_theirs_where_sqlite_has_only_samples() {
    let mut filled = Filled::new().await;
    let db = &filled.stage.db;
    if !db.is_sqlite() {
        return;
    }
    // Clients of many connections each; and a sample of a table with one workspace does not say that it has all rows.
    let crowded = "UPDATE connection SET client_id = few.id FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM client) AS few WHERE few.place = 1 + connection.rowid % 40";
    db.writer().execute_unprepared(&format!("{crowded}; DELETE FROM sqlite_stat1")).await.unwrap();
    db.optimize().await.unwrap();
    filled.scales = Scales::new(filled.stage.database.url()).await;
    filled.stage.admin.sees("{ clients(first: 5) { nodes { connectionCounts { total disconnected } } } }").await;
    assert_eq!(filled.flaws("counts").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_each_row_is_noticed() {
    let filled = Filled::new().await;
    let tables = large(&filled.stage.db).await;
    assert!(tables.len() >= 15, "{tables:?}");
    let backend = filled.stage.db.reader().get_database_backend();
    for table in tables {
        let walk = Statement::from_string(backend, format!("SELECT * FROM \"{table}\""));
        assert!(filled.scales.weigh(&walk).await.is_some(), "{table}");
    }
    for index in ["connection_by_name", "authorization_probes", "authorization_ends"] {
        filled.stage.db.writer().execute_unprepared(&format!("DROP INDEX {index}")).await.unwrap();
    }
    filled.record.take();
    filled.stage.admin_now().sees("{ connections(orderBy: { field: NAME }) { nodes { id } } }").await;
    assert!(!filled.flaws("a list").await.is_empty());
    filled.stage.run_jobs().await;
    let flaws = filled.flaws("jobs").await;
    for due in ["probe_at", "expires_at"] {
        assert!(flaws.iter().any(|flaw| flaw.contains(due)), "{due}: {flaws:?}");
    }
}
