//! Serves HTTP on a listener: like `axum::serve`, with a deadline for request heads.
//!
//! `axum::serve` gives hyper no timer, and without one hyper waits for the end of a request's head for ever: a few thousand clients that
//! send a byte now and then would hold every file descriptor. The body's deadline is the handlers' business, who know how large it may be.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// How long to wait after `accept` failed, mostly for want of file descriptors.
const BREATH: Duration = Duration::from_millis(500);

/// Serves until `stop` is cancelled, then finishes the requests that run and returns. Sockets are closed by whoever opened them.
#[expect(clippy::disallowed_methods, reason = "conversations with peers, which it waits for itself")]
pub async fn serve(listener: TcpListener, router: Router, header_timeout: Duration, stop: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    // Websockets over HTTP/2 (RFC 8441); a silent peer is found by pings.
    builder.http2().timer(TokioTimer::new()).enable_connect_protocol().keep_alive_interval(header_timeout);
    let requests = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                requests.spawn(converse(stream, router.clone(), builder.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    requests.close();
    requests.wait().await;
}

/// Answers the requests of one peer.
async fn converse(stream: TcpStream, router: Router, builder: Builder<TokioExecutor>, stop: CancellationToken) {
    // Answers are small and waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let service =
        TowerToHyperService::new(router.map_request(|request: Request<Incoming>| request.map(axum::body::Body::new)));
    let mut conversation = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = conversation.as_mut() => outcome,
        () = stop.cancelled() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error = error.to_string(), "a peer left in the middle");
    }
}
