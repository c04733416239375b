//! The way out, through connectors whose files somebody wrote: nobody gets this server to call what it must not call,
//! nor learns from its answers what is there.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::BoxFuture;
use patchbay::provider::Resolve;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use url::Url;

use crate::harness::{Setup, Stage, leave_out};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// An address of the old 6bone, given back in 2006 (RFC 3701): public, and nobody has it.
const PUBLIC: &str = "3ffe::1";

/// Listens on every loopback address, counts who connects, and answers them in turn.
struct Listener {
    port: u16,
    contacts: Arc<AtomicUsize>,
}

impl Listener {
    /// After the last answer it begins again with the first.
    async fn answering(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("[::]:0").await.unwrap();
        let (port, contacts) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counter = contacts.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let turn = counter.fetch_add(1, Ordering::SeqCst);
                let answer = answers[turn % answers.len()].clone();
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { port, contacts }
    }

    async fn new() -> Self {
        Self::answering(vec!["HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}".to_owned()]).await
    }

    fn contacts(&self) -> usize {
        self.contacts.load(Ordering::SeqCst)
    }
}

/// Answers in turn what it was given, then that there is no such name.
struct Script(Mutex<VecDeque<Vec<IpAddr>>>);

impl Script {
    fn new(answers: impl IntoIterator<Item = Vec<IpAddr>>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(answers.into_iter().collect())))
    }
}

impl Resolve for Script {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let answer = self.0.lock().unwrap().pop_front();
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

/// A connector with a key, that asks `url` whose it is.
fn connector(slug: &str, url: &str) -> (String, String) {
    let text = format!(
        r#"
        slug = "{slug}"
        name = "{slug}"
        category = "payments"
        mode = "warehouse"
        requirements = "A key."
        [[field]]
        name = "api_key"
        label = "Key"
        secret = true
        [auth]
        method = "api_key"
        placement = "bearer"
        [identity]
        url = "{url}"
        id = "/id"
        "#
    );
    (format!("{slug}.toml"), text)
}

/// What somebody is told who connects it.
async fn told(stage: &Stage, slug: &str) -> Value {
    let fields = json!([{ "name": "api_key", "value": "planted" }]);
    let input = json!({ "connector": slug, "using": { "credentials": fields } });
    let payload = stage.admin.mutates("connect", input, "connection { id }").await;
    assert_eq!(payload["connection"], Value::Null, "{slug}");
    payload["errors"].clone()
}

fn unreachable() -> Value {
    json!([{
        "code": "PROVIDER_UNAVAILABLE",
        "message": "The data source could not be reached, or failed. Nothing was changed; try again.",
        "field": ["using", "credentials"],
        "conflictsWith": null,
    }])
}

/// Addresses that are not of the public internet, as people, and URL parsers, write them.
const INSIDE: [&str; 34] = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "0.0.0.0",
    "0",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a00:1]",
    "[2002:7f00:1::]",
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "0xa9fea9fe",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "10.0.0.1",
    "192.168.0.1",
    "172.16.0.1",
    "100.64.0.1",
    "168.63.129.16",
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_inside_is_contacted_for_a_file_in_any_notation() {
    let listener = Listener::new().await;
    let files = INSIDE
        .iter()
        .enumerate()
        .map(|(n, host)| connector(&format!("inside-{n}"), &format!("https://{host}:{}/me", listener.port)));
    // What is not written as it would be sent is refused when the file is read.
    let readable = |(name, text): &(String, String)| patchbay::catalogue::parse(name, text).is_ok();
    let connectors: Vec<_> = files.filter(readable).collect();
    assert!(connectors.len() >= 8, "{connectors:?}");
    let slugs: Vec<_> = connectors.iter().map(|(name, _)| name.trim_end_matches(".toml").to_owned()).collect();
    let stage = Stage::with(Setup { connectors, ..Setup::default() }).await;
    for slug in slugs {
        assert_eq!(told(&stage, &slug).await, unreachable(), "{slug}");
    }
    assert_eq!(listener.contacts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_inside_is_contacted_for_a_field_in_any_notation() {
    let listener = Listener::new().await;
    let (name, text) = connector("anywhere", &format!("https://{{field.host}}:{}/me", listener.port));
    let field = "[[field]]\n name = \"host\"\n label = \"Host\"\n pattern = \".+\"\n [auth]";
    let connectors = vec![(name, text.replace("[auth]", field))];
    let stage = Stage::with(Setup { connectors, ..Setup::default() }).await;
    for host in INSIDE {
        let fields = json!([{ "name": "host", "value": host }, { "name": "api_key", "value": "planted" }]);
        let input = json!({ "connector": "anywhere", "using": { "credentials": fields } });
        let payload = stage.admin.mutates("connect", input, "connection { id }").await;
        assert_eq!((&payload["connection"], &payload["errors"]), (&Value::Null, &unreachable()), "{host}");
        assert_eq!(listener.contacts(), 0, "{host} was contacted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_for_allowed_hosts_alone() {
    let listener = Listener::new().await;
    let url = |host: &str| format!("http://{host}:{}/me", listener.port);
    let connectors = vec![connector("plain", &url("provider.example")), connector("loopback", &url("127.0.0.1"))];
    let resolver = Script::new([vec![LOOPBACK], vec![LOOPBACK]]);
    let stage = Stage::with(Setup { connectors, resolver: Some(resolver), ..Setup::default() }).await;
    for slug in ["plain", "loopback"] {
        assert_eq!(told(&stage, slug).await, unreachable(), "{slug}");
    }
    assert_eq!(listener.contacts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_host_is_contacted() {
    // Without this, the other tests would hold for a server that calls nobody.
    let listener = Listener::new().await;
    let connectors = vec![connector("friend", &format!("http://127.0.0.1:{}/me", listener.port))];
    let settings = vec![("PATCHBAY_ALLOWED_HOSTS".to_owned(), format!("127.0.0.1:{}", listener.port))];
    let stage = Stage::with(Setup { connectors, settings, ..Setup::default() }).await;
    told(&stage, "friend").await;
    assert!(listener.contacts() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_inside_is_not_followed_in_any_notation() {
    let inside = Listener::new().await;
    let hosts = INSIDE
        .iter()
        .flat_map(|host| ["https:", "http:", ""].map(|scheme| format!("{scheme}//{host}:{}/", inside.port)));
    let redirects: Vec<String> = hosts
        .zip(
            ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
                .iter()
                .cycle(),
        )
        .map(|(to, status)| {
            format!("HTTP/1.1 {status}\r\nlocation: {to}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        })
        .collect();
    let outside = Listener::answering(redirects.clone()).await;
    let connectors = vec![connector("hop", &format!("http://127.0.0.1:{}/me", outside.port))];
    let settings = vec![("PATCHBAY_ALLOWED_HOSTS".to_owned(), format!("127.0.0.1:{}", outside.port))];
    let stage = Stage::with(Setup { connectors, settings, ..Setup::default() }).await;
    for (turn, redirect) in redirects.iter().enumerate() {
        assert_eq!(told(&stage, "hop").await, unreachable(), "{redirect}");
        assert_eq!((outside.contacts(), inside.contacts()), (turn + 1, 0), "{redirect}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_inside_is_not_called_whenever_it_begins_to() {
    let listener = Listener::new().await;
    let public: IpAddr = PUBLIC.parse().unwrap();
    let connectors = vec![connector("rebound", &format!("https://provider.example:{}/me", listener.port))];
    // Public when it is first looked up; inside from then on; and inside beside a public one.
    let resolver =
        Script::new([vec![public], vec![LOOPBACK], vec![LOOPBACK, public], vec![LOOPBACK, "::1".parse().unwrap()]]);
    let stage = Stage::with(Setup { connectors, resolver: Some(resolver), ..Setup::default() }).await;
    for turn in 0..4 {
        assert_eq!(told(&stage, "rebound").await, unreachable(), "{turn}");
        assert_eq!(listener.contacts(), 0, "{turn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_and_unreachable_read_the_same() {
    let there = Listener::new().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let connectors = vec![
        connector("refused", &format!("https://127.0.0.1:{}/", there.port)),
        connector("private", "https://10.0.0.1/"),
        connector("nobody", &format!("http://{gone}/")),
        connector("nameless", "https://provider.example/"),
        connector("untrusted", &format!("https://localhost:{}/", there.port)),
    ];
    let settings = vec![("PATCHBAY_ALLOWED_HOSTS".to_owned(), format!("{gone},localhost:{}", there.port))];
    let resolver = Script::new([vec![LOOPBACK]]);
    let stage = Stage::with(Setup { connectors, settings, resolver: Some(resolver), ..Setup::default() }).await;
    // The first name that is looked up is the one that is there and cannot speak TLS.
    for slug in ["untrusted", "refused", "private", "nobody", "nameless"] {
        assert_eq!(told(&stage, slug).await, unreachable(), "{slug}");
    }
    assert_eq!(there.contacts(), 1, "the allowed one was called, and it reads the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_for_a_subdomain_cannot_lead_to_another_host() {
    let text = r#"
        slug = "tenant"
        name = "Tenant"
        category = "crm"
        mode = "warehouse"
        requirements = "A tenant."
        [[field]]
        name = "tenant"
        label = "Tenant"
        pattern = "[a-z0-9][a-z0-9-]*"
        [auth]
        method = "oauth2"
        authorize_url = "https://{field.tenant}.provider.example/authorize"
        token_url = "https://{field.tenant}.provider.example/token"
        scopes = ["read"]
        [identity]
        url = "https://{field.tenant}.provider.example/me"
        id = "/id"
    "#;
    let connectors = vec![("tenant.toml".to_owned(), text.to_owned())];
    let settings = ["CLIENT_ID", "CLIENT_SECRET"].map(|name| (format!("PATCHBAY_OAUTH_TENANT_{name}"), "x".to_owned()));
    let stage = Stage::with(Setup { connectors, settings: settings.into(), ..Setup::default() }).await;
    let connect = |tenant: &str| {
        let fields = json!([{ "name": "tenant", "value": tenant }]);
        json!({ "connector": "tenant", "using": { "browser": { "fields": fields } } })
    };
    for tenant in [
        "evil.example#",
        "evil.example/",
        "evil.example?",
        "evil.example\\",
        "evil.example:443/",
        "me@evil.example",
        "evil.example",
        "evil。example",
        "ｅｖｉｌ",
        "%65vil",
        "-evil",
        "evil\n",
        "evil ",
        "EVIL",
        "",
    ] {
        let payload = stage.admin.mutates("connect", connect(tenant), "attempt { id }").await;
        assert_eq!(payload["errors"][0]["code"], "INVALID", "{tenant}: {payload}");
        assert_eq!(payload["errors"][0]["field"], json!(["using", "browser", "fields", "0"]), "{tenant}: {payload}");
        assert_eq!(payload["attempt"], Value::Null);
    }
    let payload = stage.admin.does("connect", connect("north-lights"), "attempt { authorizationUrl }").await;
    let departs = stage.browser().departs(payload["attempt"]["authorizationUrl"].as_str().unwrap()).await;
    assert_eq!(departs.host_str(), Some("north-lights.provider.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn patchbays_own_database_is_no_data_source_though_its_host_is_allowed() {
    let hosts = "127.0.0.1,localhost,[::1],0.0.0.0".to_owned();
    let stage =
        Stage::with(Setup { settings: vec![("PATCHBAY_ALLOWED_HOSTS".to_owned(), hosts)], ..Setup::default() }).await;
    if stage.database.is_sqlite() {
        leave_out("a file is nobody's data source");
        return;
    }
    let own: Url = stage.database.url().parse().unwrap();
    let port = own.port().unwrap_or(5432).to_string();
    let connects = async |host: &str, database: &str| {
        let password = own.password().unwrap_or("none");
        let given = [("host", host), ("port", &port), ("database", database), ("username", own.username())];
        let given = given.into_iter().chain([("password", password)]);
        let credentials: Vec<_> = given.map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let input = json!({ "connector": "postgresql", "using": { "credentials": credentials } });
        stage.admin.mutates("connect", input, "connection { status }").await
    };
    let ours = own.path().trim_start_matches('/');
    for host in ["127.0.0.1", "localhost", "127.1", "0.0.0.0"] {
        let refused = connects(host, ours).await;
        assert_eq!(refused["errors"][0]["code"], "PROVIDER_UNAVAILABLE", "{host}: {refused}");
        assert_eq!(refused["connection"], Value::Null, "{host}");
    }
    // Another database of the same server is another data source.
    let other = connects("127.0.0.1", "postgres").await;
    assert_eq!(other["connection"]["status"], "CONNECTED", "{other}");
}
