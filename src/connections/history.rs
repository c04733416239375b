//! How long what is over is kept: attempts, links, disconnections, incidents, and what was removed.
//!
//! Nothing goes that still means something: a disconnection that lasts, a link that works, a removed connection whose
//! datasets a new one may take over, or that something kept refers to.

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    attempt, authorization, connection, connection_share, dataset, disconnection, disconnection_connection, incident,
    link, link_connector, notification,
};
use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Select,
    sea_query::{Expr, ExprTrait as _, IntoColumnRef},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Connections;
use crate::{
    error::Result,
    notifications,
    retention::{PART, Part, delete_old, find_part, lock_part, next_part},
};

/// How long an attempt is kept after it ended.
const ATTEMPTS: TimeDelta = TimeDelta::days(30);
/// How long a link is kept after it would have expired.
const LINKS: TimeDelta = TimeDelta::days(90);
/// How many disconnections go at once: each with its links to connections and what people were told of it.
const DISCONNECTIONS: u64 = 50;

impl Connections {
    /// Deletes what was kept long enough: `history` is for how long disconnections, incidents and what was removed are.
    pub async fn sweep(&self, history: TimeDelta, stop: &CancellationToken) -> Result<()> {
        let now = self.clock.now();
        let over = attempt::Entity::find().filter(attempt::Column::EndedAt.lt(now - ATTEMPTS));
        delete_old(&self.db, attempt::Column::Id, &over, stop).await?;
        let over = link::Entity::find().filter(link::Column::ExpiresAt.lt(now - LINKS));
        delete_old(&self.db, link::Column::Id, &over, stop).await?;
        let before = now - history;
        self.sweep_disconnections(before, stop).await?;
        let over = incident::Entity::find().filter(incident::Column::EndedAt.lt(before));
        delete_old(&self.db, incident::Column::Id, &over, stop).await?;
        self.sweep_connections(before, stop).await?;
        let gone = removed_authorizations(before);
        delete_old(&self.db, authorization::Column::Id, &gone, stop).await
    }

    async fn sweep_disconnections(&self, before: DateTime<Utc>, stop: &CancellationToken) -> Result<()> {
        let id = disconnection::Column::Id;
        let over = disconnection::Entity::find().filter(disconnection::Column::EndedAt.lt(before));
        while let Some(found) = find_part(&self.db, id, &over, DISCONNECTIONS, stop).await? {
            self.uncover(&found).await?;
            let Some(Part { txn, ids }) = lock_part(&self.db, id, &over, found).await? else { return Ok(()) };
            notifications::forget(&txn, &ids).await?;
            disconnection::Entity::delete_many().filter(id.is_in(ids)).exec(&txn).await?;
            txn.commit().await?;
        }
        Ok(())
    }

    /// Deletes the links of disconnections that are to go, a part of their connections at a time: one may have thousands.
    async fn uncover(&self, disconnections: &[Uuid]) -> Result<()> {
        use disconnection_connection::Column::{ConnectionId, DisconnectionId};
        let theirs = || DisconnectionId.is_in(disconnections.iter().copied());
        loop {
            let covered = disconnection_connection::Entity::find().filter(theirs());
            let covered = covered.select_only().column(ConnectionId).distinct().limit(PART);
            let covered: Vec<Uuid> = covered.into_tuple().all(self.db.reader()).await?;
            if covered.is_empty() {
                return Ok(());
            }
            let some = disconnection_connection::Entity::delete_many().filter(theirs());
            some.filter(ConnectionId.is_in(covered)).exec(self.db.writer()).await?;
        }
    }

    async fn sweep_connections(&self, before: DateTime<Utc>, stop: &CancellationToken) -> Result<()> {
        let gone = removed_connections(before);
        while let Some(Part { txn, ids }) = next_part(&self.db, connection::Column::Id, &gone, PART, stop).await? {
            let shared = connection_share::Column::ConnectionId.is_in(ids.iter().copied());
            connection_share::Entity::delete_many().filter(shared).exec(&txn).await?;
            connection::Entity::delete_many().filter(connection::Column::Id.is_in(ids)).exec(&txn).await?;
            txn.commit().await?;
        }
        Ok(())
    }
}

/// Removed connections that nothing refers to any more.
fn removed_connections(before: DateTime<Utc>) -> Select<connection::Entity> {
    let own = (connection::Entity, connection::Column::Id);
    connection::Entity::find()
        .filter(connection::Column::RemovedAt.lt(before))
        .filter(unused::<dataset::Entity>(dataset::Column::ConnectionId, own))
        .filter(unused::<disconnection_connection::Entity>(disconnection_connection::Column::ConnectionId, own))
        .filter(unused::<disconnection::Entity>(disconnection::Column::ConnectionId, own))
        .filter(unused::<attempt::Entity>(attempt::Column::ConnectionId, own))
        .filter(unused::<link::Entity>(link::Column::ConnectionId, own))
        .filter(unused::<link_connector::Entity>(link_connector::Column::ConnectionId, own))
}

/// Removed authorizations that nothing refers to any more.
fn removed_authorizations(before: DateTime<Utc>) -> Select<authorization::Entity> {
    let own = (authorization::Entity, authorization::Column::Id);
    authorization::Entity::find()
        .filter(authorization::Column::RemovedAt.lt(before))
        .filter(unused::<connection::Entity>(connection::Column::AuthorizationId, own))
        .filter(unused::<disconnection::Entity>(disconnection::Column::AuthorizationId, own))
        .filter(unused::<notification::Entity>(notification::Column::AuthorizationId, own))
}

/// No row refers to `own` by its column `by`.
fn unused<E: EntityTrait>(by: E::Column, own: impl IntoColumnRef) -> Expr {
    let using =
        E::find().select_only().expr(Expr::value(1)).filter(Expr::col((E::default(), by)).equals(own)).into_query();
    Expr::exists(using).not()
}
