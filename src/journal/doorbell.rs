//! Doorbells: they carry no truth, only "look". A ring that is lost is made up for by the feeds' slow tick.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sea_orm::sqlx::{
    self, PgPool,
    postgres::{PgListener, PgPoolOptions},
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
        let pool = own_pool(db).await.map_err(unavailable)?;
        let mut listener = PgListener::connect_with(&pool).await.map_err(unavailable)?;
        listener.listen(CHANNEL).await.map_err(unavailable)?;
        let rounds = |name| tasks.watch(name, round_limit(STILL_THERE));
        let listening = tasks.beside(LISTENS, listen(listener, Arc::clone(feeds), rounds(LISTENS)));
        let telling = tasks.beside(TELLS, tell(pool, rung, rounds(TELLS)));
        Ok(Self { rings, _loops: [listening, telling] })
    }
}

/// One connection to listen and one to tell, of the doorbell's own: a busy server rings as well.
async fn own_pool(db: &Db) -> Result<PgPool, sqlx::Error> {
    let address = db.reader().get_postgres_connection_pool().connect_options();
    PgPoolOptions::new().max_connections(2).connect_with((*address).clone()).await
}

fn unavailable(error: sqlx::Error) -> Error {
    Error::internal(error.to_string())
}

async fn listen(mut listener: PgListener, feeds: Arc<Feeds>, mut rounds: Rounds) {
    loop {
        if rounds.round(hear(&mut listener, &feeds)).await != Some(true) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Waits for the next ring, for a while; false where the database is away.
async fn hear(listener: &mut PgListener, feeds: &Feeds) -> bool {
    // Giving up waiting loses nothing that has arrived: the next call reads it.
    match tokio::time::timeout(STILL_THERE, listener.try_recv()).await {
        Ok(Ok(Some(ring))) => match ring.payload().parse() {
            Ok(workspace) => feeds.wake(workspace),
            Err(_) => tracing::warn!("a ring that names no workspace"),
        },
        // The listener lost the database and found it again: rings may have been missed.
        Ok(Ok(None)) => feeds.wake_all(),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not listening for rings of other nodes; trying again");
            return false;
        }
        Err(_) => {}
    }
    true
}

async fn tell(pool: PgPool, mut rung: mpsc::UnboundedReceiver<Uuid>, mut rounds: Rounds) {
    loop {
        match tokio::time::timeout(STILL_THERE, rung.recv()).await {
            Ok(Some(first)) => {
                rounds.round(pass_on(&pool, first, &mut rung)).await;
            }
            Ok(None) => return,
            Err(_) => rounds.come_round(),
        }
    }
}

/// Tells the other nodes of `first` and of what was rung with it.
async fn pass_on(pool: &PgPool, first: Uuid, rung: &mut mpsc::UnboundedReceiver<Uuid>) {
    tokio::time::sleep(COALESCED).await;
    let mut workspaces = BTreeSet::from([first]);
    while let Ok(another) = rung.try_recv() {
        workspaces.insert(another);
    }
    for workspace in workspaces {
        let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(workspace.to_string());
        if let Err(error) = notify.execute(pool).await {
            tracing::warn!(%error, "the other nodes were not rung; they look by themselves soon");
        }
    }
}
