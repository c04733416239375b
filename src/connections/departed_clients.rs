//! Removing a client, with its connections where that is wanted.

use std::collections::{BTreeSet, HashSet};

use entity::connection;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Select};
use uuid::Uuid;

use super::{Connections, held::Held, lifecycle::Change, list::BATCH, settle::meanwhile};
use crate::{
    access::{Action, Viewer},
    error::{Conflict, Result, UserError, UserErrorCode},
    people,
};

impl Connections {
    /// Removes a client; its logins and keys may no longer come in. CONFLICT with one of its connections, unless they
    /// are to go with it (`with_connections`), each as [`Connections::remove`] does it.
    pub async fn remove_client(&self, viewer: &Viewer, client: Uuid, with_connections: bool) -> Result<()> {
        viewer.may(Action::ManageClients)?;
        let known = connections_of(viewer, client).all(self.db.reader()).await?;
        let behind: BTreeSet<Uuid> = known.iter().map(|row| row.authorization_id).collect();
        let mut change = Change::begin(self, viewer).await?;
        people::hold_people(&change.txn, viewer.workspace()).await?;
        let mut all_held = Vec::with_capacity(behind.len());
        if with_connections {
            let behind: Vec<Uuid> = behind.into_iter().collect();
            // In parts, in the order of their ids, as `hold` does it.
            for part in behind.chunks(BATCH) {
                all_held.extend(change.hold(part).await?);
            }
        }
        let left = people::remove_client(&change.txn, viewer, client, change.now).await?;
        change.note(left);
        // From here on it gets no more.
        let rows = connections_of(viewer, client).all(&change.txn).await?;
        if let Some(first) = rows.first().filter(|_| !with_connections) {
            let message = "This client has connections: remove them first, or with it.";
            let conflict = UserError::new(UserErrorCode::Conflict, message).at(["clientId"]);
            return Err(conflict.against(Conflict::Connection(first.id)).into());
        }
        let held: HashSet<Uuid> = all_held.iter().map(Held::id).collect();
        if !rows.iter().all(|row| held.contains(&row.authorization_id)) {
            return Err(meanwhile());
        }
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        change.unplug_all(&mut all_held, &ids).await?;
        change.commit().await
    }
}

/// The client's connections, by id.
fn connections_of(viewer: &Viewer, client: Uuid) -> Select<connection::Entity> {
    connection::Entity::find()
        .filter(connection::Column::WorkspaceId.eq(viewer.workspace()))
        .filter(connection::Column::ClientId.eq(client))
        .filter(connection::Column::RemovedAt.is_null())
        .order_by_asc(connection::Column::Id)
}
