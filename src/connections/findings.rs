//! What follows from a finding: when to look again, and what the lifecycle is told.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Detector, DisconnectionReason, Endpoint, Status, authorization, connection};
use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, UpdateMany,
    sea_query::{Expr, ExprTrait as _},
};
use uuid::Uuid;

use super::{
    Connections,
    checks::{Finding, Look},
    held::{Held, is_lost},
    lifecycle::{Change, Fault, Healed},
    messages,
};
use crate::{catalogue::Connector, error::Result};

/// Flagged authorizations are probed at least this often.
pub(super) const FLAGGED_AT_MOST: TimeDelta = TimeDelta::hours(6);

impl Connections {
    /// Writes what a look at an authorization found. Its connections are loaded only where the status of one changes.
    pub(super) async fn write_finding(&self, look: &Look, finding: Finding) -> Result<()> {
        if let Finding::Nothing = finding {
            return Ok(());
        }
        let mut change = Change::begin(self, &look.viewer).await?;
        let Some(row) = self.lock_same(&mut change, &look.row).await? else { return Ok(()) };
        match finding {
            Finding::Nothing => return Ok(()),
            // Refused since it was asked: that is newer.
            Finding::Works if row.status == Status::Disconnected && look.row.status != Status::Disconnected => {
                return Ok(());
            }
            // On the heap: part of the futures of all that led here, these would fill a thread's stack.
            Finding::Works => Box::pin(self.write_works(&mut change, row, look)).await?,
            Finding::Unsure { wait, what } => {
                let unverified = change.note_failing(&row, &what).await?;
                if let Some(wait) = wait {
                    change.note_quiet(&row, Endpoint::Api, wait).await?;
                }
                match unverified.filter(|_| row.status != Status::Disconnected) {
                    Some(since) => {
                        let fault = unresponsive(look, since, &what, Detector::Probe);
                        Box::pin(self.break_down(&mut change, row, look, fault)).await?;
                    }
                    None => self.postpone_probe(&change, &row, wait).await?,
                }
            }
            Finding::Unasked(wait) => self.postpone_probe(&change, &row, wait).await?,
            Finding::ClientRefused => {
                change.note_client_refused(&row, Endpoint::Api).await?;
                self.postpone_probe(&change, &row, None).await?;
            }
            Finding::Broken(reason, detector) => {
                change.note_answered(&row, Endpoint::Api).await?;
                Box::pin(self.break_down(&mut change, row, look, fault(look, reason, detector))).await?;
            }
            Finding::Refused => {
                change.note_answered(&row, Endpoint::Api).await?;
                let mut held = change.with_all(row).await?;
                Box::pin(self.refuse(&mut change, &mut held, look)).await?;
            }
        }
        change.commit().await
    }

    /// Its connector has no probe any more.
    pub(super) async fn never_probe(&self, row: &authorization::Model) -> Result<()> {
        authorization::Entity::update_many()
            .col_expr(authorization::Column::ProbeAt, Expr::value(None::<DateTime<Utc>>))
            .filter(authorization::Column::Id.eq(row.id))
            .exec(self.db.writer())
            .await?;
        Ok(())
    }

    /// It works: that is one row to write as long as it did before.
    async fn write_works(&self, change: &mut Change<'_>, row: authorization::Model, look: &Look) -> Result<()> {
        change.note_answered(&row, Endpoint::Api).await?;
        let id = row.id;
        if row.status == Status::Disconnected {
            let mut held = change.with_all(row).await?;
            if !change.is_datasets_to_heal(&held).await? {
                change.heal(&mut held, Healed::ByItself).await?;
            }
            self.regain_spoken_for(change, &mut held, look).await?;
        } else {
            let mut held = change.with_lost(row).await?;
            self.regain_spoken_for(change, &mut held, look).await?;
        }
        self.note_works(change, id, &look.connector).await
    }

    /// Connections whose accounts are not asked of on their own work again with the authorization.
    async fn regain_spoken_for(&self, change: &mut Change<'_>, held: &mut Held, look: &Look) -> Result<()> {
        let lost: Vec<Uuid> =
            spoken_for(held, &look.connector).filter(|row| row.lost_access).map(|row| row.id).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let lost = change.without_datasets_to_regain(held, lost).await?;
        change.regain(held, &lost, Healed::ByItself).await
    }

    async fn note_works(&self, change: &Change<'_>, authorization: Uuid, connector: &Connector) -> Result<()> {
        authorization::Entity::update_many()
            .col_expr(authorization::Column::Failures, Expr::value(0))
            .col_expr(authorization::Column::ProbeAt, Expr::value(self.probe_at(connector, change.now)))
            .col_expr(authorization::Column::LastCheckedAt, Expr::value(change.now))
            .filter(authorization::Column::Id.eq(authorization))
            .exec(&change.txn)
            .await?;
        let mut spoken_for = forget_refusals(authorization).filter(connection::Column::LostAccess.eq(false));
        if connector.probe.account_request.is_some() {
            spoken_for = spoken_for.filter(connection::Column::AccountId.is_null());
        }
        spoken_for.exec(&change.txn).await?;
        Ok(())
    }

    /// Renews later. What is flagged is renewed by its probes alone.
    pub(super) async fn postpone_renewal(
        &self,
        change: &Change<'_>,
        row: &authorization::Model,
        retry_after: Option<Duration>,
    ) -> Result<()> {
        if row.status == Status::Disconnected {
            return Ok(());
        }
        self.postpone(change, row, retry_after, authorization::Column::RenewAt).await
    }

    /// Probes later.
    async fn postpone_probe(
        &self,
        change: &Change<'_>,
        row: &authorization::Model,
        retry_after: Option<Duration>,
    ) -> Result<()> {
        self.postpone(change, row, retry_after, authorization::Column::ProbeAt).await
    }

    /// Looks again later: after what the provider asked for (a tick at least), or from one job tick, doubling up to the
    /// probe interval.
    async fn postpone(
        &self,
        change: &Change<'_>,
        row: &authorization::Model,
        retry_after: Option<Duration>,
        column: authorization::Column,
    ) -> Result<()> {
        let doubled =
            self.settings.job_tick.saturating_mul(2_u32.saturating_pow(row.failures.clamp(0, 30).unsigned_abs()));
        let asked = retry_after.map(|wait| wait.max(self.settings.job_tick));
        let pause = asked.unwrap_or_else(|| doubled.min(self.settings.probe_interval));
        let mut at = change.now + TimeDelta::from_std(pause).unwrap_or(FLAGGED_AT_MOST);
        if row.status == Status::Disconnected {
            at = Ord::max(at, self.flagged_until(row.failures, change.now));
        }
        authorization::Entity::update_many()
            .col_expr(authorization::Column::Failures, Expr::value(row.failures.saturating_add(1)))
            .col_expr(column, Expr::value(at))
            .filter(authorization::Column::Id.eq(row.id))
            .exec(&change.txn)
            .await?;
        Ok(())
    }

    /// When a flagged authorization is looked at again: from twice the interval, doubling up to six hours.
    pub(super) fn flagged_until(&self, failures: i32, now: DateTime<Utc>) -> DateTime<Utc> {
        let doublings = failures.clamp(0, 20).unsigned_abs() + 1;
        let pause = self.settings.probe_interval.saturating_mul(2_u32.saturating_pow(doublings));
        now + TimeDelta::from_std(pause).unwrap_or(FLAGGED_AT_MOST).min(FLAGGED_AT_MOST)
    }

    /// The grant, key or password is not accepted any more, or was not seen to be for too long.
    pub(super) async fn break_down(
        &self,
        change: &mut Change<'_>,
        row: authorization::Model,
        look: &Look,
        fault: Fault,
    ) -> Result<()> {
        self.note_broken(change, &row, look).await?;
        if row.status == Status::Disconnected {
            return Ok(());
        }
        let mut held = change.with_all(row).await?;
        change.disconnect(&mut held, fault).await
    }

    /// All of it was looked at, and what was refused once has come to its end. It is looked at again as what is flagged.
    async fn note_broken(&self, change: &Change<'_>, row: &authorization::Model, look: &Look) -> Result<()> {
        let failures = if row.status == Status::Disconnected { row.failures.saturating_add(1) } else { 0 };
        let again = look.connector.has_probe().then(|| self.flagged_until(failures, change.now));
        authorization::Entity::update_many()
            .col_expr(authorization::Column::Failures, Expr::value(failures))
            .col_expr(authorization::Column::RenewAt, Expr::value(None::<DateTime<Utc>>))
            .col_expr(authorization::Column::RenewalSentAt, Expr::value(None::<DateTime<Utc>>))
            .col_expr(authorization::Column::ProbeAt, Expr::value(again))
            .col_expr(authorization::Column::LastCheckedAt, Expr::value(change.now))
            .filter(authorization::Column::Id.eq(row.id))
            .exec(&change.txn)
            .await?;
        connection::Entity::update_many()
            .col_expr(connection::Column::LastCheckedAt, Expr::value(change.now))
            .filter(connection::Column::AuthorizationId.eq(row.id))
            .filter(connection::Column::RemovedAt.is_null())
            .filter(is_lost())
            .exec(&change.txn)
            .await?;
        forget_refusals(row.id).exec(&change.txn).await?;
        Ok(())
    }

    /// The authorization's own probe is denied. That concerns the connections it speaks for, at a second look: where it
    /// speaks for all of several, the authorization as a whole. Accounts that are asked of on their own have the word about
    /// themselves, and are asked at once.
    async fn refuse(&self, change: &mut Change<'_>, held: &mut Held, look: &Look) -> Result<()> {
        let concerned: Vec<(Uuid, bool)> =
            spoken_for(held, &look.connector).map(|row| (row.id, row.refused_once || row.lost_access)).collect();
        if concerned.len() < held.members.len() && held.authorization.failures == 0 {
            self.all_accounts_due(change, held.id()).await?;
        }
        if concerned.len() == 1 || concerned.len() < held.members.len() {
            for (id, again) in concerned {
                self.refuse_account(change, held, look, id, again).await?;
            }
            return self.postpone_probe(change, &held.authorization, None).await;
        }
        if concerned.iter().all(|(_, again)| *again) {
            self.note_broken(change, &held.authorization, look).await?;
            return change.disconnect(held, fault(look, DisconnectionReason::AccessLost, Detector::Probe)).await;
        }
        connection::Entity::update_many()
            .col_expr(connection::Column::RefusedOnce, Expr::value(true))
            .filter(connection::Column::AuthorizationId.eq(held.id()))
            .filter(connection::Column::RemovedAt.is_null())
            .exec(&change.txn)
            .await?;
        self.postpone_probe(change, &held.authorization, None).await
    }
}

/// The connections of which nothing but the authorization's own probe is asked.
fn spoken_for<'h>(held: &'h Held, connector: &'h Connector) -> impl Iterator<Item = &'h connection::Model> {
    let rows = held.members.iter().map(|member| &member.row);
    rows.filter(|row| connector.probe.asks_of(row.account_id.as_deref()).is_none())
}

/// What the connections of an authorization that were refused once wait for is over. The value stands in the statement
/// itself, since only then is the index of the few that were used.
fn forget_refusals(authorization: Uuid) -> UpdateMany<connection::Entity> {
    let refused = Expr::col(connection::Column::RefusedOnce.as_column_ref()).eq(Expr::Constant(true.into()));
    connection::Entity::update_many()
        .col_expr(connection::Column::RefusedOnce, Expr::value(false))
        .filter(connection::Column::AuthorizationId.eq(authorization))
        .filter(connection::Column::RemovedAt.is_null())
        .filter(refused)
}

pub(super) fn fault(look: &Look, reason: DisconnectionReason, detector: Detector) -> Fault {
    // As it was before this renewal was sent: an earlier one is unanswered.
    let answer_lost = detector == Detector::TokenRenewal && look.row.renewal_sent_at.is_some();
    let message = match reason {
        DisconnectionReason::Revoked if answer_lost => messages::lost_answer(&look.connector.name),
        _ => messages::message(reason, &look.connector.name),
    };
    Fault { reason, detector: look.occasion.detector(detector), message }
}

/// It fails since then, as `what` says, and for longer than may be.
pub(super) fn unresponsive(look: &Look, since: DateTime<Utc>, what: &str, detector: Detector) -> Fault {
    let message = messages::unresponsive(&look.connector.name, since, what);
    Fault { reason: DisconnectionReason::Unresponsive, detector: look.occasion.detector(detector), message }
}
