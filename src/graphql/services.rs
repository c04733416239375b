//! What a resolver finds in its context: the rooms it calls, and for whom.

use std::future::Future;

use async_graphql::Context;

use super::{ApiError, execution::viewer, page::Total};
use crate::{
    access::Viewer,
    catalogue::Catalogue,
    connections::Connections,
    datasets::Datasets,
    error::{Error, Result},
    journal::Journal,
    notifications::Notifications,
    people::People,
    provider::Provider,
};

/// The rooms behind the schema. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    pub people: People,
    pub catalogue: Catalogue,
    pub provider: Provider,
    pub connections: Connections,
    pub datasets: Datasets,
    pub notifications: Notifications,
    pub journal: Journal,
}

/// The rooms behind the schema.
pub fn services<'c>(ctx: &Context<'c>) -> Result<&'c Services, ApiError> {
    ctx.data_opt::<Services>().ok_or_else(|| Error::internal("a schema without services").into())
}

/// A total that `count` finds out for whoever asks now.
pub fn counted<F>(
    ctx: &Context<'_>,
    count: impl Fn(Services, Viewer) -> F + Send + Sync + 'static,
) -> Result<Total, ApiError>
where
    F: Future<Output = Result<u64>> + Send + 'static,
{
    let (services, viewer) = (services(ctx)?.clone(), viewer(ctx)?.clone());
    Ok(Total::new(move || count(services.clone(), viewer.clone())))
}
