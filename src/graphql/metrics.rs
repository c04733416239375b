//! Metrics as the API shows them, and the queries that find them.

use async_graphql::{Context, Enum, ID, InputObject, Object};
use entity::metric;

use super::{
    ApiError,
    connections::Connection,
    datasets::Dataset,
    execution::viewer,
    loaders::{Row, loaders},
    page::{Page, asked},
    scalars::{given, shown},
    services::{counted, services},
};
use crate::{
    datasets::{self, Trouble, trouble},
    error::{Error, Result},
    ids::Kind,
    pages::PageArgs,
};

/// What a metric makes of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::Aggregation")]
pub enum Aggregation {
    /// How many rows there are.
    Count,
    /// All values together.
    Sum,
    /// The mean of all values, to 20 digits after the point.
    Avg,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The last value, in the order of the rows.
    Last,
}

/// A number computed from a dataset.
pub struct Metric(metric::Model);

impl From<metric::Model> for Metric {
    fn from(row: metric::Model) -> Self {
        Self(row)
    }
}

impl Metric {
    async fn of(&self, ctx: &Context<'_>) -> Result<entity::dataset::Model, ApiError> {
        let found = loaders(ctx)?.datasets.load_one(self.0.dataset_id).await?;
        Ok(found.ok_or_else(|| Error::internal("a metric without its dataset"))?)
    }
}

/// A number computed from a dataset, from whatever rows were last read. Rows without a value in the column count for
/// COUNT alone.
#[Object]
impl Metric {
    /// The metric's id.
    pub async fn id(&self) -> ID {
        shown(Kind::Metric, self.0.id)
    }

    /// What it is called.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it is computed from.
    async fn dataset(&self, ctx: &Context<'_>) -> Result<Dataset, ApiError> {
        Ok(self.of(ctx).await?.into())
    }

    /// What it makes of the column.
    async fn aggregation(&self) -> Aggregation {
        self.0.aggregation.into()
    }

    /// Not used by COUNT.
    async fn column(&self) -> Option<&str> {
        self.0.column_name.as_deref()
    }

    /// From the last rows that were read, also while `error` is set. Null where they hold no number, or one too large.
    async fn value(&self) -> Option<f64> {
        self.0.value.as_deref()?.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// The same, in decimal digits, with nothing rounded.
    async fn exact_value(&self) -> Option<&str> {
        self.0.value.as_deref()
    }

    /// The message at the foot of the metric, set as soon as its connection is DISCONNECTED; null while all is well.
    async fn error(&self, ctx: &Context<'_>) -> Result<Option<MetricError>, ApiError> {
        let of = self.of(ctx).await?;
        let through = loaders(ctx)?.connections.load_one(of.connection_id).await?;
        let open = match &through {
            Some(through) => loaders(ctx)?.current.load_one(Row::from(through)).await?,
            None => None,
        };
        let trouble = trouble(&self.0, &of, through.as_ref(), open.as_ref());
        Ok(trouble.map(|trouble| MetricError { trouble, of }))
    }
}

/// What is wrong with a metric.
pub struct MetricError {
    trouble: Trouble,
    of: entity::dataset::Model,
}

/// What is wrong with a metric.
#[Object]
impl MetricError {
    /// For people: what happened and what to do.
    async fn message(&self) -> &str {
        &self.trouble.message
    }

    /// What to reconnect, when that is what mends it.
    async fn connection(&self, ctx: &Context<'_>) -> Result<Option<Connection>, ApiError> {
        let Some(id) = self.trouble.reconnect else { return Ok(None) };
        Ok(loaders(ctx)?.connections.load_one(id).await?.map(Connection::from))
    }

    /// The dataset whose rows it would need.
    async fn dataset(&self) -> Dataset {
        self.of.clone().into()
    }
}

/// Which metrics to show. Conditions are joined by AND; an absent condition, and null, says nothing.
#[derive(Debug, Clone, InputObject)]
pub struct MetricFilter {
    /// Computed from this dataset.
    dataset_id: Option<ID>,
    /// True: those that have an error. False: those that have none.
    failing: Option<bool>,
}

impl From<MetricFilter> for datasets::MetricFilter {
    fn from(filter: MetricFilter) -> Self {
        Self { dataset: filter.dataset_id.map(|id| given(Kind::Dataset, &id)), failing: filter.failing }
    }
}

/// A page of the metrics that `filter` shows.
pub(super) async fn listed(
    ctx: &Context<'_>,
    filter: datasets::MetricFilter,
    args: &PageArgs,
) -> Result<Page<Metric>, ApiError> {
    let page = services(ctx)?.datasets.metrics(viewer(ctx)?, &filter, args).await?;
    let total = counted(ctx, move |services, viewer| {
        let filter = filter.clone();
        async move { services.datasets.count_metrics(&viewer, &filter).await }
    })?;
    Ok(Page::new(page, total))
}

/// The queries about metrics.
#[derive(Default)]
pub struct MetricsQuery;

#[Object]
impl MetricsQuery {
    /// The metrics of every dataset that the viewer may see, by id.
    async fn metrics(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which of them; without it, all.")] filter: Option<MetricFilter>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Metric>, ApiError> {
        let filter = filter.map(Into::into).unwrap_or_default();
        listed(ctx, filter, &asked(first, after, last, before)).await
    }

    /// Null when there is none that the viewer may see.
    async fn metric(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The metric's id.")] id: ID,
    ) -> Result<Option<Metric>, ApiError> {
        let found = services(ctx)?.datasets.metric(viewer(ctx)?, given(Kind::Metric, &id)).await?;
        Ok(found.map(Metric::from))
    }
}
