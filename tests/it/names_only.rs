//! Of people, a CLIENT sees the names where they appear, and nothing else; of themselves, what they are.

use std::collections::BTreeSet;

use patchbay::app::schema_sdl;
use serde_json::{Value, json};

use crate::{
    agency::Agency,
    harness::{Person, each, nodes},
};

const ALL: &str = "id name email role client { id } active createdAt";

/// Every field of the schema that leads to a person; what leads to a list of them, or comes of changing one, is FORBIDDEN to a
/// CLIENT, as `roles.rs` shows.
const PATHS: [&str; 15] = [
    "ApiKey.createdBy",
    "AuditEntry.user",
    "Authorization.createdBy",
    "Connection.createdBy",
    "Connection.sharedWith",
    "ConnectionsChange.by",
    "CreateUserPayload.user",
    "Disconnection.reconnectedBy",
    "Query.node",
    "Query.nodes",
    "Query.users",
    "UpdateUserPayload.user",
    "UserEdge.node",
    "UserPage.nodes",
    "Viewer.user",
];

#[test]
fn every_way_to_a_person_is_known_here() {
    let sdl = schema_sdl();
    let mut found = BTreeSet::from(["Query.node".to_owned(), "Query.nodes".to_owned()]);
    let mut owner = "";
    for line in sdl.lines().map(str::trim_end) {
        if let Some(rest) = line.strip_prefix("type ") {
            owner = rest.split(' ').next().unwrap();
        }
        let field = line.strip_prefix('\t').or_else(|| line.strip_prefix("  ")).unwrap_or_default();
        let Some((name, of)) = field.rsplit_once(": ") else { continue };
        let of = of.split(' ').next().unwrap().trim_matches(['[', ']', '!']);
        if ["User", "UserPage", "UserEdge"].contains(&of) && !name.contains('"') {
            let name = name.split('(').next().unwrap().trim_start_matches(')');
            found.insert(format!("{owner}.{}", if name.is_empty() { "users" } else { name }));
        }
    }
    found.remove("UserPage.edges");
    assert_eq!(found, BTreeSet::from(PATHS.map(str::to_owned)), "look at what a CLIENT sees there");
}

/// The people in an answer, wherever they stand.
fn people(answer: &Value) -> Vec<Value> {
    match answer {
        Value::Object(fields) if fields.contains_key("active") => vec![answer.clone()],
        Value::Object(fields) => fields.values().flat_map(people).collect(),
        Value::Array(items) => items.iter().flat_map(people).collect(),
        _ => Vec::new(),
    }
}

async fn seen_by(who: &Person, agency: &Agency, cursor: &str) -> Vec<Value> {
    let query = format!(
        "query($connection: ID, $after: String!) {{ connection(id: $connection) {{ createdBy {{ {ALL} }} \
         sharedWith {{ {ALL} }} authorization {{ createdBy {{ {ALL} }} }} \
         disconnections {{ nodes {{ reconnectedBy {{ {ALL} }} }} }} }} \
         connections {{ nodes {{ createdBy {{ {ALL} }} sharedWith {{ {ALL} }} }} }} \
         connectionChanges(after: $after) {{ nodes {{ by {{ {ALL} }} byApiKey {{ name }} }} }} }}"
    );
    let variables = json!({ "variables": { "connection": agency.acme_ads, "after": cursor } });
    people(&who.ask(&query, variables).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_names_wherever_people_appear() {
    let agency = Agency::new().await;
    agency.shares(&agency.acme_ads, &agency.member).await;
    let cursor = agency.admin.event_cursor().await;
    agency.ada_leaves().await;
    let (attempt, _) = agency.staff.reconnects(&agency.stage.browser(), &agency.acme_ads, "ASK", "ada").await;
    assert_eq!(attempt["status"], "SUCCEEDED");
    let reader = json!({ "name": "Reader", "role": "CLIENT", "clientId": agency.acme });
    let (_, reader) = agency.admin.makes_key(reader).await;
    for who in [&agency.acme_login, &reader] {
        let seen = seen_by(who, &agency, &cursor).await;
        assert!(seen.len() >= 8, "{seen:#?}");
        let names: BTreeSet<&str> = each(&seen, "name").into_iter().collect();
        assert_eq!(names, BTreeSet::from(["Mara", "Mel", "Stella"]));
        for person in &seen {
            let fields = person.as_object().unwrap();
            let told: Vec<&str> = fields.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| &**key).collect();
            assert_eq!(told, ["id", "name"], "{person:#}");
        }
    }
    let all = seen_by(&agency.staff, &agency, &cursor).await;
    assert!(all.iter().all(|person| person["email"].is_string() && person["role"].is_string()), "{all:#?}");
    assert!(all.iter().all(|person| person["active"] == true && person["createdAt"].is_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_what_they_are_themselves_and_their_key_is_not_its_maker() {
    let agency = Agency::new().await;
    let who = format!("{{ viewer {{ user {{ {ALL} }} apiKey {{ createdBy {{ {ALL} }} }} }} }}");
    let own = agency.acme_login.sees(&who).await["viewer"]["user"].clone();
    assert_eq!((&own["role"], &own["active"]), (&json!("CLIENT"), &json!(true)));
    assert_eq!((&own["client"]["id"], own["createdAt"].is_string()), (&json!(agency.acme), true));
    let input = json!({ "name": "Reader", "role": "CLIENT", "clientId": agency.acme });
    let (_, reader) = agency.admin.makes_key(input).await;
    let nothing = json!({
        "id": agency.admin.id, "name": "Mara", "email": null, "role": null, "client": null, "active": null,
        "createdAt": null,
    });
    let seen = reader.sees(&who).await;
    assert_eq!(seen["viewer"]["user"], nothing);
    assert_eq!(seen["viewer"]["apiKey"]["createdBy"], nothing);
    let node = format!("query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on User {{ {ALL} }} }} }}");
    let ids = json!({ "variables": { "ids": [agency.admin.id, agency.globex_login.id, agency.acme_login.id] } });
    let found = agency.acme_login.ask(&node, ids).await;
    assert_eq!(found["nodes"], json!([null, null, own]));
    let listed = nodes(&agency.staff.sees(&format!("{{ users {{ nodes {{ {ALL} }} }} }}")).await["users"]);
    assert!(listed.iter().all(|person| person["role"].is_string()), "others see all of them");
}
