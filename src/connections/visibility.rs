//! What of connections, authorizations and disconnections a viewer may see, as conditions.
//!
//! Every select on these tables starts here, so that neither the workspace nor the viewer can be forgotten. What was
//! removed is still seen by its id, by whoever saw it before.

use entity::{authorization, connection, connection_share, disconnection, disconnection_connection};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Select,
    sea_query::{Expr, SelectStatement, UnionType},
};

use crate::{
    access::{Sight, Viewer},
    journal::Fact,
};

/// The connections that `viewer` may see, removed ones too.
pub fn connections(viewer: &Viewer) -> Select<connection::Entity> {
    connection::Entity::find()
        .filter(connection::Column::WorkspaceId.eq(viewer.workspace()))
        .filter(sees(viewer.sight()))
}

/// The connections that `viewer` may see and that are still there.
pub(super) fn live_connections(viewer: &Viewer) -> Select<connection::Entity> {
    connections(viewer).filter(connection::Column::RemovedAt.is_null())
}

/// The authorizations that `viewer` may see: those they made, and those behind connections they may see.
pub(super) fn authorizations(viewer: &Viewer) -> Select<authorization::Entity> {
    let all = authorization::Entity::find().filter(authorization::Column::WorkspaceId.eq(viewer.workspace()));
    let mut behind = column(connections(viewer), connection::Column::AuthorizationId);
    let seen = match viewer.sight() {
        Sight::Everything => return all,
        // A union, as of connections.
        Sight::MadeOrShared(user) => {
            let made = authorization::Entity::find().filter(authorization::Column::CreatedBy.eq(user));
            behind.union(UnionType::All, column(made, authorization::Column::Id)).to_owned()
        }
        Sight::Client(_) | Sight::Nothing => behind,
    };
    all.filter(authorization::Column::Id.in_subquery(seen))
}

/// Those, and the ones whose outages covered connections that `viewer` may see: history names them by their ids.
pub(super) fn authorizations_of_history(viewer: &Viewer) -> Select<authorization::Entity> {
    if viewer.sight() == Sight::Everything {
        return authorizations(viewer);
    }
    let seen = column(authorizations(viewer), authorization::Column::Id);
    let past = column(disconnections(viewer), disconnection::Column::AuthorizationId);
    authorization::Entity::find().filter(
        Condition::any()
            .add(authorization::Column::Id.in_subquery(seen))
            .add(authorization::Column::Id.in_subquery(past)),
    )
}

/// The disconnections that cover a connection that `viewer` may see.
pub(super) fn disconnections(viewer: &Viewer) -> Select<disconnection::Entity> {
    let all = disconnection::Entity::find().filter(disconnection::Column::WorkspaceId.eq(viewer.workspace()));
    if viewer.sight() == Sight::Everything {
        return all;
    }
    all.filter(disconnection::Column::Id.in_subquery(covering(connections(viewer))))
}

/// The disconnections that cover one of `connections`.
pub(super) fn covering(connections: Select<connection::Entity>) -> SelectStatement {
    disconnection_connection::Entity::find()
        .select_only()
        .column(disconnection_connection::Column::DisconnectionId)
        .filter(disconnection_connection::Column::ConnectionId.in_subquery(column(connections, connection::Column::Id)))
        .into_query()
}

/// One column of a select, for use inside another.
pub(super) fn column<E: EntityTrait>(select: Select<E>, column: impl ColumnTrait) -> SelectStatement {
    select.select_only().column(column).into_query()
}

/// The connections of which one is shared with `user`.
pub(super) fn shared_with(user: uuid::Uuid) -> SelectStatement {
    connection_share::Entity::find()
        .select_only()
        .column(connection_share::Column::ConnectionId)
        .filter(connection_share::Column::UserId.eq(user))
        .into_query()
}

/// The connections that `user` made, or that are shared with them. A union, since of an OR PostgreSQL believes that it
/// is true of half of all rows, and walks them.
pub(super) fn made_or_shared(user: uuid::Uuid) -> SelectStatement {
    let made = connection::Entity::find().filter(connection::Column::CreatedBy.eq(user));
    let mut made = column(made, connection::Column::Id);
    made.union(UnionType::All, shared_with(user)).to_owned()
}

fn sees(sight: Sight) -> Condition {
    match sight {
        Sight::Everything => Condition::all(),
        Sight::MadeOrShared(user) => Condition::all().add(connection::Column::Id.in_subquery(made_or_shared(user))),
        Sight::Client(client) => Condition::all().add(connection::Column::ClientId.eq(client)),
        Sight::Nothing => Condition::all().add(Expr::value(false)),
    }
}

/// Whether a viewer with this sight sees a connection as `fact` has it.
pub(super) fn sees_fact(sight: Sight, fact: &Fact) -> bool {
    match sight {
        Sight::Everything => true,
        Sight::MadeOrShared(user) => fact.owner == Some(user) || fact.shares.contains(&user),
        Sight::Client(client) => fact.client == Some(client),
        Sight::Nothing => false,
    }
}
