//! The contract's scalars, how ids are read, and how an update's three cases come in.
//!
//! What cannot be read is refused in words that repeat nothing of it.

use async_graphql::{ID, InputValueError, InputValueResult, MaybeUndefined, Scalar, ScalarType, Value};
use chrono::{Datelike, SecondsFormat, Utc};
use uuid::Uuid;

use crate::{
    clock::to_microseconds,
    ids::{self, Kind},
    patch::Patch,
};

/// An instant: RFC 3339, in UTC, to the microsecond. Other offsets are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime(pub chrono::DateTime<Utc>);

impl From<chrono::DateTime<Utc>> for DateTime {
    fn from(at: chrono::DateTime<Utc>) -> Self {
        Self(at)
    }
}

/// An instant: RFC 3339, in UTC, to the microsecond. Other offsets are understood.
#[Scalar(name = "DateTime")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        let at = chrono::DateTime::parse_from_rfc3339(text).map(|at| to_microseconds(at.to_utc()));
        // RFC 3339 writes years with four digits; an offset may lead out of them.
        let at = at.ok().filter(|at| (0..=9999).contains(&at.year()));
        at.map(Self).ok_or_else(|| InputValueError::custom("An instant is written as RFC 3339 has it."))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// An absolute URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url(pub url::Url);

impl From<url::Url> for Url {
    fn from(url: url::Url) -> Self {
        Self(url)
    }
}

/// An absolute URL.
#[Scalar(name = "URL")]
impl ScalarType for Url {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        url::Url::parse(text).map(Self).map_err(|_| InputValueError::custom("This is not an absolute URL."))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// Any JSON value.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(pub Value);

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        // A JSON value always is a GraphQL value.
        Self(Value::from_json(value).unwrap_or_default())
    }
}

/// Any JSON value.
#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value))
    }

    fn to_value(&self) -> Value {
        self.0.clone()
    }
}

/// An id as the API shows it.
pub fn shown(kind: Kind, id: Uuid) -> ID {
    ID(ids::encode(kind, id))
}

/// The id that was given. One that is malformed or of another kind is like one that does not exist: it becomes the nil
/// id, which nothing has. The domain first asks what the viewer may do, then does not find it.
pub fn given(kind: Kind, id: &ID) -> Uuid {
    ids::decode(kind, id).unwrap_or_default()
}

impl<T> From<MaybeUndefined<T>> for Patch<T> {
    fn from(value: MaybeUndefined<T>) -> Self {
        match value {
            MaybeUndefined::Undefined => Self::Keep,
            MaybeUndefined::Null => Self::Clear,
            MaybeUndefined::Value(value) => Self::Set(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_shown_in_utc_and_read_in_any_offset() {
        let at = DateTime::parse("2026-11-23T09:55:00.1234567-07:00".into()).unwrap();
        assert_eq!(at.to_value(), "2026-11-23T16:55:00.123456Z".into());
    }

    #[test]
    fn what_is_no_instant_or_url_is_refused_and_not_repeated() {
        let long_ago = "0000-01-01T00:00:00+23:59";
        for text in ["hunter2", "2026-11-23", "2026-11-23T25:00:00Z", long_ago, "9999-12-31T23:59:59-01:00"] {
            let refused = DateTime::parse(text.into()).map_err(InputValueError::into_server_error_text);
            assert!(!refused.unwrap_err().contains(text), "{text}");
        }
        for text in ["hunter2", "//hunter2", "https://"] {
            let refused = Url::parse(text.into()).map_err(InputValueError::into_server_error_text);
            assert!(!refused.unwrap_err().contains(text), "{text}");
        }
    }

    trait Text {
        fn into_server_error_text(self) -> String;
    }

    impl<T: async_graphql::InputType> Text for InputValueError<T> {
        fn into_server_error_text(self) -> String {
            self.into_server_error(async_graphql::Pos::default()).message
        }
    }

    #[test]
    fn an_id_of_another_kind_is_the_id_of_nothing() {
        let id = ids::connector_id("stripe");
        assert_eq!(given(Kind::User, &shown(Kind::User, id)), id);
        for id in [shown(Kind::Client, id), ID("hunter2".to_owned())] {
            assert!(given(Kind::User, &id).is_nil());
        }
    }
}
