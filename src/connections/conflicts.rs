//! What is in the way of a connection: another with its external id, or with its account for the same client.
//!
//! Each is looked for before anything is written. Whoever was there first in a transaction that ended only after that
//! look is found by the database's unique indexes, and named then.

use entity::connection;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, Select, SqlErr};
use uuid::Uuid;

use super::{Connections, lifecycle::Change, settle::meanwhile, visibility};
use crate::{
    access::Viewer,
    error::{Conflict, Error, Result, UserError, UserErrorCode},
    ids::{Kind, NodeId},
};

impl Connections {
    /// A connection that is known by this external id already. CONFLICT where the viewer may not see it.
    pub(super) async fn known_as(
        &self,
        viewer: &Viewer,
        external_id: Option<&str>,
    ) -> Result<Option<connection::Model>> {
        let Some(external_id) = external_id else { return Ok(None) };
        let Some(known) = self.holder_of(viewer.workspace(), external_id).await? else { return Ok(None) };
        let seen = visibility::live_connections(viewer).filter(connection::Column::Id.eq(known.id));
        let seen = seen.one(self.db.reader()).await?;
        seen.map(Some).ok_or_else(|| external_id_taken(known.id).into())
    }

    /// The live connection of the workspace that has this external id.
    pub(super) async fn holder_of(&self, workspace: Uuid, external_id: &str) -> Result<Option<connection::Model>> {
        Ok(holder_of(workspace, external_id).one(self.db.reader()).await?)
    }
}

impl Change<'_> {
    /// Why `row` could not be written: what a unique index kept it from, by its name. The change is over with it.
    pub(super) async fn in_the_way(&self, error: DbErr, row: &connection::Model) -> Error {
        let Some(SqlErr::UniqueConstraintViolation(index)) = error.sql_err() else { return error.into() };
        match self.holder_named_by(&index, row).await {
            // It may be gone again.
            Ok(holder) => holder.map_or_else(meanwhile, Error::from),
            Err(error) => error,
        }
    }

    async fn holder_named_by(&self, index: &str, row: &connection::Model) -> Result<Option<UserError>> {
        // PostgreSQL answers no more questions in a transaction of which a statement failed.
        let after = self.txn.give_up().await?;
        Ok(match &row.external_id {
            Some(external_id) if index.contains("external_id") => {
                let holder = holder_of(row.workspace_id, external_id).one(&after).await?;
                holder.map(|other| external_id_taken(other.id))
            }
            _ => in_place_of(row).one(&after).await?.map(|other| connected_already(other.id)),
        })
    }

    /// Refuses what is connected for this client already.
    pub(super) async fn require_free(&self, row: &connection::Model) -> Result<()> {
        match in_place_of(row).one(&self.txn).await? {
            Some(other) => Err(connected_already(other.id).into()),
            None => Ok(()),
        }
    }
}

fn holder_of(workspace: Uuid, external_id: &str) -> Select<connection::Entity> {
    live(workspace).filter(connection::Column::ExternalId.eq(external_id))
}

/// The other connection of the same account for the same client.
fn in_place_of(row: &connection::Model) -> Select<connection::Entity> {
    let same_client = match row.client_id {
        Some(client) => connection::Column::ClientId.eq(client),
        None => connection::Column::ClientId.is_null(),
    };
    live(row.workspace_id)
        .filter(connection::Column::Connector.eq(&row.connector))
        .filter(same_client)
        .filter(connection::Column::AccountKey.eq(&row.account_key))
        .filter(connection::Column::Id.ne(row.id))
}

/// Every connection of the workspace that was not removed, whoever may see it.
pub(super) fn live(workspace: Uuid) -> Select<connection::Entity> {
    connection::Entity::find()
        .filter(connection::Column::WorkspaceId.eq(workspace))
        .filter(connection::Column::RemovedAt.is_null())
}

pub(super) fn connected_already(by: Uuid) -> UserError {
    UserError::new(UserErrorCode::Conflict, "This account is connected for this client already.")
        .against(Conflict::Connection(by))
}

pub(super) fn external_id_taken(by: Uuid) -> UserError {
    UserError::new(UserErrorCode::Conflict, "Another connection has this external id.")
        .at(["externalId"])
        .against(Conflict::Connection(by))
}

/// The thing that is in the way, as a node.
pub fn conflict_node(conflict: Conflict) -> NodeId {
    match conflict {
        Conflict::Client(id) => Kind::Client.of(id),
        Conflict::Connection(id) => Kind::Connection.of(id),
        Conflict::Authorization(id) => Kind::Authorization.of(id),
        Conflict::User(id) => Kind::User.of(id),
        Conflict::Dataset(id) => Kind::Dataset.of(id),
    }
}
