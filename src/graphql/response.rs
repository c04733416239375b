//! What comes back: an answer, a refusal before anything ran, an event of a subscription.

use std::sync::Arc;

use async_graphql::{Pos, ServerError, Value};
use serde::Serialize;

use super::errors::{self, Code};
use super::request::RequestId;
use crate::error::Error;

/// What a refusal is about; HTTP tells the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The request around the document: its JSON, its parameters, who asks, how often.
    Request,
    /// The document: its text, its size, how it fits the schema and the variables.
    Document,
}

/// A request that was not executed.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub(super) errors: Vec<ServerError>,
    /// What it is about.
    pub subject: Subject,
}

impl Refusal {
    /// A request that is no GraphQL request. `message` repeats nothing that was submitted.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self { errors: vec![errors::coded(Code::BadUserInput, message, Vec::new())], subject: Subject::Request }
    }

    /// A request that `error` keeps from being executed.
    pub fn because(error: Error, id: RequestId) -> Self {
        Self { errors: vec![errors::reveal(error, id)], subject: Subject::Request }
    }

    /// The same mutation was sent before, and is still being done.
    pub(super) fn still_running() -> Self {
        let message = "The first request with this Idempotency-Key is still being worked on. Send it again later.";
        Self { errors: vec![errors::coded(Code::Unavailable, message, Vec::new())], subject: Subject::Request }
    }

    /// A document that only a viewer may ask.
    pub(super) fn nobody_asks(id: RequestId) -> Self {
        Self::about_document(Error::Unauthenticated, id)
    }

    /// A document whose answer `error` keeps from being given.
    pub(super) fn about_document(error: Error, id: RequestId) -> Self {
        Self { subject: Subject::Document, ..Self::because(error, id) }
    }

    /// The code that it is refused with.
    pub fn code(&self) -> &'static str {
        self.errors.first().and_then(errors::code_of).unwrap_or(Code::Internal).as_str()
    }

    pub(super) fn invalid(message: impl Into<String>, at: Vec<Pos>) -> Self {
        Self { errors: vec![errors::coded(Code::BadUserInput, message, at)], subject: Subject::Document }
    }

    /// A document that the executor refused with these errors.
    pub(super) fn of(errors: Vec<ServerError>) -> Self {
        Self { errors, subject: Subject::Document }
    }

    pub(super) fn too_complex(message: impl Into<String>, at: Option<Pos>) -> Self {
        Self {
            errors: vec![errors::coded(Code::TooComplex, message, at.into_iter().collect())],
            subject: Subject::Document,
        }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self { outcome: Outcome::Refused(refusal.subject), errors: refusal.errors, passing: false }
    }
}

/// What a query, a mutation or one event of a subscription came to. It holds no submitted value and no internal text.
#[derive(Debug)]
pub struct Response {
    outcome: Outcome,
    errors: Vec<ServerError>,
    /// A payload says that somebody outside could not be asked now.
    passing: bool,
}

#[derive(Debug)]
enum Outcome {
    Refused(Subject),
    Executed(Value),
}

impl Response {
    pub(super) fn executed(data: Value, errors: Vec<ServerError>) -> Self {
        Self { outcome: Outcome::Executed(data), errors, passing: false }
    }

    pub(super) fn passing(self, passing: bool) -> Self {
        Self { passing, ..self }
    }

    /// What was refused, when nothing was executed.
    pub fn refused(&self) -> Option<Subject> {
        match self.outcome {
            Outcome::Refused(subject) => Some(subject),
            Outcome::Executed(_) => None,
        }
    }

    /// Whether one of its errors has this code.
    pub fn has(&self, code: Code) -> bool {
        self.errors.iter().any(|error| errors::code_of(error) == Some(code))
    }

    /// How it ended: the code of its first error, or OK.
    pub fn code(&self) -> &'static str {
        let first = self.errors.first().map(|error| errors::code_of(error).unwrap_or(Code::Internal));
        first.map_or("OK", Code::as_str)
    }

    /// Its errors with this code.
    pub(super) fn errors_with(&self, code: Code) -> impl Iterator<Item = &ServerError> {
        self.errors.iter().filter(move |error| errors::code_of(error) == Some(code))
    }

    /// How long to wait, when it is refused for coming too often.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.errors.iter().find_map(errors::retry_after_seconds)
    }

    /// Whether sending the same again would bring the same: nothing of it was refused by the way, and nothing that passes
    /// by itself was met, be it in one of several fields.
    pub(super) fn is_for_good(&self) -> bool {
        let passes = self.passing || self.has(Code::Unavailable) || self.has(Code::Internal);
        let in_vain = self.is_nothing_but_errors() && self.has(Code::Unauthenticated);
        self.refused().is_none() && !passes && !in_vain
    }

    /// Whether it says nothing but errors.
    fn is_nothing_but_errors(&self) -> bool {
        !self.errors.is_empty() && matches!(self.outcome, Outcome::Refused(_) | Outcome::Executed(Value::Null))
    }

    /// The response as JSON (GraphQL specification, section 7.1): `data` is absent when nothing was executed.
    pub fn to_json(&self) -> String {
        let data = match &self.outcome {
            Outcome::Executed(data) => Some(data),
            Outcome::Refused(_) => None,
        };
        json(&Body { data, errors: &self.errors })
    }

    fn errors_to_json(&self) -> String {
        json(&self.errors)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
}

/// Only a map with keys that are no strings cannot be written as JSON, and a response has none.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value)
        .unwrap_or_else(|_| r#"{"errors":[{"message":"The answer cannot be written."}]}"#.to_owned())
}

/// What a running operation sends. After anything but `Next` it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A response as JSON, serialised once for however many sockets it goes to.
    Next(Arc<str>),
    /// The errors that kept the operation from running, or ended it, as a JSON list.
    Error(Arc<str>),
    /// The viewer may not ask any longer: withdrawn, inactive or expired.
    Unauthorized,
    /// There is nothing more to come.
    Complete,
}

impl Event {
    /// The operation ends with `refusal`.
    pub fn refused(refusal: Refusal) -> Self {
        Self::of(Response::from(refusal))
    }

    /// One response of an operation; `Error` or `Unauthorized` when it ends it.
    pub(super) fn of(response: Response) -> Self {
        if !response.is_nothing_but_errors() {
            Self::Next(response.to_json().into())
        } else if response.has(Code::Unauthenticated) {
            Self::Unauthorized
        } else {
            Self::Error(response.errors_to_json().into())
        }
    }

    /// The one response of a query or mutation: also an answer of nothing but errors is an answer, unless nothing ran.
    pub(super) fn of_single(response: Response) -> Self {
        if response.has(Code::Unauthenticated) || response.refused().is_some() {
            Self::of(response)
        } else {
            Self::Next(response.to_json().into())
        }
    }
}
