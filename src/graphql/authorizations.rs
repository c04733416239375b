//! Authorizations as the API shows them, the accounts they give access to, and the queries that find them.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object};
use entity::authorization;

use super::{
    ApiError, AskedAccounts, beside,
    catalogue::Connector,
    connection_inputs::{ConnectionFilter, ConnectionOrder, ConnectionStatus, each, within_authorization},
    connections::{Connection, ExternalAccount, connector, listed},
    disconnections::Disconnection,
    execution::viewer,
    loaders::loaders,
    page::{Page, Total, asked},
    people::{Client, User},
    scalars::{DateTime, given, shown},
    services::{counted, services},
};
use crate::{connections, error::Result, ids::Kind};

/// The grant behind one or more connections. Cheap to clone.
#[derive(Clone)]
pub struct Authorization(Arc<authorization::Model>);

impl From<authorization::Model> for Authorization {
    fn from(row: authorization::Model) -> Self {
        Self(Arc::new(row))
    }
}

impl From<Arc<authorization::Model>> for Authorization {
    fn from(row: Arc<authorization::Model>) -> Self {
        Self(row)
    }
}

/// The grant behind one or more connections. An OAUTH2 authorization can be shared by many connections across clients,
/// and reconnecting it reconnects them all; with any other method it belongs to exactly one connection.
/// There is one OAUTH2 authorization for each connector and external account of a workspace.
#[Object]
impl Authorization {
    /// The authorization's id.
    pub async fn id(&self) -> ID {
        shown(Kind::Authorization, self.0.id)
    }

    /// What kind of data source it opens.
    async fn connector(&self, ctx: &Context<'_>) -> Result<Connector, ApiError> {
        connector(services(ctx)?, &self.0.connector)
    }

    /// Whether the provider accepts it.
    async fn status(&self) -> ConnectionStatus {
        self.0.status.into()
    }

    /// Whose account it is.
    async fn account(&self) -> Option<ExternalAccount> {
        ExternalAccount::of(self.0.account_id.as_deref(), self.0.account_name.as_deref())
    }

    /// Accounts it gives access to (an MCC's customers, a business manager's ad accounts), read live from the provider.
    /// Null when the provider does not answer, and to everyone but ADMIN, STAFF and whoever made it.
    async fn available_accounts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "In the account's name or id; case does not matter.")] search: Option<String>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
    ) -> Result<Option<Page<AvailableAccount>>, ApiError> {
        let (connections, viewer) = (&services(ctx)?.connections, viewer(ctx)?);
        let asking = connections.accounts_of_authorization(viewer, self.0.id);
        let Some(opened) = AskedAccounts::of(ctx)?.once(self.0.id, asking).await? else { return Ok(None) };
        let page = connections.accounts_page(viewer, &opened, search.as_deref(), first, after.as_deref()).await?;
        Ok(Some(account_page(page)))
    }

    /// What was granted, as the provider names it.
    async fn scopes(&self) -> Vec<String> {
        texts(&self.0.scopes)
    }

    /// Asked for, and not granted. Never a scope the connector cannot do without (that fails the attempt).
    async fn missing_scopes(&self) -> Vec<String> {
        texts(&self.0.missing_scopes)
    }

    /// When it stops working without anybody's doing; null when it renews itself or never expires.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(Into::into)
    }

    /// Since when it is asked and neither works nor is refused in words that are known: its provider fails, or answers
    /// oddly. Null while it answers. After PATCHBAY_UNVERIFIED_AFTER it counts as disconnected (UNRESPONSIVE).
    async fn failing_since(&self) -> Option<DateTime> {
        self.0.failing_since.map(Into::into)
    }

    /// How it fails, for people; null while it does not.
    async fn failing_message(&self) -> Option<&str> {
        self.0.failing_message.as_deref().filter(|_| self.0.failing_since.is_some())
    }

    /// When its tokens were last renewed.
    async fn last_refreshed_at(&self) -> Option<DateTime> {
        self.0.last_refreshed_at.map(Into::into)
    }

    /// Who signed in or gave the credentials last. A MEMBER uses an authorization for more only while that is them.
    async fn created_by(&self, ctx: &Context<'_>) -> Result<Option<User>, ApiError> {
        let Some(id) = self.0.created_by else { return Ok(None) };
        Ok(loaders(ctx)?.users.load_one(id).await?.map(User::from))
    }

    /// The one that all its connections are in now; null while it works.
    async fn disconnection(&self, ctx: &Context<'_>) -> Result<Option<Disconnection>, ApiError> {
        Ok(loaders(ctx)?.open.load_one(self.0.id).await?.map(Disconnection::from))
    }

    /// The connections through it, as far as the viewer may see.
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
        listed(ctx, within_authorization(filter, self.0.id), order_by, &asked(first, after, last, before)).await
    }

    /// The clients it feeds.
    async fn clients(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Client>, ApiError> {
        let (id, args) = (self.0.id, asked(first, after, last, before));
        let page = services(ctx)?.connections.clients_of(viewer(ctx)?, id, &args).await?;
        let total =
            counted(
                ctx,
                move |services, viewer| async move { services.connections.count_clients_of(&viewer, id).await },
            )?;
        Ok(Page::new(page, total))
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Set once its last connection was removed; kept for history, its secret erased.
    async fn removed_at(&self) -> Option<DateTime> {
        self.0.removed_at.map(Into::into)
    }
}

/// The texts in a list that a table keeps as JSON.
fn texts(list: &serde_json::Value) -> Vec<String> {
    let members = list.as_array().into_iter().flatten();
    members.filter_map(|member| member.as_str().map(str::to_owned)).collect()
}

/// One of the accounts that an authorization gives access to.
pub struct AvailableAccount(connections::AvailableAccount);

impl From<connections::AvailableAccount> for AvailableAccount {
    fn from(account: connections::AvailableAccount) -> Self {
        Self(account)
    }
}

/// One that an authorization gives access to, and what uses it already, as far as the viewer may see.
#[Object]
impl AvailableAccount {
    /// The provider's id for it: what `accountId` takes.
    async fn account_id(&self) -> &str {
        &self.0.account.id
    }

    /// What the provider calls it.
    async fn name(&self) -> &str {
        &self.0.account.name
    }

    /// The connections that read it already, the first 100 by id.
    async fn connections(&self, ctx: &Context<'_>) -> Result<Vec<Connection>, ApiError> {
        beside::list(ctx, self.0.connections.clone()).await
    }
}

/// The accounts that the provider told of.
pub(super) fn account_page(accounts: connections::AvailableAccounts) -> Page<AvailableAccount> {
    let total = accounts.total;
    Page::new(accounts.page, Total::new(move || async move { Ok(total) }))
}

/// Which authorizations to show. Conditions are joined by AND, the values in a list by OR; an absent condition, and
/// null, says nothing.
#[derive(Debug, Clone, InputObject)]
pub struct AuthorizationFilter {
    /// Slugs.
    connector: Option<Vec<String>>,
    /// How they are.
    status: Option<Vec<ConnectionStatus>>,
}

impl From<AuthorizationFilter> for connections::AuthorizationFilter {
    fn from(filter: AuthorizationFilter) -> Self {
        Self { connector: filter.connector, status: filter.status.map(each) }
    }
}

/// The queries about authorizations.
#[derive(Default)]
pub struct AuthorizationsQuery;

#[Object]
impl AuthorizationsQuery {
    /// The grants behind the connections: those the viewer made, and those of connections they may see.
    async fn authorizations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which of them; without it, all.")] filter: Option<AuthorizationFilter>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Authorization>, ApiError> {
        let filter: connections::AuthorizationFilter = filter.map(Into::into).unwrap_or_default();
        let args = asked(first, after, last, before);
        let page = services(ctx)?.connections.authorizations(viewer(ctx)?, &filter, &args).await?;
        let total = counted(ctx, move |services, viewer| {
            let filter = filter.clone();
            async move { services.connections.count_authorizations(&viewer, &filter).await }
        })?;
        Ok(Page::new(page, total))
    }

    /// One authorization; null when there is none that the viewer may see.
    async fn authorization(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The authorization's id.")] id: ID,
    ) -> Result<Option<Authorization>, ApiError> {
        let id = given(Kind::Authorization, &id);
        Ok(services(ctx)?.connections.authorization(viewer(ctx)?, id).await?.map(Authorization::from))
    }
}
