//! How long a connection may be open without a request: until the head of its first one, and between two.
//!
//! A request is under way from its head to the end of its answer, or of the socket that it became; as long as one is, no
//! deadline of a connection runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Version;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// The requests of one connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Conversation(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: Notify,
    /// Whether the stream was handed over to a socket, which has deadlines of its own.
    handed_over: AtomicBool,
    header_timeout: Duration,
    idle_timeout: Duration,
}

struct State {
    under_way: usize,
    /// The version of the last request; none before the first.
    version: Option<Version>,
    /// Since when no request is under way.
    quiet_since: Instant,
    /// When the first byte came since.
    heard_at: Option<Instant>,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// A request did not come, or not in whole.
    Unfinished,
    /// There was no other request for long.
    Idle,
}

impl State {
    /// When the connection is closed, and why; none while a request is under way.
    fn deadline(&self, header_timeout: Duration, idle_timeout: Duration) -> Option<(Instant, Expiry)> {
        if self.under_way > 0 {
            return None;
        }
        // Over HTTP/2 bytes need not be a request's: the answers to pings, for one.
        Some(match (self.version, self.heard_at) {
            (None, _) => (self.quiet_since + header_timeout, Expiry::Unfinished),
            (Some(version), Some(heard_at)) if version < Version::HTTP_2 => {
                (heard_at + header_timeout, Expiry::Unfinished)
            }
            _ => (self.quiet_since + idle_timeout, Expiry::Idle),
        })
    }
}

impl Conversation {
    pub(super) fn new(header_timeout: Duration, idle_timeout: Duration) -> Self {
        let state = State { under_way: 0, version: None, quiet_since: Instant::now(), heard_at: None };
        let (state, changed, handed_over) = (Mutex::new(state), Notify::new(), AtomicBool::new(false));
        Self(Arc::new(Inner { state, changed, handed_over, header_timeout, idle_timeout }))
    }

    /// A request came.
    pub(super) fn begin(&self, version: Version) -> UnderWay {
        let mut state = self.state();
        state.under_way += 1;
        state.version = Some(version);
        UnderWay(Arc::new(Guard(self.clone())))
    }

    /// Bytes came.
    pub(super) fn hear(&self) {
        let mut state = self.state();
        if state.under_way == 0 && state.heard_at.is_none() {
            state.heard_at = Some(Instant::now());
            self.0.changed.notify_one();
        }
    }

    /// Returns when the connection was without a request for too long.
    pub(super) async fn expires(&self) -> Expiry {
        loop {
            let deadline = self.state().deadline(self.0.header_timeout, self.0.idle_timeout);
            let Some((at, expiry)) = deadline else {
                self.0.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.0.changed.notified() => continue,
            }
            if self.state().deadline(self.0.header_timeout, self.0.idle_timeout) == deadline {
                return expiry;
            }
        }
    }

    /// Returns when `farewell` has passed, and no request is under way any more.
    pub(super) async fn leaves(&self, farewell: Duration) {
        loop {
            sleep(farewell).await;
            if self.state().under_way == 0 {
                return;
            }
        }
    }

    /// HTTP is over on this stream.
    pub(super) fn hand_over(&self) {
        self.0.handed_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_handed_over(&self) -> bool {
        self.0.handed_over.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is under way until the last of its clones is dropped. Handlers find it as an extension: what outlives the
/// answer, a websocket, keeps one.
#[derive(Clone)]
pub(in crate::http) struct UnderWay(#[expect(dead_code, reason = "it is dropped")] Arc<Guard>);

struct Guard(Conversation);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        if state.under_way == 0 {
            (state.quiet_since, state.heard_at) = (Instant::now(), None);
            self.0.0.changed.notify_one();
        }
    }
}
