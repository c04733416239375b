//! What an operation asks for, in words of the schema: for logs, metrics and the audit log. What a client calls its
//! operation is in none of them: it may be anything.

use std::collections::HashSet;
use std::fmt;

use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet};
use async_graphql::{Name, PathSegment, ServerError};

use super::field_types::FieldTypes;

/// Root fields that are told one by one.
const TOLD: usize = 5;

/// What an operation asks for.
#[derive(Debug, Clone)]
pub(super) struct Asks {
    pub(super) kind: OperationType,
    /// The root fields that the schema has, in order: the name in the answer, and the field's own.
    fields: Vec<(Name, Name)>,
    /// Whether there are such as the schema has not.
    unknown: bool,
}

impl Asks {
    pub(super) fn of(operation: &OperationDefinition, document: &ExecutableDocument, types: &FieldTypes) -> Self {
        let mut asks = Self { kind: operation.ty, fields: Vec::new(), unknown: false };
        asks.read(&operation.selection_set.node, document, types, &mut HashSet::new());
        asks
    }

    /// The guard has refused fragments without end; one that is spread twice says nothing new.
    fn read<'d>(
        &mut self,
        selected: &'d SelectionSet,
        document: &'d ExecutableDocument,
        types: &FieldTypes,
        spread: &mut HashSet<&'d Name>,
    ) {
        for selection in &selected.items {
            match &selection.node {
                Selection::Field(field) => {
                    let (name, answered) = (&field.node.name.node, &field.node.response_key().node);
                    match types.has_root(self.kind, name) {
                        true => self.fields.push((answered.clone(), name.clone())),
                        false => self.unknown = true,
                    }
                }
                Selection::InlineFragment(fragment) => {
                    self.read(&fragment.node.selection_set.node, document, types, spread);
                }
                Selection::FragmentSpread(named) => {
                    let name = &named.node.fragment_name.node;
                    if let Some(fragment) = document.fragments.get(name).filter(|_| spread.insert(name)) {
                        self.read(&fragment.node.selection_set.node, document, types, spread);
                    }
                }
            }
        }
    }

    /// `query`, `mutation` or `subscription`.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            OperationType::Query => "query",
            OperationType::Mutation => "mutation",
            OperationType::Subscription => "subscription",
        }
    }

    /// The root field, or a word for several and for none that there is.
    pub(super) fn field(&self) -> &str {
        match self.fields.as_slice() {
            [(_, only)] if !self.unknown => only,
            [] => "unknown",
            [..] => "several",
        }
    }

    /// The root fields that `error` keeps from being done: one, or all where it is of none; not those within which
    /// something else failed.
    pub(super) fn kept_by<'a>(&'a self, error: &'a ServerError) -> impl Iterator<Item = &'a Name> {
        let concerned = self.fields.iter().filter(|(answered, _)| match error.path.as_slice() {
            [] => true,
            [PathSegment::Field(place)] => answered.as_str() == place,
            [..] => false,
        });
        concerned.map(|(_, name)| name)
    }
}

/// The names of its root fields, the first of them.
impl fmt::Display for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = self.fields.iter().take(TOLD).map(|(_, name)| name.as_str()).collect();
        if self.unknown || self.fields.len() > TOLD {
            names.push("…");
        }
        f.write_str(&names.join(","))
    }
}
