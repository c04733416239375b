//! Connections as the API shows them, and the queries that find them.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use entity::{authorization, connection};

use super::{
    ApiError,
    authorizations::Authorization,
    beside::{self, Beside},
    catalogue::Connector,
    connection_inputs::{ConnectionFilter, ConnectionOrder, ConnectionStatus, decoded},
    datasets::{self, Dataset},
    disconnections::Disconnection,
    execution::viewer,
    loaders::{Row, loaders},
    page::{Page, asked},
    people::{Client, User},
    scalars::{DateTime, given, shown},
    services::{Services, counted, services},
};
use crate::{
    connections::{Abilities, Connections, last_checked},
    error::{Error, Result},
    ids::Kind,
    pages::PageArgs,
};

/// One data source plugged in for one client, through an authorization.
pub struct Connection {
    row: connection::Model,
    beside: Beside,
}

impl From<connection::Model> for Connection {
    fn from(row: connection::Model) -> Self {
        Self::with(row, Beside::default())
    }
}

impl Connection {
    /// A connection with what was loaded beside it.
    pub(super) fn with(row: connection::Model, beside: Beside) -> Self {
        Self { row, beside }
    }

    async fn shares(&self, ctx: &Context<'_>) -> Result<Vec<uuid::Uuid>, ApiError> {
        match &self.beside.shares {
            Some(shares) => Ok(shares.clone()),
            None => Ok(loaders(ctx)?.shares.load_one(self.row.id).await?.unwrap_or_default()),
        }
    }

    async fn authorization_behind(&self, ctx: &Context<'_>) -> Result<Arc<authorization::Model>, ApiError> {
        let found = match &self.beside.authorization {
            Some(foreseen) => foreseen.clone(),
            None => loaders(ctx)?.authorizations.load_one(self.row.authorization_id).await?.map(Arc::new),
        };
        Ok(found.ok_or_else(|| Error::internal("a connection without its authorization"))?)
    }

    async fn abilities(&self, ctx: &Context<'_>) -> Result<Abilities, ApiError> {
        Ok(Connections::abilities(viewer(ctx)?, &self.row, &self.shares(ctx).await?))
    }
}

/// One data source plugged in for one client, through an authorization.
#[Object]
impl Connection {
    /// The connection's id. It remains after it was removed.
    pub async fn id(&self) -> ID {
        shown(Kind::Connection, self.row.id)
    }

    /// What it is called.
    async fn name(&self) -> &str {
        &self.row.name
    }

    /// Your own id for it, unique in the workspace.
    async fn external_id(&self) -> Option<&str> {
        self.row.external_id.as_deref()
    }

    /// What kind of data source it is.
    async fn connector(&self, ctx: &Context<'_>) -> Result<Connector, ApiError> {
        connector(services(ctx)?, &self.row.connector)
    }

    /// Null for a connection of the workspace itself.
    async fn client(&self, ctx: &Context<'_>) -> Result<Option<Client>, ApiError> {
        let found = match (&self.beside.client, self.row.client_id) {
            (Some(foreseen), _) => foreseen.clone(),
            (None, Some(id)) => loaders(ctx)?.clients.load_one(id).await?,
            (None, None) => None,
        };
        Ok(found.map(Client::from))
    }

    /// The grant that it works through.
    async fn authorization(&self, ctx: &Context<'_>) -> Result<Authorization, ApiError> {
        Ok(self.authorization_behind(ctx).await?.into())
    }

    /// Which of the authorization's accounts this connection reads; null where a connector has only one.
    async fn account(&self) -> Option<ExternalAccount> {
        ExternalAccount::of(self.row.account_id.as_deref(), self.row.account_name.as_deref())
    }

    /// DISCONNECTED while its authorization is, or while it has lost access on its own.
    async fn status(&self) -> ConnectionStatus {
        self.row.status.into()
    }

    /// When its status became what it is.
    async fn status_changed_at(&self) -> DateTime {
        self.row.status_changed_at.into()
    }

    /// The one it is in now, its authorization's first; null while connected.
    async fn disconnection(&self, ctx: &Context<'_>) -> Result<Option<Disconnection>, ApiError> {
        let found = match &self.beside.disconnection {
            Some(foreseen) => foreseen.clone(),
            None => loaders(ctx)?.current.load_one(Row::from(&self.row)).await?,
        };
        Ok(found.map(Disconnection::from))
    }

    /// Those it was ever in, newest first.
    async fn disconnections(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Disconnection>, ApiError> {
        let (id, args) = (self.row.id, asked(first, after, last, before));
        let page = services(ctx)?.connections.disconnections_of(viewer(ctx)?, id, &args).await?;
        let total = counted(ctx, move |services, viewer| async move {
            services.connections.count_disconnections_of(&viewer, id).await
        })?;
        Ok(Page::new(page, total))
    }

    /// When it was last seen to work or fail, by a probe, a renewal, a dataset or a report.
    async fn last_checked_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime>, ApiError> {
        let behind = self.authorization_behind(ctx).await?;
        Ok(last_checked(&self.row, &behind).map(Into::into))
    }

    /// The owner: whoever connected it or, later, last reconnected it.
    async fn created_by(&self, ctx: &Context<'_>) -> Result<Option<User>, ApiError> {
        let found = match (&self.beside.owner, self.row.created_by) {
            (Some(foreseen), _) => foreseen.clone(),
            (None, Some(id)) => loaders(ctx)?.users.load_one(id).await?,
            (None, None) => None,
        };
        Ok(found.map(User::from))
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.row.created_at.into()
    }

    /// Who sees and tends it beside its owner, by name.
    async fn shared_with(&self, ctx: &Context<'_>) -> Result<Vec<User>, ApiError> {
        let users = match &self.beside.shared_with {
            Some(foreseen) => foreseen.clone(),
            None => {
                let shares = self.shares(ctx).await?;
                beside::named(&shares, &loaders(ctx)?.users.load_many(shares.iter().copied()).await?)
            }
        };
        Ok(users.into_iter().map(User::from).collect())
    }

    /// What is read through it, by id.
    async fn datasets(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Dataset>, ApiError> {
        datasets::of_connection(ctx, self.row.id, &asked(first, after, last, before)).await
    }

    /// Whether the viewer may reconnect, update and check it.
    async fn viewer_can_reconnect(&self, ctx: &Context<'_>) -> Result<bool, ApiError> {
        Ok(self.abilities(ctx).await?.reconnect)
    }

    /// Whether the viewer may remove it.
    async fn viewer_can_remove(&self, ctx: &Context<'_>) -> Result<bool, ApiError> {
        Ok(self.abilities(ctx).await?.remove)
    }

    /// Whether the viewer may share it, and unshare it.
    async fn viewer_can_share(&self, ctx: &Context<'_>) -> Result<bool, ApiError> {
        Ok(self.abilities(ctx).await?.share)
    }

    /// Set once it was removed: no list shows it any more, its history and its id remain.
    async fn removed_at(&self) -> Option<DateTime> {
        self.row.removed_at.map(Into::into)
    }
}

/// An account at the provider, as the provider names it. No Node: the same number can mean something else at another
/// provider.
#[derive(Debug, Clone, SimpleObject)]
pub struct ExternalAccount {
    /// The provider's id for it.
    account_id: String,
    /// What the provider calls it.
    name: String,
}

impl ExternalAccount {
    /// The account as the tables keep it; without a name it goes by its id.
    pub(super) fn of(id: Option<&str>, name: Option<&str>) -> Option<Self> {
        let id = id?;
        Some(Self { account_id: id.to_owned(), name: name.unwrap_or(id).to_owned() })
    }
}

/// The connector `slug` of something that exists; a stub where its file is gone.
pub(super) fn connector(services: &Services, slug: &str) -> Result<Connector, ApiError> {
    if let Some(known) = services.catalogue.get(slug) {
        return Ok(Arc::clone(known).into());
    }
    let gone = services.connections.forgotten_connectors().find(|row| row.slug == slug);
    Ok(gone.cloned().ok_or_else(|| Error::internal("a connector that nobody remembers"))?.into())
}

/// A page of the connections that `filter` shows.
pub(super) async fn listed(
    ctx: &Context<'_>,
    filter: crate::connections::ConnectionFilter,
    order: Option<ConnectionOrder>,
    args: &PageArgs,
) -> Result<Page<Connection>, ApiError> {
    let page = services(ctx)?.connections.list(viewer(ctx)?, &filter, order.map(Into::into), args).await?;
    let total = counted(ctx, move |services, viewer| {
        let filter = filter.clone();
        async move { services.connections.count(&viewer, &filter).await }
    })?;
    beside::page(ctx, page, total).await
}

/// The queries about connections.
#[derive(Default)]
pub struct ConnectionsQuery;

#[Object]
impl ConnectionsQuery {
    /// Every connection the viewer may see: the Data Sources page.
    #[allow(clippy::too_many_arguments, reason = "the contract's arguments")]
    async fn connections(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which of them; without it, all.")] filter: Option<ConnectionFilter>,
        #[graphql(desc = "Without it: by id.")] order_by: Option<ConnectionOrder>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Connection>, ApiError> {
        listed(ctx, decoded(filter), order_by, &asked(first, after, last, before)).await
    }

    /// By exactly one of the two. Null when there is none that the viewer may see; by its id also when it was removed.
    async fn connection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connection's id.")] id: Option<ID>,
        #[graphql(desc = "Your own id for it.")] external_id: Option<String>,
    ) -> Result<Option<Connection>, ApiError> {
        let (connections, viewer) = (&services(ctx)?.connections, viewer(ctx)?);
        let found = match (id, external_id) {
            (Some(id), None) => connections.connection(viewer, given(Kind::Connection, &id)).await?,
            (None, Some(external_id)) => connections.connection_by_external_id(viewer, &external_id).await?,
            _ => return Err(Error::BadInput("Give exactly one of `id` and `externalId`.".to_owned()).into()),
        };
        Ok(found.map(Connection::from))
    }
}
