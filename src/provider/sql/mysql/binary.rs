//! What MySQL's binary values say
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>).
//!
//! Dates are read here and not by the driver, whose types cannot hold all of them (`2026-00-00`).

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use sqlx::{MySql, Row, Type, TypeInfo, ValueRef, mysql::MySqlRow};

use super::super::cell::Cell;

/// The value at `index`; none where the row does not hold what it says. The date `0000-00-00` is no date: null.
pub(super) fn cell(row: &MySqlRow, index: usize) -> Option<Cell<'_>> {
    let value = row.try_get_raw(index).ok()?;
    if value.is_null() {
        return Some(Cell::Null);
    }
    let kind = value.type_info();
    let bytes: &[u8] = row.try_get_unchecked(index).ok()?;
    match kind.name() {
        "FLOAT" => row.try_get_unchecked(index).ok().map(Cell::Single),
        "DOUBLE" => row.try_get_unchecked(index).ok().map(Cell::Double),
        "YEAR" | "BIT" => row.try_get_unchecked(index).ok().map(Cell::Unsigned),
        "DATE" => date(bytes).map(|text| Cell::Text(text.into())),
        "DATETIME" => moment(bytes).map(|text| Cell::Text(text.into())),
        // Sessions are in UTC.
        "TIMESTAMP" => moment(bytes).map(|text| Cell::Text(format!("{text}Z").into())),
        "TIME" => time(bytes).map(|text| Cell::Text(text.into())),
        "DECIMAL" => Some(text(bytes)),
        "JSON" => Some(str::from_utf8(bytes).map_or_else(|_| text(bytes), Cell::json)),
        _ if <u64 as Type<MySql>>::compatible(&kind) => row.try_get_unchecked(index).ok().map(Cell::Unsigned),
        _ if <i64 as Type<MySql>>::compatible(&kind) => row.try_get_unchecked(index).ok().map(Cell::Integer),
        _ if <str as Type<MySql>>::compatible(&kind) => Some(text(bytes)),
        _ => Some(Cell::Text(BASE64_STANDARD.encode(bytes).into())),
    }
}

fn text(bytes: &[u8]) -> Cell<'_> {
    Cell::Text(match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes).into_owned().into(),
    })
}

/// A date, behind a byte that tells its length.
fn date(bytes: &[u8]) -> Option<String> {
    let [_, low, high, month, day, ..] = bytes else { return None };
    let year = u16::from_le_bytes([*low, *high]);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// A date with its time, which is left out at midnight, as its microseconds are where there are none.
fn moment(bytes: &[u8]) -> Option<String> {
    let date = date(bytes)?;
    Some(match bytes.get(5..) {
        Some([hour, minute, second, micros @ ..]) => {
            format!("{date}T{hour:02}:{minute:02}:{second:02}{}", fraction(micros)?)
        }
        _ => format!("{date}T00:00:00"),
    })
}

/// A span of time: up to 35 days, and maybe negative.
fn time(bytes: &[u8]) -> Option<String> {
    match bytes {
        [0] => Some("00:00:00".to_owned()),
        [_, negative, rest @ ..] => {
            let (days, rest) = rest.split_first_chunk()?;
            let [hour, minute, second, micros @ ..] = rest else { return None };
            let hours = u64::from(u32::from_le_bytes(*days)) * 24 + u64::from(*hour);
            let sign = if *negative == 1 { "-" } else { "" };
            Some(format!("{sign}{hours:02}:{minute:02}:{second:02}{}", fraction(micros)?))
        }
        _ => None,
    }
}

fn fraction(micros: &[u8]) -> Option<String> {
    match micros {
        [] => Some(String::new()),
        micros => Some(format!(".{:06}", u32::from_le_bytes(micros.try_into().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_they_are_even_those_that_never_were() {
        assert_eq!(date(&[4, 0xEA, 0x07, 1, 31]).as_deref(), Some("2026-01-31"));
        assert_eq!(date(&[4, 0xEA, 0x07, 0, 0]).as_deref(), Some("2026-00-00"));
        assert_eq!(date(&[2, 0xEA, 0x07]), None);
    }

    #[test]
    fn moments_have_a_time_and_only_the_fraction_that_they_came_with() {
        assert_eq!(moment(&[4, 0xEA, 0x07, 1, 31]).as_deref(), Some("2026-01-31T00:00:00"));
        assert_eq!(moment(&[7, 0xEA, 0x07, 1, 31, 23, 5, 9]).as_deref(), Some("2026-01-31T23:05:09"));
        let with_micros = [11, 0xEA, 0x07, 1, 31, 23, 5, 9, 0x20, 0xA1, 0x07, 0];
        assert_eq!(moment(&with_micros).as_deref(), Some("2026-01-31T23:05:09.500000"));
        assert_eq!(moment(&with_micros[..10]), None);
    }

    #[test]
    fn times_may_be_negative_and_longer_than_a_day() {
        assert_eq!(time(&[0]).as_deref(), Some("00:00:00"));
        assert_eq!(time(&[8, 1, 34, 0, 0, 0, 22, 59, 59]).as_deref(), Some("-838:59:59"));
        assert_eq!(time(&[12, 0, 0, 0, 0, 0, 1, 2, 3, 1, 0, 0, 0]).as_deref(), Some("01:02:03.000001"));
        assert_eq!(time(&[3, 0, 0]), None);
    }
}
