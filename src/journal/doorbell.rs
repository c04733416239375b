//! Doorbells: they carry no truth, only "look". A ring that is lost is made up for by the feeds' slow tick.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sea_orm::{ConnectionTrait, DatabaseBackend, Statement, sqlx::postgres::PgListener};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::feed::Feeds;
use crate::{db::Db, error::Result};

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
        let mut listener = PgListener::connect_with(db.reader().get_postgres_connection_pool())
            .await
            .map_err(|error| crate::error::Error::internal(error.to_string()))?;
        listener.listen(CHANNEL).await.map_err(|error| crate::error::Error::internal(error.to_string()))?;
        let listening = AbortOnDropHandle::new(tokio::spawn(listen(listener, Arc::clone(feeds))));
        let telling = AbortOnDropHandle::new(tokio::spawn(tell(db.clone(), rung)));
        Ok(Self { rings, _tasks: [listening, telling] })
    }
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

async fn tell(db: Db, mut rung: mpsc::UnboundedReceiver<Uuid>) {
    while let Some(first) = rung.recv().await {
        tokio::time::sleep(COALESCED).await;
        let mut workspaces = BTreeSet::from([first]);
        while let Ok(another) = rung.try_recv() {
            workspaces.insert(another);
        }
        for workspace in workspaces {
            let notify = Statement::from_sql_and_values(
                DatabaseBackend::Postgres,
                "SELECT pg_notify($1, $2)",
                [CHANNEL.into(), workspace.to_string().into()],
            );
            if let Err(error) = db.writer().execute_raw(notify).await {
                tracing::warn!(%error, "the other nodes were not rung; they look by themselves soon");
            }
        }
    }
}
