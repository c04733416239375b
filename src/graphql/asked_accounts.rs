//! Lists of accounts that providers are asked for: each once for an answer, or for those of a batch, under however many
//! names it stands there and in however many pages.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use async_graphql::Context;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::errors::ApiError;
use crate::{
    connections::OpenedAccounts,
    error::{Error, Result},
};

type Asked = Result<Option<Arc<OpenedAccounts>>>;

/// What was asked so far, by authorization or attempt. Cheap to clone; the clones share it.
#[derive(Clone, Default)]
pub struct AskedAccounts(Arc<Mutex<HashMap<Uuid, Arc<OnceCell<Asked>>>>>);

impl AskedAccounts {
    /// What `asking` gave for `id`, which is asked now where it was not before. Those who ask meanwhile wait for it.
    pub(super) async fn once(&self, id: Uuid, asking: impl Future<Output = Asked>) -> Asked {
        let cell = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default());
        cell.get_or_init(|| asking).await.clone()
    }

    /// Those of this answer.
    pub(super) fn of<'c>(ctx: &Context<'c>) -> Result<&'c Self, ApiError> {
        ctx.data_opt::<Self>().ok_or_else(|| Error::internal("a request that asks for no accounts").into())
    }

    /// For the next event: nothing was asked.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
