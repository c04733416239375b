//! Connecting many accounts at once: the mutation, what it takes and what comes of each row.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    ApiError,
    connections::Connection,
    execution::viewer,
    scalars::given,
    services::services,
    user_error::{UserError, settle},
};
use crate::{connections, error::Result, ids::Kind};

/// Connect many accounts of one authorization at once: a manager account with 300 clients. At most 500; rows stand or
/// fall alone.
#[derive(InputObject)]
pub struct ConnectAccountsInput {
    /// An OAUTH2 authorization that works.
    authorization_id: ID,
    /// The rows: 1 to 500.
    accounts: Vec<AccountToConnect>,
}

/// One account for one client.
#[derive(InputObject)]
pub struct AccountToConnect {
    /// One of the authorization's availableAccounts.
    account_id: String,
    /// For whom; without it, for the workspace itself.
    client_id: Option<ID>,
    /// Default: the connector's and the account's name.
    name: Option<String>,
    /// Connecting again with a known one returns the connection that has it.
    external_id: Option<String>,
}

impl From<ConnectAccountsInput> for connections::ConnectAccounts {
    fn from(input: ConnectAccountsInput) -> Self {
        Self {
            authorization: given(Kind::Authorization, &input.authorization_id),
            accounts: input.accounts.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<AccountToConnect> for connections::AccountToConnect {
    fn from(row: AccountToConnect) -> Self {
        Self {
            account: row.account_id,
            client: row.client_id.map(|id| given(Kind::Client, &id)),
            name: row.name,
            external_id: row.external_id,
        }
    }
}

/// What came of connecting many accounts.
#[derive(SimpleObject)]
pub struct ConnectAccountsPayload {
    /// What came of each row, in the order given; null when nothing could be done at all.
    results: Option<Vec<ConnectAccountResult>>,
    /// Why nothing could be done at all. What is wrong with a row is in its result.
    errors: Vec<UserError>,
}

/// What came of one row.
#[derive(SimpleObject)]
pub struct ConnectAccountResult {
    /// The account, as the row names it.
    account_id: String,
    /// The connection; the one that was there, when its externalId was known already.
    connection: Option<Connection>,
    /// Why the row fell; `field` begins with `accounts` and its place, e.g. ["accounts", "3", "clientId"].
    errors: Vec<UserError>,
}

impl From<connections::ConnectedAccount> for ConnectAccountResult {
    fn from(connected: connections::ConnectedAccount) -> Self {
        let (connection, errors) = match connected.outcome {
            Ok(connection) => (Some(connection.into()), Vec::new()),
            Err(errors) => (None, errors.into_iter().map(UserError::from).collect()),
        };
        Self { account_id: connected.account, connection, errors }
    }
}

/// Connecting many accounts at once.
#[derive(Default)]
pub struct ConnectAccountsMutation;

#[Object]
impl ConnectAccountsMutation {
    /// Connects many accounts of one authorization at once. Not for CLIENT; MEMBER only through authorizations they made.
    async fn connect_accounts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The authorization, and which of its accounts for whom.")] input: ConnectAccountsInput,
    ) -> Result<ConnectAccountsPayload, ApiError> {
        let done = services(ctx)?.connections.connect_accounts(viewer(ctx)?, input.into()).await;
        let (rows, errors) = settle(done)?;
        let results = rows.map(|rows| rows.into_iter().map(ConnectAccountResult::from).collect());
        Ok(ConnectAccountsPayload { results, errors })
    }
}
