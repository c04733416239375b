//! Asking providers about what is due. Each connector is worked off for itself: a provider that hangs holds up no other.

use std::{collections::HashSet, time::Instant};

use futures_util::{
    StreamExt,
    stream::{self, FuturesUnordered},
};
use tokio_util::sync::CancellationToken;

use super::Jobs;
use crate::{
    connections::{Due, Turn},
    error::Result,
};

impl Jobs {
    /// Works off what is due of every connector at each tick; of one that is still at it, when that is done. Ends after the
    /// turns that run when `stop` is cancelled.
    pub(super) async fn keep_asking(self, what: Due, stop: CancellationToken) {
        let (mut running, mut busy) = (FuturesUnordered::new(), HashSet::new());
        while !stop.is_cancelled() {
            // One that failed is logged.
            let due = self.due(what).await.unwrap_or_default();
            for connector in due.into_iter().filter(|connector| busy.insert(connector.clone())) {
                running.push(self.work_off(what, connector, &stop));
            }
            let tick = tokio::time::sleep(self.settings.tick);
            tokio::pin!(tick);
            loop {
                tokio::select! {
                    () = &mut tick => break,
                    () = stop.cancelled() => break,
                    Some((connector, _)) = running.next() => busy.remove(&connector),
                };
            }
        }
        while running.next().await.is_some() {}
    }

    /// The same, once, and to its end.
    pub(super) async fn ask_once(&self, what: Due) -> Result<()> {
        let (due, never) = (self.due(what).await?, CancellationToken::new());
        let at_once = due.len().max(1);
        let worked = stream::iter(due).map(|connector| self.work_off(what, connector, &never));
        let done: Vec<_> = worked.buffer_unordered(at_once).map(|(_, done)| done).collect().await;
        done.into_iter().collect()
    }

    /// The connectors of which something is due. Where there are none, that was the round.
    async fn due(&self, what: Due) -> Result<Vec<String>> {
        let begun = Instant::now();
        let due = self.connections.due_connectors(what).await;
        if due.as_ref().map_or(true, Vec::is_empty) {
            self.ended(what, begun, &due);
        }
        due
    }

    /// Takes turn after turn until nothing of the connector is due.
    async fn work_off(&self, what: Due, connector: String, stop: &CancellationToken) -> (String, Result<()>) {
        let begun = Instant::now();
        let done = self.take_turns(what, &connector, stop).await;
        self.ended(what, begun, &done);
        (connector, done)
    }

    fn ended<T>(&self, what: Due, begun: Instant, done: &Result<T>) {
        self.telemetry.round(what.job(), begun.elapsed(), done.is_err());
        if let Err(error) = done {
            tracing::error!(job = what.job(), ?error, "a job failed; it is tried again");
        }
    }

    async fn take_turns(&self, what: Due, connector: &str, stop: &CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            match self.connections.take_turn(what, connector).await? {
                Turn::Idle => break,
                Turn::Worked { failed } => (0..failed).for_each(|_| self.telemetry.failed(what.job())),
            }
        }
        Ok(())
    }
}
