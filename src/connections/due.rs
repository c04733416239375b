//! Which authorizations are due, and who works on them: one at a time, over all nodes.
//!
//! A claim keeps others away while a provider is asked. It is not the fence: that is the credential's version, so that
//! a claim that was lost costs a call and never a truth.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Endpoint, Status, authorization, connection, connector};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, QueryTrait, RelationDef,
    Select,
    sea_query::{Expr, ExprTrait as _, LockBehavior, LockType, SelectStatement, SimpleExpr},
};
use uuid::Uuid;

use super::{Connections, account_checks::put_off_accounts, filter::has_status, findings::FLAGGED_AT_MOST};
use crate::{
    claims::{self, CLAIMED},
    error::Result,
    ids,
};

/// How many accounts that are due are looked at to find authorizations whose turn it is,
const ACCOUNTS_LOOKED_AT: u64 = 200;
/// and how often at most, where those are put off.
const LOOKS_FOR_ACCOUNTS: usize = 10;

/// The right to work on authorizations, until they are released or its time is over.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    run: Uuid,
    pub(super) authorizations: Vec<Uuid>,
    /// What was due, if that is why it was taken.
    due: Option<Due>,
}

/// Of an account that is due: its authorization, that one's status, until when it is quiet, and when it is probed.
type DueAccount = (Uuid, Status, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Due {
    /// Tokens to renew.
    Renewal,
    /// Authorizations to probe.
    Probe,
    /// Authorizations that work and have accounts to probe.
    Accounts,
}

impl Due {
    pub const ALL: [Self; 3] = [Self::Renewal, Self::Probe, Self::Accounts];

    /// The job that does it.
    pub fn job(self) -> &'static str {
        match self {
            Self::Renewal => "renew-tokens",
            Self::Probe => "probe",
            Self::Accounts => "probe-accounts",
        }
    }

    /// Which of the provider's endpoints it asks.
    pub(super) fn endpoint(self) -> Endpoint {
        match self {
            Self::Renewal => Endpoint::Token,
            Self::Probe | Self::Accounts => Endpoint::Api,
        }
    }

    /// When an authorization itself is due; none where its accounts are.
    fn column(self) -> Option<authorization::Column> {
        match self {
            Self::Renewal => Some(authorization::Column::RenewAt),
            Self::Probe => Some(authorization::Column::ProbeAt),
            Self::Accounts => None,
        }
    }
}

impl Connections {
    /// The connectors of which something is due, and that may be asked now.
    pub async fn due_connectors(&self, what: Due) -> Result<Vec<String>> {
        let now = self.clock.now();
        let due = match what.column() {
            Some(column) => authorizations_due(column, now)
                .expr(Expr::value(1))
                .filter(Expr::col((authorization::Entity, authorization::Column::Connector)).equals(slug()))
                .into_query(),
            None => connection::Entity::find()
                .select_only()
                .expr(Expr::value(1))
                .filter(Expr::col((connection::Entity, connection::Column::Connector)).equals(slug()))
                .filter(connection::Column::RemovedAt.is_null())
                .filter(connection::Column::ProbeAt.lte(now))
                .into_query(),
        };
        let slugs: Vec<String> = connector::Entity::find()
            .select_only()
            .column(connector::Column::Slug)
            .filter(Expr::exists(due))
            .into_tuple()
            .all(self.db.reader())
            .await?;
        let paused = self.paused(what.endpoint()).await?;
        Ok(slugs.into_iter().filter(|slug| self.catalogue.get(slug).is_some() && !paused.contains(slug)).collect())
    }

    /// How many are due, by connector: those that are due are counted, and no others looked at.
    pub async fn backlog(&self, what: Due) -> Result<Vec<(String, i64)>> {
        let now = self.clock.now();
        let due = match what.column() {
            Some(column) => authorizations_due(column, now)
                .column_as(authorization::Column::Id.count(), "due")
                .filter(Expr::col((authorization::Entity, authorization::Column::Connector)).equals(slug()))
                .into_query(),
            None => accounts_due(now)
                .column_as(connection::Column::Id.count(), "due")
                .filter(Expr::col((connection::Entity, connection::Column::Connector)).equals(slug()))
                .into_query(),
        };
        let counted: Vec<(String, i64)> = connector::Entity::find()
            .select_only()
            .column(connector::Column::Slug)
            .expr_as(SimpleExpr::SubQuery(None, Box::new(due.into())), "due")
            .into_tuple()
            .all(self.db.reader())
            .await?;
        Ok(counted.into_iter().filter(|(_, due)| *due > 0).collect())
    }

    /// Authorizations that work, and will end within seven days.
    pub async fn due_to_expire(&self, limit: u64) -> Result<Vec<Uuid>> {
        let ids = authorization::Entity::find()
            .select_only()
            .column(authorization::Column::Id)
            .filter(authorization::Column::RemovedAt.is_null())
            .filter(has_status(authorization::Column::Status, &[Status::Connected]))
            .filter(authorization::Column::Connector.is_in(self.catalogue.all().map(|connector| &*connector.slug)))
            .filter(authorization::Column::ExpiresAt.lte(self.clock.now() + super::lifecycle::AHEAD))
            .order_by_asc(authorization::Column::ExpiresAt)
            .limit(limit)
            .into_tuple()
            .all(self.db.reader())
            .await?;
        Ok(ids)
    }

    /// Claims an authorization; none when somebody else has it.
    pub(super) async fn claim(&self, authorization: Uuid) -> Result<Option<Claim>> {
        self.claim_those(vec![authorization], Condition::all(), None).await
    }

    /// Claims up to `most` authorizations of a connector that are due, the longest overdue first; none when nothing is, or
    /// somebody else was quicker.
    pub(super) async fn claim_due(&self, what: Due, slug: &str, most: u64) -> Result<Option<Claim>> {
        let now = self.clock.now();
        let free = claims::unclaimed(authorization::Column::ClaimedUntil, self.db.time(now).await?);
        let (found, still): (Vec<Uuid>, _) = match what.column() {
            Some(column) => {
                let due = Condition::all().add(column.lte(now)).add(not_quiet(what.endpoint(), now));
                let longest = authorization::Entity::find()
                    .select_only()
                    .columns([authorization::Column::Id, authorization::Column::WorkspaceId])
                    .filter(authorization::Column::Connector.eq(slug))
                    .filter(authorization::Column::RemovedAt.is_null())
                    .filter(due.clone())
                    .filter(free)
                    .order_by_asc(column);
                let of_workspace = authorization::Column::WorkspaceId;
                (claims::parts(self.db.reader(), longest, of_workspace, most).await?, due)
            }
            None => (self.authorizations_with_accounts_due(slug, free, most).await?, has_accounts_due(now)),
        };
        if found.is_empty() {
            return Ok(None);
        }
        self.claim_those(found, still, Some(what)).await
    }

    /// Up to `most` authorizations of a connector that are free, that work and may be asked, and of which accounts are
    /// due. Of what is longest overdue so much is looked at as is worth looking at; accounts that cannot be asked about
    /// before a known time are put off until then, so that they do not stand in the way of the others at every tick.
    async fn authorizations_with_accounts_due(&self, slug: &str, free: Condition, most: u64) -> Result<Vec<Uuid>> {
        let now = self.clock.now();
        let mut found = Vec::new();
        for _ in 0..LOOKS_FOR_ACCOUNTS {
            let due: Vec<DueAccount> = due_connections(now)
                .column(connection::Column::AuthorizationId)
                .columns([
                    authorization::Column::Status,
                    authorization::Column::QuietUntil,
                    authorization::Column::ProbeAt,
                ])
                .filter(connection::Column::Connector.eq(slug))
                .filter(free.clone())
                .order_by_asc(connection::Column::ProbeAt)
                .limit(ACCOUNTS_LOOKED_AT)
                .into_tuple()
                .all(self.db.reader())
                .await?;
            let looked_at = due.len() as u64;
            let mut later = BTreeMap::new();
            for (authorization, status, quiet_until, probe_at) in due {
                let flagged = status == Status::Disconnected;
                if flagged || quiet_until.is_some_and(|until| until > now) {
                    let until = if flagged { probe_at.or(Some(now + FLAGGED_AT_MOST)) } else { quiet_until };
                    later.insert(authorization, Ord::max(until.unwrap_or(now), self.a_tick_later()));
                } else if !found.contains(&authorization) {
                    found.push(authorization);
                }
            }
            for (authorization, at) in &later {
                put_off_accounts(self.db.writer(), *authorization, *at).await?;
            }
            if !found.is_empty() || later.is_empty() || looked_at < ACCOUNTS_LOOKED_AT {
                break;
            }
        }
        found.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(found)
    }

    /// Claims those of `ids` that are free and fulfil `condition`.
    async fn claim_those(&self, ids: Vec<Uuid>, condition: Condition, due: Option<Due>) -> Result<Option<Claim>> {
        let run = ids::new(self.clock.now(), &*self.entropy);
        let now = self.db.time(self.clock.now()).await?;
        let free = condition.add(claims::unclaimed(authorization::Column::ClaimedUntil, now));
        let claimed = authorization::Entity::update_many()
            .col_expr(authorization::Column::ClaimedBy, Expr::value(run))
            .col_expr(authorization::Column::ClaimedUntil, Expr::value(now + CLAIMED))
            .filter(authorization::Column::Id.in_subquery(unlocked(ids, free)))
            .exec_with_returning(self.db.leases())
            .await?;
        let authorizations: Vec<Uuid> = claimed.into_iter().map(|row| row.id).collect();
        Ok((!authorizations.is_empty()).then_some(Claim { run, authorizations, due }))
    }

    /// Does `work` under a claim, which is kept up meanwhile, and given back after.
    pub(super) async fn under<T>(&self, claim: &Claim, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let done = claims::under(work, || self.prolong(claim)).await;
        self.release(claim, &claim.authorizations).await?;
        done
    }

    async fn prolong(&self, claim: &Claim) -> Result<()> {
        let txn = self.db.begin_lease().await?;
        let until = txn.time(self.clock.now()).await? + CLAIMED;
        authorization::Entity::update_many()
            .col_expr(authorization::Column::ClaimedUntil, Expr::value(until))
            .filter(authorization::Column::Id.in_subquery(unlocked(claim.authorizations.clone(), claim.is_ours())))
            .exec(&txn)
            .await?;
        Ok(txn.commit().await?)
    }

    /// Gives a claim on some of its authorizations back. What is still due then, since nothing came of it, is due again a
    /// tick later and no sooner.
    pub(super) async fn release(&self, claim: &Claim, authorizations: &[Uuid]) -> Result<()> {
        let mut release = authorization::Entity::update_many()
            .col_expr(authorization::Column::ClaimedBy, Expr::value(None::<Uuid>))
            .col_expr(authorization::Column::ClaimedUntil, Expr::value(None::<DateTime<Utc>>));
        if let Some(column) = claim.due.and_then(Due::column) {
            let put_off = Expr::case(column.lte(self.clock.now()), self.a_tick_later()).finally(Expr::col(column));
            release = release.col_expr(column, put_off.into());
        }
        release
            .filter(authorization::Column::Id.is_in(authorizations.iter().copied()))
            .filter(claim.is_ours())
            .exec(self.db.leases())
            .await?;
        Ok(())
    }

    pub(super) fn a_tick_later(&self) -> DateTime<Utc> {
        self.clock.now() + TimeDelta::from_std(self.settings.job_tick).unwrap_or(CLAIMED)
    }
}

impl Claim {
    fn is_ours(&self) -> Condition {
        Condition::all().add(authorization::Column::ClaimedBy.eq(self.run))
    }
}

/// Those of `ids` that fulfil `condition` and that no transaction holds: waiting for one while holding others is how
/// two lock each other out.
fn unlocked(ids: Vec<Uuid>, condition: Condition) -> SelectStatement {
    authorization::Entity::find()
        .select_only()
        .column(authorization::Column::Id)
        .filter(authorization::Column::Id.is_in(ids))
        .filter(condition)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_query()
}

/// `endpoint` did not ask to be left alone about it.
fn not_quiet(endpoint: Endpoint, now: DateTime<Utc>) -> Condition {
    let quiet_until = match endpoint {
        Endpoint::Token => authorization::Column::TokenQuietUntil,
        Endpoint::Api | Endpoint::Account => authorization::Column::QuietUntil,
    };
    Condition::any().add(quiet_until.is_null()).add(quiet_until.lte(now))
}

/// Authorizations that are due themselves.
fn authorizations_due(column: authorization::Column, now: DateTime<Utc>) -> Select<authorization::Entity> {
    authorization::Entity::find()
        .select_only()
        .filter(authorization::Column::RemovedAt.is_null())
        .filter(column.lte(now))
}

/// Connections whose accounts are due, of authorizations that work and may be asked.
fn accounts_due(now: DateTime<Utc>) -> Select<connection::Entity> {
    due_connections(now)
        .filter(authorization::Column::Status.ne(Status::Disconnected))
        .filter(not_quiet(Endpoint::Account, now))
}

/// Whether an authorization works and may be asked, and accounts of it are due.
fn has_accounts_due(now: DateTime<Utc>) -> Condition {
    let its_own = Expr::col((connection::Entity, connection::Column::AuthorizationId))
        .equals((authorization::Entity, authorization::Column::Id));
    let due = connection::Entity::find()
        .select_only()
        .expr(Expr::value(1))
        .filter(its_own)
        .filter(connection::Column::RemovedAt.is_null())
        .filter(connection::Column::ProbeAt.lte(now))
        .into_query();
    Condition::all()
        .add(authorization::Column::Status.ne(Status::Disconnected))
        .add(not_quiet(Endpoint::Account, now))
        .add(Expr::exists(due))
}

/// Connections whose accounts are due by their date, with their authorizations.
fn due_connections(now: DateTime<Utc>) -> Select<connection::Entity> {
    let its_authorization: RelationDef = connection::Entity::belongs_to(authorization::Entity)
        .from(connection::Column::AuthorizationId)
        .to(authorization::Column::Id)
        .into();
    connection::Entity::find()
        .select_only()
        .join(JoinType::InnerJoin, its_authorization)
        .filter(connection::Column::RemovedAt.is_null())
        .filter(connection::Column::ProbeAt.lte(now))
}

fn slug() -> (connector::Entity, connector::Column) {
    (connector::Entity, connector::Column::Slug)
}
