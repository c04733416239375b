//! Waiting for what has to happen before a test goes on: answers of the sandbox that are held, and transactions that wait for
//! a lock.

use std::{future::Future, time::Duration};

use chrono::{DateTime, Utc};
use entity::authorization;
use patchbay::{
    db::{Db, Transaction},
    ids::{self, Kind},
    sandbox::{Endpoint, Fault, Gate},
};
use sea_orm::{
    ConnectionTrait, DatabaseBackend, EntityTrait, Statement,
    sea_query::Expr,
    sqlx::{AssertSqlSafe, Connection, Executor, PgConnection},
};
use tokio::{sync::oneshot, task::JoinHandle};
use uuid::Uuid;

use super::{Database, Stage};

/// How long a test waits for what has to come. It is no measure: on a good day things come at once.
const PATIENCE: Duration = Duration::from_secs(20);

impl Stage {
    /// Holds the next answers of an endpoint, so many of them, until the gate is opened.
    pub fn gates(&self, endpoint: Endpoint, answers: usize) -> Gate {
        let gate = Gate::closed();
        self.sandbox.fail_next(endpoint, Fault::Held(gate.clone()), answers);
        gate
    }

    /// Does `first` until `count` answers are held at the gate, then `meanwhile`, and opens it: what came of both.
    pub async fn while_held<F, M>(&self, gate: &Gate, count: usize, first: F, meanwhile: M) -> (F::Output, M::Output)
    where
        F: Future,
        M: Future,
    {
        let between = async {
            within_patience(gate.reached_by(count)).await;
            let done = meanwhile.await;
            gate.open();
            done
        };
        tokio::join!(first, between)
    }

    /// Every worker on an authorization loses it, as if that had been killed and its claim had run out.
    pub async fn claims_run_out(&self) {
        authorization::Entity::update_many()
            .col_expr(authorization::Column::ClaimedBy, Expr::value(None::<Uuid>))
            .col_expr(authorization::Column::ClaimedUntil, Expr::value(None::<DateTime<Utc>>))
            .exec(self.db.writer())
            .await
            .unwrap();
    }

    /// Locks the row of an authorization on PostgreSQL, as another node's transaction may.
    pub async fn locks(&self, authorization: &str) -> Lock {
        self.locks_row("authorization", ids::decode(Kind::Authorization, authorization).unwrap()).await
    }

    /// The same of a dataset.
    pub async fn locks_dataset(&self, dataset: &str) -> Lock {
        self.locks_row("dataset", ids::decode(Kind::Dataset, dataset).unwrap()).await
    }

    async fn locks_row(&self, table: &str, id: Uuid) -> Lock {
        let lock = self.db.begin().await.unwrap();
        lock.execute_unprepared(&format!("SELECT id FROM \"{table}\" WHERE id = '{id}' FOR UPDATE")).await.unwrap();
        let (end, ended) = oneshot::channel::<String>();
        let holding = tokio::spawn(async move {
            lock.execute_unprepared(&ended.await.unwrap()).await.unwrap();
            lock.commit().await.unwrap();
        });
        Lock { end, holding }
    }

    /// Returns once `count` transactions wait for locks of the test's PostgreSQL database.
    pub async fn waiting_for_locks(&self, count: i64) {
        let sql = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting = async || -> i64 {
            let statement = Statement::from_string(DatabaseBackend::Postgres, sql);
            self.db.reader().query_one_raw(statement).await.unwrap().unwrap().try_get("", "n").unwrap()
        };
        within_patience(async {
            while waiting().await < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// A lock that a test's transaction holds.
pub struct Lock {
    end: oneshot::Sender<String>,
    holding: JoinHandle<()>,
}

impl Lock {
    /// Does `sql` under the lock, and commits.
    pub async fn ends_with(self, sql: &str) {
        self.end.send(sql.to_owned()).unwrap();
        self.holding.await.unwrap();
    }

    /// Commits.
    pub async fn ends(self) {
        self.ends_with("SELECT 1").await;
    }
}

/// Another process that keeps the server's database from writing a table, or anything.
pub enum InTheWay {
    File(Box<Transaction>),
    Table(PgConnection),
}

impl InTheWay {
    /// Holds `table` on PostgreSQL, and the file on SQLite.
    pub async fn of(database: &Database, table: &str) -> Self {
        if database.is_sqlite() {
            let file = Db::open(database.url(), 1).await.unwrap();
            return Self::File(Box::new(file.begin().await.unwrap()));
        }
        let mut outside = PgConnection::connect(database.url()).await.unwrap();
        let locks = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        outside.execute(AssertSqlSafe(locks)).await.unwrap();
        Self::Table(outside)
    }

    pub async fn leaves(self) {
        match self {
            Self::File(txn) => txn.rollback().await.unwrap(),
            Self::Table(outside) => outside.close().await.unwrap(),
        }
    }
}

/// What `future` comes to, which has to be soon.
pub async fn within_patience<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came")
}
