//! `POST /token` and `POST /revoke`: client authentication (RFC 6749 §2.3.1), the two grant types, and
//! revocation (RFC 7009). What a code or token is worth is [`super::ledger`]'s to say.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    CLIENT_ID, Endpoint, Sandbox, TokenCalls,
    answer::Answer,
    ledger::{Denied, Fresh, Redemption, Terms, Tokens},
    params::Params,
    world::Product,
};

/// `POST /token`, and the same below a shop.
pub(super) async fn token(
    State(sandbox): State<Sandbox>,
    shop: Option<Path<String>>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    sandbox.count_token_call(params.get("grant_type"));
    let shop = shop.map(|Path(shop)| shop);
    sandbox
        .through(Endpoint::Token, || sandbox.grant_tokens(shop.as_deref(), &headers, &params).unwrap_or_else(|no| no))
        .await
}

/// `POST /revoke`, and the same below a shop. An unknown token is revoked already (RFC 7009 §2.2).
pub(super) async fn revoke(State(sandbox): State<Sandbox>, headers: HeaderMap, params: Params) -> Response {
    let work = || {
        sandbox.authenticate_client(&headers, &params)?;
        let token = params.get("token").ok_or_else(invalid_request)?;
        sandbox.state().ledger.give_back(token);
        Ok(Answer::ok(json!({})))
    };
    sandbox.through(Endpoint::Revoke, || work().unwrap_or_else(|no: Answer| no)).await
}

impl Sandbox {
    fn count_token_call(&self, grant_type: Option<&str>) {
        let TokenCalls { authorization_code, refresh_token, other } = &mut self.state().token_calls;
        match grant_type {
            Some("authorization_code") => *authorization_code += 1,
            Some("refresh_token") => *refresh_token += 1,
            _ => *other += 1,
        }
    }

    fn grant_tokens(&self, shop: Option<&str>, headers: &HeaderMap, params: &Params) -> Result<Answer, Answer> {
        if params.has_repeated() {
            return Err(invalid_request());
        }
        self.authenticate_client(headers, params)?;
        let tokens = match params.get("grant_type") {
            Some("authorization_code") => self.redeem(shop, params)?,
            Some("refresh_token") => self.renew(shop, params)?,
            Some(_) => return Err(bad("unsupported_grant_type")),
            None => return Err(invalid_request()),
        };
        Ok(Answer::ok(token_answer(tokens)))
    }

    fn redeem(&self, shop: Option<&str>, params: &Params) -> Result<Tokens, Answer> {
        let (code, verifier) = params.get("code").zip(params.get("code_verifier")).ok_or_else(invalid_request)?;
        let redirect_uri = params.get("redirect_uri").ok_or_else(invalid_request)?;
        let shown = Redemption { code, redirect_uri, challenge: s256(verifier), shop };
        let (fresh, terms) = self.fresh();
        self.state().ledger.redeem(&shown, fresh, terms).map_err(Answer::from)
    }

    fn renew(&self, shop: Option<&str>, params: &Params) -> Result<Tokens, Answer> {
        let token = params.get("refresh_token").ok_or_else(invalid_request)?;
        let (fresh, terms) = self.fresh();
        self.state().ledger.renew(token, shop, params.get("scope"), fresh, terms).map_err(Answer::from)
    }

    fn fresh(&self) -> (Fresh, Terms) {
        let fresh = Fresh { access_token: self.mint("at"), refresh_token: self.mint("rt") };
        let options = &self.state().options;
        let (lifetime, rotate) = (options.access_token_lifetime, options.rotate_refresh_tokens);
        (fresh, Terms { now: self.now(), lifetime, rotate })
    }

    /// By HTTP Basic or in the body, but not by both (RFC 6749 §2.3).
    fn authenticate_client(&self, headers: &HeaderMap, params: &Params) -> Result<(), Answer> {
        let in_body = params.get("client_id").zip(params.get("client_secret"));
        let known = match (headers.get(header::AUTHORIZATION), in_body) {
            (Some(_), Some(_)) => return Err(invalid_request()),
            (Some(value), None) => basic(value.as_bytes()).is_some_and(|(id, secret)| self.knows_client(&id, &secret)),
            (None, Some((id, secret))) => self.knows_client(id, secret),
            (None, None) => false,
        };
        let refusal =
            || Answer::oauth_error(StatusCode::UNAUTHORIZED, "invalid_client").challenge("Basic realm=\"sandbox\"");
        known.then_some(()).ok_or_else(refusal)
    }

    fn knows_client(&self, id: &str, secret: &str) -> bool {
        let own = self.client_secret();
        id == CLIENT_ID && bool::from(secret.as_bytes().ct_eq(own.expose_secret().as_bytes()))
    }
}

/// Id and secret, each form-encoded before they were joined and put in base64 (RFC 6749 §2.3.1).
fn basic(header: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((form_decoded(id)?, form_decoded(secret)?))
}

fn form_decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(Into::into)
}

/// RFC 7636 §4.2. A verifier of a wrong shape makes a challenge that nobody has.
fn s256(verifier: &str) -> String {
    let unreserved = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
    let well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved);
    if well_formed { URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) } else { String::new() }
}

/// RFC 6749 §5.1. Analytics has a member more, as real providers do; it names a part of the API's address.
fn token_answer(tokens: Tokens) -> Value {
    let mut answer = json!({
        "access_token": tokens.access_token,
        "token_type": "Bearer",
        "expires_in": tokens.lifetime.num_seconds(),
        "scope": tokens.scopes.join(" "),
    });
    if let Some(token) = tokens.refresh_token {
        answer["refresh_token"] = token.into();
    }
    if tokens.product == Product::Analytics {
        answer["region"] = super::api::REGION.into();
    }
    answer
}

impl From<Denied> for Answer {
    fn from(denied: Denied) -> Self {
        bad(match denied {
            Denied::InvalidGrant => "invalid_grant",
            Denied::InvalidScope => "invalid_scope",
        })
    }
}

fn bad(code: &str) -> Answer {
    Answer::oauth_error(StatusCode::BAD_REQUEST, code)
}

fn invalid_request() -> Answer {
    bad("invalid_request")
}
