//! Attempts as the API shows them: what someone has to finish in a browser.

use async_graphql::{Context, Enum, ID, Object, Subscription};
use entity::attempt;
use futures_util::{Stream, StreamExt};

use super::{
    ApiError, AskedAccounts,
    authorizations::{AvailableAccount, account_page},
    beside,
    catalogue::Connector,
    connections::{Connection, ExternalAccount, connector},
    counts::int,
    execution::viewer,
    page::Page,
    scalars::{DateTime, Url, given, shown},
    services::services,
    user_error::UserError,
};
use crate::{
    connections::{attempt_connections, attempt_error},
    error::Result,
    ids::Kind,
};

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::AttemptKind")]
pub enum AttemptKind {
    /// A new connection.
    Connect,
    /// A connection that is there already.
    Reconnect,
}

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum AttemptStatus {
    /// Somebody is at the provider, or has not gone there yet.
    Pending,
    /// Signed in; someone has to choose an account, or say that another account is meant: `decideAttempt`.
    NeedsDecision,
    /// It works.
    Succeeded,
    /// Nothing was changed; `error` says why.
    Failed,
    /// Nobody finished it in time.
    Expired,
}

impl From<entity::AttemptStatus> for AttemptStatus {
    fn from(status: entity::AttemptStatus) -> Self {
        match status {
            entity::AttemptStatus::Pending | entity::AttemptStatus::Exchanging => Self::Pending,
            entity::AttemptStatus::NeedsDecision => Self::NeedsDecision,
            entity::AttemptStatus::Succeeded => Self::Succeeded,
            entity::AttemptStatus::Failed => Self::Failed,
            entity::AttemptStatus::Expired => Self::Expired,
        }
    }
}

/// A step that someone has to finish in a browser.
pub struct AuthorizationAttempt(attempt::Model);

impl From<attempt::Model> for AuthorizationAttempt {
    fn from(row: attempt::Model) -> Self {
        Self(row)
    }
}

/// A step that someone has to finish in a browser: send them to `authorizationUrl`, then watch `authorizationAttemptChanged`.
/// It lives for 10 minutes, and for 10 more once a decision is needed. A returnUrl receives `?attempt=<id>&status=<STATUS>`.
#[Object]
impl AuthorizationAttempt {
    /// The attempt's id.
    pub async fn id(&self) -> ID {
        shown(Kind::Attempt, self.0.id)
    }

    /// What it is for.
    async fn kind(&self) -> AttemptKind {
        self.0.kind.into()
    }

    /// How far it has come.
    async fn status(&self) -> AttemptStatus {
        self.0.status.into()
    }

    /// Where to send whoever is to finish it. The first browser to open it owns the attempt.
    async fn authorization_url(&self, ctx: &Context<'_>) -> Result<Url, ApiError> {
        Ok(services(ctx)?.connections.attempt_url(&self.0).into())
    }

    /// When it is too late.
    async fn expires_at(&self) -> DateTime {
        self.0.expires_at.into()
    }

    /// What kind of data source is connected.
    async fn connector(&self, ctx: &Context<'_>) -> Result<Connector, ApiError> {
        connector(services(ctx)?, &self.0.connector)
    }

    /// Who signed in at the provider; null before.
    async fn signed_in_as(&self) -> Option<ExternalAccount> {
        ExternalAccount::of(self.0.signed_in_id.as_deref(), self.0.signed_in_name.as_deref())
    }

    /// RECONNECT: who had signed in before.
    async fn expected_account(&self) -> Option<ExternalAccount> {
        ExternalAccount::of(self.0.expected_id.as_deref(), self.0.expected_name.as_deref())
    }

    /// The accounts to choose from while NEEDS_DECISION, for a connector that has several. Read live: null when the
    /// provider does not answer, too.
    async fn available_accounts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "In the account's name or id; case does not matter.")] search: Option<String>,
        #[graphql(desc = "How many from the start, 0 to 100. Default: 50.")] first: Option<i32>,
        #[graphql(desc = "A page's cursor: what follows it.")] after: Option<String>,
    ) -> Result<Option<Page<AvailableAccount>>, ApiError> {
        let (connections, viewer) = (&services(ctx)?.connections, viewer(ctx)?);
        let asking = connections.accounts_of_attempt(&self.0);
        let Some(opened) = AskedAccounts::of(ctx)?.once(self.0.id, asking).await? else { return Ok(None) };
        let page = connections.accounts_page(viewer, &opened, search.as_deref(), first, after.as_deref()).await?;
        Ok(Some(account_page(page)))
    }

    /// The connections it connected or reconnected, the first 100 by id; empty until SUCCEEDED.
    async fn connections(&self, ctx: &Context<'_>) -> Result<Vec<Connection>, ApiError> {
        let (ids, _) = attempt_connections(&self.0);
        beside::by_ids(ctx, &ids).await
    }

    /// How many it connected or reconnected.
    async fn connection_count(&self) -> i32 {
        int(attempt_connections(&self.0).1)
    }

    /// Connections of the same authorization that still do not work (they lost access on their own).
    async fn still_disconnected(&self, ctx: &Context<'_>) -> Result<Vec<Connection>, ApiError> {
        let rows = services(ctx)?.connections.still_disconnected(viewer(ctx)?, &self.0).await?;
        beside::list(ctx, rows).await
    }

    /// Why it FAILED.
    async fn error(&self) -> Option<UserError> {
        attempt_error(&self.0).map(UserError::from)
    }
}

/// The queries about attempts.
#[derive(Default)]
pub struct AttemptsQuery;

#[Object]
impl AttemptsQuery {
    /// A connect or reconnect that waits for someone to finish it. Only whoever started it sees it.
    async fn authorization_attempt(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The attempt's id.")] id: ID,
    ) -> Result<Option<AuthorizationAttempt>, ApiError> {
        let found = services(ctx)?.connections.attempt(viewer(ctx)?, given(Kind::Attempt, &id)).await?;
        Ok(found.map(AuthorizationAttempt::from))
    }
}

/// The subscriptions about attempts.
#[derive(Default)]
pub struct AttemptsSubscription;

#[Subscription]
impl AttemptsSubscription {
    /// Sends the attempt as it is, then each change, and completes once it has SUCCEEDED, FAILED or EXPIRED.
    async fn authorization_attempt_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The attempt's id.")] id: ID,
    ) -> Result<impl Stream<Item = Result<AuthorizationAttempt, ApiError>>, ApiError> {
        let changes = services(ctx)?.connections.attempt_changes(viewer(ctx)?, given(Kind::Attempt, &id)).await?;
        Ok(changes.map(|attempt| Ok(attempt?.into())))
    }
}
