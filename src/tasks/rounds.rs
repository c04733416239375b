//! Loops: each round's panic is caught, counted and told once, and the loop goes on; one that does not come round for
//! long is known by its name.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::Tasks;

/// How long a round may take, beside the pause between two: longer than a mail server may think about one letter.
const LONGEST_ROUND: Duration = Duration::from_secs(900);

/// When a loop counts as stuck that pauses for `pause` between two rounds.
pub fn round_limit(pause: Duration) -> Duration {
    pause.saturating_add(LONGEST_ROUND)
}

/// The loops there are.
#[derive(Default)]
pub(super) struct Watched {
    next: u64,
    loops: BTreeMap<u64, Arc<Loop>>,
}

struct Loop {
    name: &'static str,
    limit: Duration,
    came_round: Mutex<Instant>,
}

impl Loop {
    fn came_round(&self) -> MutexGuard<'_, Instant> {
        self.came_round.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rounds of one loop. A loop that ends gives them back; one that is torn down by a panic is known as stuck.
pub struct Rounds {
    tasks: Tasks,
    id: u64,
    own: Arc<Loop>,
    told: bool,
}

impl Tasks {
    /// Watches a loop, which counts as stuck when it does not come round within `limit`.
    pub fn watch(&self, name: &'static str, limit: Duration) -> Rounds {
        self.0.panics.watch(name);
        let mut watched = self.watched();
        let id = watched.next;
        watched.next += 1;
        let own = Arc::new(Loop { name, limit, came_round: Mutex::new(Instant::now()) });
        watched.loops.insert(id, own.clone());
        drop(watched);
        Rounds { tasks: self.clone(), id, own, told: false }
    }

    /// The loop `name` is alive, in the middle of a long round.
    pub fn come_round(&self, name: &'static str) {
        let now = Instant::now();
        let watched = self.watched();
        watched.loops.values().filter(|one| one.name == name).for_each(|one| *one.came_round() = now);
    }

    /// The names of the loops that have not come round for too long, each once.
    pub fn stuck(&self) -> Vec<&'static str> {
        let now = Instant::now();
        let watched = self.watched();
        let late = watched.loops.values().filter(|one| now.duration_since(*one.came_round()) > one.limit);
        let mut names: Vec<_> = late.map(|one| one.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rounds {
    /// Does one round. None where it panicked: the loop pauses as usual, and goes on.
    pub async fn round<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        self.come_round();
        let done = AssertUnwindSafe(work).catch_unwind().await;
        self.come_round();
        match done {
            Ok(done) => {
                self.told = false;
                Some(done)
            }
            Err(_) => {
                self.tasks.0.panics.count(self.own.name);
                // The panic hook logs the place of each; that the loop goes on is told once.
                if !std::mem::replace(&mut self.told, true) {
                    tracing::error!(task = self.own.name, "a round panicked; the loop goes on");
                }
                None
            }
        }
    }

    /// The loop is alive, also where it only waits.
    pub fn come_round(&self) {
        *self.own.came_round() = Instant::now();
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.tasks.watched().loops.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_loop_is_stuck_when_it_does_not_come_round() {
        let tasks = Tasks::default();
        let (mut first, second) = (tasks.watch("first", MINUTE), tasks.watch("second", 3 * MINUTE));
        tokio::time::advance(2 * MINUTE).await;
        assert_eq!(tasks.stuck(), ["first"]);
        assert_eq!(first.round(async { 7 }).await, Some(7));
        assert!(tasks.stuck().is_empty());
        tokio::time::advance(4 * MINUTE).await;
        assert_eq!(tasks.stuck(), ["first", "second"]);
        second.come_round();
        drop(first);
        assert!(tasks.stuck().is_empty(), "a loop that ended is not stuck");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_goes_on_after_a_panic_and_one_that_died_of_it_is_stuck() {
        let tasks = Tasks::default();
        let mut rounds = tasks.watch("loop", MINUTE);
        assert_eq!(rounds.round(async { panic!("on purpose") }).await, None::<()>);
        assert_eq!(rounds.round(async { 7 }).await, Some(7));
        assert_eq!(tasks.0.panics.of("loop"), 1);
        let died = tasks.beside("loop", async move {
            let _rounds = rounds;
            panic!("beside its rounds");
        });
        assert!(died.await.unwrap().is_err());
        tokio::time::advance(2 * MINUTE).await;
        assert_eq!(tasks.stuck(), ["loop"]);
    }
}
