//! The executor's own errors, in words that repeat nothing submitted.
//!
//! async-graphql quotes names and values of the request: a password typed where an enum value belongs would come back in the
//! error, and stand in the client's logs. Here each of its messages is recognised by how it begins and said anew; of what it quotes only
//! names that the schema itself has are kept. A message nobody knows becomes a general one, so a newer library can make errors vaguer,
//! never leaky. The code does not depend on the wording: it follows from where the error arose.

use std::collections::HashSet;

use async_graphql::ServerError;

use super::errors::{self, Code};

/// Errors of one document that are worth showing.
const SHOWN: usize = 20;

/// Knows the schema's names.
#[derive(Debug)]
pub(super) struct Wording {
    names: HashSet<String>,
}

/// The executor's limits, should the schema have any set: constant texts.
const LIMITS: [&str; 3] = ["Query is too complex.", "Query is nested too deep.", "The recursion depth of the query"];

/// How a message begins, what stands between its first two quotations (or anything), and what is said instead:
/// `{n}` is the n-th quotation.
const WORDINGS: &[(&str, &str, &str)] = &[
    ("Unknown field ", "", "There is no such field on type {1}."),
    ("Cannot query field ", "", "There is no such field on type {1}."),
    ("Unknown argument ", " on directive ", "The directive {1} has no such argument."),
    ("Unknown argument ", "", "The field {1} of type {2} has no such argument."),
    ("Unknown type ", "", "There is no such type."),
    ("Unknown fragment", "", "There is no such fragment in the document."),
    ("Unknown directive ", "", "There is no such directive."),
    ("Unknown operation ", "", "There is no such operation in the document."),
    ("Duplicate directive ", "", "The directive {0} may stand here only once."),
    ("Directive ", " argument ", "The directive {0} needs its argument {1} of type {2}."),
    ("Directive ", "", "The directive {0} may not stand here."),
    ("Fragment ", " is never used", "The fragment is never used."),
    ("Fragment cannot be spread here", "", "The fragment cannot be spread here: it never fits an object of type {0}."),
    ("Fragment ", " cannot be spread here", "The fragment cannot be spread here: it never fits an object of type {1}."),
    ("Fragment", "", "The fragment is on a type that has no fields."),
    ("Variable ", " is not used", "The variable is never used."),
    ("Variable ", " is not defined", "The operation does not define this variable."),
    ("Variable ", " cannot be of non-input type ", "A variable cannot be of type {1}."),
    ("Variable ", " of type ", "The variable is of type {1} where {2} is expected."),
    ("Variable ", "", "The operation does not define this variable."),
    ("Field ", " argument ", "The field {0} needs its argument {1} of type {2}."),
    ("Field ", " must not have a selection", "The field {0} has no subfields: type {1} is a leaf."),
    ("Field ", " of type ", "The field {0} of type {1} needs a selection of subfields."),
    ("Fields ", "", "Fields of one response name must be the same field with the same arguments. Give one an alias."),
    ("There can only be one ", "", "The same name is given twice."),
    ("Expected input type ", "", "A value of type {0} is expected."),
    ("Failed to parse ", "", "This is not a valid {0}."),
];

/// What messages about input values say after the path to the value.
const REASONS: &[(&str, &str)] = &[
    ("expected type ", "a value of type {1} is expected"),
    ("enumeration type ", "{1} has no such value"),
    ("unknown field ", "type {2} has no such field"),
    ("field ", "the field {1} of type {2} is required"),
    ("Oneof ", "exactly one field must be given, and not null"),
    ("missing argument", "it is required"),
];

impl Wording {
    pub(super) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().collect() }
    }

    /// The same errors in our words; places and paths stay. Only the first few: one document can be wrong in a thousand places.
    pub(super) fn reword(&self, errors: &mut Vec<ServerError>) {
        errors.truncate(SHOWN);
        for error in errors {
            let code = if LIMITS.iter().any(|limit| error.message.starts_with(limit)) {
                Code::TooComplex
            } else {
                Code::BadUserInput
            };
            let reworded = errors::coded(code, self.say(&error.message), std::mem::take(&mut error.locations));
            let path = std::mem::take(&mut error.path);
            *error = reworded.with_path(path);
        }
    }

    fn say(&self, message: &str) -> String {
        let (between, quoted): (Vec<_>, Vec<_>) = message.split('"').enumerate().partition(|(index, _)| index % 2 == 0);
        let between: Vec<&str> = between.into_iter().map(|(_, text)| text).collect();
        let quoted: Vec<&str> = quoted.into_iter().map(|(_, text)| text).collect();
        if LIMITS.iter().any(|limit| message.starts_with(limit)) {
            return "The document asks for too much at once.".to_owned();
        }
        if message.starts_with("Invalid value for argument") || message.starts_with("Invalid default value") {
            return self.say_about_value(&between, &quoted);
        }
        let second = between.get(1).copied().unwrap_or_default();
        let known = WORDINGS.iter().find(|(begins, then, _)| message.starts_with(begins) && second.starts_with(then));
        known.map_or_else(
            || "The request does not fit the schema here.".to_owned(),
            |(_, _, wording)| self.fill(wording, &quoted),
        )
    }

    /// `Invalid value for argument "a.b", expected type "T"` and its like.
    fn say_about_value(&self, between: &[&str], quoted: &[&str]) -> String {
        let reason = between.get(1).and_then(|text| text.strip_prefix(", ")).unwrap_or_default();
        let reason = REASONS.iter().find(|(begins, _)| reason.starts_with(begins));
        let path = quoted.first().map_or_else(String::new, |path| self.known_path(path));
        match reason {
            Some((_, wording)) => format!("Not a valid value for {path}: {}.", self.fill(wording, quoted)),
            None => format!("Not a valid value for {path}."),
        }
    }

    /// `input.filter.2.status`, as far as the schema has these names.
    fn known_path(&self, path: &str) -> String {
        let known =
            path.split('.').take_while(|segment| self.names.contains(*segment) || segment.parse::<u16>().is_ok());
        let known = known.collect::<Vec<_>>().join(".");
        if known.is_empty() { "this argument".to_owned() } else { known }
    }

    fn fill(&self, wording: &str, quoted: &[&str]) -> String {
        (0..3).fold(wording.to_owned(), |said, index| {
            let name = quoted.get(index).copied().unwrap_or_default();
            let bare = name.trim_matches(['[', ']', '!', '@']);
            said.replace(&format!("{{{index}}}"), if self.names.contains(bare) { name } else { "(unknown)" })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> String {
        Wording::new(["Query", "status", "filter", "Status", "ConnectionFilter"].map(str::to_owned)).say(message)
    }

    #[test]
    fn a_message_keeps_the_names_of_the_schema() {
        assert_eq!(
            said(r#"Unknown field "pasword" on type "Query". Did you mean "status"?"#),
            "There is no such field on type Query."
        );
        assert_eq!(
            said(
                r#"Invalid value for argument "filter.status.0", enumeration type "Status" does not contain the value "hunter2""#
            ),
            "Not a valid value for filter.status.0: Status has no such value."
        );
        assert_eq!(
            said(r#"Variable "$v" of type "[Status!]" used in position expecting type "Status""#),
            "The variable is of type [Status!] where Status is expected."
        );
    }

    #[test]
    fn a_message_never_repeats_what_was_submitted() {
        let every_shape = WORDINGS
            .iter()
            .map(|(begins, then, _)| format!(r#"{begins}"hunter2"{then}"hunter2" of "hunter2": hunter2"#));
        let values = REASONS
            .iter()
            .map(|(begins, _)| format!(r#"Invalid value for argument "hunter2", {begins}"hunter2" hunter2"#));
        let others = [
            "hunter2",
            "\"hunter2\"",
            "Invalid value for argument \"filter.hunter2\"",
            "Failed to parse \"Status\": hunter2",
        ];
        for message in every_shape.chain(values).chain(others.map(str::to_owned)) {
            assert!(!said(&message).contains("hunter2"), "{message}: {}", said(&message));
        }
    }
}
