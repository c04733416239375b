//! Connecting and reconnecting: the mutations, what they take and what comes of them.

use async_graphql::{Context, Enum, ID, InputObject, Object, OneofObject, SimpleObject};

use super::{
    ApiError,
    attempts::AuthorizationAttempt,
    authorizations::Authorization,
    beside,
    connections::Connection,
    disconnections::Disconnection,
    execution::viewer,
    loaders::loaders,
    scalars::{Url, given},
    services::services,
    user_error::{UserError, settle},
};
use crate::{
    connections::{self, Reconnected, Started},
    error::Result,
    ids::Kind,
};

/// What to do when someone signs in as another account than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::AccountChange")]
pub enum AccountChange {
    /// The attempt waits for a decision. (With credentials nothing can wait: ACCOUNT_MISMATCH, and nothing changes; send
    /// again with what is meant.)
    Ask,
    /// ACCOUNT_MISMATCH, and nothing changes.
    Refuse,
    /// This connection moves to the other account; the rest of its authorization stays as it is.
    ThisConnection,
    /// Every connection of the authorization moves, e.g. when the person who had connected them left.
    WholeAuthorization,
}

/// The value of one of a connector's fields. No error repeats it.
#[derive(InputObject)]
pub struct FieldInput {
    /// The field's name, as the connector has it.
    name: String,
    /// Its value.
    #[graphql(secret)]
    value: String,
}

fn pairs(fields: Vec<FieldInput>) -> Vec<(String, String)> {
    fields.into_iter().map(|field| (field.name, field.value)).collect()
}

/// Exactly one.
#[derive(OneofObject)]
pub enum ConnectUsing {
    /// Start an OAuth authorization in the browser.
    Browser(BrowserInput),
    /// Use an OAuth authorization that exists already: connected at once, no browser.
    AuthorizationId(ID),
    /// API key, user name and password, or the connector's own fields.
    Credentials(Vec<FieldInput>),
}

impl From<ConnectUsing> for connections::ConnectUsing {
    fn from(using: ConnectUsing) -> Self {
        match using {
            ConnectUsing::Browser(browser) => Self::Browser {
                fields: pairs(browser.fields.unwrap_or_default()),
                return_url: browser.return_url.map(|url| url.0.into()),
            },
            ConnectUsing::AuthorizationId(id) => Self::Authorization(given(Kind::Authorization, &id)),
            ConnectUsing::Credentials(fields) => Self::Credentials(pairs(fields)),
        }
    }
}

/// How to go to the provider, and where to come back to.
#[derive(InputObject)]
pub struct BrowserInput {
    /// The connector's fields, where it has any (a shop's name).
    fields: Option<Vec<FieldInput>>,
    /// Where to send the person afterwards; its origin must be allowed by the server. Default: a page that says it is
    /// done and closes itself.
    return_url: Option<Url>,
}

/// A data source to plug in.
#[derive(InputObject)]
pub struct ConnectInput {
    /// The connector's slug.
    connector: String,
    /// For whom; without it, for the workspace itself.
    client_id: Option<ID>,
    /// Default: the connector's and the account's name.
    name: Option<String>,
    /// One of availableAccounts. Where one is needed and not given, the attempt asks.
    account_id: Option<String>,
    /// Connecting again with a known one returns the connection that has it.
    external_id: Option<String>,
    /// What opens it.
    using: ConnectUsing,
}

impl From<ConnectInput> for connections::Connect {
    fn from(input: ConnectInput) -> Self {
        Self {
            connector: input.connector,
            client: input.client_id.map(|id| given(Kind::Client, &id)),
            name: input.name,
            account: input.account_id,
            external_id: input.external_id,
            using: input.using.into(),
        }
    }
}

/// What came of connecting.
#[derive(SimpleObject)]
pub struct ConnectPayload {
    /// Set when it was connected at once.
    connection: Option<Connection>,
    /// Set when a browser step follows.
    attempt: Option<AuthorizationAttempt>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// What an attempt waits for.
#[derive(InputObject)]
pub struct DecideAttemptInput {
    /// The attempt that NEEDS_DECISION.
    attempt_id: ID,
    /// The account that is meant: one of the attempt's availableAccounts.
    account_id: Option<String>,
    /// Whether the other account that signed in is meant.
    account_change: Option<AccountChange>,
}

/// For an attempt that NEEDS_DECISION. accountChange REFUSE ends it as FAILED with ACCOUNT_MISMATCH.
#[derive(SimpleObject)]
pub struct DecideAttemptPayload {
    /// The attempt as it is now.
    attempt: Option<AuthorizationAttempt>,
    /// What can be mended; empty when it was done.
    errors: Vec<UserError>,
}

/// A connection to get working again.
#[derive(InputObject)]
pub struct ReconnectInput {
    /// The connection. Every connection of its authorization works again with it.
    connection_id: ID,
    /// New credentials; for a connector that is not OAUTH2, one of this and nothing else serves.
    credentials: Option<Vec<FieldInput>>,
    /// Move it to an authorization that exists already; no browser.
    authorization_id: Option<ID>,
    /// What to do when someone signs in as another account than before.
    #[graphql(default_with = "Some(AccountChange::Ask)")]
    account_change: Option<AccountChange>,
    /// Where to send the person afterwards; its origin must be allowed by the server. Default: a page that says it is
    /// done and closes itself.
    return_url: Option<Url>,
}

impl From<ReconnectInput> for connections::Reconnect {
    fn from(input: ReconnectInput) -> Self {
        Self {
            connection: given(Kind::Connection, &input.connection_id),
            credentials: input.credentials.map(pairs),
            authorization: input.authorization_id.map(|id| given(Kind::Authorization, &id)),
            account_change: input.account_change.unwrap_or(AccountChange::Ask).into(),
            return_url: input.return_url.map(|url| url.0.into()),
        }
    }
}

/// What came of reconnecting.
pub struct ReconnectPayload {
    done: Option<Reconnected>,
    errors: Vec<UserError>,
}

/// What came of reconnecting.
#[Object]
impl ReconnectPayload {
    /// Set when a browser step follows.
    async fn attempt(&self) -> Option<AuthorizationAttempt> {
        match &self.done {
            Some(Reconnected::Attempt(attempt)) => Some(attempt.clone().into()),
            Some(Reconnected::Done { .. }) | None => None,
        }
    }

    /// Every connection that works again at once, the first 100 by id.
    async fn connections(&self, ctx: &Context<'_>) -> Result<Option<Vec<Connection>>, ApiError> {
        match &self.done {
            Some(Reconnected::Done { connections, .. }) => Ok(Some(beside::list(ctx, connections.clone()).await?)),
            Some(Reconnected::Attempt(_)) | None => Ok(None),
        }
    }

    /// The authorization that they work through now; null when a browser step follows.
    async fn authorization(&self) -> Option<Authorization> {
        match &self.done {
            Some(Reconnected::Done { authorization, .. }) => Some(authorization.clone().into()),
            Some(Reconnected::Attempt(_)) | None => None,
        }
    }

    /// The disconnection that ended with it, if it was one.
    async fn disconnection(&self, ctx: &Context<'_>) -> Result<Option<Disconnection>, ApiError> {
        match &self.done {
            Some(Reconnected::Done { disconnection: Some(id), .. }) => {
                Ok(loaders(ctx)?.disconnections.load_one(*id).await?.map(Disconnection::from))
            }
            _ => Ok(None),
        }
    }

    /// What can be mended; empty when it was done.
    async fn errors(&self) -> &[UserError] {
        &self.errors
    }
}

/// Connecting and reconnecting.
#[derive(Default)]
pub struct ConnectMutation;

#[Object]
impl ConnectMutation {
    /// Plugs a data source in, at once or by a browser step. Not for CLIENT; MEMBER only through authorizations they made.
    async fn connect(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The data source.")] input: ConnectInput,
    ) -> Result<ConnectPayload, ApiError> {
        let (done, errors) = settle(services(ctx)?.connections.connect(viewer(ctx)?, input.into()).await)?;
        let (connection, attempt) = match done {
            Some(Started::Connected(connection)) => (Some(connection.into()), None),
            Some(Started::Attempt(attempt)) => (None, Some(attempt.into())),
            None => (None, None),
        };
        Ok(ConnectPayload { connection, attempt, errors })
    }

    /// Says what an attempt waits for: which account, or that another one is meant. For whoever started it.
    async fn decide_attempt(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The decision.")] input: DecideAttemptInput,
    ) -> Result<DecideAttemptPayload, ApiError> {
        let (attempt, change) = (given(Kind::Attempt, &input.attempt_id), input.account_change.map(Into::into));
        let decided = services(ctx)?.connections.decide(viewer(ctx)?, attempt, input.account_id, change).await;
        let (attempt, errors) = settle(decided)?;
        Ok(DecideAttemptPayload { attempt: attempt.map(Into::into), errors })
    }

    /// Gets a connection working again, and every other one of its authorization with it: at once or by a browser step.
    /// For whoever may tend it.
    async fn reconnect(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connection, and by what.")] input: ReconnectInput,
    ) -> Result<ReconnectPayload, ApiError> {
        let (done, errors) = settle(services(ctx)?.connections.reconnect(viewer(ctx)?, input.into()).await)?;
        Ok(ReconnectPayload { done, errors })
    }
}
