//! How many bytes an answer may have: one budget for the answers of a batch, one for each event of a subscription.
//!
//! Rows have no bound in the schema and are charged where they are read. What else an answer holds is bounded by the number of
//! its fields, which the [guard](super::guard) knows: a heavy one is charged field by field, by [`Meter`]. A query ends with
//! its budget, half-written; a mutation is finished, and the fields that are beyond it fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextResolve, ResolveInfo};
use async_graphql::{Context, ServerResult, Value};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::errors::ApiError;
use crate::error::Error;

/// An answer of fewer fields is not metered: none of its fields is longer than a name, a message or a URL.
pub(super) const LIGHT: u64 = 2_000;
/// Pages of rows that one answer reads at once. Each is charged when it is there.
const READ_AT_ONCE: usize = 4;
/// What JSON puts round a value or a name.
const PUNCTUATION: usize = 4;

/// What is left of the bytes. Cheap to clone; the clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Parts>);

struct Parts {
    bytes: usize,
    left: AtomicUsize,
    overdrawn: watch::Sender<bool>,
    reading: Semaphore,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        let (left, overdrawn) = (AtomicUsize::new(bytes), watch::Sender::new(false));
        Self(Arc::new(Parts { bytes, left, overdrawn, reading: Semaphore::new(READ_AT_ONCE) }))
    }

    /// Takes `bytes` of it.
    ///
    /// # Errors
    /// [`Error::TooComplex`]: less is left. From then on nothing is.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), ApiError> {
        match self.0.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)) {
            Ok(_) if !self.is_overdrawn() => Ok(()),
            _ => {
                self.0.overdrawn.send_replace(true);
                Err(self.exceeded().into())
            }
        }
    }

    /// Leave to read rows, a few pages at once; what was read is then to be [charged](Self::charge).
    ///
    /// # Errors
    /// [`Error::TooComplex`]: nothing is left.
    pub(super) async fn turn(&self) -> Result<Option<SemaphorePermit<'_>>, ApiError> {
        // It is never closed.
        let turn = self.0.reading.acquire().await.ok();
        if self.is_overdrawn() { Err(self.exceeded().into()) } else { Ok(turn) }
    }

    /// Returns once more was asked for than there was.
    pub(super) async fn overdraft(&self) {
        // The sender is held by `self`.
        let _ = self.0.overdrawn.subscribe().wait_for(|overdrawn| *overdrawn).await;
    }

    pub(super) fn is_overdrawn(&self) -> bool {
        *self.0.overdrawn.borrow()
    }

    /// For the next event: all of it again.
    pub(super) fn renew(&self) {
        self.0.left.store(self.0.bytes, Relaxed);
        self.0.overdrawn.send_replace(false);
    }

    /// What is said of an answer that goes beyond.
    pub(super) fn exceeded(&self) -> Error {
        let bytes = self.0.bytes;
        Error::TooComplex(format!(
            "The answer has more than {bytes} bytes. Ask for smaller pages, or for fewer fields."
        ))
    }
}

/// The budget of the answer that a field is part of.
pub(super) fn budget<'c>(context: &Context<'c>) -> Result<&'c Budget, ApiError> {
    let missing = || Error::internal("the request has no budget");
    context.data_opt::<Budget>().ok_or_else(|| missing().into())
}

/// Charges each field when it is written.
pub(super) struct Meter;

impl ExtensionFactory for Meter {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Meter {
    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        let at = info.field.name.pos;
        let value = next.run(ctx, info).await?;
        if let (Some(value), Some(budget)) = (&value, ctx.data_opt::<Budget>()) {
            budget.charge(written(value)).map_err(|error| async_graphql::Error::from(error).into_server_error(at))?;
        }
        Ok(value)
    }
}

/// The bytes of a value without those of the values in it, which were charged before.
fn written(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + PUNCTUATION,
        Value::Object(fields) => fields.keys().map(|name| name.len() + PUNCTUATION).sum(),
        _ => PUNCTUATION,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_budget_that_is_overdrawn_gives_nothing_until_it_is_renewed() {
        let budget = Budget::new(100);
        assert!(budget.charge(60).is_ok());
        assert!(budget.charge(60).is_err());
        budget.overdraft().await;
        assert!(budget.charge(1).is_err());
        assert!(budget.turn().await.is_err());
        budget.renew();
        assert!(budget.turn().await.is_ok());
        assert!(budget.charge(100).is_ok());
    }
}
