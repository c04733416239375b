//! What follows from a finding: when to look again, and what the lifecycle is told.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Detector, DisconnectionReason, Status, authorization, connection};
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
        let mut change = Change::begin(self, &look.viewer).await?;
        let Some(mut held) = self.hold_same(&change, &look.row).await? else { return Ok(()) };
        match finding {
            Finding::Written => return Ok(()),
            Finding::Works => {
                if held.authorization.status == Status::Disconnected {
                    change.heal(&mut held, Healed::ByItself).await?;
                }
                self.regain_single(&mut change, &mut held, look).await?;
                self.note_works(&change, &held, &look.connector).await?;
            }
            Finding::Unsure(retry_after) => self.postpone_probe(&change, &held, retry_after).await?,
            Finding::Broken(reason, detector) => {
                self.break_down(&mut change, &mut held, look, reason, detector).await?;
            }
            Finding::Refused => self.refuse(&mut change, &mut held, look).await?,
        }
        change.commit().await
    }

    /// Where the authorization's own probe speaks for its only connection, that one works again with it.
    pub(super) async fn regain_single(&self, change: &mut Change<'_>, held: &mut Held, look: &Look) -> Result<()> {
        if look.connector.probe.account_request.is_some() {
            return Ok(());
        }
        let lost: Vec<Uuid> =
            held.members.iter().filter(|member| member.row.lost_access).map(|member| member.row.id).collect();
        change.regain(held, &lost, Healed::ByItself).await
    }

    pub(super) async fn note_works(&self, change: &Change<'_>, held: &Held, connector: &Connector) -> Result<()> {
        authorization::Entity::update_many()
            .col_expr(authorization::Column::Failures, Expr::value(0))
            .col_expr(authorization::Column::ProbeAt, Expr::value(self.probe_at(connector, change.now)))
            .filter(authorization::Column::Id.eq(held.id()))
            .exec(&change.txn)
            .await?;
        connection::Entity::update_many()
            .col_expr(connection::Column::LastCheckedAt, Expr::value(change.now))
            .col_expr(connection::Column::RefusedOnce, Expr::value(false))
            .filter(connection::Column::AuthorizationId.eq(held.id()))
            .filter(connection::Column::RemovedAt.is_null())
            .filter(connection::Column::LostAccess.eq(false))
            .exec(&change.txn)
            .await?;
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
        self.postpone(change, held, retry_after, authorization::Column::RenewAt).await.map(drop)
    }

    /// Probes later.
    pub(super) async fn postpone_probe(
        &self,
        change: &Change<'_>,
        held: &Held,
        retry_after: Option<Duration>,
    ) -> Result<()> {
        let at = self.postpone(change, held, retry_after, authorization::Column::ProbeAt).await?;
        if retry_after.is_some() { self.leave_alone(change, held, at).await } else { Ok(()) }
    }

    /// The API asks for peace: neither the authorization nor an account of it is probed before.
    pub(super) async fn leave_alone(&self, change: &Change<'_>, held: &Held, until: DateTime<Utc>) -> Result<()> {
        authorization::Entity::update_many()
            .col_expr(authorization::Column::ProbeAt, Expr::value(until))
            .filter(authorization::Column::Id.eq(held.id()))
            .filter(authorization::Column::ProbeAt.lt(until))
            .exec(&change.txn)
            .await?;
        connection::Entity::update_many()
            .col_expr(connection::Column::ProbeAt, Expr::value(until))
            .filter(connection::Column::AuthorizationId.eq(held.id()))
            .filter(connection::Column::ProbeAt.lt(until))
            .exec(&change.txn)
            .await?;
        Ok(())
    }

    /// Looks again later: after what the provider asked for, or from one job tick, doubling up to the probe interval.
    pub(super) async fn postpone(
        &self,
        change: &Change<'_>,
        held: &Held,
        retry_after: Option<Duration>,
        column: authorization::Column,
    ) -> Result<DateTime<Utc>> {
        let row = &held.authorization;
        let doubled =
            self.settings.job_tick.saturating_mul(2_u32.saturating_pow(row.failures.clamp(0, 30).unsigned_abs()));
        let pause = retry_after.unwrap_or_else(|| doubled.min(self.settings.probe_interval));
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
        Ok(at)
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
                Expr::value(
                    look.connector.probe.request.as_ref().map(|_| self.flagged_until(&held.authorization, change.now)),
                ),
            )
            .filter(authorization::Column::Id.eq(held.id()))
            .exec(&change.txn)
            .await?;
        self.note_seen(change, held).await?;
        let message = message(reason, &look.connector.name);
        change.disconnect(held, Fault { reason, detector, message }).await
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

    /// The authorization's own probe is denied: that concerns its only connection, or, where it has several, all. It
    /// takes a second look as well.
    pub(super) async fn refuse(&self, change: &mut Change<'_>, held: &mut Held, look: &Look) -> Result<()> {
        match held.members.as_slice() {
            [only] => {
                let (id, again) = (only.row.id, only.row.refused_once || only.row.lost_access);
                self.refuse_account(change, held, look, id, again).await?;
                self.postpone_probe(change, held, None).await
            }
            members if members.iter().all(|member| member.row.refused_once || member.row.lost_access) => {
                self.break_down(change, held, look, DisconnectionReason::AccessLost, Detector::Probe).await
            }
            _ => {
                connection::Entity::update_many()
                    .col_expr(connection::Column::RefusedOnce, Expr::value(true))
                    .filter(connection::Column::AuthorizationId.eq(held.id()))
                    .filter(connection::Column::RemovedAt.is_null())
                    .exec(&change.txn)
                    .await?;
                self.postpone_probe(change, held, None).await
            }
        }
    }
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
