//! Datasets and metrics as people list them: whoever sees a connection sees what is read through it, also once that was
//! removed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{DatasetStatus, Status, connection, dataset, metric};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, JoinType, Order as Direction, PaginatorTrait, QueryFilter, QuerySelect,
    QueryTrait, RelationDef, Select, sea_query::SelectStatement,
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Datasets, due::its_connection, snapshots::RowPage};
use crate::{
    access::{Sight, Viewer},
    claims, connections,
    error::{Error, Result},
    pages::{self, Key, Order, Page, PageArgs, contains},
    people::names,
};

/// What a row cursor is sealed for.
const ROWS: &str = "rows";
/// What a row cursor says: the dataset, its snapshot where it has one, the row's place.
type Place = (Uuid, Option<Uuid>, u64);
/// How many ids stand in one statement.
const BATCH: usize = 500;
/// How many rows a page has when nobody says.
const DEFAULT_ROWS: u64 = 100;

/// What a dataset's status is to people: what came of its last refresh, unless one is on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusShown {
    NeverRefreshed,
    Fresh,
    Refreshing,
    Failed,
}

/// Which datasets: conditions are joined by AND, the values in a list by OR; an absent one says nothing.
#[derive(Debug, Clone, Default)]
pub struct DatasetFilter {
    pub connection: Option<Uuid>,
    pub client: Option<Uuid>,
    pub status: Option<Vec<StatusShown>>,
    pub search: Option<String>,
}

/// Which metrics.
#[derive(Debug, Clone, Default)]
pub struct MetricFilter {
    pub dataset: Option<Uuid>,
    /// Whether they have an error.
    pub failing: Option<bool>,
}

impl Datasets {
    /// A part of the datasets that the viewer may see and `filter` picks, by id.
    pub async fn list(&self, viewer: &Viewer, filter: &DatasetFilter, args: &PageArgs) -> Result<Page<dataset::Model>> {
        let keys = |row: &dataset::Model| vec![Key::Id(row.id)];
        let by_id = Order::by("datasets", dataset::Column::Id, Direction::Asc, keys);
        pages::read(self.db.reader(), self.picked(viewer, filter)?, args, by_id, viewer.cursor_key()).await
    }

    /// How many there are.
    pub async fn count(&self, viewer: &Viewer, filter: &DatasetFilter) -> Result<u64> {
        Ok(self.picked(viewer, filter)?.count(self.db.reader()).await?)
    }

    /// Those of `ids` that the viewer may see.
    pub async fn by_ids(&self, viewer: &Viewer, ids: &[Uuid]) -> Result<HashMap<Uuid, dataset::Model>> {
        let mut found = HashMap::with_capacity(ids.len());
        for part in ids.chunks(BATCH) {
            let these = visible(viewer).filter(dataset::Column::Id.is_in(part.iter().copied()));
            found.extend(these.all(self.db.reader()).await?.into_iter().map(|row| (row.id, row)));
        }
        Ok(found)
    }

    /// The dataset that has this external id.
    pub async fn with_external_id(&self, viewer: &Viewer, external_id: &str) -> Result<Option<dataset::Model>> {
        // No external id has a NUL, and PostgreSQL cannot even be asked.
        if external_id.contains('\0') {
            return Ok(None);
        }
        Ok(visible(viewer).filter(dataset::Column::ExternalId.eq(external_id)).one(self.db.reader()).await?)
    }

    /// What its status is now.
    pub fn status(&self, row: &dataset::Model) -> StatusShown {
        if row.claimed_until.is_some_and(|until| until > self.clock.now()) {
            return StatusShown::Refreshing;
        }
        match row.status {
            DatasetStatus::NeverRefreshed => StatusShown::NeverRefreshed,
            DatasetStatus::Fresh => StatusShown::Fresh,
            DatasetStatus::Failed => StatusShown::Failed,
        }
    }

    /// A part of a dataset's rows; none when they are read live and their source does not answer. Pages of a snapshot are
    /// of that one, also when another was taken meanwhile.
    pub async fn rows(
        &self,
        viewer: &Viewer,
        row: &dataset::Model,
        first: Option<i32>,
        after: Option<&str>,
    ) -> Result<Option<RowPage>> {
        let most = pages::limit("first", first, DEFAULT_ROWS)?;
        let not_here =
            || Error::BadInput("`after` is not a cursor of these rows, or they are not kept any more.".to_owned());
        let open = |cursor: &str| viewer.cursor_key().open::<Place>(ROWS, cursor).map_err(|_| not_here());
        let place = after.map(open).transpose()?;
        let (of, start) = match place {
            Some((of, _, _)) if of != row.id => return Err(not_here()),
            Some((_, snapshot, last)) => (snapshot, last + 1),
            None => (row.snapshot_id, 0_u64),
        };
        let (rows, total) = match (self.connections.mode_of(row.connection_id).await?, of) {
            (entity::DataMode::DirectQuery, _) => {
                let Some(answer) = self.live(row).await? else { return Ok(None) };
                let all = &answer.rows;
                let skipped = usize::try_from(start).unwrap_or(usize::MAX);
                let rows = all.iter().skip(skipped).take(usize::try_from(most).unwrap_or_default()).cloned().collect();
                (rows, all.len() as u64)
            }
            (entity::DataMode::Warehouse, Some(snapshot)) => {
                let total = self.snapshot_size(snapshot).await?.ok_or_else(not_here)?;
                (self.snapshot_rows(snapshot, start, most).await?, total)
            }
            (entity::DataMode::Warehouse, None) => (Vec::new(), 0),
        };
        let rows: Vec<(String, Box<RawValue>)> = (start..)
            .zip(rows)
            .map(|(place, one)| (viewer.cursor_key().seal(ROWS, &(row.id, of, place)), one))
            .collect();
        let has_next = start.saturating_add(rows.len() as u64) < total;
        Ok(Some(RowPage { has_next, has_previous: start > 0, total, rows }))
    }

    /// A part of the metrics that the viewer may see and `filter` picks, by id.
    pub async fn metrics(
        &self,
        viewer: &Viewer,
        filter: &MetricFilter,
        args: &PageArgs,
    ) -> Result<Page<metric::Model>> {
        let keys = |row: &metric::Model| vec![Key::Id(row.id)];
        let by_id = Order::by("metrics", metric::Column::Id, Direction::Asc, keys);
        pages::read(self.db.reader(), picked_metrics(viewer, filter), args, by_id, viewer.cursor_key()).await
    }

    /// How many there are.
    pub async fn count_metrics(&self, viewer: &Viewer, filter: &MetricFilter) -> Result<u64> {
        Ok(picked_metrics(viewer, filter).count(self.db.reader()).await?)
    }

    /// The metric `id`.
    pub async fn metric(&self, viewer: &Viewer, id: Uuid) -> Result<Option<metric::Model>> {
        let one = picked_metrics(viewer, &MetricFilter::default()).filter(metric::Column::Id.eq(id));
        Ok(one.one(self.db.reader()).await?)
    }

    fn picked(&self, viewer: &Viewer, filter: &DatasetFilter) -> Result<Select<dataset::Entity>> {
        let mut picked = visible(viewer);
        if let Some(id) = filter.connection {
            picked = picked.filter(dataset::Column::ConnectionId.eq(id));
        }
        if let Some(client) = filter.client {
            let of_client = connections::visible(viewer).filter(connection::Column::ClientId.eq(client));
            picked = picked.filter(dataset::Column::ConnectionId.in_subquery(ids(of_client)));
        }
        if let Some(wanted) = &filter.status {
            let now = self.clock.now();
            let any = wanted.iter().fold(Condition::any(), |any, status| any.add(has_status(*status, now)));
            // An empty list says that none will do.
            picked = if wanted.is_empty() { picked.filter(dataset::Column::Id.is_null()) } else { picked.filter(any) };
        }
        if let Some(term) = names::search(filter.search.as_deref())? {
            picked = picked.filter(contains(dataset::Column::NameKey, term));
        }
        Ok(picked)
    }
}

/// The datasets that `viewer` may see.
pub(super) fn visible(viewer: &Viewer) -> Select<dataset::Entity> {
    let all = dataset::Entity::find().filter(dataset::Column::WorkspaceId.eq(viewer.workspace()));
    match viewer.sight() {
        Sight::Everything => all,
        _ => all.filter(dataset::Column::ConnectionId.in_subquery(ids(connections::visible(viewer)))),
    }
}

fn picked_metrics(viewer: &Viewer, filter: &MetricFilter) -> Select<metric::Entity> {
    let mut picked = metric::Entity::find()
        .filter(metric::Column::WorkspaceId.eq(viewer.workspace()))
        .join(JoinType::InnerJoin, its_dataset());
    if viewer.sight() != Sight::Everything {
        picked = picked.filter(dataset::Column::ConnectionId.in_subquery(ids(connections::visible(viewer))));
    }
    if let Some(dataset) = filter.dataset {
        picked = picked.filter(metric::Column::DatasetId.eq(dataset));
    }
    if let Some(failing) = filter.failing {
        let wrong = Condition::any()
            .add(metric::Column::Problem.is_not_null())
            .add(dataset::Column::Status.eq(DatasetStatus::Failed))
            .add(connection::Column::Status.eq(Status::Disconnected))
            .add(connection::Column::RemovedAt.is_not_null());
        picked = picked.join(JoinType::InnerJoin, its_connection()).filter(if failing { wrong } else { wrong.not() });
    }
    picked
}

fn its_dataset() -> RelationDef {
    metric::Entity::belongs_to(dataset::Entity).from(metric::Column::DatasetId).to(dataset::Column::Id).into()
}

fn has_status(status: StatusShown, now: DateTime<Utc>) -> Condition {
    let refreshing = Condition::all().add(dataset::Column::ClaimedUntil.gt(now));
    let at_rest = claims::unclaimed(dataset::Column::ClaimedUntil, now);
    let ended = |status: DatasetStatus| Condition::all().add(at_rest).add(dataset::Column::Status.eq(status));
    match status {
        StatusShown::Refreshing => refreshing,
        StatusShown::NeverRefreshed => ended(DatasetStatus::NeverRefreshed),
        StatusShown::Fresh => ended(DatasetStatus::Fresh),
        StatusShown::Failed => ended(DatasetStatus::Failed),
    }
}

fn ids(connections: Select<connection::Entity>) -> SelectStatement {
    connections.select_only().column(connection::Column::Id).into_query()
}
