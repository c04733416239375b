//! Connections as people list them: filtered, ordered, in pages, and never more than they may see.

use std::collections::HashMap;

use entity::{connection, connection_share};
use sea_orm::{ColumnTrait, EntityTrait, Order as Direction, PaginatorTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::{ConnectionFilter, Connections, visibility};
use crate::{
    access::{Action, Viewer},
    error::Result,
    pages::{self, Key, Order, Page, PageArgs},
};

/// How many ids stand in one statement, and how many rows are written by one.
pub(super) const BATCH: usize = 500;

/// How a list of connections is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionOrder {
    pub field: OrderField,
    pub descending: bool,
}

/// What connections can be sorted by; the id breaks ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderField {
    /// Ascending: disconnected first, then expiring; among equals the newest change first. Descending is the reverse.
    Status,
    StatusChangedAt,
    Name,
    CreatedAt,
}

/// What a viewer may do to one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    pub reconnect: bool,
    pub remove: bool,
    pub share: bool,
}

impl Connections {
    /// A part of the connections that the viewer may see and `filter` picks, by id where nothing else is said.
    pub async fn list(
        &self,
        viewer: &Viewer,
        filter: &ConnectionFilter,
        order: Option<ConnectionOrder>,
        args: &PageArgs,
    ) -> Result<Page<connection::Model>> {
        let picked = self.picked(viewer, filter)?;
        pages::read(self.db.reader(), picked, args, sorted(order), viewer.cursor_key()).await
    }

    /// How many there are.
    pub async fn count(&self, viewer: &Viewer, filter: &ConnectionFilter) -> Result<u64> {
        Ok(self.picked(viewer, filter)?.count(self.db.reader()).await?)
    }

    /// The connection `id`, also once it was removed.
    pub async fn connection(&self, viewer: &Viewer, id: Uuid) -> Result<Option<connection::Model>> {
        let one = visibility::connections(viewer).filter(connection::Column::Id.eq(id));
        Ok(one.one(self.db.reader()).await?)
    }

    /// The connection that has this external id now.
    pub async fn connection_by_external_id(
        &self,
        viewer: &Viewer,
        external_id: &str,
    ) -> Result<Option<connection::Model>> {
        // No external id has a NUL, and PostgreSQL cannot even be asked.
        if external_id.contains('\0') {
            return Ok(None);
        }
        let one = visibility::live_connections(viewer).filter(connection::Column::ExternalId.eq(external_id));
        Ok(one.one(self.db.reader()).await?)
    }

    /// Those of `ids` that the viewer may see, removed ones too.
    pub async fn connections_by_ids(&self, viewer: &Viewer, ids: &[Uuid]) -> Result<HashMap<Uuid, connection::Model>> {
        let mut found = HashMap::with_capacity(ids.len());
        for part in ids.chunks(BATCH) {
            let these = visibility::connections(viewer).filter(connection::Column::Id.is_in(part.iter().copied()));
            found.extend(these.all(self.db.reader()).await?.into_iter().map(|row| (row.id, row)));
        }
        Ok(found)
    }

    /// With whom each of `connections` is shared, by the person's id. Those that are not shared are left out.
    pub async fn shares_of(&self, connections: &[Uuid]) -> Result<HashMap<Uuid, Vec<Uuid>>> {
        let mut shares: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for part in connections.chunks(BATCH) {
            let rows = connection_share::Entity::find()
                .filter(connection_share::Column::ConnectionId.is_in(part.iter().copied()))
                .order_by_asc(connection_share::Column::UserId)
                .all(self.db.reader())
                .await?;
            for row in rows {
                shares.entry(row.connection_id).or_default().push(row.user_id);
            }
        }
        Ok(shares)
    }

    /// What the viewer may do to a connection with these shares; nothing once it was removed.
    pub fn abilities(viewer: &Viewer, row: &connection::Model, shares: &[Uuid]) -> Abilities {
        if row.removed_at.is_some() {
            return Abilities::default();
        }
        let may = |action| viewer.may_on(action, row.created_by, row.client_id, shares);
        Abilities { reconnect: may(Action::Tend), remove: may(Action::Dispose), share: may(Action::Dispose) }
    }
}

fn sorted(order: Option<ConnectionOrder>) -> Order<connection::Model> {
    use connection::Column::{CreatedAt, Id, NameKey, Status, StatusChangedAt};
    let Some(ConnectionOrder { field, descending }) = order else {
        return Order::by("connections", Id, Direction::Asc, |row| vec![Key::Id(row.id)]);
    };
    let (onward, back) = if descending { (Direction::Desc, Direction::Asc) } else { (Direction::Asc, Direction::Desc) };
    let named = |ascending, falling| if descending { falling } else { ascending };
    match field {
        OrderField::Status => {
            let name = named("connections by status", "connections by status, falling");
            let keys = |row: &connection::Model| {
                vec![Key::Int(rank(row.status)), row.status_changed_at.into(), Key::Id(row.id)]
            };
            Order::by(name, Status, onward, keys).then(StatusChangedAt, back.clone()).then(Id, back)
        }
        OrderField::StatusChangedAt => {
            let name = named("connections by change", "connections by change, falling");
            let keys = |row: &connection::Model| vec![row.status_changed_at.into(), Key::Id(row.id)];
            Order::by(name, StatusChangedAt, onward.clone(), keys).then(Id, onward)
        }
        OrderField::Name => {
            let name = named("connections by name", "connections by name, falling");
            let keys = |row: &connection::Model| vec![Key::Text(row.name_key.clone()), Key::Id(row.id)];
            Order::by(name, NameKey, onward.clone(), keys).then(Id, onward)
        }
        OrderField::CreatedAt => {
            let name = named("connections by age", "connections by age, falling");
            let keys = |row: &connection::Model| vec![row.created_at.into(), Key::Id(row.id)];
            Order::by(name, CreatedAt, onward.clone(), keys).then(Id, onward)
        }
    }
}

fn rank(status: entity::Status) -> i64 {
    sea_orm::ActiveEnum::to_value(&status).into()
}
