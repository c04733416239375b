//! What is written of many at once: in one statement for each [`BATCH`] of them, and not one for each. Nothing else is
//! written to SQLite meanwhile, and rows stay locked on PostgreSQL.

use std::collections::{HashMap, HashSet};

use entity::{
    DisconnectionEnd, Status, authorization,
    connection::{self, Column},
    disconnection,
};
use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, SqlErr,
    sea_query::{Expr, ExprTrait as _, OnConflict},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    conflicts::{connected_already, live},
    held::{Held, Member, last_checked},
    lifecycle::Change,
    list::BATCH,
    settle::meanwhile,
};
use crate::{error::Result, ids::Kind, journal::Touched};

type Never = Option<chrono::DateTime<chrono::Utc>>;

impl Change<'_> {
    /// Ends disconnections.
    pub(super) async fn end_all(&self, ids: &[Uuid], how: DisconnectionEnd, by: Option<Uuid>) -> Result<()> {
        for part in ids.chunks(BATCH) {
            disconnection::Entity::update_many()
                .col_expr(disconnection::Column::EndedAt, self.not_before(disconnection::Column::StartedAt))
                .col_expr(disconnection::Column::EndedBy, Expr::value(how.as_str()))
                .col_expr(disconnection::Column::ReconnectedBy, Expr::value(by))
                .filter(disconnection::Column::Id.is_in(part.iter().copied()))
                .filter(disconnection::Column::EndedAt.is_null())
                .exec(&self.txn)
                .await?;
        }
        Ok(())
    }

    /// Writes the columns `changed` of connections as they are in memory. SQLite writes the indexes of all that it is told,
    /// whether or not the value is another.
    pub(super) async fn write_members(&self, rows: &[connection::Model], changed: &[Column]) -> Result<()> {
        if let [row] = rows {
            return self.write_member(row).await;
        }
        // They are there: what is written by one statement differs from row to row.
        let over = OnConflict::column(connection::Column::Id).update_columns(changed.iter().copied()).to_owned();
        for part in rows.chunks(BATCH) {
            let part = part.iter().cloned().map(connection::ActiveModel::from);
            let written = connection::Entity::insert_many(part).on_conflict(over.clone());
            written.exec_without_returning(&self.txn).await.map_err(|error| match error.sql_err() {
                // They were found free: somebody took the place of one at this moment.
                Some(SqlErr::UniqueConstraintViolation(_)) => meanwhile(),
                _ => error.into(),
            })?;
        }
        Ok(())
    }

    /// Refuses `rows`, connections of one connector as they are to be, where one is connected for its client already.
    pub(super) async fn require_all_free(&self, rows: &[connection::Model]) -> Result<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        let ours: HashSet<Uuid> = rows.iter().map(|row| row.id).collect();
        let mut taken: HashMap<(Option<Uuid>, &str), Uuid> = HashMap::new();
        for row in rows {
            if let Some(other) = taken.insert((row.client_id, row.account_key.as_str()), row.id) {
                return Err(connected_already(other).into());
            }
        }
        for part in rows.chunks(BATCH) {
            let keys: HashSet<&str> = part.iter().map(|row| row.account_key.as_str()).collect();
            let others = live(self.workspace)
                .filter(connection::Column::Connector.eq(&first.connector))
                .filter(connection::Column::AccountKey.is_in(keys))
                .all(&self.txn)
                .await?;
            let others = others.iter().filter(|other| !ours.contains(&other.id));
            for other in others {
                if taken.contains_key(&(other.client_id, other.account_key.as_str())) {
                    return Err(connected_already(other.id).into());
                }
            }
        }
        Ok(())
    }

    /// Removes connections of held authorizations, in this order. An authorization that loses its last goes with it.
    pub(super) async fn unplug_all(&mut self, all: &mut [Held], ids: &[Uuid]) -> Result<()> {
        let mut leaving = take_out(all, ids);
        let left: HashMap<Uuid, &Held> = all.iter().map(|held| (held.id(), held)).collect();
        // An authorization's own disconnection ends with the last of its connections.
        let mut emptied: HashSet<Uuid> = all.iter().filter(|held| held.members.is_empty()).map(Held::id).collect();
        let mut entries = Vec::with_capacity(leaving.len());
        for member in leaving.iter().rev() {
            let held = left[&member.row.authorization_id];
            let whole = held.disconnection.as_ref().filter(|_| emptied.remove(&held.id()));
            let ended = whole.or(member.own.as_ref()).map(|one| one.id);
            let details = json!({ "name": member.row.name, "connector": member.row.connector, "disconnection": ended });
            let touched = Touched { connection: member.row.id, before: Some(held.fact(member)), after: None };
            entries.push((member.row.id, touched, details));
        }
        let own: Vec<Uuid> = leaving.iter_mut().filter_map(|member| member.own.take()).map(|own| own.id).collect();
        self.end_all(&own, DisconnectionEnd::Removed, None).await?;
        let removed: Vec<connection::Model> = leaving
            .iter()
            .map(|member| connection::Model {
                last_checked_at: last_checked(&member.row, &left[&member.row.authorization_id].authorization),
                removed_at: Some(self.now),
                probe_at: None,
                ..member.row.clone()
            })
            .collect();
        self.write_members(&removed, &[Column::LastCheckedAt, Column::RemovedAt, Column::ProbeAt]).await?;
        self.leave_datasets(&leaving).await?;
        for (id, touched, details) in entries.into_iter().rev() {
            self.tell("connection.removed", Kind::Connection.of(id), vec![touched], details);
        }
        let concerned: HashSet<Uuid> = leaving.iter().map(|member| member.row.authorization_id).collect();
        let empty = all.iter_mut().filter(|held| held.members.is_empty() && concerned.contains(&held.id()));
        self.retire_all(empty.collect(), DisconnectionEnd::Removed, None).await
    }

    /// Tombstones authorizations without connections, and erases their secrets; their grants are to be given back.
    pub(super) async fn retire_all(
        &mut self,
        empty: Vec<&mut Held>,
        how: DisconnectionEnd,
        by: Option<Uuid>,
    ) -> Result<()> {
        let ids: Vec<Uuid> = empty.iter().map(|held| held.id()).collect();
        let (mut open, mut grants) = (Vec::new(), Vec::new());
        for held in empty {
            if held.authorization.status == Status::Expiring {
                self.take_back_end(held).await?;
            }
            open.extend(held.disconnection.take().map(|open| open.id));
            held.authorization.removed_at = Some(self.now);
            grants.extend(self.grant_of(&held.authorization));
            held.authorization.credential = None;
        }
        self.end_all(&open, how, by).await?;
        for part in ids.chunks(BATCH) {
            let version = authorization::Column::CredentialVersion;
            authorization::Entity::update_many()
                .col_expr(authorization::Column::RemovedAt, Expr::value(self.now))
                .col_expr(authorization::Column::Credential, Expr::value(None::<Vec<u8>>))
                .col_expr(version, Expr::col(version).add(1))
                .col_expr(authorization::Column::RenewAt, Expr::value(None as Never))
                .col_expr(authorization::Column::ProbeAt, Expr::value(None as Never))
                .filter(authorization::Column::Id.is_in(part.iter().copied()))
                .exec(&self.txn)
                .await?;
        }
        self.note_give_backs(grants).await
    }
}

/// Those of the members of `all` that are among `ids`, in the order of these.
fn take_out(all: &mut [Held], ids: &[Uuid]) -> Vec<Member> {
    let order: HashMap<Uuid, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let mut taken: Vec<Member> = Vec::with_capacity(ids.len());
    for held in all {
        taken.extend(held.members.extract_if(.., |member| order.contains_key(&member.row.id)));
    }
    taken.sort_by_key(|member| order[&member.row.id]);
    taken
}
