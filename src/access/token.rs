//! Our own bearer tokens: JWTs signed with HS256 (RFC 7519, RFC 7515).
//!
//! What else is signed with the same secret is none of them: a token says by `iss`, `aud` and `typ` what it is, and one that says
//! anything else, or nothing, is refused (RFC 8725 §3.8, §3.9, §3.11).

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{self, Kind};

/// The shortest secret that HS256 is safe with (RFC 7518 §3.2).
const SHORTEST_SECRET: usize = 32;
/// Who issues them, and for whom: `iss` and `aud`. The same on every server, since it is the secret that tells servers apart.
const PATCHBAY: &str = "patchbay";
/// `typ` in the header: an access token (RFC 9068 §2.1).
const ACCESS_TOKEN: &str = "at+jwt";

/// The secret that signs and verifies our tokens.
#[derive(Clone)]
pub struct JwtSecret {
    signs: EncodingKey,
    verifies: DecodingKey,
}

impl std::fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JwtSecret")
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    #[error("the JWT secret must have at least {SHORTEST_SECRET} characters")]
    ShortSecret,
    #[error("the token could not be signed")]
    Unsigned,
    #[error("the token is not one of ours, or no longer valid")]
    Refused,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    /// Both must be one text: the library would take lists as well.
    iss: String,
    aud: String,
    sub: String,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
}

/// What a valid token says.
pub(super) struct Verified {
    pub(super) user: Uuid,
    pub(super) expires_at: DateTime<Utc>,
}

impl JwtSecret {
    pub fn new(secret: &SecretString) -> Result<Self, TokenError> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < SHORTEST_SECRET {
            return Err(TokenError::ShortSecret);
        }
        Ok(Self { signs: EncodingKey::from_secret(secret), verifies: DecodingKey::from_secret(secret) })
    }

    /// A token for `user`, valid from `now` for `lifetime`.
    pub fn issue(&self, user: Uuid, now: DateTime<Utc>, lifetime: TimeDelta) -> Result<String, TokenError> {
        let claims = Claims {
            iss: PATCHBAY.to_owned(),
            aud: PATCHBAY.to_owned(),
            sub: ids::encode(Kind::User, user),
            exp: now.checked_add_signed(lifetime).ok_or(TokenError::Unsigned)?.timestamp(),
            nbf: None,
            iat: Some(now.timestamp()),
        };
        let header = Header { typ: Some(ACCESS_TOKEN.to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &self.signs).map_err(|_| TokenError::Unsigned)
    }

    /// Who `token` names. Times are judged by `now`, not by the library's clock.
    pub(super) fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Verified, TokenError> {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_required_spec_claims(&["iss", "aud", "sub"]);
        rules.set_issuer(&[PATCHBAY]);
        rules.set_audience(&[PATCHBAY]);
        rules.validate_exp = false;
        rules.validate_nbf = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.verifies, &rules).map_err(|_| TokenError::Refused)?;
        // Nothing that a header may call critical is known here (RFC 7515 §4.1.11).
        if decoded.header.typ.as_deref() != Some(ACCESS_TOKEN) || decoded.header.crit.is_some() {
            return Err(TokenError::Refused);
        }
        let claims = decoded.claims;
        let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or(TokenError::Refused)?;
        let early = claims.nbf.is_some_and(|start| start > now.timestamp());
        let user = ids::decode(Kind::User, &claims.sub).ok_or(TokenError::Refused)?;
        if early || expires_at <= now { Err(TokenError::Refused) } else { Ok(Verified { user, expires_at }) }
    }
}
