//! The sandbox through its front door: requests to the router, as a client and a browser send them.

mod api;
mod consent;
mod faults;
mod panel;
mod tokens;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret;
use serde_json::Value;
use tower::ServiceExt;
use url::Url;

use super::{Options, Sandbox};
use crate::clock::{Clock, Entropy};

const BASE: &str = "http://127.0.0.1:9000";
const CALLBACK: &str = "http://127.0.0.1:8080/oauth/callback";
/// Verifier and challenge of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

struct HeldClock(Mutex<DateTime<Utc>>);

impl Clock for HeldClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// Counts, so that every text it is asked for is another.
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        bytes.iter_mut().zip(number.iter().cycle()).for_each(|(byte, number)| *byte = *number);
    }
}

/// A sandbox with its clock in the test's hand.
struct Setup {
    sandbox: Sandbox,
    clock: Arc<HeldClock>,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member} in {}", self.body)).to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Status and `error`.
    fn error(&self) -> (u16, String) {
        (self.status.as_u16(), self.text("error"))
    }
}

impl Setup {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let clock = Arc::new(HeldClock(Mutex::new("2026-11-23T09:00:00Z".parse().unwrap())));
        let entropy = Arc::new(Counting(AtomicU64::new(1)));
        let sandbox = Sandbox::new(clock.clone(), entropy, &Url::parse(BASE).unwrap(), options);
        Self { sandbox, clock }
    }

    fn pass(&self, time: TimeDelta) {
        *self.clock.0.lock().unwrap() += time;
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.sandbox.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 16 << 20).await.unwrap();
        Reply { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// An API call with a bearer token.
    async fn call(&self, path: &str, token: &str) -> Reply {
        self.get(path, &[("authorization", &format!("Bearer {token}"))]).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Reply {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// HTTP Basic with the client's id and secret.
    fn basic(&self) -> String {
        let pair = format!("{}:{}", self.sandbox.client_id(), self.sandbox.client_secret().expose_secret());
        format!("Basic {}", STANDARD.encode(pair))
    }

    /// A call of the token endpoint by the authenticated client.
    async fn token(&self, form: &[(&str, &str)]) -> Reply {
        self.post("/token", &[("authorization", &self.basic())], form).await
    }

    async fn redeem(&self, callback: &Url) -> Reply {
        self.token(&redemption(&query(callback)["code"])).await
    }

    async fn renew(&self, refresh_token: &str) -> Reply {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    /// The person allows the advertising scopes; access token and refresh token.
    async fn connect(&self, person: &str) -> (String, String) {
        self.connect_for(&ads(), person).await
    }

    async fn connect_for(&self, authorize: &Url, person: &str) -> (String, String) {
        let reply = self.redeem(&self.sandbox.approve(authorize, person).unwrap()).await;
        (reply.text("access_token"), reply.text("refresh_token"))
    }
}

fn redemption(code: &str) -> [(&str, &str); 4] {
    [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)]
}

/// An authorization request that is in order, but for what `changes` says (an empty value: left out).
fn authorize(path: &str, scope: &str, changes: &[(&str, &str)]) -> Url {
    let mut url = Url::parse(BASE).unwrap().join(path).unwrap();
    let usual = [
        ("client_id", "patchbay-sandbox"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("state", "state&1"),
        ("scope", scope),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let kept = usual.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    url.query_pairs_mut().extend_pairs(kept.chain(changes).filter(|(_, value)| !value.is_empty()));
    url
}

fn ads() -> Url {
    authorize("/authorize", "profile ads.read ads.spend", &[])
}

fn analytics() -> Url {
    authorize("/authorize", "profile analytics.read", &[])
}

fn shop(name: &str) -> Url {
    authorize(&format!("/shops/{name}/authorize"), "profile shop.read shop.customers", &[])
}

fn query(url: &Url) -> HashMap<String, String> {
    url.query_pairs().into_owned().collect()
}

/// Path and query, as the router wants it.
fn path(url: &Url) -> String {
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}
