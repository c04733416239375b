//! The ways in: `/graphql` over HTTP, as an event stream and over a websocket.
//!
//! This room owns headers, media types, frames and status codes, who may have how many sockets, and how a request is found in the log.
//! What a request means is `graphql`'s business, who asks is `access`'s.
//!
//! Nothing here logs a path, a URL's query or a header.

mod accept;
mod credentials;
mod graphql;
mod health;
mod links;
mod metrics;
mod oauth;
mod observed;
mod origins;
mod pages;
mod quota;
pub mod server;
mod socket;
mod sse;
mod unsubscribe;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State, WebSocketUpgrade};
use axum::http::request::Parts as RequestParts;
use axum::http::{Method, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio_util::sync::CancellationToken;

pub use origins::Origins;

use crate::access::{Authenticator, Viewer};
use crate::clock::SharedClock;
use crate::config::Limits;
use crate::connections::Connections;
use crate::datasets::Datasets;
use crate::db::Db;
use crate::error::Result;
use crate::graphql::errors::Code;
use crate::graphql::{Api, Prepared, RawRequest, Refusal, RequestId, RequestIds};
use crate::journal::Journal;
use crate::notifications::Notifications;
use crate::tasks::Tasks;
use crate::telemetry::Telemetry;
use quota::{Rates, Seats};
use url::Url;

/// Every route of the server.
pub fn router(
    transport: &Transport,
    connections: Connections,
    datasets: Datasets,
    notifications: Notifications,
    journal: Journal,
    db: Db,
    public_url: &Url,
) -> Router {
    let (tasks, patience) = (&transport.0.tasks, transport.0.limits.browser_patience);
    let oauth = oauth::routes(connections.clone(), public_url.scheme() == "https", patience);
    let links = links::routes(connections.clone(), tasks, patience);
    let routes = transport.routes().merge(oauth).merge(links).merge(unsubscribe::routes(notifications));
    let numbers = metrics::routes(transport.0.telemetry.clone(), connections, datasets, journal, db.clone());
    let routes = routes.merge(health::routes(db, transport.0.tasks.clone())).merge(numbers).merge(pages::routes());
    routes.layer(middleware::from_fn_with_state(transport.clone(), observed::observe))
}

/// The transports of the API. Cheap to clone.
#[derive(Clone)]
pub struct Transport(Arc<Inner>);

/// What the transports need.
pub struct Parts {
    pub api: Api,
    pub authenticator: Authenticator,
    pub clock: SharedClock,
    pub request_ids: RequestIds,
    pub origins: Origins,
    pub limits: Limits,
    pub telemetry: Telemetry,
    pub tasks: Tasks,
    /// When it is cancelled, sockets and event streams are closed.
    pub stop: CancellationToken,
}

struct Inner {
    parts: Parts,
    seats: Seats,
    rates: Rates,
}

impl std::ops::Deref for Inner {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Transport {
    pub fn new(parts: Parts) -> Self {
        let (seats, rates) = (Seats::new(parts.limits.sockets_per_viewer), Rates::new(&parts.limits));
        Self(Arc::new(Inner { parts, seats, rates }))
    }

    /// The route `/graphql`.
    fn routes(&self) -> Router {
        Router::new().route("/graphql", any(enter)).with_state(self.clone()).layer(self.0.origins.cors())
    }

    /// Counts one operation of `viewer`; refused when they started too many.
    fn count(&self, viewer: &Viewer) -> Result<()> {
        self.count_more(viewer, 1)
    }

    fn count_more(&self, viewer: &Viewer, operations: u32) -> Result<()> {
        let counted = self.0.rates.count(viewer.principal(), operations);
        counted.inspect_err(|_| self.0.telemetry.operations.invalid(Code::RateLimited.as_str()))
    }

    /// Parses and guards a request that was [counted](Self::count), and counts what it repeats.
    fn prepare(&self, viewer: Option<&Viewer>, request: RawRequest, id: RequestId) -> Result<Prepared, Refusal> {
        let prepared = self.0.api.prepare(request, id)?;
        if let Some(viewer) = viewer {
            let counted = self.count_more(viewer, prepared.repetitions() - 1);
            counted.map_err(|error| Refusal::because(error, id))?;
        }
        Ok(prepared)
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
        Ok(upgrade) => socket::enter(transport, upgrade, &parts),
        Err(rejection) => rejection.into_response(),
    }
}

/// By an upgrade of HTTP/1.1, or by the extended CONNECT of HTTP/2 (RFC 8441).
fn asks_for_a_socket(parts: &RequestParts) -> bool {
    let upgrade = parts.headers.get(header::UPGRADE);
    parts.method == Method::CONNECT
        || upgrade.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
