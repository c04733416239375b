//! What PostgreSQL's text says, by the type's number (`pg_type.dat` in its source; these never change).

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::super::cell::Cell;

const BOOL: u32 = 16;
const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const OID: u32 = 26;
const JSON: u32 = 114;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const JSONB: u32 = 3802;

/// Arrays whose members are known, with their members' type; 25 is text.
const ARRAYS: [(u32, u32); 24] = [
    (1000, BOOL),
    (1001, BYTEA),
    (1016, INT8),
    (1005, INT2),
    (1007, INT4),
    (1028, OID),
    (199, JSON),
    (1021, FLOAT4),
    (1022, FLOAT8),
    (1115, TIMESTAMP),
    (1185, TIMESTAMPTZ),
    (3807, JSONB),
    (1009, 25),
    (1014, 25), // bpchar
    (1015, 25), // varchar
    (1002, 25), // "char"
    (1003, 25), // name
    (1231, 25), // numeric
    (2951, 25), // uuid
    (1182, 25), // date
    (1183, 25), // time
    (1270, 25), // timetz
    (1187, 25), // interval
    (1041, 25), // inet
];

/// The value that `text` says; whatever is not known is the text itself.
pub(super) fn cell(kind: u32, text: &str) -> Cell<'_> {
    let known = match kind {
        BOOL => Some(Cell::Bool(text == "t")),
        INT2 | INT4 | INT8 | OID => text.parse().ok().map(Cell::Integer),
        FLOAT4 | FLOAT8 => text.parse().ok().map(Cell::Double),
        BYTEA => bytes(text).map(|bytes| Cell::Text(BASE64_STANDARD.encode(bytes).into())),
        JSON | JSONB => Some(Cell::json(text)),
        TIMESTAMP | TIMESTAMPTZ => moment(text).map(|text| Cell::Text(text.into())),
        _ => ARRAYS.iter().find(|(array, _)| *array == kind).and_then(|(_, member)| array(*member, text)),
    };
    known.unwrap_or_else(|| Cell::text(text))
}

/// `\x` and hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// `2026-01-31 12:00:00.5+00` as ISO 8601 has it. What ISO 8601 cannot say (`infinity`, `… BC`) is none.
fn moment(text: &str) -> Option<String> {
    let (date, time) = text.split_once(' ').filter(|(_, time)| !time.contains(' '))?;
    Some(match time.strip_suffix("+00") {
        Some(time) => format!("{date}T{time}Z"),
        None => format!("{date}T{time}"),
    })
}

/// An array as text (<https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>); none where it is not understood.
fn array(member: u32, text: &str) -> Option<Cell<'_>> {
    // Bounds stand before an array that does not begin at 1: `[0:1]={1,2}`.
    let text = if text.starts_with('[') { text.split_once('=')?.1 } else { text };
    let (list, rest) = list(member, text)?;
    rest.is_empty().then_some(list)
}

/// A list in braces, and what follows it.
fn list(member: u32, text: &str) -> Option<(Cell<'_>, &str)> {
    let mut rest = text.strip_prefix('{')?;
    let mut members = Vec::new();
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((Cell::List(members), rest));
    }
    loop {
        let (value, after) = match rest.as_bytes().first()? {
            b'{' => list(member, rest)?,
            b'"' => quoted(member, rest)?,
            _ => {
                let (bare, after) = rest.split_at(rest.find([',', '}'])?);
                (if bare == "NULL" { Cell::Null } else { cell(member, bare) }, after)
            }
        };
        members.push(value);
        if let Some(after) = after.strip_prefix('}') {
            return Some((Cell::List(members), after));
        }
        rest = after.strip_prefix(',')?;
    }
}

/// A member in quotes, in which a backslash stands before what is meant as it is.
fn quoted(member: u32, text: &str) -> Option<(Cell<'_>, &str)> {
    let mut plain = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((owned(cell(member, &plain)), text.get(at + 1..)?)),
            '\\' => plain.push(characters.next()?.1),
            other => plain.push(other),
        }
    }
    None
}

/// A cell that borrows from nothing.
fn owned(cell: Cell<'_>) -> Cell<'static> {
    match cell {
        Cell::Null => Cell::Null,
        Cell::Bool(value) => Cell::Bool(value),
        Cell::Integer(value) => Cell::Integer(value),
        Cell::Unsigned(value) => Cell::Unsigned(value),
        Cell::Single(value) => Cell::Single(value),
        Cell::Double(value) => Cell::Double(value),
        Cell::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
        Cell::Json(document) => Cell::Json(document),
        Cell::List(members) => Cell::List(members.into_iter().map(owned).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kind: u32, text: &str) -> String {
        serde_json::to_string(&cell(kind, text)).unwrap()
    }

    #[test]
    fn each_type_is_written_with_all_that_it_says() {
        for (kind, text, json) in [
            (BOOL, "t", "true"),
            (BOOL, "f", "false"),
            (INT8, "-9223372036854775808", "-9223372036854775808"),
            (OID, "4294967295", "4294967295"),
            (FLOAT4, "0.1", "0.1"),
            (FLOAT8, "1e+20", "1e+20"),
            (FLOAT8, "0.30000000000000004", "0.30000000000000004"),
            (FLOAT8, "NaN", "\"NaN\""),
            (FLOAT8, "-Infinity", "\"-Infinity\""),
            (1700, "0.10000000000000000000000000000000000000001", "\"0.10000000000000000000000000000000000000001\""),
            (1700, "NaN", "\"NaN\""),
            (BYTEA, "\\x00ff10", "\"AP8Q\""),
            (BYTEA, "\\x", "\"\""),
            (JSON, "{\"a\" : 1.10,\n\"a\": [] }", "{\"a\" : 1.10,\n\"a\": [] }"),
            (JSONB, "12345678901234567890.10", "12345678901234567890.10"),
            (TIMESTAMP, "2026-01-31 12:00:00.5", "\"2026-01-31T12:00:00.5\""),
            (TIMESTAMPTZ, "2026-01-31 12:00:00+00", "\"2026-01-31T12:00:00Z\""),
            (TIMESTAMPTZ, "2026-01-31 12:00:00+05:30", "\"2026-01-31T12:00:00+05:30\""),
            (TIMESTAMPTZ, "infinity", "\"infinity\""),
            (TIMESTAMP, "0044-03-15 00:00:00 BC", "\"0044-03-15 00:00:00 BC\""),
            (1082, "2026-01-31", "\"2026-01-31\""),
            (600, "(1,2)", "\"(1,2)\""),
        ] {
            assert_eq!(written(kind, text), json, "{kind} {text}");
        }
    }

    #[test]
    fn arrays_are_lists_however_they_are_nested_and_quoted() {
        for (kind, text, json) in [
            (1007, "{}", "[]"),
            (1007, "{1,NULL,3}", "[1,null,3]"),
            (1007, "[0:1]={7,8}", "[7,8]"),
            (1007, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
            (1009, r#"{a,"b,}","NULL","q\"\\",""}"#, r#"["a","b,}","NULL","q\"\\",""]"#),
            (199, r#"{"{\"a\": 1}"}"#, r#"[{"a": 1}]"#),
            (1000, "{t,f}", "[true,false]"),
            (1185, r#"{"2026-01-31 12:00:00+00"}"#, r#"["2026-01-31T12:00:00Z"]"#),
            (1001, r#"{"\\x00ff"}"#, r#"["AP8="]"#),
        ] {
            assert_eq!(written(kind, text), json, "{kind} {text}");
        }
    }

    #[test]
    fn what_is_not_understood_stays_the_text_that_it_was() {
        for (kind, text) in
            [(1007, "{1"), (1007, "{1}x"), (1007, "{\"1"), (1007, ""), (BYTEA, "\\xzz"), (INT4, "1.5"), (JSON, "{")]
        {
            assert_eq!(written(kind, text), serde_json::to_string(text).unwrap(), "{kind} {text}");
        }
    }
}
