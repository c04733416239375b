//! The only writer of a status.
//!
//! A [`Change`] is one transaction over held authorizations. What it does to a status it writes everywhere at once: the
//! authorization, its connections, the disconnection with its links, the notifications, and one journal entry for each
//! topic. No provider is called inside it. Whether something *is* broken is for [`super::checks`] to find out.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    Detector, DisconnectionEnd, DisconnectionReason, Status, Topic, authorization, connection, disconnection,
    disconnection_connection,
};
use sea_orm::{
    ActiveModelTrait,
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, OnConflict, SimpleExpr},
};
use serde_json::json;
use uuid::Uuid;

use super::{Connections, held::Held, links::mended, list::BATCH, news::touched};
use crate::{
    access::{Action, Actor, Viewer},
    db::Transaction,
    error::Result,
    ids::{self, Kind, NodeId},
    journal::{Facts, NewEntry, Touched},
};

/// An outage that ended by itself and starts again within this time is the same one.
pub(super) const FLAP: TimeDelta = TimeDelta::minutes(10);
/// How long before its end an authorization is EXPIRING.
pub(super) const AHEAD: TimeDelta = TimeDelta::days(7);
/// What changes of a connection that has access again.
const REGAINED: [connection::Column; 4] = [
    connection::Column::LostAccess,
    connection::Column::RefusedOnce,
    connection::Column::Status,
    connection::Column::StatusChangedAt,
];

/// What was found wrong, and by whom.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) reason: DisconnectionReason,
    pub(super) detector: Detector,
    /// For people: what happened and what to do.
    pub(super) message: String,
}

/// How something came to work again.
#[derive(Clone, Copy)]
pub(super) enum Healed<'a> {
    /// Somebody reconnected it, and becomes the owner of what they could reconnect.
    By(&'a Viewer),
    /// Somebody without a login reconnected it, by a link of this viewer's: owners stay, the authorization's too.
    ByLink(&'a Viewer),
    /// Somebody connected the same account once more: the connections' owners stay.
    ByTheWay(&'a Viewer),
    /// It works again by itself.
    ByItself,
}

impl Healed<'_> {
    pub(super) fn end(self) -> DisconnectionEnd {
        match self {
            Self::By(_) | Self::ByLink(_) | Self::ByTheWay(_) => DisconnectionEnd::Reconnected,
            Self::ByItself => DisconnectionEnd::Recovered,
        }
    }

    fn person(self) -> Option<Uuid> {
        match self {
            Self::By(viewer) | Self::ByLink(viewer) | Self::ByTheWay(viewer) => viewer.user(),
            Self::ByItself => None,
        }
    }

    /// Who signed in, and owns the authorization from then on; none where it stays whose it is.
    pub(super) fn signed_in(self) -> Option<Uuid> {
        match self {
            Self::By(viewer) | Self::ByTheWay(viewer) => viewer.user(),
            Self::ByLink(_) | Self::ByItself => None,
        }
    }

    /// Whether somebody set out to reconnect it.
    fn is_reconnect(self) -> bool {
        matches!(self, Self::By(_) | Self::ByLink(_))
    }

    fn action(self) -> &'static str {
        match self {
            Self::By(_) | Self::ByLink(_) | Self::ByTheWay(_) => "connection.reconnected",
            Self::ByItself => "connection.recovered",
        }
    }
}

/// The status of an authorization that works and ends at `expires_at`.
pub(super) fn standing(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Status {
    if expires_at.is_some_and(|end| end <= now + AHEAD) { Status::Expiring } else { Status::Connected }
}

/// One transaction that changes what works.
pub(super) struct Change<'a> {
    pub(super) txn: Transaction,
    /// When it happens: as of when the last lock was taken.
    pub(super) now: DateTime<Utc>,
    pub(super) workspace: Uuid,
    pub(super) actor: Actor,
    pub(super) connections: &'a Connections,
    entries: Vec<NewEntry>,
    /// Grants that are given back once this is committed.
    pub(super) to_give_back: Vec<Uuid>,
}

impl<'a> Change<'a> {
    pub(super) async fn begin(connections: &'a Connections, viewer: &Viewer) -> Result<Self> {
        Ok(Self {
            txn: connections.db.begin().await?,
            now: connections.clock.now(),
            workspace: viewer.workspace(),
            actor: viewer.actor(),
            connections,
            entries: Vec::new(),
            to_give_back: Vec::new(),
        })
    }

    /// A lock was taken, for which another change may have been waited: this one happens after that, and after all
    /// that the locked rows tell of, `latest` of which is the latest. Another node's clock may be ahead. At least a
    /// millisecond lies between, since ids order what was told by milliseconds.
    pub(super) fn happens_after(&mut self, latest: Option<DateTime<Utc>>) {
        let earliest = latest.map(|latest| latest + TimeDelta::milliseconds(1));
        self.now = self.now.max(self.connections.clock.now());
        self.now = earliest.map_or(self.now, |earliest| self.now.max(earliest));
    }

    /// Now, or the time in `beginning` where another node's clock made that later: nothing ends before it began.
    pub(super) fn not_before(&self, beginning: impl ColumnTrait) -> SimpleExpr {
        Expr::case(beginning.gt(self.now), Expr::col(beginning)).finally(self.now).into()
    }

    /// Commits, and lets those who follow know. What is to be given back is tried to be.
    pub(super) async fn commit(self) -> Result<()> {
        self.connections.journal.commit(self.txn, self.workspace, self.entries).await?;
        self.connections.give_back_now(self.to_give_back).await;
        Ok(())
    }

    pub(super) fn new_id(&self) -> Uuid {
        ids::new(self.now, &*self.connections.entropy)
    }

    /// One entry about connections.
    pub(super) fn tell(
        &mut self,
        action: &'static str,
        subject: NodeId,
        touched: Vec<Touched>,
        details: serde_json::Value,
    ) {
        let (actor, facts) = (self.actor, Facts::Connections(touched));
        self.entries.push(NewEntry { topic: Topic::Connections, action, actor, subject, facts, details });
    }

    /// Entries of another topic.
    pub(super) fn note(&mut self, entries: impl IntoIterator<Item = NewEntry>) {
        self.entries.extend(entries);
    }

    /// The authorization as a whole stopped working.
    pub(super) async fn disconnect(&mut self, held: &mut Held, fault: Fault) -> Result<()> {
        if held.authorization.status == Status::Disconnected || held.is_removed() {
            return Ok(());
        }
        let before = held.facts();
        let (open, resumed) = self.open(held, None, &fault).await?;
        self.cover(open.id, held.members.iter().map(|member| member.row.id)).await?;
        self.set_authorization(held, Status::Disconnected).await?;
        self.set_members(held, Status::Disconnected).await?;
        held.disconnection = Some(open.clone());
        // It ended already, and that is the last word about it.
        self.take_back_end(held).await?;
        self.tell_outage(held, &open, before, resumed).await
    }

    /// One connection lost access on its own.
    pub(super) async fn lose_access(&mut self, held: &mut Held, connection: Uuid, fault: Fault) -> Result<()> {
        let before = held.facts();
        let Some(place) = held.members.iter().position(|member| member.row.id == connection && !member.row.lost_access)
        else {
            return Ok(());
        };
        let (open, resumed) = self.open(held, Some(connection), &fault).await?;
        self.cover(open.id, [connection]).await?;
        let member = &mut held.members[place];
        if member.row.status != Status::Disconnected {
            member.row.status_changed_at = self.now;
        }
        (member.row.status, member.row.lost_access) = (Status::Disconnected, true);
        member.own = Some(open.clone());
        self.write_member(&member.row.clone()).await?;
        let before = before.into_iter().filter(|(id, _)| *id == connection).collect();
        self.tell_outage(held, &open, before, resumed).await
    }

    /// Whether an authorization has the status that it should have as it works now.
    pub(super) fn stands(&self, held: &Held) -> bool {
        held.authorization.status == standing(held.authorization.expires_at, self.now)
    }

    /// The authorization works: with all its connections but those that lost access on their own.
    pub(super) async fn heal(&mut self, held: &mut Held, healed: Healed<'_>) -> Result<()> {
        let before = held.facts();
        let (was, status) = (held.authorization.status, standing(held.authorization.expires_at, self.now));
        let ended = held.disconnection.take();
        if let Some(open) = &ended {
            self.end(open.id, healed.end(), healed.person()).await?;
        }
        self.set_authorization(held, status).await?;
        self.set_members(held, status).await?;
        let works: HashSet<Uuid> =
            held.members.iter().filter(|member| !member.row.lost_access).map(|member| member.row.id).collect();
        if let Healed::By(viewer) = healed {
            self.hand_over(held, |id| works.contains(id), viewer).await?;
        }
        if healed.is_reconnect() {
            self.refresh_datasets(works.iter().copied()).await?;
        } else {
            self.end_waits_for(works.iter().copied()).await?;
        }
        self.end_links(&mended(held, &before)).await?;
        if let (Healed::ByItself, Some(open)) = (healed, &ended) {
            self.note_credential(held, open.id).await?;
            self.tell_recovery(held, open, |id| works.contains(id)).await?;
        }
        match status {
            Status::Connected => self.take_back_end(held).await?,
            // That it works again is not the last word about it.
            Status::Expiring if was == Status::Disconnected && matches!(healed, Healed::ByItself) => {
                self.take_back_end(held).await?;
                self.happens_after(Some(self.now));
                self.tell_end(held, &before).await?;
            }
            Status::Expiring | Status::Disconnected => {}
        }
        let touched = touched(held, &before, |id| works.contains(id));
        let subject = Kind::Authorization.of(held.id());
        let details = json!({ "disconnection": ended.map(|open| open.id), "connections": works.len() });
        if !touched.is_empty() {
            self.tell(healed.action(), subject, touched, details);
        }
        Ok(())
    }

    /// Connections that had lost access on their own work again. By itself nothing does whose authorization does not work.
    pub(super) async fn regain(&mut self, held: &mut Held, connections: &[Uuid], healed: Healed<'_>) -> Result<()> {
        if matches!(healed, Healed::ByItself) && held.authorization.status == Status::Disconnected {
            return Ok(());
        }
        let before = held.facts();
        let status = held.authorization.status;
        let asked: HashSet<Uuid> = connections.iter().copied().collect();
        let (mut back, mut ended, mut rows) = (BTreeSet::new(), Vec::new(), Vec::new());
        for member in &mut held.members {
            if !member.row.lost_access || !asked.contains(&member.row.id) {
                continue;
            }
            if let Some(own) = member.own.take() {
                ended.push(own);
            }
            (member.row.lost_access, member.row.refused_once, member.row.status) = (false, false, status);
            if status != Status::Disconnected {
                member.row.status_changed_at = self.now;
            }
            back.insert(member.row.id);
            rows.push(member.row.clone());
        }
        self.write_members(&rows, &REGAINED).await?;
        let over: Vec<Uuid> = ended.iter().map(|own: &disconnection::Model| own.id).collect();
        self.end_all(&over, healed.end(), healed.person()).await?;
        for own in &ended {
            if matches!(healed, Healed::ByItself) {
                self.note_credential(held, own.id).await?;
                self.tell_recovery(held, own, |id| own.connection_id == Some(*id)).await?;
            }
        }
        if let Healed::By(viewer) = healed {
            self.hand_over(held, |id| back.contains(id), viewer).await?;
        }
        if healed.is_reconnect() {
            self.refresh_datasets(back.iter().copied()).await?;
        } else if status != Status::Disconnected {
            self.end_waits_for(back.iter().copied()).await?;
        }
        self.end_links(&mended(held, &before)).await?;
        if let Some(first) = back.first() {
            let subject = Kind::Connection.of(*first);
            let touched = touched(held, &before, |id| back.contains(id));
            let details = json!({ "disconnection": ended.first().map(|own| own.id), "connections": back.len() });
            self.tell(healed.action(), subject, touched, details);
        }
        Ok(())
    }

    /// The authorization will end soon, and nothing renews it.
    pub(super) async fn expire_soon(&mut self, held: &mut Held) -> Result<()> {
        if held.authorization.status != Status::Connected || held.is_removed() {
            return Ok(());
        }
        let before = held.facts();
        self.set_authorization(held, Status::Expiring).await?;
        self.set_members(held, Status::Expiring).await?;
        let subject = Kind::Authorization.of(held.id());
        self.tell_end(held, &before).await?;
        let touched = touched(held, &before, |_| true);
        let details = json!({ "expiresAt": held.authorization.expires_at, "connections": touched.len() });
        self.tell("connection.expiring", subject, touched, details);
        Ok(())
    }

    /// Ends a disconnection.
    pub(super) async fn end(&self, id: Uuid, how: DisconnectionEnd, by: Option<Uuid>) -> Result<()> {
        self.end_all(&[id], how, by).await
    }

    /// It works again with the credential as it is now: whether that is still the same is what a flap is told by.
    async fn note_credential(&self, held: &Held, disconnection: Uuid) -> Result<()> {
        disconnection::Entity::update_many()
            .col_expr(disconnection::Column::CredentialVersion, Expr::value(held.authorization.credential_version))
            .filter(disconnection::Column::Id.eq(disconnection))
            .exec(&self.txn)
            .await?;
        Ok(())
    }

    /// Connections that joined while a disconnection lasts are covered by it, too.
    pub(super) async fn cover(&self, disconnection: Uuid, connections: impl IntoIterator<Item = Uuid>) -> Result<()> {
        let rows: Vec<_> = connections
            .into_iter()
            .map(|connection| disconnection_connection::ActiveModel {
                disconnection_id: Set(disconnection),
                connection_id: Set(connection),
                workspace_id: Set(self.workspace),
            })
            .collect();
        let once = OnConflict::columns([
            disconnection_connection::Column::DisconnectionId,
            disconnection_connection::Column::ConnectionId,
        ])
        .do_nothing()
        .to_owned();
        for part in rows.chunks(BATCH) {
            disconnection_connection::Entity::insert_many(part.iter().cloned())
                .on_conflict(once.clone())
                .exec_without_returning(&self.txn)
                .await?;
        }
        Ok(())
    }

    /// Writes a connection as it is in memory.
    pub(super) async fn write_member(&self, row: &connection::Model) -> Result<()> {
        match connection::ActiveModel::from(row.clone()).reset_all().update(&self.txn).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.in_the_way(error, row).await),
        }
    }

    /// Opens a disconnection, or the last one again where this is a flap of it.
    async fn open(&self, held: &Held, own: Option<Uuid>, fault: &Fault) -> Result<(disconnection::Model, bool)> {
        if let Some(last) = self.flapping(held, own).await? {
            let mut again = disconnection::ActiveModel::from(last);
            (again.ended_at, again.ended_by) = (Set(None), Set(None));
            return Ok((again.update(&self.txn).await?, true));
        }
        let row = disconnection::ActiveModel {
            id: Set(self.new_id()),
            workspace_id: Set(self.workspace),
            authorization_id: Set(held.id()),
            connection_id: Set(own),
            connector: Set(held.authorization.connector.clone()),
            reason: Set(fault.reason),
            detected_by: Set(fault.detector),
            message: Set(fault.message.clone()),
            credential_version: Set(held.authorization.credential_version),
            started_at: Set(self.now),
            ended_at: Set(None),
            ended_by: Set(None),
            reconnected_by: Set(None),
        };
        Ok((row.insert(&self.txn).await?, false))
    }

    /// The last disconnection, when it ended by itself a moment ago and the credential is still the same.
    async fn flapping(&self, held: &Held, own: Option<Uuid>) -> Result<Option<disconnection::Model>> {
        let whose = match own {
            Some(connection) => disconnection::Column::ConnectionId.eq(connection),
            None => disconnection::Column::ConnectionId.is_null(),
        };
        let last = disconnection::Entity::find()
            .filter(disconnection::Column::AuthorizationId.eq(held.id()))
            .filter(whose)
            .order_by_desc(disconnection::Column::StartedAt)
            .one(&self.txn)
            .await?;
        Ok(last.filter(|last| {
            last.ended_by == Some(DisconnectionEnd::Recovered)
                && last.ended_at.is_some_and(|end| end > self.now - FLAP)
                && last.credential_version == held.authorization.credential_version
        }))
    }

    async fn set_authorization(&self, held: &mut Held, status: Status) -> Result<()> {
        held.authorization.status = status;
        authorization::Entity::update_many()
            .col_expr(authorization::Column::Status, Expr::value(rank(status)))
            .filter(authorization::Column::Id.eq(held.id()))
            .exec(&self.txn)
            .await?;
        Ok(())
    }

    /// Gives the status to every connection that has not lost access on its own.
    async fn set_members(&self, held: &mut Held, status: Status) -> Result<()> {
        connection::Entity::update_many()
            .col_expr(connection::Column::Status, Expr::value(rank(status)))
            .col_expr(connection::Column::StatusChangedAt, Expr::value(self.now))
            .filter(connection::Column::AuthorizationId.eq(held.id()))
            .filter(connection::Column::RemovedAt.is_null())
            .filter(connection::Column::LostAccess.eq(false))
            .filter(connection::Column::Status.ne(status))
            .exec(&self.txn)
            .await?;
        for member in &mut held.members {
            if !member.row.lost_access && member.row.status != status {
                (member.row.status, member.row.status_changed_at) = (status, self.now);
            }
        }
        Ok(())
    }

    /// Makes `viewer` the owner of those that it `concerns` and that they could already reconnect; the owner before, if
    /// still active, keeps seeing them.
    pub(super) async fn hand_over(
        &self,
        held: &mut Held,
        concerns: impl Fn(&Uuid) -> bool,
        viewer: &Viewer,
    ) -> Result<()> {
        let Some(user) = viewer.user() else { return Ok(()) };
        let moving: Vec<usize> = (0..held.members.len())
            .filter(|place| {
                let member = &held.members[*place];
                let theirs = member.row.created_by == Some(user);
                !theirs && concerns(&member.row.id) && member.may(viewer, Action::Tend)
            })
            .collect();
        let owners: BTreeSet<Uuid> = moving.iter().filter_map(|place| held.members[*place].row.created_by).collect();
        let active = self.connections.active_users(&self.txn, &owners).await?;
        let mut shares = Vec::new();
        for place in &moving {
            let member = &mut held.members[*place];
            member.shares.retain(|shared| *shared != user);
            if let Some(owner) = member.row.created_by.filter(|owner| active.contains(owner)) {
                shares.push((member.row.id, owner));
                if !member.shares.contains(&owner) {
                    member.shares.push(owner);
                }
            }
            member.row.created_by = Some(user);
        }
        let moved: Vec<Uuid> = moving.iter().map(|place| held.members[*place].row.id).collect();
        self.connections.set_owner(&self.txn, self.workspace, &moved, user, &shares).await
    }
}

/// The number that stands for a status in the tables.
fn rank(status: Status) -> i16 {
    sea_orm::ActiveEnum::to_value(&status)
}
