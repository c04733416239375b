//! How many fields an answer may hold, with the variables as the executor will have them: what stands within a list counts
//! once for each of its items.

use async_graphql::parser::types::{ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet};
use async_graphql::{Name, Value, Variables, from_value};

use super::lengths::{self, Asked, Lengths};
use crate::graphql::field_types::{FieldTypes, base, is_list};

/// What an answer may hold; every sum saturates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Fields, those apart that describe the schema.
    pub(super) fields: u64,
    /// Fields below `__schema` and `__type`.
    pub(super) introspected: u64,
}

impl Weight {
    fn of(fields: u64) -> Self {
        Self { fields, introspected: 0 }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            introspected: self.introspected.saturating_add(other.introspected),
        }
    }

    fn times(self, count: u64) -> Self {
        Self { fields: self.fields.saturating_mul(count), introspected: self.introspected.saturating_mul(count) }
    }
}

/// What fields are weighed by.
pub(super) struct Scales<'s> {
    pub(super) types: &'s FieldTypes,
    pub(super) lengths: &'s Lengths,
    pub(super) document: &'s ExecutableDocument,
    pub(super) operation: &'s OperationDefinition,
    pub(super) variables: &'s Variables,
}

impl<'s> Scales<'s> {
    /// The weight of the operation. Its document has been measured: fragments form no circle, and what is selected can be
    /// walked.
    pub(super) fn weigh(&self) -> Weight {
        let root = self.types.root(self.operation.ty);
        self.selection_set(&self.operation.selection_set.node, root, Asked::default())
    }

    /// What an object of the type `on` holds of `set`; `above` is what the field asked that it came of. Of what the schema
    /// does not have, the executor will say so.
    fn selection_set(&self, set: &SelectionSet, on: Option<&Name>, above: Asked) -> Weight {
        set.items.iter().fold(Weight::default(), |sum, selection| {
            sum.plus(match &selection.node {
                Selection::Field(field) => self.field(&field.node, on, above),
                Selection::InlineFragment(fragment) => {
                    let fragment = &fragment.node;
                    let on = fragment.type_condition.as_ref().map(|condition| &condition.node.on.node).or(on);
                    self.selection_set(&fragment.selection_set.node, on, above)
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.node.fragment_name.node);
                    fragment.map_or_else(Weight::default, |fragment| {
                        let fragment = &fragment.node;
                        let on = &fragment.type_condition.node.on.node;
                        self.selection_set(&fragment.selection_set.node, Some(on), above)
                    })
                }
            })
        })
    }

    fn field(&self, field: &Field, on: Option<&Name>, above: Asked) -> Weight {
        let (set, name) = (&field.selection_set.node, field.name.node.as_str());
        let known = on.and_then(|on| self.types.field(on, name).map(|of| (on.as_str(), of)));
        let Some((on, of)) = known else {
            return Weight::of(1).plus(self.selection_set(set, None, Asked::default()));
        };
        let own = Asked {
            page: self.page_size(field).or(of.first),
            ids: self.argument(field, "ids").map(|ids| named(&ids)),
            accounts: self.argument(field, "input").as_ref().and_then(|input| member(input, "accounts")).map(named),
            everything: lengths::is_everything(on, name, above),
        };
        let within = match set.items.is_empty() {
            true => Weight::of(1),
            false => self.selection_set(set, Some(base(&of.ty)), own),
        };
        let held = match (is_list(&of.ty), set.items.is_empty()) {
            (true, _) => within.times(self.lengths.of(on, name, &of.ty, above, own)),
            (false, true) => Weight::default(),
            (false, false) => within,
        };
        let weight = Weight::of(lengths::cost(on, name)).plus(held);
        match name {
            "__schema" | "__type" => Weight { fields: 0, introspected: weight.fields },
            _ => weight,
        }
    }

    fn page_size(&self, field: &Field) -> Option<u64> {
        let asked = |name| from_value::<Option<u64>>(self.argument(field, name)?).ok().flatten();
        ["first", "last"].into_iter().find_map(asked)
    }

    /// The value of an argument with its variables; none when it is absent. A variable that is not given has its default, or
    /// is null.
    fn argument(&self, field: &Field, name: &str) -> Option<async_graphql::Value> {
        let value = field.get_argument(name)?.node.clone();
        value.into_const_with(|variable| Ok::<_, ()>(self.variable(&variable))).ok()
    }

    fn variable(&self, name: &Name) -> Value {
        let given = self.variables.get(name).cloned();
        given.unwrap_or_else(|| {
            let defined = self.operation.variable_definitions.iter().find(|it| it.node.name.node == *name);
            defined.and_then(|it| it.node.default_value.as_ref()).map(|it| it.node.clone()).unwrap_or_default()
        })
    }
}

/// How many things a value names: a single one stands for a list of one (GraphQL specification, section 3.11).
fn named(value: &Value) -> u64 {
    if let Value::List(items) = value { lengths::count(items.len()) } else { 1 }
}

fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    if let Value::Object(members) = value { members.get(name) } else { None }
}
