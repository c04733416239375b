//! A request as it comes in, by whatever transport, and the id it is found by in the log.

use std::fmt;

use async_graphql::Variables;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::kept_answers::IdempotencyKey;
use super::response::Refusal;
use crate::clock::{SharedClock, SharedEntropy};
use crate::ids;

/// Names one HTTP request, or one operation of a socket, in the log and in what the client sees (`x-request-id`, `requestId`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Gives request ids: UUIDv7, so that they sort by time.
#[derive(Clone)]
pub struct RequestIds {
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl RequestIds {
    /// Ids of this clock and this random source.
    pub fn new(clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self { clock, entropy }
    }

    /// The next id.
    pub fn next(&self) -> RequestId {
        RequestId(ids::new(self.clock.now(), self.entropy.as_ref()))
    }
}

impl fmt::Debug for RequestIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestIds")
    }
}

/// The parameters of a GraphQL request (GraphQL over HTTP, section 5.1). No Debug: variables hold secrets.
#[derive(Clone, Default)]
pub struct RawRequest {
    pub(super) query: String,
    pub(super) operation_name: Option<String>,
    pub(super) variables: Variables,
    pub(super) idempotency_key: Option<IdempotencyKey>,
}

impl RawRequest {
    /// From a JSON object with `query` and maybe `operationName`, `variables`, `extensions`.
    ///
    /// # Errors
    /// A parameter of another type. The message names the parameter and not what it was.
    pub fn from_json(request: Value) -> Result<Self, Refusal> {
        let Value::Object(mut parameters) = request else {
            return Err(Refusal::malformed("A GraphQL request is a JSON object."));
        };
        let query = match parameters.remove("query") {
            Some(Value::String(query)) => query,
            _ => return Err(Refusal::malformed("The parameter query must be a string.")),
        };
        let operation_name = match parameters.remove("operationName") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err(Refusal::malformed("The parameter operationName must be a string.")),
        };
        let idempotency_key = named(&map(&mut parameters, "extensions")?)?;
        let variables = Variables::from_json(Value::Object(map(&mut parameters, "variables")?));
        Ok(Self { query, operation_name, variables, idempotency_key })
    }

    /// The same under the key of the header `Idempotency-Key`, where there is one.
    ///
    /// # Errors
    /// It names another key itself.
    pub fn under(self, key: Option<&IdempotencyKey>) -> Result<Self, Refusal> {
        match (&self.idempotency_key, key) {
            (Some(own), Some(key)) if own != key => {
                Err(Refusal::malformed("Idempotency-Key and extensions.idempotencyKey name different keys."))
            }
            (own, key) => Ok(Self { idempotency_key: own.as_ref().or(key).cloned(), ..self }),
        }
    }
}

/// The key that `extensions` name: how a request says it that has no headers of its own.
fn named(extensions: &Map<String, Value>) -> Result<Option<IdempotencyKey>, Refusal> {
    match extensions.get("idempotencyKey") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let key = value.as_str().and_then(IdempotencyKey::parse);
            key.map(Some).ok_or_else(|| Refusal::malformed(IdempotencyKey::WANTED))
        }
    }
}

fn map(parameters: &mut Map<String, Value>, name: &str) -> Result<Map<String, Value>, Refusal> {
    match parameters.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(Refusal::malformed(format!("The parameter {name} must be an object."))),
    }
}
