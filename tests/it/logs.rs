//! What the real binary logs: a line for every request, found by its id, and nothing that a client could plant there.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

use crate::harness::{Database, Frame, JWT_SECRET, KEYS, Person, Socket, http};

/// Not for any line.
const PLANTED: &str = "PLANTED";

/// How long starting may take. It is no measure: on a good day it takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the server listens, once it says so in `log`.
async fn listening(log: &Path) -> Url {
    loop {
        let said = std::fs::read_to_string(log).unwrap();
        let url = said.split_once("listening at ").and_then(|(_, rest)| rest.split(['"', '\n']).next()?.parse().ok());
        match url {
            Some(url) => return url,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The binary, serving, with what it logs in a file.
struct Server {
    process: Child,
    url: Url,
    log: PathBuf,
    admin: Person,
    _database: Database,
}

impl Server {
    async fn start(level: &str, format: &str) -> Self {
        let database = Database::migrated().await;
        let log = database.folder().join("log");
        let command = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay"));
            command.args(arguments).current_dir(database.folder()).env_clear().stdin(Stdio::null());
            for (name, value) in [
                ("LISTEN", "127.0.0.1:0"),
                ("DATABASE_URL", database.url()),
                ("ENCRYPTION_KEYS", KEYS),
                ("JWT_SECRET", JWT_SECRET),
                ("LOG", level),
                ("LOG_FORMAT", format),
            ] {
                command.env(format!("PATCHBAY_{name}"), value);
            }
            command
        };
        let create = ["workspace", "create", "--name", "Lighthouse", "--admin-email", "mara@lighthouse.example"];
        let made: Value = serde_json::from_slice(&command(&create).output().unwrap().stdout).unwrap();
        let process = command(&["serve"]).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let url = tokio::time::timeout(PATIENCE, listening(&log)).await;
        let url = url.unwrap_or_else(|_| panic!("it does not listen: {}", std::fs::read_to_string(&log).unwrap()));
        let (user, token) = (made["userId"].as_str().unwrap(), made["token"].as_str().unwrap());
        let admin = Person::new(&url, user, token.to_owned());
        Self { process, url, log, admin, _database: database }
    }

    fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The lines of this message, as JSON, once there are `count`.
    async fn lines(&self, message: &str, count: usize) -> Vec<Value> {
        for _ in 0..200 {
            let events = self.logged().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
            let found: Vec<_> = events.into_iter().filter(|event| event["fields"]["message"] == message).collect();
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no {count} lines `{message}`:\n{}", self.logged());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_one_line_with_its_id_and_who_asked_for_what() {
    let server = Server::start("info", "json").await;
    let body = json!({
        "query": "query Planted($PLANTED: ID!) { node(id: $PLANTED) { id } viewer { role } }",
        "variables": { "PLANTED": PLANTED },
    });
    let asked = http().post(server.url.join("/graphql").unwrap()).bearer_auth(&server.admin.token).json(&body);
    let response = asked.send().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    for path in ["/healthz", "/readyz", "/metrics", "/oauth/start/PLANTED?x=PLANTED", "/PLANTED"] {
        http().get(server.url.join(path).unwrap()).send().await.unwrap();
    }
    let lines = server.lines("answered", 3).await;
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let (told, span) = (&lines[0]["fields"], &lines[0]["span"]);
    assert_eq!((&told["status"], told["duration_ms"].is_u64()), (&json!(200), true), "{told}");
    for (field, value) in [
        ("request_id", json!(id)),
        ("method", json!("POST")),
        ("path", json!("/graphql")),
        ("operation", json!("query")),
        ("fields", json!("node,viewer")),
        ("code", json!("OK")),
        ("user", json!(server.admin.id)),
    ] {
        assert_eq!(span[field], value, "{field} of {span}");
    }
    assert!(span["workspace"].as_str().unwrap().starts_with("workspace_"), "{span}");
    assert_eq!(lines[1]["span"]["path"], "/oauth/start/{attempt}");
    assert_eq!(lines[2]["span"]["path"], "none");
    assert!(!server.logged().contains(PLANTED), "{}", server.logged());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_a_line_when_it_opens_and_one_when_it_closes_and_each_operation_is_one() {
    let server = Server::start("info", "json").await;
    let mut socket = server.admin.socket().await;
    socket.subscribe("1", "{ viewer { role } }", json!({})).await;
    assert!(matches!(socket.next().await, Frame::Message(message) if message["type"] == "next"));
    let operation = server.lines("answered, over a socket", 1).await.remove(0);
    assert_eq!(operation["span"]["fields"], "viewer");
    assert_eq!((&operation["span"]["user"], &operation["span"]["code"]), (&json!(server.admin.id), &json!("OK")));
    drop(socket);
    let closed = server.lines("a socket closed", 1).await.remove(0);
    assert_eq!(closed["span"]["user"], *server.admin.id);
    let opened = server.lines("a socket opened", 1).await.remove(0);
    assert_eq!(opened["span"]["request_id"], closed["span"]["request_id"]);
    assert_ne!(opened["span"]["request_id"], operation["span"]["request_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_url_is_refused_and_in_no_line_at_the_most_talkative_level() {
    let server = Server::start("trace", "text").await;
    let token = &server.admin.token;
    for path in ["/graphql", "/explorer", "/nowhere", "/metrics", "/oauth/callback/stripe", "/healthz"] {
        for name in ["access_token", "token"] {
            let mut url = server.url.join(path).unwrap();
            url.query_pairs_mut().append_pair("query", "{ __typename }").append_pair(name, token);
            let response = http().get(url).send().await.unwrap();
            assert!(path != "/graphql" || response.status() == 400, "{path}: {}", response.status());
            assert!(!response.text().await.unwrap().contains(token.as_str()));
        }
    }
    let address = server.url.join(&format!("/graphql?access_token={token}")).unwrap();
    let address = address.as_str().replacen("http", "ws", 1);
    assert!(tokio_tungstenite::connect_async(address).await.is_err(), "a socket");
    // Where it belongs it is in no line either.
    server.admin.sees("{ viewer { role } }").await;
    drop(Socket::open(&server.url).await);
    drop(server.admin.socket().await);
    let logged = server.logged();
    assert!(logged.contains("DEBUG") && logged.contains("answered"), "it is talkative: {logged}");
    for secret in [token.as_str(), token.rsplit('.').next().unwrap()] {
        let line = logged.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}

/// What paints a terminal, or forges a line.
const FORGED: &str = "x\n2026-01-01T00:00:00Z ERROR forged\r\u{1b}[31m\u{9b}31m";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_forges_a_line_or_paints_the_terminal() {
    for format in ["text", "json"] {
        let server = Server::start("trace", format).await;
        let admin = &server.admin;
        for body in [
            json!({ "query": "{ viewer { role } }", "operationName": FORGED }),
            json!({ "query": FORGED }),
            json!({ "query": "query($x: ID!) { node(id: $x) { id } }", "variables": { "x": FORGED } }),
            json!({ "query": "query($x: ID!) { node(id: $x) { id } }", "variables": { FORGED: "x" } }),
        ] {
            let request = http().post(server.url.join("/graphql").unwrap()).bearer_auth(&admin.token);
            request.json(&body).send().await.unwrap();
        }
        let refused = admin.refused("createClient", json!({ "name": FORGED })).await;
        assert_eq!(refused["code"], "INVALID");
        // Bytes that a header may hold (RFC 9110 §5.5), and such as it may not.
        for said in [
            b"GET /%0aERROR%20forged HTTP/1.1\r\nhost: x\r\nuser-agent: \x9b31m forged\r\nx-request-id: forged\r\nconnection: close\r\n\r\n".as_slice(),
            b"GET /\x1b[31m HTTP/1.1\r\nhost: x\r\n\r\n",
            b"FORGED\x1b[31m / HTTP/1.1\r\nhost: \x1b[31m\r\n\r\n",
        ] {
            let address = server.url.socket_addrs(|| None).unwrap()[0];
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(said).await.unwrap();
            let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await;
        }
        let mut socket = admin.socket().await;
        socket.subscribe(FORGED, "{ viewer { role } }", json!({})).await;
        socket.next().await;
        let logged = server.logged();
        let starts = |line: &str| if format == "json" { line.starts_with('{') } else { line.starts_with("20") };
        for line in logged.lines() {
            assert!(starts(line), "a line of its own: {line:?}");
            assert!(!line.starts_with("2026-01-01"), "{line:?}");
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }
}
