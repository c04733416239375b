//! The keys of an identity provider (JWK Set, RFC 7517 §5), kept and renewed.
//!
//! Keys are asked for when the server starts, when they are old, and when a token names one that is not there. Whatever
//! comes in, the provider is asked at most once in [`BETWEEN_FETCHES`], one request at a time; while it does not answer,
//! the last keys go on to serve, for [`KEPT`]. A key that is gone from the document is gone here after the next fetch.
//! How the document is fetched is for a room above to say: [`KeySource`].

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{clock::SharedClock, tasks::Tasks};

/// The least time between two requests for the document, whatever tokens name.
const BETWEEN_FETCHES: TimeDelta = TimeDelta::seconds(5);
/// How long keys are fresh where the provider does not say.
const FRESH: TimeDelta = TimeDelta::hours(1);
/// The bounds of what it says.
const SHORTEST_FRESH: TimeDelta = TimeDelta::minutes(1);
const LONGEST_FRESH: TimeDelta = TimeDelta::hours(12);
/// How long keys serve while the provider is away, since it last answered.
const KEPT: TimeDelta = TimeDelta::days(1);

/// Where the document comes from.
pub trait KeySource: Send + Sync + 'static {
    /// The document as it is now.
    fn fetch(&self) -> BoxFuture<'_, Result<KeyDocument, NoKeys>>;
}

/// A JWK Set as it was sent.
#[derive(Debug, Clone)]
pub struct KeyDocument {
    pub body: Vec<u8>,
    /// What its sender says about how long it stays as it is (RFC 9111 §5.2.2.1).
    pub max_age: Option<TimeDelta>,
}

/// Why there are no keys, for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    #[error("the identity provider could not be reached")]
    Unreachable,
    #[error("the identity provider answered with status {0}")]
    Status(u16),
    #[error("the identity provider's answer is no JWK Set")]
    Malformed,
}

/// A key, and what it may verify.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) verifies: DecodingKey,
}

impl Key {
    /// None where this server has no use for it: another purpose, a type that signs nothing or is no public key.
    fn of(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let verifies = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !signs || !verifies {
            return None;
        }
        let mut algorithms = algorithms(&jwk.algorithm);
        if let Some(only) = common.key_algorithm {
            let only = Algorithm::try_from(only).ok()?;
            algorithms.retain(|algorithm| *algorithm == only);
        }
        let verifies = DecodingKey::from_jwk(jwk).ok()?;
        (!algorithms.is_empty()).then(|| Self { id: common.key_id.clone(), algorithms, verifies })
    }
}

/// What a key of this type can verify (RFC 7518 §3.1, RFC 8037 §3.1). A symmetric one is a secret, and nothing here.
fn algorithms(parameters: &AlgorithmParameters) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match parameters {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => vec![ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![EdDSA],
        _ => Vec::new(),
    }
}

/// The keys of `document`. Those that are not understood are passed over, as RFC 7517 §5 has it.
fn parse(document: &[u8]) -> Result<Vec<Key>, NoKeys> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(document).map_err(|_| NoKeys::Malformed)?;
    let jwks = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Ok(jwks.filter_map(|jwk| Key::of(&jwk)).collect())
}

/// The provider's keys as far as they are known here. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keys(Arc<Inner>);

struct Inner {
    source: Arc<dyn KeySource>,
    clock: SharedClock,
    tasks: Tasks,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    asked_at: Option<DateTime<Utc>>,
    /// The request that is under way.
    fetching: Option<Answer>,
}

/// Comes when the answer to a request has been taken in.
type Answer = Shared<BoxFuture<'static, ()>>;

/// What became of the wish for the document.
enum Request {
    Begun(Answer),
    /// Somebody else began it.
    UnderWay(Answer),
    TooSoon,
}

#[derive(Clone)]
struct Held {
    keys: Arc<[Key]>,
    fetched_at: DateTime<Utc>,
    fresh_until: DateTime<Utc>,
}

impl Held {
    /// A clock that was put back makes keys old, not fresh for longer.
    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        (self.fetched_at..self.fresh_until).contains(&now)
    }

    fn still_serves(&self, now: DateTime<Utc>) -> bool {
        now < self.fetched_at + KEPT
    }
}

/// What there is for a token.
pub(super) enum Fitting {
    /// Keys that fit; empty where none does.
    Keys(Vec<Key>),
    /// The provider has not answered for so long that nothing can be said.
    Unknown,
}

impl Keys {
    pub(super) fn new(source: Arc<dyn KeySource>, clock: SharedClock, tasks: Tasks) -> Self {
        Self(Arc::new(Inner { source, clock, tasks, state: Mutex::default() }))
    }

    /// The keys by which a token that names `id` and `algorithm` may be signed. A token that names no key fits every
    /// one of its type.
    pub(super) async fn fitting(&self, id: Option<&str>, algorithm: Algorithm) -> Fitting {
        let (held, now) = (self.0.held(), self.0.clock.now());
        let known = fitting(held.as_ref(), id, algorithm);
        if !known.is_empty() && held.as_ref().is_some_and(|held| held.is_fresh(now)) {
            return Fitting::Keys(known);
        }
        let at_hand = !known.is_empty() && held.is_some_and(|held| held.still_serves(now));
        match self.request() {
            Request::Begun(answer) => answer.await,
            // Old keys are good enough while somebody else is asking already.
            Request::UnderWay(answer) if !at_hand => answer.await,
            Request::UnderWay(_) | Request::TooSoon => {}
        }
        self.held_for(id, algorithm)
    }

    /// The same after one more look at the document, if it may be asked for now.
    pub(super) async fn fitting_after_renewal(&self, id: Option<&str>, algorithm: Algorithm) -> Fitting {
        self.renew().await;
        self.held_for(id, algorithm)
    }

    /// Asks for the document, or waits for whoever does; returns at once when it was asked for a moment ago.
    pub(super) async fn renew(&self) {
        match self.request() {
            Request::Begun(answer) | Request::UnderWay(answer) => answer.await,
            Request::TooSoon => {}
        }
    }

    fn held_for(&self, id: Option<&str>, algorithm: Algorithm) -> Fitting {
        let now = self.0.clock.now();
        match self.0.held().filter(|held| held.still_serves(now)) {
            Some(held) => Fitting::Keys(fitting(Some(&held), id, algorithm)),
            None => Fitting::Unknown,
        }
    }

    fn request(&self) -> Request {
        let mut state = self.0.lock();
        match &state.fetching {
            Some(answer) => Request::UnderWay(answer.clone()),
            None if state.may_ask(self.0.clock.now()) => Request::Begun(self.begin(&mut state)),
            None => Request::TooSoon,
        }
    }

    /// Begins a request that goes on even if nobody waits for it any longer: a client that hangs up must not keep the
    /// next one from learning of new keys.
    fn begin(&self, state: &mut State) -> Answer {
        state.asked_at = Some(self.0.clock.now());
        let inner = Arc::clone(&self.0);
        // Stopping does not wait for it: nothing is lost by that.
        let task = self.0.tasks.beside("identity provider's keys", async move { inner.fetch().await });
        let inner = Arc::clone(&self.0);
        let answered = task.map(move |done| {
            if !matches!(done, Ok(Ok(()))) {
                inner.lock().fetching = None;
            }
        });
        let fetching = answered.boxed().shared();
        state.fetching = Some(fetching.clone());
        fetching
    }
}

impl State {
    fn may_ask(&self, now: DateTime<Utc>) -> bool {
        self.asked_at.is_none_or(|asked| now < asked || now >= asked + BETWEEN_FETCHES)
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> Option<Held> {
        self.lock().held.clone()
    }

    async fn fetch(&self) {
        let fetched = self.source.fetch().await.and_then(|document| Ok((parse(&document.body)?, document.max_age)));
        let now = self.clock.now();
        let mut state = self.lock();
        state.fetching = None;
        state.asked_at = Some(now);
        match fetched {
            Ok((keys, max_age)) => {
                if keys.is_empty() {
                    tracing::warn!(
                        "the identity provider's document holds no key that can be used: its tokens are refused"
                    );
                }
                let fresh = max_age.map_or(FRESH, |age| age.clamp(SHORTEST_FRESH, LONGEST_FRESH));
                state.held = Some(Held { keys: keys.into(), fetched_at: now, fresh_until: now + fresh });
            }
            Err(error) if state.held.as_ref().is_some_and(|held| held.still_serves(now)) => {
                tracing::warn!(%error, "its keys could not be renewed; those from before go on to serve");
            }
            Err(error) => tracing::warn!(
                %error,
                "there are no keys, so the identity provider's tokens cannot be verified; see PATCHBAY_JWT_JWKS_URL, \
                 and for a private host PATCHBAY_ALLOWED_HOSTS"
            ),
        }
    }
}

fn fitting(held: Option<&Held>, id: Option<&str>, algorithm: Algorithm) -> Vec<Key> {
    let keys = held.map_or(&[][..], |held| &held.keys);
    let named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
    keys.iter().filter(named).filter(|key| key.algorithms.contains(&algorithm)).cloned().collect()
}
