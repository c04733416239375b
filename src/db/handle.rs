//! One handle of a pool: runs statements under a deadline, and goes back to its pool under one.
//!
//! sqlx tests a handle that comes back by asking the database, and waits for the answer without end, so a database that
//! fell silent would keep every place of the pool. Here a handle that missed a deadline is closed and never used again,
//! and the way back of every other one has a deadline of its own: its place in the pool is free after it, whatever
//! the database does.

use std::{fmt, future::Future, io::ErrorKind, sync::Arc, time::Duration};

use sea_orm::{
    DatabaseBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values,
    sqlx::{self, AssertSqlSafe, Database, Executor, Postgres, SqlSafeStr, Sqlite, pool::PoolConnection, query::Query},
};
use sea_query_sqlx::SqlxValues;
use sqlx_core::transaction::TransactionManager;

use crate::shares::Place;

/// Is told of statements as they are sent; cheap to clone.
#[derive(Clone)]
pub struct Watch(Arc<dyn Fn(&Statement) + Send + Sync>);

impl Watch {
    pub fn new(watch: impl Fn(&Statement) + Send + Sync + 'static) -> Self {
        Self(Arc::new(watch))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Watch")
    }
}

/// A database handle that belongs to its holder until it is dropped.
pub(super) struct Handle {
    inner: Inner,
    /// For each statement.
    deadline: Duration,
    /// For the next one, where it has less: the wait for the handle was part of it.
    left: Option<Duration>,
    missed: bool,
    watch: Option<Watch>,
    /// Of the workspace that it works for.
    place: Option<Place>,
}

enum Inner {
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

/// What a handle is told beside statements.
#[derive(Clone, Copy)]
pub(super) enum Turn {
    Begin,
    Commit,
    Rollback,
}

/// Runs the same expression on whichever database it is, under the handle's deadline.
macro_rules! on_either {
    ($handle:expr, |$inner:ident| $work:expr) => {{
        let deadline = $handle.left.take().unwrap_or($handle.deadline);
        let done = match &mut $handle.inner {
            Inner::Postgres($inner) => within(deadline, async { $work }).await,
            Inner::Sqlite($inner) => within(deadline, async { $work }).await,
        };
        $handle.noted(done)
    }};
}

impl Handle {
    pub(super) fn postgres(inner: PoolConnection<Postgres>, deadline: Duration, watch: Option<Watch>) -> Self {
        Self { inner: Inner::Postgres(inner), deadline, left: None, missed: false, watch, place: None }
    }

    pub(super) fn sqlite(inner: PoolConnection<Sqlite>, deadline: Duration, watch: Option<Watch>) -> Self {
        Self { inner: Inner::Sqlite(inner), deadline, left: None, missed: false, watch, place: None }
    }

    /// The same, which takes a place of its workspace's until it is given back.
    pub(super) fn in_place(self, place: Option<Place>) -> Self {
        let mut handle = self;
        handle.place = place;
        handle
    }

    /// The same after a wait of so long, which the next statement has the less.
    pub(super) fn after(self, wait: Duration) -> Self {
        let mut handle = self;
        handle.left = Some(handle.deadline.saturating_sub(wait).max(handle.deadline / 20));
        handle
    }

    pub(super) fn backend(&self) -> DatabaseBackend {
        match self.inner {
            Inner::Postgres(_) => DatabaseBackend::Postgres,
            Inner::Sqlite(_) => DatabaseBackend::Sqlite,
        }
    }

    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<ExecResult, DbErr> {
        self.tell(statement);
        on_either!(self, |inner| query(statement).execute(&mut **inner).await.map(ExecResult::from)).map_err(exec_error)
    }

    pub(super) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        on_either!(self, |inner| (&mut **inner).execute(AssertSqlSafe(sql.to_owned())).await.map(ExecResult::from))
            .map_err(exec_error)
    }

    pub(super) async fn query_one(&mut self, statement: &Statement) -> Result<Option<QueryResult>, DbErr> {
        self.tell(statement);
        let found = on_either!(self, |inner| query(statement)
            .fetch_optional(&mut **inner)
            .await
            .map(|row| row.map(QueryResult::from)));
        found.map_err(query_error)
    }

    pub(super) async fn query_all(&mut self, statement: &Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.tell(statement);
        let found = on_either!(self, |inner| query(statement)
            .fetch_all(&mut **inner)
            .await
            .map(|rows| rows.into_iter().map(QueryResult::from).collect()));
        found.map_err(query_error)
    }

    pub(super) async fn turn(&mut self, turn: Turn) -> Result<(), DbErr> {
        on_either!(self, |inner| turn.of(inner).await).map_err(query_error)
    }

    /// Leaves the transaction: the database hears of it before the handle's next use.
    pub(super) fn start_rollback(&mut self) {
        match &mut self.inner {
            Inner::Postgres(inner) => start_rollback(inner),
            Inner::Sqlite(inner) => start_rollback(inner),
        }
    }

    fn tell(&self, statement: &Statement) {
        if let Some(Watch(watch)) = &self.watch {
            watch(statement);
        }
    }

    fn noted<T>(&mut self, done: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        self.missed |= matches!(&done, Err(sqlx::Error::Io(error)) if error.kind() == ErrorKind::TimedOut);
        done
    }
}

impl Drop for Handle {
    #[expect(clippy::disallowed_methods, reason = "sqlx starts the same task, without the deadline")]
    fn drop(&mut self) {
        // SQLite is in this process: its handle comes back when its statement has ended.
        let Inner::Postgres(inner) = &mut self.inner else { return };
        if self.missed {
            inner.close_on_drop();
            return;
        }
        let back = inner.return_to_pool();
        // A statement that was given up may still run. Past the deadline, and also without a runtime, what is dropped here closes the handle and frees its place.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // The pool waits for it where it is closed.
            runtime.spawn(tokio::time::timeout(self.deadline / 2, back));
        }
    }
}

impl Turn {
    /// On SQLite a transaction takes the one writer's lock when it begins: taking it later may fail half-way.
    async fn of<DB: Database>(self, inner: &mut PoolConnection<DB>) -> Result<(), sqlx::Error> {
        match self {
            Self::Begin => {
                let immediately = (DB::NAME == Sqlite::NAME).then(|| "BEGIN IMMEDIATE".into_sql_str());
                DB::TransactionManager::begin(inner, immediately).await
            }
            Self::Commit => DB::TransactionManager::commit(inner).await,
            Self::Rollback => DB::TransactionManager::rollback(inner).await,
        }
    }
}

fn start_rollback<DB: Database>(inner: &mut PoolConnection<DB>) {
    DB::TransactionManager::start_rollback(inner);
}

/// `work`, or that it missed its deadline.
pub(super) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let missed = |_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into()));
    tokio::time::timeout(deadline, work).await.unwrap_or_else(missed)
}

fn query<DB: Database>(statement: &Statement) -> Query<'_, DB, SqlxValues>
where
    SqlxValues: sqlx::IntoArguments<DB>,
{
    let values = statement.values.clone().unwrap_or(Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql.as_str()), SqlxValues(values))
}

fn exec_error(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}
