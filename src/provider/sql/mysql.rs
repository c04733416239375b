//! Sessions with MySQL and MariaDB.
//!
//! The statement is prepared, which MySQL does with single statements only, and has to give columns (what writes to a file
//! or a variable gives none); then it runs in a transaction that may only read, and its rows are read as they come. A query
//! may lift its own time limit (`/*+ MAX_EXECUTION_TIME(0) */`), and the server does not see that nobody listens any more,
//! so what does not stop in time is stopped from a second session.

mod binary;

use std::io;

use futures_util::TryStreamExt;
use secrecy::ExposeSecret;
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Either, Executor, MySqlConnection, Row, SqlSafeStr, Statement,
    mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlSslMode},
};
use tokio::{io::AsyncReadExt, net::TcpStream, time::Instant};

use super::{
    super::{Failure, NoRows, Outbound, RowLimits, Rows, classify},
    gather::Gathered,
    no_rows,
    target::{self, Target, Tls},
    unreachable,
    way::Way,
};

/// `ER_UNKNOWN_SYSTEM_VARIABLE`
const UNKNOWN_VARIABLE: u16 = 1193;
const CLEAR_PASSWORD: &[u8] = b"mysql_clear_password";
/// Bytes; it is about a hundred.
const LONGEST_GREETING: usize = 4096;
/// What a session has beside its rows when it only ends another, in bytes.
const KILL_BYTES: usize = 64 * 1024;

pub(super) struct Session {
    pub(super) db: MySqlConnection,
    /// By which another session can end this one.
    id: u64,
}

impl Session {
    /// Signs in.
    pub(super) async fn begin(target: &Target, way: &Way) -> Result<Self, Failure> {
        let begun = async {
            let mut db = options(target, way).connect().await?;
            let id = sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&mut db).await?;
            Ok(Self { db, id })
        };
        begun.await.map_err(|error| classify::session_failure(&error))
    }

    /// Reads what the statement gives, and rolls back.
    pub(super) async fn read(&mut self, sql: &str, limits: &RowLimits, ends: Instant) -> Result<Rows, NoRows> {
        self.restrict(ends).await.map_err(|error| classify::session_failure(&error))?;
        let failed = |error| no_rows(classify::query_fault(&error, 0), limits);
        let statement = self.db.prepare(AssertSqlSafe(sql).into_sql_str()).await.map_err(failed)?;
        if statement.parameters().is_some_and(|parameters| !matches!(parameters, Either::Right(0))) {
            return Err(NoRows::Query(classify::has_placeholders()));
        }
        let mut gathered = Gathered::new(limits);
        gathered.name_columns(statement.columns().iter().map(|column| column.name().to_owned()))?;
        if statement.columns().is_empty() {
            return Err(NoRows::Query(classify::NOT_A_QUERY.to_owned()));
        }
        let mut rows = statement.query().fetch(&mut self.db);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let cells: Option<Vec<_>> = (0..row.len()).map(|index| binary::cell(&row, index)).collect();
            gathered.push(&cells.ok_or_else(|| Failure::transient(classify::NOT_UNDERSTOOD))?)?;
        }
        drop(rows);
        // The rows are here: nothing that goes wrong now takes them away.
        let _ = sqlx::raw_sql("ROLLBACK").execute(&mut self.db).await;
        Ok(gathered.into_rows())
    }

    /// From here on the session only reads, and only for so long. MySQL and MariaDB name the limit differently, and count
    /// it in milliseconds and in seconds.
    async fn restrict(&mut self, ends: Instant) -> sqlx::Result<()> {
        let left = ends.saturating_duration_since(Instant::now()).as_millis().clamp(1, u32::MAX.into());
        let (seconds, rest) = (left / 1000, left % 1000);
        for limit in [
            format!("SET SESSION max_execution_time = {left}"),
            format!("SET SESSION max_statement_time = {seconds}.{rest:03}"),
        ] {
            let limited = sqlx::raw_sql(AssertSqlSafe(limit)).execute(&mut self.db).await;
            if !limited.as_ref().is_err_and(is_unknown_variable) {
                limited?;
            }
        }
        for only_reads in ["SET SESSION TRANSACTION READ ONLY", "START TRANSACTION READ ONLY"] {
            sqlx::raw_sql(only_reads).execute(&mut self.db).await?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Ends the session from another one.
    pub(super) async fn kill(self, outbound: &Outbound, target: &Target) -> Result<(), Failure> {
        let way = Way::open(outbound, target, KILL_BYTES).await?;
        let mut other = Self::begin(target, &way).await?;
        let killed = sqlx::raw_sql(AssertSqlSafe(format!("KILL {}", self.id))).execute(&mut other.db).await;
        killed.map(drop).map_err(|error| classify::session_failure(&error))
    }
}

/// Whether the database has no such setting.
fn is_unknown_variable(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| error.number() == UNKNOWN_VARIABLE)
}

/// What the database says first, in clear: read here since the driver would send the password in clear to whoever asks for
/// it in this very packet, TLS or not (it refuses such a wish only when it comes later).
pub(super) async fn greeting(database: &mut TcpStream) -> Result<Vec<u8>, Failure> {
    let packet = packet(database).await.map_err(|_| unreachable())?;
    if packet.windows(CLEAR_PASSWORD.len()).any(|part| part == CLEAR_PASSWORD) {
        return Err(Failure::transient("the database wants the password in clear"));
    }
    Ok(packet)
}

/// A packet, with its header: its length in three bytes, and a number.
async fn packet(database: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    database.read_exact(&mut packet).await?;
    let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    if length > LONGEST_GREETING {
        return Err(io::ErrorKind::InvalidData.into());
    }
    packet.resize(4 + length, 0);
    database.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

/// Nothing of it comes from the environment. Files of this server are not sent (`LOCAL INFILE` is no capability of the
/// driver), and the password is not sent in clear.
fn options(target: &Target, way: &Way) -> MySqlConnectOptions {
    MySqlConnectOptions::new()
        .host(&target.certified_name())
        .socket(way.file())
        .username(&target.username)
        .password(target.password.expose_secret())
        .database(&target.database)
        .ssl_mode(match target.tls {
            Tls::Disable => MySqlSslMode::Disabled,
            Tls::Prefer => MySqlSslMode::Preferred,
            Tls::Require => MySqlSslMode::Required,
            Tls::VerifyFull => MySqlSslMode::VerifyIdentity,
        })
        .ssl_ca_from_pem(target::trusted_roots().to_vec())
        // The database's own ways with SQL stay as they are.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .disable_statement_logging()
}
