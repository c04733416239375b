//! The catalogue: the connectors, what each asks of a person, and the queries that find them.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use entity::{connector, incident};

use super::{
    ApiError,
    counts::ConnectionCounts,
    execution::viewer,
    loaders::loaders,
    page::{Page, Total, asked},
    scalars::{DateTime, Url, shown},
    services,
};
use crate::{catalogue, error::Result, ids::Kind};

/// How a connector is authorized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::AuthMethod")]
pub enum AuthMethod {
    /// OAuth 2.0 in the browser. One authorization can serve many connections.
    #[graphql(name = "OAUTH2")]
    OAuth2,
    /// One key.
    ApiKey,
    /// User name and password.
    Basic,
    /// The connector's own set of fields (a database's host, user and password).
    Fields,
}

/// Where the rows of a data source are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::DataMode")]
pub enum DataMode {
    /// Rows are pulled into the warehouse on refresh, and read from there.
    Warehouse,
    /// Rows are read from the source each time.
    DirectQuery,
}

/// A kind of data source.
#[derive(Clone)]
pub enum Connector {
    /// One of the catalogue.
    Known(Arc<catalogue::Connector>),
    /// One whose file is gone, as the catalogue last told of it.
    Gone(Box<connector::Model>),
}

impl From<Arc<catalogue::Connector>> for Connector {
    fn from(connector: Arc<catalogue::Connector>) -> Self {
        Self::Known(connector)
    }
}

impl From<connector::Model> for Connector {
    fn from(row: connector::Model) -> Self {
        Self::Gone(Box::new(row))
    }
}

impl Connector {
    fn known(&self) -> Option<&catalogue::Connector> {
        match self {
            Self::Known(connector) => Some(connector),
            Self::Gone(_) => None,
        }
    }

    fn own_slug(&self) -> &str {
        match self {
            Self::Known(connector) => &connector.slug,
            Self::Gone(row) => &row.slug,
        }
    }
}

/// A kind of data source that can be connected. A connector whose file is gone stays as a stub with
/// `configured: false` while connections use it.
#[Object]
impl Connector {
    /// The connector's id: the same on every server.
    pub async fn id(&self) -> ID {
        match self {
            Self::Known(connector) => shown(Kind::Connector, connector.id),
            Self::Gone(row) => shown(Kind::Connector, row.id),
        }
    }

    /// Its name in configuration and in inputs, e.g. google-ads.
    async fn slug(&self) -> &str {
        self.own_slug()
    }

    /// What it is called, e.g. Google Ads.
    async fn name(&self) -> &str {
        match self {
            Self::Known(connector) => &connector.name,
            Self::Gone(row) => &row.name,
        }
    }

    /// What it is grouped by, e.g. advertising.
    async fn category(&self) -> &str {
        match self {
            Self::Known(connector) => &connector.category,
            Self::Gone(row) => &row.category,
        }
    }

    /// How it is authorized.
    async fn auth_method(&self) -> AuthMethod {
        match self {
            Self::Known(connector) => connector.method().into(),
            Self::Gone(row) => row.method.into(),
        }
    }

    /// Where its rows are read.
    async fn mode(&self) -> DataMode {
        match self {
            Self::Known(connector) => connector.data_mode().into(),
            Self::Gone(row) => row.mode.into(),
        }
    }

    /// What someone must have at hand before they connect, in Markdown.
    async fn requirements(&self) -> &str {
        self.known().map_or("", |connector| &connector.requirements)
    }

    /// Where the provider describes it.
    async fn docs_url(&self) -> Option<Url> {
        self.known()?.docs_url.clone().map(Url)
    }

    /// What is asked of the person: for OAUTH2 before the browser step (a shop's name, say), otherwise the credentials.
    async fn fields(&self) -> Vec<ConnectorField> {
        self.known().map(|connector| connector.fields.iter().map(ConnectorField::from).collect()).unwrap_or_default()
    }

    /// Whether an authorization gives access to several accounts, one of which has to be chosen.
    async fn has_accounts(&self) -> bool {
        self.known().is_some_and(|connector| connector.accounts.is_some())
    }

    /// OAUTH2: whether this server has a client id and secret for it. Connecting is refused while false.
    async fn configured(&self, ctx: &Context<'_>) -> Result<bool, ApiError> {
        let provider = &services(ctx)?.provider;
        Ok(self.known().is_some_and(|connector| provider.is_configured(connector)))
    }

    /// Set while it fails for everyone: wait for the provider, or mend this server's OAuth client. Nobody has to reconnect.
    async fn incident(&self, ctx: &Context<'_>) -> Result<Option<ConnectorIncident>, ApiError> {
        Ok(loaders(ctx)?.incidents.load_one(self.own_slug().to_owned()).await?.map(Into::into))
    }

    /// Of its connections that the viewer may see.
    async fn connection_counts(&self, ctx: &Context<'_>) -> Result<ConnectionCounts, ApiError> {
        Ok(loaders(ctx)?.counts_by_connector.load_one(self.own_slug().to_owned()).await?.unwrap_or_default().into())
    }
}

/// A connector that fails for everyone in the workspace.
#[derive(SimpleObject)]
pub struct ConnectorIncident {
    /// When that was noticed.
    started_at: DateTime,
    /// True when the provider refuses this server's own OAuth client: an administrator has to act.
    ours: bool,
    /// For people: what happened and what to do.
    message: String,
}

impl From<incident::Model> for ConnectorIncident {
    fn from(row: incident::Model) -> Self {
        Self { started_at: row.started_at.into(), ours: row.ours, message: row.message }
    }
}

/// One thing that is asked of the person who connects.
#[derive(SimpleObject)]
pub struct ConnectorField {
    /// Its name in `fields` and `credentials`.
    name: String,
    /// What to call it in a form.
    label: String,
    /// Whether it has to be hidden as it is typed. It is never shown again.
    secret: bool,
    /// Whether it has to be given.
    required: bool,
    /// Regular expression (ECMAScript) that a value has to match as a whole.
    pattern: Option<String>,
    /// Where to find it, for people.
    help: Option<String>,
}

impl From<&catalogue::Field> for ConnectorField {
    fn from(field: &catalogue::Field) -> Self {
        Self {
            name: field.name.clone(),
            label: field.label.clone(),
            secret: field.secret,
            required: field.required,
            pattern: field.pattern.as_ref().map(|pattern| pattern.source.clone()),
            help: field.help.clone(),
        }
    }
}

/// Which connectors to show. Conditions are joined by AND; an absent one, and null, says nothing.
#[derive(InputObject)]
pub struct ConnectorFilter {
    /// In the name or the slug; case does not matter.
    search: Option<String>,
    /// The category, spelled as connectors have it.
    category: Option<String>,
    /// How they are authorized.
    auth_method: Option<AuthMethod>,
    /// Whether this server can use them.
    configured: Option<bool>,
}

impl From<ConnectorFilter> for catalogue::Criteria {
    fn from(filter: ConnectorFilter) -> Self {
        Self {
            search: filter.search,
            category: filter.category,
            method: filter.auth_method.map(Into::into),
            configured: filter.configured,
        }
    }
}

/// The queries about the catalogue.
#[derive(Default)]
pub struct CatalogueQuery;

#[Object]
impl CatalogueQuery {
    /// The catalogue: every kind of data source that can be connected.
    async fn connectors(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which of them; without it, all.")] filter: Option<ConnectorFilter>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Connector>, ApiError> {
        let services = services(ctx)?;
        let criteria = filter.map(catalogue::Criteria::from).unwrap_or_default();
        let (catalogue, provider) = (services.catalogue.clone(), services.provider.clone());
        let configured = move |connector: &catalogue::Connector| provider.is_configured(connector);
        let page = catalogue.list(viewer(ctx)?, &criteria, &configured, &asked(first, after, last, before))?;
        let total = Total::new(move || {
            let count = catalogue.count(&criteria, &configured) as u64;
            async move { Ok(count) }
        });
        Ok(Page::new(page, total))
    }

    /// One connector; null when the catalogue has none of this slug.
    async fn connector(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connector's slug, e.g. google-ads.")] slug: String,
    ) -> Result<Option<Connector>, ApiError> {
        viewer(ctx)?;
        Ok(services(ctx)?.catalogue.get(&slug).cloned().map(Connector::from))
    }
}
