//! Errors as clients see them: a code in `extensions`, a message that repeats nothing submitted and nothing internal.
//!
//! Resolvers return `Result<T, ApiError>`. An [`ApiError`] is made from the domain's [`Error`] and from nothing else: a stray `?` on
//! another error does not compile, where the executor's own error type takes whatever can be displayed and publishes it.
//!
//! ```compile_fail,E0277
//! fn resolver(found: Result<u8, sea_orm::DbErr>) -> Result<u8, patchbay::graphql::ApiError> {
//!     Ok(found?)
//! }
//! ```
//!
//! What an `ApiError` meant travels as the source of the executor's error and is [revealed](reveal) at the end, when the request's id is
//! known. Whatever comes without that source came from the executor and is reworded (see `wording`).

use std::sync::Arc;

use async_graphql::{ErrorExtensionValues, Pos, ServerError, Value};

use super::request::RequestId;
use crate::error::{Error, InternalError};

const RETRY_AFTER: &str = "retryAfterSeconds";

/// The codes of top-level errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Unauthenticated,
    Forbidden,
    BadUserInput,
    TooComplex,
    RateLimited,
    CursorExpired,
    Unavailable,
    Internal,
}

impl Code {
    const ALL: [Self; 8] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::BadUserInput,
        Self::TooComplex,
        Self::RateLimited,
        Self::CursorExpired,
        Self::Unavailable,
        Self::Internal,
    ];

    /// As `extensions.code` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::TooComplex => "TOO_COMPLEX",
            Self::RateLimited => "RATE_LIMITED",
            Self::CursorExpired => "CURSOR_EXPIRED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// The only error that a resolver returns. It cannot be displayed, so nothing converts it by its text.
#[derive(Clone)]
pub struct ApiError(Arc<Error>);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(Arc::new(error))
    }
}

impl From<ApiError> for async_graphql::Error {
    fn from(ApiError(error): ApiError) -> Self {
        let mut carrier = Self::new(message(&error));
        carrier.extensions = Some(extensions(&error));
        carrier.source = Some(error);
        carrier
    }
}

/// An error with a code, at these places of the document.
pub(super) fn coded(code: Code, message: impl Into<String>, at: Vec<Pos>) -> ServerError {
    let mut error = ServerError::new(message, None);
    error.locations = at;
    error.extensions = Some(with_code(code));
    error
}

/// The code of an error that went through here.
pub(super) fn code_of(error: &ServerError) -> Option<Code> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(text) => Code::ALL.into_iter().find(|code| code.as_str() == text),
        _ => None,
    }
}

/// What a [`Code::RateLimited`] error says.
pub(super) fn retry_after_seconds(error: &ServerError) -> Option<u64> {
    match error.extensions.as_ref()?.get(RETRY_AFTER)? {
        Value::Number(seconds) => seconds.as_u64(),
        _ => None,
    }
}

/// `error` as a client may see it, outside of any field. What is internal is logged.
pub(super) fn reveal(error: Error, id: RequestId) -> ServerError {
    let mut revealed = ServerError::new(message(&error), None);
    revealed.extensions = Some(extensions(&error));
    log_internal(&error, &mut revealed, id);
    revealed
}

/// Finishes an error that a resolver returned: logs what is internal. False when no resolver of ours returned it.
pub(super) fn finish(returned: &mut ServerError, id: RequestId) -> bool {
    let Some(source) = returned.source.take() else { return false };
    match source.downcast_ref::<Error>() {
        Some(error) => log_internal(error, returned, id),
        // Somebody else's error reached the executor by its text: that text is not for clients.
        None => {
            let hidden = Error::internal(std::mem::take(&mut returned.message));
            returned.message = message(&hidden);
            returned.extensions = Some(extensions(&hidden));
            log_internal(&hidden, returned, id);
        }
    }
    true
}

/// An INTERNAL error of which the log has been told.
pub(super) fn told(id: RequestId) -> ServerError {
    let error = Error::internal(String::new());
    let mut shown = ServerError::new(message(&error), None);
    shown.extensions = Some(extensions(&error));
    shown.extensions.get_or_insert_default().set("requestId", id.to_string());
    shown
}

fn log_internal(error: &Error, shown: &mut ServerError, id: RequestId) {
    if let Error::Internal(InternalError(what)) = error {
        tracing::error!(request_id = %id, error = what.as_str(), "a request failed");
        shown.extensions.get_or_insert_default().set("requestId", id.to_string());
    }
}

fn message(error: &Error) -> String {
    match error {
        Error::Unauthenticated => "Sign in: this needs a valid token or API key.".to_owned(),
        Error::WorkspaceUnnamed => "You are in several workspaces: name one in the header Patchbay-Workspace, or under that name in the payload of connection_init.".to_owned(),
        Error::Forbidden => "This is not permitted.".to_owned(),
        Error::BadInput(message) | Error::TooComplex(message) => message.clone(),
        Error::Rejected(errors) => errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join(" "),
        Error::RateLimited { retry_after_seconds } => {
            format!("Too many requests. Try again in {retry_after_seconds} s.")
        }
        Error::CursorExpired => "What followed this cursor is not kept any longer. Read the list again.".to_owned(),
        Error::Unavailable => "The server cannot answer now. Try again.".to_owned(),
        Error::Internal(_) => "Something went wrong here. The operator finds it by the requestId.".to_owned(),
    }
}

fn extensions(error: &Error) -> ErrorExtensionValues {
    let mut extensions = with_code(match error {
        Error::Unauthenticated | Error::WorkspaceUnnamed => Code::Unauthenticated,
        Error::Forbidden => Code::Forbidden,
        Error::BadInput(_) | Error::Rejected(_) => Code::BadUserInput,
        Error::TooComplex(_) => Code::TooComplex,
        Error::RateLimited { .. } => Code::RateLimited,
        Error::CursorExpired => Code::CursorExpired,
        Error::Unavailable => Code::Unavailable,
        Error::Internal(_) => Code::Internal,
    });
    if let Error::RateLimited { retry_after_seconds } = error {
        extensions.set(RETRY_AFTER, *retry_after_seconds);
    }
    extensions
}

fn with_code(code: Code) -> ErrorExtensionValues {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", code.as_str());
    extensions
}
