//! What follows from a finding: when to look again, and what the lifecycle is told.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Detector, DisconnectionReason, Endpoint, Status, authorization, connection};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use uuid::Uuid;

use super::{
    Connections,
    checks::{Finding, Look},
    held::Held,
    lifecycle::{Change, Fault, Healed},
};
use crate::{catalogue::Connector, error::Result};

/// Flagged authorizations are probed at least this often.
pub(super) const FLAGGED_AT_MOST: TimeDelta = TimeDelta::hours(6);

impl Connections {
    pub(super) async fn write_finding(&self, look: &Look, finding: Finding) -> Result<()> {
        if let Finding::Nothing = finding {
            return Ok(());
        }
        let mut change = Change::begin(self, &look.viewer).await?;
        let Some(mut held) = self.hold_same(&change, &look.row).await? else { return Ok(()) };
        match finding {
            Finding::Nothing => return Ok(()),
            // Refused since it was asked: that is newer.
            Finding::Works
                if held.authorization.status == Status::Disconnected && look.row.status != Status::Disconnected =>
            {
                return Ok(());
            }
            Finding::Works => {
                change.note_answered(&held, Endpoint::Api).await?;
                if held.authorization.status == Status::Disconnected && !change.is_datasets_to_heal(&held).await? {
                    change.heal(&mut held, Healed::ByItself).await?;
                }
                self.regain_spoken_for(&mut change, &mut held, look).await?;
                self.note_works(&change, &held, &look.connector).await?;
            }
            Finding::Unsure(wait) => {
                change.note_failing(&held).await?;
                self.postpone_probe(&change, &held, wait).await?;
                if let Some(wait) = wait {
                    change.note_quiet(&held, Endpoint::Api, wait).await?;
                }
            }
            Finding::Unasked(wait) => self.postpone_probe(&change, &held, wait).await?,
            Finding::ClientRefused => {
                change.note_client_refused(&held, Endpoint::Api).await?;
                self.postpone_probe(&change, &held, None).await?;
            }
            Finding::Broken(reason, detector) => {
                change.note_answered(&held, Endpoint::Api).await?;
                self.break_down(&mut change, &mut held, look, reason, detector).await?;
            }
            Finding::Refused => {
                change.note_answered(&held, Endpoint::Api).await?;
                self.refuse(&mut change, &mut held, look).await?;
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

    /// Connections whose accounts are not asked of on their own work again with the authorization.
    async fn regain_spoken_for(&self, change: &mut Change<'_>, held: &mut Held, look: &Look) -> Result<()> {
        let lost: Vec<Uuid> =
            spoken_for(held, &look.connector).filter(|row| row.lost_access).map(|row| row.id).collect();
        let lost = change.without_datasets_to_regain(held, lost).await?;
        change.regain(held, &lost, Healed::ByItself).await
    }

    pub(super) async fn note_works(&self, change: &Change<'_>, held: &Held, connector: &Connector) -> Result<()> {
        authorization::Entity::update_many()
            .col_expr(authorization::Column::Failures, Expr::value(0))
            .col_expr(authorization::Column::ProbeAt, Expr::value(self.probe_at(connector, change.now)))
            .filter(authorization::Column::Id.eq(held.id()))
            .exec(&change.txn)
            .await?;
        let working = connection::Entity::update_many()
            .filter(connection::Column::AuthorizationId.eq(held.id()))
            .filter(connection::Column::RemovedAt.is_null())
            .filter(connection::Column::LostAccess.eq(false));
        let seen = working.clone().col_expr(connection::Column::LastCheckedAt, Expr::value(change.now));
        seen.exec(&change.txn).await?;
        let mut spoken_for = working
            .col_expr(connection::Column::RefusedOnce, Expr::value(false))
            .filter(connection::Column::RefusedOnce.eq(true));
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
        held: &Held,
        retry_after: Option<Duration>,
    ) -> Result<()> {
        if held.authorization.status == Status::Disconnected {
            return Ok(());
        }
        self.postpone(change, held, retry_after, authorization::Column::RenewAt).await
    }

    /// Probes later.
    async fn postpone_probe(&self, change: &Change<'_>, held: &Held, retry_after: Option<Duration>) -> Result<()> {
        self.postpone(change, held, retry_after, authorization::Column::ProbeAt).await
    }

    /// Looks again later: after what the provider asked for (a tick at least), or from one job tick, doubling up to the
    /// probe interval.
    async fn postpone(
        &self,
        change: &Change<'_>,
        held: &Held,
        retry_after: Option<Duration>,
        column: authorization::Column,
    ) -> Result<()> {
        let row = &held.authorization;
        let doubled =
            self.settings.job_tick.saturating_mul(2_u32.saturating_pow(row.failures.clamp(0, 30).unsigned_abs()));
        let asked = retry_after.map(|wait| wait.max(self.settings.job_tick));
        let pause = asked.unwrap_or_else(|| doubled.min(self.settings.probe_interval));
        let mut at = change.now + TimeDelta::from_std(pause).unwrap_or(FLAGGED_AT_MOST);
        if row.status == Status::Disconnected {
            at = at.max(self.flagged_until(row, change.now));
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
    pub(super) fn flagged_until(&self, row: &authorization::Model, now: DateTime<Utc>) -> DateTime<Utc> {
        let doublings = row.failures.clamp(0, 20).unsigned_abs() + 1;
        let pause = self.settings.probe_interval.saturating_mul(2_u32.saturating_pow(doublings));
        now + TimeDelta::from_std(pause).unwrap_or(FLAGGED_AT_MOST).min(FLAGGED_AT_MOST)
    }

    pub(super) async fn break_down(
        &self,
        change: &mut Change<'_>,
        held: &mut Held,
        look: &Look,
        reason: DisconnectionReason,
        detector: Detector,
    ) -> Result<()> {
        let failures =
            if held.authorization.status == Status::Disconnected { held.authorization.failures + 1 } else { 0 };
        held.authorization.failures = failures;
        authorization::Entity::update_many()
            .col_expr(authorization::Column::Failures, Expr::value(failures))
            .col_expr(authorization::Column::RenewAt, Expr::value(None::<DateTime<Utc>>))
            .col_expr(authorization::Column::RenewalSentAt, Expr::value(None::<DateTime<Utc>>))
            .col_expr(
                authorization::Column::ProbeAt,
                Expr::value(look.connector.has_probe().then(|| self.flagged_until(&held.authorization, change.now))),
            )
            .filter(authorization::Column::Id.eq(held.id()))
            .exec(&change.txn)
            .await?;
        self.note_seen(change, held).await?;
        let message = message(reason, &look.connector.name);
        change.disconnect(held, Fault { reason, detector: look.occasion.detector(detector), message }).await
    }

    /// All of them were looked at, and what was refused once has come to its end.
    pub(super) async fn note_seen(&self, change: &Change<'_>, held: &mut Held) -> Result<()> {
        connection::Entity::update_many()
            .col_expr(connection::Column::LastCheckedAt, Expr::value(change.now))
            .col_expr(connection::Column::RefusedOnce, Expr::value(false))
            .filter(connection::Column::AuthorizationId.eq(held.id()))
            .filter(connection::Column::RemovedAt.is_null())
            .exec(&change.txn)
            .await?;
        for member in &mut held.members {
            (member.row.last_checked_at, member.row.refused_once) = (Some(change.now), false);
        }
        Ok(())
    }

    /// The authorization's own probe is denied. That concerns the connections it speaks for, at a second look: where it
    /// speaks for all of several, the authorization as a whole. Accounts that are asked of on their own have the word about
    /// themselves, and are asked at once.
    async fn refuse(&self, change: &mut Change<'_>, held: &mut Held, look: &Look) -> Result<()> {
        let concerned: Vec<(Uuid, bool)> =
            spoken_for(held, &look.connector).map(|row| (row.id, row.refused_once || row.lost_access)).collect();
        if concerned.len() < held.members.len() && held.authorization.failures == 0 {
            self.all_accounts_due(change, held).await?;
        }
        if concerned.len() == 1 || concerned.len() < held.members.len() {
            for (id, again) in concerned {
                self.refuse_account(change, held, look, id, again).await?;
            }
            return self.postpone_probe(change, held, None).await;
        }
        if concerned.iter().all(|(_, again)| *again) {
            return self.break_down(change, held, look, DisconnectionReason::AccessLost, Detector::Probe).await;
        }
        connection::Entity::update_many()
            .col_expr(connection::Column::RefusedOnce, Expr::value(true))
            .filter(connection::Column::AuthorizationId.eq(held.id()))
            .filter(connection::Column::RemovedAt.is_null())
            .exec(&change.txn)
            .await?;
        self.postpone_probe(change, held, None).await
    }
}

/// The connections of which nothing but the authorization's own probe is asked.
fn spoken_for<'h>(held: &'h Held, connector: &'h Connector) -> impl Iterator<Item = &'h connection::Model> {
    let rows = held.members.iter().map(|member| &member.row);
    rows.filter(|row| connector.probe.asks_of(row.account_id.as_deref()).is_none())
}

/// For people: what happened and what to do.
pub(super) fn message(reason: DisconnectionReason, connector: &str) -> String {
    match reason {
        DisconnectionReason::Revoked => {
            format!(
                "{connector} no longer accepts this authorization: it was revoked, or a password was changed. Reconnect to sign in again."
            )
        }
        DisconnectionReason::Expired => {
            format!("The authorization at {connector} has reached its end. Reconnect to sign in again.")
        }
        DisconnectionReason::CredentialsRejected => {
            format!("{connector} no longer accepts the key or password. Reconnect with the new one.")
        }
        DisconnectionReason::AccessLost => {
            format!(
                "{connector} no longer lets this sign-in read the account. Ask for access again, or reconnect as someone who has it."
            )
        }
        DisconnectionReason::Reported => format!("A reader of {connector} reported that it was refused."),
    }
}
