//! Reconcilers: what is due is done, in the background.
//!
//! A job carries no input: at each tick it looks for rows that are due, claims them, and brings them to where they
//! should be, so that a lost tick, a crash or a second node changes nothing. Jobs run beside each other; one that fails
//! is tried again at the next tick. What is done to a row is for the rooms that own it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use entity::Topic;
use futures_util::{StreamExt, stream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    connections::{Connections, Due},
    error::Result,
    graphql::KeptAnswers,
    journal::Journal,
    telemetry,
};

/// How many rows a job takes at once.
const BATCH: u64 = 100;
/// How many of them it works on at a time.
const AT_A_TIME: usize = 16;
/// How often what was kept long enough is swept.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// The background work of a server; cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    connections: Connections,
    journal: Journal,
    kept_answers: KeptAnswers,
    settings: Arc<Settings>,
    telemetry: telemetry::Jobs,
}

/// What of the configuration concerns jobs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often to look for what is due.
    pub tick: Duration,
    /// How long each topic of the journal is kept.
    pub keep: Vec<(Topic, TimeDelta)>,
}

/// The jobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    RenewTokens,
    Probe,
    ProbeAccounts,
    WarnOfEnds,
    ExpireAttempts,
    SweepJournal,
    SweepAnswers,
}

impl Job {
    const ALL: [Self; 7] = [
        Self::RenewTokens,
        Self::Probe,
        Self::ProbeAccounts,
        Self::WarnOfEnds,
        Self::ExpireAttempts,
        Self::SweepJournal,
        Self::SweepAnswers,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::RenewTokens => "renew-tokens",
            Self::Probe => "probe",
            Self::ProbeAccounts => "probe-accounts",
            Self::WarnOfEnds => "warn-of-ends",
            Self::ExpireAttempts => "expire-attempts",
            Self::SweepJournal => "sweep-journal",
            Self::SweepAnswers => "sweep-answers",
        }
    }
}

impl Jobs {
    pub fn new(
        connections: Connections,
        journal: Journal,
        kept_answers: KeptAnswers,
        settings: Settings,
        telemetry: telemetry::Jobs,
    ) -> Self {
        Self { connections, journal, kept_answers, settings: Arc::new(settings), telemetry }
    }

    /// Starts every job on `tasks`; each ends after its round when `stop` is cancelled.
    pub fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        for job in Job::ALL {
            tasks.spawn(self.clone().repeat(job, stop.clone()));
        }
    }

    /// One round of every job, one after the other.
    pub async fn run_due(&self) -> Result<()> {
        for job in Job::ALL {
            self.round(job).await?;
        }
        Ok(())
    }

    async fn repeat(self, job: Job, stop: CancellationToken) {
        let pause = match job {
            Job::SweepJournal | Job::SweepAnswers => SWEEP_EVERY.max(self.settings.tick),
            _ => self.settings.tick,
        };
        while !stop.is_cancelled() {
            if let Err(error) = self.round(job).await {
                tracing::error!(job = job.name(), ?error, "a job failed; it is tried again");
            }
            let _ = tokio::time::timeout(pause, stop.cancelled()).await;
        }
    }

    async fn round(&self, job: Job) -> Result<()> {
        let begun = Instant::now();
        let done = self.do_due(job).await;
        self.telemetry.round(job.name(), begun.elapsed(), done.is_err());
        done
    }

    async fn do_due(&self, job: Job) -> Result<()> {
        match job {
            Job::RenewTokens => self.for_each(job, self.connections.due(Due::Renewal, BATCH).await?).await,
            Job::Probe => self.for_each(job, self.connections.due(Due::Probe, BATCH).await?).await,
            Job::ProbeAccounts => self.for_each(job, self.connections.due_accounts(BATCH).await?).await,
            Job::WarnOfEnds => self.for_each(job, self.connections.due_to_expire(BATCH).await?).await,
            Job::ExpireAttempts => self.connections.expire_attempts().await?,
            Job::SweepJournal => {
                for (topic, keep) in &self.settings.keep {
                    self.journal.sweep(*topic, *keep).await?;
                }
            }
            Job::SweepAnswers => self.kept_answers.sweep().await?,
        }
        Ok(())
    }

    /// Works on rows beside each other; one that fails does not stop the rest.
    async fn for_each(&self, job: Job, rows: Vec<Uuid>) {
        stream::iter(rows)
            .for_each_concurrent(AT_A_TIME, |row| async move {
                if let Err(error) = self.work_on(job, row).await {
                    self.telemetry.failed(job.name());
                    tracing::error!(job = job.name(), %row, ?error, "this one failed; it is tried again");
                }
            })
            .await;
    }

    async fn work_on(&self, job: Job, row: Uuid) -> Result<()> {
        let connections = &self.connections;
        match job {
            Job::RenewTokens => connections.renew_due(job.name(), row).await,
            Job::Probe => connections.probe_due(job.name(), row).await,
            Job::ProbeAccounts => connections.probe_accounts_due(job.name(), row).await,
            Job::WarnOfEnds => connections.expire_soon(job.name(), row).await,
            Job::ExpireAttempts | Job::SweepJournal | Job::SweepAnswers => Ok(()),
        }
    }
}
