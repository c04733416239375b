//! What is looked up when somebody reads: the journal and the database; and what never changes: the build, the start.

use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use prometheus_client::{
    metrics::{
        family::Family,
        gauge::{ConstGauge, Gauge},
        info::Info,
    },
    registry::Registry,
};

use super::{Label, Waiting};

/// How a server stands at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Entries that the furthest behind of the followed workspaces still has to hand out; none where the database did
    /// not say.
    pub journal_lag: Option<i64>,
    /// Workspaces that somebody follows.
    pub followed: usize,
    /// The database's pools, by name.
    pub pools: Vec<(&'static str, Usage)>,
    /// None where the database did not say: the numbers stay as they were.
    pub waiting: Option<Waiting>,
}

/// How far a pool is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub open: u32,
    /// Of those that are open.
    pub idle: u32,
    pub most: u32,
}

/// What a [`Snapshot`] shows. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server {
    lag: Gauge<f64, AtomicU64>,
    followed: Gauge,
    answers: Gauge,
    handles: Family<[Label; 2], Gauge>,
    most: Family<[Label; 1], Gauge>,
}

impl Server {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let server = Self {
            lag: Gauge::default(),
            followed: Gauge::default(),
            answers: Gauge::default(),
            handles: Family::default(),
            most: Family::default(),
        };
        registry.register(
            "journal_lag_entries",
            "How many entries the furthest behind of the followed workspaces has not handed out; NaN where unknown",
            server.lag.clone(),
        );
        registry.register("journal_followed_workspaces", "Workspaces that somebody follows", server.followed.clone());
        registry.register("db_up", "Whether the database answered just now", server.answers.clone());
        registry.register("db_pool_handles", "Open handles of a database pool, by state", server.handles.clone());
        registry.register("db_pool_max_handles", "How many handles a database pool may open", server.most.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "This build", build);
        server
    }

    pub(super) fn set(&self, seen: &Snapshot) {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 entries")]
        self.lag.set(seen.journal_lag.map_or(f64::NAN, |lag| lag as f64));
        self.followed.set(i64::try_from(seen.followed).unwrap_or(i64::MAX));
        self.answers.set(i64::from(seen.journal_lag.is_some()));
        for (pool, Usage { open, idle, most }) in &seen.pools {
            for (state, handles) in [("idle", *idle), ("in_use", open.saturating_sub(*idle))] {
                self.handles.get_or_create(&[("pool", (*pool).into()), ("state", state.into())]).set(handles.into());
            }
            self.most.get_or_create(&[("pool", (*pool).into())]).set((*most).into());
        }
    }
}

/// What Prometheus knows of every process by this name.
pub(super) fn register_process(registry: &mut Registry, started: DateTime<Utc>) {
    let start = ConstGauge::new(started.timestamp());
    registry.register("process_start_time_seconds", "When this server started, in seconds since 1970", start);
}
