//! What a dataset asks its source: checked, and as the tables keep it.

use entity::dataset;
use serde_json::{Map, Value, json};

use crate::{
    catalogue::{Auth, Connector},
    error::{Error, Result, UserError, UserErrorCode},
    provider::{HttpQuery, Query},
};

/// The longest SQL, in characters.
const LONGEST_SQL: usize = 20_000;

/// What somebody wants a dataset to ask its source.
#[derive(Debug, Clone)]
pub enum GivenQuery {
    Http {
        path: String,
        /// An object; nothing is one without members.
        parameters: Value,
        rows: String,
    },
    Sql(String),
}

/// The query that a source of this kind is to be asked; what is wrong with it is told below `query`.
pub(super) fn accept(connector: &Connector, given: GivenQuery) -> Result<Query> {
    let query = match given {
        GivenQuery::Sql(sql) => Query::Sql(sql),
        GivenQuery::Http { path, parameters, rows } => {
            let parameters = match parameters {
                Value::Null => Map::new(),
                Value::Object(parameters) if !holds_nul(&parameters) => parameters,
                _ => {
                    return Err(invalid(
                        &["query", "http", "parameters"],
                        "This has to be an object, without NUL characters.",
                    ));
                }
            };
            Query::Http(HttpQuery { path, parameters, rows })
        }
    };
    check(connector, &query)?;
    Ok(query)
}

/// PostgreSQL stores no NUL, and no API asks for one.
fn holds_nul(parameters: &Map<String, Value>) -> bool {
    fn within(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains('\0'),
            Value::Array(items) => items.iter().any(within),
            Value::Object(members) => holds_nul(members),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    parameters.iter().any(|(name, value)| name.contains('\0') || within(value))
}

/// Whether a source of this kind can be asked that.
pub(super) fn check(connector: &Connector, query: &Query) -> Result<()> {
    let takes_sql = matches!(connector.auth, Auth::Fields { driver: Some(_) });
    match query {
        Query::Sql(sql) if takes_sql => check_sql(sql),
        Query::Sql(_) => Err(invalid(&["query", "sql"], "This data source is asked by HTTP, not in SQL.")),
        Query::Http(_) if takes_sql => Err(invalid(&["query", "http"], "This data source is asked in SQL.")),
        Query::Http(_) if connector.api.is_none() => {
            Err(invalid(&["query", "http"], "This data source has no API that datasets can ask."))
        }
        Query::Http(http) => {
            http.check(connector).map_err(|fault| invalid(&["query", "http", fault.field()], fault.to_string()))
        }
    }
}

fn check_sql(sql: &str) -> Result<()> {
    let message = if sql.trim().is_empty() {
        "This must not be empty."
    } else if sql.contains('\0') {
        "This holds a character that no database takes."
    } else if sql.chars().nth(LONGEST_SQL).is_some() {
        "This is longer than 20,000 characters."
    } else {
        return Ok(());
    };
    Err(invalid(&["query", "sql"], message))
}

fn invalid(path: &[&str], message: impl Into<String>) -> Error {
    UserError::new(UserErrorCode::Invalid, message).at(path.iter().copied()).into()
}

/// The query for its column.
pub(super) fn to_json(query: &Query) -> Value {
    match query {
        Query::Sql(sql) => json!({ "sql": sql }),
        Query::Http(HttpQuery { path, parameters, rows }) => {
            json!({ "http": { "path": path, "parameters": parameters, "rows": rows } })
        }
    }
}

/// What a dataset asks its source.
///
/// # Errors
/// When its row holds no query: somebody else wrote it.
pub fn query_of(row: &dataset::Model) -> Result<Query> {
    if let Some(sql) = row.query["sql"].as_str() {
        return Ok(Query::Sql(sql.to_owned()));
    }
    let http = &row.query["http"];
    match (http["path"].as_str(), http["rows"].as_str()) {
        (Some(path), Some(rows)) => Ok(Query::Http(HttpQuery {
            path: path.to_owned(),
            parameters: http["parameters"].as_object().cloned().unwrap_or_default(),
            rows: rows.to_owned(),
        })),
        _ => Err(Error::internal("a dataset without a query")),
    }
}
