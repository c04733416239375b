//! Marks that turn the direction of text (UAX #9) are in no name that a page, a letter or the API shows: neither as people
//! type it nor as a provider says it.

use patchbay::sandbox::{Endpoint, Fault};
use serde_json::{Value, json};

use crate::harness::{Stage, id};

const MARKS: &str = "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}";

/// The name with every mark around and within it.
fn hostile(name: &str) -> String {
    let (one, other) = name.split_at(name.len() / 2);
    format!("{MARKS}{one}{MARKS}{other}{MARKS}")
}

fn has_marks(text: &str) -> bool {
    text.contains(|letter| MARKS.contains(letter))
}

/// JSON of the sandbox instead of its answer.
fn says(body: &Value) -> Fault {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Fault::Exactly { status: 200, headers, body: body.to_string() }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_people_call_things_the_marks_are_taken_out() {
    let stage = Stage::new().await;
    let admin = &stage.admin;
    let client = id(&admin.does("createClient", json!({ "name": hostile("Acme") }), "client { id }").await["client"]);
    let connection = stage.keyed("lamps", &client).await;
    let dataset = admin.makes_dataset(&connection, "invoices").await;
    let mut shown = Vec::new();
    for (mutation, input, node, expected) in [
        ("createClient", json!({ "name": hostile("Globex") }), "client", "Globex"),
        ("updateClient", json!({ "clientId": client, "name": hostile("Acme Inc") }), "client", "Acme Inc"),
        ("updateConnection", json!({ "connectionId": connection, "name": hostile("Lamps") }), "connection", "Lamps"),
        ("updateDataset", json!({ "datasetId": dataset, "name": hostile("Sales") }), "dataset", "Sales"),
        (
            "createMetric",
            json!({ "datasetId": dataset, "name": hostile("Count"), "aggregation": "COUNT" }),
            "metric",
            "Count",
        ),
        ("createApiKey", json!({ "name": hostile("Tool"), "role": "STAFF" }), "apiKey", "Tool"),
        ("updateUser", json!({ "userId": admin.id, "name": hostile("Mara") }), "user", "Mara"),
        (
            "createUser",
            json!({ "name": hostile("Nina"), "email": "nina@lighthouse.example", "role": "STAFF" }),
            "user",
            "Nina",
        ),
        ("updateWorkspace", json!({ "name": hostile("Lighthouse") }), "workspace", "Lighthouse"),
    ] {
        let done = admin.does(mutation, input, &format!("{node} {{ name }}")).await;
        shown.push((mutation, done[node]["name"].as_str().unwrap().to_owned(), expected));
    }
    for (mutation, name, expected) in shown {
        assert_eq!(name, expected, "{mutation}");
    }
    let only_marks = admin.refused("createClient", json!({ "name": MARKS })).await;
    assert_eq!((&only_marks["code"], &only_marks["field"]), (&json!("INVALID"), &json!(["name"])));
    let address = json!({ "name": "Otto", "email": "otto\u{202e}@lighthouse.example", "role": "STAFF" });
    assert_eq!(admin.refused("createUser", address).await["field"], json!(["email"]));
    let letters = "\u{5d0}\u{5d1}\u{5d2} \u{645}\u{6cc}\u{200c}\u{62e}";
    let kept = admin.does("createClient", json!({ "name": letters }), "client { name }").await;
    assert_eq!(kept["client"]["name"], json!(letters), "scripts that are written the other way are no marks");
    let log = admin.sees("{ auditLog(first: 100) { nodes { details } } }").await;
    assert!(!has_marks(&log.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_provider_calls_its_accounts_the_marks_are_taken_out() {
    let stage = Stage::new().await;
    let acme = stage.admin.creates_client("Acme").await;
    let identity = json!({ "sub": "person-1", "name": hostile("Ada"), "email": hostile("ada@example.com") });
    let accounts = json!({ "accounts": [
        { "id": "100-301", "name": hostile("Lamps") },
        { "id": "100-302", "name": MARKS },
        { "id": hostile("100-303"), "name": "An id that cannot be told from another" },
    ] });
    stage.sandbox.fail_next(Endpoint::Identity, says(&identity), 1);
    stage.sandbox.fail_next(Endpoint::Accounts, says(&accounts), 9);
    let link = json!({ "clientId": acme, "connectors": ["sandbox-ads"] });
    let link = stage.admin.does("createConnectLink", link, "url").await["url"].as_str().unwrap().to_owned();
    let browser = stage.browser();
    let away = browser.submits(&link, &[("connector", "sandbox-ads")]).await;
    let start = away.body.split("content=\"0;url=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let back = browser.signs_in(&start, "ada").await;
    let page = browser.opens(back.location.unwrap().as_str()).await;
    assert!(page.body.contains("Which account is meant?") && page.body.contains("<span>Lamps"), "{}", page.body);
    assert!(page.body.contains("value=\"100-302\"") && !page.body.contains("cannot be told"), "{}", page.body);
    assert!(!has_marks(&page.body), "{}", page.body);
    let attempt = start.rsplit('/').next().unwrap();
    let form = [("connector", "sandbox-ads"), ("attempt", attempt), ("account", "100-301")];
    assert_eq!(browser.submits(&link, &form).await.status, 200);

    let query = "{ connections { nodes { name account { name } authorization { account { name } } } } }";
    let seen = stage.admin.sees(query).await;
    let made = &seen["connections"]["nodes"][0];
    assert_eq!((&made["account"]["name"], has_marks(&seen.to_string())), (&json!("Lamps"), false), "{seen:#}");
    // A sign-in as another is told by name.
    stage.sandbox.clear_faults();
    let query = "{ connections { nodes { id } } }";
    let connection = stage.admin.sees(query).await["connections"]["nodes"][0]["id"].as_str().unwrap().to_owned();
    let link = stage.admin.does("createReconnectLink", json!({ "connectionId": connection }), "url").await;
    let page = browser.opens(link["url"].as_str().unwrap()).await;
    assert!(page.body.contains("You sign in at") && !has_marks(&page.body), "{}", page.body);
}
