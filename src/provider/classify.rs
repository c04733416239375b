//! What an answer means: from what a provider said to what is done about it.
//!
//! An answer is judged by where it came from, its status, its headers and its body, into works (`Ok`), or a [`Failure`].
//! The order is always the same, and is here: the status that excuses everything (5xx, 408, 429), then what the body says,
//! then the status. What providers call their errors is in `table.rs`, where in a body they say it in `body.rs`; databases
//! are in `database.rs`.
//! Whatever no row knows is transient: better to ask again than to call a person for nothing.
//!
//! No message quotes a body or a header. Waiting and asking again are the jobs', what becomes of a connection is the
//! lifecycle's.

mod body;
mod database;
mod table;

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use serde_json::Value;

use super::{
    outbound::{Answer, NoAnswer},
    patience,
};
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
    /// The token endpoint: this refresh token, or this code, is not valid (any more).
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
        Self::Transient { retry_after: None, what: what.into() }
    }
}

impl From<NoAnswer> for Failure {
    fn from(why: NoAnswer) -> Self {
        Self::transient(format!("the provider {why}"))
    }
}

/// The token endpoint's answer (RFC 6749 §5), to a code, a refresh token or an exchange. `Ok`: it holds an access token.
pub(super) fn token_answer(answer: &Answer, now: DateTime<Utc>) -> Result<Value, Failure> {
    excused(answer, now)?;
    let body = document(answer, now)?;
    if let Some(means) = token_error(&body) {
        return Err(failure(means, answer, now));
    }
    let granted = body["access_token"].as_str().is_some_and(|token| !token.is_empty());
    if answer.status.is_success() && granted && !body::holds_error(&body) {
        Ok(body)
    } else {
        Err(unlisted(answer, now))
    }
}

/// What the token endpoint's body says, where it says it in a way that is known.
fn token_error(body: &Value) -> Option<Means> {
    if let Some(code) = body::meta_code(body) {
        return by_code(table::META_TOKEN_CODES, code);
    }
    let microsoft = body::microsoft_token_codes(body).find_map(|code| by_code(table::MICROSOFT_TOKEN_CODES, code));
    microsoft.or_else(|| body::token_names(body).find_map(|name| by_name(table::TOKEN_ERRORS, name)))
}

/// The answer of an API: identity, accounts, a probe. `Ok`: it works, and this is what it said (null for 204).
pub(super) fn api_answer(answer: &Answer, now: DateTime<Utc>) -> Result<Value, Failure> {
    let body = parsed(answer);
    judge(answer, body.as_ref(), now)?;
    Ok(body.unwrap_or_default())
}

/// The same for whoever has read the body already, or as much of it as an error can be in; `None`: it is not JSON.
pub(super) fn judge(answer: &Answer, body: Option<&Value>, now: DateTime<Utc>) -> Result<(), Failure> {
    excused(answer, now)?;
    if answer.status == StatusCode::NO_CONTENT {
        return Ok(());
    }
    match api_error(answer, body) {
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

/// Whether an answer that was judged a failure blames what was asked for, by its status and without a reason that is
/// known: what a dataset asks is a person's, unlike a probe, and asking again changes nothing.
pub(super) fn blames_the_request(answer: &Answer, body: Option<&Value>) -> bool {
    let blames = matches!(answer.status.as_u16(), 400 | 404 | 405 | 406 | 410 | 413 | 414 | 415 | 422);
    blames && matches!(api_error(answer, body), None | Some(Means::Missing))
}

pub(super) fn not_json() -> Failure {
    Failure::transient("the provider answered with something that is not JSON")
}

/// What an API refuses: by its body, else by its status.
///
/// 410 is not among them: it is how an API retires a version (Klaviyo), which is no connection's fault.
fn api_error(answer: &Answer, body: Option<&Value>) -> Option<Means> {
    body.and_then(|body| said(answer.status, body)).or_else(|| match answer.status {
        StatusCode::UNAUTHORIZED => Some(Means::Unauthorized),
        StatusCode::FORBIDDEN if speaks_of_waiting(answer, body) => Some(Means::Busy),
        StatusCode::FORBIDDEN => Some(Means::Forbidden),
        StatusCode::NOT_FOUND if body.is_some_and(body::explains) => Some(Means::Missing),
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
    if status.is_success() {
        return body::api_name(body).and_then(|name| by_name(table::API_ERRORS, name));
    }
    body::api_names(body).find_map(|name| by_name(table::NAMED_API_ERRORS, name))
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

/// The body of an answer that should be JSON whatever its status; a redirect's is nobody's word.
fn document(answer: &Answer, now: DateTime<Utc>) -> Result<Value, Failure> {
    if answer.status.is_redirection() {
        return Err(unlisted(answer, now));
    }
    parsed(answer).ok_or_else(|| {
        transient(
            answer,
            now,
            format!("the provider answered {} with something that is not JSON", answer.status.as_u16()),
        )
    })
}

pub(super) fn parsed(answer: &Answer) -> Option<Value> {
    serde_json::from_slice(&answer.body).ok()
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
    Failure::Transient { retry_after: patience::retry_after(&answer.headers, now), what }
}

#[cfg(test)]
mod tests;
