//! Every HTTP request is observed: it gets an id, runs in a [span] that has it, leaves one line in the log and one
//! more in the numbers, and what panics on the way is an answer all the same.
//!
//! The id is the header `x-request-id` of the response, `requestId` of its errors, the field `request_id` in the log. One that a client
//! sends is ignored: whoever chooses the id could forge lines of the log. Neither the path nor the query is logged, since either may hold
//! a secret: the route is, as the router spells it.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;

use super::Transport;
use crate::access::Viewer;
use crate::ids::{Kind, encode};
use crate::telemetry::span;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What is asked all the time, by machines.
const QUIET: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// The route of what the router has none for.
const NOWHERE: &str = "none";

/// The middleware. Handlers find the id as an extension ([`RequestId`](crate::graphql::RequestId)).
pub(super) async fn observe(State(transport): State<Transport>, mut request: Request, next: Next) -> Response {
    let (id, begun) = (transport.0.request_ids.next(), Instant::now());
    request.extensions_mut().insert(id);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(NOWHERE, MatchedPath::as_str);
    let span = span::http(id, known(request.method().as_str()), route);
    let answered = AssertUnwindSafe(next.run(request).instrument(span.clone())).catch_unwind().await;
    // The panic hook has logged it.
    let mut response = answered.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    transport.0.telemetry.http.answered(route, status);
    let duration_ms = milliseconds(begun);
    span.in_scope(|| {
        if QUIET.contains(&route) {
            tracing::debug!(status, duration_ms, "answered");
        } else {
            tracing::info!(status, duration_ms, "answered");
        }
    });
    response
}

/// A method by its name, where it is a usual one (RFC 9110 §9.1, RFC 5789): a client may send any word.
fn known(method: &str) -> &str {
    let usual = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    usual.into_iter().find(|one| *one == method).unwrap_or("other")
}

/// Records who asks in the span of the request.
pub(super) fn record(viewer: &Viewer) {
    let actor = viewer.actor();
    span::record_viewer(
        encode(Kind::Workspace, viewer.workspace()),
        actor.user.map(|user| encode(Kind::User, user)),
        actor.api_key.map(|key| encode(Kind::ApiKey, key)),
    );
}

/// How long it took since `begun`, for the log.
pub(super) fn milliseconds(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
