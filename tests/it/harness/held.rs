//! Gates between the servers and their provider, and between the servers and their database: a test holds answers back at
//! the one, and statements at the other, and so decides what happens meanwhile.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use patchbay::db::Watch;
use tokio::sync::oneshot;

use super::Stage;

/// Holds nothing until it is told to.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<Vec<Hold>>>);

/// The next answer of these paths is to be held.
struct Hold {
    path: String,
    arrived: oneshot::Sender<()>,
    let_go: oneshot::Receiver<()>,
}

/// An answer that is held, or will be. It goes its way when this is dropped.
pub struct Held {
    arrived: oneshot::Receiver<()>,
    _let_go: oneshot::Sender<()>,
}

impl Gate {
    pub(super) fn around(&self, provider: Router) -> Router {
        let gate = self.clone();
        provider.layer(from_fn(move |request: Request, next: Next| gate.clone().pass(request, next)))
    }

    async fn pass(self, request: Request, next: Next) -> Response {
        let hold = self.hold_of(request.uri().path());
        // What was asked for is done before its answer is held.
        let answer = next.run(request).await;
        if let Some(hold) = hold {
            // Whoever waits for it may have gone.
            let _ = hold.arrived.send(());
            let _ = hold.let_go.await;
        }
        answer
    }

    fn hold_of(&self, path: &str) -> Option<Hold> {
        let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = holds.iter().position(|hold| path.starts_with(&hold.path))?;
        Some(holds.remove(place))
    }
}

impl Stage {
    /// Holds the provider's next answer to a path that begins so.
    pub fn holds(&self, path: &str) -> Held {
        let ((arrives, arrived), (lets_go, let_go)) = (oneshot::channel(), oneshot::channel());
        let hold = Hold { path: path.to_owned(), arrived: arrives, let_go };
        self.world.gate.0.lock().unwrap_or_else(PoisonError::into_inner).push(hold);
        Held { arrived, _let_go: lets_go }
    }
}

impl Held {
    /// Returns once the provider has done what it was asked, and its answer is held.
    pub async fn arrived(&mut self) {
        let patience = std::time::Duration::from_secs(20);
        tokio::time::timeout(patience, &mut self.arrived).await.expect("nobody asked the provider").unwrap();
    }

    /// Lets the answer go.
    pub fn goes_on(self) {}
}

/// The statements that servers send to their database.
#[derive(Clone, Default)]
pub struct Statements(Arc<Mutex<Sent>>);

#[derive(Default)]
struct Sent {
    sent: Vec<String>,
    /// What the next statement has in it that is to be held.
    holds: Vec<(Vec<String>, oneshot::Sender<()>, mpsc::Receiver<()>)>,
}

/// A statement that is held before the database hears of it, or will be. It goes its way when this is dropped.
pub struct HeldStatement {
    arrived: oneshot::Receiver<()>,
    _let_go: mpsc::Sender<()>,
}

impl Statements {
    /// For [`Setup::statements`](super::Setup).
    pub fn watch(&self) -> Watch {
        let all = self.clone();
        Watch::new(move |statement| {
            let hold = {
                let mut sent = all.0.lock().unwrap_or_else(PoisonError::into_inner);
                sent.sent.push(statement.sql.clone());
                let is_meant = |parts: &[String]| parts.iter().all(|part| statement.sql.contains(part));
                let place = sent.holds.iter().position(|(parts, ..)| is_meant(parts));
                place.map(|place| sent.holds.remove(place))
            };
            if let Some((_, arrived, let_go)) = hold {
                let _ = arrived.send(());
                // Other tasks go on meanwhile, on other threads.
                let _ = tokio::task::block_in_place(|| let_go.recv());
            }
        })
    }

    /// Holds the next statement that has all of this in it.
    pub fn holds(&self, parts: &[&str]) -> HeldStatement {
        let ((arrives, arrived), (lets_go, let_go)) = (oneshot::channel(), mpsc::channel());
        let hold = (parts.iter().map(|part| (*part).to_owned()).collect(), arrives, let_go);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).holds.push(hold);
        HeldStatement { arrived, _let_go: lets_go }
    }

    /// What was sent since the last time.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).sent)
    }
}

impl HeldStatement {
    /// Returns once the server is about to send it.
    pub async fn arrived(&mut self) {
        super::within_patience(&mut self.arrived).await.unwrap();
    }

    /// Lets it go.
    pub fn goes_on(self) {}
}
