//! The ways in: `/graphql` over HTTP, as an event stream and over a websocket.
//!
//! This room owns headers, media types, frames and status codes, who may have how many sockets, and how a request is found in the log.
//! What a request means is `graphql`'s business, who asks is `access`'s.
//!
//! Nothing here logs a path, a URL's query or a header.

mod accept;
mod address;
mod credentials;
mod graphql;
mod health;
mod links;
mod metrics;
mod oauth;
mod observed;
mod origins;
mod pages;
mod previews;
mod quota;
pub mod server;
mod socket;
mod sse;
mod unsubscribe;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State, WebSocketUpgrade};
use axum::http::request::Parts as RequestParts;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub use origins::Origins;

use crate::access::{Authenticator, Principal, Viewer};
use crate::clock::SharedClock;
use crate::config::Limits;
use crate::connections::Connections;
use crate::datasets::Datasets;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::graphql::errors::Code;
use crate::graphql::{Api, Prepared, RawRequest, Refusal, RequestId, RequestIds};
use crate::journal::Journal;
use crate::notifications::Notifications;
use crate::tasks::Tasks;
use crate::telemetry::Telemetry;
use address::CallerAddress;
use quota::{CountedBy, Rates, Seat, Seats};
use url::Url;
use uuid::Uuid;

/// What the routes beside the API are about.
pub struct Site {
    pub connections: Connections,
    pub datasets: Datasets,
    pub notifications: Notifications,
    pub journal: Journal,
    pub db: Db,
    pub public_url: Url,
    /// Whether there is an explorer.
    pub explorer: bool,
    /// The bearer of `/metrics`, if it asks for one.
    pub metrics_token: Option<SecretString>,
    /// Whether `/metrics` has an address of its own.
    pub metrics_apart: bool,
}

/// Every route of the server, by the address it is served at.
pub struct Routers {
    pub public: Router,
    /// None where `/metrics` is among the others.
    pub metrics: Option<Router>,
}

/// The routes of the API and of `site`.
pub fn routers(transport: &Transport, site: Site) -> Routers {
    let (tasks, patience) = (&transport.0.tasks, transport.0.limits.browser_patience);
    let secure = site.public_url.scheme() == "https";
    let observed = |router: Router| router.layer(middleware::from_fn_with_state(transport.clone(), observed::observe));
    let numbers = metrics::routes(&site, transport.0.telemetry.clone(), transport.0.clock.clone());
    let Site { connections, notifications, db, explorer, metrics_apart, .. } = site;
    let oauth = oauth::routes(connections.clone(), secure, patience);
    let links = links::routes(connections, tasks, patience);
    let open = oauth.merge(links).merge(unsubscribe::routes(notifications));
    let open = open.route_layer(middleware::from_fn_with_state(transport.clone(), limit_address));
    let routes = transport.routes().merge(open).merge(health::routes(db, tasks.clone())).merge(pages::routes(explorer));
    let (routes, apart) = if metrics_apart { (routes, Some(numbers)) } else { (routes.merge(numbers), None) };
    let routes = if secure { routes.layer(middleware::map_response(insist_on_https)) } else { routes };
    Routers { public: observed(routes), metrics: apart.map(observed) }
}

/// The middleware of pages for people without a viewer: so many requests of one address as of callers without one.
async fn limit_address(State(transport): State<Transport>, request: Request, next: Next) -> Response {
    let address = CallerAddress::of_request(request.extensions());
    match transport.count(CountedBy::Address(address), 1) {
        Err(Error::RateLimited { retry_after_seconds }) => pages::too_many(retry_after_seconds),
        _ => next.run(request).await,
    }
}

/// A year, in seconds. Other hosts of the same domain are their operators' matter.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Has browsers come by https alone from now on (RFC 6797).
async fn insist_on_https(mut response: Response) -> Response {
    response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
    response
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
    seats: Seats<Principal>,
    /// Those of all viewers of a workspace together.
    seats_of_workspaces: Seats<Uuid>,
    rates: Rates,
}

/// A seat for a socket or an event stream of a viewer's.
struct ViewerSeat {
    _of_viewer: Seat<Principal>,
    _of_workspace: Seat<Uuid>,
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
        // A quarter of all connections is always left to the others.
        let of_one = parts.limits.connections - parts.limits.connections / 4;
        let seats_of_workspaces = Seats::new(of_one);
        Self(Arc::new(Inner { parts, seats, seats_of_workspaces, rates }))
    }

    /// A seat for a socket or an event stream; none when the viewer has all of theirs, or their workspace of its.
    fn seat(&self, viewer: &Viewer) -> Option<ViewerSeat> {
        let of_viewer = self.0.seats.take(viewer.principal())?;
        let of_workspace = self.0.seats_of_workspaces.take(viewer.workspace())?;
        Some(ViewerSeat { _of_viewer: of_viewer, _of_workspace: of_workspace })
    }

    /// The route `/graphql`.
    fn routes(&self) -> Router {
        Router::new().route("/graphql", any(enter)).with_state(self.clone()).layer(self.0.origins.cors())
    }

    /// Counts operations `by` their caller; refused when they started too many.
    fn count(&self, by: CountedBy, operations: u32) -> Result<()> {
        let counted = self.0.rates.count(by, operations);
        counted.inspect_err(|_| self.0.telemetry.operations.invalid(Code::RateLimited.as_str()))
    }

    /// Counts credentials that were refused with `error`, by where they came from: what is said of them in the end.
    fn count_refused(&self, error: Error, address: CallerAddress) -> Error {
        match error {
            Error::Unauthenticated => self.count(CountedBy::Address(address), 1).err().unwrap_or(error),
            error => error,
        }
    }

    /// Parses and guards a request that was [counted](Self::count), and counts what it repeats.
    fn prepare(&self, by: CountedBy, request: RawRequest, id: RequestId) -> Result<Prepared, Refusal> {
        let prepared = self.0.api.prepare(request, id)?;
        let counted = self.count(by, prepared.repetitions() - 1);
        counted.map_err(|error| Refusal::because(error, id))?;
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
