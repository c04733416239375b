//! What is promised of a request holds by every way in.

use serde_json::{Value, json};

use super::*;
use crate::harness::{Setup, nodes};

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Post,
    Batch,
    EventStream,
    Socket,
}

const WAYS: [Way; 4] = [Way::Post, Way::Batch, Way::EventStream, Way::Socket];

/// What a request says beside its document.
#[derive(Default, Clone, Copy)]
struct Said<'a> {
    key: Option<&'a str>,
    workspace: Option<&'a str>,
}

/// What came back: the status where HTTP has one, the headers, and the answer; or how the socket was closed.
#[derive(Debug)]
struct Back {
    status: Option<u16>,
    headers: reqwest::header::HeaderMap,
    answer: Value,
    closed: Option<u16>,
}

impl Back {
    fn code(&self) -> &str {
        self.answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
    }
}

impl Way {
    /// Asks by this way.
    async fn asks(self, stage: &Stage, token: &str, said: Said<'_>, query: &str) -> Back {
        match self {
            Self::Socket => over_a_socket(stage, token, said, query).await,
            _ => self.over_http(stage, token, said, query).await,
        }
    }

    async fn over_http(self, stage: &Stage, token: &str, said: Said<'_>, query: &str) -> Back {
        let accept = if self == Self::EventStream { "text/event-stream" } else { STRICT };
        let mut request = post(stage, Some(token), accept);
        if let Some(workspace) = said.workspace {
            request = request.header("patchbay-workspace", workspace);
        }
        let mut body = json!({ "query": query });
        match said.key {
            Some(key) if self == Self::Batch => body["extensions"] = json!({ "idempotencyKey": key }),
            Some(key) => request = request.header("idempotency-key", key),
            None => {}
        }
        let body = if self == Self::Batch { json!([body]) } else { body };
        let reply = Reply::of(request.body(body.to_string())).await;
        let answer = match self {
            Self::EventStream if reply.text.starts_with("event: next") => {
                let data = reply.text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                serde_json::from_str(data).unwrap()
            }
            Self::Batch => match reply.json() {
                Value::Array(mut answers) => answers.remove(0),
                refused => refused,
            },
            _ => reply.json(),
        };
        Back { status: Some(reply.status), headers: reply.headers, answer, closed: None }
    }
}

async fn over_a_socket(stage: &Stage, token: &str, said: Said<'_>, query: &str) -> Back {
    let back = |answer, closed| Back { status: None, headers: Default::default(), answer, closed };
    let mut socket = Socket::open(&stage.url).await;
    let mut payload = json!({ "authorization": format!("Bearer {token}") });
    if let Some(workspace) = said.workspace {
        payload["Patchbay-Workspace"] = json!(workspace);
    }
    socket.send(json!({ "type": "connection_init", "payload": payload })).await;
    if let Frame::Closed(code) = socket.next().await {
        return back(Value::Null, Some(code));
    }
    let mut request = json!({ "query": query });
    if let Some(key) = said.key {
        request["extensions"] = json!({ "idempotencyKey": key });
    }
    socket.send(json!({ "id": "1", "type": "subscribe", "payload": request })).await;
    match socket.next().await {
        Frame::Closed(code) => back(Value::Null, Some(code)),
        Frame::Message(message) if message["type"] == "next" => back(message["payload"].clone(), None),
        Frame::Message(message) => back(json!({ "errors": message["payload"] }), None),
    }
}

fn creating(name: &str) -> String {
    format!(r#"mutation {{ createClient(input: {{ name: "{name}" }}) {{ client {{ id }} errors {{ code }} }} }}"#)
}

async fn clients(stage: &Stage, name: &str) -> usize {
    let all = nodes(&stage.admin.sees("{ clients(first: 100) { nodes { name } } }").await["clients"]);
    all.iter().filter(|client| client["name"] == name).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_under_a_key_is_done_once_whichever_way_it_comes() {
    let stage = Stage::new().await;
    let token = stage.admin.token.as_str();
    for way in WAYS {
        let (name, key) = (format!("By {way:?}"), format!("{way:?}-1"));
        let said = Said { key: Some(&key), ..Said::default() };
        let first = way.asks(&stage, token, said, &creating(&name)).await;
        assert!(first.answer["data"]["createClient"]["client"]["id"].is_string(), "{way:?}: {first:?}");
        // It is the sender's key, not the way's.
        for again in WAYS {
            let back = again.asks(&stage, token, said, &creating(&name)).await;
            assert_eq!(back.answer, first.answer, "{way:?}, then {again:?}");
            let other = again.asks(&stage, token, said, &creating("Another")).await;
            assert_eq!(other.code(), "BAD_USER_INPUT", "{way:?}, then {again:?}: {other:?}");
        }
        assert_eq!(clients(&stage, &name).await, 1, "{way:?}");
    }
    assert_eq!(clients(&stage, "Another").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_heeded_is_refused_and_nothing_is_done() {
    let stage = Stage::new().await;
    let token = Some(stage.admin.token.as_str());
    let one = |key: Value| json!({ "query": creating("Acme"), "extensions": { "idempotencyKey": key } });
    for accept in [STRICT, "text/event-stream"] {
        let send = |body: Value, header: &[&str]| {
            let request = post(&stage, token, accept).body(body.to_string());
            Reply::of(header.iter().fold(request, |request, key| request.header("idempotency-key", *key)))
        };
        for wrong in [json!("two words"), json!(""), json!(7), json!(["k"])] {
            assert_eq!(send(one(wrong), &[]).await.status, 400, "{accept}");
        }
        let bare = json!({ "query": creating("Acme") });
        assert_eq!(send(bare.clone(), &["two words"]).await.status, 400, "{accept}");
        assert_eq!(send(bare.clone(), &["a", "b"]).await.status, 400, "{accept}: two keys");
        assert_eq!(send(one(json!("a")), &["b"]).await.status, 400, "{accept}: they differ");
        assert_eq!(send(json!([bare]), &["a"]).await.status, 400, "{accept}: a batch");
    }
    assert_eq!(clients(&stage, "Acme").await, 0);

    let mut socket = stage.admin.socket().await;
    socket.send(json!({ "id": "1", "type": "subscribe", "payload": one(json!(7)) })).await;
    assert_eq!(socket.next().await, Frame::Closed(4400));
    let upgrade = client()
        .get(graphql(&stage))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
        .header("sec-websocket-protocol", "graphql-transport-ws")
        .header("idempotency-key", "a");
    let refused = Reply::of(upgrade).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("extensions.idempotencyKey"), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workspace_that_is_named_counts_by_every_way() {
    let stage = Stage::new().await;
    let viewer = "{ viewer { workspace { id } } }";
    let home = stage.admin.sees(viewer).await["viewer"]["workspace"]["id"].as_str().unwrap().to_owned();
    let elsewhere = stage.stranger().await.sees(viewer).await["viewer"]["workspace"]["id"].as_str().unwrap().to_owned();
    for way in WAYS {
        let asks = |workspace| {
            let said = Said { workspace: Some(workspace), ..Said::default() };
            way.asks(&stage, &stage.admin.token, said, viewer)
        };
        assert_eq!(asks(&home).await.answer["data"]["viewer"]["workspace"]["id"], json!(home), "{way:?}");
        let refused = asks(&elsewhere).await;
        assert!(refused.status == Some(401) || refused.closed == Some(4403), "{way:?}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_of_documents_and_the_request_id_hold_by_every_way() {
    let stage = Stage::new().await;
    let deep = format!(
        "{{ connections {{ nodes {{ {} id {} }} }} }}",
        "client { connections { nodes { ".repeat(9),
        "} } }".repeat(9)
    );
    for way in WAYS {
        let back = way.asks(&stage, &stage.admin.token, Said::default(), &deep).await;
        assert_eq!(back.code(), "TOO_COMPLEX", "{way:?}: {back:?}");
        if way != Way::Socket {
            assert!(back.headers.contains_key("x-request-id"), "{way:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_operations_are_refused_by_every_way_which_says_when_to_come_back() {
    let limits = |limits: &mut patchbay::config::Limits| (limits.requests_per_second, limits.request_burst) = (1, 20);
    let stage = Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await;
    for (number, way) in WAYS.into_iter().enumerate() {
        let person = stage.person(&format!("Person{number}"), "STAFF", None).await;
        let many: String = (0..20).map(|n| format!("a{n}: viewer {{ role }} ")).collect();
        let (many, mut limited) = (format!("{{ {many} }}"), None);
        // One a second comes back, so that a slow machine may need more than one try.
        for _ in 0..20 {
            Way::Post.asks(&stage, &person.token, Said::default(), &many).await;
            let back = way.asks(&stage, &person.token, Said::default(), "{ viewer { role } }").await;
            if back.code() == "RATE_LIMITED" {
                limited = Some(back);
                break;
            }
        }
        let back = limited.unwrap_or_else(|| panic!("{way:?} is not limited"));
        assert!(back.answer["errors"][0]["extensions"]["retryAfterSeconds"].as_u64() >= Some(1), "{way:?}: {back:?}");
        match way {
            Way::Post | Way::EventStream => {
                assert_eq!(back.status, Some(429), "{way:?}");
                assert!(back.headers.contains_key("retry-after"), "{way:?}");
            }
            Way::Batch | Way::Socket => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_in_one_message_is_refused_by_every_way() {
    let limits = |limits: &mut patchbay::config::Limits| (limits.body_bytes, limits.frame_bytes) = (4_096, 4_096);
    let stage = Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await;
    for (length, fits) in [(3_000, true), (5_000, false)] {
        let query = format!("{{ viewer {{ role }} }} #{}", "x".repeat(length));
        for way in WAYS {
            let back = way.asks(&stage, &stage.admin.token, Said::default(), &query).await;
            if fits {
                assert_eq!(back.answer["data"]["viewer"]["role"], "ADMIN", "{way:?}: {back:?}");
            } else {
                assert!(back.status == Some(413) || back.closed == Some(1009), "{way:?}: {back:?}");
            }
        }
    }
}
