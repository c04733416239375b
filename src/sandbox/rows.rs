//! Made-up figures for reports: different for every subject and day, the same whenever they are asked for.

use std::ops::Range;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answer::Answer;

/// Whole days in a report, the last of them yesterday (UTC).
const DAYS: i64 = 28;

/// `{"rows": [{"date": "2026-11-22", …}]}`, oldest first, with a whole number in each range.
pub(super) fn answer(subject: &str, columns: &[(&str, Range<u32>)], now: DateTime<Utc>) -> Answer {
    let days = (1..=DAYS).rev().map(|ago| now.date_naive() - TimeDelta::days(ago));
    let rows: Vec<Value> = days.map(|day| row(subject, day, columns)).collect();
    Answer::ok(json!({ "rows": rows }))
}

fn row(subject: &str, day: NaiveDate, columns: &[(&str, Range<u32>)]) -> Value {
    let mut row = json!({ "date": day });
    for (name, range) in columns {
        row[*name] = figure(&format!("{subject} {day} {name}"), range).into();
    }
    row
}

fn figure(seed: &str, range: &Range<u32>) -> u32 {
    let digest = Sha256::digest(seed);
    let number = digest.iter().take(4).fold(0, |number, byte| (number << 8) | u32::from(*byte));
    range.start + number % (range.end - range.start)
}
