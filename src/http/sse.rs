//! Operations as event streams: the distinct-connections mode of graphql-sse
//! (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>), for clients behind proxies that break websockets.
//!
//! Each response is an event `next`; `complete` follows the last. A stream that ends without `complete` was cut (this server stops, or its
//! reader does not read), and its client should come back with the cursor it has.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use async_graphql::parser::types::OperationType;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::ViewerSeat;
use super::accept::Media;
use super::graphql::{Caller, answer_refusal};
use super::observed;
use crate::access::Viewer;
use crate::error::Error;
use crate::graphql::{self, Event, Prepared, Refusal, RequestId};
use crate::telemetry::span;

/// Events that wait for a reader. When it takes none of them for the read timeout, the stream is cut.
const WAITING: usize = 64;

/// With an empty line of data: browsers show no event that has none.
const COMPLETE: &str = "event: complete\ndata:\n\n";

/// A comment, so that nothing between takes the stream for dead.
const STILL_HERE: &str = ":\n\n";

/// Starts the operation and answers with the stream of its events.
pub(super) fn answer(caller: Caller, prepared: Prepared) -> Response {
    let because = |error| answer_refusal(Refusal::because(error, caller.id), Media::EventStream);
    let seat = match &caller.viewer {
        Some(viewer) => match caller.transport.seat(viewer) {
            Some(seat) => Some(seat),
            None => return because(Error::RateLimited { retry_after_seconds: 1 }),
        },
        None if prepared.operation() == OperationType::Subscription => return because(Error::Unauthenticated),
        None => None,
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let tasks = caller.transport.0.tasks.clone();
    tasks.spawn("event stream", pump(caller, prepared, seat, sender));
    respond(Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>)))
}

/// A document that is refused is told in the stream: `EventSource` shows its user no other answer.
pub(super) fn refused(refusal: Refusal) -> Response {
    span::record_code(refusal.code());
    respond(Body::from(next(graphql::Response::from(refusal).to_json()) + COMPLETE))
}

fn respond(events: Body) -> Response {
    // nginx would collect the events otherwise.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let media = (CONTENT_TYPE, HeaderValue::from_static(Media::EventStream.content_type()));
    ([media, (CACHE_CONTROL, HeaderValue::from_static("no-store")), unbuffered], events).into_response()
}

/// The reader's end of the stream.
struct Reader {
    sender: mpsc::Sender<String>,
    patience: Duration,
}

impl Reader {
    /// Whether the reader takes it.
    async fn take(&self, text: String) -> bool {
        self.sender.send_timeout(text, self.patience).await.is_ok()
    }
}

/// Sends events until the operation ends, the reader is gone or too slow, the viewer's token expires, or the server stops.
async fn pump(caller: Caller, prepared: Prepared, seat: Option<ViewerSeat>, sender: mpsc::Sender<String>) {
    let begun = Instant::now();
    let (stop, gone) = (caller.transport.0.stop.clone(), sender.clone());
    let reader = Reader { sender, patience: caller.transport.0.limits.read_timeout };
    let work = async {
        match &caller.viewer {
            Some(viewer) => send_all(&caller, viewer, prepared, &reader).await,
            None => {
                let response = caller.transport.0.api.execute(None, prepared).await;
                reader.take(next(response.to_json()) + COMPLETE).await;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = gone.closed() => {}
        () = stop.cancelled() => {}
    }
    tracing::info!(duration_ms = observed::milliseconds(begun), "an event stream ended");
    drop(seat);
}

async fn send_all(caller: &Caller, viewer: &Viewer, prepared: Prepared, reader: &Reader) {
    let mut events = caller.transport.0.api.run(viewer, prepared);
    let mut silence = tokio::time::interval(caller.transport.0.limits.ping_interval);
    silence.reset();
    let expiry = caller.transport.until_expiry(viewer);
    tokio::pin!(expiry);
    loop {
        let event = tokio::select! {
            () = &mut expiry => Event::Unauthorized,
            event = events.next() => event.unwrap_or(Event::Complete),
            _ = silence.tick() => {
                if !reader.take(STILL_HERE.to_owned()).await {
                    return;
                }
                continue;
            }
        };
        silence.reset();
        let event = if caller.transport.has_expired(viewer) { Event::Unauthorized } else { event };
        let (text, over) = match event {
            Event::Next(payload) => (next(payload), false),
            Event::Error(errors) => (next(format!(r#"{{"errors":{errors}}}"#)) + COMPLETE, true),
            Event::Unauthorized => (next(unauthenticated(caller.id)) + COMPLETE, true),
            Event::Complete => (COMPLETE.to_owned(), true),
        };
        if !reader.take(text).await || over {
            return;
        }
    }
}

fn unauthenticated(id: RequestId) -> String {
    graphql::Response::from(Refusal::because(Error::Unauthenticated, id)).to_json()
}

/// A response as an event; JSON as it is written here has no line breaks.
fn next(payload: impl std::fmt::Display) -> String {
    format!("event: next\ndata: {payload}\n\n")
}
