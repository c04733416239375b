//! Reading rows of a database, and whether it accepts a user.

use super::{Credential, Haste, NoRows, Provider, RowLimits, Rows};
use crate::catalogue::{Connector, Driver};

impl Provider {
    pub(super) async fn read_sql(
        &self,
        _driver: Driver,
        _connector: &Connector,
        _credential: &Credential,
        _sql: &str,
        _limits: &RowLimits,
        _haste: Haste,
    ) -> Result<Rows, NoRows> {
        Err(NoRows::Query("This data source is not asked in SQL.".to_owned()))
    }
}
