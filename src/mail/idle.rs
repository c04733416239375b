//! Connections between two letters, so that those of one morning need not connect and sign in each for itself.
//!
//! lettre's own pool keeps a connection on which a letter was given up in the middle, and takes the late answers on it
//! for those to the next letter; here only one that has just taken a letter is kept.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use tokio::time::{Instant, sleep, timeout};

use crate::tasks::Tasks;

/// How many are kept.
const MOST: usize = 4;
/// How long one is kept. Servers wait for five minutes (RFC 5321 §4.5.3.2.7), some for less.
const IDLE: Duration = Duration::from_secs(30);
/// How long it may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

pub(super) struct Idle {
    tasks: Tasks,
    connections: Mutex<Vec<(Instant, AsyncSmtpConnection)>>,
}

impl Idle {
    pub(super) fn new(tasks: Tasks) -> Arc<Self> {
        Arc::new(Self { tasks, connections: Mutex::default() })
    }

    /// The one that was used last. It may have been closed meanwhile.
    pub(super) fn take(&self) -> Option<AsyncSmtpConnection> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).pop().map(|(_, connection)| connection)
    }

    /// Keeps `connection` for a while.
    pub(super) fn keep(self: &Arc<Self>, connection: AsyncSmtpConnection) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.push((Instant::now(), connection));
        let too_many = connections.len() > MOST;
        let oldest = too_many.then(|| connections.remove(0).1);
        drop(connections);
        if let Some(oldest) = oldest {
            self.leave(oldest);
        }
        let idle = Arc::downgrade(self);
        let waiting = self.tasks.beside("idle mail connection", async move {
            sleep(IDLE).await;
            if let Some(idle) = idle.upgrade() {
                idle.leave_old();
            }
        });
        waiting.detach();
    }

    /// Says goodbye on all of them.
    pub(super) async fn close(&self) {
        let connections = std::mem::take(&mut *self.connections.lock().unwrap_or_else(PoisonError::into_inner));
        join_all(connections.into_iter().map(|(_, connection)| say_goodbye(connection))).await;
    }

    fn leave_old(&self) {
        let now = Instant::now();
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let old = connections.extract_if(.., |(since, _)| now.duration_since(*since) >= IDLE);
        old.for_each(|(_, connection)| self.leave(connection));
    }

    /// Says goodbye, in the background.
    pub(super) fn leave(&self, connection: AsyncSmtpConnection) {
        self.tasks.beside("goodbye to a mail server", say_goodbye(connection)).detach();
    }
}

async fn say_goodbye(mut connection: AsyncSmtpConnection) {
    // Whether or not the server answers, the connection ends here.
    let _ = timeout(GOODBYE, connection.abort()).await;
}
