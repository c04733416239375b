//! Secrets of every kind through the whole life of connections, with the real binary: none of them is in the database in
//! clear, in what the server logs at its most talkative, or in any answer.

mod tap;

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use patchbay::{
    clock::{SystemClock, SystemEntropy},
    db::Db,
    sandbox::{Endpoint, Fault, Options, Sandbox},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};
use url::Url;

use self::tap::Tap;
use super::*;
use crate::harness::{Browser, Database, Frame, Person, Socket, tables};

const PATIENCE: Duration = Duration::from_secs(60);
/// What a bad provider says in its errors, with what it was sent: not for any log or answer.
const SAID: &str = "planted-in-an-error";
/// What somebody types that no provider accepts.
const TYPED: &str = "planted-and-refused";

/// The binary, serving, with a sandbox as its provider whose every secret is noted.
struct Server {
    process: Child,
    url: Url,
    logged: Arc<Mutex<String>>,
    database: Database,
    sandbox: Sandbox,
    tap: Tap,
    variables: Vec<(String, String)>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let base = Url::parse(&format!("http://{address}")).unwrap();
        // Tokens that end soon are renewed often.
        let options = Options { access_token_lifetime: chrono::TimeDelta::seconds(4), ..Options::default() };
        let sandbox = Sandbox::new(Arc::new(SystemClock), Arc::new(SystemEntropy), &base, options);
        let tap = Tap::default();
        let router = tap.around(sandbox.router());
        tokio::spawn(async move { axum::serve(listener, router).await });

        let database = Database::migrated().await;
        let variables = variables(&database, &sandbox, &address);
        let mut process = command("serve", &variables, &database).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (logged, mut url) = (Arc::new(Mutex::new(String::new())), None);
        while url.is_none() {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it listens").unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended: {}", logged.lock().unwrap()));
            url = line.split_once("listening at ").map(|(_, url)| Url::parse(url.trim()).unwrap());
            *logged.lock().unwrap() += &(line + "\n");
        }
        let log = logged.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                *log.lock().unwrap() += &(line + "\n");
            }
        });
        Self { process, url: url.unwrap(), logged, database, sandbox, tap, variables }
    }

    /// The first ADMIN, made by the command.
    async fn admin(&self) -> Person {
        let mut create = command("workspace", &self.variables, &self.database);
        create.args(["create", "--name", "Lighthouse", "--admin-email", "mara@lighthouse.example"]);
        let output = create.stderr(Stdio::piped()).stdout(Stdio::piped()).output().await.unwrap();
        *self.logged.lock().unwrap() += std::str::from_utf8(&output.stderr).unwrap();
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        Person::new(&self.url, made["userId"].as_str().unwrap(), made["token"].as_str().unwrap().to_owned())
    }

    async fn stop(&mut self) {
        let id = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("it ends").unwrap();
        assert_eq!(ended.code(), Some(0));
    }
}

fn variables(database: &Database, sandbox: &Sandbox, address: &str) -> Vec<(String, String)> {
    let connectors = database.folder().join("connectors");
    std::fs::create_dir(&connectors).unwrap();
    let mut variables = vec![
        ("LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("DATABASE_URL".to_owned(), database.url().to_owned()),
        ("ENCRYPTION_KEYS".to_owned(), KEYS.to_owned()),
        ("JWT_SECRET".to_owned(), JWT_SECRET.to_owned()),
        ("CONNECTORS_DIR".to_owned(), connectors.display().to_string()),
        ("ALLOWED_HOSTS".to_owned(), address.to_owned()),
        ("PROBE_INTERVAL".to_owned(), "1s".to_owned()),
        ("JOB_TICK".to_owned(), "100ms".to_owned()),
        ("LOG".to_owned(), "trace".to_owned()),
    ];
    for (name, text) in sandbox.connector_files() {
        std::fs::write(connectors.join(&name), text).unwrap();
        let slug = name.trim_end_matches(".toml").replace('-', "_").to_uppercase();
        variables.push((format!("OAUTH_{slug}_CLIENT_ID"), sandbox.client_id().to_owned()));
        variables.push((format!("OAUTH_{slug}_CLIENT_SECRET"), sandbox.client_secret().expose_secret().to_owned()));
    }
    variables.into_iter().map(|(name, value)| (format!("PATCHBAY_{name}"), value)).collect()
}

fn command(name: &str, variables: &[(String, String)], database: &Database) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay"));
    command.arg(name).current_dir(database.folder()).env_clear().envs(variables.iter().cloned()).kill_on_drop(true);
    command
}

/// All that somebody hears who looks at everything and tries what does not work.
#[derive(Default)]
struct Heard(Vec<String>);

impl Heard {
    async fn tries(&mut self, person: &Person, query: &str, input: Value) -> Value {
        let answer = person.tries(query, input).await;
        self.0.push(answer.body.to_string());
        answer.body
    }

    async fn everything(&mut self, person: &Person) {
        let connection = "id name externalId account { accountId name } authorization { id scopes missingScopes \
             account { accountId name } availableAccounts { nodes { accountId name } } } disconnection { message reason } \
             disconnections { nodes { message } }";
        let queries = [
            format!("{{ connections {{ nodes {{ {connection} }} }} }}"),
            "{ authorizations { nodes { id scopes account { accountId name } removedAt disconnection { message } } } }".to_owned(),
            "{ disconnections { nodes { message connections { nodes { id } } } } }".to_owned(),
            "{ datasets { nodes { id name error { message } rows { nodes } query { http { path parameters } } } } \
             metrics { nodes { exactValue error { message } } } }"
                .to_owned(),
            "{ auditLog(first: 100) { nodes { action details subject { id __typename } user { name email } } } }".to_owned(),
            "{ connectors { nodes { slug requirements configured fields { name label help pattern } } } }"
                .to_owned(),
            "{ viewer { notifications { nodes { title } } workspace { name } } users { nodes { name email } } eventCursor }"
                .to_owned(),
        ];
        for query in queries {
            let body = self.tries(person, &query, Value::Null).await;
            assert!(body["data"].is_object(), "{query}\n{body:#}");
        }
    }
}

/// Waits for a change of this kind.
async fn until(socket: &mut Socket, heard: &mut Heard, kind: &str) {
    loop {
        let Frame::Message(message) = socket.next().await else { panic!("the socket was closed before {kind} came") };
        heard.0.push(message.to_string());
        if message["payload"]["data"]["connectionsChanged"]["kind"] == kind {
            return;
        }
    }
}

const CHANGES: &str =
    "subscription { connectionsChanged { kind connections { id name status disconnection { message } } } }";

/// Connects, breaks, mends and removes, with a sign-in and with a key, and runs into every kind of refusal on the way.
/// What the address of a link ends in comes back.
async fn live_through_everything(server: &Server, admin: &Person, heard: &mut Heard) -> String {
    let (sandbox, browser) = (&server.sandbox, Browser::new(server.sandbox.clone()));
    let mut socket = admin.socket().await;
    socket.subscribe("changes", CHANGES, json!({})).await;

    // A sign-in; the provider gives out new tokens every few seconds.
    let started = json!({ "connector": "sandbox-analytics", "using": { "browser": {} } });
    let attempt = admin.does("connect", started, "attempt { id authorizationUrl }").await["attempt"].clone();
    let callback = browser.allows(attempt["authorizationUrl"].as_str().unwrap(), "ada").await;
    server.tap.note_query(&callback);
    heard.0.push(browser.opens(callback.as_str()).await.body);
    heard.0.push(browser.opens(callback.as_str()).await.body);
    until(&mut socket, heard, "ADDED").await;
    let analytics = admin.attempt(attempt["id"].as_str().unwrap()).await;
    heard.0.push(analytics.to_string());
    let analytics = analytics["connections"][0]["id"].as_str().unwrap().to_owned();
    server.tap.until_renewed().await;

    // Errors that repeat what was sent: of the token endpoint, of the API.
    let body = format!("{{\"error\":\"{SAID}\",\"error_description\":\"{SAID}\"}}");
    for (endpoint, status) in [(Endpoint::Token, 400), (Endpoint::Identity, 500), (Endpoint::Keyed, 503)] {
        let headers = vec![("x-said".to_owned(), SAID.to_owned()), ("www-authenticate".to_owned(), SAID.to_owned())];
        sandbox.fail_next(endpoint, Fault::Exactly { status, headers, body: body.clone() }, 1);
    }

    // A key: one that is refused, one in the wrong place, one that is good.
    let with = |name: &str, value: &str| json!({ "credentials": [{ "name": name, "value": value }] });
    let connect = "mutation($input: ConnectInput!) { connect(input: $input) { connection { id } errors { code message field } } }";
    for using in [
        with("api_key", TYPED),
        with("api_key", TYPED),
        with(TYPED, TYPED),
        json!({ "authorizationId": TYPED }),
        json!({ TYPED: TYPED }),
    ] {
        heard.tries(admin, connect, json!({ "connector": "sandbox-billing", "using": using })).await;
    }
    let key = sandbox.keys()[0].value.clone();
    let good = json!({ "connector": "sandbox-billing", "using": with("api_key", &key) });
    let billing = heard.tries(admin, connect, good).await["data"]["connect"]["connection"]["id"].clone();
    assert!(billing.is_string());
    until(&mut socket, heard, "ADDED").await;

    // Rows that come, and errors in place of them that repeat what was sent.
    let dataset = admin.makes_dataset(&analytics, "visits").await;
    admin.makes_metric(&dataset, "SUM", Some("visits")).await;
    for status in [500, 400, 403] {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        sandbox.fail_next(Endpoint::Report, Fault::Exactly { status, headers, body: body.clone() }, 2);
        let refresh = "mutation($input: RefreshDatasetInput!) { refreshDataset(input: $input) \
                       { dataset { status error { message } rows { nodes } } errors { message } } }";
        heard.tries(admin, refresh, json!({ "datasetId": dataset })).await;
        heard.everything(admin).await;
        sandbox.clear_faults();
        // The job may be at it as well.
        let mut shown = admin.refreshes(&dataset).await;
        while shown["status"] == "REFRESHING" {
            shown = admin.refreshes(&dataset).await;
        }
        assert_eq!(shown["status"], "FRESH", "{status}");
    }

    // Both break, are noticed, and are mended.
    let changed = sandbox.change_key("lamps").unwrap();
    until(&mut socket, heard, "DISCONNECTED").await;
    sandbox.revoke_person("ada");
    until(&mut socket, heard, "DISCONNECTED").await;
    heard.everything(admin).await;
    let again = json!({ "connectionId": billing, "credentials": [{ "name": "api_key", "value": changed.value }] });
    heard.0.push(admin.does("reconnect", again, "connections { id }").await.to_string());
    until(&mut socket, heard, "RECONNECTED").await;
    let (reconnected, landing) = admin.reconnects(&browser, &analytics, "ASK", "ada").await;
    heard.0.extend([reconnected.to_string(), landing.body]);
    assert_eq!(reconnected["status"], "SUCCEEDED", "{reconnected:#}");
    until(&mut socket, heard, "RECONNECTED").await;

    // A sign-in that waits for a decision holds tokens, too.
    let started = json!({ "connector": "sandbox-ads", "using": { "browser": {} } });
    let waiting = admin.does("connect", started, "attempt { id authorizationUrl }").await["attempt"].clone();
    browser.signs_in(waiting["authorizationUrl"].as_str().unwrap(), "ben").await;
    heard.0.push(admin.attempt(waiting["id"].as_str().unwrap()).await.to_string());
    heard.everything(admin).await;
    let link = follow_a_link(server, admin, heard).await;

    admin.does("removeConnection", json!({ "connectionId": billing }), "").await;
    until(&mut socket, heard, "REMOVED").await;
    link
}

/// Somebody without a login comes as far as the choice of an account, and types a key that is refused; what the link's
/// address ends in.
async fn follow_a_link(server: &Server, admin: &Person, heard: &mut Heard) -> String {
    let client = admin.creates_client("Acme").await;
    let input = json!({ "clientId": client, "connectors": ["sandbox-ads", "sandbox-billing"] });
    let link = admin.does("createConnectLink", input, "url").await["url"].as_str().unwrap().to_owned();
    let browser = Browser::new(server.sandbox.clone());
    heard.0.push(browser.opens(&link).await.body);
    let typed = [("connector", "sandbox-billing"), ("field.api_key", TYPED)];
    heard.0.push(browser.submits(&link, &typed).await.body);
    let away = browser.submits(&link, &[("connector", "sandbox-ads")]).await.body;
    let start = away.split("0;url=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    heard.0.push(away);
    let callback = browser.allows(&start, "ada").await;
    server.tap.note_query(&callback);
    let back = browser.opens(callback.as_str()).await;
    heard.0.push(browser.opens(back.location.unwrap().as_str()).await.body);
    link.rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_database_in_the_log_or_in_an_answer() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let mut heard = Heard::default();
    let link = live_through_everything(&server, &admin, &mut heard).await;
    for path in ["/", "/healthz", "/readyz", "/graphql", "/oauth/callback/stripe?state=x&code=x", "/nowhere"] {
        let response = crate::harness::http().get(server.url.join(path).unwrap()).send().await.unwrap();
        heard.0.push(response.text().await.unwrap());
    }

    let mut secrets = server.tap.secrets();
    assert!(secrets.len() >= 12, "too few secrets passed by: {secrets:?}");
    secrets.extend([JWT_SECRET, &KEYS[5..], &admin.token, SAID, TYPED].map(str::to_owned));
    secrets.push(link);
    secrets.extend(server.sandbox.keys().into_iter().map(|key| key.value));
    let stored = stored(&server).await;
    server.stop().await;
    let stored = stored.into_iter().chain(files(&server.database.folder())).collect::<Vec<_>>();

    let logged = server.logged.lock().unwrap().clone();
    for level in ["TRACE", "DEBUG", "INFO"] {
        assert!(logged.contains(level), "nothing was logged at {level}");
    }
    for secret in &secrets {
        let line = logged.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "{secret} was logged");
        let answer = heard.0.iter().find(|answer| answer.contains(secret.as_str()));
        assert_eq!(answer, None, "{secret} was answered");
        for form in forms(secret) {
            for (place, bytes) in stored.iter().filter(|(place, _)| !place.ends_with(".toml")) {
                assert!(!holds(bytes, form.as_bytes()), "{form} is in {place}");
            }
        }
    }
}

/// How a secret looks in a table, or in a dump of it.
fn forms(secret: &str) -> [String; 3] {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let hexadecimal = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    [secret.to_owned(), hexadecimal, STANDARD.encode(secret).trim_end_matches('=').to_owned()]
}

/// What is stored while the server runs: the files of SQLite with the write-ahead log, or all rows of PostgreSQL.
async fn stored(server: &Server) -> Vec<(String, Vec<u8>)> {
    if server.database.is_sqlite() {
        let files = files(&server.database.folder());
        let log = files.iter().find(|(name, _)| name.ends_with("-wal"));
        assert!(log.is_some_and(|(_, bytes)| !bytes.is_empty()), "there is no write-ahead log to look into");
        return files;
    }
    let db = Db::open(server.database.url(), 2).await.unwrap();
    let dump = tables::dump(&db).await;
    assert!(dump.contains("mara@lighthouse.example"), "the dump shows what is stored");
    vec![("the tables".to_owned(), dump.into_bytes())]
}
