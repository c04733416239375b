//! How many fields an answer may hold: what stands within a page counts once for each of its nodes.
//!
//! The contract makes pages easy to see without the schema: a page is a field that selects `nodes` or `edges`, of the size that
//! `first` or `last` says, and a list by ids is as long as its argument `ids`. A mutation of many `accounts` answers for each.

use std::collections::HashMap;

use async_graphql::parser::types::{ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet};
use async_graphql::{Value, Variables, from_value};

/// What a page holds that does not say its size.
const DEFAULT_PAGE: u64 = 50;
/// What no page exceeds.
const LARGEST_PAGE: u64 = 100;

/// The fields that the answer to `operation` may hold. The document has been measured: its fragments form no circle.
pub(super) fn weight(operation: &OperationDefinition, document: &ExecutableDocument, variables: &Variables) -> u64 {
    Scales { document, variables, fragments: HashMap::new() }.selection_set(&operation.selection_set.node).fields
}

#[derive(Clone, Copy, Default)]
struct Weight {
    fields: u64,
    /// It selects `nodes` or `edges`: what holds it is a page.
    lists_nodes: bool,
}

struct Scales<'d> {
    document: &'d ExecutableDocument,
    variables: &'d Variables,
    fragments: HashMap<&'d str, Weight>,
}

impl<'d> Scales<'d> {
    fn selection_set(&mut self, set: &'d SelectionSet) -> Weight {
        set.items.iter().fold(Weight::default(), |sum, selection| {
            let part = match &selection.node {
                Selection::Field(field) => self.field(&field.node),
                Selection::InlineFragment(fragment) => self.selection_set(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node),
            };
            Weight { fields: sum.fields.saturating_add(part.fields), lists_nodes: sum.lists_nodes || part.lists_nodes }
        })
    }

    fn field(&mut self, field: &'d Field) -> Weight {
        let within = self.selection_set(&field.selection_set.node);
        let times = if within.lists_nodes { self.page_size(field) } else { self.named(field) };
        Weight {
            fields: within.fields.saturating_mul(times).saturating_add(1),
            lists_nodes: matches!(field.name.node.as_str(), "nodes" | "edges"),
        }
    }

    fn fragment(&mut self, name: &str) -> Weight {
        let Some((name, fragment)) = self.document.fragments.get_key_value(name) else { return Weight::default() };
        if let Some(weight) = self.fragments.get(name.as_str()) {
            return *weight;
        }
        let weight = self.selection_set(&fragment.node.selection_set.node);
        self.fragments.insert(name, weight);
        weight
    }

    fn page_size(&self, field: &Field) -> u64 {
        let asked = ["first", "last"].into_iter().find_map(|name| from_value::<u64>(self.argument(field, name)?).ok());
        asked.unwrap_or(DEFAULT_PAGE).clamp(1, LARGEST_PAGE)
    }

    /// How many things the field's arguments name, each of which it answers for.
    fn named(&self, field: &Field) -> u64 {
        let accounts = || match self.argument(field, "input")? {
            Value::Object(mut input) => input.swap_remove("accounts"),
            _ => None,
        };
        match self.argument(field, "ids").or_else(accounts) {
            Some(Value::List(named)) => u64::try_from(named.len()).unwrap_or(u64::MAX).max(1),
            _ => 1,
        }
    }

    /// The value of an argument; none when it is absent or its variable is.
    fn argument(&self, field: &Field, name: &str) -> Option<Value> {
        let value = field.get_argument(name)?.node.clone();
        value.into_const_with(|variable| self.variables.get(&variable).cloned().ok_or(())).ok()
    }
}
