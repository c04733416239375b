//! What passes by itself of that which goes wrong with the database: away, too busy, in the way of another, or full.
//!
//! Codes: PostgreSQL, appendix A (SQLSTATE, of which the first two characters are the class); SQLite, rescode.html, of
//! which the last byte is the primary code.

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// What a failure of the database means for whoever sends the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Two pieces of work were in each other's way, and this one was given up: done again at once, it may well succeed.
    Contended,
    /// The database cannot do it now.
    Away,
    /// It stays wrong until somebody mends it.
    Lasting,
}

/// Classes of which every code passes: the way to the server, its resources, who runs it, and the system under it.
const AWAY_CLASSES: [&str; 4] = ["08", "53", "57", "58"];
/// A class of transactions that were in each other's way: serialization_failure, deadlock_detected.
const CONTENDED_CLASS: &str = "40";
/// lock_not_available, idle_in_transaction_session_timeout, transaction_timeout, read_only_sql_transaction (what was the
/// primary is a standby by now).
const AWAY: [&str; 4] = ["55P03", "25P03", "25P04", "25006"];
/// BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL (of locking).
const SQLITE_AWAY: [u32; 8] = [5, 6, 7, 9, 10, 13, 14, 15];

impl Failure {
    pub(super) fn of(error: &DbErr) -> Self {
        match error {
            DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => {
                Self::because(cause)
            }
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Self::Away,
            _ => Self::Lasting,
        }
    }

    fn because(cause: &sqlx::Error) -> Self {
        match cause {
            sqlx::Error::Database(said) => said.code().map_or(Self::Lasting, |code| Self::by_code(&code)),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Away,
            _ => Self::Lasting,
        }
    }

    /// A SQLSTATE has five characters, SQLite's codes have fewer.
    fn by_code(code: &str) -> Self {
        let Some(class) = code.get(..2).filter(|_| code.len() == 5) else {
            let primary = code.parse::<u32>().map(|code| code & 0xff);
            let away = primary.is_ok_and(|primary| SQLITE_AWAY.contains(&primary));
            return if away { Self::Away } else { Self::Lasting };
        };
        if class == CONTENDED_CLASS {
            Self::Contended
        } else if AWAY_CLASSES.contains(&class) || AWAY.contains(&code) {
            Self::Away
        } else {
            Self::Lasting
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, error::Error, fmt, io, sync::Arc};

    use sea_orm::{
        ConnAcquireErr,
        sqlx::error::{DatabaseError, ErrorKind},
    };

    use super::*;

    /// What a database says, by its code alone.
    #[derive(Debug)]
    struct Said(&'static str);

    impl fmt::Display for Said {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("said")
        }
    }

    impl Error for Said {}

    impl DatabaseError for Said {
        fn message(&self) -> &str {
            "said"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    fn by(cause: sqlx::Error) -> Failure {
        Failure::of(&DbErr::Query(RuntimeErr::SqlxError(Arc::new(cause))))
    }

    #[test]
    fn what_passes_of_that_which_a_database_says() {
        let table = [
            // serialization_failure, deadlock_detected
            (Failure::Contended, ["40001", "40P01"].as_slice()),
            // connection_failure, too_many_connections, disk_full, out_of_memory
            (Failure::Away, &["08006", "08003", "53300", "53100", "53200"]),
            // query_canceled (our own statement_timeout), admin_shutdown, crash_shutdown, cannot_connect_now
            (Failure::Away, &["57014", "57P01", "57P02", "57P03", "58030"]),
            // lock_not_available (our own lock_timeout), idle in transaction, a primary that became a standby
            (Failure::Away, &["55P03", "25P03", "25006"]),
            // BUSY and its BUSY_SNAPSHOT, LOCKED, IOERR and its IOERR_WRITE, FULL, CANTOPEN
            (Failure::Away, &["5", "517", "6", "10", "778", "13", "14"]),
            // unique_violation, undefined_table, in_failed_sql_transaction, internal_error, invalid_password
            (Failure::Lasting, &["23505", "42P01", "25P02", "XX000", "28P01"]),
            // ERROR, CORRUPT, CONSTRAINT_UNIQUE, READONLY, NOTADB, and what is no code
            (Failure::Lasting, &["1", "11", "2067", "8", "26", "", "é"]),
        ];
        for (meant, codes) in table {
            for code in codes {
                assert_eq!(by(sqlx::Error::Database(Box::new(Said(code)))), meant, "{code}");
            }
        }
    }

    #[test]
    fn what_passes_of_that_which_nobody_said() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        for cause in
            [sqlx::Error::Io(reset), sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, sqlx::Error::WorkerCrashed]
        {
            let shown = cause.to_string();
            assert_eq!(by(cause), Failure::Away, "{shown}");
        }
        assert_eq!(Failure::of(&DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)), Failure::Away);
        assert_eq!(by(sqlx::Error::RowNotFound), Failure::Lasting);
        assert_eq!(Failure::of(&DbErr::Custom("planted".to_owned())), Failure::Lasting);
    }
}
