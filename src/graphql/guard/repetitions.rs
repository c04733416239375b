//! How often an operation asks the same thing of the root under other names: each time is a request of its own, so that
//! nobody gets many guesses for the price of one.

use std::collections::HashMap;

use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, Selection, SelectionSet};

/// How often the root field that `operation` asks most often is asked; at least 1. The document has been measured: its
/// fragments form no circle, and it is not too large to be walked.
pub(in crate::graphql) fn repetitions(operation: &OperationDefinition, document: &ExecutableDocument) -> u32 {
    let mut asked = HashMap::new();
    count(&operation.selection_set.node, document, &mut asked);
    asked.into_values().max().unwrap_or(1)
}

fn count<'d>(set: &'d SelectionSet, document: &'d ExecutableDocument, asked: &mut HashMap<&'d str, u32>) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => *asked.entry(&field.node.name.node).or_default() += 1,
            Selection::InlineFragment(fragment) => count(&fragment.node.selection_set.node, document, asked),
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                    count(&fragment.node.selection_set.node, document, asked);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn of(text: &str) -> u32 {
        let document = parse_query(text).unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        repetitions(&operation.node, &document)
    }

    #[test]
    fn every_alias_of_a_root_field_counts_wherever_it_stands() {
        assert_eq!(of("{ viewer { a: id b: id } clients { nodes { id } } }"), 1);
        assert_eq!(of("{ a: client(id: 1) { id } b: client(id: 2) { id } viewer { id } }"), 2);
        assert_eq!(
            of("{ a: client { id } ... { b: client { id } ...F } } fragment F on Query { c: client { id } }"),
            3
        );
    }
}
