//! The database handle: SQLite in one file, or PostgreSQL.
//!
//! SQLite takes one writer at a time, so writes go through a pool of one and begin IMMEDIATE; reads have a pool of
//! their own. PostgreSQL uses one pool for both.

use std::time::Duration;

use chrono::{DateTime, Utc};
use migration::{Migrator, MigratorTrait};
use percent_encoding::percent_decode_str;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseBackend, DatabaseConnection, DatabaseTransaction, DbErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::telemetry::Usage;

/// How many handles a pool holds.
const POOL: u32 = 10;

/// Handles to read and to write; cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
}

impl Db {
    /// Opens `url` (`sqlite://file` or `postgres://…`), creating a SQLite file that is not there.
    pub async fn open(url: &str) -> Result<Self, DbErr> {
        if !url.starts_with("sqlite:") {
            let pool = Database::connect(postgres(url)).await?;
            return Ok(Self { reader: pool.clone(), writer: pool });
        }
        let separator = if url.contains('?') { '&' } else { '?' };
        let writer = Database::connect(sqlite(format!("{url}{separator}mode=rwc"), 1)).await?;
        let reader = Database::connect(sqlite(format!("{url}{separator}mode=rwc"), POOL)).await?;
        Ok(Self { reader, writer })
    }

    /// For reading.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// A transaction that writes.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        self.writer.begin_with_options(options).await
    }

    /// For a single statement that writes.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// Brings the tables up to date, all the way or not at all. Several processes may try at once: one does it, the others
    /// wait.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        // On SQLite this is the one writer already.
        let turn = self.begin().await?;
        if !self.is_sqlite() {
            // Held until this transaction ends; the number only has to be ours.
            turn.execute_unprepared("SELECT pg_advisory_xact_lock(4711202611)").await?;
        }
        Migrator::up(&turn, None).await?;
        turn.commit().await
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.reader.ping().await
    }

    /// How far each pool is used, by its name.
    pub fn pools(&self) -> Vec<(&'static str, Usage)> {
        if !self.is_sqlite() {
            let pool = self.reader.get_postgres_connection_pool();
            return vec![("shared", usage(pool.size(), pool.num_idle(), POOL))];
        }
        let (reader, writer) = (self.reader.get_sqlite_connection_pool(), self.writer.get_sqlite_connection_pool());
        vec![
            ("reader", usage(reader.size(), reader.num_idle(), POOL)),
            ("writer", usage(writer.size(), writer.num_idle(), 1)),
        ]
    }

    /// Whether this is SQLite.
    pub fn is_sqlite(&self) -> bool {
        self.reader.get_database_backend() == DatabaseBackend::Sqlite
    }

    /// The database's own time, by which deadlines between nodes go. SQLite has one node: its clock, `now`, serves.
    pub async fn time(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, DbErr> {
        if self.is_sqlite() {
            return Ok(now);
        }
        let statement = Statement::from_string(DatabaseBackend::Postgres, "SELECT clock_timestamp() AS at");
        let row = self.reader.query_one_raw(statement).await?;
        row.ok_or_else(|| DbErr::RecordNotFound("the database's time".to_owned()))?.try_get("", "at")
    }

    /// Closes both pools.
    pub async fn close(self) -> Result<(), DbErr> {
        self.writer.close().await?;
        self.reader.close().await
    }
}

fn usage(open: u32, idle: usize, most: u32) -> Usage {
    Usage { open, idle: u32::try_from(idle).unwrap_or(u32::MAX), most }
}

fn options(url: String, size: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(size)
        .min_connections(0)
        .acquire_timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(10))
        .sqlx_logging(false);
    options
}

/// The password goes beside the URL, not in it: SeaORM traces URLs.
fn postgres(url: &str) -> ConnectOptions {
    let Ok(mut url) = Url::parse(url) else { return options(url.to_owned(), POOL) };
    let encoded = url.password().map(|password| percent_decode_str(password).decode_utf8_lossy().into_owned());
    let asked: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let (passwords, rest): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(name, _)| name == "password");
    let password = passwords.into_iter().map(|(_, value)| value).next_back().or(encoded);
    // Only a URL without a host cannot have one.
    let _ = url.set_password(None);
    url.set_query(None);
    if !rest.is_empty() {
        url.query_pairs_mut().extend_pairs(rest);
    }
    let mut options = options(url.into(), POOL);
    if let Some(password) = password.map(SecretString::from) {
        options.map_sqlx_postgres_opts(move |postgres| postgres.password(password.expose_secret()));
    }
    options
}

fn sqlite(url: String, size: u32) -> ConnectOptions {
    let mut options = options(url, size);
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .journal_mode(sea_orm::sqlx::sqlite::SqliteJournalMode::Wal)
            // With FULL, what was answered survives a power cut as well.
            .synchronous(sea_orm::sqlx::sqlite::SqliteSynchronous::Full)
            .foreign_keys(true)
            // A removed secret leaves the file, not only the table.
            .pragma("secure_delete", "ON")
            .busy_timeout(Duration::from_secs(10))
    });
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_postgresql_stays_in_the_url() {
        for url in [
            "postgres://me:s%20cret@db.example:5433/patchbay",
            "postgres://me@db.example:5433/patchbay?password=s%20cret",
            "postgres://me:other@db.example:5433/patchbay?password=s%20cret&sslmode=require",
        ] {
            let options = postgres(url);
            let shown = format!("{options:?}");
            assert!(!shown.contains("cret") && !shown.contains("other"), "{shown}");
            let ssl = if url.contains("ssl") { "?sslmode=require" } else { "" };
            assert_eq!(options.get_url(), format!("postgres://me@db.example:5433/patchbay{ssl}"));
        }
    }
}
