//! What a notification concerns, as far as its reader may see: the connections that its disconnection covers, else
//! those of the authorization it is about, else those of its connector.

use entity::{client, connection, notification};
use sea_orm::{ColumnTrait, EntityTrait, Order as Direction, PaginatorTrait, QueryFilter, Select};

use super::{Connections, disconnections::covered_by, visibility};
use crate::{
    access::Viewer,
    error::Result,
    pages::{self, Key, Order, Page, PageArgs},
};

impl Connections {
    /// A part of the connections that a notification concerns, by id.
    pub async fn connections_concerned(
        &self,
        viewer: &Viewer,
        told: &notification::Model,
        args: &PageArgs,
    ) -> Result<Page<connection::Model>> {
        let keys = |row: &connection::Model| vec![Key::Id(row.id)];
        let by_id = Order::by("connections concerned", connection::Column::Id, Direction::Asc, keys);
        pages::read(self.db.reader(), concerned(viewer, told), args, by_id, viewer.cursor_key()).await
    }

    /// How many there are.
    pub async fn count_connections_concerned(&self, viewer: &Viewer, told: &notification::Model) -> Result<u64> {
        Ok(concerned(viewer, told).count(self.db.reader()).await?)
    }

    /// A part of the clients whose connections a notification concerns, by id.
    pub async fn clients_concerned(
        &self,
        viewer: &Viewer,
        told: &notification::Model,
        args: &PageArgs,
    ) -> Result<Page<client::Model>> {
        let keys = |row: &client::Model| vec![Key::Id(row.id)];
        let by_id = Order::by("clients concerned", client::Column::Id, Direction::Asc, keys);
        pages::read(self.db.reader(), clients_of(viewer, told), args, by_id, viewer.cursor_key()).await
    }

    /// How many there are.
    pub async fn count_clients_concerned(&self, viewer: &Viewer, told: &notification::Model) -> Result<u64> {
        Ok(clients_of(viewer, told).count(self.db.reader()).await?)
    }
}

fn concerned(viewer: &Viewer, told: &notification::Model) -> Select<connection::Entity> {
    let live = || visibility::live_connections(viewer);
    match (told.disconnection_id, told.authorization_id) {
        (Some(disconnection), _) => covered_by(viewer, disconnection),
        (None, Some(authorization)) => live().filter(connection::Column::AuthorizationId.eq(authorization)),
        (None, None) => live().filter(connection::Column::Connector.eq(told.connector.as_deref().unwrap_or_default())),
    }
}

fn clients_of(viewer: &Viewer, told: &notification::Model) -> Select<client::Entity> {
    let theirs = visibility::column(concerned(viewer, told), connection::Column::ClientId);
    client::Entity::find()
        .filter(client::Column::WorkspaceId.eq(viewer.workspace()))
        .filter(client::Column::Id.in_subquery(theirs))
}
