//! The background jobs.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::Label;

/// Counts the rounds of jobs. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    rounds: Family<[Label; 1], Counter>,
    failures: Family<[Label; 1], Counter>,
    duration: Family<[Label; 1], Gauge<f64, AtomicU64>>,
}

impl Jobs {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (rounds, failures, duration) = (Family::default(), Family::default(), Family::default());
        registry.register("job_rounds", "Rounds that a job made", rounds.clone());
        registry.register("job_failures", "Rounds, and rows within a round, that failed", failures.clone());
        registry.register("job_last_duration_seconds", "How long the last round took", duration.clone());
        Self { rounds, failures, duration }
    }

    /// A round of `job` ended.
    pub fn round(&self, job: &'static str, took: Duration, failed: bool) {
        self.rounds.get_or_create(&labels(job)).inc();
        self.failures.get_or_create(&labels(job)).inc_by(u64::from(failed));
        self.duration.get_or_create(&labels(job)).set(took.as_secs_f64());
    }

    /// So many rows of a round failed.
    pub fn failed(&self, job: &'static str, rows: usize) {
        self.failures.get_or_create(&labels(job)).inc_by(rows as u64);
    }
}

fn labels(job: &'static str) -> [Label; 1] {
    [("job", job.into())]
}
