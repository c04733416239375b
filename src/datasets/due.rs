//! Which datasets are due, and who refreshes them: one at a time, over all nodes, by a claim.
//!
//! Due are those whose time has come. Those that wait for their connection become due as it works again
//! ([`crate::connections`] does that); one that began to wait at that very moment is found at a slow rhythm.

use chrono::TimeDelta;
use entity::{Status, connection, dataset};
use futures_util::{StreamExt, stream};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, EntityTrait, IntoActiveModel, JoinType, QueryFilter,
    QueryOrder, QuerySelect, QueryTrait, RelationDef, Select,
    sea_query::{Expr, ExprTrait as _, LockBehavior, LockType},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    Datasets,
    refresh::{connection_of, entry},
};
use crate::{
    access::Viewer,
    claims::{self, CLAIMED},
    connections::Batch,
    db::beside,
    error::Result,
    ids::{self, Kind},
    journal::REFRESH_ENDED,
    provider::Haste,
};

/// The job that refreshes what is due.
pub const JOB: &str = "refresh-datasets";
/// How many of a connector are refreshed at once by one node.
const AT_ONCE: u64 = 8;
/// How many are made due by one statement.
const WAITS_AT_ONCE: u64 = 500;

/// The right to refresh a dataset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) run: Uuid,
    pub(super) dataset: Uuid,
}

impl Datasets {
    /// The connectors of which datasets are due.
    pub async fn due_connectors(&self) -> Result<Vec<String>> {
        let slugs = self.due().await?.column(connection::Column::Connector).distinct();
        let slugs: Vec<String> = slugs.into_tuple().all(self.db.reader()).await?;
        Ok(slugs.into_iter().filter(|slug| self.catalogue.get(slug).is_some()).collect())
    }

    /// How many are due, by connector.
    pub async fn backlog(&self) -> Result<Vec<(String, i64)>> {
        let due = self.due().await?;
        let counted = due
            .column(connection::Column::Connector)
            .column_as(dataset::Column::Id.count(), "due")
            .group_by(connection::Column::Connector);
        Ok(counted.into_tuple().all(self.db.reader()).await?)
    }

    /// Refreshes a few of a connector's datasets that are due.
    pub async fn take_batch(&self, connector: &str) -> Result<Batch> {
        let longest = self
            .due()
            .await?
            .columns([dataset::Column::Id, dataset::Column::WorkspaceId])
            .filter(connection::Column::Connector.eq(connector))
            .order_by_asc(dataset::Column::RefreshAt);
        let due = claims::parts(self.db.reader(), longest, dataset::Column::WorkspaceId, AT_ONCE).await?;
        let mut claims = Vec::with_capacity(due.len());
        for dataset in due {
            claims.extend(self.claim_due(dataset).await?);
        }
        if claims.is_empty() {
            return Ok(Batch::Empty);
        }
        let (at_once, all) = (claims.len(), stream::iter(claims));
        let refreshed = all.map(|claim| beside(self.refresh_due(claim))).buffer_unordered(at_once);
        let failed = refreshed.filter(|failed| std::future::ready(*failed)).count().await;
        Ok(Batch::Worked { failed })
    }

    /// Refreshes one that is claimed. Whether that failed for want of anything but rows.
    async fn refresh_due(&self, claim: Claim) -> bool {
        let refreshed = async {
            let Some(row) = dataset::Entity::find_by_id(claim.dataset).one(self.db.reader()).await? else {
                return Ok(());
            };
            let job = Viewer::job(JOB, row.workspace_id);
            self.refresh_claimed(&claim, &row, job.actor(), Haste::InTurn(row.workspace_id)).await.map(drop)
        };
        let Err(error) = self.under(&claim, refreshed).await else { return false };
        let dataset = Kind::Dataset.of(claim.dataset);
        tracing::error!(job = JOB, %dataset, ?error, "this one failed; it is tried again");
        // By its date, not at once for its connection's sake.
        if let Err(error) = self.forget_waiting(claim.dataset).await {
            tracing::error!(job = JOB, %dataset, ?error, "it could not be put off");
        }
        true
    }

    /// Makes a dataset due.
    pub(super) async fn put_due(&self, db: &impl ConnectionTrait, dataset: Uuid) -> Result<()> {
        dataset::Entity::update_many()
            .col_expr(dataset::Column::RefreshAt, Expr::value(self.clock.now()))
            .filter(dataset::Column::Id.eq(dataset))
            .exec(db)
            .await?;
        Ok(())
    }

    async fn forget_waiting(&self, dataset: Uuid) -> Result<()> {
        dataset::Entity::update_many()
            .col_expr(dataset::Column::NeedsReconnect, Expr::value(false))
            .filter(dataset::Column::Id.eq(dataset))
            .exec(self.db.writer())
            .await?;
        Ok(())
    }

    /// Claims a dataset; none when somebody else has it.
    pub(super) async fn claim(&self, dataset: Uuid) -> Result<Option<Claim>> {
        self.claim_if(dataset, Condition::all()).await
    }

    /// Claims a dataset that is due still: another node may have refreshed it since it was found.
    async fn claim_due(&self, dataset: Uuid) -> Result<Option<Claim>> {
        self.claim_if(dataset, Condition::all().add(dataset::Column::RefreshAt.lte(self.clock.now()))).await
    }

    async fn claim_if(&self, dataset: Uuid, condition: Condition) -> Result<Option<Claim>> {
        let run = ids::new(self.clock.now(), &*self.entropy);
        let now = self.db.time(self.clock.now()).await?;
        let free = dataset::Entity::find()
            .select_only()
            .column(dataset::Column::Id)
            .filter(dataset::Column::Id.eq(dataset))
            .filter(condition)
            .filter(claims::unclaimed(dataset::Column::ClaimedUntil, now))
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .into_query();
        let claimed = dataset::Entity::update_many()
            .col_expr(dataset::Column::ClaimedBy, Expr::value(run))
            .col_expr(dataset::Column::ClaimedUntil, Expr::value(now + CLAIMED))
            // Should the holder be killed, somebody else finds it due.
            .col_expr(dataset::Column::RefreshAt, Expr::value(self.clock.now()))
            .filter(dataset::Column::Id.in_subquery(free))
            .exec(self.db.leases())
            .await?;
        Ok((claimed.rows_affected == 1).then_some(Claim { run, dataset }))
    }

    /// Does `work` under a claim, which is kept up meanwhile, and given back after.
    pub(super) async fn under<T>(&self, claim: &Claim, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let done = claims::under(work, || self.prolong(claim)).await;
        self.release(claim).await?;
        done
    }

    /// Gives a claim back that its outcome did not end. That is told, since a dataset is shown as being refreshed as long as
    /// it is claimed. What is still due then is due again a tick later and no sooner; where its connection was removed, never.
    async fn release(&self, claim: &Claim) -> Result<()> {
        let claimed = dataset::Entity::find_by_id(claim.dataset).filter(dataset::Column::ClaimedBy.eq(claim.run));
        // Most outcomes ended it: no writer is held up to find that.
        if claimed.clone().one(self.db.reader()).await?.is_none() {
            return Ok(());
        }
        let txn = self.db.begin().await?;
        let Some(held) = claimed.lock_exclusive().one(&txn).await? else { return Ok(()) };
        let now = self.clock.now();
        let is_left = connection_of(&txn, held.connection_id).await?.removed_at.is_some();
        let later = |at| if at <= now { now + self.tick() } else { at };
        let refresh_at = held.refresh_at.filter(|_| !is_left).map(later);
        let over = dataset::Model { claimed_by: None, claimed_until: None, refresh_at, ..held };
        let actor = Viewer::job(JOB, over.workspace_id).actor();
        let entry = entry(&txn, &over, REFRESH_ENDED, actor, json!({ "name": over.name })).await?;
        let workspace = over.workspace_id;
        over.into_active_model().reset_all().update(&txn).await?;
        self.journal.commit(txn, workspace, vec![entry]).await?;
        Ok(())
    }

    async fn prolong(&self, claim: &Claim) -> Result<()> {
        let txn = self.db.begin_lease().await?;
        let until = txn.time(self.clock.now()).await? + CLAIMED;
        dataset::Entity::update_many()
            .col_expr(dataset::Column::ClaimedUntil, Expr::value(until))
            .filter(dataset::Column::Id.eq(claim.dataset))
            .filter(dataset::Column::ClaimedBy.eq(claim.run))
            .exec(&txn)
            .await?;
        Ok(txn.commit().await?)
    }

    pub(super) fn tick(&self) -> TimeDelta {
        TimeDelta::from_std(self.settings.job_tick).unwrap_or(CLAIMED)
    }

    /// Datasets that are due and free: of connections that are there, or with a claim that its holder did not give back.
    async fn due(&self) -> Result<Select<dataset::Entity>> {
        let now = self.clock.now();
        let free = claims::unclaimed(dataset::Column::ClaimedUntil, self.db.time(now).await?);
        let there = connection::Column::RemovedAt.is_null();
        Ok(dataset::Entity::find()
            .select_only()
            .join(JoinType::InnerJoin, its_connection())
            .filter(there.or(dataset::Column::ClaimedBy.is_not_null()))
            .filter(dataset::Column::RefreshAt.lte(now))
            .filter(free))
    }

    /// Makes those due that wait for a connection which works.
    pub async fn end_waits(&self) -> Result<()> {
        let now = self.clock.now();
        let waiting = Expr::col(dataset::Column::NeedsReconnect.as_column_ref()).eq(Expr::Constant(true.into()));
        let in_vain = dataset::Entity::find()
            .select_only()
            .column(dataset::Column::Id)
            .join(JoinType::InnerJoin, its_connection())
            .filter(waiting)
            .filter(connection::Column::Status.ne(Status::Disconnected))
            .filter(connection::Column::RemovedAt.is_null())
            .filter(Condition::any().add(dataset::Column::RefreshAt.is_null()).add(dataset::Column::RefreshAt.gt(now)))
            .limit(WAITS_AT_ONCE);
        loop {
            let ids: Vec<Uuid> = in_vain.clone().into_tuple().all(self.db.reader()).await?;
            let more = ids.len() as u64 == WAITS_AT_ONCE;
            if !ids.is_empty() {
                dataset::Entity::update_many()
                    .col_expr(dataset::Column::RefreshAt, Expr::value(now))
                    .filter(dataset::Column::Id.is_in(ids))
                    .exec(self.db.writer())
                    .await?;
            }
            if !more {
                return Ok(());
            }
        }
    }
}

/// From a dataset to what it reads through.
pub(super) fn its_connection() -> RelationDef {
    dataset::Entity::belongs_to(connection::Entity)
        .from(dataset::Column::ConnectionId)
        .to(connection::Column::Id)
        .into()
}
