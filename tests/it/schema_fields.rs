//! What the server's own SDL says of its fields: the tests of access hold their tables against it, so that no field
//! comes without its rows.

use async_graphql::parser::{
    parse_schema,
    types::{BaseType, InputValueDefinition, Type, TypeKind, TypeSystemDefinition},
};

/// An argument or a field of an input: `Query.client(id:)`, `ConnectInput.clientId`.
pub struct Input {
    pub place: String,
    pub type_name: String,
}

/// A field of an object.
pub struct Field {
    pub owner: String,
    pub name: String,
    pub arguments: Vec<Input>,
}

/// Every field of every object type.
pub fn fields() -> Vec<Field> {
    let mut fields = Vec::new();
    for (owner, kind) in types() {
        let TypeKind::Object(object) = kind else { continue };
        for field in object.fields {
            let (name, field) = (field.node.name.node.to_string(), field.node);
            let arguments = field.arguments.iter().map(|argument| {
                let place = format!("{owner}.{name}({}:)", argument.node.name.node);
                Input { place, type_name: named(&argument.node.ty.node) }
            });
            fields.push(Field { arguments: arguments.collect(), owner: owner.clone(), name });
        }
    }
    fields
}

/// Every field of every input type.
pub fn inputs() -> Vec<Input> {
    let mut inputs = Vec::new();
    for (owner, kind) in types() {
        let TypeKind::InputObject(input) = kind else { continue };
        inputs.extend(input.fields.into_iter().map(|field| {
            let InputValueDefinition { name, ty, .. } = field.node;
            Input { place: format!("{owner}.{}", name.node), type_name: named(&ty.node) }
        }));
    }
    inputs
}

fn types() -> Vec<(String, TypeKind)> {
    let document = parse_schema(patchbay::graphql::sdl()).unwrap();
    let types = document.definitions.into_iter().filter_map(|definition| match definition {
        TypeSystemDefinition::Type(definition) => Some((definition.node.name.node.to_string(), definition.node.kind)),
        _ => None,
    });
    types.collect()
}

fn named(ty: &Type) -> String {
    match &ty.base {
        BaseType::Named(name) => name.to_string(),
        BaseType::List(inner) => named(inner),
    }
}
