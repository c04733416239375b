//! What the sender of a mutation can mend, as its payload shows it.

use async_graphql::{Context, Enum, Object};

use super::{
    ApiError,
    node::{self, Node},
};
use crate::{
    connections::conflict_node,
    error::{self, Error, Result},
    retries,
};

/// What was wrong with the input of a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::error::UserErrorCode")]
pub enum UserErrorCode {
    /// The field names nothing that is there and visible to the viewer.
    NotFound,
    /// The field's value cannot be used.
    Invalid,
    /// The connector has no OAuth client configured on this server.
    NotConfigured,
    /// The provider did not accept the credentials or the code.
    Rejected,
    /// The person pressed Cancel at the provider.
    Denied,
    /// Signed in as another account than before; `accountChange` says that it is meant.
    AccountMismatch,
    /// The provider granted less than the connector needs.
    MissingScopes,
    /// The provider could not be reached, or failed. Nothing was changed; try again.
    ProviderUnavailable,
    /// E.g. that account is connected for that client already; `conflictsWith` is what is in the way.
    Conflict,
    /// There are as many of these as there may be; the message says what to do.
    TooMany,
}

/// Something that whoever sent the mutation can mend. New codes may come: treat an unknown one like INVALID.
pub struct UserError(error::UserError);

impl From<error::UserError> for UserError {
    fn from(error: error::UserError) -> Self {
        let passes = [error::UserErrorCode::ProviderUnavailable, error::UserErrorCode::TooMany];
        if passes.contains(&error.code) {
            retries::note_passing();
        }
        Self(error)
    }
}

/// Something that whoever sent the mutation can mend. New codes may come: treat an unknown one like INVALID.
#[Object]
impl UserError {
    /// What kind of error it is, for programs.
    async fn code(&self) -> UserErrorCode {
        self.0.code.into()
    }

    /// What is wrong, for people. It repeats nothing that was submitted.
    async fn message(&self) -> &str {
        &self.0.message
    }

    /// Path to the offending input, e.g. ["using", "credentials", "0"].
    async fn field(&self) -> Option<&[String]> {
        self.0.field.as_deref()
    }

    /// What is in the way, as far as the viewer may see it.
    async fn conflicts_with(&self, ctx: &Context<'_>) -> Result<Option<Node>, ApiError> {
        let Some(conflict) = self.0.conflicts_with else { return Ok(None) };
        node::find(ctx, conflict_node(conflict)).await
    }
}

/// The two outcomes that a mutation's payload shows: what came of it, or what can be mended. Any other is a top-level
/// error.
pub fn settle<T>(outcome: Result<T>) -> Result<(Option<T>, Vec<UserError>), ApiError> {
    match outcome {
        Ok(done) => Ok((Some(done), Vec::new())),
        Err(Error::Rejected(errors)) => Ok((None, errors.into_iter().map(UserError::from).collect())),
        Err(other) => Err(other.into()),
    }
}
