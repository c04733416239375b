//! What the fields of a schema are, read from its text: the type of each, and how long its page is unless it is told.
//! Introspection's own are among them.

use std::collections::HashMap;

use async_graphql::parser::{
    parse_schema,
    types::{BaseType, FieldDefinition, OperationType, Type, TypeKind, TypeSystemDefinition},
};
use async_graphql::{Name, Positioned, Value};

/// The types that every schema has and none writes down (GraphQL specification, section 4.2).
const INTROSPECTION: &str = include_str!("introspection_types.graphql");

/// The definitions of a schema's text, introspection's among them. A schema writes text that it can read; of one that it
/// cannot read nothing is known.
pub(super) fn definitions(sdl: &str) -> Vec<TypeSystemDefinition> {
    let of = |text| parse_schema(text).map(|document| document.definitions).unwrap_or_default();
    let mut all = of(sdl);
    all.extend(of(INTROSPECTION));
    all
}

/// The fields of every object and interface of a schema.
#[derive(Debug, Default)]
pub(super) struct FieldTypes {
    by_type: HashMap<Name, HashMap<Name, Field>>,
    /// Of queries, mutations and subscriptions.
    roots: [Option<Name>; 3],
}

/// One field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) ty: Type,
    /// What its argument `first` is unless it is given.
    pub(super) first: Option<u64>,
}

impl FieldTypes {
    pub(super) fn read(definitions: &[TypeSystemDefinition]) -> Self {
        let mut types = Self::default();
        for definition in definitions {
            match definition {
                TypeSystemDefinition::Schema(schema) => {
                    let of = |root: &Option<Positioned<Name>>| root.as_ref().map(|name| name.node.clone());
                    let schema = &schema.node;
                    types.roots = [of(&schema.query), of(&schema.mutation), of(&schema.subscription)];
                }
                TypeSystemDefinition::Type(definition) => {
                    let fields = match &definition.node.kind {
                        TypeKind::Object(of) => &of.fields,
                        TypeKind::Interface(of) => &of.fields,
                        _ => continue,
                    };
                    types.by_type.entry(definition.node.name.node.clone()).or_default().extend(by_name(fields));
                }
                TypeSystemDefinition::Directive(_) => {}
            }
        }
        // The text calls it by a name that no schema can have: its fields are those of queries.
        if let (Some(fields), Some(query)) = (types.by_type.remove("__Query"), &types.roots[0]) {
            types.by_type.entry(query.clone()).or_default().extend(fields);
        }
        types
    }

    /// The type whose fields operations of this kind ask for.
    pub(super) fn root(&self, kind: OperationType) -> Option<&Name> {
        match kind {
            OperationType::Query => self.roots[0].as_ref(),
            OperationType::Mutation => self.roots[1].as_ref(),
            OperationType::Subscription => self.roots[2].as_ref(),
        }
    }

    /// A field of the type `on`; none: there is no such type or field.
    pub(super) fn field(&self, on: &str, name: &str) -> Option<&Field> {
        self.by_type.get(on)?.get(name)
    }

    /// Whether operations of this kind can ask for `field`, introspection included.
    pub(super) fn has_root(&self, kind: OperationType, field: &str) -> bool {
        field == "__typename" || self.root(kind).is_some_and(|root| self.field(root, field).is_some())
    }

    /// Every field that is a list, with the type that has it.
    #[cfg(test)]
    pub(super) fn lists(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.by_type.iter().flat_map(|(on, fields)| fields.iter().map(move |(name, of)| (on, name, of)));
        fields.filter(|(_, _, of)| is_list(&of.ty)).map(|(on, name, _)| (on.as_str(), name.as_str()))
    }
}

fn by_name(fields: &[Positioned<FieldDefinition>]) -> impl Iterator<Item = (Name, Field)> {
    fields.iter().map(|field| {
        let field = &field.node;
        let first = field.arguments.iter().find(|argument| argument.node.name.node == "first");
        let first = match first.and_then(|argument| argument.node.default_value.as_ref()).map(|value| &value.node) {
            Some(Value::Number(number)) => number.as_u64(),
            _ => None,
        };
        (field.name.node.clone(), Field { ty: field.ty.node.clone(), first })
    })
}

/// Whether a value of this type is a list.
pub(super) fn is_list(ty: &Type) -> bool {
    matches!(ty.base, BaseType::List(_))
}

/// The name of what a type is, or is a list of.
pub(super) fn base(ty: &Type) -> &Name {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(of) => base(of),
    }
}
