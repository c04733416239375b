//! Listens in between a server and its provider, and notes every secret that passes.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use url::{Url, form_urlencoded};

/// Parameters and members that hold a secret.
const SECRET: [&str; 8] =
    ["code", "state", "code_verifier", "client_secret", "token", "access_token", "refresh_token", "id_token"];
const MOST: usize = 1 << 20;

#[derive(Clone, Default)]
pub(super) struct Tap {
    secrets: Arc<Mutex<BTreeSet<String>>>,
    renewals: Arc<Mutex<u32>>,
}

impl Tap {
    /// The same provider, overheard.
    pub(super) fn around(&self, provider: Router) -> Router {
        let tap = self.clone();
        provider.layer(from_fn(move |request: Request, next: Next| tap.clone().pass(request, next)))
    }

    /// Every secret that passed.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.secrets.lock().unwrap().iter().cloned().collect()
    }

    /// Notes what an address carries.
    pub(super) fn note_query(&self, url: &Url) {
        self.note(url.query_pairs());
    }

    /// Waits until a token was renewed.
    pub(super) async fn until_renewed(&self) {
        for _ in 0..600 {
            if *self.renewals.lock().unwrap() > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("nothing is renewed");
    }

    fn note<N: AsRef<str>, V: Into<String>>(&self, pairs: impl Iterator<Item = (N, V)>) {
        let secret = pairs.filter(|(name, _)| SECRET.contains(&name.as_ref()));
        self.secrets.lock().unwrap().extend(secret.map(|(_, value)| value.into()));
    }

    async fn pass(self, request: Request, next: Next) -> Response {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, MOST).await.unwrap();
        for name in ["authorization", "x-api-key"] {
            let value = parts.headers.get(name).map(|value| value.to_str().unwrap());
            self.secrets.lock().unwrap().extend(value.into_iter().flat_map(in_header));
        }
        self.note(form_urlencoded::parse(&body));
        let renewal = form_urlencoded::parse(&body).any(|(_, value)| value == "refresh_token");
        let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, MOST).await.unwrap();
        if let Ok(Value::Object(answer)) = serde_json::from_slice(&body) {
            let members = answer.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
            self.note(members);
        }
        if renewal && parts.status.is_success() {
            *self.renewals.lock().unwrap() += 1;
        }
        Response::from_parts(parts, Body::from(body))
    }
}

/// What is secret of a header's value: all of it but the scheme, and a password that is packed in it.
fn in_header(value: &str) -> Vec<String> {
    let credential = value.rsplit(' ').next().unwrap();
    let unpacked = STANDARD.decode(credential).ok().filter(|_| value.starts_with("Basic"));
    let password = unpacked.and_then(|pair| Some(String::from_utf8(pair).ok()?.split_once(':')?.1.to_owned()));
    password.into_iter().chain([credential.to_owned()]).collect()
}
