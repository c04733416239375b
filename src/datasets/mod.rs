//! Datasets: rows asked of a connection, kept fresh; and metrics, the numbers computed from them.
//!
//! | file | owns |
//! | --- | --- |
//! | `change.rs` | what people ask for: create, edit, refresh, remove |
//! | `query.rs` | what a dataset asks its source, checked and as the tables keep it |
//! | `due.rs`, `places.rs` | which datasets are due, and who refreshes them; how many are read at once |
//! | `refresh.rs` | one refresh: read, and write what came of it, all or nothing |
//! | `snapshots.rs`, `live.rs` | the rows: those of the last refresh, and those read this moment |
//! | `metrics.rs`, `numbers.rs` | metrics, and exact arithmetic over rows |
//! | `list.rs`, `changes.rs` | what people see, and what subscribers hear |
//!
//! Reading through a connection, and what a refusal does to it, is [`crate::connections`]'; so is which connection a
//! dataset reads through once the one it had is removed.

mod change;
mod changes;
mod due;
mod list;
mod live;
mod metrics;
mod numbers;
mod places;
mod query;
mod refresh;
mod snapshots;

use std::{sync::Arc, time::Duration};

use entity::DataMode;

pub use change::{CreateDataset, UpdateDataset};
pub use changes::{DatasetsChange, DatasetsChangeKind};
pub use due::JOB;
pub use list::{DatasetFilter, MetricFilter, StatusShown};
pub use metrics::{CreateMetric, Trouble, trouble};
pub use query::{GivenQuery, query_of};
pub use snapshots::RowPage;

use crate::{
    catalogue::Catalogue,
    clock::{SharedClock, SharedEntropy},
    connections::Connections,
    db::Db,
    journal::Journal,
    provider::RowLimits,
    tasks::Tasks,
};

/// The datasets of a server; cheap to clone.
#[derive(Clone)]
pub struct Datasets {
    db: Db,
    journal: Journal,
    catalogue: Catalogue,
    connections: Connections,
    clock: SharedClock,
    entropy: SharedEntropy,
    tasks: Tasks,
    settings: Settings,
    live: Arc<live::Cache>,
    places: Arc<places::Places>,
}

/// What of the configuration concerns datasets.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How often what is due is looked for: the first pause after a failure.
    pub job_tick: Duration,
    /// The longest pause after failures that pass.
    pub probe_interval: Duration,
}

/// The parts that [`Datasets`] is made of.
pub struct Parts {
    pub db: Db,
    pub journal: Journal,
    pub catalogue: Catalogue,
    pub connections: Connections,
    pub clock: SharedClock,
    pub entropy: SharedEntropy,
    pub tasks: Tasks,
    pub settings: Settings,
}

impl Datasets {
    pub fn new(parts: Parts) -> Self {
        let Parts { db, journal, catalogue, connections, clock, entropy, tasks, settings } = parts;
        Self {
            db,
            journal,
            catalogue,
            connections,
            clock,
            entropy,
            tasks,
            settings,
            live: Arc::default(),
            places: Arc::default(),
        }
    }
}

/// How much is read at most, and how long that may take: somebody looks at what is read live.
fn limits(mode: DataMode) -> RowLimits {
    let time = match mode {
        DataMode::Warehouse => Duration::from_secs(600),
        DataMode::DirectQuery => Duration::from_secs(20),
    };
    RowLimits { pages: 1_000, rows: 100_000, bytes: 32 << 20, time }
}
