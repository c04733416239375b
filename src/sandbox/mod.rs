//! A small provider to try everything against: an OAuth authorization server with a consent page, an API with
//! accounts, an API that takes keys, and a page on which all of it can be broken. For the demo and the tests only.
//!
//! It stands for the outside world, so it knows nothing of Patchbay: it imports no other room but the clock, and
//! only the composition root imports it. Its memory is its own and is lost with it. Time and randomness come in
//! from outside; two sandboxes share nothing.
//!
//! | path | what |
//! | --- | --- |
//! | `GET /` | control panel; its buttons post to `/control/…` (`control`) |
//! | `GET`, `POST /authorize` | consent page and decision (`consent`, `authorize`) |
//! | `POST /token`, `POST /revoke` | RFC 6749, RFC 7009 (`token`, `ledger`) |
//! | `GET /userinfo`, `/accounts`, `/accounts/{id}`, `/accounts/{id}/report`, `/regions/{region}/visits` | API with a bearer token (`api`) |
//! | `/shops/{shop}/…` | the same for one shop: `authorize`, `token`, `revoke`, `identity`, `orders` |
//! | `GET /keyed/me`, `/keyed/invoices` | API with an `X-Api-Key` |

mod answer;
mod api;
mod authorize;
mod by_hand;
mod connectors;
mod consent;
mod control;
mod fault;
mod gate;
mod ledger;
mod page;
mod panel;
mod params;
mod rows;
mod state;
#[cfg(test)]
mod tests;
mod token;
mod world;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use url::Url;

use self::{answer::Answer, state::State, world::KEYS};
pub use self::{
    by_hand::NoDecision,
    consent::PERSON_HEADER,
    fault::{CallbackFault, Endpoint, Fault},
    gate::Gate,
    ledger::{Ended, Grant},
    state::Key,
    world::{ACCOUNTS, Account, PEOPLE, Person, Product},
};
use crate::clock::{Entropy, SharedClock, SharedEntropy, random};

/// The one client that is registered here.
const CLIENT_ID: &str = "patchbay-sandbox";

/// How a sandbox behaves; can be changed while it runs ([`Sandbox::configure`]).
#[derive(Debug, Clone)]
pub struct Options {
    /// The client's registered redirect URI. Loopback addresses are allowed besides it.
    pub redirect_uri: Option<Url>,
    /// One hour by default.
    pub access_token_lifetime: TimeDelta,
    /// On by default: every renewal hands out a new refresh token, and the old one coming again ends the grant
    /// (RFC 9700 §4.14.2). Off: renewals hand out none, and the first goes on working.
    pub rotate_refresh_tokens: bool,
    /// How many customers' accounts Ada manages beside her own: `200-001`, `200-002` and so on. None by default.
    pub managed_accounts: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            redirect_uri: None,
            access_token_lifetime: TimeDelta::hours(1),
            rotate_refresh_tokens: true,
            managed_accounts: 0,
        }
    }
}

/// Calls of the token endpoint that arrived, whatever came of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCalls {
    /// To redeem a code.
    pub authorization_code: u64,
    /// To renew.
    pub refresh_token: u64,
    /// With another `grant_type`, or none.
    pub other: u64,
}

/// The sandbox; cheap to clone, all clones are the same one.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    clock: SharedClock,
    entropy: SharedEntropy,
    /// Without a slash at the end; also the issuer.
    base_url: String,
    client_secret: SecretString,
    state: Mutex<State>,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("base_url", &self.inner.base_url).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// `base_url` is where [`Self::router`] will be reached; it must be the root of its origin.
    pub fn new(clock: SharedClock, entropy: SharedEntropy, base_url: &Url, options: Options) -> Self {
        let secret = random_text(&*entropy, "secret").into();
        let keys = KEYS.map(|(id, name)| Key { id, name, value: random_text(&*entropy, "key") }).to_vec();
        let base_url = base_url.as_str().trim_end_matches('/').to_owned();
        let state = Mutex::new(State::new(options, keys));
        Self { inner: Arc::new(Inner { clock, entropy, base_url, client_secret: secret, state }) }
    }

    /// Everything that it answers.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(panel::show))
            .route("/style.css", get(page::style))
            .route("/control/{action}", post(control::act))
            .route("/authorize", get(consent::show).post(consent::decide))
            .route("/token", post(token::token))
            .route("/revoke", post(token::revoke))
            .route("/userinfo", get(api::userinfo))
            .route("/accounts", get(api::accounts))
            .route("/accounts/{id}", get(api::account))
            .route("/accounts/{id}/report", get(api::report))
            .route("/regions/{region}/visits", get(api::visits))
            .route("/shops/{shop}/authorize", get(consent::show).post(consent::decide))
            .route("/shops/{shop}/token", post(token::token))
            .route("/shops/{shop}/revoke", post(token::revoke))
            .route("/shops/{shop}/identity", get(api::shop))
            .route("/shops/{shop}/orders", get(api::orders))
            .route("/keyed/me", get(api::keyed))
            .route("/keyed/invoices", get(api::invoices))
            .with_state(self.clone())
    }

    /// File name and TOML of connectors that point here: `sandbox-ads`, `-analytics`, `-billing`, `-shop`.
    pub fn connector_files(&self) -> Vec<(String, String)> {
        connectors::files(&self.inner.base_url)
    }

    /// The client's id, the same for every product.
    pub fn client_id(&self) -> &'static str {
        CLIENT_ID
    }

    /// The client's secret, made at construction.
    pub fn client_secret(&self) -> SecretString {
        self.inner.client_secret.clone()
    }
}

/// What can be asked of it.
impl Sandbox {
    /// Calls of the token endpoint by grant type.
    pub fn token_calls(&self) -> TokenCalls {
        self.state().token_calls
    }

    /// Calls of an endpoint that arrived, whatever came of them.
    pub fn calls(&self, endpoint: Endpoint) -> u64 {
        self.state().calls.get(&endpoint).copied().unwrap_or_default()
    }

    /// Every grant, the ended ones too, oldest first.
    pub fn grants(&self) -> Vec<Grant> {
        self.state().ledger.grants().cloned().collect()
    }

    /// The API keys as they are now.
    pub fn keys(&self) -> Vec<Key> {
        self.state().keys.clone()
    }
}

/// What its endpoints share.
impl Sandbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }

    fn mint(&self, kind: &str) -> String {
        random_text(&*self.inner.entropy, kind)
    }

    /// The issuer (RFC 9207): every shop is one of its own.
    fn issuer(&self, shop: Option<&str>) -> String {
        let base_url = &self.inner.base_url;
        shop.map_or_else(|| base_url.clone(), |shop| format!("{base_url}/shops/{shop}"))
    }

    /// Counts the call and does the work, unless an outage or a fault is in the way.
    async fn through(&self, endpoint: Endpoint, work: impl FnOnce() -> Answer) -> Response {
        let (outage, fault) = {
            let mut state = self.state();
            *state.calls.entry(endpoint).or_default() += 1;
            let fault = if state.outage { None } else { state.faults.take(endpoint) };
            (state.outage, fault)
        };
        match fault {
            _ if outage => {
                Answer::error(StatusCode::SERVICE_UNAVAILABLE, "outage", "The sandbox has an outage.").into_response()
            }
            Some(fault) => fault.apply(work).await,
            None => work().into_response(),
        }
    }
}

/// 192 bits that nobody can guess, under a prefix that says what they are.
fn random_text(entropy: &dyn Entropy, kind: &str) -> String {
    format!("sandbox_{kind}_{}", URL_SAFE_NO_PAD.encode(random::<24>(entropy)))
}
