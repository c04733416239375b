//! How long the lists of an answer may be: a page as its field asks, every other list by [`LISTS`], introspection's as they
//! are in this schema. And what a field costs that asks a provider.

use async_graphql::Name;
use async_graphql::parser::types::{Type, TypeKind, TypeSystemDefinition};

use crate::graphql::field_types::base;

/// What a page holds that does not say its size.
const DEFAULT_PAGE: u64 = 50;
/// What no page exceeds.
const LARGEST_PAGE: u64 = 100;
/// What a list counts that nothing is known of. A test keeps the schema without such lists.
const UNKNOWN: u64 = LARGEST_PAGE;
/// What a field counts that asks a provider each time.
const ASKS_A_PROVIDER: u64 = 500;

/// What bounds a list that is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// It holds no more, or rarely does: what it holds beyond is charged by its bytes.
    Most(u64),
    /// One for each of the field's own argument `ids`.
    Ids,
    /// One for each of the `accounts` in the `input` of the mutation that it is the payload of.
    Accounts,
}

/// The lists that are no pages.
const LISTS: &[(&str, &str, Bound)] = &[
    ("Authorization", "missingScopes", Bound::Most(10)),
    ("Authorization", "scopes", Bound::Most(20)),
    ("AuthorizationAttempt", "connections", Bound::Most(100)),
    ("AuthorizationAttempt", "stillDisconnected", Bound::Most(100)),
    ("AvailableAccount", "connections", Bound::Most(100)),
    ("ConnectAccountsPayload", "results", Bound::Accounts),
    ("Connection", "sharedWith", Bound::Most(20)),
    ("ConnectionsChange", "addedConnections", Bound::Most(25)),
    ("ConnectionsChange", "clients", Bound::Most(25)),
    ("ConnectionsChange", "connections", Bound::Most(25)),
    ("ConnectionsChange", "removedConnectionIds", Bound::Most(25)),
    ("Connector", "fields", Bound::Most(20)),
    ("Dataset", "columns", Bound::Most(100)),
    ("MarkNotificationsReadPayload", "notifications", Bound::Most(100)),
    ("NotificationsRead", "notifications", Bound::Most(100)),
    ("NotificationsRemoved", "notificationIds", Bound::Most(100)),
    ("Query", "nodes", Bound::Ids),
    ("ReconnectPayload", "connections", Bound::Most(100)),
    ("UserError", "field", Bound::Most(3)),
];

/// What can be mended in one input.
const USER_ERRORS: u64 = 3;

/// The fields that ask a provider.
const ASKING: &[(&str, &str)] =
    &[("Authorization", "availableAccounts"), ("AuthorizationAttempt", "availableAccounts")];

/// What the field above a list asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// Its `first` or `last`, or the schema's default of `first`.
    pub(super) page: Option<u64>,
    /// How many `ids` it names.
    pub(super) ids: Option<u64>,
    /// How many `accounts` its `input` names.
    pub(super) accounts: Option<u64>,
    /// It is a list of everything that the schema has of its kind: what stands below is as long as it is on average.
    pub(super) everything: bool,
}

/// How long introspection's lists are in a schema, by their names.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    types: u64,
    directives: u64,
    locations: u64,
    fields: Spread,
    args: Spread,
    input_fields: Spread,
    enum_values: Spread,
    interfaces: Spread,
    possible_types: Spread,
}

/// The lengths of many lists.
#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    lists: u64,
    sum: u64,
    longest: u64,
}

impl Spread {
    fn add(&mut self, length: usize) {
        let length = count(length);
        self.lists += 1;
        self.sum += length;
        self.longest = self.longest.max(length);
    }

    /// The average, up to a whole number, over `lists`.
    fn among(&self, lists: u64) -> u64 {
        self.sum.div_ceil(lists.max(1)).max(1)
    }
}

impl Lengths {
    pub(super) fn read(definitions: &[TypeSystemDefinition]) -> Self {
        let mut lengths = Self::default();
        let mut implementing: Vec<&Name> = Vec::new();
        for definition in definitions {
            match definition {
                TypeSystemDefinition::Schema(_) => {}
                TypeSystemDefinition::Directive(of) => {
                    lengths.directives += 1;
                    lengths.locations = lengths.locations.max(count(of.node.locations.len()));
                    lengths.args.add(of.node.arguments.len());
                }
                TypeSystemDefinition::Type(of) => {
                    lengths.types += 1;
                    match &of.node.kind {
                        TypeKind::Scalar => {}
                        TypeKind::Object(object) => {
                            lengths.fields.add(object.fields.len());
                            object.fields.iter().for_each(|field| lengths.args.add(field.node.arguments.len()));
                            lengths.interfaces.add(object.implements.len());
                            implementing.extend(object.implements.iter().map(|name| &name.node));
                        }
                        TypeKind::Interface(interface) => {
                            lengths.fields.add(interface.fields.len());
                            interface.fields.iter().for_each(|field| lengths.args.add(field.node.arguments.len()));
                        }
                        TypeKind::Union(union) => lengths.possible_types.add(union.members.len()),
                        TypeKind::Enum(of) => lengths.enum_values.add(of.values.len()),
                        TypeKind::InputObject(of) => lengths.input_fields.add(of.fields.len()),
                    }
                }
            }
        }
        implementing.sort_unstable();
        implementing.chunk_by(|one, other| one == other).for_each(|same| lengths.possible_types.add(same.len()));
        // Those that the executor has of its own, and no text names: four directives, five scalars.
        lengths.directives += 4;
        lengths.types += 5;
        lengths
    }

    /// How many items the list `field` of the type `on` may hold. `above`: what the field asked that this list is part of;
    /// `own`: what it asks itself.
    pub(super) fn of(&self, on: &str, field: &str, ty: &Type, above: Asked, own: Asked) -> u64 {
        if on.starts_with("__") {
            return self.introspected(on, field, above);
        }
        if on.ends_with("Page") && matches!(field, "nodes" | "edges") {
            return above.page.unwrap_or(DEFAULT_PAGE).clamp(1, LARGEST_PAGE);
        }
        match bound(on, field, ty) {
            Some(Bound::Most(most)) => most,
            Some(Bound::Ids) => own.ids.unwrap_or(1).max(1),
            Some(Bound::Accounts) => above.accounts.unwrap_or(1).max(1),
            None => UNKNOWN,
        }
    }

    fn introspected(&self, on: &str, field: &str, above: Asked) -> u64 {
        let long = |spread: &Spread, lists| if above.everything { spread.among(lists) } else { spread.longest.max(1) };
        match (on, field) {
            ("__Schema", "types") => self.types,
            ("__Schema", "directives") => self.directives,
            ("__Directive", "locations") => self.locations.max(10),
            ("__Directive", "args") => self.args.longest,
            ("__Field", "args") => long(&self.args, self.args.lists),
            ("__Type", "fields") => long(&self.fields, self.types),
            ("__Type", "inputFields") => long(&self.input_fields, self.types),
            ("__Type", "enumValues") => long(&self.enum_values, self.types),
            ("__Type", "interfaces") => long(&self.interfaces, self.types),
            ("__Type", "possibleTypes") => long(&self.possible_types, self.types),
            _ => UNKNOWN,
        }
    }
}

/// Whether the list is one of everything that the schema has of a kind.
pub(super) fn is_everything(on: &str, field: &str, above: Asked) -> bool {
    (on, field) == ("__Schema", "types") || (above.everything && (on, field) == ("__Type", "fields"))
}

/// What one item of the field, or the field itself, costs beside what it holds.
pub(super) fn cost(on: &str, field: &str) -> u64 {
    if ASKING.contains(&(on, field)) { ASKS_A_PROVIDER } else { 1 }
}

fn bound(on: &str, field: &str, ty: &Type) -> Option<Bound> {
    if base(ty) == "UserError" {
        return Some(Bound::Most(USER_ERRORS));
    }
    LISTS.iter().find(|(of, name, _)| (*of, *name) == (on, field)).map(|(_, _, bound)| *bound)
}

pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::field_types::{FieldTypes, definitions};
    use crate::graphql::sdl;

    #[test]
    fn every_list_of_the_schema_has_a_length_and_no_length_is_of_a_list_that_it_has_not() {
        let types = FieldTypes::read(&definitions(&sdl()));
        let known = |on: &str, field: &str| {
            let ty = &types.field(on, field).unwrap().ty;
            on.starts_with("__")
                || (on.ends_with("Page") && ["nodes", "edges"].contains(&field))
                || bound(on, field, ty).is_some()
        };
        let lists: Vec<_> = types.lists().collect();
        assert!(lists.len() > 60, "{lists:?}");
        let unknown: Vec<_> = lists.iter().filter(|(on, field)| !known(on, field)).collect();
        assert!(unknown.is_empty(), "give these a length in LISTS: {unknown:?}");
        for (on, field, _) in LISTS {
            assert!(lists.contains(&(*on, *field)), "{on}.{field} is no list of the schema");
        }
        for (on, field) in ASKING {
            assert!(types.field(on, field).is_some(), "{on}.{field} is no field of the schema");
        }
    }

    #[test]
    fn introspection_is_as_long_as_this_schema() {
        let types = FieldTypes::read(&definitions(&sdl()));
        let lengths = Lengths::read(&definitions(&sdl()));
        let unknown: Vec<_> = types
            .lists()
            .filter(|(on, _)| on.starts_with("__"))
            .filter(|(on, field)| lengths.introspected(on, field, Asked::default()) == UNKNOWN)
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(
            lengths.types > 150 && lengths.fields.longest > 20 && lengths.possible_types.longest > 5,
            "{lengths:?}"
        );
    }
}
