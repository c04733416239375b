//! A value of a row, on its way from a database to JSON.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A value, as JSON will have it. What JSON's numbers cannot hold exactly (decimals, what is not finite) is text.
#[derive(Debug)]
pub(super) enum Cell<'r> {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Single(f32),
    Double(f64),
    Text(Cow<'r, str>),
    Json(Box<RawValue>),
    List(Vec<Self>),
}

impl<'r> Cell<'r> {
    pub(super) fn text(text: &'r str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A JSON document as it is; as text where it is none, or nested deeper than can be read.
    pub(super) fn json(text: &'r str) -> Self {
        RawValue::from_string(text.to_owned()).map_or_else(|_| Self::text(text), Self::Json)
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Single(value) if value.is_finite() => serializer.serialize_f32(*value),
            Self::Double(value) if value.is_finite() => serializer.serialize_f64(*value),
            Self::Single(value) => serializer.serialize_str(infinite(f64::from(*value))),
            Self::Double(value) => serializer.serialize_str(infinite(*value)),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Json(document) => document.serialize(serializer),
            Self::List(cells) => serializer.collect_seq(cells),
        }
    }
}

/// As PostgreSQL writes what is not finite.
fn infinite(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}
