//! What lists of connections load beside their rows: the to-one relations that the document selects, in one statement
//! each for the whole list.

use std::{collections::HashMap, future::Future, sync::Arc};

use async_graphql::{Context, Lookahead};
use entity::{authorization, client, connection, disconnection};
use futures_util::future::try_join4;
use uuid::Uuid;

use super::{
    ApiError,
    connections::Connection,
    execution::viewer,
    page::{Page, Total},
    services::services,
};
use crate::{error::Result, pages, people::User};

/// A relation that was loaded with its row; none: nobody foresaw it, the field loads it.
pub(super) type Foreseen<T> = Option<T>;

/// What was loaded beside one connection.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) client: Foreseen<Option<client::Model>>,
    pub(super) authorization: Foreseen<Option<Arc<authorization::Model>>>,
    pub(super) disconnection: Foreseen<Option<disconnection::Model>>,
    pub(super) owner: Foreseen<Option<User>>,
    pub(super) shares: Foreseen<Vec<Uuid>>,
    pub(super) shared_with: Foreseen<Vec<User>>,
}

/// Which relations of its connections a list's selection names.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    client: bool,
    authorization: bool,
    disconnection: bool,
    owner: bool,
    shares: bool,
    shared_with: bool,
}

impl Wanted {
    /// For a field that is a list of connections.
    pub(super) fn in_list(ctx: &Context<'_>) -> Self {
        Self::of(&[ctx.look_ahead()])
    }

    /// For a field that is a page of connections.
    pub(super) fn in_page(ctx: &Context<'_>) -> Self {
        let page = ctx.look_ahead();
        Self::of(&[page.field("nodes"), page.field("edges").field("node")])
    }

    fn of(lists: &[Lookahead<'_>]) -> Self {
        let named = |field: &str| lists.iter().any(|list| list.field(field).exists());
        let shared_with = named("sharedWith");
        let abilities = named("viewerCanReconnect") || named("viewerCanRemove") || named("viewerCanShare");
        Self {
            client: named("client"),
            authorization: named("authorization") || named("lastCheckedAt"),
            disconnection: named("disconnection"),
            owner: named("createdBy"),
            shares: shared_with || abilities,
            shared_with,
        }
    }
}

/// The page of connections that the domain read, with what its selection names.
pub(super) async fn page(
    ctx: &Context<'_>,
    page: pages::Page<connection::Model>,
    total: Total,
) -> Result<Page<Connection>, ApiError> {
    let pages::Page { rows, has_next, has_previous } = page;
    let (cursors, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let connections = load(ctx, rows, Wanted::in_page(ctx)).await?;
    let rows = cursors.into_iter().zip(connections).collect();
    Ok(Page::new(pages::Page { rows, has_next, has_previous }, total))
}

/// The connections that the domain read for a field that is a list, with what its selection names.
pub(super) async fn list(ctx: &Context<'_>, rows: Vec<connection::Model>) -> Result<Vec<Connection>, ApiError> {
    load(ctx, rows, Wanted::in_list(ctx)).await
}

/// The connections with these ids that the viewer may see, in this order, with what the field's selection names.
pub(super) async fn by_ids(ctx: &Context<'_>, ids: &[Uuid]) -> Result<Vec<Connection>, ApiError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = services(ctx)?.connections.connections_by_ids(viewer(ctx)?, ids).await?;
    list(ctx, ids.iter().filter_map(|id| found.remove(id)).collect()).await
}

async fn load(ctx: &Context<'_>, rows: Vec<connection::Model>, wanted: Wanted) -> Result<Vec<Connection>, ApiError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let (services, viewer) = (services(ctx)?, viewer(ctx)?);
    let clients = ids(rows.iter().filter_map(|row| row.client_id));
    let clients = when(wanted.client, services.people.clients_by_ids(viewer, &clients));
    let authorizations = ids(rows.iter().map(|row| row.authorization_id));
    let authorizations =
        when(wanted.authorization, services.connections.authorizations_by_ids(viewer, &authorizations));
    let disconnections = when(wanted.disconnection, services.connections.current_disconnections(&rows));
    let people = people(ctx, &rows, wanted);
    let (clients, authorizations, disconnections, (shares, users)) =
        try_join4(clients, authorizations, disconnections, people).await?;

    let authorizations = authorizations
        .map(|found| -> HashMap<_, _> { found.into_iter().map(|(id, row)| (id, Arc::new(row))).collect() });
    let connections = rows.into_iter().map(|row| {
        let shares = shares.as_ref().map(|of| of.get(&row.id).cloned().unwrap_or_default());
        let beside = Beside {
            client: clients.as_ref().map(|by_id| row.client_id.and_then(|id| by_id.get(&id).cloned())),
            authorization: authorizations.as_ref().map(|by_id| by_id.get(&row.authorization_id).cloned()),
            disconnection: disconnections.as_ref().map(|of| of.get(&row.id).cloned()),
            owner: wanted.owner.then(|| row.created_by.and_then(|id| users.get(&id).cloned())),
            shared_with: shares.as_ref().filter(|_| wanted.shared_with).map(|shares| named(shares, &users)),
            shares,
        };
        Connection::with(row, beside)
    });
    Ok(connections.collect())
}

/// With whom the connections are shared, and everyone of them and of the owners who is to be shown.
async fn people(
    ctx: &Context<'_>,
    rows: &[connection::Model],
    wanted: Wanted,
) -> Result<(Foreseen<HashMap<Uuid, Vec<Uuid>>>, HashMap<Uuid, User>), ApiError> {
    let (services, viewer) = (services(ctx)?, viewer(ctx)?);
    let of: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let shares = when(wanted.shares, services.connections.shares_of(&of)).await?;
    let owners = rows.iter().filter(|_| wanted.owner).filter_map(|row| row.created_by);
    let sharers = shares.iter().filter(|_| wanted.shared_with).flat_map(HashMap::values).flatten().copied();
    let shown = ids(owners.chain(sharers));
    let users = when(!shown.is_empty(), services.people.users_by_ids(viewer, &shown)).await?;
    Ok((shares, users.unwrap_or_default()))
}

/// Those of `users` with these ids, in the order of their names.
pub(super) fn named(ids: &[Uuid], users: &HashMap<Uuid, User>) -> Vec<User> {
    let mut named: Vec<User> = ids.iter().filter_map(|id| users.get(id).cloned()).collect();
    named.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
    named
}

async fn when<T>(wanted: bool, load: impl Future<Output = Result<T>>) -> Result<Foreseen<T>, ApiError> {
    Ok(if wanted { Some(load.await?) } else { None })
}

fn ids(all: impl Iterator<Item = Uuid>) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = all.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
