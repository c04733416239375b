//! Tasks: an effect that has begun is finished, whether or not its caller is still there, and a stopping server waits for it.
//!
//! This room starts every task of the server and catches what panics in one. What a task does is for the room that
//! starts it to say; a loop's rounds are in `tasks/rounds.rs`.
//!
//! | started by | when its caller leaves | when the server stops |
//! | --- | --- | --- |
//! | [`Tasks::spawn`] | goes on | is waited for: what it does must not be lost |
//! | [`Tasks::beside`] | ends with its handle | is cut off: nothing is lost by that |

mod rounds;

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument;

use rounds::Watched;
pub use rounds::{Rounds, round_limit};

use crate::telemetry::Panics;

/// The tasks of a server; cheap to clone.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tracker: TaskTracker,
    running: Mutex<BTreeMap<&'static str, usize>>,
    watched: Mutex<Watched>,
    panics: Panics,
}

/// A task panicked; the place of the panic is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task {0} panicked, or was cut off")]
pub struct TaskError(pub &'static str);

impl Tasks {
    /// Tasks whose panics are counted by `panics`.
    pub fn new(panics: Panics) -> Self {
        Self(Arc::new(Inner { panics, ..Inner::default() }))
    }

    /// Starts an effect. It goes on when the handle is dropped, and [`drained`](Self::drained) waits for it.
    #[expect(clippy::disallowed_methods, reason = "this is where tasks are started")]
    pub fn spawn<F>(&self, name: &'static str, work: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let running = self.enter(name);
        let caught = self.caught(name, work);
        let tracked = async move {
            let _running = running;
            caught.await
        };
        Task { name, running: self.0.tracker.spawn(tracked.in_current_span()) }
    }

    /// Starts work by which nothing is lost when it is cut off: it ends with its handle, unless that is detached, and
    /// stopping does not wait for it.
    #[expect(clippy::disallowed_methods, reason = "this is where tasks are started")]
    pub fn beside<F>(&self, name: &'static str, work: F) -> AbortOnDropHandle<Result<F::Output, TaskError>>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        AbortOnDropHandle::new(tokio::spawn(self.caught(name, work)))
    }

    /// Makes [`drained`](Self::drained) wait until what is returned is dropped: for work that another library starts.
    pub fn enter(&self, name: &'static str) -> Entered {
        *self.running().entry(name).or_default() += 1;
        Entered { tasks: self.clone(), name, _token: self.0.tracker.token() }
    }

    /// Returns once every effect has ended, those that were started meanwhile included.
    pub async fn drained(&self) {
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }

    /// What has not ended, for the log: each name with how many there are.
    pub fn unfinished(&self) -> String {
        let running = self.running();
        let named: Vec<_> = running.iter().map(|(name, count)| format!("{count} × {name}")).collect();
        named.join(", ")
    }

    /// `work`, with what panics in it caught and counted. The panic hook logs the place.
    fn caught<F: Future>(
        &self,
        name: &'static str,
        work: F,
    ) -> impl Future<Output = Result<F::Output, TaskError>> + use<F> {
        let panics = self.0.panics.clone();
        AssertUnwindSafe(work).catch_unwind().map(move |done| {
            done.map_err(|_| {
                panics.count(name);
                tracing::error!(task = name, "a task panicked, and ended by that");
                TaskError(name)
            })
        })
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`Tasks::drained`] waits for.
pub struct Entered {
    tasks: Tasks,
    name: &'static str,
    _token: tokio_util::task::task_tracker::TaskTrackerToken,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut running = self.tasks.running();
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.name);
            }
        }
    }
}

/// An effect that runs. It gives what the effect came to; dropping it stops nothing.
#[derive(Debug)]
pub struct Task<T> {
    name: &'static str,
    running: JoinHandle<Result<T, TaskError>>,
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let name = self.name;
        Pin::new(&mut self.running).poll(context).map(|joined| joined.unwrap_or(Err(TaskError(name))))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn an_effect_goes_on_without_its_caller_and_is_waited_for() {
        let (tasks, (go, gone), (done, ended)) = (Tasks::default(), oneshot::channel(), oneshot::channel());
        let effect = async move {
            let told: Result<(), _> = gone.await;
            done.send(told.is_ok())
        };
        drop(tasks.spawn("effect", effect));
        assert_eq!(tasks.unfinished(), "1 × effect");
        assert!(tasks.drained().now_or_never().is_none(), "stopping does not wait");
        go.send(()).unwrap();
        tasks.drained().await;
        assert_eq!((ended.await, tasks.unfinished().as_str()), (Ok(true), ""));
    }

    #[tokio::test]
    async fn what_an_effect_starts_when_the_server_stops_already_is_waited_for_as_well() {
        let (tasks, (done, ended)) = (Tasks::default(), oneshot::channel());
        let (outer, go) = (tasks.clone(), tokio::sync::Notify::new());
        let go = Arc::new(go);
        let told = go.clone();
        tasks.spawn("outer", async move {
            told.notified().await;
            outer.spawn("inner", async move {
                tokio::task::yield_now().await;
                done.send(())
            });
        });
        let draining = tasks.drained();
        tokio::pin!(draining);
        assert!(draining.as_mut().now_or_never().is_none());
        go.notify_one();
        draining.await;
        assert_eq!(ended.await, Ok(()));
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_task_and_is_counted() {
        let tasks = Tasks::default();
        let spawned: Result<(), _> = tasks.spawn("broken", async { panic!("on purpose") }).await;
        let beside: Result<(), _> = tasks.beside("broken", async { panic!("on purpose") }).await.unwrap();
        assert_eq!((spawned, beside), (Err(TaskError("broken")), Err(TaskError("broken"))));
        assert_eq!(tasks.0.panics.of("broken"), 2);
        tasks.drained().await;
    }

    #[tokio::test]
    async fn what_runs_beside_ends_with_its_handle_and_holds_nothing_up() {
        let (tasks, (held, freed)) = (Tasks::default(), oneshot::channel::<()>());
        let beside = tasks.beside("beside", async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        tasks.drained().await;
        drop(beside);
        assert!(freed.await.is_err(), "it was cut off");
    }
}
