//! Datasets as the API shows them, and the queries that find them.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use entity::dataset;
use uuid::Uuid;

use super::{
    ApiError,
    budget::budget,
    catalogue::DataMode,
    connection_inputs::each,
    connections::Connection,
    counts::int,
    execution::viewer,
    loaders::loaders,
    metrics::{self, Metric},
    page::{Page, PageInfo, asked},
    rows,
    scalars::{DateTime, Json, given, shown},
    services::{counted, services},
};
use crate::{
    datasets::{self, query_of},
    error::{Error, Result},
    ids::Kind,
    pages::PageArgs,
    provider::Query,
};

/// What came of a dataset's last refresh. New values may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "datasets::StatusShown")]
pub enum DatasetStatus {
    /// No rows were read yet.
    NeverRefreshed,
    /// The rows are those of the last refresh.
    Fresh,
    /// `error` of the last refresh stays until this one ends.
    Refreshing,
    /// The last refresh brought no rows; those before it stay.
    Failed,
}

/// Why the last refresh failed.
#[derive(SimpleObject)]
pub struct DatasetError {
    /// For people.
    message: String,
    /// True when reconnecting `connection` is what mends it.
    needs_reconnect: bool,
    /// When it was noticed.
    at: DateTime,
}

/// An HTTP request relative to the connector's API.
#[derive(SimpleObject)]
pub struct HttpQuery {
    /// Below the API's address.
    path: String,
    /// What is asked for: an object.
    parameters: Option<Json>,
    /// JSON Pointer to the list of rows in the response.
    rows_pointer: String,
}

/// What a dataset asks its source: an HTTP request relative to the connector's API, or SQL. Exactly one is set.
#[derive(SimpleObject)]
pub struct DatasetQuery {
    /// For a data source that is asked by HTTP.
    http: Option<HttpQuery>,
    /// For a database.
    sql: Option<String>,
}

impl From<Query> for DatasetQuery {
    fn from(query: Query) -> Self {
        match query {
            Query::Sql(sql) => Self { http: None, sql: Some(sql) },
            Query::Http(http) => {
                let parameters = Some(http.parameters).filter(|all| !all.is_empty());
                let parameters = parameters.map(|all| serde_json::Value::Object(all).into());
                Self { http: Some(HttpQuery { path: http.path, parameters, rows_pointer: http.rows }), sql: None }
            }
        }
    }
}

/// A part of a dataset's rows.
#[derive(SimpleObject)]
pub struct DatasetRowPage {
    /// The rows, a JSON object each, as their source wrote them. A number that neither 64 bits nor a double hold comes as
    /// text with all its digits.
    nodes: Vec<Json>,
    /// Whether there is more, and how to ask for it.
    page_info: PageInfo,
    /// How many rows there are in all.
    total_count: i32,
}

impl TryFrom<datasets::RowPage> for DatasetRowPage {
    type Error = Error;

    fn try_from(page: datasets::RowPage) -> Result<Self> {
        let page_info = PageInfo::of(&page.rows, page.has_next, page.has_previous);
        let nodes = page.rows.iter().map(|(_, row)| Json(rows::shown(row))).collect();
        Ok(Self { nodes, page_info, total_count: int(page.total) })
    }
}

/// Rows asked of a connection, kept fresh.
pub struct Dataset(dataset::Model);

impl From<dataset::Model> for Dataset {
    fn from(row: dataset::Model) -> Self {
        Self(row)
    }
}

/// Rows asked of a connection, kept fresh. Whoever may see the connection sees its datasets.
#[Object]
impl Dataset {
    /// The dataset's id.
    pub async fn id(&self) -> ID {
        shown(Kind::Dataset, self.0.id)
    }

    /// What it is called.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Your own id for it, unique in the workspace.
    async fn external_id(&self) -> Option<&str> {
        self.0.external_id.as_deref()
    }

    /// Null after its connection was removed.
    async fn connection(&self, ctx: &Context<'_>) -> Result<Option<Connection>, ApiError> {
        let found = loaders(ctx)?.connections.load_one(self.0.connection_id).await?;
        Ok(found.filter(|row| row.removed_at.is_none()).map(Connection::from))
    }

    /// How its rows are read, as its connector says.
    async fn mode(&self, ctx: &Context<'_>) -> Result<DataMode, ApiError> {
        let through = loaders(ctx)?.connections.load_one(self.0.connection_id).await?;
        let through = through.ok_or_else(|| Error::internal("a dataset without a connection"))?;
        Ok(services(ctx)?.connections.mode(&through.connector).into())
    }

    /// What it asks its source.
    async fn query(&self) -> Result<DatasetQuery, ApiError> {
        Ok(query_of(&self.0)?.into())
    }

    /// What came of its last refresh, or that one is on the way.
    async fn status(&self, ctx: &Context<'_>) -> Result<DatasetStatus, ApiError> {
        Ok(services(ctx)?.datasets.status(&self.0).into())
    }

    /// Why its last refresh failed; null after one that brought rows.
    async fn error(&self) -> Option<DatasetError> {
        let (message, at) = self.0.error.clone().zip(self.0.failed_at)?;
        Some(DatasetError { message, needs_reconnect: self.0.needs_reconnect, at: at.into() })
    }

    /// When rows were last read.
    async fn last_refreshed_at(&self) -> Option<DateTime> {
        self.0.last_refreshed_at.map(Into::into)
    }

    /// How often it is refreshed; null: when somebody asks for it, when its connection works again, and after failures that
    /// pass.
    async fn refresh_every_minutes(&self) -> Option<i32> {
        self.0.refresh_every_minutes
    }

    /// The names of what its rows hold, in the order in which they first appear; what lies within goes by dots
    /// (`metrics.clicks`).
    async fn columns(&self) -> Vec<String> {
        serde_json::from_value(self.0.columns.clone()).unwrap_or_default()
    }

    /// How many rows were last read.
    async fn row_count(&self) -> i32 {
        int(self.0.row_count.unsigned_abs())
    }

    /// Null when they are read live (DIRECT_QUERY) and the source does not answer.
    async fn rows(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 0 to 100.", default = 100)] first: Option<i32>,
        #[graphql(desc = "A cursor of these rows: what follows it.")] after: Option<String>,
    ) -> Result<Option<DatasetRowPage>, ApiError> {
        let budget = budget(ctx)?;
        let _turn = budget.turn().await?;
        let page = services(ctx)?.datasets.rows(viewer(ctx)?, &self.0, first, after.as_deref()).await?;
        budget.charge(page.as_ref().map_or(0, datasets::RowPage::bytes))?;
        Ok(page.map(DatasetRowPage::try_from).transpose()?)
    }

    /// The metrics computed from it, by id.
    async fn metrics(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Metric>, ApiError> {
        let filter = datasets::MetricFilter { dataset: Some(self.0.id), failing: None };
        metrics::listed(ctx, filter, &asked(first, after, last, before)).await
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}

/// Which datasets to show. Conditions are joined by AND, the values in a list by OR; an absent condition, and null, says
/// nothing.
#[derive(Debug, Clone, InputObject)]
pub struct DatasetFilter {
    /// That read through this connection.
    connection_id: Option<ID>,
    /// That read through a connection of this client.
    client_id: Option<ID>,
    /// That have one of these statuses now.
    status: Option<Vec<DatasetStatus>>,
    /// In the name; case does not matter, % and _ are themselves.
    search: Option<String>,
}

impl From<DatasetFilter> for datasets::DatasetFilter {
    fn from(filter: DatasetFilter) -> Self {
        Self {
            connection: filter.connection_id.map(|id| given(Kind::Connection, &id)),
            client: filter.client_id.map(|id| given(Kind::Client, &id)),
            status: filter.status.map(each),
            search: filter.search,
        }
    }
}

/// A page of the datasets that `filter` shows.
pub(super) async fn listed(
    ctx: &Context<'_>,
    filter: datasets::DatasetFilter,
    args: &PageArgs,
) -> Result<Page<Dataset>, ApiError> {
    let page = services(ctx)?.datasets.list(viewer(ctx)?, &filter, args).await?;
    let total = counted(ctx, move |services, viewer| {
        let filter = filter.clone();
        async move { services.datasets.count(&viewer, &filter).await }
    })?;
    Ok(Page::new(page, total))
}

/// A page of the datasets that read through a connection.
pub(super) async fn of_connection(
    ctx: &Context<'_>,
    connection: Uuid,
    args: &PageArgs,
) -> Result<Page<Dataset>, ApiError> {
    let filter = datasets::DatasetFilter { connection: Some(connection), ..datasets::DatasetFilter::default() };
    listed(ctx, filter, args).await
}

/// The queries about datasets.
#[derive(Default)]
pub struct DatasetsQuery;

#[Object]
impl DatasetsQuery {
    /// The datasets of every connection that the viewer may see, by id; those of removed connections too.
    async fn datasets(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which of them; without it, all.")] filter: Option<DatasetFilter>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Dataset>, ApiError> {
        let filter = filter.map(Into::into).unwrap_or_default();
        listed(ctx, filter, &asked(first, after, last, before)).await
    }

    /// By exactly one of the two. Null when there is none that the viewer may see.
    async fn dataset(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The dataset's id.")] id: Option<ID>,
        #[graphql(desc = "Your own id for it.")] external_id: Option<String>,
    ) -> Result<Option<Dataset>, ApiError> {
        let found = match (id, external_id) {
            (Some(id), None) => loaders(ctx)?.datasets.load_one(given(Kind::Dataset, &id)).await?,
            (None, Some(external_id)) => services(ctx)?.datasets.with_external_id(viewer(ctx)?, &external_id).await?,
            _ => return Err(Error::BadInput("Give exactly one of `id` and `externalId`.".to_owned()).into()),
        };
        Ok(found.map(Dataset::from))
    }
}
