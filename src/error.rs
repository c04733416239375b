//! What can go wrong, as callers match it.
//!
//! - [`UserError`]: what whoever sent a mutation can mend; it comes back in the payload's `errors`.
//! - The other variants of [`Error`]: a code with a safe message, beside the data.
//! - [`InternalError`]: what only the operator can mend. It is logged once, with the request's id; the client sees that id alone.
//!
//! No message repeats a submitted value.

mod passing;
mod while_away;

use sea_orm::DbErr;
use tokio::task::JoinError;
use uuid::Uuid;

pub use self::while_away::while_away;

use self::passing::Failure;
use crate::{retries, tasks::TaskError};

/// A domain operation's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a domain operation did not do what was asked.
#[derive(Debug, Clone)]
pub enum Error {
    /// Nobody is signed in, or no longer.
    Unauthenticated,
    /// Someone of several workspaces, who has to name one.
    WorkspaceUnnamed,
    /// The role can never do this, or not to this visible thing.
    Forbidden,
    /// A query's argument is not valid.
    BadInput(String),
    /// The input of a mutation can be mended.
    Rejected(Vec<UserError>),
    /// The document asks for more than the server answers at once.
    TooComplex(String),
    RateLimited {
        retry_after_seconds: u32,
    },
    /// A journal cursor that cannot be followed: read the list again.
    CursorExpired,
    /// The server cannot answer now (its database is away, it is stopping).
    Unavailable,
    Internal(InternalError),
}

impl Error {
    /// One mendable error about the input `field`.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        UserError::new(UserErrorCode::Invalid, message).at([field]).into()
    }

    /// The input `field` names nothing that this viewer can see.
    pub fn not_found(field: &str) -> Self {
        UserError::new(UserErrorCode::NotFound, "There is nothing with this id.").at([field]).into()
    }

    /// Something that must not happen happened.
    pub fn internal(what: impl Into<String>) -> Self {
        Self::Internal(InternalError(what.into()))
    }
}

impl From<UserError> for Error {
    fn from(error: UserError) -> Self {
        Self::Rejected(vec![error])
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match Failure::of(&error) {
            Failure::Lasting => return Self::Internal(InternalError(error.to_string())),
            Failure::Contended => retries::note_contended(),
            Failure::Away => {}
        }
        tracing::warn!(%error, "the database could not do this now");
        Self::Unavailable
    }
}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        Self::internal(error.to_string())
    }
}

/// A computation beside the tasks that panicked.
impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        Self::internal(error.to_string())
    }
}

/// An error for the log, never for a client.
#[derive(Debug, Clone)]
pub struct InternalError(pub String);

/// An error that the sender of a mutation can mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserError {
    pub code: UserErrorCode,
    pub message: String,
    /// Path to the offending input.
    pub field: Option<Vec<String>>,
    pub conflicts_with: Option<Conflict>,
}

impl UserError {
    /// An error about no field in particular.
    pub fn new(code: UserErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, conflicts_with: None }
    }

    /// The same, at the input that `path` leads to.
    #[must_use]
    pub fn at<S: Into<String>>(mut self, path: impl IntoIterator<Item = S>) -> Self {
        self.field = Some(path.into_iter().map(Into::into).collect());
        self
    }

    /// The same, naming what is in the way.
    #[must_use]
    pub fn against(mut self, conflict: Conflict) -> Self {
        self.conflicts_with = Some(conflict);
        self
    }
}

/// What is in the way of a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    Client(Uuid),
    Connection(Uuid),
    Authorization(Uuid),
    User(Uuid),
    Dataset(Uuid),
}

/// The codes of the contract's `UserErrorCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserErrorCode {
    NotFound,
    Invalid,
    NotConfigured,
    Rejected,
    Denied,
    AccountMismatch,
    MissingScopes,
    ProviderUnavailable,
    Conflict,
    TooMany,
}

impl UserErrorCode {
    const ALL: [(Self, &str); 10] = [
        (Self::NotFound, "NOT_FOUND"),
        (Self::Invalid, "INVALID"),
        (Self::NotConfigured, "NOT_CONFIGURED"),
        (Self::Rejected, "REJECTED"),
        (Self::Denied, "DENIED"),
        (Self::AccountMismatch, "ACCOUNT_MISMATCH"),
        (Self::MissingScopes, "MISSING_SCOPES"),
        (Self::ProviderUnavailable, "PROVIDER_UNAVAILABLE"),
        (Self::Conflict, "CONFLICT"),
        (Self::TooMany, "TOO_MANY"),
    ];

    /// The code as the contract spells it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(code, _)| *code == self).map_or("INVALID", |(_, text)| text)
    }

    /// The code that the contract spells so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, spelled)| *spelled == text).map(|(code, _)| *code)
    }
}
