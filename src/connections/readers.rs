//! Datasets, as far as they follow connections: which of them a removed connection leaves behind, who takes those over,
//! and which outages are theirs to end.
//!
//! Of a dataset's row this writes what it reads through and that it is due; all else is the datasets' own.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use entity::{Detector, Topic, connection, dataset};
use sea_orm::{
    ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect,
    sea_query::{CaseStatement, Expr, ExprTrait as _},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    held::{self, Held, Member},
    lifecycle::Change,
    list::BATCH,
    visibility::column,
};
use crate::{
    access::{Action, Viewer},
    error::Result,
    ids::Kind,
    journal::{DatasetFact, Facts, NewEntry, Through},
};

/// What the key of a connection begins with that has no account and no fields to go by.
pub(super) const KEYLESS: &str = "connection:";

impl Change<'_> {
    /// How many datasets read through a connection.
    pub(super) async fn datasets_of(&self, connection: Uuid) -> Result<u64> {
        Ok(reading_through([connection]).count(&self.txn).await?)
    }

    /// Connections are removed: their datasets stay as they are, and are not refreshed.
    pub(super) async fn leave_datasets(&mut self, members: &[Member]) -> Result<()> {
        let left = members.iter().map(|member| (through(&member.row, &member.shares), None)).collect();
        self.turn_datasets(left, None).await
    }

    /// Datasets of removed connections go over to `rows`, new connections of one connector, each where the same account
    /// was connected for the same client; where nothing tells an account, from the one removed connection there is.
    ///
    /// Then whoever connects, `viewer`, has to have seen it: the key that they have proves nothing.
    pub(super) async fn hand_datasets_to(&mut self, rows: &[connection::Model], viewer: &Viewer) -> Result<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        let with_datasets = dataset::Entity::find().filter(dataset::Column::WorkspaceId.eq(self.workspace));
        let left_behind = connection::Entity::find()
            .filter(connection::Column::WorkspaceId.eq(self.workspace))
            .filter(connection::Column::Connector.eq(&first.connector))
            .filter(connection::Column::RemovedAt.is_not_null())
            .filter(connection::Column::Id.in_subquery(column(with_datasets, dataset::Column::ConnectionId)));
        let left = left_behind.clone().all(&self.txn).await?;
        if left.is_empty() {
            return Ok(());
        }
        let shares = held::shares(&self.txn, left_behind).await?;
        let (mut turns, mut turned) = (Vec::new(), HashSet::new());
        for row in rows {
            let keyless = row.account_key.starts_with(KEYLESS);
            for gone in predecessors(row, &left) {
                let shares = shares.get(&gone.id).map_or(&[][..], Vec::as_slice);
                if keyless && !viewer.may_on(Action::See, gone.created_by, gone.client_id, shares) {
                    continue;
                }
                if turned.insert(gone.id) {
                    turns.push((through(gone, shares), Some(through(row, &[]))));
                }
            }
        }
        self.turn_datasets(turns, Some(self.now)).await
    }

    /// Datasets of the first of each pair read through the second, where that is another, and are due at `refresh_at`. A
    /// refresh on the way comes to nothing: that it is over is told when its claim is given back, by the job where its
    /// worker was killed. So what is claimed is due.
    async fn turn_datasets(
        &mut self,
        turns: Vec<(Through, Option<Through>)>,
        refresh_at: Option<DateTime<Utc>>,
    ) -> Result<()> {
        use dataset::Column::{ClaimedBy, ConnectionId, Id, NeedsReconnect, Proven, RefreshAt, Version};
        for part in turns.chunks(BATCH) {
            let from: HashMap<Uuid, _> = part.iter().map(|turn| (turn.0.connection, turn)).collect();
            let read = reading_through(from.keys().copied()).select_only().columns([Id, ConnectionId]);
            let read: HashMap<Uuid, Uuid> =
                read.into_tuple::<(Uuid, Uuid)>().all(&self.txn).await?.into_iter().collect();
            if read.is_empty() {
                continue;
            }
            let mut now_through = CaseStatement::new();
            for (from, to) in part {
                let to = to.as_ref().unwrap_or(from).connection;
                now_through = now_through.case(ConnectionId.eq(from.connection), to);
            }
            let turned = dataset::Entity::update_many()
                .col_expr(ConnectionId, now_through.finally(Expr::col(ConnectionId)).into())
                .col_expr(RefreshAt, Expr::case(ClaimedBy.is_not_null(), self.now).finally(refresh_at).into())
                .col_expr(NeedsReconnect, Expr::value(false))
                // Whoever connected it may see less.
                .col_expr(Proven, Expr::value(false))
                .col_expr(Version, Expr::col(Version).add(1))
                .filter(ConnectionId.is_in(from.keys().copied()))
                .exec_with_returning(&self.txn)
                .await?;
            let actor = self.actor;
            let entries: Vec<NewEntry> = turned
                .into_iter()
                .filter_map(|row| {
                    let (before, to) = from.get(read.get(&row.id)?)?;
                    let (through, before) = (to.clone().unwrap_or_else(|| before.clone()), to.as_ref().map(|_| before.clone()));
                    Some(NewEntry {
                        topic: Topic::Datasets,
                        action: "dataset.updated",
                        actor,
                        subject: Kind::Dataset.of(row.id),
                        details: json!({ "name": row.name, "connection": Kind::Connection.of(through.connection).to_string() }),
                        facts: Facts::Dataset(DatasetFact { dataset: row.id, through, before }),
                    })
                })
                .collect();
            self.note(entries);
        }
        Ok(())
    }

    /// These work again by themselves: what waited for them is due.
    pub(super) async fn end_waits_for(&self, connections: impl Iterator<Item = Uuid>) -> Result<()> {
        let all: Vec<Uuid> = connections.collect();
        for part in all.chunks(BATCH) {
            dataset::Entity::update_many()
                .col_expr(dataset::Column::RefreshAt, Expr::value(self.now))
                .filter(dataset::Column::ConnectionId.is_in(part.iter().copied()))
                .filter(dataset::Column::NeedsReconnect.eq(true))
                .exec(&self.txn)
                .await?;
        }
        Ok(())
    }

    /// Somebody reconnected these: what is read through them is due, whether it failed meanwhile or only grew old.
    pub(super) async fn refresh_datasets(&self, connections: impl Iterator<Item = Uuid>) -> Result<()> {
        let all: Vec<Uuid> = connections.collect();
        for part in all.chunks(BATCH) {
            dataset::Entity::update_many()
                .col_expr(dataset::Column::RefreshAt, Expr::value(self.now))
                // What is on the way may be another account's.
                .col_expr(dataset::Column::Version, Expr::col(dataset::Column::Version).add(1))
                .filter(dataset::Column::ConnectionId.is_in(part.iter().copied()))
                .exec(&self.txn)
                .await?;
        }
        Ok(())
    }

    /// Whether a dataset found that the authorization as a whole does not work, and waits. Then no probe ends the outage,
    /// which may ask for less than datasets do: that it works makes the dataset look again.
    pub(super) async fn is_datasets_to_heal(&self, held: &Held) -> Result<bool> {
        match &held.disconnection {
            Some(open) if open.detected_by == Detector::DatasetRefresh => {
                let members = held.members.iter().map(|member| member.row.id).collect();
                Ok(!self.look_again_for(members).await?.is_empty())
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Those of `connections`, which lost access on their own, whose outages are a probe's to end. The others' datasets
    /// look again.
    pub(super) async fn without_datasets_to_regain(&self, held: &Held, connections: Vec<Uuid>) -> Result<Vec<Uuid>> {
        let found_by_dataset = |id: &&Uuid| {
            let own = held.member(**id).and_then(|member| member.own.as_ref());
            own.is_some_and(|own| own.detected_by == Detector::DatasetRefresh)
        };
        let waiting = self.look_again_for(connections.iter().filter(found_by_dataset).copied().collect()).await?;
        Ok(connections.into_iter().filter(|id| !waiting.contains(id)).collect())
    }

    /// Makes the datasets due that wait for one of `connections`; the connections that they wait for.
    async fn look_again_for(&self, connections: Vec<Uuid>) -> Result<Vec<Uuid>> {
        let mut awaited = Vec::new();
        for part in connections.chunks(BATCH) {
            let waiting = dataset::Entity::update_many()
                .col_expr(dataset::Column::RefreshAt, Expr::value(self.now))
                .filter(dataset::Column::ConnectionId.is_in(part.iter().copied()))
                .filter(dataset::Column::NeedsReconnect.eq(true))
                .filter(dataset::Column::Proven.eq(true))
                .exec_with_returning(&self.txn)
                .await?;
            awaited.extend(waiting.into_iter().map(|row| row.connection_id));
        }
        Ok(awaited)
    }

    /// A dataset read what others were denied, so that this was about their queries: when they are denied again, the
    /// probe is asked.
    pub(super) async fn forget_denials(&self, held: &Held, reader: Option<Uuid>) -> Result<()> {
        let members: Vec<Uuid> = held.members.iter().map(|member| member.row.id).collect();
        for part in members.chunks(BATCH) {
            dataset::Entity::update_many()
                .col_expr(dataset::Column::Proven, Expr::value(false))
                .filter(dataset::Column::ConnectionId.is_in(part.iter().copied()))
                .filter(dataset::Column::NeedsReconnect.eq(true))
                .filter(dataset::Column::Id.ne(reader.unwrap_or_default()))
                .exec(&self.txn)
                .await?;
        }
        Ok(())
    }
}

/// The removed connections whose place `row` takes.
fn predecessors<'l>(row: &connection::Model, left: &'l [connection::Model]) -> Vec<&'l connection::Model> {
    let of_client = left.iter().filter(|gone| gone.client_id == row.client_id);
    if !row.account_key.starts_with(KEYLESS) {
        return of_client.filter(|gone| gone.account_key == row.account_key).collect();
    }
    let keyless: Vec<_> = of_client.filter(|gone| gone.account_key.starts_with(KEYLESS)).collect();
    if keyless.len() == 1 { keyless } else { Vec::new() }
}

fn through(row: &connection::Model, shares: &[Uuid]) -> Through {
    Through { connection: row.id, client: row.client_id, owner: row.created_by, shares: shares.to_vec() }
}

fn reading_through(connections: impl IntoIterator<Item = Uuid>) -> sea_orm::Select<dataset::Entity> {
    dataset::Entity::find().filter(dataset::Column::ConnectionId.is_in(connections))
}
