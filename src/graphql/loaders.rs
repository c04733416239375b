//! To-one relations that no list could foresee, loaded in batches within one request.
//!
//! A list that can look ahead loads its relations with its rows (see `beside`) and hands over finished values: a batch
//! costs a wait of a millisecond and several times the CPU. Nothing is remembered from one batch to the next, so that
//! an event of a subscription shows what is true when it is sent.

use std::{
    collections::HashMap,
    future::Future,
    hash::{Hash, Hasher},
    sync::OnceLock,
};

use async_graphql::{
    Context,
    dataloader::{DataLoader, Loader},
};
use chrono::{DateTime, Utc};
use entity::{api_key, authorization, client, connection, dataset, disconnection, incident};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{
    ApiError,
    execution::viewer,
    services::{Services, services},
};
use crate::{
    access::Viewer,
    connections::Counts,
    error::{Error, Result},
    people::User,
};

/// The loaders of one request: put an empty one into each.
#[derive(Default)]
pub struct Loaders(OnceLock<Ready>);

/// Loaders that know for whom they load. What the viewer may not see is not found.
pub struct Ready {
    pub users: DataLoader<By<Uuid, User>>,
    /// Revoked ones too.
    pub api_keys: DataLoader<By<Uuid, api_key::Model>>,
    /// Removed ones too.
    pub clients: DataLoader<By<Uuid, client::Model>>,
    pub authorizations: DataLoader<By<Uuid, authorization::Model>>,
    pub connections: DataLoader<By<Uuid, connection::Model>>,
    pub disconnections: DataLoader<By<Uuid, disconnection::Model>>,
    pub datasets: DataLoader<By<Uuid, dataset::Model>>,
    /// With whom a connection is shared.
    pub shares: DataLoader<By<Uuid, Vec<Uuid>>>,
    /// The disconnection that a connection is in.
    pub current: DataLoader<By<Row<connection::Model>, disconnection::Model>>,
    /// The connection to reconnect so that a disconnection ends.
    pub reconnectable: DataLoader<By<Row<disconnection::Model>, Uuid>>,
    /// When the viewer was reminded of a disconnection.
    pub reminded: DataLoader<By<Uuid, DateTime<Utc>>>,
    /// The disconnection that an authorization is in.
    pub open: DataLoader<By<Uuid, disconnection::Model>>,
    pub counts_by_client: DataLoader<By<Uuid, Counts>>,
    pub counts_by_connector: DataLoader<By<String, Counts>>,
    /// The open incident of a connector, by its slug.
    pub incidents: DataLoader<By<String, incident::Model>>,
}

/// The loaders of this request.
pub fn loaders<'c>(ctx: &Context<'c>) -> Result<&'c Ready, ApiError> {
    let (services, viewer) = (services(ctx)?, viewer(ctx)?);
    let loaders = ctx.data_opt::<Loaders>().ok_or_else(|| Error::internal("a request without loaders"))?;
    Ok(loaders.0.get_or_init(|| Ready::new(services, viewer)))
}

impl Ready {
    fn new(services: &Services, viewer: &Viewer) -> Self {
        let of = (services, viewer);
        Self {
            users: by(of, |with, viewer, ids| async move { with.people.users_by_ids(&viewer, &ids).await }),
            api_keys: by(of, |with, viewer, ids| async move { with.people.api_keys_by_ids(&viewer, &ids).await }),
            clients: by(of, |with, viewer, ids| async move { with.people.clients_by_ids(&viewer, &ids).await }),
            authorizations: by(of, |with, viewer, ids| async move {
                with.connections.authorizations_by_ids(&viewer, &ids).await
            }),
            connections: by(
                of,
                |with, viewer, ids| async move { with.connections.connections_by_ids(&viewer, &ids).await },
            ),
            disconnections: by(of, |with, viewer, ids| async move {
                with.connections.disconnections_by_ids(&viewer, &ids).await
            }),
            datasets: by(of, |with, viewer, ids| async move { with.datasets.by_ids(&viewer, &ids).await }),
            shares: by(of, |with, _, ids| async move { with.connections.shares_of(&ids).await }),
            current: by(of, |with, _, rows: Vec<Row<connection::Model>>| async move {
                let models: Vec<_> = rows.iter().map(|row| row.row.clone()).collect();
                let found = with.connections.current_disconnections(&models).await?;
                Ok(Row::each(rows, found))
            }),
            reconnectable: by(of, |with, viewer, rows: Vec<Row<disconnection::Model>>| async move {
                let models: Vec<_> = rows.iter().map(|row| row.row.clone()).collect();
                let found = with.connections.reconnectables(&viewer, &models).await?;
                Ok(Row::each(rows, found))
            }),
            reminded: by(of, |with, viewer, ids| async move { with.notifications.reminded(&viewer, &ids).await }),
            open: by(of, |with, _, ids| async move { with.connections.open_disconnection_of(&ids).await }),
            counts_by_client: by(of, |with, viewer, ids| async move {
                with.connections.counts_by_client(&viewer, &ids).await
            }),
            counts_by_connector: by(of, |with, viewer, slugs| async move {
                with.connections.counts_by_connector(&viewer, &slugs).await
            }),
            incidents: by(of, |with, viewer, slugs: Vec<String>| async move {
                with.connections.incidents(&viewer, &slugs).await
            }),
        }
    }
}

/// A row, known by its id, for what the domain finds by more than that.
#[derive(Clone)]
pub struct Row<M> {
    id: Uuid,
    row: M,
}

impl From<&connection::Model> for Row<connection::Model> {
    fn from(row: &connection::Model) -> Self {
        Self { id: row.id, row: row.clone() }
    }
}

impl From<&disconnection::Model> for Row<disconnection::Model> {
    fn from(row: &disconnection::Model) -> Self {
        Self { id: row.id, row: row.clone() }
    }
}

impl<M> Row<M> {
    /// What was found by the rows' ids, by the rows.
    fn each<V>(rows: Vec<Self>, mut found: HashMap<Uuid, V>) -> HashMap<Self, V> {
        rows.into_iter().filter_map(|row| found.remove(&row.id).map(|value| (row, value))).collect()
    }
}

impl<M> PartialEq for Row<M> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<M> Eq for Row<M> {}

impl<M> Hash for Row<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// Loads a `V` for each `K` that has one.
pub struct By<K, V>(Box<dyn Fn(Vec<K>) -> Batch<K, V> + Send + Sync>);

type Batch<K, V> = BoxFuture<'static, Result<HashMap<K, V>>>;

impl<K, V> Loader<K> for By<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Value = V;
    type Error = ApiError;

    async fn load(&self, keys: &[K]) -> Result<HashMap<K, V>, ApiError> {
        Ok((self.0)(keys.to_vec()).await?)
    }
}

#[expect(clippy::disallowed_methods, reason = "one batch of a query, which waits for it")]
fn by<K, V, F>(
    (services, viewer): (&Services, &Viewer),
    load: impl Fn(Services, Viewer, Vec<K>) -> F + Send + Sync + 'static,
) -> DataLoader<By<K, V>>
where
    F: Future<Output = Result<HashMap<K, V>>> + Send + 'static,
{
    let (services, viewer) = (services.clone(), viewer.clone());
    let load = move |keys| -> Batch<K, V> { Box::pin(load(services.clone(), viewer.clone(), keys)) };
    DataLoader::new(By(Box::new(load)), tokio::spawn)
}
