//! The websocket: graphql-transport-ws
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>), and no other sub-protocol.
//!
//! One task a socket: it reads, runs the operations and writes, so an idle socket costs a few kilobytes. Operations run beside each other;
//! what they send waits in a bounded [outbox]. Every operation verifies the socket's credentials again, since a role or a person may have
//! changed after `connection_init`; while a subscription runs, that is the subscription's own business.
//!
//! | close | when |
//! | --- | --- |
//! | 1001 | the server stops |
//! | 1002, 1009 | broken frames, a message too big |
//! | 1013 | the client does not read, has too many sockets, or the server cannot verify it now; too many without a viewer came from its address |
//! | 4400 | no message of the protocol |
//! | 4401 | an operation before the acknowledgement or without credentials; without credentials also for idling |
//! | 4403 | the credentials are refused, withdrawn or expired, or of someone in several workspaces who names none |
//! | 4406 | another sub-protocol |
//! | 4408, 4429 | `connection_init` does not come, or comes twice |
//! | 4409 | an operation under the id of one that runs |

mod message;
mod operations;
mod outbox;
mod session;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::SinkExt;
use tracing::Instrument;

use super::Transport;
use super::address::CallerAddress;
use super::credentials::named_workspace;
use super::graphql::IDEMPOTENCY_KEY;
use super::server::UnderWay;
use crate::graphql::RequestId;
use crate::telemetry::span;

const PROTOCOL: &str = "graphql-transport-ws";

/// Upgrades to a socket, unless a page of a stranger asks.
pub(super) fn enter(transport: Transport, upgrade: WebSocketUpgrade, request: &Parts) -> Response {
    if !transport.0.origins.admit(&request.headers) {
        return (StatusCode::FORBIDDEN, "This origin may not open sockets here.").into_response();
    }
    if request.headers.contains_key(IDEMPOTENCY_KEY) {
        let message = "A socket has no Idempotency-Key: each mutation names its own by extensions.idempotencyKey.";
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    let workspace = named_workspace(&request.headers);
    let limits = &transport.0.limits;
    let upgrade = upgrade
        .read_buffer_size(limits.socket_buffer_bytes)
        .write_buffer_size(limits.socket_buffer_bytes)
        .max_frame_size(limits.frame_bytes)
        .max_message_size(limits.frame_bytes)
        .protocols([PROTOCOL]);
    // As the protocol's reference server does: another sub-protocol is not echoed, and whoever comes in even so is told.
    let agreed = upgrade.selected_protocol().is_some();
    let entered = transport.0.tasks.enter("socket");
    let address = CallerAddress::of_request(&request.extensions);
    let under_way = request.extensions.get::<UnderWay>().cloned();
    let id = request.extensions.get::<RequestId>().copied().unwrap_or_else(|| transport.0.request_ids.next());
    upgrade.on_upgrade(move |socket| {
        let conversation = async move {
            let _entered = (entered, under_way);
            if agreed {
                session::run(transport, socket, workspace, address).await;
            } else {
                refuse(socket, Close::PROTOCOL).await;
            }
        };
        conversation.instrument(span::socket(id))
    })
}

async fn refuse(mut socket: WebSocket, close: Close) {
    // Whoever is gone already does not need to hear it.
    let _ = socket.send(close.into()).await;
    let _ = SinkExt::close(&mut socket).await;
}

/// Why the server closes a socket: the code and a reason for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Close(u16, &'static str);

impl Close {
    const STOPPING: Self = Self(1001, "Going away");
    const BROKEN: Self = Self(1002, "Protocol error");
    const TOO_BIG: Self = Self(1009, "Message too big");
    const SLOW: Self = Self(1013, "Too slow a reader");
    const TOO_MANY: Self = Self(1013, "Too many sockets");
    const TOO_OFTEN: Self = Self(1013, "Too many requests");
    const LATER: Self = Self(1013, "Try again later");
    const INVALID: Self = Self(4400, "Invalid message");
    const UNAUTHORIZED: Self = Self(4401, "Unauthorized");
    const FORBIDDEN: Self = Self(4403, "Forbidden");
    const WORKSPACE_UNNAMED: Self = Self(4403, "In several workspaces: name one as Patchbay-Workspace");
    const PROTOCOL: Self = Self(4406, "Subprotocol not acceptable");
    const INIT_TIMEOUT: Self = Self(4408, "Connection initialisation timeout");
    const DUPLICATE: Self = Self(4409, "Subscriber already exists");
    const INIT_TWICE: Self = Self(4429, "Too many initialisation requests");
}

impl From<Close> for Message {
    fn from(Close(code, reason): Close) -> Self {
        Self::Close(Some(CloseFrame { code, reason: reason.into() }))
    }
}

/// How a conversation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The client left, or is nowhere to be heard.
    Gone,
    /// The server closes.
    Close(Close),
}

impl From<Close> for Ending {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}
