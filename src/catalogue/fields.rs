//! Whether what a person typed fits a connector's fields.
//!
//! The answer names the place of the fault and never what was typed, not even an unknown field's name: a secret may have
//! been pasted into the wrong box.

use std::{collections::BTreeMap, fmt};

use thiserror::Error;

use super::connector::{Connector, Field};

/// Bytes that a field may hold.
const LONGEST: usize = 4 * 1024;
/// Bytes that a secret may hold: a private key or a service account is one.
const LONGEST_SECRET: usize = 64 * 1024;

/// What is wrong with the given fields.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct FieldProblem {
    /// Which of the given ones it is; `None` when one is missing.
    pub index: Option<usize>,
    /// The connector's field it is about; `None` for one that the connector does not have.
    pub field: Option<String>,
    pub fault: FieldFault,
}

/// What can be wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldFault {
    Unknown,
    Twice,
    Missing,
    /// Required, and given empty or blank.
    Empty,
    /// NUL anywhere; any other control character outside of a secret.
    ControlCharacter,
    TooLong {
        /// In bytes.
        limit: usize,
    },
    /// Not what the field's pattern asks for.
    Pattern,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.field.as_deref().unwrap_or_default();
        match self.fault {
            FieldFault::Unknown => write!(f, "This connector has no such field."),
            FieldFault::Twice => write!(f, "The field {name} is given twice."),
            FieldFault::Missing => write!(f, "The field {name} is missing."),
            FieldFault::Empty => write!(f, "The field {name} is empty."),
            FieldFault::ControlCharacter => write!(f, "The field {name} holds a character that is not allowed."),
            FieldFault::TooLong { limit } => write!(f, "The field {name} is longer than {limit} bytes."),
            FieldFault::Pattern => write!(f, "The field {name} does not have the form it has to have."),
        }
    }
}

impl Connector {
    /// Checks what was typed, as pairs of a field's name and its value, and gives it back by name.
    ///
    /// An optional field that is given empty counts as not given.
    pub fn check_fields(&self, given: &[(String, String)]) -> Result<BTreeMap<String, String>, FieldProblem> {
        let mut checked = BTreeMap::new();
        let mut seen = Vec::new();
        for (index, (name, value)) in given.iter().enumerate() {
            let Some(field) = self.field(name) else {
                return Err(FieldProblem { index: Some(index), field: None, fault: FieldFault::Unknown });
            };
            let fault = if seen.contains(&name) { Some(FieldFault::Twice) } else { field.fault(value) };
            if let Some(fault) = fault {
                return Err(FieldProblem { index: Some(index), field: Some(field.name.clone()), fault });
            }
            seen.push(name);
            if !value.is_empty() {
                checked.insert(name.clone(), value.clone());
            }
        }
        match self.fields.iter().find(|field| field.required && !checked.contains_key(&field.name)) {
            None => Ok(checked),
            Some(field) => {
                Err(FieldProblem { index: None, field: Some(field.name.clone()), fault: FieldFault::Missing })
            }
        }
    }
}

impl Field {
    fn fault(&self, value: &str) -> Option<FieldFault> {
        let limit = if self.secret { LONGEST_SECRET } else { LONGEST };
        let forbidden = |c: char| c == '\0' || (!self.secret && c.is_control());
        if value.len() > limit {
            Some(FieldFault::TooLong { limit })
        } else if value.contains(forbidden) {
            Some(FieldFault::ControlCharacter)
        } else if value.is_empty() && !self.required {
            None
        } else if value.trim().is_empty() {
            Some(FieldFault::Empty)
        } else if self.pattern.as_ref().is_some_and(|pattern| !pattern.matches(value)) {
            Some(FieldFault::Pattern)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::parse;

    const SHOP: &str = r#"
        slug = "shop"
        name = "Shop"
        category = "commerce"
        mode = "warehouse"
        requirements = "A shop."
        [[field]]
        name = "shop"
        label = "Shop"
        pattern = "[a-z0-9][a-z0-9-]*"
        [[field]]
        name = "key"
        label = "Key"
        secret = true
        [[field]]
        name = "note"
        label = "Note"
        required = false
        [auth]
        method = "fields"
    "#;

    fn check(given: &[(&str, &str)]) -> Result<BTreeMap<String, String>, FieldProblem> {
        let given: Vec<_> = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        parse("shop.toml", SHOP).unwrap().check_fields(&given)
    }

    fn fault(given: &[(&str, &str)]) -> (Option<usize>, FieldFault) {
        let problem = check(given).unwrap_err();
        (problem.index, problem.fault)
    }

    #[test]
    fn what_fits_comes_back_by_name_and_an_empty_optional_field_is_left_out() {
        let checked = check(&[("key", "line 1\nline 2"), ("shop", "my-shop"), ("note", "")]).unwrap();
        assert_eq!(checked.keys().collect::<Vec<_>>(), ["key", "shop"]);
        assert_eq!(checked["shop"], "my-shop");
    }

    #[test]
    fn each_fault_names_the_given_field_it_is_about() {
        let good = ("shop", "my-shop");
        assert_eq!(fault(&[good, ("shpo", "x")]), (Some(1), FieldFault::Unknown));
        assert_eq!(fault(&[good, ("key", "k"), good]), (Some(2), FieldFault::Twice));
        assert_eq!(fault(&[("note", ""), ("note", "")]), (Some(1), FieldFault::Twice));
        assert_eq!(fault(&[good]), (None, FieldFault::Missing));
        assert_eq!(fault(&[good, ("key", "")]), (Some(1), FieldFault::Empty));
        assert_eq!(fault(&[good, ("key", " \n")]), (Some(1), FieldFault::Empty));
        assert_eq!(fault(&[("key", "a\0b")]), (Some(0), FieldFault::ControlCharacter));
        assert_eq!(fault(&[("note", "a\nb")]), (Some(0), FieldFault::ControlCharacter));
        assert_eq!(fault(&[("shop", "evil.example#")]), (Some(0), FieldFault::Pattern));
        assert_eq!(fault(&[("shop", "my-shop\u{e9}")]), (Some(0), FieldFault::Pattern));
    }

    #[test]
    fn a_secret_may_be_longer_than_what_is_shown() {
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(fault(&[("note", &long)]), (Some(0), FieldFault::TooLong { limit: LONGEST }));
        assert!(check(&[("shop", "a"), ("key", &long)]).is_ok());
        let longer = "x".repeat(LONGEST_SECRET + 1);
        assert_eq!(fault(&[("key", &longer)]), (Some(0), FieldFault::TooLong { limit: LONGEST_SECRET }));
    }

    #[test]
    fn nothing_that_was_typed_is_repeated() {
        for given in [[("shop", "hunter2!")], [("hunter2!", "x")], [("key", "hunter2!\0")]] {
            let problem = check(&given).unwrap_err();
            assert!(!format!("{problem} {problem:?}").contains("hunter2"), "{problem:?}");
        }
    }
}
