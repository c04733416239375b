//! The span of a request: every line of the log that belongs to a request stands in it, and so has its id. What is
//! learnt on the way (who asks, for what, what came of it) is recorded in it by whoever learns it.
//!
//! It holds words of the code and of the schema, and ids; never a query string, a header, a variable, or a name that a
//! client chose. It is of the level of errors, so that also a log of errors only has the ids.

use std::fmt::Display;

use tracing::{Span, error_span, field::Empty};

/// Of an HTTP request to `path`, as the router spells it: what stands in a link may be a secret.
pub fn http(request_id: impl Display, method: &str, path: &str) -> Span {
    error_span!(
        "request",
        %request_id,
        method,
        path,
        workspace = Empty,
        user = Empty,
        api_key = Empty,
        operation = Empty,
        fields = Empty,
        code = Empty
    )
}

/// Of an operation on a socket, or within a batch.
pub fn operation(request_id: impl Display) -> Span {
    error_span!("operation", %request_id, workspace = Empty, user = Empty, api_key = Empty, operation = Empty, fields = Empty, code = Empty)
}

/// Of a websocket.
pub fn socket(request_id: impl Display) -> Span {
    error_span!("socket", %request_id, workspace = Empty, user = Empty, api_key = Empty)
}

/// Records who asks, by their public ids.
pub fn record_viewer(workspace: impl Display, user: Option<impl Display>, api_key: Option<impl Display>) {
    let span = Span::current();
    span.record("workspace", tracing::field::display(workspace));
    if let Some(user) = user {
        span.record("user", tracing::field::display(user));
    }
    if let Some(api_key) = api_key {
        span.record("api_key", tracing::field::display(api_key));
    }
}

/// Records what is asked for: the type of operation, and its root fields.
pub fn record_operation(kind: &'static str, fields: impl Display) {
    Span::current().record("operation", kind).record("fields", tracing::field::display(fields));
}

/// Records what came of it.
pub fn record_code(code: &'static str) {
    Span::current().record("code", code);
}
