//! Whether a piece of work may be done again, since nothing came of it.
//!
//! Two transactions that wait for each other are told apart by the database, which gives one of them up. It would succeed
//! the next time; but doing a mutation once more is right only where it has written nothing and asked nobody outside.
//! A [`Work`] notes that while it is in scope: what is done for good says so with [`note_done`]. What other tasks do for it
//! is theirs, and tried again by themselves.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How often work is begun at most.
const MOST: u32 = 4;
/// How long to wait before the second time; the wait doubles from then on, and half of it is by chance.
const PAUSE: Duration = Duration::from_millis(20);

tokio::task_local! {
    static WORK: Arc<Work>;
}

/// What is known of a piece of work.
#[derive(Debug, Default)]
pub struct Work {
    done: AtomicBool,
    contended: AtomicBool,
    passing: AtomicBool,
}

impl Work {
    /// Does `work`, which notes here what it does.
    pub async fn scope<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        WORK.scope(Arc::clone(self), work).await
    }

    /// Whether it was given up for the sake of another, and nothing came of it.
    pub fn may_be_done_again(&self) -> bool {
        self.contended.load(Ordering::Relaxed) && !self.done.load(Ordering::Relaxed)
    }

    /// Whether it said that somebody outside could not be asked now.
    pub fn met_what_passes(&self) -> bool {
        self.passing.load(Ordering::Relaxed)
    }
}

/// Something was done for good: written, or asked of somebody outside.
pub fn note_done() {
    note(|work| &work.done);
}

/// The database gave up what was being done, for the sake of another transaction.
pub fn note_contended() {
    note(|work| &work.contended);
}

/// The answer says that somebody outside could not be asked now.
pub fn note_passing() {
    note(|work| &work.passing);
}

fn note(flag: impl FnOnce(&Work) -> &AtomicBool) {
    // Whoever does not ask is not told.
    let _ = WORK.try_with(|work| flag(work).store(true, Ordering::Relaxed));
}

/// Waits before work is begun again after it was begun `times` times; false where that was often enough. `chance` is
/// any byte, by which two that were in each other's way come apart.
pub async fn pause(times: u32, chance: u8) -> bool {
    if times >= MOST {
        return false;
    }
    let longest = PAUSE * 2_u32.pow(times - 1);
    tokio::time::sleep(longest / 2 + longest / 2 * u32::from(chance) / 255).await;
    true
}
