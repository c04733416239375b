//! To-one relations that no list could foresee, loaded in batches within one request.
//!
//! A list that can look ahead loads its relations with its rows and hands over finished values: a batch waits for a
//! millisecond and costs several times the CPU.

use std::{collections::HashMap, sync::OnceLock};

use async_graphql::{
    Context,
    dataloader::{DataLoader, Loader},
};
use entity::client;
use uuid::Uuid;

use super::{ApiError, Services, execution::viewer, services};
use crate::{
    access::Viewer,
    error::{Error, Result},
    people::{People, User},
};

/// The loaders of one request: put an empty one into each.
#[derive(Default)]
pub struct Loaders(OnceLock<Ready>);

/// Loaders that know for whom they load.
pub struct Ready {
    pub users: DataLoader<Users>,
    pub clients: DataLoader<Clients>,
}

/// The loaders of this request.
pub fn loaders<'c>(ctx: &Context<'c>) -> Result<&'c Ready, ApiError> {
    let (services, viewer) = (services(ctx)?, viewer(ctx)?);
    let loaders = ctx.data_opt::<Loaders>().ok_or_else(|| Error::internal("a request without loaders"))?;
    Ok(loaders.0.get_or_init(|| Ready::new(services, viewer)))
}

impl Ready {
    fn new(services: &Services, viewer: &Viewer) -> Self {
        let (people, viewer) = (services.people.clone(), viewer.clone());
        Self {
            users: DataLoader::new(Users { people: people.clone(), viewer: viewer.clone() }, tokio::spawn),
            clients: DataLoader::new(Clients { people, viewer }, tokio::spawn),
        }
    }
}

/// Users by id.
pub struct Users {
    people: People,
    viewer: Viewer,
}

impl Loader<Uuid> for Users {
    type Value = User;
    type Error = Error;

    async fn load(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, User>> {
        self.people.users_by_ids(&self.viewer, ids).await
    }
}

/// Clients by id, those that the viewer may see.
pub struct Clients {
    people: People,
    viewer: Viewer,
}

impl Loader<Uuid> for Clients {
    type Value = client::Model;
    type Error = Error;

    async fn load(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, client::Model>> {
        self.people.clients_by_ids(&self.viewer, ids).await
    }
}
