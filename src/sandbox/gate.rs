//! A gate that answers wait at, so that what happens meanwhile is for the test to say.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Closed until it is opened; all clones are the same one.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    opened: CancellationToken,
    arrived: watch::Sender<usize>,
}

impl Gate {
    /// A closed one.
    pub fn closed() -> Self {
        Self(Arc::new(Inner { opened: CancellationToken::new(), arrived: watch::Sender::new(0) }))
    }

    /// Lets everything pass, from now on.
    pub fn open(&self) {
        self.0.opened.cancel();
    }

    /// Returns once so many have arrived at it, whether they wait still or have passed.
    pub async fn reached_by(&self, count: usize) {
        // It fails only where the sender is gone, and this holds one.
        let _ = self.0.arrived.subscribe().wait_for(|arrived| *arrived >= count).await;
    }

    /// How many have arrived.
    pub fn arrived(&self) -> usize {
        *self.0.arrived.borrow()
    }

    pub(super) async fn pass(&self) {
        self.0.arrived.send_modify(|arrived| *arrived += 1);
        self.0.opened.cancelled().await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::closed()
    }
}

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
