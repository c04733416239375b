//! Bad input: a typed error that names the field, that repeats nothing of what was given, and that leaves nothing behind.

mod every_place;
mod identifiers;
mod pages;
mod search;

use patchbay::sandbox::Endpoint;
use serde_json::{Value, json};

use crate::harness::{Answer, Stage, dataset_of, tables};

/// Stands in what is given wrongly, and nowhere in an answer.
const PLANTED: &str = "hunter2";

/// A mutation that is refused: code and path of its errors. Nothing was written, and nothing given was repeated.
async fn refused(stage: &Stage, mutation: &str, input: Value) -> Vec<(String, Value)> {
    let before = tables::counts(&stage.db).await;
    let answer = stage.admin.tries_mutation(mutation, input.clone(), "").await;
    repeats_nothing(&answer);
    let shown = excerpt(&input.to_string());
    assert_eq!(tables::counts(&stage.db).await, before, "{mutation} {shown} left something behind");
    let errors = answer.body["data"][mutation]["errors"].as_array();
    let errors = errors.unwrap_or_else(|| panic!("{mutation} {shown}: {:#}", answer.body));
    assert!(!errors.is_empty(), "{mutation} {shown} was taken");
    errors.iter().map(|error| (error["code"].as_str().unwrap().to_owned(), error["field"].clone())).collect()
}

/// The same where one thing is wrong.
async fn refused_at(stage: &Stage, mutation: &str, input: Value, code: &str, field: Value) {
    let shown = excerpt(&input.to_string());
    assert_eq!(refused(stage, mutation, input).await, [(code.to_owned(), field)], "{mutation} {shown}");
}

fn repeats_nothing(answer: &Answer) {
    let said = answer.body.to_string();
    assert!(!said.contains(PLANTED), "{}", excerpt(&said));
}

/// Its beginning, to be shown where a test fails.
fn excerpt(text: &str) -> String {
    text.chars().take(600).collect()
}

/// A stage with a client and a connection by key: their ids.
async fn furnished() -> (Stage, String, String) {
    let stage = Stage::new().await;
    let client = stage.admin.creates_client("Acme").await;
    let key = stage.sandbox.keys()[0].value.clone();
    let input = json!({
        "connector": "sandbox-billing", "clientId": client, "name": "Billing",
        "using": { "credentials": [{ "name": "api_key", "value": key }] },
    });
    let connected = stage.admin.does("connect", input, "connection { id }").await;
    let connection = connected["connection"]["id"].as_str().unwrap().to_owned();
    (stage, client, connection)
}

fn browser(connector: &str, fields: Value) -> Value {
    json!({ "connector": connector, "using": { "browser": { "fields": fields } } })
}

fn credentials(connector: &str, fields: Value) -> Value {
    json!({ "connector": connector, "using": { "credentials": fields } })
}

/// An input with one field more, or another.
fn with(mut input: Value, field: &str, value: Value) -> Value {
    input[field] = value;
    input
}

fn field(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_connector_is_not_found() {
    let stage = Stage::new().await;
    for slug in ["hunter2", "", "sandbox-ads ", "Sandbox-Ads", "../sandbox-ads", "hunter2\0", "' OR 1=1 --"] {
        let input = browser(slug, json!([]));
        refused_at(&stage, "connect", input, "NOT_FOUND", json!(["connector"])).await;
        let query = "query($slug: String!) { connector(slug: $slug) { id } }";
        let found = stage.admin.ask(query, json!({ "variables": { "slug": slug } })).await;
        assert_eq!(found, json!({ "connector": null }), "{slug}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_name_is_invalid_wherever_one_is_given() {
    let (stage, client, connection) = furnished().await;
    let dataset = stage.admin.makes_dataset(&connection, "invoices").await;
    let megabyte = PLANTED.repeat((1 << 20) / PLANTED.len());
    for name in [
        "",
        "   ",
        "hunter2\0",
        "hunter2\r\nBcc: eve@elsewhere.example",
        "hunter2\u{1b}[31m",
        "hunter2\u{85}",
        "hunter2\u{2028}",
        &"hunter2".repeat(30),
        &megabyte,
    ] {
        let at = |field: &str| json!([field]);
        let attempt = json!({ "connector": "sandbox-ads", "name": name, "using": { "browser": {} } });
        refused_at(&stage, "connect", attempt, "INVALID", at("name")).await;
        let external = json!({ "connector": "sandbox-ads", "externalId": name, "using": { "browser": {} } });
        refused_at(&stage, "connect", external, "INVALID", at("externalId")).await;
        let account = json!({ "connector": "sandbox-ads", "accountId": name, "using": { "browser": {} } });
        refused_at(&stage, "connect", account, "INVALID", at("accountId")).await;
        for (mutation, input, field) in [
            ("createClient", json!({ "name": name }), "name"),
            ("createClient", json!({ "name": "Globex", "externalId": name }), "externalId"),
            ("updateClient", json!({ "clientId": client, "name": name }), "name"),
            ("updateClient", json!({ "clientId": client, "externalId": name }), "externalId"),
            ("updateConnection", json!({ "connectionId": connection, "name": name }), "name"),
            ("updateConnection", json!({ "connectionId": connection, "externalId": name }), "externalId"),
            ("createUser", json!({ "name": name, "email": "yuki@lighthouse.example", "role": "STAFF" }), "name"),
            ("createUser", json!({ "name": "Yuki", "email": name, "role": "STAFF" }), "email"),
            ("updateUser", json!({ "userId": stage.admin.id, "name": name }), "name"),
            ("createDataset", with(dataset_of(&connection, "invoices"), "name", json!(name)), "name"),
            ("createDataset", with(dataset_of(&connection, "invoices"), "externalId", json!(name)), "externalId"),
            ("updateDataset", json!({ "datasetId": dataset, "name": name }), "name"),
            ("createMetric", json!({ "datasetId": dataset, "name": name, "aggregation": "COUNT" }), "name"),
        ] {
            refused_at(&stage, mutation, input, "INVALID", at(field)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_empty_cannot_be_cleared() {
    let (stage, client, connection) = furnished().await;
    let dataset = stage.admin.makes_dataset(&connection, "invoices").await;
    for (mutation, input, field) in [
        ("updateDataset", json!({ "datasetId": dataset, "name": null }), "name"),
        ("updateDataset", json!({ "datasetId": dataset, "connectionId": null }), "connectionId"),
        ("updateDataset", json!({ "datasetId": dataset, "query": null }), "query"),
        ("updateClient", json!({ "clientId": client, "name": null }), "name"),
        ("updateConnection", json!({ "connectionId": connection, "name": null }), "name"),
        ("updateUser", json!({ "userId": stage.admin.id, "name": null }), "name"),
        ("updateUser", json!({ "userId": stage.admin.id, "role": null }), "role"),
        ("updateUser", json!({ "userId": stage.admin.id, "active": null }), "active"),
        ("updateNotificationPreferences", json!({ "reminderEmails": null }), "reminderEmails"),
    ] {
        refused_at(&stage, mutation, input, "INVALID", json!([field])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_is_said_at_once() {
    let stage = Stage::new().await;
    let input = json!({ "name": "hunter2\0", "email": "hunter2", "role": "STAFF" });
    let expected = [("INVALID".to_owned(), json!(["name"])), ("INVALID".to_owned(), json!(["email"]))];
    assert_eq!(refused(&stage, "createUser", input).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_surrogate_is_no_text() {
    let stage = Stage::new().await;
    let before = tables::counts(&stage.db).await;
    let query = "mutation($name: String!) { createClient(input: {name: $name}) { client { name } } }";
    let body = format!(r#"{{"query":{},"variables":{{"name":"hunter2\ud800"}}}}"#, json!(query));
    let request = crate::harness::http().post(stage.url.join("/graphql").unwrap()).bearer_auth(&stage.admin.token);
    let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let said = response.text().await.unwrap();
    assert!(said.contains("BAD_USER_INPUT") && !said.contains(PLANTED), "{said}");
    assert_eq!(tables::counts(&stage.db).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_do_not_fit_the_connector_say_which_one_and_nothing_more() {
    let (stage, _, connection) = furnished().await;
    let keyed = |fields: Value| credentials("sandbox-billing", fields);
    let (key, long) = (field("api_key", PLANTED), "x".repeat(70_000));
    let asked = stage.sandbox.calls(Endpoint::Keyed);
    for (fields, place) in [
        (json!([field(PLANTED, "x")]), json!(["0"])),
        (json!([key, field("shop", PLANTED)]), json!(["1"])),
        (json!([key, key]), json!(["1"])),
        (json!([]), json!([])),
        (json!([field("api_key", "")]), json!(["0"])),
        (json!([field("api_key", " \n ")]), json!(["0"])),
        (json!([field("api_key", "hunter2\0")]), json!(["0"])),
        (json!([field("api_key", &format!("hunter2{long}"))]), json!(["0"])),
    ] {
        let path = |start: &[&str]| {
            let start = start.iter().map(|part| json!(part));
            Value::Array(start.chain(place.as_array().unwrap().iter().cloned()).collect())
        };
        refused_at(&stage, "connect", keyed(fields.clone()), "INVALID", path(&["using", "credentials"])).await;
        let again = json!({ "connectionId": connection, "credentials": fields });
        refused_at(&stage, "reconnect", again, "INVALID", path(&["credentials"])).await;
    }
    assert_eq!(stage.sandbox.calls(Endpoint::Keyed), asked, "none of it was tried at the provider");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_provider_refuses_is_rejected_and_not_stored() {
    let (stage, _, connection) = furnished().await;
    let wrong = json!([field("api_key", PLANTED)]);
    let place = |path: &[&str]| json!(path);
    refused_at(
        &stage,
        "connect",
        credentials("sandbox-billing", wrong.clone()),
        "REJECTED",
        place(&["using", "credentials"]),
    )
    .await;
    let again = json!({ "connectionId": connection, "credentials": wrong });
    refused_at(&stage, "reconnect", again, "REJECTED", place(&["credentials"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_wrong_input_is_not_repeated() {
    let (stage, _, connection) = furnished().await;
    let shop = |fields: Value| browser("sandbox-shop", fields);
    for (mutation, input, code, path) in [
        ("connect", shop(json!([field("shop", "hunter2!")])), "INVALID", json!(["using", "browser", "fields", "0"])),
        ("connect", shop(json!([field("hunter2", "x")])), "INVALID", json!(["using", "browser", "fields", "0"])),
        ("connect", shop(json!([])), "INVALID", json!(["using", "browser", "fields"])),
        (
            "connect",
            browser("sandbox-billing", json!([field("api_key", PLANTED)])),
            "INVALID",
            json!(["using", "browser"]),
        ),
        (
            "connect",
            credentials("sandbox-ads", json!([field("password", PLANTED)])),
            "INVALID",
            json!(["using", "credentials"]),
        ),
        (
            "connect",
            json!({ "connector": "sandbox-ads", "using": { "browser": { "returnUrl": "https://hunter2.example/" } } }),
            "INVALID",
            json!(["using", "browser", "returnUrl"]),
        ),
        (
            "connect",
            json!({ "connector": "sandbox-ads", "using": { "authorizationId": PLANTED } }),
            "NOT_FOUND",
            json!(["using", "authorizationId"]),
        ),
        ("reconnect", json!({ "connectionId": connection }), "INVALID", json!(["credentials"])),
        ("reconnect", json!({ "connectionId": PLANTED, "credentials": [] }), "NOT_FOUND", json!(["connectionId"])),
        (
            "reconnect",
            json!({ "connectionId": connection, "credentials": [], "authorizationId": PLANTED }),
            "INVALID",
            json!(["authorizationId"]),
        ),
        (
            "shareConnection",
            json!({ "connectionId": connection, "emails": [PLANTED] }),
            "NOT_FOUND",
            json!(["emails", "0"]),
        ),
    ] {
        refused_at(&stage, mutation, input, code, path).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_not_shared_with_a_crowd_at_once() {
    let (stage, _, connection) = furnished().await;
    for (field, one) in [("userIds", &stage.admin.id), ("emails", &"mara@lighthouse.example".to_owned())] {
        let input = json!({ "connectionId": connection, field: vec![one; 5_000] });
        refused_at(&stage, "shareConnection", input, "INVALID", json!([field])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_graphql_itself_refuses_runs_nothing() {
    let (stage, client, _) = furnished().await;
    let before = tables::counts(&stage.db).await;
    for (mutation, input) in [
        ("connect", json!({ "connector": "sandbox-ads" })),
        ("connect", json!({ "connector": "sandbox-ads", "using": {} })),
        ("connect", json!({ "connector": "sandbox-ads", "using": { "browser": {}, "authorizationId": PLANTED } })),
        ("connect", json!({ "connector": "sandbox-ads", "using": { "browser": null } })),
        ("connect", json!({ "connector": "sandbox-ads", "password": PLANTED, "using": { "browser": {} } })),
        ("connect", credentials("sandbox-billing", json!([{ "name": "api_key", "value": [PLANTED] }]))),
        ("connect", json!({ "connector": "sandbox-ads", "using": { "browser": { "returnUrl": PLANTED } } })),
        ("createUser", json!({ "name": "x", "email": "x@y.example", "role": PLANTED })),
        ("updateClient", json!({ "clientId": client, "name": { PLANTED: PLANTED } })),
        ("updateClient", json!({ "name": PLANTED })),
        ("updateUser", json!({ "userId": stage.admin.id, "active": PLANTED })),
        ("createClient", json!(PLANTED)),
        ("createClient", json!(null)),
    ] {
        let answer = stage.admin.tries_mutation(mutation, input.clone(), "").await;
        repeats_nothing(&answer);
        assert_eq!(answer.code(), Some("BAD_USER_INPUT"), "{mutation} {input}: {:#}", answer.body);
        assert!(answer.body["data"].is_null(), "{:#}", answer.body);
    }
    assert_eq!(tables::counts(&stage.db).await, before);
}
