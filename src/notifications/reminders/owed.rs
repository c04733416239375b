//! Whom to remind of what: the owner of each connection that does not work; of one without an owner who could be reminded, the ADMINs.
//!
//! There may be tens of thousands of disconnections, and each may cover thousands of connections. So they are read in
//! parts, by those who are concerned alone, and whole rows only where they are told.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use entity::{Role, Status, client, connection, disconnection, disconnection_connection, user};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, JoinType, QueryFilter, QueryOrder,
    QuerySelect, Select,
    sea_query::{Expr, ExprTrait as _},
};
use uuid::Uuid;

use crate::{
    access::{Action, Reach},
    error::Result,
    people::users_of,
};

/// How many values one statement takes.
pub(super) const BATCH: usize = 500;
/// How many disconnections a run looks at together.
const PART: u64 = 200;

/// A disconnection that lasts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, FromQueryResult)]
pub(super) struct Lasting {
    pub(super) started_at: DateTime<Utc>,
    pub(super) id: Uuid,
    /// Its slug.
    pub(super) connector: String,
}

/// A connection that a disconnection covers and that does not work.
#[derive(Debug, Clone, FromQueryResult)]
pub(super) struct Broken {
    pub(super) connection_id: Uuid,
    /// The client's name; none for a connection of the workspace itself.
    pub(super) client: Option<String>,
    owner: Option<Uuid>,
}

/// The active people of a workspace who may be notified.
pub(super) struct People {
    /// Whether each wants reminders.
    wants: HashMap<Uuid, bool>,
    admins: Vec<Uuid>,
}

impl People {
    /// All of them.
    pub(super) async fn of(db: &impl ConnectionTrait, workspace: Uuid) -> Result<Self> {
        Self::among(db, users_of(workspace)).await
    }

    /// Those of `ids`.
    async fn these(db: &impl ConnectionTrait, workspace: Uuid, ids: impl Iterator<Item = Uuid>) -> Result<Self> {
        Self::among(db, users_of(workspace).filter(user::Column::Id.is_in(ids))).await
    }

    async fn among(db: &impl ConnectionTrait, users: Select<user::Entity>) -> Result<Self> {
        let rows: Vec<(Uuid, Role, bool)> = users
            .select_only()
            .columns([user::Column::Id, user::Column::Role, user::Column::ReminderEmails])
            .filter(user::Column::Active.eq(true))
            .order_by_asc(user::Column::Id)
            .into_tuple()
            .all(db)
            .await?;
        let notified = |role: Role| Action::BeNotified.reach(role) != Reach::Nothing;
        let rows: Vec<_> = rows.into_iter().filter(|(_, role, _)| notified(*role)).collect();
        let admins = rows.iter().filter(|(_, role, _)| *role == Role::Admin).map(|(id, ..)| *id).collect();
        Ok(Self { wants: rows.into_iter().map(|(id, _, wants)| (id, wants)).collect(), admins })
    }

    fn has(&self, person: Uuid) -> bool {
        self.wants.contains_key(&person)
    }

    /// Those who want to be reminded of what is `owner`'s.
    fn to_remind(&self, owner: Option<Uuid>) -> impl Iterator<Item = Uuid> {
        let owner = owner.filter(|owner| self.has(*owner));
        let (owner, admins) = match owner {
            Some(owner) => (Some(owner), &[][..]),
            None => (None, &self.admins[..]),
        };
        owner.into_iter().chain(admins.iter().copied()).filter(move |person| self.wants[person])
    }
}

/// The next disconnections of `workspace` that have lasted since `since`, from the one `after` on, by their ids.
pub(super) async fn lasting_since(
    db: &impl ConnectionTrait,
    workspace: Uuid,
    since: DateTime<Utc>,
    after: Option<&Lasting>,
) -> Result<Vec<Lasting>> {
    let mut lasting = lasting(workspace).filter(disconnection::Column::StartedAt.lte(since));
    if let Some(last) = after {
        lasting = lasting.filter(disconnection::Column::Id.gt(last.id));
    }
    let next = lasting.order_by_asc(disconnection::Column::Id).limit(PART);
    Ok(next.into_model::<Lasting>().all(db).await?)
}

/// Of which of these disconnections each of `people` is to be reminded: both ids, in order, each pair once.
pub(super) async fn owed(
    db: &impl ConnectionTrait,
    workspace: Uuid,
    people: &People,
    disconnections: &[Lasting],
) -> Result<BTreeSet<(Uuid, Uuid)>> {
    let ids: Vec<Uuid> = disconnections.iter().map(|one| one.id).collect();
    let mut owed = BTreeSet::new();
    for part in ids.chunks(BATCH) {
        for (disconnection, owner) in owners(db, workspace, part).await? {
            owed.extend(people.to_remind(owner).map(|person| (disconnection, person)));
        }
    }
    Ok(owed)
}

/// Those of `disconnections` that last and of which `person` is to be reminded, by their beginning; none where the person
/// is not to be reminded at all.
pub(super) async fn owed_to(
    db: &impl ConnectionTrait,
    person: &user::Model,
    disconnections: &[Uuid],
) -> Result<Vec<Lasting>> {
    let workspace = person.workspace_id;
    let mut owed = Vec::new();
    if !person.active || !person.reminder_emails || Action::BeNotified.reach(person.role) == Reach::Nothing {
        return Ok(owed);
    }
    for part in disconnections.chunks(BATCH) {
        let owners = owners(db, workspace, part).await?;
        let others: BTreeSet<Uuid> = owners.iter().filter_map(|(_, owner)| *owner).collect();
        let stands_in = match person.role {
            Role::Admin => Some(People::these(db, workspace, others.into_iter()).await?),
            _ => None,
        };
        let mine: HashSet<Uuid> = owners
            .into_iter()
            .filter(|(_, owner)| concerns(person, *owner, stands_in.as_ref()))
            .map(|(disconnection, _)| disconnection)
            .collect();
        let those = lasting(workspace).filter(disconnection::Column::Id.is_in(mine));
        owed.extend(those.into_model::<Lasting>().all(db).await?);
    }
    owed.sort_unstable();
    Ok(owed)
}

/// What keeps `person` waiting in one of these: of its connections that do not work, those that are the person's.
pub(super) async fn broken_for(
    db: &impl ConnectionTrait,
    person: &user::Model,
    disconnection: Uuid,
) -> Result<Vec<Broken>> {
    let rows: Vec<Broken> = broken(person.workspace_id, &[disconnection])
        .column(disconnection_connection::Column::ConnectionId)
        .column_as(client::Column::Name, "client")
        .column_as(connection::Column::CreatedBy, "owner")
        .join(
            JoinType::LeftJoin,
            connection::Entity::belongs_to(client::Entity)
                .from(connection::Column::ClientId)
                .to(client::Column::Id)
                .into(),
        )
        .order_by_asc(disconnection_connection::Column::ConnectionId)
        .into_model()
        .all(db)
        .await?;
    let others: BTreeSet<Uuid> = rows.iter().filter_map(|one| one.owner).collect();
    let stands_in = match person.role {
        Role::Admin => Some(People::these(db, person.workspace_id, others.into_iter()).await?),
        _ => None,
    };
    Ok(rows.into_iter().filter(|one| concerns(person, one.owner, stands_in.as_ref())).collect())
}

/// Whether what is `owner`'s is the person's to be reminded of. An ADMIN stands in for owners who are not among the people.
fn concerns(person: &user::Model, owner: Option<Uuid>, stands_in: Option<&People>) -> bool {
    owner == Some(person.id) || stands_in.is_some_and(|people| owner.is_none_or(|owner| !people.has(owner)))
}

fn lasting(workspace: Uuid) -> Select<disconnection::Entity> {
    disconnection::Entity::find()
        .select_only()
        .columns([disconnection::Column::Id, disconnection::Column::StartedAt, disconnection::Column::Connector])
        .filter(disconnection::Column::WorkspaceId.eq(workspace))
        .filter(disconnection::Column::EndedAt.is_null())
}

/// Who owns the connections that these disconnections keep from working; each owner of one once.
async fn owners(
    db: &impl ConnectionTrait,
    workspace: Uuid,
    disconnections: &[Uuid],
) -> Result<Vec<(Uuid, Option<Uuid>)>> {
    let owners = broken(workspace, disconnections)
        .column(disconnection_connection::Column::DisconnectionId)
        .column(connection::Column::CreatedBy)
        .distinct();
    Ok(owners.into_tuple().all(db).await?)
}

/// The connections that lasting disconnections keep from working; no column yet.
fn broken(workspace: Uuid, disconnections: &[Uuid]) -> Select<disconnection_connection::Entity> {
    use disconnection_connection::Column::{ConnectionId, DisconnectionId};
    // What was moved away since works by another authorization, or fails by that one's disconnection.
    let its_own = Expr::col((disconnection::Entity, disconnection::Column::ConnectionId))
        .equals((connection::Entity, connection::Column::Id));
    let whole = Condition::all().add(disconnection::Column::ConnectionId.is_null()).add(
        Expr::col((disconnection::Entity, disconnection::Column::AuthorizationId))
            .equals((connection::Entity, connection::Column::AuthorizationId)),
    );
    disconnection_connection::Entity::find()
        .select_only()
        .join(
            JoinType::InnerJoin,
            disconnection_connection::Entity::belongs_to(disconnection::Entity)
                .from(DisconnectionId)
                .to(disconnection::Column::Id)
                .into(),
        )
        .join(
            JoinType::InnerJoin,
            disconnection_connection::Entity::belongs_to(connection::Entity)
                .from(ConnectionId)
                .to(connection::Column::Id)
                .into(),
        )
        .filter(DisconnectionId.is_in(disconnections.iter().copied()))
        .filter(disconnection::Column::WorkspaceId.eq(workspace))
        .filter(disconnection::Column::EndedAt.is_null())
        .filter(connection::Column::RemovedAt.is_null())
        .filter(connection::Column::Status.eq(Status::Disconnected))
        .filter(Condition::any().add(its_own).add(whole))
}
