//! Where many tests begin: clients whose connections share a grant, and ways to look at what became of them.

use serde_json::{Value, json};

use super::{Browser, Person, Stage};

/// Ada's grant of the advertising platform, made by the first ADMIN: a connection of Acme's reads her account 100-301,
/// one of Globex's her account 100-302.
pub struct SharedGrant {
    pub acme: String,
    pub globex: String,
    /// Acme's connection.
    pub lamps: String,
    /// Globex's connection.
    pub hotels: String,
    pub authorization: String,
}

impl Stage {
    /// Two clients' connections under one grant of Ada's.
    pub async fn shared_grant(&self) -> SharedGrant {
        let admin = &self.admin;
        let (acme, globex) = (admin.creates_client("Acme").await, admin.creates_client("Globex").await);
        let input = json!({ "connector": "sandbox-ads", "clientId": acme, "accountId": "100-301", "name": "Lamps" });
        let lamps = admin.connects(&self.browser(), input, "ada").await;
        let authorization = id(&lamps["authorization"]);
        let input = json!({ "connector": "sandbox-ads", "clientId": globex, "accountId": "100-302", "name": "Hotels" });
        let hotels = admin.connects_through(&authorization, input).await;
        SharedGrant { acme, globex, lamps: id(&lamps), hotels: id(&hotels), authorization }
    }

    /// The ADMIN, with a token that is fresh however much time has passed.
    pub fn admin_now(&self) -> Person {
        self.signed_in(&self.admin.id)
    }

    /// A connection of the billing service by the sandbox's key of that name.
    pub async fn keyed(&self, key: &str, client: &str) -> String {
        let input =
            json!({ "connector": "sandbox-billing", "clientId": client, "using": { "credentials": self.key(key) } });
        let connected = self.admin_now().does("connect", input, "connection { id status }").await;
        id(&connected["connection"])
    }

    /// Connects each of these shops, and with that an authorization for each; their connections.
    pub async fn shops(&self, names: &[&str]) -> Vec<Value> {
        let mut connected = Vec::with_capacity(names.len());
        for name in names {
            connected.push(self.admin_now().connects_shop(&self.browser(), name).await);
        }
        connected
    }

    /// The sandbox's key of that name as it is now, as credentials.
    pub fn key(&self, name: &str) -> Value {
        let key = self.sandbox.keys().into_iter().find(|key| key.id == name).unwrap();
        json!([{ "name": "api_key", "value": key.value }])
    }

    /// The status of a connection, as the ADMIN sees it.
    pub async fn status(&self, connection: &str) -> String {
        self.admin_now().connection(connection).await["status"].as_str().unwrap().to_owned()
    }

    /// Every disconnection there ever was, newest first.
    pub async fn disconnections(&self) -> Vec<Value> {
        let query = "{ disconnections { nodes { id reason detectedBy message endedAt endedBy reconnectConnectionId \
                     connection { id } connections { nodes { id } totalCount } } } }";
        nodes(&self.admin_now().sees(query).await["disconnections"])
    }

    /// The changes of connections since `cursor`, oldest first, as the ADMIN polls them.
    pub async fn changes_since(&self, cursor: &str) -> Vec<Value> {
        self.admin_now().changes_matching(cursor, json!({})).await
    }
}

impl Person {
    /// Connects a shop of the sandbox as Ada: each shop is an authorization of its own.
    pub async fn connects_shop(&self, browser: &Browser, name: &str) -> Value {
        let fields = json!([{ "name": "shop", "value": name }]);
        let input = json!({ "connector": "sandbox-shop", "using": { "browser": { "fields": fields } } });
        self.connects(browser, input, "ada").await
    }

    /// The changes of connections since `cursor` that match `filter`, oldest first.
    pub async fn changes_matching(&self, cursor: &str, filter: Value) -> Vec<Value> {
        let query = format!(
            "query($after: String!, $filter: ConnectionFilter) {{ connectionChanges(after: $after, filter: $filter) {{ \
             nodes {{ {CHANGE} }} hasNextPage }} }}"
        );
        let page = self.ask(&query, json!({ "variables": { "after": cursor, "filter": filter } })).await;
        assert_eq!(page["connectionChanges"]["hasNextPage"], false);
        nodes(&page["connectionChanges"])
    }

    /// What the audit log has of this action, oldest first.
    pub async fn audited(&self, action: &str) -> Vec<Value> {
        let query = "query($action: String!) { auditLog(filter: { action: $action }) { nodes { action user { id } \
                     subject { __typename id } details } } }";
        let log = self.ask(query, json!({ "variables": { "action": action } })).await;
        let mut entries = nodes(&log["auditLog"]);
        entries.reverse();
        entries
    }

    /// The titles in their tray, newest first.
    pub async fn titles(&self) -> Vec<String> {
        self.tray().await.iter().map(|told| told["title"].as_str().unwrap().to_owned()).collect()
    }
}

/// What tests look at of a change.
pub const CHANGE: &str = "cursor kind connectionCount connections { id status } addedConnections { id } \
     removedConnectionIds authorization { id } disconnection { id } clients { id } by { id }";

/// The id of something.
pub fn id(node: &Value) -> String {
    node["id"].as_str().unwrap_or_else(|| panic!("no id in {node}")).to_owned()
}

/// The nodes of a page.
pub fn nodes(page: &Value) -> Vec<Value> {
    page["nodes"].as_array().unwrap_or_else(|| panic!("no nodes in {page}")).clone()
}

/// The ids of things in a list.
pub fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap_or_else(|| panic!("no list, but {list}")).iter().map(id).collect()
}

/// The text `field` of each of them.
pub fn each<'a>(list: &'a [Value], field: &str) -> Vec<&'a str> {
    list.iter().map(|one| one[field].as_str().unwrap_or_default()).collect()
}
