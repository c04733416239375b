//! Looking at the accounts of an authorization, each on its own: one connection may lose access while the rest goes on.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Detector, DisconnectionReason, Endpoint, connection};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr};
use uuid::Uuid;

use super::{
    Connections,
    checks::{Finding, Look, Occasion},
    findings::{FLAGGED_AT_MOST, fault, unresponsive},
    held::Held,
    lifecycle::{Change, Fault, Healed},
    reading::still_asked,
};
use crate::error::Result;

/// How many accounts of one authorization are looked at in its turn.
const AT_ONCE: u64 = 20;
/// For how long at most.
const AT_A_STRETCH: Duration = Duration::from_secs(3);

impl Connections {
    /// Probes the accounts of a claimed authorization that are due, one after the other.
    pub(super) async fn probe_accounts(&self, job: &'static str, authorization: Uuid) -> Result<()> {
        let begun = Instant::now();
        for connection in self.accounts_due(authorization).await? {
            if !self.probe_account(Occasion::Due(job), authorization, connection).await? {
                // The others would fare no better now.
                break;
            }
            if begun.elapsed() > AT_A_STRETCH {
                // Somebody may wait for the claim.
                return put_off_accounts(self.db.writer(), authorization, self.a_tick_later()).await;
            }
        }
        Ok(())
    }

    /// Its connections whose accounts are due, the longest overdue first.
    async fn accounts_due(&self, authorization: Uuid) -> Result<Vec<Uuid>> {
        let due = connection::Entity::find()
            .select_only()
            .column(connection::Column::Id)
            .filter(connection::Column::AuthorizationId.eq(authorization))
            .filter(connection::Column::RemovedAt.is_null())
            .filter(connection::Column::ProbeAt.lte(self.clock.now()))
            .order_by_asc(connection::Column::ProbeAt)
            .limit(AT_ONCE);
        Ok(due.into_tuple().all(self.db.reader()).await?)
    }

    /// Probes the account of one connection of a claimed authorization. It is refused only at a second look. Whether
    /// the provider had an answer that is about this account.
    pub(super) async fn probe_account(
        &self,
        occasion: Occasion,
        authorization: Uuid,
        connection: Uuid,
    ) -> Result<bool> {
        let Some(look) = self.look(occasion, authorization).await? else { return Ok(false) };
        let Some(row) = self.row(connection).await? else { return Ok(true) };
        if row.authorization_id != authorization {
            return Ok(true);
        }
        let (look, finding) = self.ask(look, Some(&row)).await?;
        let answered = matches!(finding, Finding::Works | Finding::Refused);
        self.write_account_finding(&look, &row, finding).await?;
        Ok(answered)
    }

    /// Writes what was found of the account that `row` had when it was asked about.
    async fn write_account_finding(&self, look: &Look, row: &connection::Model, finding: Finding) -> Result<()> {
        let (connection, again) = (row.id, row.refused_once || row.lost_access);
        if let Finding::Broken(..) | Finding::Nothing = finding {
            // That is all of the authorization's.
            return self.write_finding(look, finding).await;
        }
        let mut change = Change::begin(self, &look.viewer).await?;
        let held = change.hold_with(look.row.id, connection).await?;
        let Some(mut held) = held.filter(|held| still_asked(held, look, row)) else { return Ok(()) };
        match finding {
            Finding::Broken(..) | Finding::Nothing => {}
            // Refused since it was asked: that is newer.
            Finding::Works if held.member(connection).is_some_and(|it| it.row.lost_access) && !row.lost_access => {
                return Ok(());
            }
            Finding::Works => {
                change.note_answered(&held.authorization, Endpoint::Account).await?;
                change.note_account_answered(row).await?;
                let regained = change.without_datasets_to_regain(&held, vec![connection]).await?;
                change.regain(&mut held, &regained, Healed::ByItself).await?;
                let account = held.member(connection).and_then(|member| member.row.account_id.clone());
                let next = self.account_probe_at(&look.connector, account.as_deref(), change.now);
                self.note_account(&change, &held, connection, false, next).await?;
            }
            Finding::Unsure { wait, what } => {
                if let Some(wait) = wait {
                    change.note_quiet(&held.authorization, Endpoint::Api, wait).await?;
                }
                match change.note_account_failing(&held, row, &what).await? {
                    Some(since) if !row.lost_access => {
                        let fault = unresponsive(look, since, &what, Detector::Probe);
                        self.lose_account(&mut change, &mut held, look, connection, fault).await?;
                    }
                    _ => self.wait_for_account(&change, &held, connection, again, wait).await?,
                }
            }
            Finding::Unasked(wait) => self.wait_for_account(&change, &held, connection, again, wait).await?,
            Finding::ClientRefused => {
                change.note_client_refused(&held.authorization, Endpoint::Account).await?;
                self.wait_for_account(&change, &held, connection, again, None).await?;
            }
            Finding::Refused => {
                change.note_answered(&held.authorization, Endpoint::Account).await?;
                change.note_account_answered(row).await?;
                self.refuse_account(&mut change, &mut held, look, connection, again).await?;
            }
        }
        change.commit().await
    }

    /// Looks at this account after `wait`, else after a probe interval; at the others that are due a tick later, so that
    /// one which fails for ever does not hide them.
    async fn wait_for_account(
        &self,
        change: &Change<'_>,
        held: &Held,
        connection: Uuid,
        refused_once: bool,
        wait: Option<Duration>,
    ) -> Result<()> {
        let pause = wait.map_or(self.settings.probe_interval, |wait| wait.max(self.settings.job_tick));
        let pause = TimeDelta::from_std(pause).unwrap_or(FLAGGED_AT_MOST);
        self.note_account(change, held, connection, refused_once, Some(change.now + pause)).await?;
        put_off_accounts(&change.txn, held.id(), self.a_tick_later()).await
    }

    /// The account of a connection is denied: `again`, so that the connection has lost it, or for the first time.
    pub(super) async fn refuse_account(
        &self,
        change: &mut Change<'_>,
        held: &mut Held,
        look: &Look,
        connection: Uuid,
        again: bool,
    ) -> Result<()> {
        if again {
            let fault = fault(look, DisconnectionReason::AccessLost, Detector::Probe);
            return self.lose_account(change, held, look, connection, fault).await;
        }
        let next = self.next_look(look, held, connection, self.settings.job_tick, change.now);
        self.note_account(change, held, connection, true, next).await
    }

    /// A connection loses its account, and goes on being asked of it.
    async fn lose_account(
        &self,
        change: &mut Change<'_>,
        held: &mut Held,
        look: &Look,
        connection: Uuid,
        fault: Fault,
    ) -> Result<()> {
        change.lose_access(held, connection, fault).await?;
        let pause = self.settings.probe_interval.saturating_mul(2);
        let next = self.next_look(look, held, connection, pause, change.now);
        self.note_account(change, held, connection, true, next).await
    }

    /// When an account is looked at after `pause`; none where it is not asked of on its own.
    fn next_look(
        &self,
        look: &Look,
        held: &Held,
        connection: Uuid,
        pause: Duration,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let account = held.member(connection).and_then(|member| member.row.account_id.as_deref());
        let own_probe = look.connector.probe.asks_of(account).is_some();
        own_probe.then(|| now + TimeDelta::from_std(pause).unwrap_or(FLAGGED_AT_MOST))
    }

    /// Every account of an authorization is due.
    pub(super) async fn all_accounts_due(&self, change: &Change<'_>, authorization: Uuid) -> Result<()> {
        connection::Entity::update_many()
            .col_expr(connection::Column::ProbeAt, Expr::value(change.now))
            .filter(connection::Column::AuthorizationId.eq(authorization))
            .filter(connection::Column::RemovedAt.is_null())
            .filter(connection::Column::ProbeAt.gt(change.now))
            .exec(&change.txn)
            .await?;
        Ok(())
    }

    pub(super) async fn note_account(
        &self,
        change: &Change<'_>,
        held: &Held,
        connection: Uuid,
        refused_once: bool,
        next: Option<DateTime<Utc>>,
    ) -> Result<()> {
        connection::Entity::update_many()
            .col_expr(connection::Column::RefusedOnce, Expr::value(refused_once))
            .col_expr(connection::Column::LastCheckedAt, Expr::value(change.now))
            .col_expr(connection::Column::ProbeAt, Expr::value(next))
            .filter(connection::Column::Id.eq(connection))
            .filter(connection::Column::AuthorizationId.eq(held.id()))
            .exec(&change.txn)
            .await?;
        Ok(())
    }
}

/// None of an authorization's accounts is due before `at`.
pub(super) async fn put_off_accounts(db: &impl ConnectionTrait, authorization: Uuid, at: DateTime<Utc>) -> Result<()> {
    connection::Entity::update_many()
        .col_expr(connection::Column::ProbeAt, Expr::value(at))
        .filter(connection::Column::AuthorizationId.eq(authorization))
        .filter(connection::Column::RemovedAt.is_null())
        .filter(connection::Column::ProbeAt.lt(at))
        .exec(db)
        .await?;
    Ok(())
}
