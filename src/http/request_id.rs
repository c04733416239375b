//! Every HTTP request gets an id: the header `x-request-id` of its response, `requestId` of its errors, the field `request_id` in the log.
//!
//! One that a client sends is ignored: whoever chooses the id could forge lines of the log.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::graphql::RequestIds;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The middleware. Handlers find the id as an extension ([`RequestId`](crate::graphql::RequestId)).
pub async fn identify(State(ids): State<RequestIds>, mut request: Request, next: Next) -> Response {
    let id = ids.next();
    request.extensions_mut().insert(id);
    let span =
        tracing::info_span!("request", request_id = %id, method = %request.method(), path = request.uri().path());
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}
