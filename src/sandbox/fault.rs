//! Failures on demand: what a bad provider does, set per endpoint for a number of calls.
//!
//! An outage (see [`super::Sandbox::set_outage`]) goes before every fault and uses none up.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde_json::{Value, json};

use super::{answer::Answer, gate::Gate};

/// Where a fault can be set, and where calls are counted. The paths below a shop belong to the same endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// `POST /token`
    Token,
    /// `POST /revoke`
    Revoke,
    /// `GET /userinfo` and `GET /shops/{shop}/identity`
    Identity,
    /// `GET /accounts`
    Accounts,
    /// `GET /accounts/{id}`
    Account,
    /// Whatever answers with rows: `/accounts/{id}/report`, `/regions/{region}/visits`, `/shops/{shop}/orders`
    Report,
    /// `GET /keyed/me` and `/keyed/invoices`
    Keyed,
}

/// What an endpoint does instead of, or with, its answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// 500, with a body that says `invalid_grant`: the status has to win.
    ServerError,
    /// 429 with `Retry-After` in seconds.
    RateLimited {
        /// Seconds.
        retry_after: u32,
    },
    /// 200 with an HTML page where JSON is due.
    Garbage,
    /// Silence for that long, then 504. The request is not carried out.
    Hang(Duration),
    /// The usual answer as of when it was asked for, but only once the gate is open.
    Held(Gate),
    /// The request is carried out, but 502 is answered: the only copy of a rotated token is gone.
    LoseAnswer,
    /// An error of RFC 6749 §5.2 by its code: 401 for `invalid_client`, 400 for every other.
    OAuthError(&'static str),
    /// 401 of the API, whatever the token or key.
    Unauthorized,
    /// 403 of the API, without a reason that names a quota.
    Forbidden,
    /// 403 of the API, with a reason that names a quota as Google has it.
    QuotaExceeded,
    /// 307 to that URL.
    Redirect(String),
    /// 200 with a body of that many bytes, all of them white space.
    Huge(usize),
    /// That status, those headers, that body.
    Exactly {
        /// HTTP status; one outside 100–999 becomes 500.
        status: u16,
        /// Added as they are; malformed ones are left out.
        headers: Vec<(String, String)>,
        /// Sent as it is.
        body: String,
    },
    /// The usual answer without that member: `refresh_token`, `expires_in`, `scope` …
    Without(&'static str),
    /// The usual answer with that member set: less `scope`, an `expires_in` that is a text …
    With(&'static str, Value),
}

/// What is wrong with the next redirect back to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackFault {
    /// `iss` (RFC 9207) names another authorization server.
    WrongIss,
    /// `iss` is left out.
    NoIss,
    /// That `error` comes instead of a code (RFC 6749 §4.1.2.1).
    Error(&'static str),
}

/// What is still to go wrong: each entry with the number of calls it is for.
#[derive(Default)]
pub(super) struct Faults {
    endpoints: VecDeque<(Endpoint, Fault, usize)>,
    callbacks: VecDeque<(CallbackFault, usize)>,
}

impl Faults {
    pub(super) fn add(&mut self, endpoint: Endpoint, fault: Fault, calls: usize) {
        self.endpoints.push_back((endpoint, fault, calls));
    }

    pub(super) fn add_callback(&mut self, fault: CallbackFault, calls: usize) {
        self.callbacks.push_back((fault, calls));
    }

    /// The fault for this call, and one call less to go.
    pub(super) fn take(&mut self, endpoint: Endpoint) -> Option<Fault> {
        self.endpoints.retain(|(_, _, left)| *left > 0);
        let (_, fault, left) = self.endpoints.iter_mut().find(|(at, _, _)| *at == endpoint)?;
        *left -= 1;
        Some(fault.clone())
    }

    pub(super) fn take_callback(&mut self) -> Option<CallbackFault> {
        self.callbacks.retain(|(_, left)| *left > 0);
        let (fault, left) = self.callbacks.front_mut()?;
        *left -= 1;
        Some(*fault)
    }
}

impl Fault {
    /// Answers in its way; `work` is what the endpoint would do.
    pub(super) async fn apply(self, work: impl FnOnce() -> Answer) -> Response {
        match self {
            Self::ServerError => {
                Answer::oauth_error(StatusCode::INTERNAL_SERVER_ERROR, "invalid_grant").into_response()
            }
            Self::RateLimited { retry_after } => {
                let headers = [(header::RETRY_AFTER, retry_after.to_string())];
                let answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Ask later.");
                (headers, answer).into_response()
            }
            Self::Garbage => {
                axum::response::Html("<!doctype html><title>Welcome</title><p>Not what you asked for").into_response()
            }
            Self::Hang(time) => {
                tokio::time::sleep(time).await;
                Answer::error(StatusCode::GATEWAY_TIMEOUT, "timeout", "Nobody answered.").into_response()
            }
            Self::Held(gate) => {
                let answer = work();
                gate.pass().await;
                answer.into_response()
            }
            Self::LoseAnswer => {
                drop(work());
                Answer::error(StatusCode::BAD_GATEWAY, "bad_gateway", "The answer was lost.").into_response()
            }
            Self::OAuthError("invalid_client") => Answer::oauth_error(StatusCode::UNAUTHORIZED, "invalid_client")
                .challenge("Basic realm=\"sandbox\"")
                .into_response(),
            Self::OAuthError(code) => Answer::oauth_error(StatusCode::BAD_REQUEST, code).into_response(),
            Self::Unauthorized => {
                Answer::error(StatusCode::UNAUTHORIZED, "unauthorized", "No.").challenge("Bearer").into_response()
            }
            Self::Forbidden => Answer::error(StatusCode::FORBIDDEN, "forbidden", "Not for you.").into_response(),
            Self::QuotaExceeded => quota_exceeded().into_response(),
            Self::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response(),
            Self::Huge(bytes) => huge(bytes),
            Self::Exactly { status, headers, body } => exactly(status, headers, body),
            Self::Without(member) => bend(work(), |object| drop(object.remove(member))),
            Self::With(member, value) => bend(work(), |object| drop(object.insert(member.to_owned(), value))),
        }
    }
}

/// Changes a successful answer; an error stays what it is.
fn bend(mut answer: Answer, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Response {
    if let (StatusCode::OK, Some(object)) = (answer.status, answer.body.as_object_mut()) {
        change(object);
    }
    answer.into_response()
}

/// The shape of Google's APIs: <https://cloud.google.com/apis/design/errors>.
fn quota_exceeded() -> Answer {
    let reason = json!({ "reason": "rateLimitExceeded", "domain": "usageLimits", "message": "Quota exceeded" });
    let error = json!({ "code": 403, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded", "errors": [reason] });
    Answer::new(StatusCode::FORBIDDEN, json!({ "error": error }))
}

/// Streamed, so that it costs this side nothing.
fn huge(bytes: usize) -> Response {
    const CHUNK: &[u8] = &[b' '; 64 * 1024];
    let whole = std::iter::repeat_n(CHUNK, bytes / CHUNK.len());
    let chunks = whole.chain([&CHUNK[..bytes % CHUNK.len()]]);
    let body = Body::from_stream(stream::iter(chunks.map(|chunk| Ok::<_, Infallible>(Bytes::from_static(chunk)))));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn exactly(status: u16, headers: Vec<(String, String)>, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let parsed = headers
        .into_iter()
        .filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?)));
    response.headers_mut().extend(parsed);
    response
}
