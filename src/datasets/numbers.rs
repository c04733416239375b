//! Exact arithmetic over rows: no digit that a source wrote is lost on the way to a metric.

use std::{borrow::Cow, collections::BTreeMap, str::FromStr};

use bigdecimal::{BigDecimal, Zero, num_bigint::BigInt};
use entity::Aggregation;
use serde_json::value::RawValue;

/// Digits after the point of an average that does not end.
const DIGITS: i64 = 20;
/// The longest number that is read, in characters, and the largest exponent: beyond, adding two could take all memory.
const LONGEST: usize = 400;
const LARGEST_EXPONENT: i64 = 400;

/// Why rows give no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoNumber {
    #[error("The dataset has no such column any more.")]
    NoColumn,
    #[error("The column holds something that is no number.")]
    NotNumeric,
}

/// What `aggregation` makes of the rows, in decimal digits; none where they hold no number.
///
/// Rows without a value in the column count for COUNT alone, as in SQL.
pub(super) fn aggregate(
    aggregation: Aggregation,
    column: Option<&str>,
    columns: &[String],
    rows: &[Box<RawValue>],
) -> Result<Option<String>, NoNumber> {
    let Some(column) = column.filter(|_| aggregation != Aggregation::Count) else {
        return Ok(Some(rows.len().to_string()));
    };
    if !rows.is_empty() && !columns.iter().any(|one| one == column) {
        return Err(NoNumber::NoColumn);
    }
    let mut numbers = rows.iter().filter_map(|row| number(row.get(), column).transpose());
    let found = match aggregation {
        Aggregation::Count => None,
        Aggregation::Sum => Some(numbers.try_fold(BigDecimal::zero(), |sum, number| Ok(sum + number?))?),
        Aggregation::Avg => average(numbers)?,
        Aggregation::Min => best(numbers, |number, best| number < best)?,
        Aggregation::Max => best(numbers, |number, best| number > best)?,
        Aggregation::Last => numbers.next_back().transpose()?,
    };
    Ok(found.map(|number| number.normalized().to_plain_string()))
}

fn average(numbers: impl Iterator<Item = Result<BigDecimal, NoNumber>>) -> Result<Option<BigDecimal>, NoNumber> {
    let (mut sum, mut count) = (BigDecimal::zero(), 0_u64);
    for number in numbers {
        sum += number?;
        count += 1;
    }
    if count == 0 {
        return Ok(None);
    }
    let (digits, scale) = sum.into_bigint_and_exponent();
    let ten_to = |power: i64| BigInt::from(10).pow(u32::try_from(power.max(0)).unwrap_or_default());
    let (dividend, divisor) = (digits * ten_to(DIGITS - scale), BigInt::from(count) * ten_to(scale - DIGITS));
    // Half away from zero.
    let rounded = (dividend.magnitude() * 2_u8 + divisor.magnitude()) / (divisor.magnitude() * 2_u8);
    let signed = BigInt::from_biguint(dividend.sign(), rounded);
    Ok(Some(BigDecimal::new(signed, DIGITS)))
}

fn best(
    numbers: impl Iterator<Item = Result<BigDecimal, NoNumber>>,
    better: impl Fn(&BigDecimal, &BigDecimal) -> bool,
) -> Result<Option<BigDecimal>, NoNumber> {
    let mut best = None;
    for number in numbers {
        let number = number?;
        if best.as_ref().is_none_or(|best| better(&number, best)) {
            best = Some(number);
        }
    }
    Ok(best)
}

/// The number that a row has in a column; none where it has nothing there.
fn number(row: &str, column: &str) -> Result<Option<BigDecimal>, NoNumber> {
    match value(row, column) {
        None => Ok(None),
        Some(text) if text == "null" => Ok(None),
        Some(text) if text.starts_with('"') => {
            // Many APIs and databases write decimals as text, to keep their digits.
            let text: Cow<'_, str> = serde_json::from_str(&text).map_err(|_| NoNumber::NotNumeric)?;
            decimal(text.trim()).map(Some)
        }
        Some(text) => decimal(&text).map(Some),
    }
}

/// The JSON that a row has in a column: a member, or one of an object within (`metrics.clicks`).
fn value(row: &str, column: &str) -> Option<String> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(row).ok()?;
    if let Some(found) = members.get(column) {
        return Some(found.get().to_owned());
    }
    let dots = column.match_indices('.').map(|(at, _)| at);
    dots.filter_map(|at| {
        let within = members.get(&column[..at])?;
        value(within.get(), &column[at + 1..])
    })
    .next()
}

fn decimal(text: &str) -> Result<BigDecimal, NoNumber> {
    let plain = text.len() <= LONGEST
        && text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.'))
        && text.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, '-' | '+' | '.' | 'e' | 'E'));
    let exponent = text.split_once(['e', 'E']).map_or(Ok(0), |(_, exponent)| exponent.parse::<i64>());
    if !plain || !exponent.is_ok_and(|exponent| exponent.abs() <= LARGEST_EXPONENT) {
        return Err(NoNumber::NotNumeric);
    }
    BigDecimal::from_str(text).map_err(|_| NoNumber::NotNumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(aggregation: Aggregation, values: &[&str]) -> Result<Option<String>, NoNumber> {
        let rows = values.iter().map(|value| RawValue::from_string(format!(r#"{{"n": {value}}}"#)).unwrap());
        aggregate(aggregation, Some("n"), &["n".to_owned()], &rows.collect::<Vec<_>>())
    }

    fn exact(aggregation: Aggregation, values: &[&str]) -> String {
        of(aggregation, values).unwrap().unwrap()
    }

    #[test]
    fn no_digit_is_lost() {
        assert_eq!(exact(Aggregation::Sum, &["0.1", "0.2"]), "0.3");
        let long = "12345678901234567890.123456789";
        assert_eq!(exact(Aggregation::Sum, &[long, "1"]), "12345678901234567891.123456789");
        assert_eq!(exact(Aggregation::Max, &["9007199254740993", "9007199254740992"]), "9007199254740993");
        assert_eq!(exact(Aggregation::Min, &["-0.5", "\"-0.50001\""]), "-0.50001");
        assert_eq!(exact(Aggregation::Sum, &["1e3", "100"]), "1100");
    }

    #[test]
    fn an_average_has_twenty_digits_after_the_point_and_no_zeros_at_its_end() {
        assert_eq!(exact(Aggregation::Avg, &["1", "2"]), "1.5");
        assert_eq!(exact(Aggregation::Avg, &["1", "1", "0"]), format!("0.{}7", "6".repeat(19)));
        assert_eq!(exact(Aggregation::Avg, &["-1", "-1", "0"]), format!("-0.{}7", "6".repeat(19)));
        let long = "1".repeat(60);
        assert_eq!(exact(Aggregation::Avg, &[&long, &long, &long]), long);
    }

    #[test]
    fn rows_without_a_value_count_for_count_alone() {
        let rows = ["1", "null", "\"2\""];
        assert_eq!(exact(Aggregation::Count, &rows), "3");
        assert_eq!(exact(Aggregation::Avg, &rows), "1.5");
        assert_eq!(exact(Aggregation::Last, &["1", "7", "null"]), "7");
        assert_eq!(exact(Aggregation::Sum, &["null"]), "0");
        for aggregation in [Aggregation::Avg, Aggregation::Min, Aggregation::Max, Aggregation::Last] {
            assert_eq!(of(aggregation, &["null"]), Ok(None));
        }
    }

    #[test]
    fn what_is_no_number_gives_none() {
        for value in ["\"\"", "\"twelve\"", "true", "[1]", "{}", "\"NaN\"", "\"1,5\"", "1e999999999", "\"1e401\""] {
            assert_eq!(of(Aggregation::Sum, &["1", value]), Err(NoNumber::NotNumeric), "{value}");
        }
        let long = "9".repeat(LONGEST + 1);
        assert_eq!(of(Aggregation::Sum, &[&long]), Err(NoNumber::NotNumeric));
    }

    #[test]
    fn a_column_is_a_member_or_one_within() {
        let row = RawValue::from_string(r#"{"a.b": 1, "a": {"b": 2, "c": {"d": 3}}}"#.to_owned()).unwrap();
        let columns = ["a.b", "a.c.d"].map(str::to_owned);
        let sum = |column| aggregate(Aggregation::Sum, Some(column), &columns, std::slice::from_ref(&row));
        assert_eq!(sum("a.b"), Ok(Some("1".to_owned())));
        assert_eq!(sum("a.c.d"), Ok(Some("3".to_owned())));
        assert_eq!(sum("a.x"), Err(NoNumber::NoColumn));
    }
}
