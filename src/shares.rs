//! Places that all workspaces share: each has a part of them at most, so that some are free for the others whatever one does.
//!
//! What is shared is up to whoever hands the places out: handles of the database, calls to a provider, rows read live.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use uuid::Uuid;

/// The places there are. Cheap to clone; the clones share them.
#[derive(Clone)]
pub struct Shares {
    all: Arc<Semaphore>,
    of_one: usize,
    by_workspace: Arc<Mutex<HashMap<Uuid, Weak<Semaphore>>>>,
}

/// A place, until this is dropped.
pub struct Place {
    _of_workspace: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    // What the workspace's places are remembered by.
    _its: Arc<Semaphore>,
}

impl Shares {
    /// So many places, of which a workspace has three quarters at most. Less than four are nobody's part: they are taken in
    /// turn.
    pub fn of(places: usize) -> Self {
        let places = places.clamp(1, Semaphore::MAX_PERMITS);
        let of_one = if places < 4 { places } else { places - places.div_ceil(4) };
        Self { all: Arc::new(Semaphore::new(places)), of_one, by_workspace: Arc::default() }
    }

    /// Waits for a place for a workspace; none once they are closed.
    pub async fn take(&self, workspace: Uuid) -> Option<Place> {
        let its = self.its(workspace);
        // First the workspace's own: whoever waits for that keeps none from the others.
        let of_workspace = Arc::clone(&its).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { _of_workspace: of_workspace, _of_all: of_all, _its: its })
    }

    /// The same for so long at most; none where that was not enough.
    pub async fn take_within(&self, wait: Duration, workspace: Uuid) -> Option<Place> {
        timeout(wait, self.take(workspace)).await.ok().flatten()
    }

    /// Lets nobody in any more, and sends away who waits.
    pub fn close(&self) {
        self.all.close();
        let known = self.by_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter_map(Weak::upgrade).for_each(|its| its.close());
    }

    fn its(&self, workspace: Uuid) -> Arc<Semaphore> {
        let mut known = self.by_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(its) = known.get(&workspace).and_then(Weak::upgrade) {
            return its;
        }
        known.retain(|_, its| its.strong_count() > 0);
        let its = Arc::new(Semaphore::new(self.of_one));
        known.insert(workspace, Arc::downgrade(&its));
        its
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shares")
            .field("free", &self.all.available_permits())
            .field("of_one", &self.of_one)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    #[test]
    fn a_workspace_that_wants_all_leaves_some_to_the_others_and_each_place_comes_back() {
        for (places, of_one) in [(4, 3), (10, 7), (16, 12)] {
            let shares = Shares::of(places);
            let taken: Vec<_> = std::iter::from_fn(|| shares.take(ONE).now_or_never().flatten()).collect();
            assert_eq!(taken.len(), of_one, "of {places}");
            let waiting = shares.take(ONE);
            let theirs = shares.take(OTHER).now_or_never().flatten();
            assert!(theirs.is_some(), "of {places}");
            drop(taken);
            assert!(waiting.now_or_never().flatten().is_some(), "of {places}");
        }
    }

    #[test]
    fn a_single_place_is_for_whoever_comes() {
        let shares = Shares::of(1);
        let taken = shares.take(ONE).now_or_never().flatten();
        assert!(taken.is_some() && shares.take(OTHER).now_or_never().is_none());
        drop(taken);
        assert!(shares.take(OTHER).now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn once_closed_nobody_gets_one_not_even_who_waits() {
        let shares = Shares::of(1);
        let _taken = shares.take(ONE).await;
        let (one, other) = (shares.take(ONE), shares.take(OTHER));
        let waiting = async { tokio::join!(one, other) };
        let closing = async { shares.close() };
        let ((one, other), ()) = tokio::join!(waiting, closing);
        assert!(one.is_none() && other.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_for_long_is_told() {
        let shares = Shares::of(1);
        let _taken = shares.take(ONE).await;
        assert!(shares.take_within(Duration::from_secs(5), OTHER).await.is_none());
    }
}
