//! Which authorizations and accounts are due, and who looks at them: one at a time, over all nodes.
//!
//! A claim keeps others away while a provider is asked. It is not the fence: that is the credential's version, so that
//! a claim that was lost costs a call and never a truth.

use std::{convert::Infallible, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{authorization, connection};
use sea_orm::{ColumnTrait, Condition, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr};
use uuid::Uuid;

use super::Connections;
use crate::{error::Result, ids};

/// How long a claim lasts that nobody keeps up: as long as others wait for one whose holder was killed.
const CLAIMED: TimeDelta = TimeDelta::seconds(10);
/// How often a claim is kept up.
const KEEP_UP: Duration = Duration::from_secs(3);

/// The right to work on an authorization, until it is released or its time is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) authorization: Uuid,
    run: Uuid,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Tokens to renew.
    Renewal,
    /// Authorizations to probe.
    Probe,
}

impl Due {
    /// When it is.
    fn column(self) -> authorization::Column {
        match self {
            Self::Renewal => authorization::Column::RenewAt,
            Self::Probe => authorization::Column::ProbeAt,
        }
    }
}

impl Connections {
    /// Up to `limit` authorizations that are due, the longest overdue first.
    pub async fn due(&self, what: Due, limit: u64) -> Result<Vec<Uuid>> {
        let column = what.column();
        let ids = authorization::Entity::find()
            .select_only()
            .column(authorization::Column::Id)
            .filter(authorization::Column::RemovedAt.is_null())
            .filter(column.lte(self.clock.now()))
            .filter(unclaimed(self.db.time(self.clock.now()).await?))
            .order_by_asc(column)
            .limit(limit)
            .into_tuple()
            .all(self.db.reader())
            .await?;
        Ok(ids)
    }

    /// Up to `limit` authorizations that work and have accounts that are due to be probed, the longest overdue first.
    pub async fn due_accounts(&self, limit: u64) -> Result<Vec<Uuid>> {
        let its_authorization = connection::Entity::belongs_to(authorization::Entity)
            .from(connection::Column::AuthorizationId)
            .to(authorization::Column::Id)
            .into();
        let ids = connection::Entity::find()
            .select_only()
            .column(connection::Column::AuthorizationId)
            .join(JoinType::InnerJoin, its_authorization)
            .filter(connection::Column::RemovedAt.is_null())
            .filter(connection::Column::ProbeAt.lte(self.clock.now()))
            .filter(authorization::Column::Status.ne(entity::Status::Disconnected))
            .filter(unclaimed(self.db.time(self.clock.now()).await?))
            .group_by(connection::Column::AuthorizationId)
            .order_by_asc(connection::Column::ProbeAt.min())
            .limit(limit)
            .into_tuple()
            .all(self.db.reader())
            .await?;
        Ok(ids)
    }

    /// Authorizations that work, and will end within seven days.
    pub async fn due_to_expire(&self, limit: u64) -> Result<Vec<Uuid>> {
        let ids = authorization::Entity::find()
            .select_only()
            .column(authorization::Column::Id)
            .filter(authorization::Column::RemovedAt.is_null())
            .filter(authorization::Column::Status.eq(entity::Status::Connected))
            .filter(authorization::Column::ExpiresAt.lte(self.clock.now() + super::lifecycle::AHEAD))
            .limit(limit)
            .into_tuple()
            .all(self.db.reader())
            .await?;
        Ok(ids)
    }

    /// Claims an authorization; none when somebody else has it.
    pub(super) async fn claim(&self, authorization: Uuid) -> Result<Option<Claim>> {
        self.claim_if(authorization, Condition::all()).await
    }

    /// Claims an authorization that is due; none when somebody else has it, or had it since it was found to be due.
    pub(super) async fn claim_due(&self, what: Due, authorization: Uuid) -> Result<Option<Claim>> {
        self.claim_if(authorization, Condition::all().add(what.column().lte(self.clock.now()))).await
    }

    async fn claim_if(&self, authorization: Uuid, condition: Condition) -> Result<Option<Claim>> {
        let run = ids::new(self.clock.now(), &*self.entropy);
        let now = self.db.time(self.clock.now()).await?;
        let claimed = authorization::Entity::update_many()
            .col_expr(authorization::Column::ClaimedBy, Expr::value(run))
            .col_expr(authorization::Column::ClaimedUntil, Expr::value(now + CLAIMED))
            .filter(authorization::Column::Id.eq(authorization))
            .filter(condition)
            .filter(unclaimed(now))
            .exec(self.db.writer())
            .await?;
        Ok((claimed.rows_affected == 1).then_some(Claim { authorization, run }))
    }

    /// Does `work` under a claim, which is kept up meanwhile, and given back after.
    pub(super) async fn under<T>(&self, claim: Claim, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        // Beside each other: work that waits for keeping up, while that waits for the row that work has locked, would
        // wait for ever; and work that was cut off could lose the only copy of a token.
        let done = tokio::select! {
            done = work => done,
            never = self.keep_up(claim) => match never {},
        };
        self.release(claim).await?;
        done
    }

    async fn keep_up(&self, claim: Claim) -> Infallible {
        loop {
            tokio::time::sleep(KEEP_UP).await;
            if let Err(error) = self.prolong(claim).await {
                tracing::warn!(authorization = %claim.authorization, ?error, "a claim could not be kept up");
            }
        }
    }

    async fn prolong(&self, claim: Claim) -> Result<()> {
        let until = self.db.time(self.clock.now()).await? + CLAIMED;
        authorization::Entity::update_many()
            .col_expr(authorization::Column::ClaimedUntil, Expr::value(until))
            .filter(authorization::Column::Id.eq(claim.authorization))
            .filter(authorization::Column::ClaimedBy.eq(claim.run))
            .exec(self.db.writer())
            .await?;
        Ok(())
    }

    /// Gives a claim back.
    async fn release(&self, claim: Claim) -> Result<()> {
        authorization::Entity::update_many()
            .col_expr(authorization::Column::ClaimedBy, Expr::value(None::<Uuid>))
            .col_expr(authorization::Column::ClaimedUntil, Expr::value(None::<DateTime<Utc>>))
            .filter(authorization::Column::Id.eq(claim.authorization))
            .filter(authorization::Column::ClaimedBy.eq(claim.run))
            .exec(self.db.writer())
            .await?;
        Ok(())
    }
}

fn unclaimed(now: DateTime<Utc>) -> Condition {
    Condition::any()
        .add(authorization::Column::ClaimedUntil.is_null())
        .add(authorization::Column::ClaimedUntil.lte(now))
}
