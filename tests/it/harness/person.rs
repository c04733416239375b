//! Somebody with a token, and what they can ask.

use patchbay::ids::{self, Kind};
use serde_json::{Value, json};
use url::Url;

use super::{Browser, Landing, Socket};

/// Somebody with a token.
#[derive(Clone)]
pub struct Person {
    pub id: String,
    pub token: String,
    url: Url,
    http: reqwest::Client,
}

/// What came back of a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The code of the first error beside the data.
    pub fn code(&self) -> Option<&str> {
        self.body["errors"][0]["extensions"]["code"].as_str()
    }
}

pub fn http() -> reqwest::Client {
    // As the binary does; every test after the first finds it done.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // They ask over plain HTTP; reading the system's certificates for each would take longer than most of them ask.
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap()
}

impl Person {
    pub fn new(url: &Url, id: &str, token: String) -> Self {
        Self { id: id.to_owned(), token, url: url.clone(), http: http() }
    }

    /// The same person at another node.
    pub fn at(&self, url: &Url) -> Self {
        Self { url: url.clone(), ..self.clone() }
    }

    /// The same person by another token, or by a key.
    pub fn by(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// The id inside.
    pub fn uuid(&self) -> uuid::Uuid {
        ids::decode(Kind::User, &self.id).unwrap()
    }

    /// Sends an operation; `input` is its variable `$input`, or all its variables where it is an object with the key
    /// `variables`.
    pub async fn tries(&self, query: &str, input: Value) -> Answer {
        let variables =
            if input["variables"].is_object() { input["variables"].clone() } else { json!({ "input": input }) };
        let variables = if query.contains("$input") || input["variables"].is_object() { variables } else { json!({}) };
        let request = self
            .http
            .post(self.url.join("/graphql").unwrap())
            .header("accept", "application/graphql-response+json")
            .bearer_auth(&self.token)
            .json(&json!({ "query": query, "variables": variables }));
        let response = request.send().await.unwrap();
        Answer { status: response.status().as_u16(), body: response.json().await.unwrap() }
    }

    /// The same, for what has to work: the data.
    pub async fn ask(&self, query: &str, input: Value) -> Value {
        let answer = self.tries(query, input).await;
        assert!(answer.body["errors"].is_null(), "{query}\n{:#}", answer.body);
        answer.body["data"].clone()
    }

    /// A query without variables.
    pub async fn sees(&self, query: &str) -> Value {
        self.ask(query, Value::Null).await
    }

    /// A mutation `name(input: …)` that has to work: its payload, of which `fields` are selected.
    pub async fn does(&self, name: &str, input: Value, fields: &str) -> Value {
        let payload = self.mutates(name, input, fields).await;
        assert_eq!(payload["errors"], json!([]), "{name}: {payload:#}");
        payload
    }

    /// A mutation whose errors are the point: its payload with `errors`.
    pub async fn mutates(&self, name: &str, input: Value, fields: &str) -> Value {
        let answer = self.tries_mutation(name, input, fields).await;
        assert!(answer.body["errors"].is_null(), "{name}\n{:#}", answer.body);
        answer.body["data"][name].clone()
    }

    /// A mutation of which anything may come.
    pub async fn tries_mutation(&self, name: &str, input: Value, fields: &str) -> Answer {
        let (first, rest) = name.split_at(1);
        let query = format!(
            "mutation($input: {}{rest}Input!) {{ {name}(input: $input) {{ {fields} errors {{ code message field conflictsWith {{ id }} }} }} }}",
            first.to_uppercase()
        );
        self.tries(&query, input).await
    }

    /// A mutation that is to be refused for something that can be mended: its first error.
    pub async fn refused(&self, name: &str, input: Value) -> Value {
        let payload = self.mutates(name, input, "").await;
        assert_ne!(payload["errors"], json!([]), "{name} was not refused");
        payload["errors"][0].clone()
    }

    /// A websocket of theirs, acknowledged.
    pub async fn socket(&self) -> Socket {
        let mut socket = Socket::open(&self.url).await;
        socket.init(json!({ "authorization": format!("Bearer {}", self.token) })).await;
        socket
    }

    /// A client of the workspace; its id.
    pub async fn creates_client(&self, name: &str) -> String {
        let created = self.does("createClient", json!({ "name": name }), "client { id }").await;
        created["client"]["id"].as_str().unwrap().to_owned()
    }

    /// Makes an API key: its id, and whoever holds it, who acts for this person.
    pub async fn makes_key(&self, input: Value) -> (String, Self) {
        let made = self.does("createApiKey", input, "apiKey { id } secret").await;
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        (text(&made["apiKey"]["id"]), self.by(&text(&made["secret"])))
    }

    /// Starts connecting in the browser: the attempt's id and link.
    pub async fn starts_connecting(&self, mut input: Value) -> (String, String) {
        if input["using"].is_null() {
            input["using"] = json!({ "browser": {} });
        }
        let started = self.does("connect", input, "attempt { id authorizationUrl }").await;
        let text = |field: &str| started["attempt"][field].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
        (text("id"), text("authorizationUrl"))
    }

    /// Connects in the browser as `person` of the sandbox; the connection, with the fields that tests look at.
    pub async fn connects(&self, browser: &Browser, input: Value, person: &str) -> Value {
        let (id, url) = self.starts_connecting(input).await;
        browser.signs_in(&url, person).await;
        let attempt = self.attempt(&id).await;
        assert_eq!(attempt["status"], "SUCCEEDED", "{attempt:#}");
        attempt["connections"][0].clone()
    }

    /// Connects through an authorization that exists.
    pub async fn connects_through(&self, authorization: &str, mut input: Value) -> Value {
        input["using"] = json!({ "authorizationId": authorization });
        self.does("connect", input, &format!("connection {{ {CONNECTION} }}")).await["connection"].clone()
    }

    /// Starts a reconnect in the browser: the attempt's id and link.
    pub async fn starts_reconnecting(&self, connection: &str, change: &str) -> (String, String) {
        let input = json!({ "connectionId": connection, "accountChange": change });
        let started = self.does("reconnect", input, "attempt { id authorizationUrl }").await;
        let text = |field: &str| started["attempt"][field].as_str().unwrap().to_owned();
        (text("id"), text("authorizationUrl"))
    }

    /// Reconnects in the browser as `person` of the sandbox; the attempt as it ended.
    pub async fn reconnects(
        &self,
        browser: &Browser,
        connection: &str,
        change: &str,
        person: &str,
    ) -> (Value, Landing) {
        let (id, url) = self.starts_reconnecting(connection, change).await;
        let landing = browser.signs_in(&url, person).await;
        (self.attempt(&id).await, landing)
    }

    /// An attempt of theirs.
    pub async fn attempt(&self, id: &str) -> Value {
        let query = format!(
            "query($id: ID!) {{ authorizationAttempt(id: $id) {{ id kind status error {{ code message conflictsWith {{ id }} }} \
             signedInAs {{ accountId name }} expectedAccount {{ accountId name }} connectionCount connections {{ {CONNECTION} }} \
             stillDisconnected {{ id }} availableAccounts {{ nodes {{ accountId name connections {{ id }} }} }} }} }}"
        );
        self.ask(&query, json!({ "variables": { "id": id } })).await["authorizationAttempt"].clone()
    }

    /// A connection as they see it.
    pub async fn connection(&self, id: &str) -> Value {
        let query = format!("query($id: ID) {{ connection(id: $id) {{ {CONNECTION} }} }}");
        self.ask(&query, json!({ "variables": { "id": id } })).await["connection"].clone()
    }

    /// Where the journal stands.
    pub async fn event_cursor(&self) -> String {
        self.sees("{ eventCursor }").await["eventCursor"].as_str().unwrap().to_owned()
    }

    /// What happened to connections since `after`, oldest first.
    pub async fn changes_since(&self, after: &str) -> Vec<Value> {
        let query = "query($after: String!) { connectionChanges(after: $after) { nodes { kind by { id } connectionCount \
                     connections { id } addedConnections { id } removedConnectionIds authorization { id } \
                     disconnection { id endedBy reconnectedBy { id } } clients { id } } } }";
        let answer = self.ask(query, json!({ "variables": { "after": after } })).await;
        answer["connectionChanges"]["nodes"].as_array().unwrap().clone()
    }

    /// Their tray, newest first.
    pub async fn tray(&self) -> Vec<Value> {
        let query = "{ viewer { unreadNotificationCount notifications { nodes { id kind title readAt \
                     disconnection { id endedAt reconnectConnectionId } connections { nodes { id } } } } } }";
        self.sees(query).await["viewer"]["notifications"]["nodes"].as_array().unwrap().clone()
    }
}

/// What tests look at of a connection.
pub const CONNECTION: &str = "id name status statusChangedAt externalId removedAt client { id } account { accountId name } \
     authorization { id status account { accountId name } } createdBy { id } sharedWith { id } \
     disconnection { id reason detectedBy message endedAt endedBy reconnectConnectionId connection { id } } \
     viewerCanReconnect viewerCanRemove viewerCanShare";
