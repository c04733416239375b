//! Another workspace on the agency's server, of which there is one of everything.

use patchbay::ids::Kind;
use serde_json::{Value, json};

use crate::{
    agency::{Agency, id, ids as ids_of},
    harness::{Person, dataset_of},
};

/// Another workspace.
pub struct Elsewhere {
    pub admin: Person,
    /// One id of each kind, and a second connection.
    pub ids: Vec<(Kind, String)>,
}

impl Elsewhere {
    /// The id of the one thing of this kind.
    pub fn id(&self, kind: Kind) -> String {
        self.ids.iter().find(|(known, _)| *known == kind).unwrap_or_else(|| panic!("no {kind:?}")).1.clone()
    }

    /// All that its ADMIN sees of it.
    pub async fn whole(&self) -> Value {
        let query = "{ clients { nodes { id name externalId } } users { nodes { id name role active client { id } } } \
             apiKeys { nodes { id name } } \
             connections { nodes { id name status client { id } sharedWith { id } } } \
             datasets { nodes { id name externalId query { http { path } } status lastRefreshedAt metrics { nodes { id } } } } \
             authorizations { nodes { id status } } disconnections { nodes { id endedAt } } \
             viewer { workspace { name } unreadNotificationCount notifications { nodes { id readAt } } } \
             auditLog { totalCount } }";
        self.admin.sees(query).await
    }
}

/// An agency, and another workspace on the same server; in both, a connection has broken and a sign-in waits.
pub async fn two_workspaces() -> (Agency, Elsewhere) {
    let agency = Agency::new().await;
    let admin = agency.stage.stranger().await;
    agency.admin.makes_key(json!({ "name": "Ours", "role": "ADMIN" })).await;
    let (key, program) = admin.makes_key(json!({ "name": "Theirs", "role": "ADMIN" })).await;
    let made = program.does("createClient", json!({ "name": "Initech", "externalId": "c-1" }), "client { id }").await;
    let client = id(&made["client"]);
    let ads = json!({
        "connector": "sandbox-ads", "clientId": client, "accountId": "100-301",
        "externalId": "s-1", "name": "Initech Ads",
    });
    let ads = admin.connects(&agency.stage.browser(), ads, "ada").await;
    let visits = json!({ "connector": "sandbox-analytics", "clientId": client, "name": "Initech Visits" });
    let visits = admin.connects(&agency.stage.browser(), visits, "ben").await;
    let mut report = dataset_of(&id(&ads), "report");
    report["externalId"] = json!("d-1");
    let report = id(&admin.does("createDataset", report, "dataset { id }").await["dataset"]);
    let metric = admin.makes_metric(&report, "SUM", Some("clicks")).await;
    admin.makes_dataset(&id(&visits), "visits").await;
    let ours = agency.admin.makes_dataset(&agency.acme_ads, "report").await;
    agency.admin.makes_metric(&ours, "COUNT", None).await;
    agency.ben_leaves().await;
    for (who, client) in [(&admin, &client), (&agency.admin, &agency.acme)] {
        let input = json!({ "connector": "sandbox-ads", "clientId": client, "using": { "browser": {} } });
        let started = who.does("connect", input, "attempt { authorizationUrl }").await;
        agency.stage.browser().signs_in(started["attempt"]["authorizationUrl"].as_str().unwrap(), "ada").await;
    }
    let words = words_of(&admin).await;
    let word = |name: &str| words.iter().find(|(word, _)| *word == name).unwrap().1.clone();
    let rest = admin.sees("{ viewer { id workspace { id } } auditLog(first: 1) { nodes { id } } }").await;
    let ids = vec![
        (Kind::Viewer, id(&rest["viewer"])),
        (Kind::Workspace, id(&rest["viewer"]["workspace"])),
        (Kind::User, admin.id.clone()),
        (Kind::ApiKey, key),
        (Kind::Client, client),
        (Kind::Authorization, id(&ads["authorization"])),
        // The broken one first: it is the one that disconnections are asked for.
        (Kind::Connection, id(&visits)),
        (Kind::Connection, id(&ads)),
        (Kind::Dataset, report),
        (Kind::Metric, metric),
        (Kind::Disconnection, word("disconnection")),
        (Kind::Attempt, word("attempt")),
        (Kind::Notification, word("notification")),
        (Kind::AuditEntry, ids_of(&rest["auditLog"]["nodes"]).remove(0)),
    ];
    (agency, Elsewhere { admin, ids })
}

/// Ids of what this person sees, by the words that tests have for them.
pub async fn words_of(person: &Person) -> Vec<(&'static str, String)> {
    let seen = person
        .sees(
            r#"{ clients(first: 1) { nodes { id } }
                 authorizations(filter: { connector: ["sandbox-ads"] }) { nodes { id } }
                 connections(filter: { status: [DISCONNECTED] }) { nodes { id } }
                 disconnections { nodes { id } }
                 datasets(filter: { search: "report" }) { nodes { id } }
                 viewer { notifications { nodes { id } } }
                 auditLog(filter: { action: "attempt.started" }) { nodes { subject { id } } } }"#,
        )
        .await;
    let first = |pointer: &str| id(seen.pointer(pointer).unwrap_or_else(|| panic!("{pointer}: {seen:#}")));
    vec![
        ("client", first("/clients/nodes/0")),
        ("authorization", first("/authorizations/nodes/0")),
        ("broken", first("/connections/nodes/0")),
        ("disconnection", first("/disconnections/nodes/0")),
        ("dataset", first("/datasets/nodes/0")),
        ("notification", first("/viewer/notifications/nodes/0")),
        ("attempt", first("/auditLog/nodes/0/subject")),
    ]
}
