//! A transaction: one handle from begin to commit, each statement under its deadline.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    handle::{Handle, Turn},
    holders::Holding,
    time_of,
};
use crate::retries;

/// An open transaction. What is read and written until it ends goes through it, and through no other handle: the pool
/// may have none left, and would then wait for this one. Dropped, it is rolled back.
pub struct Transaction {
    handle: Mutex<Handle>,
    backend: DatabaseBackend,
    open: AtomicBool,
    /// None where it cannot be in its own way, as in the pool of leases.
    _holding: Option<Holding>,
}

/// What can be read on the handle of a transaction that was given up.
pub struct Afterwards<'a>(&'a Transaction);

const GIVEN_UP: &str = "a transaction that was given up";

impl Transaction {
    pub(super) async fn begin(mut handle: Handle, holding: Option<Holding>) -> Result<Self, DbErr> {
        let backend = handle.backend();
        let begun = handle.turn(Turn::Begin).await;
        // Where BEGIN was not heard of, the handle may be within a transaction all the same.
        let transaction = Self { handle: Mutex::new(handle), backend, open: AtomicBool::new(true), _holding: holding };
        begun.map(|()| transaction)
    }

    /// Ends it; everything is written, or nothing.
    ///
    /// # Errors
    /// Where the answer is not heard in time, it may have been written all the same.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.end(Turn::Commit).await
    }

    /// Ends it as if it had not been.
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.end(Turn::Rollback).await
    }

    async fn end(mut self, turn: Turn) -> Result<(), DbErr> {
        if !*self.open.get_mut() {
            return Err(DbErr::Custom(GIVEN_UP.to_owned()));
        }
        let ended = self.handle.get_mut().turn(turn).await;
        if matches!(turn, Turn::Commit) && ended.is_ok() {
            retries::note_done();
        }
        *self.open.get_mut() = ended.is_err();
        ended
    }

    /// Rolls back now, and keeps the handle: for looking, after a statement failed, at what was in its way. PostgreSQL
    /// answers nothing more within the transaction, and another handle may not be had. Nothing can be committed then.
    pub async fn give_up(&self) -> Result<Afterwards<'_>, DbErr> {
        let mut handle = self.handle.lock().await;
        if self.open.load(Ordering::Relaxed) {
            handle.turn(Turn::Rollback).await?;
            self.open.store(false, Ordering::Relaxed);
        }
        Ok(Afterwards(self))
    }

    async fn within(&self) -> Result<MutexGuard<'_, Handle>, DbErr> {
        let handle = self.handle.lock().await;
        // What is written outside of a transaction would be written for good.
        if self.open.load(Ordering::Relaxed) { Ok(handle) } else { Err(DbErr::Custom(GIVEN_UP.to_owned())) }
    }

    /// The database's own time; see [`Db::time`](super::Db::time).
    pub async fn time(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, DbErr> {
        time_of(self, now).await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if *self.open.get_mut() {
            self.handle.get_mut().start_rollback();
        }
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Transaction").field("open", &self.open).finish_non_exhaustive()
    }
}

#[sea_orm::prelude::async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DatabaseBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.within().await?.execute(&statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.within().await?.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.within().await?.query_one(&statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.within().await?.query_all(&statement).await
    }
}

#[sea_orm::prelude::async_trait::async_trait]
impl ConnectionTrait for Afterwards<'_> {
    fn get_database_backend(&self) -> DatabaseBackend {
        self.0.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.0.handle.lock().await.execute(&statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.0.handle.lock().await.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.0.handle.lock().await.query_one(&statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.0.handle.lock().await.query_all(&statement).await
    }
}
