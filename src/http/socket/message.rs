//! The messages of graphql-transport-ws.

use std::fmt::Display;
use std::sync::Arc;

use serde_json::{Map, Value};

/// An operation's id, as the JSON string that every message about it repeats.
pub(super) type Id = Arc<str>;

/// The longest id; each event repeats it.
const LONGEST_ID: usize = 256;

/// What a client says.
pub(super) enum Incoming {
    Init { payload: Value },
    Ping,
    Pong,
    Subscribe { id: Id, request: Value },
    Complete { id: Id },
}

impl Incoming {
    /// The message that `text` is, if it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Value::Object(mut message) = serde_json::from_str(text).ok()? else { return None };
        Some(match message.get("type")?.as_str()? {
            "connection_init" => Self::Init { payload: optional_map(&mut message)? },
            "ping" => optional_map(&mut message).map(|_| Self::Ping)?,
            "pong" => optional_map(&mut message).map(|_| Self::Pong)?,
            "subscribe" => {
                Self::Subscribe { id: id(&message)?, request: message.remove("payload").filter(Value::is_object)? }
            }
            "complete" => Self::Complete { id: id(&message)? },
            _ => return None,
        })
    }
}

fn optional_map(message: &mut Map<String, Value>) -> Option<Value> {
    match message.remove("payload") {
        None => Some(Value::Null),
        Some(payload) => (payload.is_object() || payload.is_null()).then_some(payload),
    }
}

fn id(message: &Map<String, Value>) -> Option<Id> {
    let id = message.get("id")?.as_str().filter(|id| !id.is_empty() && id.len() <= LONGEST_ID)?;
    serde_json::to_string(id).ok().map(Id::from)
}

/// `connection_ack`.
pub(super) fn ack() -> String {
    r#"{"type":"connection_ack"}"#.to_owned()
}

/// `pong`.
pub(super) fn pong() -> String {
    r#"{"type":"pong"}"#.to_owned()
}

/// `next`, with a payload that is JSON already.
pub(super) fn next(id: &Id, payload: impl Display) -> String {
    format!(r#"{{"id":{id},"type":"next","payload":{payload}}}"#)
}

/// `error`, with a JSON list of errors.
pub(super) fn error(id: &Id, errors: impl Display) -> String {
    format!(r#"{{"id":{id},"type":"error","payload":{errors}}}"#)
}

/// `complete`.
pub(super) fn complete(id: &Id) -> String {
    format!(r#"{{"id":{id},"type":"complete"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_goes_back_as_it_came() {
        let Some(Incoming::Subscribe { id, .. }) =
            Incoming::parse(r#"{"type":"subscribe","id":"a\"b\u0000","payload":{}}"#)
        else {
            panic!()
        };
        let sent: Value = serde_json::from_str(&next(&id, r#"{"data":null}"#)).unwrap();
        assert_eq!(sent["id"], "a\"b\0");
        assert_eq!(sent["payload"]["data"], Value::Null);
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"type":"start"}"#,
            r#"{"type":7}"#,
            r#"{"type":"subscribe","payload":{}}"#,
            r#"{"type":"subscribe","id":"","payload":{}}"#,
            r#"{"type":"subscribe","id":1,"payload":{}}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"complete"}"#,
            r#"{"type":"connection_init","payload":"x"}"#,
        ] {
            assert!(Incoming::parse(text).is_none(), "{text}");
        }
    }
}
