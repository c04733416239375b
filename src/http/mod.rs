//! The ways in: `/graphql` over HTTP, as an event stream and over a websocket.
//!
//! This room owns headers, media types, frames and status codes, who may have how many sockets, and how a request is found in the log.
//! What a request means is `graphql`'s business, who asks is `access`'s.
//!
//! Nothing here logs a URL's query or a header; a trace layer around it must log the path alone.

mod accept;
mod credentials;
mod graphql;
mod health;
mod oauth;
mod origins;
mod pages;
mod quota;
mod request_id;
pub mod server;
mod socket;
mod sse;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State, WebSocketUpgrade};
use axum::http::request::Parts as RequestParts;
use axum::http::{Method, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use origins::Origins;
pub use request_id::identify;

use crate::access::{Authenticator, Viewer};
use crate::clock::SharedClock;
use crate::config::Limits;
use crate::connections::Connections;
use crate::db::Db;
use crate::error::Result;
use crate::graphql::{Api, Prepared, RawRequest, Refusal, RequestId, RequestIds};
use quota::{Rates, Seats};
use url::Url;

/// Every route of the server.
pub fn router(transport: &Transport, connections: Connections, db: Db, public_url: &Url) -> Router {
    let routes = transport.routes().merge(oauth::routes(connections, public_url.scheme() == "https"));
    routes.merge(health::routes(db)).merge(pages::routes())
}

/// What the transports need. Cheap to clone.
#[derive(Clone)]
pub struct Transport(Arc<Parts>);

struct Parts {
    api: Api,
    authenticator: Authenticator,
    clock: SharedClock,
    request_ids: RequestIds,
    origins: Origins,
    seats: Seats,
    rates: Rates,
    limits: Limits,
    stop: CancellationToken,
    streams: TaskTracker,
}

impl Transport {
    /// Transports of `api`. When `stop` is cancelled, sockets and event streams are closed.
    pub fn new(
        api: Api,
        authenticator: Authenticator,
        clock: SharedClock,
        request_ids: RequestIds,
        origins: Origins,
        limits: Limits,
        stop: CancellationToken,
    ) -> Self {
        let seats = Seats::new(limits.sockets_per_viewer);
        let rates = Rates::new(&limits);
        let streams = TaskTracker::new();
        Self(Arc::new(Parts { api, authenticator, clock, request_ids, origins, seats, rates, limits, stop, streams }))
    }

    /// The route `/graphql`, every response with its `x-request-id`.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/graphql", any(enter))
            .with_state(self.clone())
            .layer(middleware::from_fn_with_state(self.0.request_ids.clone(), identify))
            .layer(self.0.origins.cors())
    }

    /// Counts one operation before anything is done for it.
    fn count(&self, viewer: &Viewer) -> Result<()> {
        self.0.rates.count(viewer.principal(), 1)
    }

    /// Parses and guards a request that was [counted](Self::count), and counts what it repeats.
    fn prepare(&self, viewer: Option<&Viewer>, request: RawRequest, id: RequestId) -> Result<Prepared, Refusal> {
        let prepared = self.0.api.prepare(request, id)?;
        if let Some(viewer) = viewer {
            let counted = self.0.rates.count(viewer.principal(), prepared.repetitions() - 1);
            counted.map_err(|error| Refusal::because(error, id))?;
        }
        Ok(prepared)
    }

    /// Returns once every socket and event stream is closed and every mutation and write has ended. Call it after `stop` was cancelled.
    pub async fn drained(&self) {
        self.0.streams.close();
        self.0.streams.wait().await;
        self.0.api.drained().await;
        self.0.authenticator.drained().await;
    }
}

/// A websocket where one is asked for, HTTP otherwise.
async fn enter(State(transport): State<Transport>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    if let Some(refused) = credentials::refuse_in_url(&parts.uri) {
        return graphql::answer_refusal(refused, accept::Media::of(&parts.headers).unwrap_or_default());
    }
    if !asks_for_a_socket(&parts) {
        return graphql::handle(transport, parts, body).await;
    }
    match WebSocketUpgrade::from_request_parts(&mut parts, &transport).await {
        Ok(upgrade) => socket::enter(transport, upgrade, &parts.headers),
        Err(rejection) => rejection.into_response(),
    }
}

/// By an upgrade of HTTP/1.1, or by the extended CONNECT of HTTP/2 (RFC 8441).
fn asks_for_a_socket(parts: &RequestParts) -> bool {
    let upgrade = parts.headers.get(header::UPGRADE);
    parts.method == Method::CONNECT
        || upgrade.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
