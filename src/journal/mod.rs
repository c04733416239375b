//! The ordered log of what happened in a workspace.
//!
//! Entries are written inside the transaction that they tell of, numbered without gaps in commit order; after the
//! commit a doorbell rings and the feed of each node hands them to whoever follows. What an entry means to a viewer is
//! for the rooms that follow it to say; this room numbers, keeps, reads and delivers.

mod audit;
mod doorbell;
mod entry;
mod facts;
mod feed;
mod lag;
mod packed;
mod refusals;
mod replay;
mod stored;
mod sweep;
mod viewing;

use std::{sync::Arc, time::Duration};

use entity::{Topic, journal_entry, journal_floor, journal_head};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait as _},
};
use uuid::Uuid;

pub use audit::{
    ATTEMPT_STARTED, AuditEntry, AuditFilter, NOT_REFRESHED, NOTIFICATIONS_READ, REFRESH_ENDED, REFRESHED,
};
pub use entry::{Entry, NewEntry};
pub use facts::{DatasetFact, Fact, Facts, Through, Told, Touched};
pub use packed::UnreadableError;
pub use refusals::{REFUSED, Refusals};
pub use replay::Chunk;
pub use viewing::{DEACTIVATED, KEY_REVOKED, ROLE_CHANGED, Viewing};

use crate::{
    access::Viewer,
    clock::{SharedClock, SharedEntropy},
    db::{Db, Transaction},
    error::{Error, Result},
    ids,
    tasks::Tasks,
    telemetry,
};
use doorbell::Doorbell;
use feed::Feeds;

/// What a journal cursor is sealed for.
const CURSOR: &str = "journal";
/// How many entries are written in one statement.
const BATCH: u64 = 500;

/// Writes and follows the journal; cheap to clone.
#[derive(Clone)]
pub struct Journal {
    db: Db,
    clock: SharedClock,
    entropy: SharedEntropy,
    feeds: Arc<Feeds>,
    doorbell: Arc<Doorbell>,
    counts: telemetry::Journal,
}

impl Journal {
    /// A journal over `db`. A ring that was lost is made up for within `slow_tick`.
    pub async fn new(
        db: Db,
        clock: SharedClock,
        entropy: SharedEntropy,
        tasks: Tasks,
        slow_tick: Duration,
        counts: telemetry::Journal,
    ) -> Result<Self> {
        let feeds = Arc::new(Feeds::new(db.clone(), tasks.clone(), slow_tick, counts.clone()));
        let doorbell = Arc::new(Doorbell::new(&db, Arc::clone(&feeds), &tasks).await?);
        Ok(Self { db, clock, entropy, feeds, doorbell, counts })
    }

    /// Numbers `entries`, writes them, commits `txn` and rings. Returns the journal's last number.
    ///
    /// The number is taken as late as can be, since it is where writers of one workspace wait for each other.
    pub async fn commit(&self, txn: Transaction, workspace: Uuid, entries: Vec<NewEntry>) -> Result<i64> {
        if entries.is_empty() {
            txn.commit().await?;
            return Ok(0);
        }
        let last = self.append(&txn, workspace, entries).await?;
        txn.commit().await?;
        self.doorbell.ring(workspace);
        Ok(last)
    }

    async fn append(&self, txn: &Transaction, workspace: Uuid, entries: Vec<NewEntry>) -> Result<i64> {
        let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let head = journal_head::Entity::update_many()
            .col_expr(journal_head::Column::Seq, Expr::col(journal_head::Column::Seq).add(count))
            .filter(journal_head::Column::WorkspaceId.eq(workspace))
            .exec_with_returning(txn)
            .await?;
        let last = head.first().map(|head| head.seq).ok_or_else(|| Error::internal("a workspace without a journal"))?;
        let now = self.clock.now();
        let mut rows = (last - count + 1..)
            .zip(entries)
            .map(|(seq, entry)| entry.into_row(workspace, seq, ids::new(now, &*self.entropy), now))
            .peekable();
        // In parts, since a statement takes only so many values.
        while rows.peek().is_some() {
            let part: Vec<_> = rows.by_ref().take(BATCH as usize).collect();
            journal_entry::Entity::insert_many(part).exec_without_returning(txn).await?;
        }
        Ok(last)
    }

    /// The last number of the workspace's journal.
    pub async fn head(&self, workspace: Uuid) -> Result<i64> {
        feed::head(&self.db, workspace).await
    }

    /// Counts what is read of the journal, and what cannot be.
    pub fn counts(&self) -> &telemetry::Journal {
        &self.counts
    }

    /// The place `seq` as `viewer` may hand it back.
    pub fn cursor(&self, viewer: &Viewer, seq: i64) -> String {
        viewer.cursor_key().seal(CURSOR, &seq)
    }

    /// The place that `cursor` names: `CursorExpired` when what follows it on `topic` is no longer kept, or when it
    /// is ahead of the journal, as after a database was restored.
    pub async fn place(&self, viewer: &Viewer, topic: Topic, cursor: &str) -> Result<i64> {
        let seq: i64 = viewer
            .cursor_key()
            .open(CURSOR, cursor)
            .map_err(|_| Error::BadInput("`after` is not a journal cursor of this workspace.".to_owned()))?;
        let floor = journal_floor::Entity::find_by_id((viewer.workspace(), topic)).one(self.db.reader()).await?;
        let swept = floor.is_some_and(|floor| seq < floor.seq);
        if swept || seq > self.head(viewer.workspace()).await? { Err(Error::CursorExpired) } else { Ok(seq) }
    }

    /// Entries for people to read, newest first: the audit log builds on it.
    pub fn entries_of(workspace: Uuid) -> sea_orm::Select<journal_entry::Entity> {
        journal_entry::Entity::find().filter(journal_entry::Column::WorkspaceId.eq(workspace))
    }
}

/// The first row of a workspace's journal, written with the workspace.
pub async fn open<C: ConnectionTrait>(db: &C, workspace: Uuid) -> Result<()> {
    let head = journal_head::ActiveModel { workspace_id: Set(workspace), seq: Set(0) };
    journal_head::Entity::insert(head).exec_without_returning(db).await?;
    Ok(())
}
