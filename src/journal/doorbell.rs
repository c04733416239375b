//! Doorbells: they carry no truth, only "look". A ring that is lost is made up for by the feeds' slow tick.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sea_orm::{
    ConnectionTrait, DatabaseBackend, Statement,
    sqlx::{self, Executor, postgres::PgListener},
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::feed::Feeds;
use crate::{
    db::Db,
    error::{Error, Result},
    tasks::{Rounds, TaskError, Tasks, round_limit},
};

/// The PostgreSQL channel.
const CHANNEL: &str = "patchbay_doorbell";
/// Rings of one workspace within this time are one.
const COALESCED: Duration = Duration::from_millis(10);
/// How long to wait before listening again after the database was away.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a loop that only waits says that it is there.
const STILL_THERE: Duration = Duration::from_secs(60);
/// What the log and the numbers call the loops.
const LISTENS: &str = "doorbell's listening";
const TELLS: &str = "doorbell's telling";

/// Wakes the feeds of this node, and of the others where there are others.
pub(super) struct Doorbell {
    feeds: Arc<Feeds>,
    others: Option<Others>,
}

/// The other nodes on the same PostgreSQL.
struct Others {
    rings: mpsc::UnboundedSender<Uuid>,
    _loops: [AbortOnDropHandle<Result<(), TaskError>>; 2],
}

impl Doorbell {
    pub(super) async fn new(db: &Db, feeds: Arc<Feeds>, tasks: &Tasks) -> Result<Self> {
        let others = if db.is_sqlite() { None } else { Some(Others::new(db, &feeds, tasks).await?) };
        Ok(Self { feeds, others })
    }

    pub(super) fn ring(&self, workspace: Uuid) {
        self.feeds.wake(workspace);
        if let Some(others) = &self.others {
            // The receiver ends only with the doorbell itself.
            let _ = others.rings.send(workspace);
        }
    }
}

impl Others {
    async fn new(db: &Db, feeds: &Arc<Feeds>, tasks: &Tasks) -> Result<Self> {
        let (rings, rung) = mpsc::unbounded_channel();
        let listener = start_listening(db).await.map_err(unavailable)?;
        let rounds = |name| tasks.watch(name, round_limit(STILL_THERE));
        let listening = tasks.beside(LISTENS, listen(db.clone(), listener, Arc::clone(feeds), rounds(LISTENS)));
        let telling = tasks.beside(TELLS, tell(db.clone(), rung, rounds(TELLS)));
        Ok(Self { rings, _loops: [listening, telling] })
    }
}

fn unavailable(error: sqlx::Error) -> Error {
    Error::internal(error.to_string())
}

/// A listener with a pool of its own, so that one whose database fell silent keeps nothing from the next.
async fn start_listening(db: &Db) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(&db.own_pool().ok_or(sqlx::Error::PoolClosed)?).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

async fn listen(db: Db, listener: PgListener, feeds: Arc<Feeds>, mut rounds: Rounds) {
    let mut listener = Some(listener);
    loop {
        let heard = rounds.round(hear(&db, &mut listener, &feeds)).await;
        if let Some(Err(error)) = &heard {
            tracing::warn!(%error, "not listening for rings of other nodes; trying again");
        }
        if !matches!(heard, Some(Ok(()))) {
            listener = None;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Waits for the next ring, for a while, then sees that the database is still there; begins to listen where nothing does.
async fn hear(db: &Db, listener: &mut Option<PgListener>, feeds: &Feeds) -> Result<(), sqlx::Error> {
    let listening = match listener {
        Some(listening) => listening,
        None => {
            let again = listener.insert(start_listening(db).await?);
            // Rings may have been missed.
            feeds.wake_all();
            again
        }
    };
    // A listener never hears that its database fell silent: after some quiet it asks.
    // Giving up waiting loses nothing that has arrived: the next call reads it.
    match tokio::time::timeout(db.deadline(), listening.try_recv()).await {
        Ok(Ok(Some(ring))) => match ring.payload().parse() {
            Ok(workspace) => feeds.wake(workspace),
            Err(_) => tracing::warn!("a ring that names no workspace"),
        },
        // The listener lost the database and found it again: rings may have been missed.
        Ok(Ok(None)) => feeds.wake_all(),
        Ok(Err(error)) => return Err(error),
        Err(_) => {
            let asked = tokio::time::timeout(db.deadline() / 2, listening.execute("SELECT 1")).await;
            asked.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        }
    }
    Ok(())
}

async fn tell(db: Db, mut rung: mpsc::UnboundedReceiver<Uuid>, mut rounds: Rounds) {
    loop {
        match tokio::time::timeout(STILL_THERE, rung.recv()).await {
            Ok(Some(first)) => {
                rounds.round(pass_on(&db, first, &mut rung)).await;
            }
            Ok(None) => return,
            Err(_) => rounds.come_round(),
        }
    }
}

/// Tells the other nodes of `first` and of what was rung with it.
async fn pass_on(db: &Db, first: Uuid, rung: &mut mpsc::UnboundedReceiver<Uuid>) {
    tokio::time::sleep(COALESCED).await;
    let mut workspaces = BTreeSet::from([first]);
    while let Ok(another) = rung.try_recv() {
        workspaces.insert(another);
    }
    for workspace in workspaces {
        let values = [CHANNEL.into(), workspace.to_string().into()];
        let ring = Statement::from_sql_and_values(DatabaseBackend::Postgres, "SELECT pg_notify($1, $2)", values);
        // Beside the handles of requests: a busy server rings as well.
        if let Err(error) = db.leases().execute_raw(ring).await {
            tracing::warn!(%error, "the other nodes were not rung; they look by themselves soon");
        }
    }
}
