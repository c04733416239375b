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
};

/// The PostgreSQL channel.
const CHANNEL: &str = "patchbay_doorbell";
/// Rings of one workspace within this time are one.
const COALESCED: Duration = Duration::from_millis(10);
/// How long to wait before listening again after the database was away.
const PAUSE: Duration = Duration::from_secs(1);

/// Wakes the feeds of this node, and of the others where there are others.
pub(super) struct Doorbell {
    feeds: Arc<Feeds>,
    others: Option<Others>,
}

/// The other nodes on the same PostgreSQL.
struct Others {
    rings: mpsc::UnboundedSender<Uuid>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Doorbell {
    pub(super) async fn new(db: &Db, feeds: Arc<Feeds>) -> Result<Self> {
        let others = if db.is_sqlite() { None } else { Some(Others::new(db, &feeds).await?) };
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
    async fn new(db: &Db, feeds: &Arc<Feeds>) -> Result<Self> {
        let (rings, rung) = mpsc::unbounded_channel();
        let pool = own_pool(db).await.map_err(unavailable)?;
        let mut listener = PgListener::connect_with(&pool).await.map_err(unavailable)?;
        listener.listen(CHANNEL).await.map_err(unavailable)?;
        let listening = AbortOnDropHandle::new(tokio::spawn(listen(listener, Arc::clone(feeds))));
        let telling = AbortOnDropHandle::new(tokio::spawn(tell(pool, rung)));
        Ok(Self { rings, _tasks: [listening, telling] })
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

async fn listen(mut listener: PgListener, feeds: Arc<Feeds>) {
    loop {
        match listener.try_recv().await {
            Ok(Some(ring)) => match ring.payload().parse() {
                Ok(workspace) => feeds.wake(workspace),
                Err(_) => tracing::warn!("a ring that names no workspace"),
            },
            // The listener lost the database and found it again: rings may have been missed.
            Ok(None) => feeds.wake_all(),
            Err(error) => {
                tracing::warn!(%error, "not listening for rings of other nodes; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn tell(pool: PgPool, mut rung: mpsc::UnboundedReceiver<Uuid>) {
    while let Some(first) = rung.recv().await {
        tokio::time::sleep(COALESCED).await;
        let mut workspaces = BTreeSet::from([first]);
        while let Ok(another) = rung.try_recv() {
            workspaces.insert(another);
        }
        for workspace in workspaces {
            let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(workspace.to_string());
            if let Err(error) = notify.execute(&pool).await {
                tracing::warn!(%error, "the other nodes were not rung; they look by themselves soon");
            }
        }
    }
}
