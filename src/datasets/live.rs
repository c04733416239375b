//! Rows that are read this moment: what one viewer's page made its source answer serves the others for a moment, too.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use entity::dataset;
use moka::future::Cache as Moka;
use uuid::Uuid;

use super::Datasets;
use crate::{
    error::{Error, Result},
    provider::{Haste, Rows},
};

/// How long an answer serves.
const FRESH: TimeDelta = TimeDelta::seconds(10);
/// Bytes of rows that are remembered.
const MOST_BYTES: u64 = 64 << 20;

/// Answers of a moment ago, by dataset and version.
pub(super) struct Cache(Moka<(Uuid, i64), Arc<Answer>>);

pub(super) struct Answer {
    pub(super) rows: Rows,
    at: DateTime<Utc>,
}

impl Default for Cache {
    fn default() -> Self {
        let bytes = |answer: &Arc<Answer>| answer.rows.rows.iter().map(|row| row.get().len() + 64).sum::<usize>();
        let weigh = move |_: &(Uuid, i64), answer: &Arc<Answer>| u32::try_from(bytes(answer)).unwrap_or(u32::MAX);
        let forgotten = Duration::from_secs(FRESH.num_seconds().unsigned_abs());
        Self(Moka::builder().max_capacity(MOST_BYTES).weigher(weigh).time_to_live(forgotten).build())
    }
}

/// Why nothing came.
#[derive(Debug, Clone)]
enum Nothing {
    Unread,
    Error(Error),
}

impl Datasets {
    /// The rows of a dataset that is read live; none when its source does not give them now. What that says of the
    /// dataset, and of its connection, is written.
    pub(super) async fn live(&self, row: &dataset::Model) -> Result<Option<Arc<Answer>>> {
        let (key, cache) = ((row.id, row.version), &self.live.0);
        if cache.get(&key).await.is_some_and(|answer| answer.at + FRESH <= self.clock.now()) {
            cache.invalidate(&key).await;
        }
        // Those who ask at the same moment wait for one answer.
        match cache.try_get_with(key, self.ask_live(row)).await {
            Ok(answer) => Ok(Some(answer)),
            Err(nothing) => match &*nothing {
                Nothing::Unread => Ok(None),
                Nothing::Error(error) => Err(error.clone()),
            },
        }
    }

    async fn ask_live(&self, row: &dataset::Model) -> Result<Arc<Answer>, Nothing> {
        let at = self.clock.now();
        let answer = self.read(row, Haste::AtOnce).await.map_err(Nothing::Error)?;
        self.write_live(row, &answer).await.map_err(Nothing::Error)?;
        match answer {
            Ok(rows) => Ok(Arc::new(Answer { rows, at })),
            Err(_) => Err(Nothing::Unread),
        }
    }
}
