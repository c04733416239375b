//! Metrics: a number computed from a dataset's last rows, whenever those change, and what is wrong with it.

use std::{collections::HashMap, sync::Arc};

use entity::{Aggregation, DataMode, DatasetStatus, Status, connection, dataset, disconnection, metric};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect, sea_query::Expr};
use serde_json::json;
use uuid::Uuid;

use super::{
    Datasets,
    numbers::{self, Tally},
    refresh,
};
use crate::{
    access::{Action, Viewer},
    db::Transaction,
    error::{Error, Result},
    ids::{self, Kind},
    journal::NewEntry,
    people::names,
    provider::Rows,
};

/// How many metrics a dataset has at most: each of its refreshes computes them all.
const MOST: u64 = 100;

/// A metric that is to be.
#[derive(Debug, Clone)]
pub struct CreateMetric {
    pub dataset: Uuid,
    pub name: String,
    pub aggregation: Aggregation,
    pub column: Option<String>,
}

/// Values and problems, by metric.
pub(super) type Computed = HashMap<Uuid, (Option<String>, Option<String>)>;

/// What is wrong with a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// For people.
    pub message: String,
    /// What to reconnect, when that is what mends it.
    pub reconnect: Option<Uuid>,
}

impl Datasets {
    /// Makes a metric, computed from the rows there are.
    pub async fn create_metric(&self, viewer: &Viewer, input: CreateMetric) -> Result<metric::Model> {
        viewer.may(Action::Tend)?;
        let (of, _) = self.tended(viewer, input.dataset).await?;
        let name = names::name("name", &input.name)?;
        let rows = self.rows_now(&of).await?;
        let columns: Vec<String> = match &rows {
            Some(rows) => rows.columns.clone(),
            None => serde_json::from_value(of.columns.clone()).unwrap_or_default(),
        };
        let column_name = column(&input, &columns)?;
        let now = self.clock.now();
        let mut row = metric::Model {
            id: ids::new(now, &*self.entropy),
            workspace_id: viewer.workspace(),
            dataset_id: of.id,
            name,
            aggregation: input.aggregation,
            column_name,
            value: None,
            problem: None,
            created_by: viewer.user(),
            created_at: now,
        };
        if let Some(rows) = &rows
            && let Some(result) = computed(vec![row.clone()], rows).await?.remove(&row.id)
        {
            (row.value, row.problem) = result;
        }
        let txn = self.db.begin().await?;
        let held = dataset::Entity::find_by_id(of.id).lock_exclusive().one(&txn).await?;
        let held = held.ok_or_else(|| Error::not_found("datasetId"))?;
        if metric::Entity::find().filter(metric::Column::DatasetId.eq(of.id)).count(&txn).await? >= MOST {
            return Err(Error::invalid("datasetId", format!("A dataset has at most {MOST} metrics.")));
        }
        metric::ActiveModel::from(row.clone()).insert(&txn).await?;
        if held.last_refreshed_at != of.last_refreshed_at {
            // It was computed from rows that are replaced already.
            self.put_due(&txn, of.id).await?;
        }
        let entry = self.entry(&txn, viewer, &held, &row, "metric.created").await?;
        self.journal.commit(txn, viewer.workspace(), vec![entry]).await?;
        Ok(row)
    }

    /// Removes a metric.
    pub async fn remove_metric(&self, viewer: &Viewer, id: Uuid) -> Result<Uuid> {
        viewer.may(Action::Tend)?;
        let row = self.metric(viewer, id).await?.ok_or_else(|| Error::not_found("metricId"))?;
        let (of, _) = self.tended(viewer, row.dataset_id).await?;
        let txn = self.db.begin().await?;
        let entry = self.entry(&txn, viewer, &of, &row, "metric.removed").await?;
        if metric::Entity::delete_by_id(id).exec(&txn).await?.rows_affected == 0 {
            return Err(Error::not_found("metricId"));
        }
        self.journal.commit(txn, viewer.workspace(), vec![entry]).await?;
        Ok(id)
    }

    /// What the dataset's metrics are by these rows.
    pub(super) async fn compute(&self, of: Uuid, rows: &Arc<Rows>) -> Result<Computed> {
        let metrics = metric::Entity::find().filter(metric::Column::DatasetId.eq(of)).all(self.db.reader()).await?;
        computed(metrics, rows).await
    }

    /// Writes the dataset's metrics, by new rows.
    pub(super) async fn write_computed(
        &self,
        txn: &Transaction,
        of: Uuid,
        rows: &Arc<Rows>,
        known: &Computed,
    ) -> Result<()> {
        let all = metric::Entity::find().filter(metric::Column::DatasetId.eq(of)).all(txn).await?;
        // Those that were made since then are few.
        let made: Vec<_> = all.iter().filter(|row| !known.contains_key(&row.id)).cloned().collect();
        let since = computed(made, rows).await?;
        for row in all {
            let Some((value, problem)) = known.get(&row.id).or_else(|| since.get(&row.id)) else { continue };
            // The last value stays while there is no other.
            let value = if problem.is_some() { &row.value } else { value };
            if (value, problem) == (&row.value, &row.problem) {
                continue;
            }
            metric::Entity::update_many()
                .col_expr(metric::Column::Value, Expr::value(value.clone()))
                .col_expr(metric::Column::Problem, Expr::value(problem.clone()))
                .filter(metric::Column::Id.eq(row.id))
                .exec(txn)
                .await?;
        }
        Ok(())
    }

    /// The values of a dataset's metrics are no more.
    pub(super) async fn forget_values(&self, txn: &Transaction, of: Uuid) -> Result<()> {
        let nothing = || Expr::value(None::<String>);
        metric::Entity::update_many()
            .col_expr(metric::Column::Value, nothing())
            .col_expr(metric::Column::Problem, nothing())
            .filter(metric::Column::DatasetId.eq(of))
            .exec(txn)
            .await?;
        Ok(())
    }

    /// The rows there are now; none where they are read live and their source does not answer.
    async fn rows_now(&self, of: &dataset::Model) -> Result<Option<Arc<Rows>>> {
        match (self.connections.mode_of(of.connection_id).await?, of.snapshot_id) {
            (DataMode::DirectQuery, _) => self.live(of).await,
            (DataMode::Warehouse, None) => Ok(None),
            (DataMode::Warehouse, Some(snapshot)) => {
                let columns = serde_json::from_value(of.columns.clone()).unwrap_or_default();
                Ok(Some(Arc::new(Rows { columns, rows: self.all_rows(snapshot).await? })))
            }
        }
    }

    async fn entry(
        &self,
        txn: &Transaction,
        viewer: &Viewer,
        of: &dataset::Model,
        row: &metric::Model,
        action: &'static str,
    ) -> Result<NewEntry> {
        let details = json!({ "name": row.name, "dataset": of.name });
        let about = refresh::entry(txn, of, action, viewer.actor(), details).await?;
        Ok(NewEntry { subject: Kind::Metric.of(row.id), ..about })
    }
}

/// What is wrong with a metric of `of`, which reads through `through` (none: it was removed), which is in the outage
/// `open`.
pub fn trouble(
    row: &metric::Model,
    of: &dataset::Model,
    through: Option<&connection::Model>,
    open: Option<&disconnection::Model>,
) -> Option<Trouble> {
    let Some(through) = through.filter(|through| through.removed_at.is_none()) else {
        let message = "Its data source was removed. Connect the same account again for the same client.".to_owned();
        return Some(Trouble { message, reconnect: None });
    };
    if through.status == Status::Disconnected {
        let message =
            open.map_or_else(|| "Its data source has to be reconnected.".to_owned(), |open| open.message.clone());
        return Some(Trouble { message, reconnect: Some(through.id) });
    }
    if of.status == DatasetStatus::Failed {
        let message = of.error.clone().unwrap_or_else(|| "Its dataset could not be refreshed.".to_owned());
        return Some(Trouble { message, reconnect: of.needs_reconnect.then_some(through.id) });
    }
    row.problem.clone().map(|message| Trouble { message, reconnect: None })
}

/// The column that a metric is to be computed from: one of the dataset's, where those are known.
fn column(input: &CreateMetric, columns: &[String]) -> Result<Option<String>> {
    match &input.column {
        _ if input.aggregation == Aggregation::Count => Ok(None),
        None => Err(Error::invalid("column", "Say of which column; only COUNT needs none.")),
        Some(column) if columns.is_empty() => names::name("column", column).map(Some),
        Some(column) if columns.contains(column) => Ok(Some(column.clone())),
        Some(_) => Err(Error::invalid("column", "The dataset has no such column.")),
    }
}

/// Computes metrics beside what the server has to do at once: there may be many rows.
#[expect(clippy::disallowed_methods, reason = "it only computes")]
async fn computed(metrics: Vec<metric::Model>, rows: &Arc<Rows>) -> Result<Computed> {
    if metrics.is_empty() {
        return Ok(Computed::new());
    }
    let rows = Arc::clone(rows);
    let work = tokio::task::spawn_blocking(move || {
        let mut tallies: Vec<Tally<'_>> =
            metrics.iter().map(|row| Tally::new(row.aggregation, row.column_name.as_deref(), &rows.columns)).collect();
        numbers::add_all(&mut tallies, &rows.rows);
        let results = tallies.into_iter().map(|tally| match tally.end() {
            Ok(value) => (value, None),
            Err(why) => (None, Some(why.to_string())),
        });
        metrics.iter().map(|row| row.id).zip(results).collect()
    });
    Ok(work.await?)
}
