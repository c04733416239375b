//! What people do with datasets and metrics, and what subscribers hear of it.

use async_graphql::{Context, Enum, ID, InputObject, MaybeUndefined, Object, OneofObject, SimpleObject, Subscription};
use futures_util::{Stream, StreamExt};

use super::{
    ApiError,
    datasets::Dataset,
    execution::viewer,
    loaders::loaders,
    metrics::{Aggregation, Metric},
    scalars::{DateTime, Json, given, shown},
    services::services,
    user_error::{UserError, settle},
};
use crate::{
    datasets::{self, CreateDataset, CreateMetric, GivenQuery, UpdateDataset},
    error::Result,
    ids::Kind,
    patch::Patch,
};

/// An HTTP request relative to the connector's API.
#[derive(InputObject)]
pub struct HttpQueryInput {
    /// Below the API's address; `{account.id}` stands for the connection's account.
    path: String,
    /// An object: parameters of the URL, or the body where the API takes one. A list repeats its parameter.
    parameters: Option<Json>,
    /// JSON Pointer (RFC 6901) to the list of rows in the response.
    #[graphql(default_with = "Some(String::new())")]
    rows_pointer: Option<String>,
}

/// What a dataset asks its source. Exactly one.
#[derive(OneofObject)]
pub enum DatasetQueryInput {
    /// For a data source that is asked by HTTP.
    Http(HttpQueryInput),
    /// For a database: one statement that reads.
    Sql(String),
}

impl From<DatasetQueryInput> for GivenQuery {
    fn from(input: DatasetQueryInput) -> Self {
        match input {
            DatasetQueryInput::Sql(sql) => Self::Sql(sql),
            DatasetQueryInput::Http(http) => Self::Http {
                path: http.path,
                // An upload alone is no JSON, and this API takes none.
                parameters: http.parameters.and_then(|json| json.0.into_json().ok()).unwrap_or_default(),
                rows: http.rows_pointer.unwrap_or_default(),
            },
        }
    }
}

/// A dataset to make.
#[derive(InputObject)]
pub struct CreateDatasetInput {
    /// What it reads through.
    connection_id: ID,
    /// What to call it.
    name: String,
    /// Your own id for it, unique in the workspace.
    external_id: Option<String>,
    /// What it asks its source. It is tried first.
    query: DatasetQueryInput,
    /// How often to refresh it, 1 to 44,640; without it, when somebody asks.
    refresh_every_minutes: Option<i32>,
}

/// What came of making a dataset.
#[derive(SimpleObject)]
pub struct CreateDatasetPayload {
    /// The new dataset, with its rows.
    dataset: Option<Dataset>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// Every edit refreshes it, also one that changes nothing.
#[derive(InputObject)]
pub struct UpdateDatasetInput {
    /// The dataset to change.
    dataset_id: ID,
    /// What it is called from now on.
    name: MaybeUndefined<String>,
    /// What it reads through from now on.
    connection_id: MaybeUndefined<ID>,
    /// What it asks from now on.
    query: MaybeUndefined<DatasetQueryInput>,
    /// How often it is refreshed from now on; null: when somebody asks.
    refresh_every_minutes: MaybeUndefined<i32>,
}

/// What came of changing a dataset.
#[derive(SimpleObject)]
pub struct UpdateDatasetPayload {
    /// The dataset as it is now: refreshed, or with the `error` of that; REFRESHING where it takes long.
    dataset: Option<Dataset>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// A dataset to refresh.
#[derive(InputObject)]
pub struct RefreshDatasetInput {
    /// The dataset.
    dataset_id: ID,
}

/// What came of refreshing a dataset.
#[derive(SimpleObject)]
pub struct RefreshDatasetPayload {
    /// The dataset as it is now: refreshed, or with the `error` of that; REFRESHING where it takes long.
    dataset: Option<Dataset>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// A dataset to remove.
#[derive(InputObject)]
pub struct RemoveDatasetInput {
    /// The dataset.
    dataset_id: ID,
}

/// What came of removing a dataset.
#[derive(SimpleObject)]
pub struct RemoveDatasetPayload {
    /// The dataset's id.
    removed_dataset_id: Option<ID>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// A metric to make.
#[derive(InputObject)]
pub struct CreateMetricInput {
    /// What it is computed from.
    dataset_id: ID,
    /// What to call it.
    name: String,
    /// What it makes of the column.
    aggregation: Aggregation,
    /// One of the dataset's columns; COUNT needs none.
    column: Option<String>,
}

/// What came of making a metric.
#[derive(SimpleObject)]
pub struct CreateMetricPayload {
    /// The new metric, with its value.
    metric: Option<Metric>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// A metric to remove.
#[derive(InputObject)]
pub struct RemoveMetricInput {
    /// The metric.
    metric_id: ID,
}

/// What came of removing a metric.
#[derive(SimpleObject)]
pub struct RemoveMetricPayload {
    /// The metric's id.
    removed_metric_id: Option<ID>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// The mutations of datasets and metrics.
#[derive(Default)]
pub struct DatasetsMutation;

#[Object]
impl DatasetsMutation {
    /// Makes a dataset of whatever its query brings. The query is tried first: what its source does not answer is not made.
    async fn create_dataset(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to make.")] input: CreateDatasetInput,
    ) -> Result<CreateDatasetPayload, ApiError> {
        let input = CreateDataset {
            connection: given(Kind::Connection, &input.connection_id),
            name: input.name,
            external_id: input.external_id,
            query: input.query.into(),
            refresh_every_minutes: input.refresh_every_minutes,
        };
        let (dataset, errors) = settle(services(ctx)?.datasets.create(viewer(ctx)?, input).await)?;
        Ok(CreateDatasetPayload { dataset: dataset.map(Dataset::from), errors })
    }

    /// Changes a dataset, and refreshes it. Its last rows stay until there are others.
    async fn update_dataset(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateDatasetInput,
    ) -> Result<UpdateDatasetPayload, ApiError> {
        let update = UpdateDataset {
            dataset: given(Kind::Dataset, &input.dataset_id),
            name: input.name.into(),
            connection: Patch::from(input.connection_id).map(|id| given(Kind::Connection, &id)),
            query: Patch::from(input.query).map(GivenQuery::from),
            refresh_every_minutes: input.refresh_every_minutes.into(),
        };
        let (dataset, errors) = settle(services(ctx)?.datasets.update(viewer(ctx)?, update).await)?;
        Ok(UpdateDatasetPayload { dataset: dataset.map(Dataset::from), errors })
    }

    /// Reads a dataset's rows anew. When that takes long, the dataset comes back as REFRESHING, and goes on.
    async fn refresh_dataset(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which dataset.")] input: RefreshDatasetInput,
    ) -> Result<RefreshDatasetPayload, ApiError> {
        let id = given(Kind::Dataset, &input.dataset_id);
        let (dataset, errors) = settle(services(ctx)?.datasets.refresh(viewer(ctx)?, id).await)?;
        Ok(RefreshDatasetPayload { dataset: dataset.map(Dataset::from), errors })
    }

    /// Removes a dataset with its rows and metrics.
    async fn remove_dataset(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which dataset.")] input: RemoveDatasetInput,
    ) -> Result<RemoveDatasetPayload, ApiError> {
        let id = given(Kind::Dataset, &input.dataset_id);
        let (removed, errors) = settle(services(ctx)?.datasets.remove(viewer(ctx)?, id).await)?;
        Ok(RemoveDatasetPayload { removed_dataset_id: removed.map(|id| shown(Kind::Dataset, id)), errors })
    }

    /// Makes a number of a dataset.
    async fn create_metric(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to make.")] input: CreateMetricInput,
    ) -> Result<CreateMetricPayload, ApiError> {
        let input = CreateMetric {
            dataset: given(Kind::Dataset, &input.dataset_id),
            name: input.name,
            aggregation: input.aggregation.into(),
            column: input.column,
        };
        let (metric, errors) = settle(services(ctx)?.datasets.create_metric(viewer(ctx)?, input).await)?;
        Ok(CreateMetricPayload { metric: metric.map(Metric::from), errors })
    }

    /// Removes a metric; its dataset stays.
    async fn remove_metric(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which metric.")] input: RemoveMetricInput,
    ) -> Result<RemoveMetricPayload, ApiError> {
        let id = given(Kind::Metric, &input.metric_id);
        let (removed, errors) = settle(services(ctx)?.datasets.remove_metric(viewer(ctx)?, id).await)?;
        Ok(RemoveMetricPayload { removed_metric_id: removed.map(|id| shown(Kind::Metric, id)), errors })
    }
}

/// What happened to a dataset. New values may come: treat an unknown one like UPDATED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "datasets::DatasetsChangeKind")]
pub enum DatasetChangeKind {
    /// New, or moved into sight.
    Created,
    /// Edited, moved to another connection, left by the one it had, or given or taken a metric; or a refresh ended with nothing new.
    Updated,
    /// New rows were read.
    Refreshed,
    /// A refresh brought no rows, for a reason that is new, or somebody had asked for it.
    Failed,
    /// Gone, or moved out of sight.
    Removed,
}

/// One change of a dataset that the viewer may see.
pub struct DatasetsChange(datasets::DatasetsChange);

/// One change of a dataset that the viewer may see.
#[Object]
impl DatasetsChange {
    /// Its place in the journal, for `after` of a subscription.
    async fn cursor(&self) -> &str {
        &self.0.cursor
    }

    /// When it happened.
    async fn at(&self) -> DateTime {
        self.0.at.into()
    }

    /// What kind of change it was.
    async fn kind(&self) -> DatasetChangeKind {
        self.0.kind.into()
    }

    /// The dataset's id, also once it is gone.
    async fn dataset_id(&self) -> ID {
        shown(Kind::Dataset, self.0.dataset)
    }

    /// Null for REMOVED.
    async fn dataset(&self, ctx: &Context<'_>) -> Result<Option<Dataset>, ApiError> {
        if self.0.kind == datasets::DatasetsChangeKind::Removed {
            return Ok(None);
        }
        Ok(loaders(ctx)?.datasets.load_one(self.0.dataset).await?.map(Dataset::from))
    }
}

/// The subscriptions about datasets.
#[derive(Default)]
pub struct DatasetsSubscription;

#[Subscription]
impl DatasetsSubscription {
    /// Every change of the datasets that the viewer may see. That a refresh began, and that a live reading works as before,
    /// are none.
    async fn datasets_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of datasets that read through this connection; without it, of all.")] connection_id: Option<
            ID,
        >,
        #[graphql(desc = "A journal cursor: what came since, then live. Without it: from now on.")] after: Option<
            String,
        >,
    ) -> Result<impl Stream<Item = Result<DatasetsChange, ApiError>>, ApiError> {
        let connection = connection_id.map(|id| given(Kind::Connection, &id));
        let changes = services(ctx)?.datasets.changes(viewer(ctx)?, connection, after.as_deref()).await?;
        Ok(changes.map(|change| Ok(DatasetsChange(change?))))
    }
}
