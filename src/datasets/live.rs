//! Rows that are read this moment: what one viewer's page made its source answer serves the others for a moment, too.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{DataMode, Status, dataset};
use moka::future::Cache as Moka;
use uuid::Uuid;

use super::{Datasets, refresh::connection_of};
use crate::{
    error::{Error, Result},
    provider::{Haste, Rows},
};

/// How long an answer serves.
const FRESH: TimeDelta = TimeDelta::seconds(10);
/// Bytes of rows that are remembered.
const MOST_BYTES: u64 = 64 << 20;

/// Answers of a moment ago, by dataset and version.
pub(super) struct Cache(Moka<(Uuid, i64), Answer>);

#[derive(Clone)]
struct Answer {
    /// None where there were none, so that a source which fails is not asked by every page.
    rows: Option<Arc<Rows>>,
    at: DateTime<Utc>,
}

impl Default for Cache {
    fn default() -> Self {
        let bytes = |rows: &Arc<Rows>| rows.rows.iter().map(|row| row.get().len() + 64).sum::<usize>();
        let weigh = move |_: &(Uuid, i64), answer: &Answer| {
            u32::try_from(answer.rows.as_ref().map_or(0, bytes)).unwrap_or(u32::MAX)
        };
        let forgotten = Duration::from_secs(FRESH.num_seconds().unsigned_abs());
        Self(Moka::builder().max_capacity(MOST_BYTES).weigher(weigh).time_to_live(forgotten).build())
    }
}

impl Datasets {
    /// The rows of a dataset that is read live; none when its source does not give them now. What that says of the
    /// dataset, and of its connection, is written.
    pub(super) async fn live(&self, row: &dataset::Model) -> Result<Option<Arc<Rows>>> {
        let (key, cache) = ((row.id, row.version), &self.live.0);
        if cache.get(&key).await.is_some_and(|answer| answer.at + FRESH <= self.clock.now()) {
            cache.invalidate(&key).await;
        }
        // Those who ask at the same moment wait for one answer.
        let answer = cache.try_get_with(key, self.ask_live(row)).await.map_err(|error: Arc<Error>| (*error).clone())?;
        Ok(answer.rows)
    }

    /// Serves rows that were read for another reason.
    pub(super) async fn keep_live(&self, row: &dataset::Model, rows: Arc<Rows>) {
        self.live.0.insert((row.id, row.version), Answer { rows: Some(rows), at: self.clock.now() }).await;
    }

    async fn ask_live(&self, row: &dataset::Model) -> Result<Answer> {
        let at = self.clock.now();
        // Whoever looks does not try a password that is known to be refused.
        if connection_of(self.db.reader(), row.connection_id).await?.status == Status::Disconnected {
            return Ok(Answer { rows: None, at });
        }
        let answer = self.read(row, DataMode::DirectQuery, Haste::AtOnce).await?;
        self.write_live(row, &answer, at).await?;
        Ok(Answer { rows: answer.ok(), at })
    }
}
