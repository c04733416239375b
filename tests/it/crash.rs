//! The real binary, started, killed, stopped and misconfigured.

use std::{
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use chrono::DateTime;
use entity::give_back;
use patchbay::{
    clock::{SystemClock, SystemEntropy},
    db::Db,
    sandbox::{Ended, Endpoint, Fault, Gate, Options, Sandbox},
};
use sea_orm::{EntityTrait, sea_query::Expr};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStderr, Command},
    time::timeout,
};
use url::Url;

use crate::harness::{Browser, Database, Frame, JWT_SECRET, KEYS, Person, Socket, each, http, id};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);
const OTHER_KEYS: &str = "test:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

/// What a server needs beside itself: a database, connector files, a provider.
struct Surroundings {
    sandbox: Sandbox,
    database: Database,
    connectors: TempDir,
    provider: Url,
    /// How often the jobs look.
    tick: &'static str,
}

/// A server that runs.
struct Server {
    process: Child,
    url: Url,
}

impl Surroundings {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let sandbox = Sandbox::new(Arc::new(SystemClock), Arc::new(SystemEntropy), &provider, Options::default());
        let router = sandbox.router();
        tokio::spawn(async { axum::serve(listener, router).await });
        let connectors = tempfile::tempdir().unwrap();
        for (name, text) in sandbox.connector_files() {
            std::fs::write(connectors.path().join(name), text).unwrap();
        }
        Self { sandbox, database: Database::migrated().await, connectors, provider, tick: "1s" }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay"));
        command.args(arguments).kill_on_drop(true).current_dir(self.connectors.path()).env_clear().envs([
            ("PATCHBAY_LISTEN", "127.0.0.1:0"),
            ("PATCHBAY_DATABASE_URL", self.database.url()),
            ("PATCHBAY_ENCRYPTION_KEYS", KEYS),
            ("PATCHBAY_JWT_SECRET", JWT_SECRET),
            ("PATCHBAY_CONNECTORS_DIR", self.connectors.path().to_str().unwrap()),
            ("PATCHBAY_ALLOWED_HOSTS", self.provider.authority()),
            ("PATCHBAY_JOB_TICK", self.tick),
        ]);
        for (name, _) in self.sandbox.connector_files() {
            let slug = name.trim_end_matches(".toml").replace('-', "_").to_uppercase();
            let secret = self.sandbox.client_secret();
            command.env(format!("PATCHBAY_OAUTH_{slug}_CLIENT_ID"), self.sandbox.client_id());
            command.env(format!("PATCHBAY_OAUTH_{slug}_CLIENT_SECRET"), secret.expose_secret());
        }
        command
    }

    /// Starts a server, and waits until it listens.
    async fn serve(&self) -> Server {
        let mut process = self.command(&["serve"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = timeout(PATIENCE, address(&mut log)).await.expect("it does not listen");
        // Read to the end, or the server would wait for us.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Server { process, url }
    }

    /// Makes a workspace; the first ADMIN's id and token.
    async fn found(&self) -> (String, String) {
        let arguments = ["workspace", "create", "--name", "Lighthouse", "--admin-email", "mara@lighthouse.example"];
        let output = self.command(&arguments).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        (made["userId"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    }

    /// A server with a workspace and a connection; its ADMIN, and the connection.
    async fn serve_one_connection(&self) -> (Server, Person, String) {
        let (user, token) = self.found().await;
        let server = self.serve().await;
        let admin = Person::new(&server.url, &user, token);
        let key = self.sandbox.keys()[0].value.clone();
        let using = json!({ "credentials": [{ "name": "api_key", "value": key }] });
        let input = json!({ "connector": "sandbox-billing", "using": using });
        let connected = admin.does("connect", input, "connection { id }").await;
        (server, admin, id(&connected["connection"]))
    }
}

/// Where a server says that it listens.
async fn address(log: &mut Lines<BufReader<ChildStderr>>) -> Url {
    while let Some(line) = log.next_line().await.unwrap() {
        if let Some((_, said)) = line.split_once("listening at ") {
            return Url::parse(said.split_whitespace().next().unwrap()).unwrap();
        }
    }
    panic!("it has ended");
}

impl Server {
    /// kill -9.
    async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    /// Asks it to stop; how it ended.
    async fn terminate(mut self) -> ExitStatus {
        let pid = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        timeout(PATIENCE, self.process.wait()).await.expect("it does not stop").unwrap()
    }

    async fn status_of(&self, path: &str) -> u16 {
        http().get(self.url.join(path).unwrap()).send().await.unwrap().status().as_u16()
    }
}

async fn rename(person: &Person, connection: &str, name: &str) {
    let input = json!({ "connectionId": connection, "name": name });
    person.does("updateConnection", input, "connection { id }").await;
}

async fn follow(person: &Person, cursor: &str) -> Socket {
    let mut socket = person.socket().await;
    let query = "subscription($after: String) { connectionsChanged(after: $after) { cursor kind } }";
    socket.subscribe("1", query, json!({ "after": cursor })).await;
    socket
}

/// What came over a socket until it broke.
async fn heard_until_the_end(mut socket: Socket) -> Vec<String> {
    let mut heard = Vec::new();
    while let Frame::Message(message) = socket.next().await {
        heard.push(message["payload"]["data"]["connectionsChanged"]["cursor"].as_str().unwrap().to_owned());
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_a_kill_is_told_after_it_and_nothing_twice() {
    let around = Surroundings::new().await;
    let (mut server, mut admin, connection) = around.serve_one_connection().await;
    let start = admin.event_cursor().await;
    let (mut heard, mut at) = (Vec::new(), start.clone());
    for round in 0..4 {
        let socket = follow(&admin, &at).await;
        for number in 0..=round {
            rename(&admin, &connection, &format!("{round}.{number}")).await;
        }
        // The last answer has come; whether its event has is left to chance.
        server.kill().await;
        heard.extend(heard_until_the_end(socket).await);
        at = heard.last().cloned().unwrap_or(at);
        server = around.serve().await;
        admin = admin.at(&server.url);
    }
    rename(&admin, &connection, "last").await;
    let mut socket = follow(&admin, &at).await;
    let told = admin.changes_matching(&start, Value::Null).await;
    assert_eq!(told.len(), 11);
    while heard.len() < told.len() {
        heard.push(socket.event().await["connectionsChanged"]["cursor"].as_str().unwrap().to_owned());
    }
    assert_eq!(heard, each(&told, "cursor"));
    let name = format!("{{ connection(id: \"{connection}\") {{ name }} }}");
    assert_eq!(admin.sees(&name).await["connection"]["name"], "last");
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_not_given_back_when_its_node_was_killed_is_given_back_by_the_next() {
    let around = Surroundings::new().await;
    let (user, token) = around.found().await;
    let server = around.serve().await;
    let admin = Person::new(&server.url, &user, token);
    let browser = Browser::new(around.sandbox.clone());
    let connection = id(&admin.connects(&browser, json!({ "connector": "sandbox-analytics" }), "ada").await);
    around.sandbox.fail_next(Endpoint::Revoke, Fault::Hang(PATIENCE), 1);
    let (person, input) = (admin.clone(), json!({ "connectionId": connection }));
    let removing = tokio::spawn(async move { person.does("removeConnection", input, "").await });
    while around.sandbox.calls(Endpoint::Revoke) == 0 {
        tokio::task::yield_now().await;
    }
    server.kill().await;
    assert!(removing.await.is_err(), "nobody has answered");
    assert_eq!(around.sandbox.grants()[0].ended, None);

    // Its claim runs out.
    let db = Db::open(around.database.url(), 1).await.unwrap();
    let unclaimed = give_back::Entity::update_many()
        .col_expr(give_back::Column::ClaimedUntil, Expr::value(DateTime::from_timestamp(0, 0)));
    assert_eq!(unclaimed.exec(db.writer()).await.unwrap().rows_affected, 1);
    db.close().await;
    let server = around.serve().await;
    let given_back = async {
        while around.sandbox.grants()[0].ended != Some(Ended::ByClient) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, given_back).await.expect("it is not given back");
    assert!(admin.at(&server.url).connection(&connection).await["removedAt"].is_string());
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_is_killed_half_way_leaves_the_old_rows_whole_and_runs_again() {
    let around = Surroundings::new().await;
    let (server, admin, connection) = around.serve_one_connection().await;
    let dataset = admin.makes_dataset(&connection, "invoices").await;
    let (rows, cursor) = (admin.rows(&dataset).await, admin.event_cursor().await);
    let asked = around.sandbox.calls(Endpoint::Keyed);
    around.sandbox.fail_next(Endpoint::Keyed, Fault::Hang(PATIENCE), 1);
    let (person, of) = (admin.clone(), dataset.clone());
    let refreshing = tokio::spawn(async move { person.refreshes(&of).await });
    while around.sandbox.calls(Endpoint::Keyed) == asked {
        tokio::task::yield_now().await;
    }
    server.kill().await;
    assert!(refreshing.await.is_err(), "nobody has answered");

    let server = around.serve().await;
    let admin = admin.at(&server.url);
    assert_eq!(admin.rows(&dataset).await, rows);
    let mut socket = admin.socket().await;
    let query = "subscription($after: String) { datasetsChanged(after: $after) { kind dataset { status rowCount } } }";
    socket.subscribe("1", query, json!({ "after": cursor })).await;
    let refreshed = json!({ "kind": "REFRESHED", "dataset": { "status": "FRESH", "rowCount": 28 } });
    assert_eq!(socket.event().await["datasetsChanged"], refreshed);
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_stop_it_closes_its_sockets_as_going_away_and_ends_well() {
    let around = Surroundings::new().await;
    let (server, admin, connection) = around.serve_one_connection().await;
    let mut idle = admin.socket().await;
    let mut socket = follow(&admin, &admin.event_cursor().await).await;
    rename(&admin, &connection, "Lamps").await;
    socket.event().await;
    let ended = tokio::spawn(server.terminate());
    assert_eq!((socket.closed().await, idle.closed().await), (1001, 1001));
    assert_eq!(ended.await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_on_their_way_to_a_client_that_left_are_stored_before_it_stops() {
    let mut around = Surroundings::new().await;
    // No job renews: a client asks.
    around.tick = "1m";
    around.sandbox.configure(|options| options.access_token_lifetime = chrono::TimeDelta::seconds(1));
    let (user, token) = around.found().await;
    let server = around.serve().await;
    let admin = Person::new(&server.url, &user, token);
    let input = json!({ "connector": "sandbox-ads", "accountId": "100-301" });
    let connection = admin.connects(&Browser::new(around.sandbox.clone()), input, "ada").await;
    let gate = Gate::closed();
    around.sandbox.fail_next(Endpoint::Token, Fault::Held(gate.clone()), 1);
    let accounts = format!(
        "{{ authorization(id: \"{}\") {{ availableAccounts {{ totalCount }} }} }}",
        id(&connection["authorization"])
    );
    let asking = tokio::spawn({
        let admin = admin.clone();
        // Until the access token has ended.
        async move {
            loop {
                admin.tries(&accounts, Value::Null).await;
            }
        }
    });
    while around.sandbox.token_calls().refresh_token == 0 {
        tokio::task::yield_now().await;
    }
    asking.abort();
    let address = server.url.socket_addrs(|| None).unwrap()[0];
    let ended = tokio::spawn(server.terminate());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.open();
    assert_eq!(ended.await.unwrap().code(), Some(0));

    let server = around.serve().await;
    let admin = admin.at(&server.url);
    // Until the rotated token has to be used.
    while around.sandbox.token_calls().refresh_token < 2 {
        let check = json!({ "connectionId": id(&connection) });
        let checked = admin.does("checkConnection", check, "connection { status }").await;
        assert_eq!(checked["connection"]["status"], "CONNECTED");
    }
    assert_eq!(around.sandbox.grants()[0].ended, None);
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_lives_and_that_it_is_ready() {
    let around = Surroundings::new().await;
    let server = around.serve().await;
    assert_eq!((server.status_of("/healthz").await, server.status_of("/readyz").await), (200, 200));
    assert!(server.terminate().await.success());
}

/// Runs a command that has to end by itself: its exit code and what it said.
async fn ends(mut command: Command) -> (Option<i32>, String) {
    let output = timeout(PATIENCE, command.output()).await.expect("it goes on").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_said_and_fails() {
    let around = Surroundings::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let mut command = around.command(&["serve"]);
    command.env("PATCHBAY_LISTEN", taken.local_addr().unwrap().to_string());
    let (code, said) = ends(command).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("PATCHBAY_LISTEN") && said.contains("cannot listen there"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_that_do_not_open_what_is_stored_it_does_not_start() {
    let around = Surroundings::new().await;
    let (server, ..) = around.serve_one_connection().await;
    assert!(server.terminate().await.success());
    for keys in [OTHER_KEYS, &OTHER_KEYS.replace("test:", "another:"), &KEYS.replace("test:", "another:")] {
        let mut command = around.command(&["serve"]);
        command.env("PATCHBAY_ENCRYPTION_KEYS", keys);
        let (code, said) = ends(command).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("PATCHBAY_ENCRYPTION_KEYS") && !said.contains(keys.split_once(':').unwrap().1), "{said}");
    }
    let mut command = around.command(&["serve"]);
    command.env_remove("PATCHBAY_ENCRYPTION_KEYS");
    let (code, said) = ends(command).await;
    assert_eq!(code, Some(1), "{said}");
    // A second key beside the right one changes nothing.
    let both = format!("{},{KEYS}", OTHER_KEYS.replace("test:", "newer:"));
    let mut command = around.command(&["migrate"]);
    command.env("PATCHBAY_ENCRYPTION_KEYS", both);
    let (code, said) = ends(command).await;
    assert_eq!(code, Some(0), "{said}");
}
