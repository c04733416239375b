//! Connections that had lost access on their own, once their authorization works again: each is asked about after the heal is
//! committed, so that nothing which works waits for them. A few are asked at once, and for so long at most; whatever was not
//! answered by then is due for the jobs at once.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{attempt, authorization, connection};
use futures_util::{StreamExt, stream};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{
    Connections,
    findings::FLAGGED_AT_MOST,
    held::Held,
    lifecycle::{Change, Healed},
    list::BATCH,
};
use crate::{
    access::{Action, Viewer},
    catalogue::Connector,
    error::Result,
    ids::Kind,
    provider::{Credential, Failure},
};

/// How many accounts are asked about at once, where the connector's pace allows as many.
const AT_ONCE: usize = 8;

/// What had lost access on its own of an authorization that was just healed.
pub(super) struct Regaining<'a> {
    connector: &'a Connector,
    credential: &'a Credential,
    viewer: &'a Viewer,
    healed: Healed<'a>,
    authorization: Uuid,
    /// Of the credential that it was healed with.
    credential_version: i64,
    /// What is asked about, and for which connections: an account, or the authorization for all that have none to ask about.
    lost: BTreeMap<Option<String>, Vec<Uuid>>,
}

/// What was answered in time.
#[derive(Default)]
struct Answered {
    works: Vec<Uuid>,
    refused: Vec<Uuid>,
    /// Not answered, or with nothing about them.
    open: Vec<Uuid>,
}

impl<'a> Regaining<'a> {
    /// Of an authorization that is held, and was healed with what is fresh.
    pub(super) fn of(
        held: &Held,
        connector: &'a Connector,
        credential: &'a Credential,
        viewer: &'a Viewer,
        healed: Healed<'a>,
    ) -> Self {
        let mut lost: BTreeMap<Option<String>, Vec<Uuid>> = BTreeMap::new();
        for row in held.members.iter().map(|member| &member.row).filter(|row| row.lost_access) {
            let account = connector.probe.asks_of(row.account_id.as_deref()).and(row.account_id.clone());
            lost.entry(account).or_default().push(row.id);
        }
        let (authorization, credential_version) = (held.id(), held.authorization.credential_version);
        Self { connector, credential, viewer, healed, authorization, credential_version, lost }
    }

    fn connections(&self) -> impl Iterator<Item = Uuid> {
        self.lost.values().flatten().copied()
    }
}

impl Connections {
    /// Asks which of them work, and writes that; the attempt that healed the rest, with what it connected, tells of them,
    /// too. What works now. Whatever fails here is left to the jobs: the heal stands.
    pub(super) async fn regain_lost(
        &self,
        it: Regaining<'_>,
        attempt: Option<(&attempt::Model, Vec<Uuid>)>,
    ) -> Vec<Uuid> {
        if it.lost.is_empty() {
            return Vec::new();
        }
        let answered = self.ask_lost(&it).await;
        self.write_regained(&it, answered, attempt).await.unwrap_or_else(|error| {
            let authorization = Kind::Authorization.of(it.authorization);
            tracing::error!(%authorization, ?error, "what had lost access could not be written; the jobs look at it");
            Vec::new()
        })
    }

    async fn ask_lost(&self, it: &Regaining<'_>) -> Answered {
        let pace = usize::try_from(it.connector.pace.concurrent).unwrap_or(AT_ONCE);
        let asked: Vec<(Option<String>, Vec<Uuid>)> = it.lost.clone().into_iter().collect();
        let asking = stream::iter(asked).map(|(account, connections)| self.ask_about(it, account, connections));
        let mut answers = asking.buffer_unordered(pace.clamp(1, AT_ONCE));
        let (deadline, mut answered) = (Instant::now() + self.settings.regain_within, Answered::default());
        while let Ok(Some((connections, answer))) = timeout_at(deadline, answers.next()).await {
            match answer {
                Ok(()) => answered.works.extend(connections),
                Err(Failure::Rejected(_)) => answered.refused.extend(connections),
                Err(Failure::Transient { .. } | Failure::OurClientRejected) => {}
            }
        }
        let said: HashSet<Uuid> = answered.works.iter().chain(&answered.refused).copied().collect();
        answered.open = it.connections().filter(|id| !said.contains(id)).collect();
        answered
    }

    async fn ask_about(
        &self,
        it: &Regaining<'_>,
        account: Option<String>,
        connections: Vec<Uuid>,
    ) -> (Vec<Uuid>, std::result::Result<(), Failure>) {
        (connections, self.provider.probe(it.connector, it.credential, account.as_deref()).await)
    }

    async fn write_regained(
        &self,
        it: &Regaining<'_>,
        answered: Answered,
        attempt: Option<(&attempt::Model, Vec<Uuid>)>,
    ) -> Result<Vec<Uuid>> {
        let mut change = Change::begin(self, it.viewer).await?;
        let held = change.hold_one(it.authorization).await?;
        let is_same = |held: &Held| held.authorization.credential_version == it.credential_version;
        let Some(mut held) = held.filter(is_same) else { return Ok(Vec::new()) };
        let asked_about = |id: &Uuid| {
            let account = held.member(*id).and_then(|member| member.row.account_id.clone());
            it.lost.iter().any(|(asked, ids)| ids.contains(id) && (asked.is_none() || *asked == account))
        };
        let works: Vec<Uuid> = answered.works.into_iter().filter(asked_about).collect();
        change.regain(&mut held, &works, it.healed).await?;
        for id in &works {
            let account = held.member(*id).and_then(|member| member.row.account_id.clone());
            let next = self.account_probe_at(it.connector, account.as_deref(), change.now);
            self.note_account(&change, &held, *id, false, next).await?;
        }
        let pause = TimeDelta::from_std(self.settings.probe_interval.saturating_mul(2)).unwrap_or(FLAGGED_AT_MOST);
        change.due_at(it, &answered.refused, change.now + pause).await?;
        change.due_at(it, &answered.open, change.now).await?;
        let told = |id: &&Uuid| held.member(**id).is_some_and(|member| member.may(it.viewer, Action::See));
        if let Some((attempt, mut connected)) = attempt {
            connected.extend(works.iter().filter(told));
            change.tell_connected(attempt, connected).await?;
        }
        change.commit().await?;
        Ok(works)
    }
}

impl Change<'_> {
    /// What is being regained is due for the jobs once the time for that is over, also where this server stops meanwhile.
    pub(super) async fn put_off_lost(&self, it: &Regaining<'_>) -> Result<()> {
        let within = TimeDelta::from_std(self.connections.settings.regain_within).unwrap_or(FLAGGED_AT_MOST);
        self.due_at(it, &it.connections().collect::<Vec<_>>(), self.now + within).await
    }

    /// These are asked about at `at`, where they have an account to ask about; else their authorization is.
    async fn due_at(&self, it: &Regaining<'_>, connections: &[Uuid], at: DateTime<Utc>) -> Result<()> {
        let without_account = it.lost.get(&None).map_or(&[][..], Vec::as_slice);
        let (spoken_for, with_account): (Vec<Uuid>, Vec<Uuid>) =
            connections.iter().partition(|id| without_account.contains(id));
        for part in with_account.chunks(BATCH) {
            connection::Entity::update_many()
                .col_expr(connection::Column::ProbeAt, Expr::value(at))
                .filter(connection::Column::Id.is_in(part.iter().copied()))
                .filter(connection::Column::RemovedAt.is_null())
                .filter(connection::Column::LostAccess.eq(true))
                .exec(&self.txn)
                .await?;
        }
        if !spoken_for.is_empty() && it.connector.has_probe() {
            authorization::Entity::update_many()
                .col_expr(authorization::Column::ProbeAt, Expr::value(at))
                .filter(authorization::Column::Id.eq(it.authorization))
                .exec(&self.txn)
                .await?;
        }
        Ok(())
    }
}
