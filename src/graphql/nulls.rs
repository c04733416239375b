//! What a field that failed leaves in the answer (GraphQL specification, section 6.4.4): null, or, where null may not
//! stand, null at the nearest place above it where it may.
//!
//! The executor leaves such a field out instead. What it left out is found by the errors' paths, so that an answer
//! without errors costs nothing here.

use async_graphql::parser::types::{BaseType, ExecutableDocument, OperationDefinition, Selection, SelectionSet, Type};
use async_graphql::{Name, PathSegment, ServerError, Value};

use super::field_types::{FieldTypes, base};

impl FieldTypes {
    /// Puts null into `data`, the answer to `operation`, for each of `errors`.
    pub(super) fn complete(
        &self,
        data: &mut Value,
        operation: &OperationDefinition,
        document: &ExecutableDocument,
        errors: &[ServerError],
    ) {
        let Some(root) = self.root(operation.ty) else { return };
        let asked = Asked { types: self, document };
        let selected = vec![(root, &operation.selection_set.node)];
        let paths: Vec<&[PathSegment]> =
            errors.iter().map(|error| error.path.as_slice()).filter(|path| !path.is_empty()).collect();
        // First every null has its place: an object of which all fields failed is not a null that came up from below.
        paths.iter().for_each(|path| put_null(data, path));
        for path in paths {
            if !asked.holds(data, &selected, path) {
                *data = Value::Null;
            }
        }
    }
}

fn put_null(value: &mut Value, path: &[PathSegment]) {
    let Some((segment, rest)) = path.split_first() else { return };
    match segment {
        PathSegment::Field(name) => {
            if *value == Value::Null {
                *value = Value::Object(Default::default());
            }
            if let Value::Object(fields) = value {
                put_null(fields.entry(Name::new(name)).or_default(), rest);
            }
        }
        PathSegment::Index(index) => {
            if let Value::List(items) = value
                && let Some(item) = items.get_mut(*index)
            {
                put_null(item, rest);
            }
        }
    }
}

/// The selections of an object, each with the type that it is on.
type Selected<'a> = Vec<(&'a Name, &'a SelectionSet)>;

/// What was asked, of which schema.
struct Asked<'a> {
    types: &'a FieldTypes,
    document: &'a ExecutableDocument,
}

impl<'a> Asked<'a> {
    /// Whether an object may hold what is at `path` below it, once what may be null is.
    fn holds(&self, object: &mut Value, selected: &Selected<'a>, path: &[PathSegment]) -> bool {
        let (Some((PathSegment::Field(key), rest)), Value::Object(fields)) = (path.split_first(), object) else {
            return true;
        };
        let mut found = Vec::new();
        for (on, set) in selected {
            self.find(on, set, key, &mut found);
        }
        let (Some((ty, _)), Some(value)) = (found.first(), fields.get_mut(key.as_str())) else { return true };
        let below = found.iter().map(|(ty, set)| (base(ty), *set)).collect();
        self.fits(value, ty, &below, rest)
    }

    /// Whether a value may stand where `ty` is expected, once what may be null is.
    fn fits(&self, value: &mut Value, ty: &Type, selected: &Selected<'a>, path: &[PathSegment]) -> bool {
        let whole = match (&ty.base, path.split_first(), &mut *value) {
            (BaseType::List(of), Some((PathSegment::Index(index), rest)), Value::List(items)) => {
                items.get_mut(*index).is_none_or(|item| self.fits(item, of, selected, rest))
            }
            (BaseType::Named(_), Some(_), object @ Value::Object(_)) => self.holds(object, selected, path),
            (_, _, Value::Null) => false,
            _ => true,
        };
        if !whole {
            *value = Value::Null;
        }
        whole || ty.nullable
    }

    /// Collects the fields that answer to `key`, with their types.
    fn find(&self, on: &'a Name, set: &'a SelectionSet, key: &str, found: &mut Vec<(&'a Type, &'a SelectionSet)>) {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let ty = self.types.field(on, &field.name.node).map(|of| &of.ty);
                    if let Some(ty) = ty.filter(|_| field.response_key().node == key) {
                        found.push((ty, &field.selection_set.node));
                    }
                }
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let on = condition.map_or(on, |condition| &condition.node.on.node);
                    self.find(on, &fragment.node.selection_set.node, key, found);
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) {
                        let fragment = &fragment.node;
                        self.find(&fragment.type_condition.node.on.node, &fragment.selection_set.node, key, found);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use async_graphql::parser::types::DocumentOperations;
    use serde_json::json;

    use super::*;
    use crate::graphql::field_types::definitions;

    const SCHEMA: &str = "
        schema { query: Query }
        interface Node { id: ID! }
        type Thing implements Node { id: ID! name: String! note: String part: Thing parts: [Thing!]! maybe: [Thing] }
        type Query { thing: Thing must: Thing! node: Node }
    ";

    fn completed(query: &str, data: serde_json::Value, paths: &[serde_json::Value]) -> serde_json::Value {
        let document = parse_query(query).unwrap();
        let DocumentOperations::Single(operation) = &document.operations else { panic!("one operation") };
        let errors: Vec<ServerError> = paths
            .iter()
            .map(|path| {
                let mut error = ServerError::new("it failed", None);
                error.path = serde_json::from_value(path.clone()).unwrap();
                error
            })
            .collect();
        let mut data = Value::from_json(data).unwrap();
        FieldTypes::read(&definitions(SCHEMA)).complete(&mut data, &operation.node, &document, &errors);
        data.into_json().unwrap()
    }

    #[test]
    fn a_field_that_may_be_null_is_null_where_it_failed() {
        let data = json!({"thing": {"name": "x"}});
        let whole = completed("{ thing { name other: note } }", data, &[json!(["thing", "other"])]);
        assert_eq!(whole, json!({"thing": {"name": "x", "other": null}}));
    }

    #[test]
    fn a_field_that_may_not_takes_the_nearest_that_may_with_it() {
        let data = json!({"thing": {"part": {"id": "1"}, "note": "x"}});
        let whole = completed("{ thing { part { id name } note } }", data, &[json!(["thing", "part", "name"])]);
        assert_eq!(whole, json!({"thing": {"part": null, "note": "x"}}));
    }

    #[test]
    fn it_goes_up_through_lists_and_fragments_to_the_top() {
        let data = json!({"must": {"parts": [{"name": "a"}, {}]}});
        let query = "{ ...all } fragment all on Query { must { parts { ... on Thing { name } } } }";
        assert_eq!(completed(query, data, &[json!(["must", "parts", 1, "name"])]), json!(null));
        let data = json!({"thing": {"maybe": [{"name": "a"}, {"id": "1"}]}});
        let whole = completed("{ thing { maybe { name id } } }", data, &[json!(["thing", "maybe", 1, "name"])]);
        assert_eq!(whole, json!({"thing": {"maybe": [{"name": "a"}, null]}}));
    }

    #[test]
    fn an_object_of_which_every_field_failed_is_still_there() {
        let both = [json!(["thing", "note"]), json!(["thing", "part"])];
        let whole = completed("{ thing { note part { id } } }", json!({"thing": null}), &both);
        assert_eq!(whole, json!({"thing": {"note": null, "part": null}}));
    }

    #[test]
    fn what_was_taken_along_stays_so_when_more_fails_in_it() {
        let both = [json!(["thing", "name"]), json!(["thing", "note"])];
        assert_eq!(completed("{ thing { name note } }", json!({"thing": null}), &both), json!({"thing": null}));
    }

    #[test]
    fn an_interface_is_read_by_its_fragments() {
        let query = "{ node { id ... on Thing { name } } }";
        let whole = completed(query, json!({"node": {"id": "1"}}), &[json!(["node", "name"])]);
        assert_eq!(whole, json!({"node": null}));
    }
}
