//! The body of an answer. Over HTTP/2 its stream is cut when its reader takes nothing of it, and the other streams of the
//! connection go on: they may be other people's, behind one proxy.
//!
//! Over HTTP/1 the stream of the peer is enough (`peer_stream.rs`). Over HTTP/2 the peer may take everything but leave one
//! stream's window shut (RFC 9113 §5.2). hyper then waits in the stream's task and does not ask the body, so the task is what
//! ends.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::conversation::UnderWay;

/// The most bytes given to an HTTP/2 stream at once: what a reader has to take within the timeout.
const PIECE: usize = 4 * 1024;

tokio::task_local! {
    /// The reader of the HTTP/2 stream whose task runs.
    static READER: Arc<Reader>;
}

/// Whether somebody takes what an HTTP/2 stream was given.
#[derive(Default)]
struct Reader {
    /// When the piece was given that was not taken yet.
    given_at: Mutex<Option<Instant>>,
    given: Notify,
}

impl Reader {
    fn give(&self) {
        *self.given_at() = Some(Instant::now());
        self.given.notify_one();
    }

    fn take(&self) {
        *self.given_at() = None;
    }

    /// Returns when a piece was not taken for `read_timeout`.
    async fn stalls(&self, read_timeout: Duration) {
        loop {
            let given_at = *self.given_at();
            match given_at {
                None => self.given.notified().await,
                Some(at) => {
                    sleep_until(at + read_timeout).await;
                    if *self.given_at() == given_at {
                        return;
                    }
                }
            }
        }
    }

    fn given_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.given_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the tasks of HTTP/2 streams, each until its reader takes nothing.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    read_timeout: Duration,
    streams: TaskTracker,
}

impl StreamExecutor {
    pub(super) fn new(read_timeout: Duration, streams: TaskTracker) -> Self {
        Self { read_timeout, streams }
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "the server waits for it")]
    fn execute(&self, stream: F) {
        let reader = Arc::new(Reader::default());
        let read_timeout = self.read_timeout;
        let answering = READER.scope(reader.clone(), stream);
        self.streams.spawn(async move {
            tokio::select! {
                () = answering => {}
                () = reader.stalls(read_timeout) => tracing::debug!("an answer that is not read was cut"),
            }
        });
    }
}

/// The body of an answer; its request is under way until it is dropped.
pub(super) struct AnswerBody {
    body: Body,
    /// What is left of a frame that was larger than a piece.
    rest: Bytes,
    /// None over HTTP/1.
    reader: Option<Arc<Reader>>,
    _under_way: UnderWay,
}

impl AnswerBody {
    /// To be called in the task that answers.
    pub(super) fn new(body: Body, under_way: UnderWay) -> Self {
        let reader = READER.try_with(Arc::clone).ok();
        Self { body, rest: Bytes::new(), reader, _under_way: under_way }
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(reader) = &this.reader else { return Pin::new(&mut this.body).poll_frame(context) };
        reader.take();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        reader.give();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut all = SizeHint::new();
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + rest);
        }
        all.set_lower(hint.lower() + rest);
        all
    }
}
