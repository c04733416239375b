//! How many connections there are of each status, as far as the viewer may see them.

use std::{collections::HashMap, hash::Hash};

use entity::{Status, connection};
use sea_orm::{
    ColumnTrait, QueryFilter, QuerySelect, Select, TryGetable,
    sea_query::{Asterisk, Expr, ExprTrait},
};
use uuid::Uuid;

use super::{Connections, filter::slugs, list::BATCH, visibility::live_connections};
use crate::{access::Viewer, error::Result};

/// Connections by status: `connected` counts neither expiring nor disconnected ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub total: u64,
    pub connected: u64,
    pub expiring: u64,
    pub disconnected: u64,
}

impl Counts {
    fn add(&mut self, status: Status, number: i64) {
        let number = u64::try_from(number).unwrap_or_default();
        self.total += number;
        match status {
            Status::Connected => self.connected += number,
            Status::Expiring => self.expiring += number,
            Status::Disconnected => self.disconnected += number,
        }
    }
}

impl Connections {
    /// In the whole workspace.
    pub async fn counts(&self, viewer: &Viewer) -> Result<Counts> {
        let rows: Vec<(Status, i64)> = by_status(live_connections(viewer)).into_tuple().all(self.db.reader()).await?;
        let mut counts = Counts::default();
        rows.into_iter().for_each(|(status, number)| counts.add(status, number));
        Ok(counts)
    }

    /// Of each of `clients`; one without connections has none of any status.
    pub async fn counts_by_client(&self, viewer: &Viewer, clients: &[Uuid]) -> Result<HashMap<Uuid, Counts>> {
        let mut counts: HashMap<_, _> = clients.iter().map(|client| (*client, Counts::default())).collect();
        for part in clients.chunks(BATCH) {
            let theirs = live_connections(viewer).filter(connection::Column::ClientId.is_in(part.iter().copied()));
            self.count_by(theirs, connection::Column::ClientId, &mut counts).await?;
        }
        Ok(counts)
    }

    /// Of each of the connectors `wanted`, by slug; one without connections has none of any status.
    pub async fn counts_by_connector(&self, viewer: &Viewer, wanted: &[String]) -> Result<HashMap<String, Counts>> {
        let mut counts: HashMap<_, _> = wanted.iter().map(|slug| (slug.clone(), Counts::default())).collect();
        for part in wanted.chunks(BATCH) {
            let theirs = live_connections(viewer).filter(connection::Column::Connector.is_in(slugs(part)));
            self.count_by(theirs, connection::Column::Connector, &mut counts).await?;
        }
        Ok(counts)
    }

    async fn count_by<K: Eq + Hash + TryGetable>(
        &self,
        connections: Select<connection::Entity>,
        column: connection::Column,
        counts: &mut HashMap<K, Counts>,
    ) -> Result<()> {
        let grouped = by_status(connections).column(column).group_by(column);
        let rows: Vec<(Status, i64, K)> = grouped.into_tuple().all(self.db.reader()).await?;
        for (status, number, key) in rows {
            counts.entry(key).or_default().add(status, number);
        }
        Ok(())
    }
}

/// Each status with its number of `connections`.
fn by_status(connections: Select<connection::Entity>) -> Select<connection::Entity> {
    connections
        .select_only()
        .column(connection::Column::Status)
        // Of the row alone, which no index has to be left for.
        .column_as(Expr::col(Asterisk).count(), "number")
        .group_by(connection::Column::Status)
}
