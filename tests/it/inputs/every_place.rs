//! Every place of every input of the schema, one after the other, given what attackers give: whatever the API grows, it is
//! tried here without anybody remembering to.

use std::collections::{BTreeMap, HashMap};

use async_graphql::parser::{
    parse_schema,
    types::{BaseType, FieldDefinition, InputValueDefinition, Type, TypeDefinition, TypeKind, TypeSystemDefinition},
};
use serde_json::{Map, Value, json};

use super::*;

/// One request, with what was planted at one place of its variables.
struct Try {
    /// Operation, field, and the way to the place.
    place: String,
    query: String,
    variables: Value,
    /// Whether any text fits there.
    takes_text: bool,
}

/// The schema, and what to fill inputs with so that a request gets as far as it can.
struct Inputs {
    types: HashMap<String, TypeDefinition>,
    /// By the name of an argument or field.
    known: BTreeMap<&'static str, Value>,
}

/// A step into an input.
#[derive(Clone, PartialEq)]
enum Step {
    Field(String),
    Item,
}

impl Inputs {
    fn new(known: BTreeMap<&'static str, Value>) -> Self {
        let document = parse_schema(patchbay::graphql::sdl()).unwrap();
        let types = document.definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => Some((definition.node.name.node.to_string(), definition.node)),
            _ => None,
        });
        Self { types: types.collect(), known }
    }

    /// A request for each place in the input of each field of `root`: once with as little beside it as the schema lets, once with
    /// everything.
    fn tries(&self, root: &str, planted: &Value) -> Vec<Try> {
        let mut tries = Vec::new();
        for field in fields(&self.types[root]) {
            for argument in field.arguments.iter().map(|argument| &argument.node) {
                for way in self.ways(&argument.ty.node) {
                    for full in [false, true] {
                        tries.push(self.one(root, field, argument, &way, planted, full));
                    }
                }
            }
        }
        tries
    }

    fn one(
        &self,
        root: &str,
        field: &FieldDefinition,
        at: &InputValueDefinition,
        way: &[Step],
        planted: &Value,
        full: bool,
    ) -> Try {
        let (mut declared, mut given, mut variables) = (Vec::new(), Vec::new(), Map::new());
        for argument in field.arguments.iter().map(|argument| &argument.node) {
            let name = argument.name.node.as_str();
            let value = if name == at.name.node.as_str() {
                self.planted(&argument.ty.node, way, planted, full)
            } else if !argument.ty.node.nullable || full && !matches!(name, "last" | "before" | "after") {
                self.sample(name, &argument.ty.node)
            } else {
                continue;
            };
            declared.push(format!("${name}: {}", argument.ty.node));
            given.push(format!("{name}: ${name}"));
            variables.insert(name.to_owned(), value);
        }
        let operation = root.to_lowercase();
        let selected = self.selection(&field.ty.node);
        let name = &field.name.node;
        let query = format!("{operation}({}) {{ {name}({}) {selected} }}", declared.join(", "), given.join(", "));
        let steps = way.iter().map(|step| match step {
            Step::Field(name) => name.as_str(),
            Step::Item => "0",
        });
        let place: Vec<&str> = [name.as_str(), at.name.node.as_str()].into_iter().chain(steps).collect();
        let leaf = self.at_the_end(&at.ty.node, way);
        let takes_text = matches!(leaf.as_str(), "String" | "ID" | "JSON");
        Try { place: place.join("."), query, variables: Value::Object(variables), takes_text }
    }

    /// The ways to all leaves of an input.
    fn ways(&self, of: &Type) -> Vec<Vec<Step>> {
        match &of.base {
            BaseType::List(item) => prefixed(Step::Item, self.ways(item)),
            BaseType::Named(name) => match self.inputs_of(name) {
                None => vec![Vec::new()],
                Some(inputs) => inputs
                    .flat_map(|input| {
                        let step = Step::Field(input.name.node.to_string());
                        prefixed(step, self.ways(&input.ty.node))
                    })
                    .collect(),
            },
        }
    }

    /// The name of the type at the end of a way.
    fn at_the_end(&self, of: &Type, way: &[Step]) -> String {
        match (&of.base, way) {
            (BaseType::List(item), [Step::Item, rest @ ..]) => self.at_the_end(item, rest),
            (BaseType::Named(name), [Step::Field(field), rest @ ..]) => {
                let mut inputs = self.inputs_of(name).unwrap();
                let input = inputs.find(|input| input.name.node.as_str() == field).unwrap();
                self.at_the_end(&input.ty.node, rest)
            }
            (base, _) => base.to_string(),
        }
    }

    fn planted(&self, of: &Type, way: &[Step], planted: &Value, full: bool) -> Value {
        match (&of.base, way) {
            (BaseType::List(item), [Step::Item, rest @ ..]) => json!([self.planted(item, rest, planted, full)]),
            (BaseType::Named(name), [Step::Field(field), rest @ ..]) => {
                let mut object = Map::new();
                for input in self.inputs_of(name).unwrap() {
                    let (known, ty) = (input.name.node.to_string(), &input.ty.node);
                    if known == *field {
                        object.insert(known, self.planted(ty, rest, planted, full));
                    } else if !self.is_one_of(name) && (full || !ty.nullable && input.default_value.is_none()) {
                        let sample = self.sample(&known, ty);
                        object.insert(known, sample);
                    }
                }
                Value::Object(object)
            }
            _ => planted.clone(),
        }
    }

    /// Something harmless.
    fn sample(&self, called: &str, of: &Type) -> Value {
        match &of.base {
            BaseType::List(item) => json!([self.sample(called, item)]),
            BaseType::Named(name) => {
                if let Some(inputs) = self.inputs_of(name) {
                    let all = inputs.map(|input| {
                        let name = input.name.node.to_string();
                        let value = self.sample(&name, &input.ty.node);
                        (name, value)
                    });
                    return Value::Object(if self.is_one_of(name) { all.take(1).collect() } else { all.collect() });
                }
                self.known.get(called).cloned().unwrap_or_else(|| self.sample_of(name))
            }
        }
    }

    fn sample_of(&self, name: &str) -> Value {
        match &self.types.get(name).map(|definition| &definition.kind) {
            Some(TypeKind::Enum(values)) => json!(values.values[0].node.value.node),
            _ => match name {
                "Int" | "Float" => json!(1),
                "Boolean" => json!(true),
                "DateTime" => json!("2026-01-01T00:00:00Z"),
                "URL" => json!("https://app.example/done"),
                _ => json!("x"),
            },
        }
    }

    fn inputs_of(&self, name: &str) -> Option<impl Iterator<Item = &InputValueDefinition>> {
        match &self.types.get(name)?.kind {
            TypeKind::InputObject(input) => Some(input.fields.iter().map(|field| &field.node)),
            _ => None,
        }
    }

    fn is_one_of(&self, name: &str) -> bool {
        self.types[name].directives.iter().any(|directive| directive.node.name.node == "oneOf")
    }

    /// Enough of the answer to make the server work for it, and nothing of it that was given.
    fn selection(&self, of: &Type) -> String {
        let BaseType::Named(name) = &of.base else {
            let BaseType::List(item) = &of.base else { unreachable!() };
            return self.selection(item);
        };
        let Some(definition) = self.types.get(name.as_str()) else { return String::new() };
        let has = |wanted: &str| fields(definition).iter().any(|field| field.name.node == wanted);
        match &definition.kind {
            TypeKind::Scalar | TypeKind::Enum(_) => String::new(),
            _ if has("totalCount") => "{ totalCount nodes { __typename } }".to_owned(),
            _ if has("errors") => {
                let rows = if has("results") { "results { errors { code message field } } " } else { "" };
                format!("{{ {rows}errors {{ code message field }} }}")
            }
            _ => "{ __typename }".to_owned(),
        }
    }
}

fn fields(definition: &TypeDefinition) -> Vec<&FieldDefinition> {
    match &definition.kind {
        TypeKind::Object(object) => object.fields.iter().map(|field| &field.node).collect(),
        TypeKind::Interface(interface) => interface.fields.iter().map(|field| &field.node).collect(),
        _ => Vec::new(),
    }
}

fn prefixed(step: Step, ways: Vec<Vec<Step>>) -> Vec<Vec<Step>> {
    ways.into_iter().map(|way| [vec![step.clone()], way].concat()).collect()
}

/// A stage with something of everything, and the inputs that name it.
async fn stage_and_inputs() -> (Stage, Inputs) {
    let (stage, client, connection) = furnished().await;
    let ads = json!({ "connector": "sandbox-ads", "clientId": client, "accountId": "100-301" });
    let ads = stage.admin.connects(&stage.browser(), ads, "ada").await;
    let staff = stage.person("Tomas", "STAFF", None).await;
    let dataset = stage.admin.makes_dataset(&connection, "invoices").await;
    let metric = stage.admin.makes_metric(&dataset, "COUNT", None).await;
    let known = BTreeMap::from([
        ("connector", json!("sandbox-billing")),
        ("slug", json!("sandbox-billing")),
        ("clientId", json!(client)),
        ("connectionId", json!(connection)),
        ("authorizationId", ads["authorization"]["id"].clone()),
        ("datasetId", json!(dataset)),
        ("metricId", json!(metric)),
        ("path", json!("invoices")),
        ("parameters", json!({})),
        ("rowsPointer", json!("/rows")),
        ("column", json!("amount")),
        ("userId", json!(staff.id)),
        ("userIds", json!(staff.id)),
        ("after", json!(stage.admin.event_cursor().await)),
        ("email", json!("new@lighthouse.example")),
        ("emails", json!("tomas@lighthouse.example")),
        ("timeZone", json!("Europe/Berlin")),
        ("reminderTime", json!("08:30")),
        ("connectionUrl", json!("https://app.example/sources/{connectionId}")),
        ("expiresAt", json!("2027-01-01T00:00:00Z")),
    ]);
    (stage, Inputs::new(known))
}

/// Tries `planted` everywhere. Nothing of it comes back, nothing breaks, and what is refused has left nothing behind.
async fn try_everywhere(planted: &str) {
    let (stage, inputs) = stage_and_inputs().await;
    let (mut taken, mut kept) = (0, tables::counts(&stage.db).await);
    for root in ["Query", "Mutation"] {
        let tries = inputs.tries(root, &json!(planted));
        assert!(tries.len() >= 60, "too few places were found in {root}: {}", tries.len());
        for one in tries {
            let answer = stage.admin.tries(&one.query, json!({ "variables": one.variables })).await;
            let said = answer.body.to_string();
            let marks = |text: &str| text.contains(PLANTED) || text.contains("SELECT");
            assert!(!marks(&said), "{} repeats what was given: {}", one.place, excerpt(&said));
            let code = answer.code();
            let typed = code.is_none_or(|code| matches!(code, "BAD_USER_INPUT" | "FORBIDDEN" | "CURSOR_EXPIRED"));
            assert!(typed, "{}: {}\n{}", one.place, excerpt(&said), one.query);
            assert!(one.takes_text || code == Some("BAD_USER_INPUT"), "{} takes a text: {}", one.place, excerpt(&said));
            let before = std::mem::replace(&mut kept, tables::counts(&stage.db).await);
            if code.is_some() || said.contains("\"code\"") {
                assert_eq!(kept, before, "{} was refused and left something behind", one.place);
            } else {
                taken += 1;
            }
        }
    }
    assert!(taken > 0, "nothing was taken anywhere: the tries do not get far enough to mean anything");
    let viewer = stage.admin.sees("{ viewer { role workspace { connectionCounts { total } } } }").await;
    assert_eq!(viewer["viewer"]["role"], "ADMIN", "all is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_given_anywhere_is_repeated_nowhere() {
    try_everywhere(PLANTED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_given_anywhere_is_only_a_text() {
    try_everywhere("hunter2'; DROP TABLE connection; SELECT \"x\" FROM client WHERE '1'='1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_given_anywhere_break_nothing() {
    try_everywhere("hunter2\0\u{1b}[31m\r\n\u{2028}").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_given_anywhere_breaks_nothing() {
    try_everywhere(&PLANTED.repeat((1 << 20) / PLANTED.len())).await;
}
