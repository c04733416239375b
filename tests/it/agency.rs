//! An agency at work: the people, clients and connections that the tests about access look at from all sides.
//!
//! | connection | client | owner | through |
//! | --- | --- | --- | --- |
//! | `acme_ads`, `globex_ads` | Acme, Globex | the ADMIN | one sign-in of Ada's |
//! | `acme_visits` | Acme | the MEMBER | a sign-in of Ben's |

use serde_json::{Value, json};
use url::Url;

use crate::harness::{Answer, Person, Stage, http};

pub struct Agency {
    pub stage: Stage,
    pub admin: Person,
    pub staff: Person,
    pub member: Person,
    /// A MEMBER who made nothing and with whom nothing is shared.
    pub newcomer: Person,
    /// The CLIENT logins of the two clients.
    pub acme_login: Person,
    pub globex_login: Person,
    pub acme: String,
    pub globex: String,
    pub acme_ads: String,
    pub globex_ads: String,
    pub ads_authorization: String,
    pub acme_visits: String,
    pub visits_authorization: String,
}

impl Agency {
    pub async fn new() -> Self {
        let stage = Stage::new().await;
        let admin = stage.admin.clone();
        let acme = admin.creates_client("Acme").await;
        let globex = admin.creates_client("Globex").await;
        let staff = stage.person("Stella", "STAFF", None).await;
        let member = stage.person("Mel", "MEMBER", None).await;
        let newcomer = stage.person("Nora", "MEMBER", None).await;
        let acme_login = stage.person("Carl", "CLIENT", Some(&acme)).await;
        let globex_login = stage.person("Gina", "CLIENT", Some(&globex)).await;

        let of_acme =
            json!({ "connector": "sandbox-ads", "clientId": acme, "accountId": "100-301", "name": "Acme Ads" });
        let acme_ads = admin.connects(&stage.browser(), of_acme, "ada").await;
        let ads_authorization = id(&acme_ads["authorization"]);
        let of_globex =
            json!({ "connector": "sandbox-ads", "clientId": globex, "accountId": "100-302", "name": "Globex Ads" });
        let globex_ads = admin.connects_through(&ads_authorization, of_globex).await;
        let visits = json!({ "connector": "sandbox-analytics", "clientId": acme, "name": "Acme Visits" });
        let acme_visits = member.connects(&stage.browser(), visits, "ben").await;
        Self {
            acme_ads: id(&acme_ads),
            globex_ads: id(&globex_ads),
            ads_authorization,
            visits_authorization: id(&acme_visits["authorization"]),
            acme_visits: id(&acme_visits),
            stage,
            admin,
            staff,
            member,
            newcomer,
            acme_login,
            globex_login,
            acme,
            globex,
        }
    }

    /// Ada takes back what she granted, and the next probe notices: both ads connections are disconnected.
    pub async fn ada_leaves(&self) {
        assert!(self.stage.sandbox.revoke_person("ada") > 0);
        self.stage.after_a_probe_interval().await;
        assert_eq!(self.admin.connection(&self.acme_ads).await["status"], "DISCONNECTED");
    }

    /// Ben does: the visits are disconnected.
    pub async fn ben_leaves(&self) {
        assert!(self.stage.sandbox.revoke_person("ben") > 0);
        self.stage.after_a_probe_interval().await;
        assert_eq!(self.admin.connection(&self.acme_visits).await["status"], "DISCONNECTED");
    }

    /// The ADMIN renames a connection: something that happens, for whoever waits for something.
    pub async fn renames(&self, connection: &str, name: &str) {
        self.admin.does("updateConnection", json!({ "connectionId": connection, "name": name }), "").await;
    }

    /// The ADMIN shares a connection with somebody.
    pub async fn shares(&self, connection: &str, with: &Person) {
        self.admin.does("shareConnection", json!({ "connectionId": connection, "userIds": [with.id] }), "").await;
    }

    /// The ADMIN takes that back.
    pub async fn unshares(&self, connection: &str, with: &Person) {
        self.admin.does("unshareConnection", json!({ "connectionId": connection, "userIds": [with.id] }), "").await;
    }

    /// The ADMIN changes a person.
    pub async fn changes(&self, person: &Person, mut change: Value) {
        change["userId"] = json!(person.id);
        self.admin.does("updateUser", change, "").await;
    }
}

/// The `id` of a node.
pub fn id(node: &Value) -> String {
    node["id"].as_str().unwrap_or_else(|| panic!("no id: {node}")).to_owned()
}

/// The `id` of each node.
pub fn ids(nodes: &Value) -> Vec<String> {
    nodes.as_array().unwrap_or_else(|| panic!("no nodes: {nodes}")).iter().map(id).collect()
}

/// The same, sorted, for lists in which the order is no point.
pub fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort();
    items
}

/// Sends an operation with these headers, and nothing else that says who asks.
pub async fn ask_with(url: &Url, headers: &[(&str, &str)], query: &str) -> Answer {
    let request = http()
        .post(url.join("/graphql").unwrap())
        .header("accept", "application/graphql-response+json")
        .json(&json!({ "query": query }));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    Answer { status: response.status().as_u16(), body: response.json().await.unwrap() }
}
