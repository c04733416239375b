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
    use proptest::prelude::*;

    use super::*;

    /// Any JSON, of the names and words that messages have.
    fn json() -> impl Strategy<Value = Value> {
        let word = prop_oneof![Just("subscribe"), Just("connection_init"), Just("complete"), Just("ping"), Just("")];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            word.prop_map(Value::from),
            "\\PC{0,300}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let name = prop_oneof![Just("type"), Just("id"), Just("payload"), Just("query"), Just("x")];
            let members = prop::collection::vec((name.prop_map(str::to_owned), inner.clone()), 0..6);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                members.prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_is_a_message_or_none_and_its_id_goes_back_as_it_came(said in json(), cut in 0..4_usize) {
            let text = said.to_string();
            let text: String = text.chars().take(text.chars().count() - cut.min(text.chars().count())).collect();
            match Incoming::parse(&text) {
                Some(Incoming::Subscribe { id, request }) => {
                    let sent: Value = serde_json::from_str(&next(&id, &request)).unwrap();
                    prop_assert_eq!(&sent["id"], &said["id"]);
                    prop_assert!(said["id"].as_str().is_some_and(|id| !id.is_empty() && id.len() <= LONGEST_ID));
                }
                Some(Incoming::Init { payload }) => prop_assert!(payload.is_object() || payload.is_null()),
                Some(Incoming::Complete { .. } | Incoming::Ping | Incoming::Pong) | None => {}
            }
        }
    }

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
