//! Sessions with PostgreSQL.
//!
//! The statement becomes a cursor's, in a transaction that may only read: a cursor takes one query and nothing else (no
//! second statement, no `INTO`, no data-modifying `WITH`), and is read in portions, so that reading can stop at the
//! limits. The portions come as text, which PostgreSQL writes for every type there is; `postgres/text.rs` reads it.

mod sign_in;
mod text;

use std::{env, ffi::OsStr};

use futures_util::TryStreamExt;
use secrecy::ExposeSecret;
pub(super) use sign_in::{SignIn, pass_on};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Executor, PgConnection, Row, SqlSafeStr, ValueRef,
    postgres::{PgConnectOptions, PgRow, PgSslMode},
};
use tokio::time::Instant;

use super::{
    super::{Failure, NoRows, RowLimits, Rows, classify},
    cell::Cell,
    gather::Gathered,
    no_rows,
    target::{Target, Tls},
    way::Way,
};

/// What every session begins with. The role's own settings must not change how values are written; a function's notices
/// are nobody's here; and a query whose reader is gone must not run on (PostgreSQL 14; not on every platform).
const BEGINNING: &str = "
    BEGIN READ ONLY;
    SET LOCAL DateStyle = 'ISO';
    SET LOCAL IntervalStyle = 'iso_8601';
    SET LOCAL TimeZone = 'UTC';
    SET LOCAL bytea_output = 'hex';
    SET LOCAL extra_float_digits = 3;
    SET LOCAL client_min_messages = 'error';
    SELECT pg_catalog.set_config(name, '1s', true) FROM pg_catalog.pg_settings
        WHERE name = 'client_connection_check_interval' AND pg_catalog.version() LIKE '%linux%'";
/// What makes a query a cursor's.
const CURSOR: &str = "DECLARE dataset NO SCROLL CURSOR FOR ";
/// Rows fetched at once.
const PORTION: usize = 1000;

/// What the driver takes from the environment and cannot be talked out of.
const ENVIRONMENT: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];

/// Signs in.
pub(super) async fn begin(target: &Target, way: &Way) -> Result<PgConnection, Failure> {
    let options = options(target, way, |name| env::var_os(name).is_some_and(|value| value != OsStr::new("")))?;
    options.connect().await.map_err(|error| match way.wants_clear_password() {
        true => Failure::transient(
            "the database wants the password in clear, and there is no TLS to protect it: switch TLS on there",
        ),
        false => classify::session_failure(&error),
    })
}

/// `is_set` tells whether the environment has a variable.
fn options(target: &Target, way: &Way, is_set: impl Fn(&str) -> bool) -> Result<PgConnectOptions, Failure> {
    if ENVIRONMENT.iter().any(|name| is_set(name)) {
        let what =
            format!("this server's environment has one of {}, which a database would get", ENVIRONMENT.join(", "));
        return Err(Failure::transient(what));
    }
    // The environment and the password file fill in what is not set here, so all of it is.
    let options = PgConnectOptions::new_without_pgpass()
        .host(&target.certified_name())
        .port(Way::PORT)
        .socket(way.folder())
        .username(&target.username)
        .password(target.password.expose_secret())
        .database(&target.database)
        .ssl_mode(match target.tls {
            Tls::Disable => PgSslMode::Disable,
            Tls::Prefer => PgSslMode::Prefer,
            Tls::Require => PgSslMode::Require,
            Tls::VerifyFull => PgSslMode::VerifyFull,
        })
        .ssl_root_cert_from_pem(super::target::trusted_roots().to_vec())
        .application_name("patchbay")
        // Poolers refuse it where it is sent at the start.
        .extra_float_digits(None);
    Ok(options.disable_statement_logging())
}

/// Reads what the query gives, and rolls back.
pub(super) async fn read(db: &mut PgConnection, sql: &str, limits: &RowLimits, ends: Instant) -> Result<Rows, NoRows> {
    let begun = sqlx::raw_sql(BEGINNING).execute(&mut *db).await;
    begun.map_err(|error| classify::session_failure(&error))?;
    declare(db, sql, ends).await.map_err(|error| no_rows(classify::query_fault(&error, CURSOR.len()), limits))?;
    let mut gathered = Gathered::new(limits);
    loop {
        let before = gathered.len();
        fetch(db, &mut gathered, limits, ends).await?;
        if gathered.len() - before < PORTION {
            break;
        }
    }
    if gathered.len() == 0 {
        gathered.name_columns(columns_of_nothing(db).await.into_iter())?;
    }
    // The rows are here: nothing that goes wrong now takes them away.
    let _ = sqlx::raw_sql("ROLLBACK").execute(&mut *db).await;
    Ok(gathered.into_rows())
}

async fn declare(db: &mut PgConnection, sql: &str, ends: Instant) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(time_limit(ends))).execute(&mut *db).await?;
    // Prepared, which PostgreSQL does with single statements only.
    sqlx::query(AssertSqlSafe(format!("{CURSOR}{sql}"))).persistent(false).execute(db).await?;
    Ok(())
}

/// Fetches one portion. The time limit is said again each time: the query could have changed it.
async fn fetch(
    db: &mut PgConnection,
    gathered: &mut Gathered<'_>,
    limits: &RowLimits,
    ends: Instant,
) -> Result<(), NoRows> {
    let portion = format!("{}; FETCH {PORTION} FROM dataset", time_limit(ends));
    let portion = sqlx::raw_sql(AssertSqlSafe(portion));
    let mut rows = db.fetch(portion);
    let failed = |error| no_rows(classify::query_fault(&error, usize::MAX), limits);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        if gathered.len() == 0 {
            gathered.name_columns(names(row.columns()))?;
        }
        gathered.push(&cells(&row)?)?;
    }
    Ok(())
}

/// At least a millisecond, since zero stands for no limit.
fn time_limit(ends: Instant) -> String {
    let left = ends.saturating_duration_since(Instant::now()).as_millis().clamp(1, i32::MAX as u128);
    format!("SET LOCAL statement_timeout = {left}")
}

/// The columns' names where there are no rows to tell them; none where the types of some cannot be looked up.
async fn columns_of_nothing(db: &mut PgConnection) -> Vec<String> {
    use sqlx::Statement;
    match db.prepare("FETCH 1 FROM dataset".into_sql_str()).await {
        Ok(statement) => names(statement.columns()).collect(),
        Err(_) => Vec::new(),
    }
}

fn names<C: Column>(columns: &[C]) -> impl Iterator<Item = String> {
    columns.iter().map(|column| column.name().to_owned())
}

fn cells(row: &PgRow) -> Result<Vec<Cell<'_>>, NoRows> {
    let cell = |index| {
        let value = row.try_get_raw(index).ok()?;
        if value.is_null() {
            return Some(Cell::Null);
        }
        let kind = value.type_info().oid().map_or(0, |oid| oid.0);
        Some(text::cell(kind, value.as_str().ok()?))
    };
    let cells: Option<Vec<_>> = (0..row.len()).map(cell).collect();
    cells.ok_or_else(|| Failure::transient(classify::NOT_UNDERSTOOD).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_environment_would_tell_every_database_is_refused() {
        let (target, way) = super::super::tests::nowhere().await;
        for name in ENVIRONMENT {
            assert!(options(&target, &way, |set| set == name).is_err(), "{name}");
        }
        let options = options(&target, &way, |_| false).unwrap();
        assert_eq!((options.get_username(), options.get_database()), ("ann", Some("shop")));
        assert_eq!((options.get_application_name(), options.get_options()), (Some("patchbay"), None));
        assert_eq!(options.get_socket().map(|folder| folder.as_path()), Some(way.folder()));
    }
}
