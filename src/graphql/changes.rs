//! What happened to connections: live, replayed and polled.

use async_graphql::{Context, Enum, ID, Object, SimpleObject, Subscription};
use futures_util::{Stream, StreamExt};
use uuid::Uuid;

use super::{
    ApiError,
    api_keys::ApiKey,
    authorizations::Authorization,
    beside,
    connection_inputs::{ConnectionFilter, decoded},
    connections::Connection,
    counts::int,
    disconnections::Disconnection,
    execution::viewer,
    loaders::loaders,
    people::{Client, User, Workspace},
    scalars::{DateTime, shown},
    services::services,
};
use crate::{connections, error::Result, ids::Kind};

/// What kind of change it was. New values may come: treat an unknown one like UPDATED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "connections::ChangeKind")]
pub enum ChangeKind {
    /// New.
    Added,
    /// Renamed, shared, moved to another client or account. (Renaming a client is no change of its connections.)
    Updated,
    /// Known to stop working soon.
    Expiring,
    /// Stopped working.
    Disconnected,
    /// Works again, by someone or by itself.
    Reconnected,
    /// Gone.
    Removed,
    /// Nothing for you: only the cursor moved on. At most every 5 minutes and never at the start, so that a quiet stream's
    /// cursor stays young.
    Checkpoint,
}

/// One change, with the connections it touched that the viewer may see.
pub struct ConnectionsChange(connections::ConnectionsChange);

impl From<connections::ConnectionsChange> for ConnectionsChange {
    fn from(change: connections::ConnectionsChange) -> Self {
        Self(change)
    }
}

/// One change, with the connections it touched that the viewer may see. A filter is tested on the state before and after the change:
/// what matched before and no longer does, or may no longer be seen, is in removedConnectionIds.
#[Object]
impl ConnectionsChange {
    /// Its place in the journal, for `after` of a subscription and of connectionChanges.
    async fn cursor(&self) -> &str {
        &self.0.cursor
    }

    /// When it happened.
    async fn at(&self) -> DateTime {
        self.0.at.into()
    }

    /// What kind of change it was.
    async fn kind(&self) -> ChangeKind {
        self.0.kind.into()
    }

    /// The first 100 by id; read the rest by `filter: {authorizationId}`.
    async fn connections(&self, ctx: &Context<'_>) -> Result<Vec<Connection>, ApiError> {
        beside::by_ids(ctx, &self.0.connections).await
    }

    /// How many it touched that the viewer may see.
    async fn connection_count(&self) -> i32 {
        int(self.0.connection_count)
    }

    /// Those of `connections` that are new for this viewer and filter.
    async fn added_connections(&self, ctx: &Context<'_>) -> Result<Vec<Connection>, ApiError> {
        beside::by_ids(ctx, &self.0.added).await
    }

    /// Gone for this viewer and filter; the first 100 by id.
    async fn removed_connection_ids(&self) -> Vec<ID> {
        self.0.removed.iter().map(|id| shown(Kind::Connection, *id)).collect()
    }

    /// The grant behind them, when it is one for all.
    async fn authorization(&self, ctx: &Context<'_>) -> Result<Option<Authorization>, ApiError> {
        let Some(id) = self.0.authorization else { return Ok(None) };
        Ok(loaders(ctx)?.authorizations.load_one(id).await?.map(Authorization::from))
    }

    /// The outage that began or ended with it, if one did.
    async fn disconnection(&self, ctx: &Context<'_>) -> Result<Option<Disconnection>, ApiError> {
        let Some(id) = self.0.disconnection else { return Ok(None) };
        Ok(loaders(ctx)?.disconnections.load_one(id).await?.map(Disconnection::from))
    }

    /// Whose counts changed; the first 100.
    async fn clients(&self, ctx: &Context<'_>) -> Result<Vec<Client>, ApiError> {
        let ids: &[Uuid] = &self.0.clients;
        let mut found = loaders(ctx)?.clients.load_many(ids.iter().copied()).await?;
        Ok(ids.iter().filter_map(|id| found.remove(id)).map(Client::from).collect())
    }

    /// The workspace, with its counts as they are now.
    async fn workspace(&self, ctx: &Context<'_>) -> Result<Workspace, ApiError> {
        Ok(services(ctx)?.people.workspace(viewer(ctx)?).await?.into())
    }

    /// Null when the server itself noticed.
    async fn by(&self, ctx: &Context<'_>) -> Result<Option<User>, ApiError> {
        let Some(id) = self.0.by else { return Ok(None) };
        Ok(loaders(ctx)?.users.load_one(id).await?.map(User::from))
    }

    /// The key with which they did it; null when they did it themselves, and to a CLIENT.
    async fn by_api_key(&self, ctx: &Context<'_>) -> Result<Option<ApiKey>, ApiError> {
        let Some(id) = self.0.by_api_key else { return Ok(None) };
        Ok(loaders(ctx)?.api_keys.load_one(id).await?.map(ApiKey::from))
    }
}

/// What happened since a cursor.
#[derive(SimpleObject)]
pub struct ConnectionsChangePage {
    /// The changes, oldest first.
    nodes: Vec<ConnectionsChange>,
    /// A journal cursor: up to where the journal was read, also when nothing matched. The next `after`.
    end_cursor: String,
    /// Whether there is more to read at once.
    has_next_page: bool,
}

impl From<connections::ChangesPage> for ConnectionsChangePage {
    fn from(page: connections::ChangesPage) -> Self {
        Self {
            nodes: page.nodes.into_iter().map(ConnectionsChange::from).collect(),
            end_cursor: page.end_cursor,
            has_next_page: page.has_next,
        }
    }
}

/// The queries about what happened.
#[derive(Default)]
pub struct ChangesQuery;

#[Object]
impl ChangesQuery {
    /// What the subscription connectionsChanged would have sent since `after`, oldest first: for whoever polls.
    /// `endCursor` moves on even when nothing matched.
    async fn connection_changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A journal cursor: eventCursor, endCursor, or the cursor of a change.")] after: String,
        #[graphql(desc = "Of which connections; without it, of all.")] filter: Option<ConnectionFilter>,
        #[graphql(desc = "How many at most, 0 to 100. Default: 50.")] first: Option<i32>,
    ) -> Result<ConnectionsChangePage, ApiError> {
        let (viewer, filter) = (viewer(ctx)?, decoded(filter));
        Ok(services(ctx)?.connections.changes_since(viewer, &after, &filter, first).await?.into())
    }
}

/// The subscriptions about connections.
#[derive(Default)]
pub struct ChangesSubscription;

#[Subscription]
impl ChangesSubscription {
    /// Every change of the connections that the viewer may see.
    async fn connections_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of which connections; without it, of all.")] filter: Option<ConnectionFilter>,
        #[graphql(desc = "A journal cursor: what came since, then live. Without it: from now on.")] after: Option<
            String,
        >,
    ) -> Result<impl Stream<Item = Result<ConnectionsChange, ApiError>>, ApiError> {
        let (connections, viewer) = (&services(ctx)?.connections, viewer(ctx)?);
        let changes = connections.changes(viewer, decoded(filter), after.as_deref()).await?;
        Ok(changes.map(|change| Ok(change?.into())))
    }
}
