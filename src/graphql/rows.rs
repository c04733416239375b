//! Rows on their way out: as their source wrote them, members in its order and no digit lost.

use std::borrow::Cow;

use async_graphql::{Name, Number, Value, indexmap::IndexMap};
use serde_json::value::RawValue;

/// What is nested deeper comes as text.
const DEEPEST: usize = 64;

/// A row as the API shows it. A number that neither a whole number of 64 bits nor a double holds comes as text, and what
/// holds half of a surrogate pair as it is written.
pub(super) fn shown(row: &RawValue) -> Value {
    value(row, 0).unwrap_or_else(|| Value::String(row.get().to_owned()))
}

fn value(json: &RawValue, depth: usize) -> Option<Value> {
    let text = json.get();
    Some(match text.as_bytes().first()? {
        b'{' | b'[' if depth == DEEPEST => Value::String(text.to_owned()),
        b'{' => {
            let members: IndexMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text).ok()?;
            let shown = members.iter().map(|(name, member)| {
                (Name::new(name), value(member, depth + 1).unwrap_or_else(|| Value::String(member.get().to_owned())))
            });
            Value::Object(shown.collect())
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let shown = items.into_iter().map(|item| value(item, depth + 1));
            Value::List(shown.collect::<Option<_>>()?)
        }
        b'-' | b'0'..=b'9' => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
        _ => serde_json::from_str(text).ok()?,
    })
}

/// The number, where it can be held as it is.
fn number(text: &str) -> Option<Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Some(whole.into());
    }
    let double: f64 = text.parse().ok()?;
    let held = Number::from_f64(double)?;
    (digits(text) == digits(&format!("{double:e}"))).then_some(held)
}

/// The digits that count, without the zeros around them.
fn digits(text: &str) -> String {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_source_writes_goes_out_as_json(text in "(\\{\"[a-z\\\\\"]{0,4}\": ?|\\[|-?[0-9]{1,25}|\\.[0-9]{1,25}|e[+-]?[0-9]{1,4}|\"\\PC{0,4}\"|null|true|,|\\}|\\]){1,12}") {
            if let Ok(row) = RawValue::from_string(text) {
                let shown = serde_json::to_string(&shown(&row)).unwrap();
                prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{} became {}", row.get(), shown);
            }
        }
    }

    fn row(text: &str) -> String {
        shown(&RawValue::from_string(text.to_owned()).unwrap()).into_json().unwrap().to_string()
    }

    fn member(text: &str) -> String {
        let Value::Object(members) = shown(&RawValue::from_string(format!("{{\"n\": {text}}}")).unwrap()) else {
            panic!("no object")
        };
        members["n"].clone().into_json().unwrap().to_string()
    }

    #[test]
    fn numbers_keep_their_digits_or_come_as_text() {
        for held in ["0", "-7", "9007199254740993", "18446744073709551615", "0.1", "0.30000000000000004", "-1.5e-7"] {
            assert_eq!(member(held), held, "{held}");
        }
        assert_eq!(member("0.30"), "0.3");
        assert_eq!(member("0.0"), "0.0");
        for lost in
            ["12345678901234567890.123456789", "0.1234567890123456789", "1e999", "1e-999", "18446744073709551616"]
        {
            assert_eq!(member(lost), format!("\"{lost}\""), "{lost}");
        }
    }

    #[test]
    fn members_stay_in_their_order_and_depth_has_an_end() {
        let text = r#"{"z": [1, {"b": null, "a": "\u00e9"}], "a": true}"#;
        let Value::Object(members) = shown(&RawValue::from_string(text.to_owned()).unwrap()) else {
            panic!("no object")
        };
        assert_eq!(members.keys().map(Name::as_str).collect::<Vec<_>>(), ["z", "a"]);
        let deep = format!("{{\"n\": {}{}}}", "[".repeat(20_000), "]".repeat(20_000));
        assert!(row(&deep).contains("\"[["));
        assert_eq!(row(r#"{"a": "\ud83d", "b": 1}"#), r#"{"a":"\"\\ud83d\"","b":1}"#);
    }
}
