//! The people: the viewer, the workspace, users and clients, and the queries that find them.

#![expect(clippy::too_many_arguments, reason = "a list takes the contract's four arguments of a page beside its own")]

use async_graphql::{Context, Enum, ID, InputObject, Object};
use entity::{client, workspace};

use super::{
    ApiError,
    api_keys::ApiKey,
    connection_inputs::{ConnectionFilter, ConnectionOrder, within_client},
    connections::{Connection, listed},
    counts::{ConnectionCounts, int},
    execution::viewer,
    loaders::loaders,
    notifications::{Notification, tray},
    page::{Page, Total, asked},
    scalars::{DateTime, given, shown},
    services,
};
use crate::{
    access,
    error::{Error, Result},
    ids::Kind,
    people,
};

/// What someone may do in the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::Role")]
pub enum Role {
    /// Runs the workspace: people, keys, settings, and all that STAFF may.
    Admin,
    /// Sees and manages every connection, and is notified of every disconnection.
    Staff,
    /// Sees and manages the connections they made or that were shared with them; notified of those.
    Member,
    /// A customer's own login: reads what belongs to their client, changes nothing, is not notified.
    Client,
}

/// Who is asking.
pub struct Viewer(access::Viewer);

impl From<access::Viewer> for Viewer {
    fn from(viewer: access::Viewer) -> Self {
        Self(viewer)
    }
}

/// Who is asking, and what they may do.
#[Object]
impl Viewer {
    /// The viewer's own id, which is neither the user's nor the key's.
    pub async fn id(&self) -> Result<ID, ApiError> {
        Ok(shown(Kind::Viewer, self.0.id().ok_or(Error::Forbidden)?))
    }

    /// For an API key: the person who made it, for whom it acts.
    async fn user(&self, ctx: &Context<'_>) -> Result<User, ApiError> {
        Ok(services(ctx)?.people.me(&self.0).await?.into())
    }

    /// The key that asks; null for a person.
    async fn api_key(&self, ctx: &Context<'_>) -> Result<Option<ApiKey>, ApiError> {
        let Some(key) = self.0.api_key() else { return Ok(None) };
        Ok(services(ctx)?.people.api_key(&self.0, key).await?.map(ApiKey::from))
    }

    /// What they may do. For an API key: what it may do now, which is never beyond the person who made it.
    async fn role(&self) -> Role {
        self.0.role().into()
    }

    /// The workspace they are in; nothing crosses it.
    async fn workspace(&self, ctx: &Context<'_>) -> Result<Workspace, ApiError> {
        Ok(services(ctx)?.people.workspace(&self.0).await?.into())
    }

    /// Their tray, newest first. Empty for an API key, and for a CLIENT.
    #[allow(clippy::too_many_arguments, reason = "the contract's arguments")]
    async fn notifications(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whether to leave out what was read.", default_with = "Some(false)")] unread_only: Option<
            bool,
        >,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Notification>, ApiError> {
        tray(ctx, &self.0, unread_only.unwrap_or(false), &asked(first, after, last, before)).await
    }

    /// Whether the viewer is reminded by e-mail of what stays disconnected. False for an API key and for a CLIENT.
    async fn reminder_emails(&self, ctx: &Context<'_>) -> Result<bool, ApiError> {
        Ok(services(ctx)?.notifications.reminder_emails(&self.0).await?)
    }

    /// The red dot.
    async fn unread_notification_count(&self, ctx: &Context<'_>) -> Result<i32, ApiError> {
        Ok(int(services(ctx)?.notifications.count(&self.0, true).await?))
    }
}

/// An agency or a company, with its people, clients and connections.
pub struct Workspace(workspace::Model);

impl From<workspace::Model> for Workspace {
    fn from(row: workspace::Model) -> Self {
        Self(row)
    }
}

/// An agency or a company, with its people, clients and connections. Nothing crosses it.
#[Object]
impl Workspace {
    /// The workspace's id.
    pub async fn id(&self) -> ID {
        shown(Kind::Workspace, self.0.id)
    }

    /// What it is called.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// IANA name. Decides when the daily reminder e-mails leave.
    async fn time_zone(&self) -> &str {
        &self.0.time_zone
    }

    /// Hour and minute of the daily reminder run, HH:MM in timeZone.
    async fn reminder_time(&self) -> &str {
        &self.0.reminder_time
    }

    /// How long a connection stays disconnected before its owner is e-mailed.
    async fn reminder_after_hours(&self) -> i32 {
        self.0.reminder_after_hours
    }

    /// Where buttons in e-mails lead, with {connectionId} in it. Default: the console.
    async fn connection_url(&self) -> Option<&str> {
        self.0.connection_url.as_deref()
    }

    /// Of all its connections that the viewer may see.
    async fn connection_counts(&self, ctx: &Context<'_>) -> Result<ConnectionCounts, ApiError> {
        Ok(services(ctx)?.connections.counts(viewer(ctx)?).await?.into())
    }
}

/// A person of the workspace.
pub struct User(people::User);

impl From<people::User> for User {
    fn from(user: people::User) -> Self {
        Self(user)
    }
}

/// A person of the workspace.
#[Object]
impl User {
    /// The user's id.
    pub async fn id(&self) -> ID {
        shown(Kind::User, self.0.id)
    }

    /// What they are called.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Null to a CLIENT.
    async fn email(&self) -> Option<&str> {
        self.0.email.as_deref()
    }

    /// What they may do. Null to a CLIENT, but of themselves.
    async fn role(&self) -> Option<Role> {
        self.0.role.map(Into::into)
    }

    /// Set for role CLIENT: the one client they belong to. Null to a CLIENT, but of themselves.
    async fn client(&self, ctx: &Context<'_>) -> Result<Option<Client>, ApiError> {
        let Some(client) = self.0.client else { return Ok(None) };
        Ok(loaders(ctx)?.clients.load_one(client).await?.map(Client::from))
    }

    /// Whether they may come in. Null to a CLIENT, but of themselves.
    async fn active(&self) -> Option<bool> {
        self.0.active
    }

    /// When they were added. Null to a CLIENT, but of themselves.
    async fn created_at(&self) -> Option<DateTime> {
        self.0.created_at.map(Into::into)
    }
}

/// A customer of the workspace, by whom connections are grouped.
pub struct Client(client::Model);

impl From<client::Model> for Client {
    fn from(row: client::Model) -> Self {
        Self(row)
    }
}

/// A customer of the workspace, by whom connections are grouped.
#[Object]
impl Client {
    /// The client's id.
    pub async fn id(&self) -> ID {
        shown(Kind::Client, self.0.id)
    }

    /// What it is called.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Your own id for it, unique in the workspace.
    async fn external_id(&self) -> Option<&str> {
        self.0.external_id.as_deref()
    }

    /// Of its connections that the viewer may see.
    async fn connection_counts(&self, ctx: &Context<'_>) -> Result<ConnectionCounts, ApiError> {
        Ok(loaders(ctx)?.counts_by_client.load_one(self.0.id).await?.unwrap_or_default().into())
    }

    /// Its connections, as far as the viewer may see.
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
        listed(ctx, within_client(filter, self.0.id), order_by, &asked(first, after, last, before)).await
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}

/// Which way a list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum OrderDirection {
    /// From the smallest, the first of the alphabet, the oldest.
    Asc,
    /// From the greatest, the last of the alphabet, the youngest.
    Desc,
}

/// What clients can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "people::ClientOrderField")]
pub enum ClientOrderField {
    /// By name; case does not matter.
    Name,
    /// By when they were made.
    CreatedAt,
}

/// How a list of clients is sorted.
#[derive(Debug, Clone, Copy, InputObject)]
pub struct ClientOrder {
    /// What it is sorted by.
    field: ClientOrderField,
    /// Which way.
    #[graphql(default_with = "OrderDirection::Asc")]
    direction: OrderDirection,
}

impl From<ClientOrder> for people::ClientOrder {
    fn from(order: ClientOrder) -> Self {
        Self { field: order.field.into(), descending: order.direction == OrderDirection::Desc }
    }
}

/// The queries about people.
#[derive(Default)]
pub struct PeopleQuery;

#[Object]
impl PeopleQuery {
    /// Who is asking, and what they may do.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Viewer, ApiError> {
        Ok(viewer(ctx)?.clone().into())
    }

    /// The customers whose data sources are connected here.
    async fn clients(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "In the name; case does not matter, % and _ are themselves.")] search: Option<String>,
        #[graphql(desc = "Without it: by id.")] order_by: Option<ClientOrder>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Client>, ApiError> {
        let (people, viewer) = (services(ctx)?.people.clone(), viewer(ctx)?.clone());
        let args = asked(first, after, last, before);
        let page = people.clients(&viewer, search.as_deref(), order_by.map(Into::into), &args).await?;
        let total = Total::new(move || {
            let (people, viewer, search) = (people.clone(), viewer.clone(), search.clone());
            async move { people.count_clients(&viewer, search.as_deref()).await }
        });
        Ok(Page::new(page, total))
    }

    /// By exactly one of the two.
    async fn client(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The client's id.")] id: Option<ID>,
        #[graphql(desc = "Your own id for it.")] external_id: Option<String>,
    ) -> Result<Option<Client>, ApiError> {
        let (people, viewer) = (&services(ctx)?.people, viewer(ctx)?);
        let found = match (id, external_id) {
            (Some(id), None) => people.client(viewer, given(Kind::Client, &id)).await?,
            (None, Some(external_id)) => people.client_by_external_id(viewer, &external_id).await?,
            _ => return Err(Error::BadInput("Give exactly one of `id` and `externalId`.".to_owned()).into()),
        };
        Ok(found.map(Client::from))
    }

    /// The people of the workspace. Not for role CLIENT.
    async fn users(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "In the name or the e-mail address; case does not matter, % and _ are themselves.")]
        search: Option<String>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<User>, ApiError> {
        let (people, viewer) = (services(ctx)?.people.clone(), viewer(ctx)?.clone());
        let page = people.users(&viewer, search.as_deref(), &asked(first, after, last, before)).await?;
        let total = Total::new(move || {
            let (people, viewer, search) = (people.clone(), viewer.clone(), search.clone());
            async move { people.count_users(&viewer, search.as_deref()).await }
        });
        Ok(Page::new(page, total))
    }
}
