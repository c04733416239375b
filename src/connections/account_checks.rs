//! Looking at the accounts of an authorization, each on its own: one connection may lose access while the rest goes on.

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Detector, DisconnectionReason, connection};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr};
use uuid::Uuid;

use super::{
    Connections,
    checks::{Finding, Look},
    findings::{FLAGGED_AT_MOST, message},
    held::Held,
    lifecycle::{Change, Fault, Healed},
};
use crate::error::Result;

/// How many accounts of one authorization are looked at in its turn.
const AT_ONCE: u64 = 20;

impl Connections {
    /// Probes the accounts of an authorization that are due, one after the other, unless somebody is at it.
    pub async fn probe_accounts_due(&self, job: &'static str, authorization: Uuid) -> Result<()> {
        let Some(claim) = self.claim(authorization).await? else { return Ok(()) };
        self.under(claim, async {
            for connection in self.accounts_due(authorization).await? {
                if !self.probe_account(job, authorization, connection).await? {
                    // The others would fare no better now; they are still due.
                    break;
                }
            }
            Ok(())
        })
        .await
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
    pub(super) async fn probe_account(&self, job: &'static str, authorization: Uuid, connection: Uuid) -> Result<bool> {
        let Some(look) = self.look(job, authorization).await? else { return Ok(false) };
        let Some(row) = self.row(connection).await? else { return Ok(true) };
        if row.authorization_id != authorization || row.account_id.is_none() {
            return Ok(true);
        }
        let (look, finding) = self.ask(look, row.account_id.as_deref()).await?;
        let answered = matches!(finding, Finding::Works | Finding::Refused);
        self.write_account_finding(&look, connection, finding, row.refused_once || row.lost_access).await?;
        Ok(answered)
    }

    async fn write_account_finding(&self, look: &Look, connection: Uuid, finding: Finding, again: bool) -> Result<()> {
        let mut change = Change::begin(self, &look.viewer).await?;
        let Some(mut held) = self.hold_same(&change, &look.row).await? else { return Ok(()) };
        match finding {
            Finding::Written => return Ok(()),
            Finding::Broken(reason, detector) => {
                self.break_down(&mut change, &mut held, look, reason, detector).await?;
            }
            Finding::Works => {
                change.regain(&mut held, &[connection], Healed::ByItself).await?;
                let account = held.member(connection).and_then(|member| member.row.account_id.clone());
                let next = self.account_probe_at(&look.connector, account.as_deref(), change.now);
                self.note_account(&change, connection, false, next).await?;
            }
            Finding::Unsure(retry_after) => {
                let pause = TimeDelta::from_std(retry_after.unwrap_or(self.settings.probe_interval)).ok();
                let next = change.now + pause.unwrap_or(FLAGGED_AT_MOST);
                self.note_account(&change, connection, again, Some(next)).await?;
                if retry_after.is_some() {
                    self.leave_alone(&change, &held, next).await?;
                }
            }
            Finding::Refused => self.refuse_account(&mut change, &mut held, look, connection, again).await?,
        }
        change.commit().await
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
            let reason = DisconnectionReason::AccessLost;
            let message = message(reason, &look.connector.name);
            change.lose_access(held, connection, Fault { reason, detector: Detector::Probe, message }).await?;
        }
        let own_probe = look.connector.probe.account_request.is_some();
        let pause = if again { self.settings.probe_interval.saturating_mul(2) } else { self.settings.job_tick };
        let next = own_probe.then(|| change.now + TimeDelta::from_std(pause).unwrap_or(FLAGGED_AT_MOST));
        self.note_account(change, connection, true, next).await
    }

    async fn note_account(
        &self,
        change: &Change<'_>,
        connection: Uuid,
        refused_once: bool,
        next: Option<DateTime<Utc>>,
    ) -> Result<()> {
        connection::Entity::update_many()
            .col_expr(connection::Column::RefusedOnce, Expr::value(refused_once))
            .col_expr(connection::Column::LastCheckedAt, Expr::value(change.now))
            .col_expr(connection::Column::ProbeAt, Expr::value(next))
            .filter(connection::Column::Id.eq(connection))
            .exec(&change.txn)
            .await?;
        Ok(())
    }
}
