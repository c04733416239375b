//! An identity provider in the test's hand: keys of every type, a server with its key document, and tokens.

use std::sync::{Arc, Mutex};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
    },
};
use axum::{
    Router,
    http::{StatusCode, header::CACHE_CONTROL},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

/// `iss` of its tokens.
pub const ISSUER: &str = "https://id.lighthouse.example/";
/// The audience that means this server.
pub const AUDIENCE: &str = "patchbay";

/// A key of the provider, private and public.
#[derive(Clone)]
pub struct Key {
    algorithm: Algorithm,
    id: String,
    signs: EncodingKey,
    /// As it is in the document.
    pub public: Value,
}

impl Key {
    pub fn new(id: &str, algorithm: Algorithm) -> Self {
        let signs = private(algorithm);
        let mut public = serde_json::to_value(Jwk::from_encoding_key(&signs, algorithm).unwrap()).unwrap();
        public["kid"] = json!(id);
        public["use"] = json!("sig");
        Self { algorithm, id: id.to_owned(), signs, public }
    }

    /// The same key, described otherwise in the document.
    pub fn with(mut self, parameter: &str, value: Value) -> Self {
        self.public[parameter] = value;
        self
    }

    /// The same key, signing by another algorithm.
    pub fn by(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    pub fn signs(&self, claims: &Value) -> String {
        self.signs_with(claims, |_| ())
    }

    /// The same, with another header.
    pub fn signs_with(&self, claims: &Value, change: impl FnOnce(&mut Header)) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.clone());
        change(&mut header);
        jsonwebtoken::encode(&header, claims, &self.signs).unwrap()
    }
}

fn private(algorithm: Algorithm) -> EncodingKey {
    use Algorithm::{ES256, ES384, EdDSA};
    let random = SystemRandom::new();
    let ec = |curve| EncodingKey::from_ec_der(EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap().as_ref());
    match algorithm {
        ES256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
        ES384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
        EdDSA => EncodingKey::from_ed_der(Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref()),
        _ => {
            let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
            let pem = STANDARD.encode(der.as_ref());
            let pem = format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n");
            EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
        }
    }
}

/// The server with the document.
#[derive(Clone)]
pub struct Issuer {
    pub url: String,
    state: Arc<Mutex<State>>,
    /// While false, answers are held back.
    open: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    document: String,
    cache_control: Option<String>,
    away: bool,
    asked: usize,
}

impl Issuer {
    pub async fn new(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let issuer = Self { url, state: Arc::default(), open: watch::Sender::new(true) };
        issuer.has(keys);
        let answering = issuer.clone();
        let router = Router::new().route("/keys", get(async move || answering.answer().await));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        issuer
    }

    async fn answer(&self) -> Response {
        self.state.lock().unwrap().asked += 1;
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        let state = self.state.lock().unwrap();
        if state.away {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let cache = state.cache_control.clone().map(|text| [(CACHE_CONTROL, text)]);
        (cache, state.document.clone()).into_response()
    }

    /// From now on the document holds these keys.
    pub fn has(&self, keys: &[&Key]) {
        let keys: Vec<&Value> = keys.iter().map(|key| &key.public).collect();
        self.says(&json!({ "keys": keys }).to_string());
    }

    /// From now on the document is this.
    pub fn says(&self, document: &str) {
        self.state.lock().unwrap().document = document.to_owned();
    }

    pub fn cached(&self, cache_control: &str) {
        self.state.lock().unwrap().cache_control = Some(cache_control.to_owned());
    }

    pub fn is_away(&self, away: bool) {
        self.state.lock().unwrap().away = away;
    }

    /// Holds answers back, or lets them go.
    pub fn answers(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// How often it was asked for the document.
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    /// The settings of a server that believes it.
    pub fn settings(&self) -> Vec<(String, String)> {
        let settings = [
            ("PATCHBAY_JWT_JWKS_URL", self.url.as_str()),
            ("PATCHBAY_JWT_ISSUER", ISSUER),
            ("PATCHBAY_JWT_AUDIENCE", "patchbay-cli, patchbay"),
        ];
        settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }
}
