//! How many readings at once somebody may wait for: each may hold as many rows as are read at most, and a database lets a
//! user in so often. Each workspace has a part of the places, and nobody waits for one for long. What nobody waits for keeps
//! to its connector's pace.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    provider::Haste,
    shares::{self, Shares},
};

/// On this node.
const AT_ONCE: usize = 16;
/// Through one connection.
const AT_ONCE_THROUGH_ONE: usize = 3;
/// How long somebody waits for a place at most.
const WAITED_FOR: Duration = Duration::from_secs(5);

/// The places there are.
pub(super) struct Places {
    all: Shares,
    by_connection: Mutex<HashMap<Uuid, Weak<Semaphore>>>,
}

/// A reading's place: it lasts until this is dropped.
pub(super) struct Place {
    _of_connection: OwnedSemaphorePermit,
    _of_all: shares::Place,
    // What the connection's places are remembered by.
    _places: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self { all: Shares::of(AT_ONCE), by_connection: Mutex::default() }
    }
}

impl Places {
    /// A place to read through `connection`, where somebody waits for the reading; none where nobody does.
    ///
    /// # Errors
    /// `Unavailable` where none is free for long.
    pub(super) async fn take(&self, workspace: Uuid, connection: Uuid, haste: Haste) -> Result<Option<Place>> {
        if let Haste::InTurn(_) = haste {
            return Ok(None);
        }
        let places = self.of(connection);
        let taking = async {
            // First the connection's: whoever waits for that one keeps none from the others.
            let of_connection = Arc::clone(&places).acquire_owned().await.ok()?;
            let of_all = self.all.take(workspace).await?;
            Some((of_connection, of_all))
        };
        let taken = timeout(WAITED_FOR, taking).await.ok().flatten();
        let (of_connection, of_all) = taken.ok_or(Error::Unavailable)?;
        Ok(Some(Place { _of_connection: of_connection, _of_all: of_all, _places: places }))
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
