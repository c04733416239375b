//! Anything by its id.

use async_graphql::{Context, ID, Interface, Object};
use futures_util::future::try_join_all;

use super::{
    ApiError,
    api_keys::ApiKey,
    attempts::AuthorizationAttempt,
    audit::AuditEntry,
    authorizations::Authorization,
    catalogue::Connector,
    connections::Connection,
    datasets::Dataset,
    disconnections::Disconnection,
    execution::viewer,
    loaders::loaders,
    metrics::Metric,
    notifications::Notification,
    people::{Client, User, Viewer, Workspace},
    services::{Services, services},
};
use crate::{
    error::{Error, Result},
    ids::{Kind, NodeId},
};

/// How many ids are looked up at once.
const MOST: usize = 100;

/// Anything with an id of its own, by which it can be found again.
#[derive(Interface)]
#[allow(clippy::large_enum_variant, reason = "it is on its way out, one at a time")]
#[graphql(field(name = "id", ty = "ID", desc = "The id: it says what kind of thing this is, and never changes."))]
pub enum Node {
    Viewer(Viewer),
    Workspace(Workspace),
    User(User),
    ApiKey(ApiKey),
    Connector(Connector),
    Client(Client),
    Authorization(Authorization),
    Connection(Connection),
    Disconnection(Disconnection),
    AuthorizationAttempt(AuthorizationAttempt),
    Dataset(Dataset),
    Metric(Metric),
    Notification(Notification),
    AuditEntry(AuditEntry),
}

/// The thing with this id, if there is one that the viewer may see.
pub(super) async fn find(ctx: &Context<'_>, node: NodeId) -> Result<Option<Node>, ApiError> {
    let (services, viewer, id) = (services(ctx)?, viewer(ctx)?, node.id);
    Ok(match node.kind {
        Kind::Viewer => (viewer.id() == Some(id)).then(|| Node::Viewer(viewer.clone().into())),
        Kind::Workspace if viewer.workspace() == id => {
            Some(Node::Workspace(services.people.workspace(viewer).await?.into()))
        }
        Kind::User => services.people.user(viewer, id).await?.map(|row| Node::User(row.into())),
        Kind::ApiKey => services.people.api_key(viewer, id).await?.map(|row| Node::ApiKey(row.into())),
        Kind::Connector => connector(services, id).map(Node::Connector),
        Kind::Client => {
            let found = loaders(ctx)?.clients.load_one(id).await?;
            found.filter(|row| row.removed_at.is_none()).map(|row| Node::Client(row.into()))
        }
        Kind::Authorization => {
            loaders(ctx)?.authorizations.load_one(id).await?.map(|row| Node::Authorization(row.into()))
        }
        Kind::Connection => loaders(ctx)?.connections.load_one(id).await?.map(|row| Node::Connection(row.into())),
        Kind::Disconnection => {
            loaders(ctx)?.disconnections.load_one(id).await?.map(|row| Node::Disconnection(row.into()))
        }
        Kind::Attempt => {
            services.connections.attempt(viewer, id).await?.map(|row| Node::AuthorizationAttempt(row.into()))
        }
        Kind::Notification => {
            services.notifications.by_ids(viewer, &[id]).await?.pop().map(|row| Node::Notification(row.into()))
        }
        Kind::AuditEntry => services.journal.audit_entry(viewer, id).await?.map(|row| Node::AuditEntry(row.into())),
        Kind::Dataset => loaders(ctx)?.datasets.load_one(id).await?.map(|row| Node::Dataset(row.into())),
        Kind::Metric => services.datasets.metric(viewer, id).await?.map(|row| Node::Metric(row.into())),
        Kind::Workspace => None,
    })
}

fn connector(services: &Services, id: uuid::Uuid) -> Option<Connector> {
    let known = services.catalogue.by_id(id).cloned().map(Connector::from);
    known.or_else(|| services.connections.forgotten_connectors().find(|row| row.id == id).cloned().map(Connector::from))
}

async fn find_given(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>, ApiError> {
    viewer(ctx)?;
    match id.parse() {
        Ok(node) => find(ctx, node).await,
        Err(_) => Ok(None),
    }
}

/// The queries by id.
#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Anything by its id; null when there is nothing with it that the viewer may see.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id, of whatever kind.")] id: ID,
    ) -> Result<Option<Node>, ApiError> {
        find_given(ctx, &id).await
    }

    /// Things by their ids, in the order of the ids; null where there is nothing that the viewer may see.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ids, of whatever kinds: up to 100.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>, ApiError> {
        if ids.len() > MOST {
            return Err(Error::BadInput(format!("Up to {MOST} ids are looked up at once.")).into());
        }
        try_join_all(ids.iter().map(|id| find_given(ctx, id))).await
    }
}
