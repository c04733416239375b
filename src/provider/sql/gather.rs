//! Rows, collected one by one up to the limits.

use std::collections::HashSet;

use serde::{Serialize, Serializer};
use serde_json::value::to_raw_value;

use super::{
    super::{Failure, NoRows, RowLimits, Rows, classify},
    cell::Cell,
};

/// Rows so far.
pub(super) struct Gathered<'l> {
    limits: &'l RowLimits,
    bytes: usize,
    rows: Rows,
}

impl<'l> Gathered<'l> {
    pub(super) fn new(limits: &'l RowLimits) -> Self {
        Self { limits, bytes: 0, rows: Rows::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.rows.len()
    }

    /// Learns the columns, in the statement's order. Two of one name could not both be told.
    pub(super) fn name_columns(&mut self, names: impl Iterator<Item = String>) -> Result<(), NoRows> {
        self.rows.columns = names.collect();
        let mut known = HashSet::new();
        if self.rows.columns.iter().all(|name| known.insert(name)) {
            return Ok(());
        }
        Err(NoRows::Query("Two columns of the query have the same name: give one of them another with AS.".to_owned()))
    }

    /// Adds a row, its values in the order of the columns.
    pub(super) fn push(&mut self, cells: &[Cell<'_>]) -> Result<(), NoRows> {
        if self.len() == self.limits.rows {
            return Err(too_many_rows(self.limits));
        }
        let row = to_raw_value(&Row { columns: &self.rows.columns, cells });
        let row = row.map_err(|_| Failure::transient(classify::NOT_UNDERSTOOD))?;
        self.bytes += row.get().len();
        if self.bytes > self.limits.bytes {
            return Err(too_many_bytes(self.limits));
        }
        self.rows.rows.push(row);
        Ok(())
    }

    pub(super) fn into_rows(self) -> Rows {
        self.rows
    }
}

/// A row as a JSON object, in the columns' order.
struct Row<'r> {
    columns: &'r [String],
    cells: &'r [Cell<'r>],
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.columns.iter().zip(self.cells))
    }
}

fn too_many_rows(limits: &RowLimits) -> NoRows {
    NoRows::TooMuch(format!("The query gives more than {} rows, which is the most that is read.", limits.rows))
}

pub(super) fn too_many_bytes(limits: &RowLimits) -> NoRows {
    NoRows::TooMuch(format!("The query gives more than {}, which is the most that is read.", limits.size()))
}

pub(super) fn too_slow(limits: &RowLimits) -> NoRows {
    let seconds = limits.time.as_secs_f64();
    NoRows::TooMuch(format!("The query takes longer than {seconds} seconds, which is the longest that is waited."))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: RowLimits = RowLimits { pages: 1, rows: 2, bytes: 40, time: Duration::from_millis(1500) };

    fn gathered(names: &[&str]) -> Gathered<'static> {
        let mut gathered = Gathered::new(&LIMITS);
        gathered.name_columns(names.iter().map(|name| (*name).to_owned())).unwrap();
        gathered
    }

    #[test]
    fn rows_are_objects_in_the_order_of_the_columns() {
        let mut gathered = gathered(&["b\"", "a"]);
        gathered.push(&[Cell::Integer(1), Cell::text("x")]).unwrap();
        gathered.push(&[Cell::Null, Cell::List(Vec::new())]).unwrap();
        let rows = gathered.into_rows();
        assert_eq!(rows.columns, ["b\"", "a"]);
        let rows: Vec<&str> = rows.rows.iter().map(|row| row.get()).collect();
        assert_eq!(rows, [r#"{"b\"":1,"a":"x"}"#, r#"{"b\"":null,"a":[]}"#]);
    }

    #[test]
    fn no_more_is_kept_than_the_limits_allow() {
        let mut rows = gathered(&["a"]);
        rows.push(&[Cell::Integer(1)]).unwrap();
        rows.push(&[Cell::Integer(2)]).unwrap();
        let more = rows.push(&[Cell::Integer(3)]).unwrap_err();
        assert_eq!(more.to_string(), "The query gives more than 2 rows, which is the most that is read.");
        let larger = gathered(&["a"]).push(&[Cell::text(&"x".repeat(40))]).unwrap_err();
        assert_eq!(larger.to_string(), "The query gives more than 40 bytes, which is the most that is read.");
        assert!(too_slow(&LIMITS).to_string().contains("longer than 1.5 seconds"));
    }

    #[test]
    fn two_columns_of_one_name_are_the_query_s_problem() {
        let named = Gathered::new(&LIMITS).name_columns(["a", "b", "a"].map(str::to_owned).into_iter());
        assert!(matches!(named, Err(NoRows::Query(_))));
    }

    #[test]
    fn what_is_not_finite_is_text() {
        let mut rows = gathered(&["a"]);
        rows.push(&[Cell::Double(f64::NEG_INFINITY)]).unwrap();
        rows.push(&[Cell::Single(f32::NAN)]).unwrap();
        let rows = rows.into_rows().rows;
        assert_eq!(rows.iter().map(|row| row.get()).collect::<Vec<_>>(), [r#"{"a":"-Infinity"}"#, r#"{"a":"NaN"}"#]);
    }
}
