//! Whom to remind of what: the owner of each connection that does not work; of one without an owner who could be reminded, the ADMINs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use entity::{Role, Status, client, connection, disconnection, disconnection_connection, user};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, JoinType, QueryFilter, QueryOrder,
    QuerySelect,
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

/// Which disconnections, of those that last.
pub(super) enum Which<'a> {
    /// Since this instant or longer.
    Since(DateTime<Utc>),
    These(&'a [Uuid]),
}

/// What one person is to be reminded of.
pub(super) struct Owed {
    pub(super) person: user::Model,
    /// By disconnection, in the order of their beginning: ids of version 7 are.
    pub(super) outages: BTreeMap<Uuid, Vec<Broken>>,
}

/// A connection that a disconnection covers and that does not work.
#[derive(Debug, Clone, FromQueryResult)]
pub(super) struct Broken {
    disconnection_id: Uuid,
    pub(super) connection_id: Uuid,
    /// The client's name; none for a connection of the workspace itself.
    pub(super) client: Option<String>,
    owner: Option<Uuid>,
}

/// What people of `workspace` are to be reminded of, for everybody who wants reminders.
pub(super) async fn owed(db: &impl ConnectionTrait, workspace: Uuid, which: Which<'_>) -> Result<Vec<Owed>> {
    let broken = broken(db, workspace, which).await?;
    if broken.is_empty() {
        return Ok(Vec::new());
    }
    let owners: BTreeSet<Uuid> = broken.iter().filter_map(|one| one.owner).collect();
    let people = people(db, workspace, &owners.into_iter().collect::<Vec<_>>()).await?;
    let admins: Vec<Uuid> =
        people.values().filter(|person| person.role == Role::Admin).map(|person| person.id).collect();
    let mut owed: HashMap<Uuid, BTreeMap<Uuid, Vec<Broken>>> = HashMap::new();
    for one in broken {
        let owner = one.owner.filter(|owner| people.contains_key(owner));
        for person in owner.as_ref().map_or(&admins[..], std::slice::from_ref) {
            owed.entry(*person).or_default().entry(one.disconnection_id).or_default().push(one.clone());
        }
    }
    let wanted = people.into_values().filter(|person| person.reminder_emails);
    Ok(wanted.filter_map(|person| owed.remove(&person.id).map(|outages| Owed { person, outages })).collect())
}

/// Those of `owners` who may be notified, and the ADMINs.
async fn people(db: &impl ConnectionTrait, workspace: Uuid, owners: &[Uuid]) -> Result<HashMap<Uuid, user::Model>> {
    let active = || users_of(workspace).filter(user::Column::Active.eq(true));
    let mut people = active().filter(user::Column::Role.eq(Role::Admin)).all(db).await?;
    for part in owners.chunks(BATCH) {
        people.extend(active().filter(user::Column::Id.is_in(part.iter().copied())).all(db).await?);
    }
    let notified = |person: &user::Model| Action::BeNotified.reach(person.role) != Reach::Nothing;
    Ok(people.into_iter().filter(notified).map(|person| (person.id, person)).collect())
}

/// The connections that lasting disconnections keep from working, in the order of the disconnections' ids.
async fn broken(db: &impl ConnectionTrait, workspace: Uuid, which: Which<'_>) -> Result<Vec<Broken>> {
    match which {
        Which::Since(at) => broken_by(db, workspace, disconnection::Column::StartedAt.lte(at)).await,
        Which::These(ids) => {
            let mut all = Vec::new();
            for part in ids.chunks(BATCH) {
                let these = disconnection::Column::Id.is_in(part.iter().copied());
                all.extend(broken_by(db, workspace, these).await?);
            }
            Ok(all)
        }
    }
}

async fn broken_by(db: &impl ConnectionTrait, workspace: Uuid, which: Expr) -> Result<Vec<Broken>> {
    use disconnection_connection::Column::{ConnectionId, DisconnectionId};
    // What was moved away since works by another authorization, or fails by that one's disconnection.
    let its_own = Expr::col((disconnection::Entity, disconnection::Column::ConnectionId))
        .equals((connection::Entity, connection::Column::Id));
    let whole = Condition::all().add(disconnection::Column::ConnectionId.is_null()).add(
        Expr::col((disconnection::Entity, disconnection::Column::AuthorizationId))
            .equals((connection::Entity, connection::Column::AuthorizationId)),
    );
    Ok(disconnection_connection::Entity::find()
        .select_only()
        .columns([DisconnectionId, ConnectionId])
        .column_as(client::Column::Name, "client")
        .column_as(connection::Column::CreatedBy, "owner")
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
        .join(
            JoinType::LeftJoin,
            connection::Entity::belongs_to(client::Entity)
                .from(connection::Column::ClientId)
                .to(client::Column::Id)
                .into(),
        )
        .filter(disconnection::Column::WorkspaceId.eq(workspace))
        .filter(disconnection::Column::EndedAt.is_null())
        .filter(which)
        .filter(connection::Column::RemovedAt.is_null())
        .filter(connection::Column::Status.eq(Status::Disconnected))
        .filter(Condition::any().add(its_own).add(whole))
        .order_by_asc(DisconnectionId)
        .order_by_asc(ConnectionId)
        .into_model()
        .all(db)
        .await?)
}
