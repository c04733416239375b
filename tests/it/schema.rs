//! The schema as text: kept current in the repository, and nothing in it without a description.

use std::path::Path;

use async_graphql::parser::{
    parse_schema,
    types::{InputValueDefinition, InterfaceType, ObjectType, TypeDefinition, TypeKind, TypeSystemDefinition},
};

#[test]
fn the_schema_in_the_repository_is_the_schema_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql");
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == patchbay::graphql::sdl(), "schema.graphql is not current: cargo run -- schema > schema.graphql");
}

#[test]
fn everything_in_the_schema_is_described() {
    let mut bare = Vec::new();
    for definition in parse_schema(patchbay::graphql::sdl()).unwrap().definitions {
        if let TypeSystemDefinition::Type(definition) = definition {
            note_undescribed(&definition.node, &mut bare);
        }
    }
    assert_eq!(bare, Vec::<String>::new());
}

fn note_undescribed(definition: &TypeDefinition, bare: &mut Vec<String>) {
    let name = &definition.name.node;
    let mut note = |described: bool, path: String| {
        if !described {
            bare.push(path);
        }
    };
    note(definition.description.is_some(), name.to_string());
    let input = |input: &InputValueDefinition| (input.description.is_some(), input.name.node.clone());
    match &definition.kind {
        TypeKind::Object(ObjectType { fields, .. }) | TypeKind::Interface(InterfaceType { fields, .. }) => {
            for field in fields.iter().map(|field| &field.node) {
                note(field.description.is_some(), format!("{name}.{}", field.name.node));
                for (described, argument) in field.arguments.iter().map(|argument| input(&argument.node)) {
                    note(described, format!("{name}.{}({argument})", field.name.node));
                }
            }
        }
        TypeKind::Enum(values) => {
            for value in values.values.iter().map(|value| &value.node) {
                note(value.description.is_some(), format!("{name}::{}", value.value.node));
            }
        }
        TypeKind::InputObject(fields) => {
            for (described, field) in fields.fields.iter().map(|field| input(&field.node)) {
                note(described, format!("{name}.{field}"));
            }
        }
        TypeKind::Scalar | TypeKind::Union(_) => {}
    }
}
