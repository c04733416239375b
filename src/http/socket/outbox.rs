//! What waits to be written to a socket, within bounds.
//!
//! While the outbox is full the socket neither reads nor runs its operations, so whoever reads at their own pace gets everything; who
//! takes nothing for a while is closed. The message being written is not counted, so one answer may be of any size.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::ws::Message;
use futures_util::Sink;
use tokio::time::Instant;

use super::{Close, Ending};
use crate::config::Limits;

/// Room that an idle outbox keeps, in messages.
const LITTLE: usize = 8;

/// Messages in order.
pub(super) struct Outbox {
    waiting: VecDeque<Message>,
    bytes: usize,
    /// Since when nothing was taken from a full outbox.
    full_since: Option<Instant>,
    unflushed: bool,
    most_messages: usize,
    most_bytes: usize,
    patience: Duration,
}

impl Outbox {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            full_since: None,
            unflushed: false,
            most_messages: limits.outbox_messages,
            most_bytes: limits.outbox_bytes,
            patience: limits.read_timeout,
        }
    }

    /// Adds a message. A full outbox takes it too: it is for the socket not to produce more.
    pub(super) fn push(&mut self, message: impl Into<Message>) {
        let message = message.into();
        self.bytes += size(&message);
        self.waiting.push_back(message);
        if self.is_full() {
            self.full_since.get_or_insert_with(Instant::now);
        }
    }

    /// Whether nothing should be added until something is taken.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.most_messages || self.bytes >= self.most_bytes
    }

    /// When the client counts as one that does not read, unless it takes something before.
    pub(super) fn gives_up_at(&self) -> Option<Instant> {
        self.full_since.map(|since| since + self.patience)
    }

    /// Adds the farewell. What waits is left out for who does not read, and for who may not see it any longer.
    pub(super) fn close(&mut self, close: Close) {
        if matches!(close, Close::SLOW | Close::FORBIDDEN) {
            self.waiting.clear();
        }
        self.waiting.push_back(close.into());
    }

    /// Whether there is something to write.
    pub(super) fn is_busy(&self) -> bool {
        self.unflushed || !self.waiting.is_empty()
    }

    /// Writes what waits. It can be dropped and polled again without losing a message.
    pub(super) fn poll_drain<S>(&mut self, sink: &mut S, context: &mut Context<'_>) -> Poll<Result<(), Ending>>
    where
        S: Sink<Message> + Unpin,
    {
        self.drain(Pin::new(sink), context).map_err(|_| Ending::Gone)
    }

    fn drain<S>(&mut self, mut sink: Pin<&mut S>, context: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Sink<Message>,
    {
        while !self.waiting.is_empty() {
            ready!(sink.as_mut().poll_ready(context))?;
            if let Some(message) = self.waiting.pop_front() {
                self.bytes = self.bytes.saturating_sub(size(&message));
                self.full_since = self.is_full().then(Instant::now);
                self.unflushed = true;
                sink.as_mut().start_send(message)?;
            }
        }
        if self.waiting.capacity() > LITTLE {
            self.waiting.shrink_to(LITTLE); // After a burst an idle socket is small again.
        }
        ready!(sink.as_mut().poll_flush(context))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }
}

fn size(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}
