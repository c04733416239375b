//! Pages that are too large, too small, in both directions or from nowhere, of every list that there is.

use async_graphql::parser::types::{FieldDefinition, TypeKind, TypeSystemDefinition};
use serde_json::{Value, json};

use super::*;

/// Lists of the schema that take `first`, each as a query with the arguments in `{}`; within objects that `furnished`
/// has one of.
fn lists() -> Vec<(String, Vec<String>)> {
    let document = async_graphql::parser::parse_schema(patchbay::graphql::sdl()).unwrap();
    let mut lists = Vec::new();
    for definition in document.definitions {
        let TypeSystemDefinition::Type(definition) = definition else { continue };
        let TypeKind::Object(object) = definition.node.kind else { continue };
        let around = match definition.node.name.node.as_str() {
            "Query" => "{}".to_owned(),
            "Viewer" => "viewer { {} }".to_owned(),
            "Client" => "clients { nodes { {} } }".to_owned(),
            "Connection" => "connections { nodes { {} } }".to_owned(),
            "Authorization" => "authorizations { nodes { {} } }".to_owned(),
            _ => continue,
        };
        for field in object.fields.into_iter().map(|field| field.node) {
            let taken = arguments(&field);
            if taken.iter().any(|argument| argument == "first") {
                let required = if field.name.node == "connectionChanges" { "after: \"{cursor}\"," } else { "" };
                let selected = format!("{}({required} {{arguments}}) {{ __typename }}", field.name.node);
                lists.push((format!("{{ {} }}", around.replace("{}", &selected)), taken));
            }
        }
    }
    lists
}

fn arguments(field: &FieldDefinition) -> Vec<String> {
    field.arguments.iter().map(|argument| argument.node.name.node.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_nobody_can_have_is_bad_input_in_every_list() {
    let (stage, ..) = furnished().await;
    let cursor = stage.admin.event_cursor().await;
    let lists = lists();
    assert!(lists.len() >= 12, "too few lists were found: {lists:#?}");
    for (list, taken) in lists {
        let takes = |argument: &str| taken.iter().any(|one| one == argument);
        let mut tried = vec![
            ("first: -1", "first"),
            ("first: 101", "first"),
            ("first: 1000", "first"),
            ("first: 1000000", "first"),
        ];
        if takes("last") {
            tried.extend([("last: -1", "last"), ("last: 101", "last"), ("last: 1000000", "last")]);
            tried.extend([("first: 1, last: 1", "first"), ("first: 0, last: 0", "first")]);
            tried.extend([("before: \"hunter2\"", "before"), ("last: 1, before: \"\"", "before")]);
        }
        if !list.contains("{cursor}") {
            tried.extend([("after: \"hunter2\"", "after"), ("first: 1, after: \"hunter2\\u0000\"", "after")]);
        }
        // Live from the provider: null where it does not answer, and this connector has no accounts to read.
        if list.contains("availableAccounts") {
            continue;
        }
        for (arguments, named) in tried {
            let query = list.replace("{arguments}", arguments).replace("{cursor}", &cursor);
            let answer = stage.admin.tries(&query, Value::Null).await;
            repeats_nothing(&answer);
            assert_eq!(answer.code(), Some("BAD_USER_INPUT"), "{query}\n{:#}", answer.body);
            let message = answer.body["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains(&format!("`{named}`")), "{query} says not what is wrong: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_and_the_largest_page_are_pages() {
    let (stage, ..) = furnished().await;
    let cursor = stage.admin.event_cursor().await;
    for (list, taken) in lists() {
        for arguments in ["first: 0", "first: 100", "last: 0", "last: 100"] {
            if arguments.starts_with("last") && !taken.iter().any(|one| one == "last") {
                continue;
            }
            let query = list.replace("{arguments}", arguments).replace("{cursor}", &cursor);
            let answer = stage.admin.tries(&query, Value::Null).await;
            assert!(answer.body["errors"].is_null(), "{query}\n{:#}", answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_belongs_to_its_list_its_order_and_its_workspace() {
    let (stage, ..) = furnished().await;
    let eve = stage.stranger().await;
    eve.creates_client("Theirs").await;
    let cursor = |answer: Value| answer["page"]["edges"][0]["cursor"].as_str().unwrap().to_owned();
    let ours = cursor(stage.admin.sees("{ page: clients(first: 1) { edges { cursor } } }").await);
    let theirs = cursor(eve.sees("{ page: clients(first: 1) { edges { cursor } } }").await);
    let events = stage.admin.event_cursor().await;
    let longer = format!("{ours}A");
    let mut altered = ours.clone().into_bytes();
    altered[0] = if altered[0] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).unwrap();
    for (query, cursor) in [
        ("query($c: String) { clients(after: $c) { totalCount } }", &theirs),
        ("query($c: String) { clients(after: $c) { totalCount } }", &events),
        ("query($c: String) { clients(after: $c) { totalCount } }", &longer),
        ("query($c: String) { clients(after: $c) { totalCount } }", &altered),
        ("query($c: String) { clients(after: $c, orderBy: {field: NAME}) { totalCount } }", &ours),
        ("query($c: String) { connections(after: $c) { totalCount } }", &ours),
        ("query($c: String!) { connectionChanges(after: $c) { endCursor } }", &ours),
    ] {
        let answer = stage.admin.tries(query, json!({ "variables": { "c": cursor } })).await;
        assert_eq!(answer.code(), Some("BAD_USER_INPUT"), "{query}\n{:#}", answer.body);
        assert!(!answer.body.to_string().contains(cursor.as_str()), "{:#}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_values_in_a_filter_are_bad_input() {
    let (stage, client, _) = furnished().await;
    for filter in [json!({ "clientId": vec![client; 5_000] }), json!({ "connector": vec!["hunter2"; 5_000] })] {
        let query = "query($f: ConnectionFilter) { connections(filter: $f) { totalCount } }";
        let answer = stage.admin.tries(query, json!({ "variables": { "f": filter } })).await;
        repeats_nothing(&answer);
        assert_eq!(answer.code(), Some("BAD_USER_INPUT"), "{:#}", answer.body);
    }
}
