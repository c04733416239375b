//! Reading rows: what a dataset asks of its source, what comes back, and how much of it at most.
//!
//! What is asked of an API, page by page, is in `http_rows.rs`; what is asked of a database in `sql.rs`.

use std::time::Duration;

use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;

use super::{Credential, Failure, Provider, Turn};
use crate::catalogue::{Auth, Connector, Pointer};

/// What a dataset asks its source.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    Http(HttpQuery),
    Sql(String),
}

/// A request to the connector's API.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpQuery {
    /// Relative to the API's base URL; `{account.id}` stands for the connection's account.
    pub path: String,
    /// The query of a GET, the JSON body of a POST; which of them an API takes is in the connector's file.
    pub parameters: Map<String, Value>,
    /// Where the answer has the list of rows. An object there is one row; a member that is no object becomes a row with
    /// the one column `value`.
    pub rows: Pointer,
}

/// Rows, as they came.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// In the order in which they first appear.
    pub columns: Vec<String>,
    /// A JSON object each, with every digit that its source wrote.
    pub rows: Vec<Box<RawValue>>,
}

/// How much is read at most; beyond any of it nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLimits {
    pub pages: usize,
    pub rows: usize,
    /// Of the rows as JSON.
    pub bytes: usize,
    /// For all of it.
    pub time: Duration,
}

impl RowLimits {
    /// How many bytes, for people.
    pub(super) fn size(&self) -> String {
        const MIB: usize = 1 << 20;
        match self.bytes {
            bytes if bytes % MIB == 0 => format!("{} MiB", bytes / MIB),
            bytes => format!("{bytes} bytes"),
        }
    }
}

/// Whether somebody waits for the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    AtOnce,
    /// Nobody does: each page is asked for in the connector's turn, as one of this workspace's.
    InTurn(Uuid),
}

/// Why there are no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRows {
    /// What the source says of the credential, or that it says nothing.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The query does not fit the source: nothing but another query helps. A sentence for people that repeats nothing of
    /// the query, of the answer and of the credential.
    #[error("{0}")]
    Query(String),
    /// There is more than is read. A sentence for people.
    #[error("{0}")]
    TooMuch(String),
    /// Nobody waited for them, and this server begins nothing more.
    #[error("this server is stopping")]
    Stopping,
}

impl Provider {
    /// Reads what `query` asks for with the credential, of that account where the connector has accounts.
    pub async fn read(
        &self,
        connector: &Connector,
        credential: &Credential,
        account: Option<&str>,
        query: &Query,
        limits: &RowLimits,
        haste: Haste,
    ) -> Result<Rows, NoRows> {
        match (&connector.auth, query) {
            (Auth::Fields { driver: Some(driver) }, Query::Sql(sql)) => {
                self.read_sql(*driver, connector, credential, sql, limits, haste).await
            }
            (_, Query::Http(query)) => self.read_http(connector, credential, account, query, limits, haste).await,
            (_, Query::Sql(_)) => Err(NoRows::Query("This data source is not asked in SQL.".to_owned())),
        }
    }

    /// A turn where nobody waits for the rows; whoever does goes at once.
    pub(super) async fn turn_in(&self, connector: &Connector, haste: Haste) -> Result<Option<Turn>, NoRows> {
        match haste {
            Haste::AtOnce => Ok(None),
            Haste::InTurn(workspace) => self.turn(connector, workspace).await.map(Some).ok_or(NoRows::Stopping),
        }
    }
}
