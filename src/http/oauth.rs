//! The browser's way to a provider and back: `/oauth/start/{attempt}` and `/oauth/callback/{slug}`.
//!
//! Reads parameters and cookies, sets the cookie, and shows where it went; what it means is
//! [`crate::connections`]'s.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use entity::AttemptStatus;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::pages::{outcome, outcome_that_closes, work_that_goes_on};
use super::previews;
use crate::{
    connections::{Arrived, Callback, Connections, Departure, Returned},
    error::Error,
    ids::{self, Kind},
};

/// How long the cookie of an attempt lives: as long as the attempt, in seconds.
const COOKIE_LIFE: u32 = 600;
const NOT_VALID: &str = "This link does not work";

#[derive(Clone)]
struct Desk {
    connections: Connections,
    /// Whether browsers reach this server by https.
    secure: bool,
    /// How long a browser waits for a sign-in to end.
    patience: Duration,
}

/// The routes of the browser's round trip.
pub(super) fn routes(connections: Connections, secure: bool, patience: Duration) -> Router {
    Router::new()
        .route("/oauth/start/{attempt}", get(start))
        .route("/oauth/callback/{slug}", get(callback))
        .layer(middleware::from_fn(previews::turn_away))
        .with_state(Desk { connections, secure, patience })
}

/// What providers send back (RFC 6749 §4.1.2). A parameter that is given twice makes the request invalid.
#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    state: String,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

async fn start(State(desk): State<Desk>, Path(attempt): Path<String>) -> Response {
    let Some(attempt) = ids::decode(Kind::Attempt, &attempt) else {
        return outcome(NOT_VALID, "This link is not valid, or no longer.", StatusCode::NOT_FOUND);
    };
    match desk.connections.depart(attempt).await {
        Ok(Ok(departure)) => send_on(&departure, desk.secure),
        Ok(Err(reason)) => outcome(NOT_VALID, &reason.to_string(), StatusCode::GONE),
        Err(error) => failed(&error),
    }
}

fn send_on(departure: &Departure, secure: bool) -> Response {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!(
        "{}={}; HttpOnly; SameSite=Lax; Path=/oauth/callback; Max-Age={COOKIE_LIFE}{secure}",
        departure.cookie_name,
        departure.cookie_value.expose_secret(),
    );
    let mut response = see_other(departure.location.as_str());
    if let Ok(mut cookie) = HeaderValue::from_str(&cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

async fn callback(
    State(desk): State<Desk>,
    Path(connector): Path<String>,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Ok(Query(parameters)) = parameters else {
        return outcome(NOT_VALID, "The data source sent back something that cannot be read.", StatusCode::BAD_REQUEST);
    };
    let Parameters { state, code, error, iss } = parameters;
    let callback = Callback { connector, state, code: code.map(Into::into), error, iss };
    match desk.connections.arrive(callback, |name| cookie(&headers, name), desk.patience).await {
        Ok(Ok(Arrived::Returned(returned))) => arrived(returned),
        Ok(Ok(Arrived::Working)) => {
            let message = "The data source takes longer than usual. You need not wait: this goes on in any case.";
            work_that_goes_on("Signing in", message, None)
        }
        Ok(Err(refused)) => outcome(NOT_VALID, &refused.to_string(), StatusCode::BAD_REQUEST),
        Err(error) => failed(&error),
    }
}

fn arrived(returned: Returned) -> Response {
    if let Some(url) = returned.return_url {
        return see_other(url.as_str());
    }
    match returned.status {
        AttemptStatus::Succeeded => outcome_that_closes("Connected", &returned.message),
        AttemptStatus::NeedsDecision => outcome("One more step", &returned.message, StatusCode::OK),
        _ => outcome("Not connected", &returned.message, StatusCode::OK),
    }
}

/// The value of a cookie that the browser sent (RFC 6265 §5.4).
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = pairs.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(given, _)| *given == name).map(|(_, value)| value.to_owned())
}

pub(super) fn see_other(location: &str) -> Response {
    let headers =
        [(header::LOCATION, location), (header::CACHE_CONTROL, "no-store"), (header::REFERRER_POLICY, "no-referrer")];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn failed(error: &Error) -> Response {
    tracing::error!(?error, "a sign-in failed");
    let message = "Something went wrong on this server. Try again in a moment.";
    outcome("Not connected", message, StatusCode::SERVICE_UNAVAILABLE)
}
