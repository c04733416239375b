//! The ways in, as clients of every kind meet them: HTTP, event streams, websockets.

mod answers;
mod documents;
mod event_stream;
mod http;
mod http2;
mod promises;
mod quiet_peers;
mod refusals;
mod server;
mod slow_readers;
mod socket;
mod socket_closes;
mod unread_answers;
mod without_viewer;

use serde_json::{Value, json};

use crate::harness::{Frame, Person, Socket, Stage, http as client};

/// Answers whose status says what came of a request.
const STRICT: &str = "application/graphql-response+json";
/// A subscription that lives until somebody ends it.
const CHANGES: &str =
    "subscription($after: String) { connectionsChanged(after: $after) { kind connections { name } } }";

/// What came back over HTTP.
struct Reply {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Reply {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    fn code(&self) -> Value {
        self.json()["errors"][0]["extensions"]["code"].clone()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn graphql(stage: &Stage) -> url::Url {
    stage.url.join("/graphql").unwrap()
}

/// A request by POST, of somebody with this token or of nobody.
fn post(stage: &Stage, token: Option<&str>, accept: &str) -> reqwest::RequestBuilder {
    let request = client().post(graphql(stage)).header("content-type", "application/json").header("accept", accept);
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

/// What the ADMIN is answered.
async fn ask(stage: &Stage, body: &Value) -> Reply {
    Reply::of(post(stage, Some(&stage.admin.token), STRICT).body(body.to_string())).await
}

/// Connects with a key of the sandbox: a connection whose renaming is an event.
async fn connected(stage: &Stage) -> String {
    let key = stage.sandbox.keys()[0].value.clone();
    let using = json!({ "credentials": [{ "name": "api_key", "value": key }] });
    let input = json!({ "connector": "sandbox-billing", "using": using });
    let payload = stage.admin.does("connect", input, "connection { id }").await;
    payload["connection"]["id"].as_str().unwrap().to_owned()
}

async fn rename(stage: &Stage, connection: &str, name: &str) {
    stage.admin.does("updateConnection", json!({ "connectionId": connection, "name": name }), "").await;
}

/// A socket of theirs; none when they have as many as they may.
async fn admitted(stage: &Stage, person: &Person) -> Option<Socket> {
    let mut socket = Socket::open(&stage.url).await;
    let payload = json!({ "authorization": format!("Bearer {}", person.token) });
    socket.send(json!({ "type": "connection_init", "payload": payload })).await;
    match socket.next().await {
        Frame::Message(message) if message["type"] == "connection_ack" => Some(socket),
        Frame::Closed(1013) => None,
        other => panic!("{other:?}"),
    }
}

/// Waits until they may open one more socket: until another of theirs is gone at the server.
async fn eventually_admitted(stage: &Stage, person: &Person) -> Socket {
    for _ in 0..400 {
        if let Some(socket) = admitted(stage, person).await {
            return socket;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("their other socket is still held");
}

/// Twenty-four fragments of which each spreads the next twice: small to send, and sixteen million fields.
fn bomb() -> String {
    let fragments = (0..24).map(|n| format!("fragment F{n} on Query {{ ...F{next} ...F{next} }} ", next = n + 1));
    format!("{{ ...F0 }} {}fragment F24 on Query {{ __typename }}", fragments.collect::<String>())
}
