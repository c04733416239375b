//! What a database's refusal means: PostgreSQL by SQLSTATE, MySQL and MariaDB by their numbers.
//!
//! Signing in and beginning a session is judged by who may come in ([`session_failure`]); from then on a refusal is of
//! the query ([`query_fault`]), as far as a row says so. A database's own words are never passed on: they quote the
//! query, names and values. Whatever no row knows is transient.

use sqlx::{
    Error,
    mysql::MySqlDatabaseError,
    postgres::{PgDatabaseError, PgErrorPosition},
};

use super::{
    super::outbound::NoAnswer,
    Failure, Rejection,
    table::{Means, Names, by_name},
};

use Fault::{
    Ambiguous, Column, Denied, Function, Grouping, NotAQuery, Object, Other, Parameter, Raised, Schema, Syntax, Table,
    TooComplex, TooSlow, Types, Value, Writes,
};
use Means::{Busy, Forbidden, Unauthorized};

/// What came back makes no sense.
pub(in crate::provider) const NOT_UNDERSTOOD: &str = "the database answered in a way that is not understood";
/// A statement that gives no rows.
pub(in crate::provider) const NOT_A_QUERY: &str =
    "The query is not one that only reads: it has to be one SELECT, VALUES or TABLE, and nothing beside it.";

/// What a refused query comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::provider) enum SqlFault {
    Failure(Failure),
    /// A sentence for people.
    Query(String),
    /// It ran into its time limit.
    TooSlow,
}

/// What is wrong with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Ambiguous,
    Column,
    Denied,
    Function,
    Grouping,
    NotAQuery,
    Object,
    Other,
    Parameter,
    Raised,
    Schema,
    Syntax,
    Table,
    TooComplex,
    TooSlow,
    Types,
    Value,
    Writes,
}

/// PostgreSQL's codes, or their classes of two characters, when a session begins
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>). A code goes before its class.
pub(super) const POSTGRES_SESSIONS: &Names = &[
    ("28P01", Unauthorized), // invalid_password
    ("28000", Unauthorized), // no such role, one that may not sign in, or not from here
    ("42501", Forbidden),    // no right to CONNECT to the database
    ("53", Busy),            // out of memory, too many connections
    ("57", Busy),            // starting up, shutting down
    ("08", Busy),            // the connection
];

/// MySQL's and MariaDB's numbers when a session begins
/// (<https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>,
/// <https://mariadb.com/kb/en/mariadb-error-code-reference/>).
pub(super) const MYSQL_SESSIONS: &[(u16, Means)] = &[
    (1045, Unauthorized), // ER_ACCESS_DENIED_ERROR
    (1130, Unauthorized), // ER_HOST_NOT_PRIVILEGED: no user at all may sign in from here
    (1698, Unauthorized), // ER_ACCESS_DENIED_NO_PASSWORD_ERROR: the user signs in without a password, or not like this
    (1820, Unauthorized), // ER_MUST_CHANGE_PASSWORD
    (1862, Unauthorized), // ER_MUST_CHANGE_PASSWORD_LOGIN: expired
    (3118, Unauthorized), // ER_ACCOUNT_HAS_BEEN_LOCKED
    (3955, Unauthorized), // ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK
    (4151, Unauthorized), // ER_ACCOUNT_HAS_BEEN_LOCKED of MariaDB
    (1044, Forbidden),    // ER_DBACCESS_DENIED_ERROR
    (1040, Busy),         // ER_CON_COUNT_ERROR
    (1129, Busy),         // ER_HOST_IS_BLOCKED, after too many errors
    (1203, Busy),         // ER_TOO_MANY_USER_CONNECTIONS
    (1226, Busy),         // ER_USER_LIMIT_REACHED
];

/// PostgreSQL's codes and classes for a query.
pub(super) const POSTGRES_QUERIES: &[(&str, Fault)] = &[
    ("42601", Syntax),
    ("42703", Column),
    ("42P01", Table),
    ("3F000", Schema),
    ("42883", Function),
    ("42704", Object),
    ("42702", Ambiguous),
    ("42803", Grouping),
    ("42P20", Grouping), // windowing_error
    ("42P02", Parameter),
    ("08P01", Parameter), // protocol_violation: nothing was sent for it
    ("42P18", Types),     // indeterminate_datatype
    ("42804", Types),     // datatype_mismatch
    ("42846", Types),     // cannot_coerce
    ("42501", Denied),
    ("42", Other),
    ("25006", Writes),    // read_only_sql_transaction
    ("25001", Writes),    // active_sql_transaction: the transaction cannot be made to write
    ("2F", Writes),       // sql_routine_exception: a routine that modifies
    ("0A000", NotAQuery), // a data-modifying WITH is not a cursor's
    ("21000", Value),     // cardinality_violation: a subquery gives several rows
    ("22", Value),        // data_exception
    ("P0001", Raised),    // raise_exception
    ("54", TooComplex),   // program_limit_exceeded
    ("57014", TooSlow),   // query_canceled, by the statement_timeout
];

/// MySQL's and MariaDB's numbers for a query.
pub(super) const MYSQL_QUERIES: &[(u16, Fault)] = &[
    (1064, Syntax),     // ER_PARSE_ERROR: a second statement too
    (1065, Syntax),     // ER_EMPTY_QUERY
    (1149, Syntax),     // ER_SYNTAX_ERROR
    (1054, Column),     // ER_BAD_FIELD_ERROR
    (1146, Table),      // ER_NO_SUCH_TABLE
    (1109, Table),      // ER_UNKNOWN_TABLE
    (1049, Schema),     // ER_BAD_DB_ERROR
    (1305, Function),   // ER_SP_DOES_NOT_EXIST
    (1630, Function),   // ER_FUNC_INEXISTENT_NAME_COLLISION
    (1582, Function),   // ER_WRONG_PARAMCOUNT_TO_NATIVE_FCT
    (1318, Function),   // ER_SP_WRONG_NO_OF_ARGS
    (1052, Ambiguous),  // ER_NON_UNIQ_ERROR
    (1055, Grouping),   // ER_WRONG_FIELD_WITH_GROUP
    (1111, Grouping),   // ER_INVALID_GROUP_FUNC_USE
    (1140, Grouping),   // ER_MIX_OF_GROUP_FUNC_AND_FIELDS
    (1210, Parameter),  // ER_WRONG_ARGUMENTS: a placeholder that nothing fills in
    (1222, Types),      // ER_WRONG_NUMBER_OF_COLUMNS_IN_SELECT
    (1241, Types),      // ER_OPERAND_COLUMNS
    (1267, Types),      // ER_CANT_AGGREGATE_2COLLATIONS
    (1044, Denied),     // ER_DBACCESS_DENIED_ERROR
    (1142, Denied),     // ER_TABLEACCESS_DENIED_ERROR
    (1143, Denied),     // ER_COLUMNACCESS_DENIED_ERROR
    (1227, Denied),     // ER_SPECIFIC_ACCESS_DENIED_ERROR
    (1370, Denied),     // ER_PROCACCESS_DENIED_ERROR
    (1060, Other),      // ER_DUP_FIELDNAME
    (1066, Other),      // ER_NONUNIQ_TABLE
    (1248, Other),      // ER_DERIVED_MUST_HAVE_ALIAS
    (1290, Writes),     // ER_OPTION_PREVENTS_STATEMENT: --secure-file-priv, --read-only
    (1568, Writes),     // ER_CANT_CHANGE_TX_CHARACTERISTICS
    (1792, Writes),     // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    (1295, NotAQuery),  // ER_UNSUPPORTED_PS
    (1242, Value),      // ER_SUBQUERY_NO_1_ROW
    (1292, Value),      // ER_TRUNCATED_WRONG_VALUE
    (1365, Value),      // ER_DIVISION_BY_ZERO
    (1411, Value),      // ER_WRONG_VALUE_FOR_TYPE
    (1690, Value),      // ER_DATA_OUT_OF_RANGE
    (3141, Value),      // ER_INVALID_JSON_TEXT_IN_PARAM
    (3143, Value),      // ER_INVALID_JSON_PATH
    (1644, Raised),     // ER_SIGNAL_EXCEPTION
    (1116, TooComplex), // ER_TOO_MANY_TABLES
    (1436, TooComplex), // ER_STACK_OVERRUN_NEED_MORE
    (1969, TooSlow),    // ER_STATEMENT_TIMEOUT of MariaDB
    (3024, TooSlow),    // ER_QUERY_TIMEOUT
];

/// What it means that a session could not be begun, or broke off before it was asked anything.
pub(in crate::provider) fn session_failure(error: &Error) -> Failure {
    match refusal(error) {
        Some(Refusal::Postgres(error)) => postgres_session(error.code()),
        Some(Refusal::MySql(error)) => mysql_session(error.number()),
        None => unanswered(error),
    }
}

pub(super) fn postgres_session(code: &str) -> Failure {
    refused(by_code_or_class(code, |code| by_name(POSTGRES_SESSIONS, code)))
}

pub(super) fn mysql_session(number: u16) -> Failure {
    refused(by_number(MYSQL_SESSIONS, number))
}

fn refused(means: Option<Means>) -> Failure {
    match means {
        Some(Unauthorized) => Failure::Rejected(Rejection::Unauthorized),
        Some(Forbidden) => Failure::Rejected(Rejection::Forbidden),
        Some(Busy) => Failure::transient("the database is not ready for more"),
        _ => Failure::transient("the database lets nobody in, and gives no reason that is known"),
    }
}

/// What it means that a query was refused. `before`: how many characters were put before it, so that a position is one
/// in the query as the person wrote it.
pub(in crate::provider) fn query_fault(error: &Error, before: usize) -> SqlFault {
    match refusal(error) {
        Some(Refusal::Postgres(error)) => postgres_query(error.code(), position(error, before)),
        Some(Refusal::MySql(error)) => mysql_query(error.number()),
        None => SqlFault::Failure(unanswered(error)),
    }
}

pub(super) fn postgres_query(code: &str, position: Option<usize>) -> SqlFault {
    let listed = |code: &str| POSTGRES_QUERIES.iter().find(|(row, _)| *row == code).map(|(_, fault)| *fault);
    told(by_code_or_class(code, listed), position)
}

pub(super) fn mysql_query(number: u16) -> SqlFault {
    told(by_number(MYSQL_QUERIES, number), None)
}

fn told(fault: Option<Fault>, position: Option<usize>) -> SqlFault {
    match (fault, position) {
        (Some(TooSlow), _) => SqlFault::TooSlow,
        (Some(NotAQuery), _) => SqlFault::Query(NOT_A_QUERY.to_owned()),
        (Some(fault), Some(position)) => SqlFault::Query(format!("{}, at character {position}.", sentence(fault))),
        (Some(fault), None) => SqlFault::Query(format!("{}.", sentence(fault))),
        (None, _) => SqlFault::Failure(Failure::transient("the database failed, and gives no reason that is known")),
    }
}

/// A statement that has placeholders, where the driver would see them first.
pub(in crate::provider) fn has_placeholders() -> String {
    format!("{}.", sentence(Parameter))
}

/// For people, without its end.
fn sentence(fault: Fault) -> &'static str {
    match fault {
        Ambiguous => "The query names a column that could be one of several",
        Column => "The query names a column that is not there",
        Denied => "The query asks for something that this user may not see",
        Function => "The query calls a function that is not there, or not with such arguments",
        Grouping => "The query does not group by a column that it asks for",
        Object => "The query names something that is not there",
        Parameter => "The query has a placeholder, which nothing fills in",
        Raised => "The query was stopped by a rule of the database's own",
        Schema => "The query names a schema that is not there",
        Syntax => "The query is not written in the database's SQL",
        Table => "The query names a table that is not there",
        TooComplex => "The query is more than the database can work out",
        Types => "The query puts types together that do not go together",
        Value => "The query comes upon a value that it cannot calculate with",
        Writes => "The query writes, and a dataset only reads",
        NotAQuery | Other | TooSlow => "The query does not fit the database",
    }
}

/// A database's word.
enum Refusal<'e> {
    Postgres(&'e PgDatabaseError),
    MySql(&'e MySqlDatabaseError),
}

fn refusal(error: &Error) -> Option<Refusal<'_>> {
    let Error::Database(error) = error else { return None };
    let postgres = error.try_downcast_ref().map(Refusal::Postgres);
    postgres.or_else(|| error.try_downcast_ref().map(Refusal::MySql))
}

/// What it means that no database said anything.
fn unanswered(error: &Error) -> Failure {
    let not_trusted = || Failure::transient("the database offers no TLS, or its certificate is not trusted");
    match error {
        Error::Io(error) if error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>()) => not_trusted(),
        Error::Io(_) => NoAnswer::Unreachable.into(),
        Error::Tls(_) => not_trusted(),
        Error::Configuration(_) => {
            Failure::transient("the database lets this user in by TLS only, or not by a password")
        }
        _ => Failure::transient(NOT_UNDERSTOOD),
    }
}

fn by_code_or_class<T>(code: &str, listed: impl Fn(&str) -> Option<T>) -> Option<T> {
    listed(code).or_else(|| listed(code.get(..2)?))
}

fn by_number<T: Copy>(table: &[(u16, T)], number: u16) -> Option<T> {
    table.iter().find(|(listed, _)| *listed == number).map(|(_, meaning)| *meaning)
}

/// Where in the person's own query PostgreSQL stumbled, from 1.
fn position(error: &PgDatabaseError, before: usize) -> Option<usize> {
    match error.position()? {
        PgErrorPosition::Original(position) => position.checked_sub(before).filter(|position| *position > 0),
        PgErrorPosition::Internal { .. } => None,
    }
}
