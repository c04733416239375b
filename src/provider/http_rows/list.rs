//! The list of rows in an answer. Rows are never read into numbers: their text is kept, digit by digit.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};

use crate::catalogue::Pointer;

/// Where an answer has its list.
pub(super) struct List {
    pub(super) at: Pointer,
    /// A list that is not there is an empty one.
    pub(super) may_be_missing: bool,
    /// Its last member leads to the next page.
    pub(super) reads_last: bool,
}

/// An answer without the members of its list, which may be many.
pub(super) struct Outline<'a> {
    pub(super) answer: Value,
    pub(super) found: Found<'a>,
}

/// What is at the list's place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'a> {
    List(&'a RawValue),
    /// One row.
    Object(&'a RawValue),
    Scalar,
    /// No such place, or `null`.
    Nothing,
}

impl List {
    /// The answer with its list aside; `None`: it is not JSON.
    pub(super) fn outline<'a>(&self, body: &'a [u8]) -> Option<Outline<'a>> {
        let whole: &RawValue = serde_json::from_slice(body).ok()?;
        let segments: Vec<String> =
            self.at.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
        let mut found = Found::Nothing;
        let answer = outline(whole, &segments, &mut found).ok()?;
        Some(Outline { answer, found })
    }
}

fn outline<'a>(raw: &'a RawValue, segments: &[String], found: &mut Found<'a>) -> serde_json::Result<Value> {
    let text = raw.get();
    let first = text.as_bytes().first();
    match (segments.split_first(), first) {
        (None, Some(b'[')) => {
            *found = Found::List(raw);
            // An error can be told from none by whether its list is empty.
            let is_empty = text[1..].trim_start().starts_with(']');
            return Ok(if is_empty { Value::Array(Vec::new()) } else { Value::Array(vec![Value::Null]) });
        }
        (None, Some(b'{')) => *found = Found::Object(raw),
        (None, Some(b'n')) => *found = Found::Nothing,
        (None, _) => *found = Found::Scalar,
        (Some((segment, rest)), Some(b'{')) => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            let outlined = members.into_iter().map(|(name, member)| {
                let inside = if name == *segment { outline(member, rest, found) } else { value(member) };
                Ok((name, inside?))
            });
            return outlined.collect::<serde_json::Result<_>>().map(Value::Object);
        }
        (Some((segment, rest)), Some(b'[')) => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            let named = index(segment);
            let outlined = items
                .into_iter()
                .enumerate()
                .map(|(at, item)| if named == Some(at) { outline(item, rest, found) } else { value(item) });
            return outlined.collect::<serde_json::Result<_>>().map(Value::Array);
        }
        (Some(_), _) => {}
    }
    value(raw)
}

fn value(raw: &RawValue) -> serde_json::Result<Value> {
    serde_json::from_str(raw.get())
}

/// A place in a list: digits, without a leading zero (RFC 6901 §4).
fn index(segment: &str) -> Option<usize> {
    let plain = segment == "0" || !segment.starts_with(['0', '+']);
    segment.parse().ok().filter(|_| plain)
}

/// The members of a list; `None` where there are more than `most`.
pub(super) fn members(list: &RawValue, most: usize) -> serde_json::Result<Option<Vec<&RawValue>>> {
    let mut text = serde_json::Deserializer::from_str(list.get());
    Members { most }.deserialize(&mut text)
}

struct Members {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Option<Vec<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while members.len() < self.most {
            let Some(member) = list.next_element()? else { return Ok(Some(members)) };
            members.push(member);
        }
        let is_whole = list.next_element::<IgnoredAny>()?.is_none();
        // The rest is passed over, or the list would count as cut short.
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(is_whole.then_some(members))
    }
}

/// The row as an object: what is none becomes `{"value": …}`.
pub(super) fn as_object(row: &RawValue) -> serde_json::Result<Box<RawValue>> {
    if row.get().starts_with('{') {
        return Ok(row.to_owned());
    }
    serde_json::value::to_raw_value(&BTreeMap::from([("value", row)]))
}

/// The members of an object, in order.
pub(super) fn object(row: &RawValue) -> serde_json::Result<Vec<(Cow<'_, str>, &RawValue)>> {
    struct Object;

    impl<'de> Visitor<'de> for Object {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((name, member)) = map.next_entry::<Name<'de>, _>()? {
                members.push((name.0, member));
            }
            Ok(members)
        }
    }

    /// Borrowed where it holds no escapes.
    #[derive(serde::Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::Deserializer::from_str(row.get()).deserialize_map(Object)
}
