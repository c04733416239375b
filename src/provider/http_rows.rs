//! Reading rows of an API, page by page.

use super::{Credential, Haste, HttpQuery, NoRows, Provider, RowLimits, Rows};
use crate::catalogue::Connector;

impl Provider {
    pub(super) async fn read_http(
        &self,
        _connector: &Connector,
        _credential: &Credential,
        _account: Option<&str>,
        _query: &HttpQuery,
        _limits: &RowLimits,
        _haste: Haste,
    ) -> Result<Rows, NoRows> {
        Err(NoRows::Query("This data source has no API to ask.".to_owned()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryFault {
    #[error("x")]
    Path,
}
impl QueryFault {
    pub fn field(self) -> &'static str {
        "path"
    }
}
impl HttpQuery {
    pub fn check(&self, _connector: &Connector) -> Result<(), QueryFault> {
        Ok(())
    }
}
