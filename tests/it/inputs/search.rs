//! Searching: what is typed is looked for as it is.

use serde_json::json;

use super::*;

async fn found(stage: &Stage, query: &str, search: &str) -> Vec<String> {
    let answer = stage.admin.ask(query, json!({ "variables": { "s": search } })).await;
    let mut names: Vec<String> = answer["page"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(answer["page"]["totalCount"], names.len(), "{query} {search}");
    names
}

const CLIENTS: &str = "query($s: String) { page: clients(search: $s) { totalCount nodes { name } } }";
const CONNECTIONS: &str =
    "query($s: String) { page: connections(filter: { search: $s }) { totalCount nodes { name } } }";

#[tokio::test(flavor = "multi_thread")]
async fn percent_underscore_and_backslash_are_themselves() {
    let (stage, _, connection) = furnished().await;
    for name in ["100% Pure", "100 Pure", "a_b", "axb", "back\\slash", "it's \"quoted\"", "Große Agentur"] {
        stage.admin.creates_client(name).await;
    }
    for (search, expected) in [
        ("%", vec!["100% Pure"]),
        ("0%", vec!["100% Pure"]),
        ("1%P", vec![]),
        ("_", vec!["a_b"]),
        ("a_b", vec!["a_b"]),
        ("\\", vec!["back\\slash"]),
        ("'", vec!["it's \"quoted\""]),
        ("\"", vec!["it's \"quoted\""]),
        ("PURE", vec!["100 Pure", "100% Pure"]),
        ("GROSSE", vec![]),
        ("große", vec!["Große Agentur"]),
        ("' OR 1=1 --", vec![]),
        ("*", vec![]),
        ("[a-z]", vec![]),
    ] {
        assert_eq!(found(&stage, CLIENTS, search).await, expected, "{search}");
    }
    for (name, search, missed) in [("50% off", "50%", "5%"), ("dev_ads", "v_a", "d_v"), ("c:\\ads", "c:\\", "c:_")] {
        stage.admin.does("updateConnection", json!({ "connectionId": connection, "name": name }), "").await;
        assert_eq!(found(&stage, CONNECTIONS, search).await, [name]);
        assert_eq!(found(&stage, CONNECTIONS, missed).await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_search_says_nothing_and_one_that_no_name_can_hold_is_bad_input() {
    let (stage, ..) = furnished().await;
    for empty in ["", "   "] {
        assert_eq!(found(&stage, CLIENTS, empty).await, ["Acme"]);
        assert_eq!(found(&stage, CONNECTIONS, empty).await, ["Billing"]);
    }
    for query in [CLIENTS, CONNECTIONS, "query($s: String) { page: users(search: $s) { totalCount } }"] {
        for search in ["hunter2\0".to_owned(), "hunter2".repeat(1_000)] {
            let answer = stage.admin.tries(query, json!({ "variables": { "s": search } })).await;
            repeats_nothing(&answer);
            assert_eq!(answer.code(), Some("BAD_USER_INPUT"), "{query}: {:#}", answer.body);
            let message = answer.body["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains("search"), "{query}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn html_and_sql_in_names_are_only_names() {
    let (stage, client, _) = furnished().await;
    for name in ["<script>alert(1)</script>", "Robert'); DROP TABLE client;--", "{{7*7}}", "${jndi:ldap://x}", "😀 "]
    {
        let payload =
            stage.admin.does("updateClient", json!({ "clientId": client, "name": name }), "client { name }").await;
        assert_eq!(payload["client"]["name"], name.trim());
        assert_eq!(found(&stage, CLIENTS, name).await, [name.trim()]);
    }
}
