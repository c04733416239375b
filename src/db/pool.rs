//! A pool of handles, to read or to write: each statement takes one, under its deadline, and gives it back.

use std::{
    fs::{OpenOptions, Permissions},
    io::ErrorKind,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    handle::{Handle, Watch, within},
    holders::Holders,
    share,
    transaction::Transaction,
};
use crate::{
    retries,
    shares::{Place, Shares},
    telemetry::Usage,
};
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseBackend, DatabaseConnection, DbErr, ExecResult, QueryResult, RuntimeErr,
    Statement,
    sqlx::{
        self, ConnectOptions, Connection, Executor, PgConnection, Postgres, Sqlite,
        pool::PoolOptions,
        postgres::PgConnectOptions,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};
use tokio::time::sleep;

/// How old a handle grows.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How long to wait before a SQLite file that is locked is opened once more.
const ASKED_AGAIN: Duration = Duration::from_millis(20);

/// Handles of one kind; cheap to clone. Every statement through it is on a handle of its own.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Inner,
    /// For a handle and the first statement on it together, and for each further one.
    deadline: Duration,
    /// None where whoever holds a transaction may ask for another handle all the same.
    holders: Option<Holders>,
    /// None where handles are held for a moment only.
    shares: Option<Shares>,
    watch: Option<Watch>,
}

#[derive(Clone, Debug)]
enum Inner {
    Postgres(sqlx::Pool<Postgres>),
    Sqlite(sqlx::Pool<Sqlite>),
}

impl Pool {
    /// Up to `size` handles of the PostgreSQL that `options` name; one is opened at once, to see that it is there.
    pub(super) async fn postgres(
        options: PgConnectOptions,
        size: u32,
        deadline: Duration,
    ) -> Result<Self, sqlx::Error> {
        let pool = postgres_pool(size, deadline).connect_with(options).await?;
        Ok(Self { inner: Inner::Postgres(pool), deadline, holders: None, shares: None, watch: None })
    }

    /// The same, opened when they are needed.
    pub(super) fn postgres_at_need(options: PgConnectOptions, size: u32, deadline: Duration) -> Self {
        let pool = postgres_pool(size, deadline).connect_lazy_with(options);
        Self { inner: Inner::Postgres(pool), deadline, holders: None, shares: None, watch: None }
    }

    /// Up to `size` handles of the SQLite file that `options` name. Who opens a new file makes it one with a write-ahead log,
    /// and SQLite tells others that come at that moment that it is locked, instead of letting them wait: they ask again.
    pub(super) async fn sqlite(
        options: SqliteConnectOptions,
        size: u32,
        deadline: Duration,
    ) -> Result<Self, sqlx::Error> {
        let pool = PoolOptions::new().max_connections(size).min_connections(0).acquire_timeout(deadline);
        let begun = Instant::now();
        let opened = loop {
            match pool.clone().connect_with(options.clone()).await {
                Err(error) if is_locked(&error) && begun.elapsed() < deadline => sleep(ASKED_AGAIN).await,
                opened => break opened?,
            }
        };
        Ok(Self { inner: Inner::Sqlite(opened), deadline, holders: None, shares: None, watch: None })
    }

    /// The same handles, where a piece of work holds one of them at most, and a workspace a part of them.
    pub(super) fn guarded(self, holders: &Holders) -> Self {
        let most = usize::try_from(self.usage().most).unwrap_or(usize::MAX);
        Self { holders: Some(holders.clone()), shares: Some(Shares::of(most)), ..self }
    }

    /// The same handles, for whoever holds one beside the work's.
    pub(super) fn unguarded(&self) -> Self {
        Self { holders: None, shares: None, ..self.clone() }
    }

    /// Tells `watch` of every statement from now on.
    pub(super) fn watch(&mut self, watch: &Watch) {
        self.watch = Some(watch.clone());
    }

    pub(super) async fn begin(&self) -> Result<Transaction, DbErr> {
        let handle = self.acquire().await?;
        Transaction::begin(handle, self.holders.as_ref().map(Holders::hold)).await
    }

    async fn acquire(&self) -> Result<Handle, DbErr> {
        if let Some(holders) = &self.holders {
            holders.check();
        }
        let begun = Instant::now();
        let place = self.place().await?;
        let handle = match &self.inner {
            Inner::Postgres(pool) => {
                let acquired = within(self.deadline, pool.acquire()).await.map_err(acquire_error)?;
                Handle::postgres(acquired, self.deadline, self.watch.clone())
            }
            Inner::Sqlite(pool) => {
                let acquired = within(self.deadline, pool.acquire()).await.map_err(acquire_error)?;
                Handle::sqlite(acquired, self.deadline, self.watch.clone())
            }
        };
        Ok(handle.in_place(place).after(begun.elapsed()))
    }

    /// A place for the workspace whose work this is.
    async fn place(&self) -> Result<Option<Place>, DbErr> {
        let (Some(shares), Some(workspace)) = (&self.shares, share::workspace()) else { return Ok(None) };
        let place = shares.take_within(self.deadline, workspace).await;
        place.map(Some).ok_or(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))
    }

    /// A lease is no work: it is taken again, or ends by itself.
    fn note_written(&self) {
        if self.holders.is_some() {
            retries::note_done();
        }
    }

    /// What gives rows back may have written them.
    fn note_asked(&self, statement: &Statement) {
        if !statement.sql.starts_with("SELECT") {
            self.note_written();
        }
    }

    /// How a handle of this PostgreSQL is opened.
    pub(super) fn postgres_options(&self) -> Option<PgConnectOptions> {
        match &self.inner {
            Inner::Postgres(pool) => Some((*pool.connect_options()).clone()),
            Inner::Sqlite(_) => None,
        }
    }

    /// The same handles as SeaORM's migrator takes them: without any deadline.
    pub(super) fn unhurried(&self) -> DatabaseConnection {
        match &self.inner {
            Inner::Postgres(pool) => pool.clone().into(),
            Inner::Sqlite(pool) => pool.clone().into(),
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let (open, idle, most) = match &self.inner {
            Inner::Postgres(pool) => (pool.size(), pool.num_idle(), pool.options().get_max_connections()),
            Inner::Sqlite(pool) => (pool.size(), pool.num_idle(), pool.options().get_max_connections()),
        };
        Usage { open, idle: u32::try_from(idle).unwrap_or(u32::MAX), most }
    }

    /// Closes every handle, once it is given back.
    pub(super) async fn close(&self) {
        match &self.inner {
            Inner::Postgres(pool) => pool.close().await,
            Inner::Sqlite(pool) => pool.close().await,
        }
    }
}

#[sea_orm::prelude::async_trait::async_trait]
impl ConnectionTrait for Pool {
    fn get_database_backend(&self) -> DatabaseBackend {
        match self.inner {
            Inner::Postgres(_) => DatabaseBackend::Postgres,
            Inner::Sqlite(_) => DatabaseBackend::Sqlite,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.acquire().await?.execute(&statement).await.inspect(|_| self.note_written())
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.acquire().await?.execute_unprepared(sql).await.inspect(|_| self.note_written())
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.acquire().await?.query_one(&statement).await.inspect(|_| self.note_asked(&statement))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.acquire().await?.query_all(&statement).await.inspect(|_| self.note_asked(&statement))
    }
}

/// A pool of PostgreSQL whose idle handles show under a deadline that they still work.
pub(super) fn postgres_pool(size: u32, deadline: Duration) -> PoolOptions<Postgres> {
    // Whoever waits for a statement longer than this side does is stopped by the server itself, so that it neither
    // works for a client that is gone nor holds its locks.
    let told = settings(deadline);
    PoolOptions::new()
        .max_connections(size)
        .min_connections(0)
        .acquire_timeout(deadline)
        // Both would be judged where there is no deadline: when a handle comes back.
        .max_lifetime(None)
        .test_before_acquire(false)
        // One that is silent is closed, and another opened within the same deadline.
        .before_acquire(move |handle: &mut PgConnection, about| {
            Box::pin(async move {
                if about.age > LIFETIME {
                    return Ok(false);
                }
                within(deadline / 5, handle.ping()).await.map(|()| true)
            })
        })
        .after_connect(move |handle: &mut PgConnection, _| {
            let told = told.clone();
            Box::pin(async move { handle.execute(sqlx::AssertSqlSafe(told)).await.map(drop) })
        })
}

/// What the server is told of each handle: how long it lets a statement run or wait, and how soon it notices that this
/// side is gone. Settings that it does not have are left out. Said by a statement, since a pooler on the way would refuse
/// them when the handle is opened.
fn settings(statement: Duration) -> String {
    let milliseconds = |part: u32| (statement * part / 10).as_millis().to_string();
    let told = [
        ("statement_timeout", milliseconds(9)),
        ("lock_timeout", milliseconds(8)),
        ("idle_in_transaction_session_timeout", milliseconds(30)),
        ("tcp_keepalives_idle", "10".to_owned()),
        ("tcp_keepalives_interval", "5".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
    ];
    let told: Vec<String> = told.into_iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    format!(
        "SELECT set_config(known.name, told.value, false) FROM (VALUES {}) AS told (name, value) \
         JOIN pg_settings AS known ON known.name = told.name",
        told.join(", ")
    )
}

/// How to reach the PostgreSQL of `url`.
pub(super) fn postgres_options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    Ok(options.disable_statement_logging())
}

/// How to open the SQLite file of `url`, which is made where it is not there.
pub(super) fn sqlite_options(url: &str, deadline: Duration) -> Result<SqliteConnectOptions, sqlx::Error> {
    let separator = if url.contains('?') { '&' } else { '?' };
    let options: SqliteConnectOptions = format!("{url}{separator}mode=rwc").parse()?;
    // What is kept in memory alone has a name, too.
    if !url.contains(":memory:") {
        create_for_owner(options.get_filename());
    }
    Ok(options
        .disable_statement_logging()
        .journal_mode(SqliteJournalMode::Wal)
        // With FULL, what was answered survives a power cut as well.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // A removed secret leaves the file, not only the table.
        .pragma("secure_delete", "ON")
        // It says itself that it is busy, before whoever waits gives up.
        .busy_timeout(deadline * 9 / 10))
}

/// Creates a file that its owner alone may read and write, whatever the process's mask says. SQLite gives what it puts beside
/// it (`-wal`, `-shm`) the same rights. One that is there stays as it is; where none can be created, opening says why.
#[cfg(unix)]
fn create_for_owner(path: &Path) {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    const OWNER: u32 = 0o600;
    let created = OpenOptions::new().write(true).create_new(true).mode(OWNER).open(path);
    // A mask can only have taken rights away.
    if let Err(error) = created.and_then(|file| file.set_permissions(Permissions::from_mode(OWNER))) {
        tracing::debug!(%error, "no database file was created");
    }
}

#[cfg(not(unix))]
fn create_for_owner(_path: &Path) {}

/// Whether a SQLite file could not be opened because another process has it (SQLITE_BUSY, in the low byte of the code).
fn is_locked(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: u32 = 5;
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

pub(super) fn acquire_error(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::Io(error) if error.kind() == ErrorKind::TimedOut => {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)
        }
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        other => DbErr::Conn(RuntimeErr::SqlxError(other.into())),
    }
}
