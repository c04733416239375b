//! Authorizations held for a change: locked, with their connections and open disconnections.
//!
//! Every transaction that changes a status, or which connections an authorization has, holds it first (several: in the
//! order of their ids), so that no two of them interleave.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{DisconnectionReason, authorization, connection, connection_share, disconnection};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait as _},
};
use uuid::Uuid;

use super::lifecycle::Change;
use crate::{
    access::{Action, Viewer},
    db::Transaction,
    error::{Error, Result},
    journal::Fact,
    notifications::Covered,
};

/// An authorization, locked until the transaction ends.
pub(super) struct Held {
    pub(super) authorization: authorization::Model,
    /// Its connections that are not removed, by id.
    pub(super) members: Vec<Member>,
    /// The open disconnection of it as a whole.
    pub(super) disconnection: Option<disconnection::Model>,
}

/// A connection of a held authorization.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) row: connection::Model,
    pub(super) shares: Vec<Uuid>,
    /// The open disconnection of its own.
    pub(super) own: Option<disconnection::Model>,
}

impl Held {
    pub(super) fn id(&self) -> Uuid {
        self.authorization.id
    }

    pub(super) fn is_removed(&self) -> bool {
        self.authorization.removed_at.is_some()
    }

    /// Whether its credential is the one that `asked` had.
    pub(super) fn is_still(&self, asked: &authorization::Model) -> bool {
        is_still(&self.authorization, asked)
    }

    pub(super) fn member(&self, connection: Uuid) -> Option<&Member> {
        self.members.iter().find(|member| member.row.id == connection)
    }

    /// The latest time that its connections and its open disconnections tell of.
    fn last_changed(&self) -> Option<DateTime<Utc>> {
        let changes = self.members.iter().map(|member| member.row.status_changed_at);
        let own = self.members.iter().filter_map(|member| member.own.as_ref());
        changes.chain(own.chain(&self.disconnection).map(|open| open.started_at)).max()
    }

    /// Why its connections do not work, as a whole.
    pub(super) fn reason(&self) -> Option<DisconnectionReason> {
        self.disconnection.as_ref().map(|open| open.reason)
    }

    /// What the journal keeps of `member` as it is now.
    pub(super) fn fact(&self, member: &Member) -> Fact {
        Fact {
            name: member.row.name.clone(),
            connector: member.row.connector.clone(),
            authorization: self.id(),
            client: member.row.client_id,
            owner: member.row.created_by,
            shares: member.shares.clone(),
            status: member.row.status,
            status_changed_at: member.row.status_changed_at.timestamp_micros(),
            reason: self.reason().or(member.own.as_ref().map(|own| own.reason)),
        }
    }

    /// What the journal keeps of every member as it is now.
    pub(super) fn facts(&self) -> HashMap<Uuid, Fact> {
        self.members.iter().map(|member| (member.row.id, self.fact(member))).collect()
    }
}

impl Member {
    pub(super) fn covered(&self) -> Covered {
        Covered { client: self.row.client_id, owner: self.row.created_by, shares: self.shares.clone() }
    }

    pub(super) fn may(&self, viewer: &Viewer, action: Action) -> bool {
        viewer.may_on(action, self.row.created_by, self.row.client_id, &self.shares)
    }
}

impl Change<'_> {
    /// Locks the authorizations `ids`, in the order of their ids, and loads what belongs to them. The change happens after
    /// everything that they say has happened.
    pub(super) async fn hold(&mut self, ids: &[Uuid]) -> Result<Vec<Held>> {
        let rows = authorization::Entity::find()
            .filter(authorization::Column::Id.is_in(ids.iter().copied()))
            .order_by_asc(authorization::Column::Id)
            .lock_exclusive()
            .all(&self.txn)
            .await?;
        let held = load(&self.txn, rows, None).await?;
        for one in &held {
            self.happens_after(one.last_changed());
        }
        Ok(held)
    }

    /// Locks one authorization.
    pub(super) async fn hold_one(&mut self, id: Uuid) -> Result<Option<Held>> {
        Ok(self.hold(&[id]).await?.pop())
    }

    /// Locks one authorization, and loads of its connections `connection` alone: for what concerns no other, since there
    /// may be thousands.
    pub(super) async fn hold_with(&mut self, id: Uuid, connection: Uuid) -> Result<Option<Held>> {
        let Some(locked) = self.lock(id).await? else { return Ok(None) };
        self.with(locked, Some(connection::Column::Id.eq(connection).into())).await.map(Some)
    }

    /// Locks one authorization and loads none of its connections: for what changes no status.
    pub(super) async fn lock(&mut self, id: Uuid) -> Result<Option<authorization::Model>> {
        let locked = authorization::Entity::find_by_id(id).lock_exclusive().one(&self.txn).await?;
        self.happens_after(None);
        Ok(locked)
    }

    /// The locked authorization with all its connections.
    pub(super) async fn with_all(&mut self, locked: authorization::Model) -> Result<Held> {
        self.with(locked, None).await
    }

    /// The locked authorization with those of its connections that lost access on their own.
    pub(super) async fn with_lost(&mut self, locked: authorization::Model) -> Result<Held> {
        self.with(locked, Some(is_lost())).await
    }

    async fn with(&mut self, locked: authorization::Model, only: Option<Condition>) -> Result<Held> {
        let held = load(&self.txn, vec![locked], only).await?.pop();
        let held = held.ok_or_else(|| Error::internal("a locked authorization was not loaded"))?;
        self.happens_after(held.last_changed());
        Ok(held)
    }
}

/// Whether a connection lost access on its own. The value stands in the statement itself, since only then is the index
/// of the few that did used.
pub(super) fn is_lost() -> Condition {
    Condition::all().add(Expr::col(connection::Column::LostAccess.as_column_ref()).eq(Expr::Constant(true.into())))
}

/// When a connection was last seen to work or fail: on its own, or with its authorization, which says nothing about one
/// that lost access on its own, or was removed.
pub fn last_checked(row: &connection::Model, behind: &authorization::Model) -> Option<DateTime<Utc>> {
    let with_it = behind.last_checked_at.filter(|_| !row.lost_access && row.removed_at.is_none());
    Ord::max(row.last_checked_at, with_it)
}

/// Whether the credential of a locked authorization is the one that `asked` had.
pub(super) fn is_still(locked: &authorization::Model, asked: &authorization::Model) -> bool {
    locked.credential_version == asked.credential_version && locked.removed_at.is_none()
}

/// Locked authorizations with what belongs to them; of their connections those that fulfil `only`, where that is given.
async fn load(
    txn: &Transaction,
    authorizations: Vec<authorization::Model>,
    only: Option<Condition>,
) -> Result<Vec<Held>> {
    if authorizations.is_empty() {
        return Ok(Vec::new());
    }
    let ids = || authorizations.iter().map(|row| row.id);
    let mut members = connection::Entity::find()
        .filter(connection::Column::AuthorizationId.is_in(ids()))
        .filter(connection::Column::RemovedAt.is_null());
    if let Some(condition) = only {
        members = members.filter(condition);
    }
    let rows = members.clone().order_by_asc(connection::Column::Id).all(txn).await?;
    let mut shares = shares(txn, members).await?;
    let open = disconnection::Entity::find()
        .filter(disconnection::Column::AuthorizationId.is_in(ids()))
        .filter(disconnection::Column::EndedAt.is_null())
        .all(txn)
        .await?;
    let (own, whole): (Vec<_>, Vec<_>) = open.into_iter().partition(|one| one.connection_id.is_some());
    let mut own: HashMap<_, _> = own.into_iter().map(|one| (one.connection_id, one)).collect();
    let mut whole: HashMap<Uuid, _> = whole.into_iter().map(|one| (one.authorization_id, one)).collect();
    let mut of: HashMap<Uuid, Vec<Member>> = HashMap::new();
    for row in rows {
        let (shares, own) = (shares.remove(&row.id).unwrap_or_default(), own.remove(&Some(row.id)));
        of.entry(row.authorization_id).or_default().push(Member { row, shares, own });
    }
    let held = authorizations.into_iter().map(|authorization| Held {
        members: of.remove(&authorization.id).unwrap_or_default(),
        disconnection: whole.remove(&authorization.id),
        authorization,
    });
    Ok(held.collect())
}

/// With whom each of `members` is shared.
pub(super) async fn shares(txn: &Transaction, members: Select<connection::Entity>) -> Result<HashMap<Uuid, Vec<Uuid>>> {
    let rows = connection_share::Entity::find()
        .filter(
            connection_share::Column::ConnectionId
                .in_subquery(super::visibility::column(members, connection::Column::Id)),
        )
        .order_by_asc(connection_share::Column::UserId)
        .all(txn)
        .await?;
    let mut shares: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for row in rows {
        shares.entry(row.connection_id).or_default().push(row.user_id);
    }
    Ok(shares)
}
