//! What came of an attempt, read back from its row.

use entity::attempt;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    error::{Conflict, UserError, UserErrorCode},
    ids::{Kind, NodeId},
};

/// The connections that an attempt brought, as its row keeps them.
#[derive(Default, Deserialize)]
struct Brought {
    first: Vec<Uuid>,
    count: u64,
}

/// The connections that an attempt connected or reconnected: the first 100 by id, and how many in all. None until it
/// has succeeded.
pub fn attempt_connections(attempt: &attempt::Model) -> (Vec<Uuid>, u64) {
    let brought = Brought::deserialize(&attempt.connections).unwrap_or_default();
    (brought.first, brought.count)
}

/// Why an attempt failed.
pub fn attempt_error(attempt: &attempt::Model) -> Option<UserError> {
    let code = UserErrorCode::parse(attempt.error_code.as_deref()?)?;
    let error = UserError::new(code, attempt.error_message.clone().unwrap_or_default());
    Some(UserError { conflicts_with: attempt.error_conflict.as_deref().and_then(conflict), ..error })
}

fn conflict(node: &str) -> Option<Conflict> {
    let NodeId { kind, id } = node.parse().ok()?;
    match kind {
        Kind::Client => Some(Conflict::Client(id)),
        Kind::Connection => Some(Conflict::Connection(id)),
        Kind::Authorization => Some(Conflict::Authorization(id)),
        Kind::User => Some(Conflict::User(id)),
        _ => None,
    }
}
