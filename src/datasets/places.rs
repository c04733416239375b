//! How many readings at once somebody may wait for: each may hold as many rows as are read at most, and a database lets a
//! user in so often. What nobody waits for keeps to its connector's pace.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::provider::Haste;

/// On this node.
const AT_ONCE: usize = 12;
/// Through one connection.
const AT_ONCE_THROUGH_ONE: usize = 3;

/// The places there are.
pub(super) struct Places {
    all: Arc<Semaphore>,
    by_connection: Mutex<HashMap<Uuid, Weak<Semaphore>>>,
}

/// A reading's place: it lasts until this is dropped.
pub(super) struct Place {
    _of_connection: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    // What the connection's places are remembered by.
    _places: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(AT_ONCE)), by_connection: Mutex::default() }
    }
}

impl Places {
    /// Waits for a place to read through `connection`, where somebody waits for the reading.
    pub(super) async fn take(&self, connection: Uuid, haste: Haste) -> Option<Place> {
        if haste == Haste::InTurn {
            return None;
        }
        let places = self.of(connection);
        // First the connection's: whoever waits for that one keeps none from the others.
        let of_connection = Arc::clone(&places).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { _of_connection: of_connection, _of_all: of_all, _places: places })
    }

    fn of(&self, connection: Uuid) -> Arc<Semaphore> {
        let mut known = self.by_connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = known.get(&connection).and_then(Weak::upgrade) {
            return places;
        }
        known.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(AT_ONCE_THROUGH_ONE));
        known.insert(connection, Arc::downgrade(&places));
        places
    }
}
