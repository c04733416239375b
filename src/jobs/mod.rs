//! Reconcilers: what is due is done, in the background.
//!
//! A job carries no input: at each tick it looks for rows that are due, claims them, and brings them to where they
//! should be, so that a lost tick, a crash or a second node changes nothing. Jobs run beside each other; one that fails
//! is tried again at the next tick. What is done to a row is for the rooms that own it.

mod asking;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use entity::Topic;
use tokio_util::sync::CancellationToken;

use asking::Asking;

use crate::{
    clock::{Clock, SharedClock},
    connections::Connections,
    datasets::Datasets,
    db::Db,
    error::Result,
    graphql::KeptAnswers,
    ids::Kind,
    journal::Journal,
    notifications::{self, Notifications, Reminders},
    tasks::{Tasks, round_limit},
    telemetry,
};

/// How many rows a job takes at once.
const BATCH: u64 = 100;
/// How often to look for reminders at least: the first retry of one is not to wait long.
const REMIND_EVERY: Duration = Duration::from_secs(2);
/// How often to look for datasets that wait in vain, which looks at all that wait.
const END_WAITS_EVERY: Duration = Duration::from_secs(300);
/// For how long letters are handed over in one round: the next goes on where many wait, or a mail server is slow.
const REMIND_FOR: Duration = Duration::from_secs(60);
/// How often what was kept long enough is swept.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// How often the database looks at how its tables have grown.
const OPTIMIZE_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How often this node's clock is compared with the one that all nodes share.
const COMPARE_CLOCKS_EVERY: Duration = Duration::from_secs(60);

/// The background work of a server; cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Parts>);

/// What the jobs work on.
pub struct Parts {
    pub db: Db,
    pub clock: SharedClock,
    pub connections: Connections,
    pub datasets: Datasets,
    pub notifications: Notifications,
    /// None: no mail server is set.
    pub reminders: Option<Reminders>,
    pub journal: Journal,
    pub kept_answers: KeptAnswers,
    pub settings: Settings,
    pub telemetry: telemetry::Jobs,
    pub tasks: Tasks,
}

impl std::ops::Deref for Jobs {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What of the configuration concerns jobs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often to look for what is due.
    pub tick: Duration,
    /// How long each topic of the journal is kept.
    pub keep: Vec<(Topic, TimeDelta)>,
    /// How long disconnections, incidents and what was removed are kept.
    pub history: TimeDelta,
}

/// The jobs there are beside asking providers, which is in [`asking`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    WatchIncidents,
    WarnOfEnds,
    ExpireAttempts,
    GiveBack,
    EndWaits,
    PrepareReminders,
    Remind,
    SweepJournal,
    SweepAnswers,
    SweepTrays,
    Optimize,
    SweepHistory,
    ForgetWaits,
    CompareClocks,
}

impl Job {
    const ALL: [Self; 14] = [
        Self::WatchIncidents,
        Self::WarnOfEnds,
        Self::ExpireAttempts,
        Self::GiveBack,
        Self::EndWaits,
        Self::PrepareReminders,
        Self::Remind,
        Self::SweepJournal,
        Self::SweepAnswers,
        Self::SweepTrays,
        Self::Optimize,
        Self::SweepHistory,
        Self::ForgetWaits,
        Self::CompareClocks,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::WatchIncidents => "watch-incidents",
            Self::WarnOfEnds => "warn-of-ends",
            Self::ExpireAttempts => "expire-attempts",
            Self::GiveBack => "give-back",
            Self::EndWaits => "end-waits",
            Self::PrepareReminders => "prepare-reminders",
            Self::SweepJournal => "sweep-journal",
            Self::Remind => notifications::REMIND,
            Self::SweepAnswers => "sweep-answers",
            Self::SweepTrays => "sweep-trays",
            Self::Optimize => "optimize",
            Self::SweepHistory => "sweep-history",
            Self::ForgetWaits => "forget-waits",
            Self::CompareClocks => "compare-clocks",
        }
    }
}

impl Jobs {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Starts every job; each ends after its round when `stop` is cancelled.
    pub fn start(&self, stop: &CancellationToken) {
        for what in Asking::ALL {
            self.tasks.spawn(what.job(), self.clone().keep_asking(what, stop.clone()));
        }
        for job in Job::ALL {
            self.tasks.spawn(job.name(), self.clone().repeat(job, stop.clone()));
        }
    }

    /// One round of every job, one after the other.
    pub async fn run_due(&self) -> Result<()> {
        for what in Asking::ALL {
            self.ask_once(what).await?;
        }
        for job in Job::ALL {
            self.round(job, &CancellationToken::new()).await?;
        }
        Ok(())
    }

    async fn repeat(self, job: Job, stop: CancellationToken) {
        let tick = self.settings.tick;
        let pause = match job {
            Job::WarnOfEnds | Job::ExpireAttempts | Job::GiveBack | Job::WatchIncidents => tick,
            Job::PrepareReminders | Job::Remind => tick.min(REMIND_EVERY),
            Job::EndWaits => tick.max(END_WAITS_EVERY),
            Job::SweepJournal | Job::SweepAnswers | Job::SweepTrays | Job::SweepHistory | Job::ForgetWaits => {
                tick.max(SWEEP_EVERY)
            }
            Job::Optimize => tick.max(OPTIMIZE_EVERY),
            Job::CompareClocks => tick.max(COMPARE_CLOCKS_EVERY),
        };
        let mut rounds = self.tasks.watch(job.name(), round_limit(pause));
        while !stop.is_cancelled() {
            match rounds.round(self.round(job, &stop)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::error!(job = job.name(), ?error, "a job failed; it is tried again"),
                None => self.telemetry.failed(job.name(), 1),
            }
            let _ = tokio::time::timeout(pause, stop.cancelled()).await;
        }
    }

    async fn round(&self, job: Job, stop: &CancellationToken) -> Result<()> {
        let begun = Instant::now();
        let done = self.do_due(job, stop).await;
        self.telemetry.round(job.name(), begun.elapsed(), done.is_err());
        done
    }

    async fn do_due(&self, job: Job, stop: &CancellationToken) -> Result<()> {
        match job {
            Job::WatchIncidents => self.connections.watch_incidents(job.name()).await?,
            Job::WarnOfEnds => self.warn_of_ends(job).await?,
            Job::ExpireAttempts => self.connections.expire_attempts().await?,
            Job::GiveBack => self.connections.give_back_due(stop).await?,
            Job::SweepJournal => {
                for (topic, keep) in &self.settings.keep {
                    self.journal.sweep(*topic, *keep).await?;
                    self.tasks.come_round(job.name());
                }
            }
            Job::EndWaits => self.datasets.end_waits().await?,
            Job::PrepareReminders => {
                if let Some(reminders) = &self.reminders {
                    self.telemetry.failed(job.name(), reminders.prepare().await?);
                }
            }
            Job::Remind => self.remind(job, stop).await?,
            Job::Optimize => self.db.optimize().await?,
            Job::SweepAnswers => self.kept_answers.sweep(stop).await?,
            Job::SweepTrays => self.notifications.sweep(stop).await?,
            Job::SweepHistory => self.connections.sweep(self.settings.history, stop).await?,
            Job::ForgetWaits => self.connections.forget_wait_requests().await?,
            Job::CompareClocks => compare_clocks(&self.db, &*self.clock).await?,
        }
        Ok(())
    }

    async fn warn_of_ends(&self, job: Job) -> Result<()> {
        for row in self.connections.due_to_expire(BATCH).await? {
            if let Err(error) = self.connections.expire_soon(job.name(), row).await {
                self.telemetry.failed(job.name(), 1);
                tracing::error!(job = job.name(), authorization = %Kind::Authorization.of(row), ?error, "this one failed; it is tried again");
            }
        }
        Ok(())
    }

    /// Delivers what is prepared, beside the next runs.
    async fn remind(&self, job: Job, stop: &CancellationToken) -> Result<()> {
        let Some(reminders) = &self.reminders else { return Ok(()) };
        let begun = Instant::now();
        loop {
            let Some(failed) = reminders.deliver_some().await? else { return Ok(()) };
            self.tasks.come_round(job.name());
            self.telemetry.failed(job.name(), failed);
            if stop.is_cancelled() || begun.elapsed() > REMIND_FOR {
                return Ok(());
            }
        }
    }
}

/// Has this node's clock go by the database's, where there may be other nodes.
pub async fn compare_clocks(db: &Db, clock: &dyn Clock) -> Result<()> {
    if db.is_sqlite() {
        return Ok(());
    }
    let asked = clock.now();
    let theirs = db.time(asked).await?;
    let moved = clock.follow(asked, theirs, clock.now());
    if moved.abs() > TimeDelta::seconds(1) {
        tracing::warn!(off_ms = -moved.num_milliseconds(), "this machine's clock is off; it goes by the database's");
    }
    Ok(())
}
