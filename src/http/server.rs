//! Serves HTTP on a listener: like `axum::serve`, with an end to what peers leave undone.
//!
//! `axum::serve` waits without end for a peer that says nothing and for one that reads nothing: a few hundred of them would
//! hold every file descriptor. The deadline of a request's body is the handlers' business, who know how large it may be.
//!
//! | file | owns |
//! | --- | --- |
//! | `admission.rs` | how many connections are open at once, of one address and in all |
//! | `conversation.rs` | how long a connection may be open without a request |
//! | `peer_stream.rs` | the TCP stream, cut when its peer takes nothing |
//! | `answer_body.rs` | the body of an answer, and its HTTP/2 stream, cut when nothing of it is taken |

mod admission;
mod answer_body;
mod conversation;
mod peer_stream;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use self::admission::{Admission, Admitted};
use self::answer_body::{AnswerBody, StreamExecutor};
use self::conversation::{Conversation, Expiry};
use self::peer_stream::PeerStream;
use super::address::CallerAddress;
use crate::config::{Limits, TrustedProxies};

pub(super) use self::conversation::UnderWay;

/// How long to wait after `accept` failed, mostly for want of file descriptors.
const BREATH: Duration = Duration::from_millis(500);
/// How often the log says that connections are refused.
const COMPLAINT: Duration = Duration::from_secs(60);

/// Serves until `stop` is cancelled, then finishes the requests that run and returns. Sockets are closed by whoever opened
/// them. What is beyond the caps of connections is closed at once.
#[expect(clippy::disallowed_methods, reason = "conversations with peers, which it waits for itself")]
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    proxies: &TrustedProxies,
    stop: CancellationToken,
) {
    let conversations = TaskTracker::new();
    let admission = Admission::new(limits, proxies);
    let server = Server::new(router, limits, proxies, &conversations);
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => match admission.admit(peer.ip()) {
                Some(admitted) => {
                    conversations.spawn(server.clone().converse(stream, peer, admitted, stop.clone()));
                }
                None if complained.is_none_or(|at| at.elapsed() > COMPLAINT) => {
                    complained = Some(Instant::now());
                    tracing::warn!("there are as many connections as there may be; more are closed at once");
                }
                None => {}
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    conversations.close();
    conversations.wait().await;
}

/// What every conversation needs.
#[derive(Clone)]
struct Server {
    router: Router,
    builder: Builder<StreamExecutor>,
    proxies: TrustedProxies,
    header_timeout: Duration,
    idle_timeout: Duration,
    read_timeout: Duration,
    farewell: Duration,
}

impl Server {
    fn new(router: Router, limits: &Limits, proxies: &TrustedProxies, streams: &TaskTracker) -> Self {
        let mut builder = Builder::new(StreamExecutor::new(limits.read_timeout, streams.clone()));
        // The conversation has the deadlines of heads, since this one begins only after the first bytes.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
        // Websockets over HTTP/2 (RFC 8441); a silent peer is found by pings.
        builder.http2().timer(TokioTimer::new()).enable_connect_protocol().keep_alive_interval(limits.header_timeout);
        let (header_timeout, idle_timeout) = (limits.header_timeout, limits.idle_timeout);
        let (read_timeout, farewell) = (limits.read_timeout, limits.farewell);
        Self { router, builder, proxies: proxies.clone(), header_timeout, idle_timeout, read_timeout, farewell }
    }

    /// Answers the requests of one peer.
    async fn converse(self, stream: TcpStream, peer: SocketAddr, admitted: Admitted, stop: CancellationToken) {
        peer_stream::tune(&stream);
        let conversation = Conversation::new(self.header_timeout, self.idle_timeout);
        let stream = PeerStream::new(stream, conversation.clone(), self.read_timeout, admitted);
        let service = {
            let (server, conversation) = (self.clone(), conversation.clone());
            service_fn(move |request| server.answer(request, peer.ip(), &conversation))
        };
        let mut serving = pin!(self.builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let outcome = tokio::select! {
            outcome = serving.as_mut() => outcome,
            expiry = conversation.expires() => match expiry {
                Expiry::Unfinished => return,
                Expiry::Idle => {
                    serving.as_mut().graceful_shutdown();
                    tokio::select! {
                        outcome = serving.as_mut() => outcome,
                        () = conversation.leaves(self.farewell) => return,
                    }
                }
            },
            () = stop.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        conversation.hand_over();
        if let Err(error) = outcome {
            tracing::debug!(error = error.to_string(), "a peer left in the middle");
        }
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        conversation: &Conversation,
    ) -> impl Future<Output = Result<hyper::Response<AnswerBody>, Infallible>> + Send + use<> {
        let under_way = conversation.begin(request.version());
        let mut request = request.map(Body::new);
        let address = CallerAddress::of(peer, request.headers(), &self.proxies);
        request.extensions_mut().insert(address);
        request.extensions_mut().insert(under_way.clone());
        let answering = self.router.clone().oneshot(request);
        async move { Ok(answering.await?.map(|body| AnswerBody::new(body, under_way))) }
    }
}
