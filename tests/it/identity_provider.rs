//! Bearers of the customer's identity provider: which are believed, whom they mean, and how its keys are kept.

mod binding;
mod issuer;
mod rotation;
mod tokens;
mod workspaces;

use chrono::TimeDelta;
use jsonwebtoken::Algorithm;
use patchbay::clock::Clock;
use serde_json::{Value, json};

use crate::{
    agency::ask_with,
    harness::{Answer, Person, Setup, Socket, Stage},
};
use issuer::{AUDIENCE, ISSUER, Issuer, Key};

const VIEWER: &str = "{ viewer { user { id } } }";

/// A server that believes an identity provider with one key, and its own tokens.
struct House {
    stage: Stage,
    issuer: Issuer,
    key: Key,
}

impl House {
    async fn new() -> Self {
        let key = Key::new("k-1", Algorithm::ES256);
        let issuer = Issuer::new(&[&key]).await;
        let stage = Stage::with(Setup { settings: issuer.settings(), ..Setup::default() }).await;
        Self { stage, issuer, key }
    }

    /// The claims of a good token of Mara's, the first ADMIN.
    fn mara(&self) -> Value {
        claims(&self.stage, "s-mara", "mara@lighthouse.example")
    }

    /// Whom the server takes the bearer for.
    async fn viewer(&self, token: &str) -> Answer {
        viewer(&self.stage, token).await
    }

    async fn accepts(&self, token: &str, person: &Person) {
        let answer = self.viewer(token).await;
        assert_eq!(answer.body["data"]["viewer"]["user"]["id"], json!(person.id), "{:#}", answer.body);
    }

    async fn refuses(&self, token: &str, why: &str) {
        refuses(&self.stage, token, why).await;
    }
}

/// The claims of a token for `subject`, with a verified address, good for ten minutes.
fn claims(stage: &Stage, subject: &str, email: &str) -> Value {
    let now = stage.clock.now().timestamp();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": now + 600, "iat": now,
        "email": email, "email_verified": true,
    })
}

/// `claims` with one of them changed; null takes it away.
fn but(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

async fn viewer(stage: &Stage, token: &str) -> Answer {
    ask_with(&stage.url, &[("authorization", &format!("Bearer {token}"))], VIEWER).await
}

/// Refused over HTTP and on a socket, with the answer that everyone gets.
async fn refuses(stage: &Stage, token: &str, why: &str) {
    let answer = viewer(stage, token).await;
    assert_eq!((answer.status, answer.code()), (401, Some("UNAUTHENTICATED")), "{why}: {:#}", answer.body);
    let message = &answer.body["errors"][0]["message"];
    assert_eq!(message, "Sign in: this needs a valid token or API key.", "{why}");
    assert!(answer.body["data"].is_null(), "{why}");
    assert_eq!(greeted(stage, json!({ "authorization": format!("Bearer {token}") })).await, 4403, "{why}");
}

/// The code with which a socket that says this is closed.
async fn greeted(stage: &Stage, payload: Value) -> u16 {
    let mut socket = Socket::open(&stage.url).await;
    socket.send(json!({ "type": "connection_init", "payload": payload })).await;
    socket.closed().await
}

/// Lets so much time pass that the provider may be asked again.
fn a_moment(stage: &Stage) {
    stage.later(TimeDelta::seconds(6));
}
