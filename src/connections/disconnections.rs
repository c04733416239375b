//! Disconnections as people see them: past and present ones, what they cover, and where to press Reconnect.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{DisconnectionReason, Status, connection, disconnection, disconnection_connection};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, Order as Direction, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Select,
    sea_query::{Expr, ExprTrait as _, SelectStatement, SimpleExpr},
};
use uuid::Uuid;

use super::{
    Connections,
    filter::{few, has_reason, slugs},
    list::BATCH,
    visibility,
};
use crate::{
    access::{Action, Viewer},
    clock::to_microseconds,
    error::Result,
    pages::{self, Key, Order, Page, PageArgs},
};

/// Which disconnections: see [`super::ConnectionFilter`] for how conditions are joined. Times are exclusive.
#[derive(Debug, Clone, Default)]
pub struct DisconnectionFilter {
    /// Whether it still lasts.
    pub open: Option<bool>,
    /// It covers this connection.
    pub connection: Option<Uuid>,
    /// It covers a connection of this client.
    pub client: Option<Uuid>,
    /// Slugs.
    pub connector: Option<Vec<String>>,
    pub reason: Option<Vec<DisconnectionReason>>,
    pub started_after: Option<DateTime<Utc>>,
    pub started_before: Option<DateTime<Utc>>,
    pub ended_after: Option<DateTime<Utc>>,
}

impl Connections {
    /// A part of the disconnections that the viewer may see, newest first.
    pub async fn disconnections(
        &self,
        viewer: &Viewer,
        filter: &DisconnectionFilter,
        args: &PageArgs,
    ) -> Result<Page<disconnection::Model>> {
        pages::read(self.db.reader(), picked(viewer, filter)?, args, newest_first(), viewer.cursor_key()).await
    }

    /// How many there are.
    pub async fn count_disconnections(&self, viewer: &Viewer, filter: &DisconnectionFilter) -> Result<u64> {
        Ok(picked(viewer, filter)?.count(self.db.reader()).await?)
    }

    /// The disconnection `id`.
    pub async fn disconnection(&self, viewer: &Viewer, id: Uuid) -> Result<Option<disconnection::Model>> {
        let one = visibility::disconnections(viewer).filter(disconnection::Column::Id.eq(id));
        Ok(one.one(self.db.reader()).await?)
    }

    /// Those of `ids` that the viewer may see.
    pub async fn disconnections_by_ids(
        &self,
        viewer: &Viewer,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, disconnection::Model>> {
        let mut found = HashMap::with_capacity(ids.len());
        for part in ids.chunks(BATCH) {
            let these =
                visibility::disconnections(viewer).filter(disconnection::Column::Id.is_in(part.iter().copied()));
            found.extend(these.all(self.db.reader()).await?.into_iter().map(|row| (row.id, row)));
        }
        Ok(found)
    }

    /// A part of the disconnections that covered a connection, newest first.
    pub async fn disconnections_of(
        &self,
        viewer: &Viewer,
        connection: Uuid,
        args: &PageArgs,
    ) -> Result<Page<disconnection::Model>> {
        self.disconnections(viewer, &of(connection), args).await
    }

    /// How many there are.
    pub async fn count_disconnections_of(&self, viewer: &Viewer, connection: Uuid) -> Result<u64> {
        self.count_disconnections(viewer, &of(connection)).await
    }

    /// The disconnection that each of `connections` is in now: its authorization's first, else its own.
    pub async fn current_disconnections(
        &self,
        connections: &[connection::Model],
    ) -> Result<HashMap<Uuid, disconnection::Model>> {
        let broken: Vec<&connection::Model> = connections.iter().filter(|row| is_disconnected(row)).collect();
        let (mut whole, mut own) = (HashMap::new(), HashMap::new());
        for part in broken.chunks(BATCH) {
            let theirs = Condition::any()
                .add(disconnection::Column::ConnectionId.is_null())
                .add(disconnection::Column::ConnectionId.is_in(part.iter().map(|row| row.id)));
            let rows = open(part.iter().map(|row| row.authorization_id)).filter(theirs).all(self.db.reader()).await?;
            for row in rows {
                match row.connection_id {
                    None => whole.insert(row.authorization_id, row),
                    Some(connection) => own.insert(connection, row),
                };
            }
        }
        let current = |row: &connection::Model| {
            let current = whole.get(&row.authorization_id).or_else(|| own.get(&row.id));
            current.map(|open| (row.id, open.clone()))
        };
        Ok(broken.into_iter().filter_map(current).collect())
    }

    /// The disconnection that each of `authorizations` is in as a whole.
    pub async fn open_disconnection_of(&self, authorizations: &[Uuid]) -> Result<HashMap<Uuid, disconnection::Model>> {
        let mut found = HashMap::new();
        for part in authorizations.chunks(BATCH) {
            let whole = open(part.iter().copied()).filter(disconnection::Column::ConnectionId.is_null());
            found.extend(whole.all(self.db.reader()).await?.into_iter().map(|row| (row.authorization_id, row)));
        }
        Ok(found)
    }

    /// A part of the connections that a disconnection covers and the viewer may see, by id, removed ones too.
    pub async fn covered(
        &self,
        viewer: &Viewer,
        disconnection: Uuid,
        args: &PageArgs,
    ) -> Result<Page<connection::Model>> {
        let keys = |row: &connection::Model| vec![Key::Id(row.id)];
        let by_id = Order::by("covered connections", connection::Column::Id, Direction::Asc, keys);
        pages::read(self.db.reader(), covered_by(viewer, disconnection), args, by_id, viewer.cursor_key()).await
    }

    /// How many there are.
    pub async fn count_covered(&self, viewer: &Viewer, disconnection: Uuid) -> Result<u64> {
        Ok(covered_by(viewer, disconnection).count(self.db.reader()).await?)
    }

    /// For each of `disconnections`, the connection to reconnect so that it ends; none once it has ended, and for whoever
    /// may not.
    pub async fn reconnectables(
        &self,
        viewer: &Viewer,
        disconnections: &[disconnection::Model],
    ) -> Result<HashMap<Uuid, Uuid>> {
        let lasting: Vec<Uuid> = disconnections.iter().filter(|row| row.ended_at.is_none()).map(|row| row.id).collect();
        let mut found = HashMap::new();
        let Some(first) = first_to_reconnect(viewer) else { return Ok(found) };
        for part in lasting.chunks(BATCH) {
            let rows: Vec<(Uuid, Option<Uuid>)> = disconnection::Entity::find()
                .select_only()
                .column(disconnection::Column::Id)
                .expr_as(SimpleExpr::SubQuery(None, Box::new(first.clone().into())), "connection")
                .filter(disconnection::Column::WorkspaceId.eq(viewer.workspace()))
                .filter(disconnection::Column::Id.is_in(part.iter().copied()))
                .into_tuple()
                .all(self.db.reader())
                .await?;
            found.extend(rows.into_iter().filter_map(|(id, connection)| Some((id, connection?))));
        }
        Ok(found)
    }
}

fn picked(viewer: &Viewer, filter: &DisconnectionFilter) -> Result<Select<disconnection::Entity>> {
    use disconnection::Column::{Connector, EndedAt, Id, StartedAt};
    few(&filter.connector)?;
    let covers = |column: connection::Column, wanted: Uuid| {
        // Judged by connections that the viewer may see: the answer must not tell of others.
        Id.in_subquery(visibility::covering(visibility::connections(viewer).filter(column.eq(wanted))))
    };
    let conditions = Condition::all()
        .add_option(filter.open.map(|open| if open { EndedAt.is_null() } else { EndedAt.is_not_null() }))
        .add_option(filter.connection.map(|wanted| covers(connection::Column::Id, wanted)))
        .add_option(filter.client.map(|wanted| covers(connection::Column::ClientId, wanted)))
        .add_option(filter.connector.as_ref().map(|wanted| Connector.is_in(slugs(wanted))))
        .add_option(filter.reason.as_ref().map(|wanted| has_reason(wanted)))
        .add_option(filter.started_after.map(|after| StartedAt.gt(to_microseconds(after))))
        .add_option(filter.started_before.map(|before| StartedAt.lt(to_microseconds(before))))
        .add_option(filter.ended_after.map(|after| EndedAt.gt(to_microseconds(after))));
    Ok(visibility::disconnections(viewer).filter(conditions))
}

fn newest_first() -> Order<disconnection::Model> {
    let keys = |row: &disconnection::Model| vec![row.started_at.into(), Key::Id(row.id)];
    Order::by("disconnections", disconnection::Column::StartedAt, Direction::Desc, keys)
        .then(disconnection::Column::Id, Direction::Desc)
}

fn of(connection: Uuid) -> DisconnectionFilter {
    DisconnectionFilter { connection: Some(connection), ..DisconnectionFilter::default() }
}

fn open(authorizations: impl Iterator<Item = Uuid>) -> Select<disconnection::Entity> {
    disconnection::Entity::find()
        .filter(disconnection::Column::AuthorizationId.is_in(authorizations))
        .filter(disconnection::Column::EndedAt.is_null())
}

fn is_disconnected(row: &connection::Model) -> bool {
    row.status == Status::Disconnected && row.removed_at.is_none()
}

pub(super) fn covered_by(viewer: &Viewer, disconnection: Uuid) -> Select<connection::Entity> {
    let links = links().filter(disconnection_connection::Column::DisconnectionId.eq(disconnection));
    visibility::connections(viewer).filter(
        connection::Column::Id.in_subquery(visibility::column(links, disconnection_connection::Column::ConnectionId)),
    )
}

fn links() -> Select<disconnection_connection::Entity> {
    disconnection_connection::Entity::find()
}

/// Within a select of disconnections: the first connection by id that is covered, still behind the same authorization
/// (reconnecting one that has moved would end nothing) and that the viewer may reconnect. None who may reconnect none.
fn first_to_reconnect(viewer: &Viewer) -> Option<SelectStatement> {
    // Whoever may reconnect at all may reconnect what they see: the permission table gives both the same reach.
    viewer.may(Action::Tend).ok()?;
    let outer = |column: disconnection::Column| Expr::col(column.as_column_ref());
    let covering = Expr::col(disconnection_connection::Column::DisconnectionId.as_column_ref())
        .eq(outer(disconnection::Column::Id));
    let links = visibility::column(links().filter(covering), disconnection_connection::Column::ConnectionId);
    let behind = Expr::col(connection::Column::AuthorizationId.as_column_ref())
        .eq(outer(disconnection::Column::AuthorizationId));
    let first = visibility::live_connections(viewer)
        .select_only()
        .column(connection::Column::Id)
        .filter(behind)
        .filter(connection::Column::Id.in_subquery(links))
        .order_by_asc(connection::Column::Id)
        .limit(1);
    Some(first.into_query())
}
