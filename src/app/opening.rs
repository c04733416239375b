//! Opening the database, and what to do when it does not open.

use std::time::Duration;

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};
use secrecy::ExposeSecret;

use super::StartError;
use crate::{
    config::{Config, Problem},
    db::Db,
};

/// Why there is no database to work on, with what to do. Neither the URL nor its password is in it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum NoDatabase {
    #[error("nobody answers there; see that the database runs, and that host and port are right")]
    Away,
    #[error(
        "the database refuses this user or password; correct them (special characters of a password percent-encoded)"
    )]
    Refused,
    #[error("there is no database of this name; create it (`createdb NAME`), or name another")]
    Unknown,
    #[error("this user may not do what is needed; make it the owner of the database (`ALTER DATABASE … OWNER TO …`)")]
    Powerless,
    #[error(
        "the file cannot be opened; see that its folder exists, and that the user who runs Patchbay may write to it"
    )]
    NoFile,
    #[error("the file, or its folder, cannot be written; give the user who runs Patchbay the right to")]
    NotWritable,
    #[error("the file is no SQLite database; name another, or put this one away")]
    NoSqlite,
    #[error(
        "the database is newer than this version of Patchbay; run the version that it was last used with, or a newer \
         one (this is {})",
        env!("CARGO_PKG_VERSION")
    )]
    Newer,
    #[error("the database cannot be used: {0}")]
    Other(String),
}

/// Opens the database and brings it up to date.
pub(super) async fn open(config: &Config, deadline: Duration) -> Result<Db, StartError> {
    let about = |error: DbErr| Problem::new("database_url", NoDatabase::because(&error));
    let db =
        Db::open_within(config.database_url.expose_secret(), config.database_pool, deadline).await.map_err(about)?;
    db.migrate().await.map_err(about)?;
    Ok(db)
}

impl NoDatabase {
    fn because(error: &DbErr) -> Self {
        match error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => Self::Away,
            DbErr::Conn(RuntimeErr::SqlxError(cause))
            | DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause)) => Self::because_of(cause),
            // Only the migrator makes these: a migration was applied that this version does not know.
            DbErr::Custom(text) if text.starts_with("Migration file of version") => Self::Newer,
            other => Self::Other(other.to_string()),
        }
    }

    fn because_of(cause: &sqlx::Error) -> Self {
        let sqlx::Error::Database(said) = cause else {
            let away = matches!(cause, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut);
            return if away { Self::Away } else { Self::Other(cause.to_string()) };
        };
        // PostgreSQL appendix A; https://sqlite.org/rescode.html, of which the last byte is the primary code.
        match said.code().as_deref() {
            Some("28P01" | "28000") => Self::Refused,
            Some("3D000") => Self::Unknown,
            Some("42501") => Self::Powerless,
            Some(code) => match code.parse::<u32>().map(|code| code & 0xff) {
                Ok(14) if code.len() < 5 => Self::NoFile,
                Ok(8) if code.len() < 5 => Self::NotWritable,
                Ok(26) if code.len() < 5 => Self::NoSqlite,
                _ => Self::Other(said.message().to_owned()),
            },
            None => Self::Other(said.message().to_owned()),
        }
    }
}
