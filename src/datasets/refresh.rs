//! One refresh: its source is asked outside of any transaction, and what came of it is written in one, all or nothing. It
//! is dropped when the dataset was edited meanwhile, or somebody else has taken it over.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{DataMode, DatasetStatus, Status, Topic, connection, connection_share, dataset};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Datasets,
    due::Claim,
    limits,
    metrics::Computed,
    query::query_of,
    snapshots::{self, Part},
};
use crate::{
    access::{Actor, Viewer},
    clock::jittered,
    connections::{Ask, Unread},
    db::Transaction,
    error::{Error, Result},
    ids::{self, Kind},
    journal::{DatasetFact, Facts, NOT_REFRESHED, NewEntry, REFRESHED, Through},
    provider::{Haste, Rows},
};

/// The longest pause after failures.
const PAUSE_AT_MOST: TimeDelta = TimeDelta::hours(6);

type Answer = std::result::Result<Arc<Rows>, Unread>;

/// Rows that are ready to be written: what takes long is done, and holds up no other writer.
pub(super) struct Ready {
    rows: Arc<Rows>,
    /// None where they are read live.
    parts: Option<Vec<Part>>,
    computed: Computed,
}

impl Datasets {
    /// Reads what a dataset asks for.
    pub(super) async fn read(&self, row: &dataset::Model, mode: DataMode, haste: Haste) -> Result<Answer> {
        let limits = limits(mode);
        let _place = self.places.take(row.workspace_id, row.connection_id, haste).await?;
        let ask = Ask { dataset: Some(row.id), query: query_of(row)?, limits, haste, proven: row.proven };
        Ok(self.connections.read(row.connection_id, ask).await?.map(Arc::new))
    }

    /// Packs rows as `mode` wants it, and computes the metrics of `of` by them.
    #[expect(clippy::disallowed_methods, reason = "it only computes")]
    pub(super) async fn prepare(&self, of: Uuid, mode: DataMode, rows: Arc<Rows>) -> Result<Ready> {
        let computed = self.compute(of, &rows).await?;
        let packed = Arc::clone(&rows);
        let pack = move || (mode == DataMode::Warehouse).then(|| snapshots::parts(&packed.rows));
        let parts = tokio::task::spawn_blocking(pack).await?;
        Ok(Ready { rows, parts, computed })
    }

    /// Refreshes a claimed dataset on behalf of `actor`. Why nothing came of it that the dataset would show.
    pub(super) async fn refresh_claimed(
        &self,
        claim: &Claim,
        row: &dataset::Model,
        actor: Actor,
        haste: Haste,
    ) -> Result<Option<Unread>> {
        let mode = self.connections.mode_of(row.connection_id).await?;
        let answer = self.read(row, mode, haste).await?;
        self.write(row, mode, &answer, Writing { by: By::Run(claim.run), actor, told: true }).await?;
        if let Ok(rows) = &answer
            && mode == DataMode::DirectQuery
        {
            self.keep_live(row, Arc::clone(rows)).await;
        }
        Ok(answer.err().filter(says_nothing))
    }

    /// Writes what a live reading says of its dataset. It is told when that changed: not that it works as before, since
    /// whoever hears so would look again.
    pub(super) async fn write_live(&self, row: &dataset::Model, answer: &Answer, begun: DateTime<Utc>) -> Result<()> {
        self.write(
            row,
            DataMode::DirectQuery,
            answer,
            Writing { by: By::Live(begun), actor: Viewer::job("read-live", row.workspace_id).actor(), told: false },
        )
        .await
    }

    async fn write(&self, row: &dataset::Model, mode: DataMode, answer: &Answer, how: Writing) -> Result<()> {
        let answer = match answer {
            Ok(rows) => Ok(self.prepare(row.id, mode, Arc::clone(rows)).await?),
            Err(unread) => Err(unread),
        };
        let txn = self.db.begin().await?;
        let now = self.clock.now();
        let held = dataset::Entity::find_by_id(row.id).lock_exclusive().one(&txn).await?;
        let same = |held: &dataset::Model| {
            held.version == row.version
                && match how.by {
                    By::Run(run) => held.claimed_by == Some(run),
                    By::Live(begun) => answer.is_ok() || held.last_refreshed_at.is_none_or(|last| last <= begun),
                }
        };
        let Some(held) = held.filter(same) else { return Ok(()) };
        let through = connection_of(&txn, held.connection_id).await?;
        let (after, action) = match answer {
            Ok(ready) => {
                let after = self.refreshed(&txn, &held, &ready, now).await?;
                let action = (how.told || held.status != DatasetStatus::Fresh).then_some(REFRESHED);
                (after, action)
            }
            Err(unread) => {
                let after = self.failed(&held, &through, unread, now);
                let changed = (held.status, &held.error) != (after.status, &after.error);
                // What somebody asked for leaves a trace in any case.
                let told = changed || (how.actor.user.is_some() && after.status == DatasetStatus::Failed);
                (after, told.then_some(NOT_REFRESHED))
            }
        };
        let entry = match action {
            Some(action) => {
                let details = json!({ "name": after.name, "rows": after.row_count, "error": after.error });
                Some(entry(&txn, &after, action, how.actor, details).await?)
            }
            None => None,
        };
        // Who hears of it finds the refresh over. Where nothing is told here, giving the claim back tells it.
        let after = match (how.by, &entry) {
            (By::Run(_), Some(_)) => dataset::Model { claimed_by: None, claimed_until: None, ..after },
            _ => after,
        };
        after.into_active_model().reset_all().update(&txn).await?;
        self.journal.commit(txn, row.workspace_id, entry.into_iter().collect()).await?;
        Ok(())
    }

    /// The dataset with new rows, which are written, and the metrics computed from them.
    pub(super) async fn refreshed(
        &self,
        txn: &Transaction,
        held: &dataset::Model,
        ready: &Ready,
        now: DateTime<Utc>,
    ) -> Result<dataset::Model> {
        let rows = &ready.rows;
        let snapshot_id = match &ready.parts {
            Some(parts) => {
                let id = ids::new(now, &*self.entropy);
                snapshots::write(txn, held.id, id, now, parts).await?;
                Some(id)
            }
            None => None,
        };
        self.write_computed(txn, held.id, rows, &ready.computed).await?;
        Ok(dataset::Model {
            status: DatasetStatus::Fresh,
            error: None,
            needs_reconnect: false,
            failed_at: None,
            failures: 0,
            proven: true,
            // PostgreSQL stores no NUL.
            columns: rows.columns.iter().filter(|name| !name.contains('\0')).cloned().collect(),
            row_count: i64::try_from(rows.rows.len()).unwrap_or(i64::MAX),
            snapshot_id,
            last_refreshed_at: Some(now),
            refresh_at: self.next(held.refresh_every_minutes, now),
            ..held.clone()
        })
    }

    /// The dataset after a refresh that brought no rows: those it has stay.
    fn failed(
        &self,
        held: &dataset::Model,
        through: &connection::Model,
        unread: &Unread,
        now: DateTime<Utc>,
    ) -> dataset::Model {
        let waits = held.needs_reconnect && through.status == Status::Disconnected;
        let soonest = now + self.tick();
        let put_off = |at: DateTime<Utc>| {
            let refresh_at = Some(at.max(soonest));
            dataset::Model { needs_reconnect: waits, refresh_at, ..held.clone() }
        };
        let next = self.next(held.refresh_every_minutes, now);
        let retry = now + self.pause(held.failures);
        let (error, needs_reconnect, refresh_at) = match unread {
            // Nothing is known yet.
            Unread::Changed if through.removed_at.is_some() => {
                return dataset::Model { refresh_at: None, needs_reconnect: false, ..held.clone() };
            }
            Unread::Changed | Unread::Unasked => return put_off(soonest),
            Unread::Quiet(until) => return put_off(*until),
            // Its probe finds out when it works again, and reconnecting makes the dataset due.
            Unread::Disconnected { message, found_by_dataset: false } => (message, true, None),
            Unread::Disconnected { message, found_by_dataset: true } => {
                (message, true, Some(now + self.flagged_pause(held.failures)))
            }
            Unread::Failing { what, retry_after } => {
                let asked = retry_after.and_then(|wait| TimeDelta::from_std(wait).ok()).map(|wait| now + wait);
                (what, waits, Some(asked.map_or(retry, |asked| asked.max(soonest))))
            }
            Unread::NotConfigured(what) => (what, waits, Some(retry)),
            Unread::Denied(what) | Unread::Query(what) | Unread::TooMuch(what) => (what, false, next),
        };
        dataset::Model {
            status: DatasetStatus::Failed,
            error: Some(error.clone()),
            needs_reconnect,
            failed_at: Some(now),
            failures: held.failures.saturating_add(1),
            refresh_at,
            ..held.clone()
        }
    }

    /// When a dataset with this schedule is refreshed next: spread by a tenth, so that not all are due at once.
    pub(super) fn next(&self, every_minutes: Option<i32>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(now + jittered(TimeDelta::minutes(every_minutes?.into()), &*self.entropy))
    }

    /// From one job tick, doubling up to the probe interval.
    fn pause(&self, failures: i32) -> TimeDelta {
        let interval = TimeDelta::from_std(self.settings.probe_interval).unwrap_or(PAUSE_AT_MOST);
        doubled(self.tick(), failures).min(interval)
    }

    /// From twice the probe interval, doubling up to six hours, as probes of what is flagged.
    fn flagged_pause(&self, failures: i32) -> TimeDelta {
        let interval = TimeDelta::from_std(self.settings.probe_interval).unwrap_or(PAUSE_AT_MOST);
        doubled(interval, failures.saturating_add(1)).min(PAUSE_AT_MOST)
    }
}

/// Whose answer it is.
enum By {
    /// The run that has the claim.
    Run(Uuid),
    /// A live reading that began then: that it failed says nothing once another brought rows.
    Live(DateTime<Utc>),
}

/// How the outcome of a reading is written.
struct Writing {
    by: By,
    actor: Actor,
    /// Also that it works as before.
    told: bool,
}

/// Whether the dataset stays as it was.
fn says_nothing(unread: &Unread) -> bool {
    matches!(unread, Unread::Quiet(_) | Unread::Changed | Unread::Unasked)
}

fn doubled(pause: TimeDelta, times: i32) -> TimeDelta {
    let factor = 2_i32.saturating_pow(times.clamp(0, 20).unsigned_abs());
    pause.checked_mul(factor).unwrap_or(PAUSE_AT_MOST)
}

/// An entry about a dataset, which those hear of who see what it reads through.
pub(super) async fn entry(
    db: &impl ConnectionTrait,
    row: &dataset::Model,
    action: &'static str,
    actor: Actor,
    details: Value,
) -> Result<NewEntry> {
    let fact = DatasetFact { dataset: row.id, through: through(db, row.connection_id).await?, before: None };
    let facts = Facts::Dataset(fact);
    Ok(NewEntry { topic: Topic::Datasets, action, actor, subject: Kind::Dataset.of(row.id), facts, details })
}

/// What a dataset reads through, whether it was removed or not.
pub(super) async fn connection_of(db: &impl ConnectionTrait, connection: Uuid) -> Result<connection::Model> {
    let row = connection::Entity::find_by_id(connection).one(db).await?;
    row.ok_or_else(|| Error::internal("a dataset without a connection"))
}

/// A connection, and who sees it.
pub(super) async fn through(db: &impl ConnectionTrait, connection: Uuid) -> Result<Through> {
    let row = connection_of(db, connection).await?;
    let shares = connection_share::Entity::find()
        .select_only()
        .column(connection_share::Column::UserId)
        .filter(connection_share::Column::ConnectionId.eq(connection))
        .into_tuple()
        .all(db)
        .await?;
    Ok(Through { connection, client: row.client_id, owner: row.created_by, shares })
}
