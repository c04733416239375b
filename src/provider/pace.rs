//! How fast a provider is asked by what nobody waits for. Whoever waits goes at once, and is few.
//!
//! A connector's file says how many calls at once and how many a second ([`Pace`]); each node of several keeps to it for
//! itself. How long a provider wants to be left alone, which concerns all nodes, is the connections' to remember.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::catalogue::{Connector, Pace};

/// The queues before the providers, by slug; none once they are closed.
pub(super) struct Queues(Mutex<Option<HashMap<String, Arc<Queue>>>>);

impl Default for Queues {
    fn default() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }
}

struct Queue {
    places: Arc<Semaphore>,
    rate: DefaultDirectRateLimiter,
}

/// A call's turn: it lasts until this is dropped.
pub struct Turn {
    _place: OwnedSemaphorePermit,
}

impl Queues {
    /// Waits until the connector may be asked once more; none once the queues are closed.
    pub(super) async fn turn(&self, connector: &Connector) -> Option<Turn> {
        let queue = self.queue(connector)?;
        let place = Arc::clone(&queue.places).acquire_owned().await.ok()?;
        queue.rate.until_ready().await;
        Some(Turn { _place: place })
    }

    /// Lets nobody in any more, and sends away who waits.
    pub(super) fn close(&self) {
        let closed = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        for queue in closed.into_iter().flat_map(HashMap::into_values) {
            queue.places.close();
        }
    }

    fn queue(&self, connector: &Connector) -> Option<Arc<Queue>> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.as_mut()?.entry(connector.slug.clone());
        Some(Arc::clone(queue.or_insert_with(|| Arc::new(Queue::new(connector.pace)))))
    }
}

impl Queue {
    fn new(Pace { concurrent, per_second }: Pace) -> Self {
        let places = usize::try_from(concurrent).unwrap_or(Semaphore::MAX_PERMITS).clamp(1, Semaphore::MAX_PERMITS);
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        Self { places: Arc::new(Semaphore::new(places)), rate: RateLimiter::direct(Quota::per_second(per_second)) }
    }
}
