//! Reading rows of a database, and whether it lets a user in.
//!
//! Each question is a session of its own: a guarded socket (`sql/way.rs`) to where the credential leads (`sql/target.rs`),
//! one statement that only reads, and the end. The databases differ in `sql/postgres.rs` and `sql/mysql.rs`: how a session
//! begins, what keeps it from writing and from running on, and how values are written. `sql/gather.rs` collects rows up to
//! the limits; what a refusal means is in `classify/database.rs`.
//!
//! A statement is refused here only for the sake of a clear sentence; that nothing is written is the database's own work,
//! by a transaction that may only read, and best by a user who may only read.

mod cell;
mod gather;
mod mysql;
mod postgres;
mod statement;
mod target;
mod way;

use std::{future::Future, time::Duration};

use sqlx::PgConnection;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use self::{target::Target, way::Way};
use super::{
    Credential, Failure, Haste, NoRows, Outbound, Provider, RowLimits, Rows,
    classify::{self, SqlFault},
    outbound::NoAnswer,
};
use crate::catalogue::{Connector, Driver};

/// What the answer to a probe may have, in bytes.
const PROBE_BYTES: usize = 64 * 1024;
/// How long after its own time limit a database is waited for.
const GRACE: Duration = Duration::from_secs(2);

impl Provider {
    pub(super) async fn read_sql(
        &self,
        driver: Driver,
        connector: &Connector,
        credential: &Credential,
        sql: &str,
        limits: &RowLimits,
        haste: Haste,
    ) -> Result<Rows, NoRows> {
        statement::check(driver, sql)?;
        let _turn = self.turn_in(connector, haste).await?;
        let target = Target::of(driver, credential)?;
        let (outbound, sql, limits) = (self.outbound.clone(), sql.to_owned(), *limits);
        apart(async move {
            let ends = Instant::now() + limits.time;
            let way = Way::open(&outbound, &target, limits.bytes).await?;
            let mut session = Session::begin(&outbound, &target, &way).await?;
            let reading = timeout_at(ends + GRACE, session.read(&sql, &limits, ends)).await;
            match reading {
                Ok(Err(_)) if way.is_spent() => Err(gather::too_many_bytes(&limits)),
                Ok(read) => read,
                Err(_) => {
                    session.abandon(&outbound, &target).await;
                    Err(gather::too_slow(&limits))
                }
            }
        })
        .await
    }

    /// Whether the database lets the user in and answers.
    pub(super) async fn probe_sql(&self, driver: Driver, credential: &Credential) -> Result<(), Failure> {
        let target = Target::of(driver, credential)?;
        let outbound = self.outbound.clone();
        apart(async move {
            let way = Way::open(&outbound, &target, PROBE_BYTES).await?;
            let mut session = Session::begin(&outbound, &target, &way).await?;
            timeout(outbound.limits().total, session.probe()).await.unwrap_or_else(|_| Err(unreachable()))
        })
        .await
    }
}

/// What is said in turn with one database.
enum Session {
    Postgres(PgConnection),
    MySql(mysql::Session),
}

impl Session {
    /// Signs in.
    async fn begin(outbound: &Outbound, target: &Target, way: &Way) -> Result<Self, Failure> {
        let signing_in = async {
            match target.driver {
                Driver::Postgres => postgres::begin(target, way).await.map(Self::Postgres),
                Driver::MySql => mysql::Session::begin(target, way).await.map(Self::MySql),
            }
        };
        timeout(outbound.limits().total, signing_in).await.unwrap_or_else(|_| Err(unreachable()))
    }

    async fn probe(&mut self) -> Result<(), Failure> {
        let asked = match self {
            Self::Postgres(db) => sqlx::raw_sql("SELECT 1").execute(db).await.map(drop),
            Self::MySql(session) => sqlx::raw_sql("SELECT 1").execute(&mut session.db).await.map(drop),
        };
        asked.map_err(|error| classify::session_failure(&error))
    }

    /// Reads what the statement gives, and undoes whatever it did. `ends`: when the database itself is to stop.
    async fn read(&mut self, sql: &str, limits: &RowLimits, ends: Instant) -> Result<Rows, NoRows> {
        match self {
            Self::Postgres(db) => postgres::read(db, sql, limits, ends).await,
            Self::MySql(session) => session.read(sql, limits, ends).await,
        }
    }

    /// Leaves a database that did not stop in time. PostgreSQL looks for itself whether anybody still listens.
    async fn abandon(self, outbound: &Outbound, target: &Target) {
        if let Self::MySql(session) = self {
            // Where even this fails, the database's own limit is left.
            let _ = timeout(outbound.limits().total, session.kill(outbound, target)).await;
        }
    }
}

/// Why there are no rows, by what a database said to the query.
fn no_rows(fault: SqlFault, limits: &RowLimits) -> NoRows {
    match fault {
        SqlFault::Failure(failure) => NoRows::Failure(failure),
        SqlFault::Query(sentence) => NoRows::Query(sentence),
        SqlFault::TooSlow => gather::too_slow(limits),
    }
}

/// Runs a session in a task of its own, which ends with whoever waits for it: the drivers trust what a database sends,
/// and one that sends nonsense may make them panic.
#[expect(clippy::disallowed_methods, reason = "a session that only reads, and ends with its caller")]
async fn apart<T, E>(session: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Failure> + Send + 'static,
{
    let running = AbortOnDropHandle::new(tokio::spawn(session));
    running.await.unwrap_or_else(|_| Err(Failure::transient(classify::NOT_UNDERSTOOD).into()))
}

fn unreachable() -> Failure {
    NoAnswer::Unreachable.into()
}

#[cfg(test)]
mod tests;
