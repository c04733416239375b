//! One socket's conversation, from its first message to its close.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::message::{self, Id, Incoming};
use super::operations::Operations;
use super::outbox::Outbox;
use super::{Close, Ending};
use crate::access::Viewer;
use crate::error::Error;
use crate::graphql::{Event, RawRequest, Refusal};
use crate::http::address::CallerAddress;
use crate::http::credentials::Credentials;
use crate::http::observed;
use crate::http::quota::CountedBy;
use crate::http::{Transport, ViewerSeat};
use crate::telemetry::span;

type Sink = SplitSink<WebSocket, Message>;
type Source = SplitStream<WebSocket>;

/// Talks until either side has had enough.
pub(super) async fn run(transport: Transport, socket: WebSocket, workspace: Option<Uuid>, address: CallerAddress) {
    let (patience, begun) = (transport.0.limits.farewell, std::time::Instant::now());
    let _counted = transport.0.telemetry.sockets.open();
    tracing::info!("a socket opened");
    let (mut sink, mut source) = socket.split();
    let mut session = Session::new(transport, workspace, address);
    let ending = session.talk(&mut sink, &mut source).await;
    let close = match ending {
        Ending::Close(Close(code, _)) => Some(code),
        Ending::Gone => None,
    };
    tracing::info!(close, duration_ms = observed::milliseconds(begun), "a socket closed");
    let mut outbox = session.leave();
    // Whoever does not take the farewell in time is left without.
    let _ = match ending {
        Ending::Close(close) => {
            outbox.close(close);
            timeout(patience, farewell(&mut outbox, &mut sink, &mut source)).await
        }
        // A close that came is answered with one (RFC 6455 §5.5.1).
        Ending::Gone => timeout(patience, async { drop(sink.close().await) }).await,
    };
}

async fn farewell(outbox: &mut Outbox, sink: &mut Sink, source: &mut Source) {
    if poll_fn(|context| outbox.poll_drain(sink, context)).await.is_ok() {
        while let Some(Ok(_)) = source.next().await {}
    }
}

/// Whose socket it is.
enum Standing {
    /// Nobody said `connection_init` yet.
    Silent,
    /// Its credentials are being verified.
    Verifying(BoxFuture<'static, Result<Admission, Close>>),
    /// It was acknowledged without credentials.
    Nobody,
    Admitted(Arc<Admission>),
}

/// A verified viewer, who holds one of their seats.
struct Admission {
    credentials: Credentials,
    viewer: Viewer,
    _seat: ViewerSeat,
}

struct Session {
    transport: Transport,
    /// The workspace that the upgrade named.
    workspace: Option<Uuid>,
    address: CallerAddress,
    standing: Standing,
    operations: Operations,
    outbox: Outbox,
    /// When the present standing ends the conversation: nobody can stay, a token expires.
    deadline: Option<Instant>,
    next_ping: Instant,
    last_heard: Instant,
}

impl Session {
    fn new(transport: Transport, workspace: Option<Uuid>, address: CallerAddress) -> Self {
        let now = Instant::now();
        let limits = &transport.0.limits;
        Self {
            standing: Standing::Silent,
            operations: Operations::default(),
            outbox: Outbox::new(limits),
            deadline: Some(now + limits.init_timeout),
            next_ping: now + limits.ping_interval,
            last_heard: now,
            transport,
            workspace,
            address,
        }
    }

    /// Ends every operation and gives the seat back; what waits to be written is left.
    fn leave(self) -> Outbox {
        self.outbox
    }

    async fn talk(&mut self, sink: &mut Sink, source: &mut Source) -> Ending {
        let stop = self.transport.0.stop.clone();
        let wake = sleep_until(self.next_wake());
        tokio::pin!(wake);
        loop {
            // A socket with always something to do would otherwise keep its thread from the others.
            tokio::task::coop::consume_budget().await;
            wake.as_mut().reset(self.next_wake());
            let turn = tokio::select! {
                () = stop.cancelled() => Err(Close::STOPPING.into()),
                () = &mut wake => self.on_time(Instant::now()),
                drained = poll_fn(|context| self.outbox.poll_drain(sink, context)), if self.outbox.is_busy() => drained,
                verified = verified(&mut self.standing) => self.admit(verified),
                received = source.next(), if !self.outbox.is_full() => self.on_frame(received),
                Some((id, event)) = self.operations.next(), if !self.outbox.is_full() => self.on_event(&id, event),
            };
            if let Err(ending) = turn {
                return ending;
            }
        }
    }

    fn next_wake(&self) -> Instant {
        [self.deadline, self.outbox.gives_up_at()].into_iter().flatten().fold(self.next_ping, Instant::min)
    }

    fn on_time(&mut self, now: Instant) -> Result<(), Ending> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(match self.standing {
                Standing::Silent | Standing::Verifying(_) => Close::INIT_TIMEOUT,
                Standing::Nobody => Close::UNAUTHORIZED,
                Standing::Admitted(_) => Close::FORBIDDEN,
            }
            .into());
        }
        if self.outbox.gives_up_at().is_some_and(|end| end <= now) {
            return Err(Close::SLOW.into());
        }
        if self.next_ping <= now {
            let interval = self.transport.0.limits.ping_interval;
            if now.duration_since(self.last_heard) >= interval * 2 {
                return Err(Ending::Gone);
            }
            self.next_ping = now + interval;
            self.outbox.push(Message::Ping(Default::default()));
        }
        Ok(())
    }

    fn on_frame(&mut self, received: Option<Result<Message, axum::Error>>) -> Result<(), Ending> {
        self.last_heard = Instant::now();
        match received {
            Some(Ok(Message::Text(text))) => match Incoming::parse(&text) {
                Some(message) => self.on_message(message),
                None => Err(Close::INVALID.into()),
            },
            Some(Ok(Message::Binary(_))) => Err(Close::INVALID.into()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_))) | None => Err(Ending::Gone),
            Some(Err(error)) => Err(unreadable(error)),
        }
    }

    fn on_message(&mut self, message: Incoming) -> Result<(), Ending> {
        match message {
            Incoming::Init { payload } => self.init(&payload),
            Incoming::Subscribe { id, request } => self.start(id, request),
            Incoming::Complete { id } => {
                self.operations.cancel(&id);
                Ok(())
            }
            Incoming::Ping => self.say(message::pong()),
            Incoming::Pong => Ok(()),
        }
    }

    fn say(&mut self, message: String) -> Result<(), Ending> {
        self.outbox.push(Message::text(message));
        Ok(())
    }

    fn init(&mut self, payload: &Value) -> Result<(), Ending> {
        if !matches!(self.standing, Standing::Silent) {
            return Err(Close::INIT_TWICE.into());
        }
        match Credentials::of_payload(payload, self.workspace) {
            Err(error) => Err(refused(&self.transport, error, self.address).into()),
            Ok(Some(credentials)) => {
                self.standing = Standing::Verifying(verify(self.transport.clone(), credentials, self.address).boxed());
                Ok(())
            }
            Ok(None) => {
                let counted = self.transport.count(CountedBy::Address(self.address), 1);
                counted.map_err(|_| Close::TOO_OFTEN)?;
                self.standing = Standing::Nobody;
                self.deadline = Some(Instant::now() + self.transport.0.limits.init_timeout);
                self.say(message::ack())
            }
        }
    }

    fn admit(&mut self, verified: Result<Admission, Close>) -> Result<(), Ending> {
        let admission = verified?;
        observed::record(&admission.viewer);
        self.deadline = self.transport.time_left(&admission.viewer).map(|left| Instant::now() + left);
        self.standing = Standing::Admitted(Arc::new(admission));
        self.say(message::ack())
    }

    fn start(&mut self, id: Id, request: Value) -> Result<(), Ending> {
        let Standing::Admitted(admission) = &self.standing else { return Err(Close::UNAUTHORIZED.into()) };
        if self.operations.has(&id) {
            return Err(Close::DUPLICATE.into());
        }
        let Ok(request) = RawRequest::from_json(request) else { return Err(Close::INVALID.into()) };
        if let Err(error) = self.within_limits(&admission.viewer) {
            let refusal = Refusal::because(error, self.transport.0.request_ids.next());
            return self.on_event(&id, Event::refused(refusal));
        }
        self.operations.start(id, operation(self.transport.clone(), Arc::clone(admission), request));
        Ok(())
    }

    fn within_limits(&self, viewer: &Viewer) -> Result<(), Error> {
        if self.operations.len() >= self.transport.0.limits.subscriptions_per_socket {
            return Err(Error::RateLimited { retry_after_seconds: 1 });
        }
        self.transport.count(CountedBy::Viewer(viewer.principal()), 1)
    }

    fn on_event(&mut self, id: &Id, event: Event) -> Result<(), Ending> {
        if let Standing::Admitted(admission) = &self.standing
            && self.transport.has_expired(&admission.viewer)
        {
            return Err(Close::FORBIDDEN.into());
        }
        match event {
            Event::Next(payload) => self.say(message::next(id, payload)),
            Event::Error(errors) => self.say(message::error(id, errors)),
            Event::Unauthorized => Err(Close::FORBIDDEN.into()),
            Event::Complete => self.say(message::complete(id)),
        }
    }
}

/// Waits for the verification, if one is under way.
async fn verified(standing: &mut Standing) -> Result<Admission, Close> {
    match standing {
        Standing::Verifying(verification) => verification.await,
        _ => std::future::pending().await,
    }
}

/// Counts credentials that were refused, by where they came from.
fn refused(transport: &Transport, error: Error, address: CallerAddress) -> Close {
    match transport.count_refused(error, address) {
        Error::RateLimited { .. } => Close::TOO_OFTEN,
        _ => Close::FORBIDDEN,
    }
}

async fn verify(transport: Transport, credentials: Credentials, address: CallerAddress) -> Result<Admission, Close> {
    let viewer = match credentials.verify(&transport.0.authenticator).await {
        Ok(viewer) => viewer,
        Err(error @ (Error::Unauthenticated | Error::Forbidden)) => return Err(refused(&transport, error, address)),
        Err(Error::WorkspaceUnnamed) => return Err(Close::WORKSPACE_UNNAMED),
        Err(error) => {
            Refusal::because(error, transport.0.request_ids.next()); // Logs what is internal.
            return Err(Close::LATER);
        }
    };
    match transport.seat(&viewer) {
        Some(seat) => Ok(Admission { credentials, viewer, _seat: seat }),
        None => Err(Close::TOO_MANY),
    }
}

/// The events of one operation, for whoever the socket's credentials are good for now.
fn operation(transport: Transport, admission: Arc<Admission>, request: RawRequest) -> BoxStream<'static, Event> {
    let id = transport.0.request_ids.next();
    let observed = Observed { span: span::operation(id), begun: std::time::Instant::now() };
    let begin = async move {
        let viewer = match admission.credentials.verify(&transport.0.authenticator).await {
            Ok(viewer) => viewer,
            Err(error) => return only(Event::refused(Refusal::because(error, id))),
        };
        observed::record(&viewer);
        match transport.prepare(CountedBy::Viewer(viewer.principal()), request, id) {
            Ok(prepared) => transport.0.api.run(&viewer, prepared),
            Err(refusal) => {
                span::record_code(refusal.code());
                only(Event::refused(refusal))
            }
        }
    };
    // Boxed, so that what it took to begin is freed while the operation goes on.
    let mut events = stream::once(begin.boxed()).flatten().boxed();
    stream::poll_fn(move |context| observed.span.in_scope(|| events.poll_next_unpin(context))).boxed()
}

/// An operation in its span, with one line in the log when it is over, whoever ends it.
struct Observed {
    span: tracing::Span,
    begun: std::time::Instant,
}

impl Drop for Observed {
    fn drop(&mut self) {
        let duration_ms = observed::milliseconds(self.begun);
        self.span.in_scope(|| tracing::info!(duration_ms, "answered, over a socket"));
    }
}

fn only(event: Event) -> BoxStream<'static, Event> {
    stream::iter([event]).boxed()
}

/// A frame that is no frame, or too big; anything else is a client that left.
fn unreadable(error: axum::Error) -> Ending {
    match error.into_inner().downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => Close::TOO_BIG.into(),
        Some(tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
            Ending::Gone
        }
        Some(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => Close::BROKEN.into(),
        _ => Ending::Gone,
    }
}

impl Transport {
    /// How long the viewer's token is still good; none when it does not end.
    pub(in crate::http) fn time_left(&self, viewer: &Viewer) -> Option<Duration> {
        let left = viewer.expires_at()? - self.0.clock.now();
        Some(left.to_std().unwrap_or_default())
    }

    /// Whether the viewer's token has ended.
    pub(in crate::http) fn has_expired(&self, viewer: &Viewer) -> bool {
        viewer.expires_at().is_some_and(|end| end <= self.0.clock.now())
    }

    /// Waits until the viewer's token ends; for ever when it does not.
    pub(in crate::http) async fn until_expiry(&self, viewer: &Viewer) {
        match self.time_left(viewer) {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    }
}
