//! Bearers of the customer's identity provider: JWTs (RFC 7519) that it signs with a key of its JWK Set, be they ID tokens
//! (OpenID Connect Core §2) or access tokens (RFC 9068).
//!
//! This file says which of them are believed. Whom a subject is here, the database says: `authenticator.rs`.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, Validation};
use serde::{Deserialize, Deserializer};

use super::jwks::{Fitting, Key, KeySource, Keys};
use crate::{
    clock::SharedClock,
    error::{Error, Result},
    tasks::Tasks,
};

/// How far the provider's clock may be from ours.
const LEEWAY: TimeDelta = TimeDelta::seconds(30);
/// OpenID Connect Core §2: `sub` has at most 255 characters.
const LONGEST_SUBJECT: usize = 255;

/// An identity provider whose tokens are believed. Cheap to clone.
#[derive(Clone)]
pub struct IdentityProvider {
    issuer: Arc<str>,
    audiences: Arc<[String]>,
    keys: Keys,
    clock: SharedClock,
}

/// Somebody at an identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub issuer: String,
    pub subject: String,
}

/// What a valid token says.
pub(super) struct Vouched {
    pub(super) subject: Subject,
    /// The address, where the provider says that it has been verified.
    pub(super) verified_email: Option<String>,
    pub(super) expires_at: DateTime<Utc>,
}

/// Why a token is not believed: for the log, at level debug. Its sender hears the same whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Distrust {
    #[error("it is no JWT")]
    Malformed,
    #[error("its algorithm is not an asymmetric one that is known here")]
    Algorithm,
    #[error("it is of a type that is not for bearers, or has a critical header that is not known here")]
    Kind,
    #[error("the provider has no such key, or it did not sign this")]
    Key,
    #[error("its issuer or audience is another, or a claim that it needs is missing or malformed")]
    Claims,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    Early,
}

#[derive(Deserialize)]
struct Claims {
    /// Must be one text: the library would take a list as well.
    #[expect(dead_code, reason = "compared by the library")]
    iss: String,
    sub: String,
    exp: NumericDate,
    #[serde(default)]
    nbf: Option<NumericDate>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default, deserialize_with = "truth")]
    email_verified: bool,
}

/// Seconds since 1970, with a fraction or without (RFC 7519 §2).
#[derive(Deserialize, Clone, Copy)]
struct NumericDate(f64);

impl NumericDate {
    #[expect(clippy::cast_possible_truncation, reason = "what is beyond the numbers is beyond the dates as well")]
    fn instant(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.0.floor() as i64, 0)
    }
}

/// True, or the text "true" as some providers send it. Anything else is false.
fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value == true || value == "true")
}

impl IdentityProvider {
    /// The provider that calls itself `issuer` and means one of `audiences` when it means this server.
    pub fn new(
        issuer: String,
        audiences: Vec<String>,
        source: Arc<dyn KeySource>,
        clock: SharedClock,
        tasks: Tasks,
    ) -> Self {
        let keys = Keys::new(source, clock.clone(), tasks);
        Self { issuer: issuer.into(), audiences: audiences.into(), keys, clock }
    }

    /// Asks for its keys ahead of the first token.
    pub async fn get_ready(&self) {
        self.keys.renew().await;
    }

    /// What `token` vouches for.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], whatever is wrong with it; [`Error::Unavailable`] when the provider has been away for
    /// so long that nothing can be said about any token.
    pub(super) async fn verify(&self, token: &str) -> Result<Vouched> {
        self.judge(token).await?.map_err(|why| {
            tracing::debug!(%why, "a token was not believed");
            Error::Unauthenticated
        })
    }

    async fn judge(&self, token: &str) -> Result<Result<Vouched, Distrust>> {
        let header = match readable(token) {
            Ok(header) => header,
            Err(why) => return Ok(Err(why)),
        };
        let (id, algorithm) = (header.kid.as_deref(), header.alg);
        let verified = self.verified_by(token, algorithm, self.keys.fitting(id, algorithm).await)?;
        // Where keys have no names, only a signature that fits none of them tells of a new one.
        let verified = match verified {
            Err(Distrust::Key) if id.is_none() => {
                self.verified_by(token, algorithm, self.keys.fitting_after_renewal(id, algorithm).await)?
            }
            verified => verified,
        };
        Ok(verified.and_then(|claims| self.vouched(claims)))
    }

    fn verified_by(&self, token: &str, algorithm: Algorithm, fitting: Fitting) -> Result<Result<Claims, Distrust>> {
        let Fitting::Keys(keys) = fitting else { return Err(Error::Unavailable) };
        let mut tried = keys.iter().map(|key| self.claims(token, algorithm, key));
        Ok(tried.find(|claims| !matches!(claims, Err(Distrust::Key))).unwrap_or(Err(Distrust::Key)))
    }

    /// The claims, if `key` signed them. Times are judged afterwards, by our clock.
    fn claims(&self, token: &str, algorithm: Algorithm, key: &Key) -> Result<Claims, Distrust> {
        let mut rules = Validation::new(algorithm);
        rules.set_required_spec_claims(&["iss", "aud", "sub"]);
        rules.set_issuer(&[&*self.issuer]);
        rules.set_audience(&self.audiences);
        rules.validate_exp = false;
        rules.validate_nbf = false;
        match jsonwebtoken::decode::<Claims>(token, &key.verifies, &rules) {
            Ok(decoded) => Ok(decoded.claims),
            Err(error) if is_about_the_key(error.kind()) => Err(Distrust::Key),
            Err(_) => Err(Distrust::Claims),
        }
    }

    fn vouched(&self, claims: Claims) -> Result<Vouched, Distrust> {
        let now = self.clock.now();
        let expires_at = claims.exp.instant().and_then(|end| end.checked_add_signed(LEEWAY)).ok_or(Distrust::Claims)?;
        if expires_at <= now {
            return Err(Distrust::Expired);
        }
        let start = claims.nbf.map(|start| start.instant().ok_or(Distrust::Claims)).transpose()?;
        if start.is_some_and(|start| start > now + LEEWAY) {
            return Err(Distrust::Early);
        }
        let printable = !claims.sub.is_empty() && !claims.sub.chars().any(char::is_control);
        if !printable || claims.sub.chars().count() > LONGEST_SUBJECT {
            return Err(Distrust::Claims);
        }
        let subject = Subject { issuer: self.issuer.to_string(), subject: claims.sub };
        let verified_email = claims.email.filter(|_| claims.email_verified);
        Ok(Vouched { subject, verified_email, expires_at })
    }
}

/// The header of a token that could be one of an identity provider's.
fn readable(token: &str) -> Result<jsonwebtoken::Header, Distrust> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let header = jsonwebtoken::decode_header(token).map_err(|_| Distrust::Malformed)?;
    if !matches!(header.alg, RS256 | RS384 | RS512 | PS256 | PS384 | PS512 | ES256 | ES384 | EdDSA) {
        return Err(Distrust::Algorithm);
    }
    // What else the provider signs (a logout token, say) is for no bearer: RFC 8725 §3.11. `crit`: RFC 7515 §4.1.11.
    let kind = header.typ.as_deref().map(|kind| kind.to_ascii_lowercase());
    let kind = kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
    if !matches!(kind, None | Some("jwt" | "at+jwt")) || header.crit.is_some() {
        return Err(Distrust::Kind);
    }
    Ok(header)
}

fn is_about_the_key(kind: &jsonwebtoken::errors::ErrorKind) -> bool {
    use jsonwebtoken::errors::ErrorKind as Kind;
    matches!(
        kind,
        Kind::InvalidSignature
            | Kind::InvalidKeyFormat
            | Kind::InvalidAlgorithm
            | Kind::InvalidEcdsaKey
            | Kind::InvalidEddsaKey
            | Kind::InvalidRsaKey(_)
    )
}
