//! How fast a provider is asked by what nobody waits for. Whoever waits goes at once, and is few.
//!
//! A connector's file says how many calls at once and how many a second ([`Pace`]); each node of several keeps to it for
//! itself. Of the calls at once each workspace has a part: one whose sources hang holds up no other. How long a provider wants to be left alone, which concerns all nodes, is the connections' to remember.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use uuid::Uuid;

use crate::{
    catalogue::{Connector, Pace},
    shares::{Place, Shares},
};

/// The queues before the providers, by slug; none once they are closed.
pub(super) struct Queues(Mutex<Option<HashMap<String, Arc<Queue>>>>);

impl Default for Queues {
    fn default() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }
}

struct Queue {
    places: Shares,
    rate: DefaultDirectRateLimiter,
}

/// A call's turn: it lasts until this is dropped.
pub struct Turn {
    _place: Place,
}

impl Queues {
    /// Waits until the connector may be asked once more for a workspace; none once the queues are closed.
    pub(super) async fn turn(&self, connector: &Connector, workspace: Uuid) -> Option<Turn> {
        let queue = self.queue(connector)?;
        let place = queue.places.take(workspace).await?;
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
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        let places = Shares::of(usize::try_from(concurrent).unwrap_or(usize::MAX));
        Self { places, rate: RateLimiter::direct(Quota::per_second(per_second)) }
    }
}
