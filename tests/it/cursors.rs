//! Cursors say where someone stands, and are good for one list in one order of one workspace: whatever else is sent as
//! one is told from a real one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    agency::Agency,
    elsewhere::{two_workspaces, words_of},
    harness::Person,
    schema_fields,
};

/// A list, a document that asks for one part of it, and where the page stands in the answer.
type List = (&'static str, &'static str, &'static str);

const LISTS: &[List] = &[
    ("Query.clients", "clients(PART)", "/clients"),
    ("Query.users", "users(PART)", "/users"),
    ("Query.connectors", "connectors(PART)", "/connectors"),
    ("Query.connections", "connections(PART)", "/connections"),
    ("Query.authorizations", "authorizations(PART)", "/authorizations"),
    ("Query.disconnections", "disconnections(PART)", "/disconnections"),
    ("Query.datasets", "datasets(PART)", "/datasets"),
    ("Query.metrics", "metrics(PART)", "/metrics"),
    ("Query.apiKeys", "apiKeys(PART)", "/apiKeys"),
    ("Query.auditLog", "auditLog(PART)", "/auditLog"),
    ("Viewer.notifications", "viewer { notifications(PART) }", "/viewer/notifications"),
    ("Client.connections", r#"client(id: "@client") { connections(PART) }"#, "/client/connections"),
    (
        "Authorization.connections",
        r#"authorization(id: "@authorization") { connections(PART) }"#,
        "/authorization/connections",
    ),
    ("Authorization.clients", r#"authorization(id: "@authorization") { clients(PART) }"#, "/authorization/clients"),
    (
        "Authorization.availableAccounts",
        r#"authorization(id: "@authorization") { availableAccounts(PART) }"#,
        "/authorization/availableAccounts",
    ),
    (
        "AuthorizationAttempt.availableAccounts",
        r#"authorizationAttempt(id: "@attempt") { availableAccounts(PART) }"#,
        "/authorizationAttempt/availableAccounts",
    ),
    (
        "Connection.disconnections",
        r#"connection(id: "@broken") { disconnections(PART) }"#,
        "/connection/disconnections",
    ),
    (
        "Connection.datasets",
        r#"dataset(id: "@dataset") { connection { datasets(PART) } }"#,
        "/dataset/connection/datasets",
    ),
    ("Dataset.metrics", r#"dataset(id: "@dataset") { metrics(PART) }"#, "/dataset/metrics"),
    ("Dataset.rows", r#"dataset(id: "@dataset") { rows(PART) }"#, "/dataset/rows"),
    (
        "Disconnection.connections",
        r#"node(id: "@disconnection") { ... on Disconnection { connections(PART) } }"#,
        "/node/connections",
    ),
    ("Notification.clients", r#"node(id: "@notification") { ... on Notification { clients(PART) } }"#, "/node/clients"),
    (
        "Notification.connections",
        r#"node(id: "@notification") { ... on Notification { connections(PART) } }"#,
        "/node/connections",
    ),
];

/// Rows are bare JSON: each has its place, and none an edge.
const ROWS: &str = "Dataset.rows";

/// Where a journal cursor is taken.
const JOURNAL: &[(&str, &str)] = &[
    ("Query.connectionChanges", "query($after: String!) { connectionChanges(after: $after) { endCursor } }"),
    (
        "Subscription.connectionsChanged",
        "subscription($after: String) { connectionsChanged(after: $after) { cursor } }",
    ),
    ("Subscription.datasetsChanged", "subscription($after: String) { datasetsChanged(after: $after) { cursor } }"),
    ("Subscription.notificationAdded", "subscription($after: String) { notificationAdded(after: $after) { cursor } }"),
    ("Subscription.notificationsRead", "subscription($after: String) { notificationsRead(after: $after) { cursor } }"),
    (
        "Subscription.notificationsRemoved",
        "subscription($after: String) { notificationsRemoved(after: $after) { cursor } }",
    ),
];

#[test]
fn every_place_for_a_cursor_has_a_row_and_every_row_a_place() {
    let rows: BTreeSet<String> =
        LISTS.iter().map(|row| row.0).chain(JOURNAL.iter().map(|row| row.0)).map(str::to_owned).collect();
    let walked = schema_fields::fields().into_iter().filter(|field| {
        let after = format!("{}.{}(after:)", field.owner, field.name);
        field.arguments.iter().any(|argument| argument.place == after)
    });
    let places: BTreeSet<String> = walked.map(|field| format!("{}.{}", field.owner, field.name)).collect();
    let difference: Vec<_> = rows.symmetric_difference(&places).collect();
    assert!(difference.is_empty(), "on one side only, of the table and the schema: {difference:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_altered_foreign_or_misplaced_page_cursor_is_bad_user_input() {
    let (agency, elsewhere) = two_workspaces().await;
    let (ours, theirs) = (words_of(&agency.admin).await, words_of(&elsewhere.admin).await);
    let journal = agency.admin.event_cursor().await;
    let mut cursors = Vec::new();
    for list in LISTS {
        cursors.push(start_cursor(&agency.admin, list, &ours).await);
    }
    for (place, list) in LISTS.iter().enumerate() {
        let foreign = start_cursor(&elsewhere.admin, list, &theirs).await;
        // Of users; and of clients, where users are walked.
        let misplaced = cursors[usize::from(list.0 != "Query.users")].clone();
        let bad = [("foreign", foreign), ("misplaced", misplaced), ("journal", journal.clone())];
        let bad = bad.into_iter().chain(altered(&cursors[place]));
        for (what, cursor) in bad {
            // Accounts and rows are walked in one direction only.
            let forward = list.0.ends_with("availableAccounts") || list.0 == ROWS;
            let directions: &[&str] = if forward { &["after"] } else { &["after", "before"] };
            for direction in directions {
                let query = page_query(list, &format!("{direction}: $cursor"), &ours);
                let answer = agency.admin.tries(&query, json!({ "variables": { "cursor": cursor } })).await;
                let said = format!("{} {direction} a cursor that is {what}: {:#}", list.0, answer.body);
                assert_eq!(answer.code(), Some("BAD_USER_INPUT"), "{said}");
                assert!(answer.body["data"].pointer(list.2).is_none_or(Value::is_null), "{said}");
                assert!(cursor.len() < 8 || !answer.body.to_string().contains(&cursor), "{said}");
            }
        }
        let query = page_query(list, "after: $cursor", &ours);
        let kept = agency.admin.tries(&query, json!({ "variables": { "cursor": cursors[place] } })).await;
        assert!(kept.body["errors"].is_null(), "{}: {:#}", list.0, kept.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_order_is_bad_user_input() {
    let agency = Agency::new().await;
    let orders = [
        ("clients", vec!["", "NAME ASC", "NAME DESC", "CREATED_AT ASC", "CREATED_AT DESC"]),
        (
            "connections",
            vec!["", "STATUS ASC", "STATUS DESC", "STATUS_CHANGED_AT ASC", "NAME ASC", "NAME DESC", "CREATED_AT ASC"],
        ),
    ];
    for (list, orders) in orders {
        let query = |order: &str, part: &str| {
            let order =
                order.split_once(' ').map(|(field, way)| format!("orderBy: {{ field: {field}, direction: {way} }}, "));
            format!(
                "query($cursor: String) {{ {list}({}{part}) {{ nodes {{ id }} pageInfo {{ startCursor }} }} }}",
                order.unwrap_or_default()
            )
        };
        for made in &orders {
            let page = agency.admin.sees(&query(made, "first: 1").replace("($cursor: String)", "")).await;
            let cursor = &page[list]["pageInfo"]["startCursor"];
            for used in &orders {
                let answer = agency
                    .admin
                    .tries(&query(used, "after: $cursor"), json!({ "variables": { "cursor": cursor } }))
                    .await;
                let expected = if made == used { None } else { Some("BAD_USER_INPUT") };
                assert_eq!(answer.code(), expected, "{list}: made by {made:?}, used by {used:?}: {:#}", answer.body);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_altered_foreign_or_misplaced_journal_cursor_is_bad_user_input() {
    let (agency, elsewhere) = two_workspaces().await;
    let own = agency.admin.event_cursor().await;
    let page = agency.admin.sees("{ clients(first: 1) { pageInfo { startCursor } } }").await;
    let misplaced = page["clients"]["pageInfo"]["startCursor"].as_str().unwrap().to_owned();
    let bad = [("foreign", elsewhere.admin.event_cursor().await), ("a page's", misplaced)];
    let bad: Vec<_> = bad.into_iter().chain(altered(&own)).collect();
    for (place, operation) in JOURNAL {
        for (what, cursor) in &bad {
            let code = if operation.starts_with("query") {
                let answer = agency.admin.tries(operation, json!({ "variables": { "after": cursor } })).await;
                assert!(answer.body["data"].is_null(), "{:#}", answer.body);
                answer.code().unwrap_or_default().to_owned()
            } else {
                let mut socket = agency.admin.socket().await;
                socket.subscribe("1", operation, json!({ "after": cursor })).await;
                socket.error().await
            };
            assert_eq!(code, "BAD_USER_INPUT", "{place} after a cursor that is {what}");
        }
    }
}

// ── what these tests ask ──

fn page_query(list: &List, part: &str, words: &[(&str, String)]) -> String {
    let (_, call, _) = list;
    let variables = if part.contains("$cursor") { "query($cursor: String)" } else { "query" };
    let edges = if list.0 == ROWS { "" } else { "edges { cursor } " };
    let page = format!("({part}) {{ {edges}pageInfo {{ startCursor endCursor }} }}");
    let spoken =
        words.iter().fold(call.replace("(PART)", &page), |call, (word, id)| call.replace(&format!("@{word}"), id));
    format!("{variables} {{ {spoken} }}")
}

/// The cursor of the first row of a list.
async fn start_cursor(person: &Person, list: &List, words: &[(&str, String)]) -> String {
    let page = person.sees(&page_query(list, "first: 1", words)).await;
    let cursor = page.pointer(&format!("{}/pageInfo/startCursor", list.2)).and_then(Value::as_str);
    cursor.unwrap_or_else(|| panic!("{} has no rows: {page:#}", list.0)).to_owned()
}

/// What nobody was given: a cursor changed in one place, cut, lengthened, and texts that never were one.
fn altered(cursor: &str) -> Vec<(&'static str, String)> {
    let mut changed = cursor.to_owned().into_bytes();
    let place = changed.len() / 2;
    changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
    vec![
        ("altered", String::from_utf8(changed).unwrap()),
        ("cut", cursor[..cursor.len() - 2].to_owned()),
        ("lengthened", format!("{cursor}AA")),
        ("empty", String::new()),
        ("a number", "10".to_owned()),
        ("of another server's making", "Y3Vyc29yOjEw".to_owned()),
        ("no cursor", "no such cursor; DROP TABLE client --".to_owned()),
        ("long", "A".repeat(10_000)),
        ("with a NUL", "A\0A".to_owned()),
    ]
}
