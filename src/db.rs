//! The database: SQLite in one file, or PostgreSQL.
//!
//! SQLite takes one writer at a time, so writes go through a pool of one and begin IMMEDIATE; reads have a pool of
//! their own. PostgreSQL uses one pool for both. Leases, rings and the question whether the database answers have handles
//! of their own there, so that a server whose every handle is at work keeps what it has claimed.
//!
//! No statement waits without end: each has a deadline, on both sides. What is read and written between begin and commit
//! goes through the [`Transaction`], and asks the pool for no other handle.
//!
//! | file | owns |
//! | --- | --- |
//! | `pool.rs` | opening handles, and what their server is told of them |
//! | `handle.rs` | one handle: deadlines, and the way back to its pool |
//! | `transaction.rs` | one handle from begin to commit |
//! | `holders.rs` | that a piece of work holds one handle |
//! | `share.rs` | that a workspace's work leaves handles to the others |

mod handle;
mod holders;
mod pool;
mod share;
mod transaction;

use std::time::Duration;

use chrono::{DateTime, Utc};
use migration::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectionTrait, DatabaseBackend, DbErr, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
    sqlx::{self, PgPool},
};

use self::holders::Holders;
use crate::telemetry::Usage;

pub use self::{handle::Watch, holders::beside, pool::Pool, share::of_workspace, transaction::Transaction};

/// How many more there are for leases, rings, and to see whether the database answers. They are held for a moment each.
const LEASES: u32 = 3;
/// How long a request waits for a handle, and for each of its statements.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// How long pools wait for their handles when they are closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// Where the PostgreSQL of `url` is: its host, its port, and the database's name. None for SQLite, and for a socket file.
pub fn place_of(url: &str) -> Option<(String, u16, String)> {
    if url.starts_with("sqlite:") {
        return None;
    }
    let options = pool::postgres_options(url).ok()?;
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    let is_file = options.get_socket().is_some() || options.get_host().starts_with('/');
    (!is_file).then(|| (options.get_host().to_owned(), options.get_port(), database.to_owned()))
}

/// Handles to read and to write; cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    reader: Pool,
    writer: Pool,
    leases: Pool,
    deadline: Duration,
}

impl Db {
    /// Opens `url` (`sqlite://file` or `postgres://…`) with up to `size` handles, creating a SQLite file that is not there.
    pub async fn open(url: &str, size: u32) -> Result<Self, DbErr> {
        Self::open_within(url, size, DEADLINE).await
    }

    /// The same, with another deadline than [`DEADLINE`].
    pub async fn open_within(url: &str, size: u32, deadline: Duration) -> Result<Self, DbErr> {
        Self::opened(url, size, deadline).await.map_err(pool::acquire_error)
    }

    async fn opened(url: &str, size: u32, deadline: Duration) -> Result<Self, sqlx::Error> {
        let holders = Holders::default();
        if !url.starts_with("sqlite:") {
            let options = pool::postgres_options(url)?;
            let pool = Pool::postgres(options.clone(), size, deadline).await?.guarded(&holders);
            // Shorter, since a lease has to be kept up before it ends.
            let leases = Pool::postgres_at_need(options, LEASES, deadline * 2 / 5);
            return Ok(Self { reader: pool.clone(), writer: pool, leases, deadline });
        }
        let options = pool::sqlite_options(url, deadline)?;
        let writer = Pool::sqlite(options.clone(), 1, deadline).await?.guarded(&holders);
        let reader = Pool::sqlite(options, size, deadline).await?.guarded(&holders);
        // There is one writer. Work under a lease that holds it goes on beside whoever waits to keep the lease up.
        let leases = writer.unguarded();
        Ok(Self { reader, writer, leases, deadline })
    }

    /// How long anything may be waited for that the database is asked.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The same, where `watch` is told of every statement.
    #[must_use]
    pub fn watched(mut self, watch: &Watch) -> Self {
        for pool in [&mut self.reader, &mut self.writer, &mut self.leases] {
            pool.watch(watch);
        }
        self
    }

    /// For reading.
    pub fn reader(&self) -> &Pool {
        &self.reader
    }

    /// A transaction that writes.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        self.writer.begin().await
    }

    /// For a single statement that writes.
    pub fn writer(&self) -> &Pool {
        &self.writer
    }

    /// For a single statement about a lease, beside work that may hold other handles.
    pub fn leases(&self) -> &Pool {
        &self.leases
    }

    /// A transaction about a lease, beside work that may hold other handles.
    pub async fn begin_lease(&self) -> Result<Transaction, DbErr> {
        self.leases.begin().await
    }

    /// Brings the tables up to date, all the way or not at all. Several processes may try at once: one does it, the others
    /// wait. It takes as long as it takes.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        // On SQLite this is the one writer already.
        let turn = self.writer.unhurried().begin_with_options(options).await?;
        if !self.is_sqlite() {
            let unhurried = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
                             SET LOCAL idle_in_transaction_session_timeout = 0";
            turn.execute_unprepared(unhurried).await?;
            // Held until this transaction ends; the number only has to be ours.
            turn.execute_unprepared("SELECT pg_advisory_xact_lock(4711202611)").await?;
        }
        Migrator::up(&turn, None).await?;
        turn.commit().await
    }

    /// Lets SQLite look at how its tables have grown, since its plans go by that; PostgreSQL does so by itself. It looks at
    /// all of a table that is ten times what it was, and at no other: a sample says of a table with one workspace that it
    /// has many small ones. It takes as long as it takes, a few seconds at a million connections.
    pub async fn optimize(&self) -> Result<(), DbErr> {
        if self.is_sqlite() {
            // 0x10000: all tables; 0x02: ANALYZE where it is due.
            self.writer.unhurried().execute_unprepared("PRAGMA optimize = 0x10002").await?;
        }
        Ok(())
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbErr> {
        let asked = if self.is_sqlite() { &self.reader } else { &self.leases };
        asked.execute_unprepared("SELECT 1").await.map(drop)
    }

    /// How far each pool is used, by its name.
    pub fn pools(&self) -> Vec<(&'static str, Usage)> {
        if self.is_sqlite() {
            vec![("reader", self.reader.usage()), ("writer", self.writer.usage())]
        } else {
            vec![("shared", self.reader.usage()), ("leases", self.leases.usage())]
        }
    }

    /// Whether this is SQLite.
    pub fn is_sqlite(&self) -> bool {
        self.reader.get_database_backend() == DatabaseBackend::Sqlite
    }

    /// The database's own time, by which deadlines between nodes go. SQLite has one node: its clock, `now`, serves.
    /// Within a transaction, ask [that](Transaction::time).
    pub async fn time(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, DbErr> {
        time_of(&self.leases, now).await
    }

    /// A pool of one handle, for what listens; none on SQLite. It is the listener's to close.
    pub fn own_pool(&self) -> Option<PgPool> {
        let options = self.reader.postgres_options()?;
        Some(pool::postgres_pool(1, self.deadline / 2).connect_lazy_with(options))
    }

    /// Closes every pool. Handles that are not given back in time are left to the end of the process.
    pub async fn close(self) {
        let closing = async { tokio::join!(self.writer.close(), self.reader.close(), self.leases.close()) };
        if tokio::time::timeout(CLOSED_WITHIN.min(self.deadline), closing).await.is_err() {
            tracing::warn!("the database did not take leave in time");
        }
    }
}

async fn time_of(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<DateTime<Utc>, DbErr> {
    if db.get_database_backend() == DatabaseBackend::Sqlite {
        return Ok(now);
    }
    let statement = Statement::from_string(DatabaseBackend::Postgres, "SELECT clock_timestamp() AS at");
    let row = db.query_one_raw(statement).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("the database's time".to_owned()))?.try_get("", "at")
}
