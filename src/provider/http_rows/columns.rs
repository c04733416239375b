//! The columns of rows: the names of their leaves, in the order in which they first appear.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::{super::NoRows, list, unreadable};

/// Columns at most.
const MOST: usize = 1_000;
/// Bytes of a column's name, dots and all.
const LONGEST: usize = 500;
/// Objects inside each other at most, of which each has its name in a column's.
const DEEPEST: usize = 32;

/// Columns found so far.
#[derive(Default)]
pub(super) struct Columns {
    names: Vec<String>,
    known: HashSet<String>,
}

impl Columns {
    /// Adds those of a row, which is an object. One inside of it gives the dotted names of its own leaves
    /// (`metrics.clicks`); a list is a leaf.
    pub(super) fn add(&mut self, row: &RawValue) -> Result<(), NoRows> {
        self.walk(row, &mut String::new(), 0)
    }

    pub(super) fn into_names(self) -> Vec<String> {
        self.names
    }

    fn walk(&mut self, object: &RawValue, path: &mut String, depth: usize) -> Result<(), NoRows> {
        if depth == DEEPEST {
            return Err(NoRows::TooMuch(format!("The rows hold objects inside each other, more than {DEEPEST} deep.")));
        }
        let outer = path.len();
        for (name, member) in list::object(object).map_err(|_| unreadable())? {
            if outer > 0 {
                path.push('.');
            }
            path.push_str(&name);
            if path.len() > LONGEST {
                return Err(NoRows::TooMuch(format!(
                    "The rows have a column whose name is longer than {LONGEST} bytes."
                )));
            }
            if member.get().starts_with('{') {
                self.walk(member, path, depth + 1)?;
            } else {
                self.leaf(path)?;
            }
            path.truncate(outer);
        }
        Ok(())
    }

    fn leaf(&mut self, path: &str) -> Result<(), NoRows> {
        if self.known.contains(path) {
            return Ok(());
        }
        if self.names.len() == MOST {
            return Err(NoRows::TooMuch(format!("The rows have more than {MOST} columns, and so many are not read.")));
        }
        self.known.insert(path.to_owned());
        self.names.push(path.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_grow_without_end_are_not_read() {
        let name = "k".repeat(LONGEST);
        assert!(columns(&[&format!("{{\"{name}\": 1}}")]).is_ok());
        for row in [format!("{{\"{name}k\": 1}}"), format!("{{\"{name}\": {{\"a\": 1}}}}")] {
            assert!(matches!(columns(&[&row]), Err(NoRows::TooMuch(_))));
        }
    }

    fn columns(rows: &[&str]) -> Result<Vec<String>, NoRows> {
        let mut columns = Columns::default();
        for row in rows {
            columns.add(&RawValue::from_string((*row).to_owned()).unwrap())?;
        }
        Ok(columns.into_names())
    }

    #[test]
    fn columns_come_in_the_order_of_their_first_appearance() {
        let rows = [r#"{"b": 1, "a": null}"#, r#"{"a": 1, "c": [1, {"x": 2}], "b": {"d": 1e999, "e.f": {}}}"#];
        assert_eq!(columns(&rows).unwrap(), ["b", "a", "c", "b.d"]);
    }

    #[test]
    fn a_name_is_read_with_its_escapes_and_keeps_its_dots() {
        assert_eq!(columns(&[r#"{"a.b": 1, "\u00e9\"": 2, "": {"x": 1, "": 2}}"#]).unwrap(), ["a.b", "é\"", "x", ""]);
    }

    #[test]
    fn a_thousand_columns_are_read_and_no_more() {
        let row = |count: usize| {
            let members: Vec<String> = (0..count).map(|at| format!("\"c{at}\": 0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert_eq!(columns(&[&row(1_000), &row(999)]).unwrap().len(), 1_000);
        assert!(matches!(columns(&[&row(1_001)]), Err(NoRows::TooMuch(why)) if why.contains("1000 columns")));
    }

    #[test]
    fn objects_without_end_are_not_followed() {
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert_eq!(columns(&[&nested(DEEPEST)]).unwrap(), [vec!["a"; DEEPEST].join(".")]);
        assert!(matches!(columns(&[&nested(10_000)]), Err(NoRows::TooMuch(why)) if why.contains("32 deep")));
    }
}
