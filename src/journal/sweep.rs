//! Forgetting old entries: topic by topic, the oldest first, some at a time, and how far that went.

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Topic, journal_entry, journal_floor, journal_head};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::{Alias, Expr, ExprTrait as _, OnConflict, SimpleExpr},
};
use uuid::Uuid;

use super::Journal;
use crate::{clock, error::Result};

/// How many entries one transaction forgets: nobody else writes to SQLite meanwhile, and each may be large.
const AT_ONCE: u64 = 200;

impl Journal {
    /// Forgets entries of `topic` older than `keep`, in every workspace, and stores how far that went.
    pub async fn sweep(&self, topic: Topic, keep: TimeDelta) -> Result<()> {
        let before = clock::before(self.clock.now(), keep);
        for workspace in self.with_older(topic, before).await? {
            while self.forget_some(workspace, topic, before).await? {}
        }
        Ok(())
    }

    /// The workspaces whose first entry of the topic is from before `before`.
    async fn with_older(&self, topic: Topic, before: DateTime<Utc>) -> Result<Vec<Uuid>> {
        let here = Expr::col((journal_entry::Entity, journal_entry::Column::WorkspaceId));
        let first = journal_entry::Entity::find()
            .select_only()
            .column(journal_entry::Column::At)
            .filter(here.equals((journal_head::Entity, journal_head::Column::WorkspaceId)))
            .filter(journal_entry::Column::Topic.eq(topic))
            .order_by_asc(journal_entry::Column::Seq)
            .limit(1)
            .into_query();
        let older = journal_head::Entity::find()
            .select_only()
            .column(journal_head::Column::WorkspaceId)
            .filter(SimpleExpr::SubQuery(None, Box::new(first.into())).lt(before));
        Ok(older.into_tuple().all(self.db.reader()).await?)
    }

    /// Forgets the first entries of a topic that are from before `before`; whether there may be more.
    async fn forget_some(&self, workspace: Uuid, topic: Topic, before: DateTime<Utc>) -> Result<bool> {
        let first: Vec<(i64, DateTime<Utc>)> = journal_entry::Entity::find()
            .select_only()
            .columns([journal_entry::Column::Seq, journal_entry::Column::At])
            .filter(journal_entry::Column::WorkspaceId.eq(workspace))
            .filter(journal_entry::Column::Topic.eq(topic))
            .order_by_asc(journal_entry::Column::Seq)
            .limit(AT_ONCE)
            .into_tuple()
            .all(self.db.reader())
            .await?;
        // Numbers and times agree but for the clocks of nodes.
        let Some(last) = first.iter().rposition(|(_, at)| *at < before) else { return Ok(false) };
        self.forget(workspace, topic, first[last].0).await?;
        Ok(last as u64 + 1 == AT_ONCE)
    }

    async fn forget(&self, workspace: Uuid, topic: Topic, through: i64) -> Result<()> {
        let txn = self.db.begin().await?;
        let floor = journal_floor::ActiveModel { workspace_id: Set(workspace), topic: Set(topic), seq: Set(through) };
        let by_place = OnConflict::columns([journal_floor::Column::WorkspaceId, journal_floor::Column::Topic])
            .update_column(journal_floor::Column::Seq)
            // Another node may have swept further: a floor never sinks.
            .action_and_where(
                Expr::col((journal_floor::Entity, journal_floor::Column::Seq))
                    .lt(Expr::col((Alias::new("excluded"), journal_floor::Column::Seq))),
            )
            .to_owned();
        journal_floor::Entity::insert(floor).on_conflict(by_place).exec_without_returning(&txn).await?;
        journal_entry::Entity::delete_many()
            .filter(journal_entry::Column::WorkspaceId.eq(workspace))
            .filter(journal_entry::Column::Topic.eq(topic))
            .filter(journal_entry::Column::Seq.lte(through))
            .exec(&txn)
            .await?;
        Ok(txn.commit().await?)
    }
}
