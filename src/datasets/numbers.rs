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

/// One aggregation on its way through the rows. Those without a value in the column count for COUNT alone, as in SQL.
pub(super) struct Tally<'a> {
    aggregation: Aggregation,
    column: Option<&'a str>,
    /// Rows that count.
    count: u64,
    /// The sum, or the value that is kept so far.
    so_far: Option<BigDecimal>,
    fault: Option<NoNumber>,
}

/// The members of a row.
type Members<'r> = BTreeMap<Cow<'r, str>, &'r RawValue>;

impl<'a> Tally<'a> {
    /// An aggregation over one of `columns`; without a column it counts.
    pub(super) fn new(aggregation: Aggregation, column: Option<&'a str>, columns: &[String]) -> Self {
        let column = column.filter(|_| aggregation != Aggregation::Count);
        let known = column.is_none_or(|column| columns.is_empty() || columns.iter().any(|one| one == column));
        Self { aggregation, column, count: 0, so_far: None, fault: (!known).then_some(NoNumber::NoColumn) }
    }

    fn add(&mut self, row: &Members<'_>) {
        if self.fault.is_some() {
            return;
        }
        let Some(column) = self.column else {
            self.count += 1;
            return;
        };
        match number(row, column) {
            Ok(Some(number)) => self.add_number(number),
            Ok(None) => {}
            Err(fault) => self.fault = Some(fault),
        }
    }

    fn add_number(&mut self, number: BigDecimal) {
        self.count += 1;
        let next = match (self.aggregation, self.so_far.take()) {
            (_, None) | (Aggregation::Count | Aggregation::Last, Some(_)) => number,
            (Aggregation::Sum | Aggregation::Avg, Some(sum)) => sum + number,
            (Aggregation::Min, Some(least)) => least.min(number),
            (Aggregation::Max, Some(most)) => most.max(number),
        };
        self.so_far = Some(next);
    }

    /// What came of it, in decimal digits; none where the rows hold no number.
    pub(super) fn end(self) -> Result<Option<String>, NoNumber> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let number = match (self.aggregation, self.so_far) {
            (Aggregation::Count, _) => Some(BigDecimal::from(self.count)),
            (Aggregation::Sum, None) => Some(BigDecimal::zero()),
            (Aggregation::Avg, Some(sum)) => Some(mean(sum, self.count)),
            (_, so_far) => so_far,
        };
        Ok(number.map(|number| number.normalized().to_plain_string()))
    }
}

/// Leads every tally through the rows, in their order.
pub(super) fn add_all(tallies: &mut [Tally<'_>], rows: &[Box<RawValue>]) {
    if tallies.is_empty() {
        return;
    }
    for row in rows {
        // Rows are JSON objects.
        let members: Members<'_> = serde_json::from_str(row.get()).unwrap_or_default();
        tallies.iter_mut().for_each(|tally| tally.add(&members));
    }
}

/// To [`DIGITS`] digits after the point, half away from zero.
fn mean(sum: BigDecimal, count: u64) -> BigDecimal {
    let (digits, scale) = sum.into_bigint_and_exponent();
    let ten_to = |power: i64| BigInt::from(10).pow(u32::try_from(power.max(0)).unwrap_or_default());
    let (dividend, divisor) = (digits * ten_to(DIGITS - scale), BigInt::from(count) * ten_to(scale - DIGITS));
    let rounded = (dividend.magnitude() * 2_u8 + divisor.magnitude()) / (divisor.magnitude() * 2_u8);
    BigDecimal::new(BigInt::from_biguint(dividend.sign(), rounded), DIGITS)
}

/// The number that a row has in a column; none where it has nothing there.
fn number(row: &Members<'_>, column: &str) -> Result<Option<BigDecimal>, NoNumber> {
    match value(row, column).as_deref() {
        None | Some("null") => Ok(None),
        Some(text) if text.starts_with('"') => {
            // Many APIs and databases write decimals as text, to keep their digits.
            let text: String = serde_json::from_str(text).map_err(|_| NoNumber::NotNumeric)?;
            decimal(text.trim()).map(Some)
        }
        Some(text) => decimal(text).map(Some),
    }
}

/// The JSON that a row has in a column: a member, or one of an object within (`metrics.clicks`).
fn value<'r>(row: &Members<'r>, column: &str) -> Option<Cow<'r, str>> {
    if let Some(found) = row.get(column) {
        return Some(Cow::Borrowed(found.get()));
    }
    column.match_indices('.').find_map(|(at, _)| {
        let within: Members<'r> = serde_json::from_str(row.get(&column[..at])?.get()).ok()?;
        value(&within, &column[at + 1..])
    })
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

    fn aggregate(
        aggregation: Aggregation,
        column: &str,
        columns: &[String],
        rows: &[Box<RawValue>],
    ) -> Result<Option<String>, NoNumber> {
        let mut tallies = [Tally::new(aggregation, Some(column), columns)];
        add_all(&mut tallies, rows);
        let [tally] = tallies;
        tally.end()
    }

    fn of(aggregation: Aggregation, values: &[&str]) -> Result<Option<String>, NoNumber> {
        let rows = values.iter().map(|value| RawValue::from_string(format!(r#"{{"n": {value}}}"#)).unwrap());
        aggregate(aggregation, "n", &["n".to_owned()], &rows.collect::<Vec<_>>())
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
        let sum = |column| aggregate(Aggregation::Sum, column, &columns, std::slice::from_ref(&row));
        assert_eq!(sum("a.b"), Ok(Some("1".to_owned())));
        assert_eq!(sum("a.c.d"), Ok(Some("3".to_owned())));
        assert_eq!(sum("a.x"), Err(NoNumber::NoColumn));
    }
}
