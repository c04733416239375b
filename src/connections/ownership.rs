//! Who owns connections, and with whom they are shared.

use std::collections::{BTreeSet, HashSet};

use entity::{connection, connection_share, user};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use super::{Connections, list::BATCH};
use crate::{db::Transaction, error::Result};

impl Connections {
    /// Those of `users` who are active.
    pub(super) async fn active_users(&self, txn: &Transaction, users: &BTreeSet<Uuid>) -> Result<HashSet<Uuid>> {
        if users.is_empty() {
            return Ok(HashSet::new());
        }
        let rows = user::Entity::find()
            .filter(user::Column::Id.is_in(users.iter().copied()))
            .filter(user::Column::Active.eq(true))
            .all(txn)
            .await?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// Makes `owner` the owner of `connections`, who needs no share any more, and adds `shares`.
    pub(super) async fn set_owner(
        &self,
        txn: &Transaction,
        workspace: Uuid,
        connections: &[Uuid],
        owner: Uuid,
        shares: &[(Uuid, Uuid)],
    ) -> Result<()> {
        for part in connections.chunks(BATCH) {
            connection::Entity::update_many()
                .col_expr(connection::Column::CreatedBy, Expr::value(owner))
                .filter(connection::Column::Id.is_in(part.iter().copied()))
                .exec(txn)
                .await?;
            connection_share::Entity::delete_many()
                .filter(connection_share::Column::ConnectionId.is_in(part.iter().copied()))
                .filter(connection_share::Column::UserId.eq(owner))
                .exec(txn)
                .await?;
        }
        self.add_shares(txn, workspace, shares).await
    }

    /// Shares each connection with its person; one that is shared already stays so.
    pub(super) async fn add_shares(&self, txn: &Transaction, workspace: Uuid, shares: &[(Uuid, Uuid)]) -> Result<()> {
        let once = OnConflict::columns([connection_share::Column::ConnectionId, connection_share::Column::UserId])
            .do_nothing()
            .to_owned();
        for part in shares.chunks(BATCH) {
            let rows = part.iter().map(|(connection, user)| connection_share::ActiveModel {
                connection_id: Set(*connection),
                user_id: Set(*user),
                workspace_id: Set(workspace),
            });
            connection_share::Entity::insert_many(rows).on_conflict(once.clone()).exec_without_returning(txn).await?;
        }
        Ok(())
    }
}
