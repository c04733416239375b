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

/// The queues before the providers, by slug.
#[derive(Default)]
pub(super) struct Queues(Mutex<HashMap<String, Arc<Queue>>>);

struct Queue {
    places: Arc<Semaphore>,
    rate: DefaultDirectRateLimiter,
}

/// A call's turn: it lasts until this is dropped.
pub struct Turn {
    _place: Option<OwnedSemaphorePermit>,
}

impl Queues {
    /// Waits until the connector may be asked once more.
    pub(super) async fn turn(&self, connector: &Connector) -> Turn {
        let queue = self.queue(connector);
        // It is never closed.
        let place = Arc::clone(&queue.places).acquire_owned().await.ok();
        queue.rate.until_ready().await;
        Turn { _place: place }
    }

    fn queue(&self, connector: &Connector) -> Arc<Queue> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(connector.slug.clone()).or_insert_with(|| Arc::new(Queue::new(connector.pace)));
        Arc::clone(queue)
    }
}

impl Queue {
    fn new(Pace { concurrent, per_second }: Pace) -> Self {
        let places = usize::try_from(concurrent).unwrap_or(Semaphore::MAX_PERMITS).clamp(1, Semaphore::MAX_PERMITS);
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        Self { places: Arc::new(Semaphore::new(places)), rate: RateLimiter::direct(Quota::per_second(per_second)) }
    }
}
