//! Disconnections as the API shows them, and the query that lists them.

use async_graphql::{Context, Enum, ID, InputObject, Object};
use entity::disconnection;

use super::{
    ApiError,
    authorizations::Authorization,
    beside,
    connection_inputs::each,
    connections::Connection,
    execution::viewer,
    loaders::{Row, loaders},
    page::{Page, asked},
    people::User,
    scalars::{DateTime, given, shown},
    services::{counted, services},
};
use crate::{
    connections,
    error::{Error, Result},
    ids::Kind,
};

/// Why something stopped working. New values may come: treat an unknown one like REPORTED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::DisconnectionReason")]
pub enum DisconnectionReason {
    /// The grant was revoked, or is unknown to the provider (invalid_grant).
    Revoked,
    /// It reached its known end and could not be renewed.
    Expired,
    /// The key or password is no longer accepted.
    CredentialsRejected,
    /// Signed in, but no longer allowed to read the account.
    AccessLost,
    /// Someone or something outside reported it.
    Reported,
    /// It was asked for long (PATCHBAY_UNVERIFIED_AFTER), and neither worked nor was refused in words that are known. It is
    /// still asked, and works again by itself once it answers.
    Unresponsive,
}

/// What noticed that something stopped working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::Detector")]
pub enum Detector {
    /// The provider refused to renew the tokens.
    TokenRenewal,
    /// The regular look at whether it still works.
    Probe,
    /// A dataset could not be read.
    DatasetRefresh,
    /// A report, which a probe confirmed.
    Report,
}

/// How a disconnection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::DisconnectionEnd")]
pub enum DisconnectionEnd {
    /// Somebody reconnected it.
    Reconnected,
    /// It works again by itself.
    Recovered,
    /// It was removed while it did not work.
    Removed,
}

/// One outage, from detection to its end.
pub struct Disconnection(disconnection::Model);

impl From<disconnection::Model> for Disconnection {
    fn from(row: disconnection::Model) -> Self {
        Self(row)
    }
}

/// One outage, from detection to its end. It covers one authorization with all its connections (`connection` is null),
/// or one connection that lost access on its own.
#[Object]
impl Disconnection {
    /// The disconnection's id.
    pub async fn id(&self) -> ID {
        shown(Kind::Disconnection, self.0.id)
    }

    /// The grant that does not work, or whose connection lost access.
    async fn authorization(&self, ctx: &Context<'_>) -> Result<Authorization, ApiError> {
        let found = loaders(ctx)?.authorizations.load_one(self.0.authorization_id).await?;
        Ok(found.ok_or_else(|| Error::internal("a disconnection without its authorization"))?.into())
    }

    /// The one connection that lost access on its own; null where it is the authorization that does not work.
    async fn connection(&self, ctx: &Context<'_>) -> Result<Option<Connection>, ApiError> {
        let Some(id) = self.0.connection_id else { return Ok(None) };
        Ok(loaders(ctx)?.connections.load_one(id).await?.map(Connection::from))
    }

    /// The connections it covers, as they were when it began or joined later, that the viewer may see.
    async fn connections(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Connection>, ApiError> {
        covered(ctx, self.0.id, first, after, last, before).await
    }

    /// Why it does not work.
    async fn reason(&self) -> DisconnectionReason {
        self.0.reason.into()
    }

    /// What noticed it.
    async fn detected_by(&self) -> Detector {
        self.0.detected_by.into()
    }

    /// For people: what happened and what to do.
    async fn message(&self) -> &str {
        &self.0.message
    }

    /// When it was noticed.
    async fn started_at(&self) -> DateTime {
        self.0.started_at.into()
    }

    /// Null while it lasts.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(Into::into)
    }

    /// Null while it lasts.
    async fn ended_by(&self) -> Option<DisconnectionEnd> {
        self.0.ended_by.map(Into::into)
    }

    /// Who reconnected it; null while it lasts, and when it ended otherwise.
    async fn reconnected_by(&self, ctx: &Context<'_>) -> Result<Option<User>, ApiError> {
        let Some(id) = self.0.reconnected_by else { return Ok(None) };
        Ok(loaders(ctx)?.users.load_one(id).await?.map(User::from))
    }

    /// When the viewer's reminder e-mail left; to ADMIN and STAFF, the first one's.
    async fn reminded_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime>, ApiError> {
        Ok(loaders(ctx)?.reminded.load_one(self.0.id).await?.map(Into::into))
    }

    /// What a Reconnect button passes to `reconnect`; null once it has ended, and for whoever may not.
    async fn reconnect_connection_id(&self, ctx: &Context<'_>) -> Result<Option<ID>, ApiError> {
        let found = loaders(ctx)?.reconnectable.load_one(Row::from(&self.0)).await?;
        Ok(found.map(|id| shown(Kind::Connection, id)))
    }
}

/// A page of the connections that a disconnection covers.
pub(super) async fn covered(
    ctx: &Context<'_>,
    disconnection: uuid::Uuid,
    first: Option<i32>,
    after: Option<String>,
    last: Option<i32>,
    before: Option<String>,
) -> Result<Page<Connection>, ApiError> {
    let args = asked(first, after, last, before);
    let page = services(ctx)?.connections.covered(viewer(ctx)?, disconnection, &args).await?;
    let total = counted(ctx, move |services, viewer| async move {
        services.connections.count_covered(&viewer, disconnection).await
    })?;
    beside::page(ctx, page, total).await
}

/// Which disconnections to show. Conditions are joined by AND, the values in a list by OR; an absent condition, and
/// null, says nothing.
#[derive(Debug, Clone, InputObject)]
pub struct DisconnectionFilter {
    /// True: those that last. False: those that ended.
    open: Option<bool>,
    /// That cover this connection.
    connection_id: Option<ID>,
    /// That cover a connection of this client.
    client_id: Option<ID>,
    /// Slugs.
    connector: Option<Vec<String>>,
    /// Why it did not work.
    reason: Option<Vec<DisconnectionReason>>,
    /// That started after this instant.
    started_after: Option<DateTime>,
    /// That started before this instant.
    started_before: Option<DateTime>,
    /// That ended after this instant.
    ended_after: Option<DateTime>,
}

impl From<DisconnectionFilter> for connections::DisconnectionFilter {
    fn from(filter: DisconnectionFilter) -> Self {
        Self {
            open: filter.open,
            connection: filter.connection_id.map(|id| given(Kind::Connection, &id)),
            client: filter.client_id.map(|id| given(Kind::Client, &id)),
            connector: filter.connector,
            reason: filter.reason.map(each),
            started_after: filter.started_after.map(|at| at.0),
            started_before: filter.started_before.map(|at| at.0),
            ended_after: filter.ended_after.map(|at| at.0),
        }
    }
}

/// The queries about disconnections.
#[derive(Default)]
pub struct DisconnectionsQuery;

#[Object]
impl DisconnectionsQuery {
    /// Past and present disconnections, newest first.
    async fn disconnections(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which of them; without it, all.")] filter: Option<DisconnectionFilter>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 0 to 100; not with `first`.")] last: Option<i32>,
        #[graphql(desc = "A page's cursor: what comes before it.")] before: Option<String>,
    ) -> Result<Page<Disconnection>, ApiError> {
        let filter: connections::DisconnectionFilter = filter.map(Into::into).unwrap_or_default();
        let args = asked(first, after, last, before);
        let page = services(ctx)?.connections.disconnections(viewer(ctx)?, &filter, &args).await?;
        let total = counted(ctx, move |services, viewer| {
            let filter = filter.clone();
            async move { services.connections.count_disconnections(&viewer, &filter).await }
        })?;
        Ok(Page::new(page, total))
    }
}
