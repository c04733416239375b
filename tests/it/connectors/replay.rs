//! A server that is every host of a provider at once and answers as a script says.
//!
//! A built-in file is used as it is but for one thing: `https://HOST` in its addresses becomes `http://HOST:PORT`, at this
//! server's port, and every name leads to the loopback. So each host stays one of its own, and what is meant for one
//! does not pass unseen to another. The hosts in the answers are changed in the same way.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::future::BoxFuture;
use patchbay::provider::Resolve;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use crate::harness::Setup;

use super::script::{Answer, Exchange, Script};

/// This server's OAuth client at every provider.
const CLIENT: (&str, &str) = ("the-client", "the-client-secret");
/// What every provider sends a person back with.
const CODE: &str = "the-code";

/// The keys of a connector file that hold addresses which are called or visited.
const ADDRESSES: [&str; 6] = ["authorize_url", "token_url", "revoke_url", "url", "account_url", "base_url"];

/// Every name is this machine.
struct Loopback;

impl Resolve for Loopback {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
    }
}

pub struct Replay {
    port: u16,
    hosts: BTreeSet<String>,
    act: Arc<Mutex<Act>>,
}

/// What is on.
#[derive(Default)]
struct Act {
    exchanges: Vec<Exchange>,
    /// Which of them came.
    came: Vec<bool>,
    /// What is answered as well, and need not be asked.
    others: Vec<Exchange>,
    /// What was asked and should not have been.
    surprises: Vec<String>,
    /// The hash of the verifier that a code has to come with, and where the person was sent back to.
    challenge: Option<String>,
    redirect_uri: Option<String>,
}

impl Replay {
    pub async fn new(script: &Script) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let urls = script.exchanges().map(|exchange| exchange.request.url.as_str());
        let urls = urls.chain(script.authorize.iter().map(|authorize| authorize.url.as_str()));
        let hosts = urls.map(|url| Url::parse(url).unwrap().host_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
        let act = Arc::<Mutex<Act>>::default();
        let (on, names) = (act.clone(), hosts.clone());
        let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let body = String::from_utf8(body.to_vec()).unwrap();
            on.lock().unwrap().answer(&method, &uri, &headers, &body, &names, port)
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
        Self { port, hosts, act }
    }

    /// A stage with the connector's own file, led here.
    pub fn setup(&self, slug: &str, file: &str, script: &Script) -> Setup {
        let hosts: Vec<String> = self.hosts.iter().map(|host| format!("{host}:{}", self.port)).collect();
        let variable = |name: &str| format!("PATCHBAY_OAUTH_{}_{name}", slug.replace('-', "_").to_uppercase());
        let mut settings = vec![
            ("PATCHBAY_ALLOWED_HOSTS".to_owned(), hosts.join(",")),
            (variable("CLIENT_ID"), CLIENT.0.to_owned()),
            (variable("CLIENT_SECRET"), CLIENT.1.to_owned()),
        ];
        settings.extend(script.config.iter().map(|(name, value)| (variable(name), value.clone())));
        let connectors = vec![(format!("{slug}.toml"), led_to(self.port, file))];
        Setup { settings, connectors, resolver: Some(Arc::new(Loopback)), ..Setup::default() }
    }

    /// Answers by these from now on; each has to be asked for.
    pub fn plays(&self, exchanges: &[Exchange]) {
        self.plays_before(exchanges, &[]);
    }

    /// The same, and by the others what these do not answer.
    pub fn plays_before(&self, exchanges: &[Exchange], others: &[Exchange]) {
        let mut act = self.act.lock().unwrap();
        act.came = vec![false; exchanges.len()];
        act.exchanges = exchanges.to_vec();
        act.others = others.to_vec();
    }

    /// Nothing else was asked than what the script says, and all that it says was.
    pub fn was_asked_for_all(&self) {
        let act = self.act.lock().unwrap();
        assert_eq!(act.surprises, Vec::<String>::new());
        let missing = act.exchanges.iter().zip(&act.came).filter(|(_, came)| !**came);
        let missing: Vec<String> = missing.map(|(exchange, _)| format!("{:?}", exchange.request)).collect();
        assert_eq!(missing, Vec::<String>::new(), "it never came");
    }

    /// The provider's page, to which a person is sent: checks it, and where they come back to when they allow it.
    pub fn sends_back(&self, page: &Url, script: &Script) -> Url {
        let authorize = script.authorize.as_ref().unwrap();
        let (address, _) = page.as_str().split_once('?').unwrap();
        assert_eq!(address, self.led(&authorize.url));
        let parameter =
            |name: &str| page.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        assert_eq!(parameter("client_id").as_deref(), Some(CLIENT.0));
        assert_eq!(parameter("response_type").as_deref(), Some("code"));
        for (name, value) in &authorize.parameters {
            assert_eq!(&parameter(name), value, "{name}");
        }
        let redirect_uri = parameter("redirect_uri").unwrap();
        let mut callback = Url::parse(&redirect_uri).unwrap();
        callback.query_pairs_mut().append_pair("code", CODE).append_pair("state", &parameter("state").unwrap());
        callback.query_pairs_mut().extend_pairs(&authorize.callback);
        let mut act = self.act.lock().unwrap();
        act.challenge = parameter("code_challenge");
        act.redirect_uri = Some(redirect_uri);
        callback
    }

    fn led(&self, text: &str) -> String {
        led(text, &self.hosts, self.port)
    }
}

impl Act {
    fn answer(
        &mut self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &str,
        hosts: &BTreeSet<String>,
        port: u16,
    ) -> Response {
        let host = headers["host"].to_str().unwrap().trim_end_matches(&format!(":{port}"));
        let url = format!("https://{host}{uri}");
        let is = |exchange: &Exchange| exchange.request.is(method.as_str(), &url, body);
        let found = self.exchanges.iter().position(is);
        let exchange = match found {
            Some(at) => {
                self.came[at] = true;
                self.exchanges[at].clone()
            }
            None => match self.others.iter().find(|exchange| is(exchange)) {
                Some(exchange) => exchange.clone(),
                None => {
                    self.surprises.push(format!("{method} {url} {body}"));
                    return StatusCode::IM_A_TEAPOT.into_response();
                }
            },
        };
        for (name, wanted) in &exchange.request.headers {
            let sent = headers.get(name).map(|value| value.to_str().unwrap());
            if sent != wanted.as_deref() {
                self.surprises.push(format!("{method} {url} with {name}: {sent:?} instead of {wanted:?}"));
            }
        }
        self.judges_the_code(body);
        let status = StatusCode::from_u16(exchange.answer.status).unwrap();
        let said = exchange.answer.headers.clone();
        let text = Answer { body: led_in(exchange.answer.body, hosts, port), ..exchange.answer }.text();
        let mut response = (status, [("content-type", "application/json")], text).into_response();
        for (name, value) in said {
            response.headers_mut().insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        response
    }

    /// A code comes with all that RFC 6749 §4.1.3 and RFC 7636 §4.5 ask for.
    fn judges_the_code(&mut self, body: &str) {
        let sent = |name: &str| {
            let mut form = url::form_urlencoded::parse(body.as_bytes());
            form.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        if sent("grant_type").as_deref() != Some("authorization_code") {
            return;
        }
        let hash = |verifier: String| BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        for (name, sent, wanted) in [
            ("code", sent("code"), Some(CODE.to_owned())),
            ("redirect_uri", sent("redirect_uri"), self.redirect_uri.clone()),
            ("code_verifier", sent("code_verifier").map(hash), self.challenge.clone()),
        ] {
            if sent != wanted {
                self.surprises.push(format!("a code with {name}: {sent:?} instead of {wanted:?}"));
            }
        }
    }
}

/// The address, leading to the port if it is one of these hosts.
fn led(address: &str, hosts: &BTreeSet<String>, port: u16) -> String {
    let of_a_host = |host: &String| address.strip_prefix("https://").and_then(|rest| rest.strip_prefix(host.as_str()));
    let is_whole = |rest: &&str| rest.is_empty() || rest.starts_with(['/', '?']);
    let found = hosts.iter().find_map(|host| Some((host, of_a_host(host).filter(is_whole)?)));
    found.map_or_else(|| address.to_owned(), |(host, rest)| format!("http://{host}:{port}{rest}"))
}

/// An answer in which every text that is such an address leads to the port.
fn led_in(answer: Value, hosts: &BTreeSet<String>, port: u16) -> Value {
    let inside = |value| led_in(value, hosts, port);
    match answer {
        Value::String(text) => led(&text, hosts, port).into(),
        Value::Array(members) => members.into_iter().map(inside).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, inside(value))).collect(),
        other => other,
    }
}

/// A connector file whose addresses lead to the port, whatever their hosts.
fn led_to(port: u16, file: &str) -> String {
    let line = |line: &str| {
        let (key, value) = line.split_once(" = ")?;
        let address = value.strip_prefix("\"https://").filter(|_| ADDRESSES.contains(&key))?;
        let (host, rest) = address.split_at(address.find(['/', '?', '"'])?);
        Some(format!("{key} = \"http://{host}:{port}{rest}"))
    };
    file.lines().map(|text| line(text).unwrap_or_else(|| text.to_owned()) + "\n").collect()
}
