//! Asking providers about what is due. Each connector is worked off for itself: a provider that hangs holds up no other.

use std::{collections::HashSet, time::Instant};

use futures_util::{
    FutureExt, StreamExt,
    stream::{self, FuturesUnordered},
};
use tokio_util::sync::CancellationToken;

use super::Jobs;
use crate::{
    connections::{Batch, Due},
    datasets,
    db::beside,
    error::Result,
    tasks::round_limit,
};

/// What is asked of providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    Connections(Due),
    Datasets,
}

impl Asking {
    pub(super) const ALL: [Self; 4] = [
        Self::Connections(Due::Renewal),
        Self::Connections(Due::Probe),
        Self::Connections(Due::Accounts),
        Self::Datasets,
    ];

    pub(super) fn job(self) -> &'static str {
        match self {
            Self::Connections(what) => what.job(),
            Self::Datasets => datasets::JOB,
        }
    }
}

impl Jobs {
    /// Works off what is due of every connector at each tick; of one that is still at it, when that is done. Ends after the
    /// batches that run when `stop` is cancelled.
    pub(super) async fn keep_asking(self, what: Asking, stop: CancellationToken) {
        // Tasks, not futures of this one: what they have begun must go on while this waits for the database.
        let mut running = FuturesUnordered::new();
        let mut busy: HashSet<String> = HashSet::new();
        let mut rounds = self.tasks.watch(what.job(), round_limit(self.settings.tick));
        while !stop.is_cancelled() {
            // One that failed is logged.
            for connector in rounds.round(self.due(what)).await.and_then(Result::ok).unwrap_or_default() {
                if busy.insert(connector.clone()) {
                    let work = self.clone().work_off(what, connector.clone(), stop.clone());
                    running.push(self.tasks.spawn(what.job(), work).map(|_| connector));
                }
            }
            let tick = tokio::time::sleep(self.settings.tick);
            tokio::pin!(tick);
            loop {
                tokio::select! {
                    () = &mut tick => break,
                    () = stop.cancelled() => break,
                    Some(done) = running.next() => {
                        busy.remove(&done);
                    }
                }
            }
        }
        self.connections.stop_asking();
        while running.next().await.is_some() {}
    }

    /// The same, once, and to its end.
    pub(super) async fn ask_once(&self, what: Asking) -> Result<()> {
        let due = self.due(what).await?;
        let at_once = due.len().max(1);
        let worked =
            stream::iter(due).map(|connector| beside(self.clone().work_off(what, connector, CancellationToken::new())));
        let done: Vec<Result<()>> = worked.buffer_unordered(at_once).collect().await;
        done.into_iter().collect()
    }

    /// The connectors of which something is due. Where there are none, that was the round.
    async fn due(&self, what: Asking) -> Result<Vec<String>> {
        let begun = Instant::now();
        let due = match what {
            Asking::Connections(what) => self.connections.due_connectors(what).await,
            Asking::Datasets => self.datasets.due_connectors().await,
        };
        if due.as_ref().map_or(true, Vec::is_empty) {
            self.ended(what, begun, &due);
        }
        due
    }

    /// Takes batch after batch until nothing of the connector is due, or all is to stop.
    async fn work_off(self, what: Asking, connector: String, stop: CancellationToken) -> Result<()> {
        let begun = Instant::now();
        let done = self.take_batches(what, &connector, &stop).await;
        self.ended(what, begun, &done);
        done
    }

    fn ended<T>(&self, what: Asking, begun: Instant, done: &Result<T>) {
        self.telemetry.round(what.job(), begun.elapsed(), done.is_err());
        if let Err(error) = done {
            tracing::error!(job = what.job(), ?error, "a job failed; it is tried again");
        }
    }

    async fn take_batches(&self, what: Asking, connector: &str, stop: &CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            let batch = match what {
                Asking::Connections(what) => self.connections.take_batch(what, connector).await?,
                Asking::Datasets => self.datasets.take_batch(connector).await?,
            };
            match batch {
                Batch::Empty => break,
                Batch::Worked { failed } => self.telemetry.failed(what.job(), failed),
            }
        }
        Ok(())
    }
}
