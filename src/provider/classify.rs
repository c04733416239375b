//! What an answer means: from what a provider said to what is done about it.
//!
//! An answer is judged by where it came from, its status, its headers and its body, into works (`Ok`), or a [`Failure`].
//! The order is always the same, and is here: what the connector's file says of such an answer, the status that excuses
//! everything (5xx, 408, 429), then what the body and the challenge say, then the status, unless a gateway wrote it. What
//! providers call their errors is in `table.rs`, where in an answer they say it in `body.rs`; databases are in `database.rs`.
//! Whatever no row knows is transient: better to ask again than to call a person for nothing. How long that may go on is the
//! lifecycle's to bound.
//!
//! No message quotes a body or a header. Waiting and asking again are the jobs', what becomes of a connection is the
//! lifecycle's.

mod body;
mod database;
mod table;

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use url::form_urlencoded;

use super::{
    outbound::{Answer, NoAnswer},
    patience,
};
use crate::catalogue::{AnswerMeans, KnownAnswer};
pub(super) use database::{NOT_A_QUERY, NOT_UNDERSTOOD, SqlFault, has_placeholders, query_fault, session_failure};
use table::{Means, by_code, by_name};

/// Why something asked of a provider did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing is known to be wrong: ask again later, flag nobody.
    #[error("{what}")]
    Transient {
        /// The provider's own wish; it goes before any other pace.
        retry_after: Option<Duration>,
        /// Safe to show and to log: no secret, nothing of the answer's body.
        what: String,
        /// The token endpoint refuses what it was sent, in words that no row knows: said often enough, that is a refusal.
        refuses: bool,
    },
    #[error("{0}")]
    Rejected(Rejection),
    /// The provider does not accept this server's OAuth client, or what belongs to it (its project, its developer token):
    /// no person can mend that by signing in again.
    #[error("the provider refuses this server's OAuth client")]
    OurClientRejected,
}

/// What the provider will not accept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The token endpoint: this refresh token, or this code, is not valid (any more). An API: so is what is behind the token,
    /// and a fresh one would not help.
    #[error("the provider refuses the grant")]
    InvalidGrant,
    /// The API: this token, key or password is not valid (any more).
    #[error("the provider refuses the credential")]
    Unauthorized,
    /// The API: the credential is valid, but not for this.
    #[error("the provider denies access")]
    Forbidden,
    /// The API: there is nothing at this address. It may be gone, or out of this credential's sight.
    #[error("the provider has nothing there")]
    Missing,
}

impl Failure {
    /// A transient failure with that explanation, which must be safe to show.
    pub(super) fn transient(what: impl Into<String>) -> Self {
        Self::Transient { retry_after: None, what: what.into(), refuses: false }
    }
}

impl From<NoAnswer> for Failure {
    fn from(why: NoAnswer) -> Self {
        Self::transient(format!("the provider {why}"))
    }
}

/// The token endpoint's answer (RFC 6749 §5), to a code, a refresh token or an exchange. `Ok`: it holds an access token.
/// `rows` are what the connector's file says of such answers.
pub(super) fn token_answer(answer: &Answer, rows: &[KnownAnswer], now: DateTime<Utc>) -> Result<Value, Failure> {
    let body = if answer.status.is_redirection() { None } else { token_body(answer) };
    if let Some(means) = told_by_file(rows, answer, body.as_ref()) {
        return Err(failure(means, answer, now));
    }
    excused(answer, now)?;
    let said = body.as_ref().and_then(token_error).or_else(|| named_by_challenge(table::TOKEN_ERRORS, answer));
    if let Some(means) = said {
        return Err(failure(means, answer, now));
    }
    let Some(body) = body else { return Err(refusing(no_document(answer, now), answer)) };
    let granted = body["access_token"].as_str().is_some_and(|token| !token.is_empty());
    if answer.status.is_success() && granted && !body::holds_error(&body) {
        Ok(body)
    } else {
        Err(refusing(unlisted(answer, now), answer))
    }
}

/// What the token endpoint's body says, where it says it in a way that is known.
fn token_error(body: &Value) -> Option<Means> {
    if let Some(code) = body::meta_code(body) {
        return by_code(table::META_TOKEN_CODES, code);
    }
    let microsoft = body::microsoft_token_codes(body).find_map(|code| by_code(table::MICROSOFT_TOKEN_CODES, code));
    let names = body::names(body);
    let listed = |table| names.iter().find_map(|name| by_name(table, name));
    let is_busy = |means: &Means| *means == Means::Busy;
    // A quota is a quota whichever of a provider's endpoints names it.
    let quota = || listed(table::NAMED_API_ERRORS).filter(is_busy);
    microsoft.or_else(|| listed(table::TOKEN_ERRORS)).or_else(quota)
}

/// A failure of the token endpoint that no row knows: where its status blames what was sent (4xx), it refuses. A page that a
/// firewall wrote is no word of the token endpoint's.
fn refusing(failure: Failure, answer: &Answer) -> Failure {
    let may_pass = matches!(answer.status.as_u16(), 408 | 425 | 429);
    let of_a_gateway = matches!(answer.status.as_u16(), 401 | 403) && is_a_page(answer);
    match failure {
        Failure::Transient { retry_after: None, what, .. }
            if answer.status.is_client_error() && !may_pass && !of_a_gateway =>
        {
            Failure::Transient { retry_after: None, what, refuses: true }
        }
        other => other,
    }
}

/// The answer of an API: identity, accounts, a probe. `Ok`: it works, and this is what it said (null for 204). `rows` are
/// what the connector's file says of such answers.
pub(super) fn api_answer(answer: &Answer, rows: &[KnownAnswer], now: DateTime<Utc>) -> Result<Value, Failure> {
    let body = parsed(answer);
    judge(answer, body.as_ref(), rows, now)?;
    Ok(body.unwrap_or_default())
}

/// The same for whoever has read the body already, or as much of it as an error can be in; `None`: it is not JSON.
pub(super) fn judge(
    answer: &Answer,
    body: Option<&Value>,
    rows: &[KnownAnswer],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let told = told_by_file(rows, answer, body);
    if told.is_none() {
        excused(answer, now)?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(());
        }
    }
    match told.or_else(|| api_error(answer, body)) {
        // Whoever was asked did not see the credential.
        Some(_) if answer.anonymous => Err(unlisted(answer, now)),
        Some(means) => Err(failure(means, answer, now)),
        None if !answer.status.is_success() => Err(unlisted(answer, now)),
        None => match body {
            Some(body) if !body::holds_error(body) => Ok(()),
            Some(_) => Err(Failure::transient("the provider answered with an error")),
            None => Err(not_json()),
        },
    }
}

/// What the connector's file says of such an answer.
fn told_by_file(rows: &[KnownAnswer], answer: &Answer, body: Option<&Value>) -> Option<Means> {
    let row = rows.iter().find(|row| row.is(answer.status.as_u16(), body))?;
    Some(match row.means {
        AnswerMeans::Rejected => Means::InvalidGrant,
        AnswerMeans::Renew => Means::Unauthorized,
        AnswerMeans::AccessLost => Means::Forbidden,
        AnswerMeans::Transient => Means::Busy,
        AnswerMeans::OurClient => Means::OurClient,
    })
}

/// Whether an answer that was judged a failure blames what was asked for, by its status and without a reason that is
/// known: what a dataset asks is a person's, unlike a probe, and asking again changes nothing.
pub(super) fn blames_the_request(answer: &Answer, body: Option<&Value>, rows: &[KnownAnswer]) -> bool {
    let blames = matches!(answer.status.as_u16(), 400 | 404 | 405 | 406 | 410 | 413 | 414 | 415 | 422);
    let told = rows.iter().any(|row| row.is(answer.status.as_u16(), body));
    blames && !told && matches!(api_error(answer, body), None | Some(Means::Missing))
}

pub(super) fn not_json() -> Failure {
    Failure::transient("the provider answered with something that is not JSON")
}

/// What an API refuses: by its body, by its challenge, else by its status. A status alone is no API's word: gateways and
/// firewalls use it too, and the page of one is nobody's refusal.
///
/// 410 is not among them: it is how an API retires a version (Klaviyo), which is no connection's fault.
fn api_error(answer: &Answer, body: Option<&Value>) -> Option<Means> {
    let said = body.and_then(|body| said(answer.status, body));
    let said = said.or_else(|| named_by_challenge(table::API_ERRORS, answer));
    said.or_else(|| match answer.status.as_u16() {
        401 if !is_a_page(answer) => Some(Means::Unauthorized),
        403 if speaks_of_waiting(answer, body) => Some(Means::Busy),
        403 if !is_a_page(answer) && body.is_some_and(body::explains) => Some(Means::Forbidden),
        404 if body.is_some_and(body::explains) => Some(Means::Missing),
        // Esri's "Invalid Token", and Laravel's "Page Expired".
        419 | 498 if !is_a_page(answer) && body.is_some() => Some(Means::Unauthorized),
        _ => None,
    })
}

/// What an API's body says, where it says it in a way that is known.
fn said(status: StatusCode, body: &Value) -> Option<Means> {
    if let Some(code) = body::meta_code(body) {
        return by_code(table::META_API_CODES, code);
    }
    if let Some(code) = body::microsoft_ads_code(body) {
        return by_code(table::MICROSOFT_ADS_CODES, code);
    }
    if status.is_success() && !body::holds_error(body) {
        return None;
    }
    let names = body::names(body);
    let listed = |table| names.iter().find_map(|name| by_name(table, name));
    let named = listed(table::NAMED_API_ERRORS).or_else(|| listed(table::API_ERRORS));
    // Beside 403 they may be about what was asked for.
    named.or_else(|| if status == StatusCode::FORBIDDEN { None } else { listed(table::UNAUTHORIZED_NAMES) })
}

/// What a `WWW-Authenticate` says (RFC 6750 §3).
fn named_by_challenge(table: &table::Names, answer: &Answer) -> Option<Means> {
    if !answer.status.is_client_error() {
        return None;
    }
    body::challenge_errors(&answer.headers).find_map(|name| by_name(table, name))
}

/// Whether a refusal was written by something in front of the API: a page for people, nothing at all, what says of itself
/// that it is a firewall's challenge, or what wants to be signed in to in another way than the call was.
///
/// Cloudflare marks its challenges with `cf-mitigated`
/// (<https://developers.cloudflare.com/cloudflare-challenges/challenge-types/challenge-pages/detect-response/>).
fn is_a_page(answer: &Answer) -> bool {
    let schemes = body::challenge_schemes(&answer.headers);
    let is_ours = |scheme: &String| match answer.scheme.as_deref() {
        Some("basic") => scheme == "basic",
        Some(own) => scheme == own || table::TOKEN_SCHEMES.contains(&scheme.as_str()),
        None => !table::LOGIN_SCHEMES.contains(&scheme.as_str()),
    };
    let challenged = schemes.iter().any(is_ours);
    let text = without_mark(&answer.body).trim_ascii_start();
    let is_html = answer.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    answer.headers.contains_key("cf-mitigated")
        || !schemes.is_empty() && !challenged
        || text.is_empty() && !challenged
        || is_html
        || text.starts_with(b"<")
}

/// Whether a 403 without a known name is about how often, not about who.
fn speaks_of_waiting(answer: &Answer, body: Option<&Value>) -> bool {
    patience::names_an_end(&answer.headers) || body.is_some_and(body::speaks_of_a_limit)
}

/// The revocation endpoint's answer (RFC 7009 §2.2). `Ok`: the token is revoked, or was not valid any more.
pub(super) fn revocation_answer(answer: &Answer, now: DateTime<Utc>) -> Result<(), Failure> {
    excused(answer, now)?;
    let body = parsed(answer).unwrap_or_default();
    match body::error_name(&body) {
        Some(name) if table::ALREADY_REVOKED.contains(&name) => Ok(()),
        Some(name) if by_name(table::TOKEN_ERRORS, name) == Some(Means::OurClient) => Err(Failure::OurClientRejected),
        None if answer.status.is_success() && !body::holds_error(&body) => Ok(()),
        _ => Err(unlisted(answer, now)),
    }
}

/// 5xx whatever the body, 408, 429: transient, and the body is not even looked at.
fn excused(answer: &Answer, now: DateTime<Utc>) -> Result<(), Failure> {
    let excused = answer.status.is_server_error()
        || matches!(answer.status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if excused { Err(failure(Means::Busy, answer, now)) } else { Ok(()) }
}

/// An answer of the token endpoint that should be JSON whatever its status; a redirect's body is nobody's word.
fn no_document(answer: &Answer, now: DateTime<Utc>) -> Failure {
    if answer.status.is_redirection() {
        return unlisted(answer, now);
    }
    let status = answer.status.as_u16();
    transient(answer, now, format!("the provider answered {status} with something that is not JSON"))
}

/// The body of a token answer: JSON (RFC 6749 §5.1), or the form that some servers answer in the type of (GitHub does where
/// it is not asked for JSON).
fn token_body(answer: &Answer) -> Option<Value> {
    let kind = answer.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if kind.starts_with(b"application/x-www-form-urlencoded") {
        let members = form_urlencoded::parse(without_mark(&answer.body));
        return Some(members.map(|(name, value)| (name.into_owned(), Value::from(value))).collect());
    }
    parsed(answer)
}

pub(super) fn parsed(answer: &Answer) -> Option<Value> {
    serde_json::from_slice(without_mark(&answer.body)).ok()
}

/// RFC 8259 §8.1 lets whoever reads JSON pass over a byte order mark.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn failure(means: Means, answer: &Answer, now: DateTime<Utc>) -> Failure {
    match means {
        Means::InvalidGrant => Failure::Rejected(Rejection::InvalidGrant),
        Means::OurClient => Failure::OurClientRejected,
        Means::Unauthorized => Failure::Rejected(Rejection::Unauthorized),
        Means::Forbidden => Failure::Rejected(Rejection::Forbidden),
        Means::Missing => Failure::Rejected(Rejection::Missing),
        Means::Busy => transient(
            answer,
            now,
            match answer.status {
                status if status.is_server_error() => format!("the provider answered {}", status.as_u16()),
                StatusCode::REQUEST_TIMEOUT => "the provider answered 408".to_owned(),
                _ => "the provider asks to wait".to_owned(),
            },
        ),
    }
}

fn unlisted(answer: &Answer, now: DateTime<Utc>) -> Failure {
    let status = answer.status.as_u16();
    transient(answer, now, format!("the provider answered {status} and no reason that is known"))
}

/// Transient, for as long as the answer itself wants.
fn transient(answer: &Answer, now: DateTime<Utc>, what: String) -> Failure {
    Failure::Transient { retry_after: patience::retry_after(&answer.headers, now), what, refuses: false }
}

#[cfg(test)]
mod tests;
