//! Which pieces of work hold a transaction: one that asks the pool for another handle meanwhile is a fault.
//!
//! With as many such pieces of work as the pool has handles, each waits for the others and none goes on. Debug builds,
//! and so the tests, refuse it at the first time; release builds do not look.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

tokio::task_local! {
    static PIECE: Arc<()>;
}

/// Work that runs beside other work of the same task: what one of them holds is not in the way of another.
pub async fn beside<T>(work: impl Future<Output = T>) -> T {
    if cfg!(debug_assertions) { PIECE.scope(Arc::new(()), work).await } else { work.await }
}

/// A piece of work: the task, and what runs beside others in it.
type Piece = (tokio::task::Id, usize);

/// The pieces of work that hold a transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Holders(Arc<Mutex<HashSet<Piece>>>);

/// That a piece of work holds a transaction, until this is dropped.
pub(super) struct Holding {
    holders: Holders,
    piece: Option<Piece>,
}

impl Holders {
    /// Refuses a piece of work that holds a transaction already.
    pub(super) fn check(&self) {
        let held = current().is_some_and(|piece| self.with(|pieces| pieces.contains(&piece)));
        debug_assert!(!held, "a piece of work that holds a transaction asks the pool for another handle");
    }

    /// Notes that this piece of work holds a transaction.
    pub(super) fn hold(&self) -> Holding {
        let piece = current();
        if let Some(piece) = piece {
            self.with(|pieces| pieces.insert(piece));
        }
        Holding { holders: self.clone(), piece }
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashSet<Piece>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if let Some(piece) = self.piece {
            self.holders.with(|pieces| pieces.remove(&piece));
        }
    }
}

/// None in a release build, and outside of tasks.
fn current() -> Option<Piece> {
    if !cfg!(debug_assertions) {
        return None;
    }
    let beside = PIECE.try_with(|piece| Arc::as_ptr(piece) as usize).unwrap_or_default();
    Some((tokio::task::try_id()?, beside))
}
