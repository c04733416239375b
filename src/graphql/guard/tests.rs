use async_graphql::parser::parse_query;
use async_graphql::{Variables, value};
use proptest::prelude::*;

use super::*;
use crate::graphql::field_types::definitions;
use crate::graphql::response::Response;
use crate::graphql::sdl;

fn guard(limits: Limits) -> (Guard, FieldTypes) {
    let definitions = definitions(&sdl());
    let types = FieldTypes::read(&definitions);
    (Guard::new(limits, &definitions, &types), types)
}

fn weigh_with(text: &str, variables: Variables, limits: Limits) -> Result<u64, Refusal> {
    let (guard, types) = guard(limits);
    guard.check_text(text)?;
    let document = parse_query(text).expect("the text parses");
    guard.check_document(&document)?;
    let (_, operation) = document.operations.iter().next().expect("there is an operation");
    guard.check_operation(&operation.node, &document, &variables, &types)
}

fn judge_with(text: &str, variables: Variables) -> Result<(), Refusal> {
    weigh_with(text, variables, Limits::default()).map(drop)
}

fn weight(text: &str) -> u64 {
    let Ok(weight) = weigh_with(text, Variables::default(), Limits::default()) else { panic!("{text} is refused") };
    weight
}

fn judge(text: &str) -> Result<(), Refusal> {
    judge_with(text, Variables::default())
}

/// What the refusal says. What a test here plants would take hours, or all memory, if it were walked before it is refused.
fn refusal(text: &str) -> String {
    let refusal = judge(text).expect_err("the document is refused");
    Response::from(refusal).to_json()
}

fn bomb(leaf: &str) -> String {
    let fragments = (0..24).map(|n| format!("fragment F{n} on Query {{ ...F{next} ...F{next} }} ", next = n + 1));
    format!("{{ ...F0 }} {}{leaf}", fragments.collect::<String>())
}

#[test]
fn fragments_that_double_each_other_are_refused_at_once() {
    let said = refusal(&bomb("fragment F24 on Query { __typename }"));
    assert!(said.contains("TOO_COMPLEX") && said.contains("2000 fields"), "{said}");
}

#[test]
fn doubling_fragments_that_lead_nowhere_are_refused_too() {
    assert!(refusal(&bomb("")).contains("TOO_COMPLEX"));
}

#[test]
fn a_long_chain_of_fragments_is_too_deep_from_wherever_it_is_entered() {
    let chain = |from: usize, to: usize| {
        (from..to).map(|n| format!("fragment F{n} on Query {{ ...F{} }} ", n + 1)).collect::<String>()
    };
    let late = format!("{{ ...F20 }} {}fragment F40 on Query {{ a }}", chain(20, 40));
    assert!(judge(&late).is_ok());
    let early_and_late = format!("{{ ...F20 ...F0 }} {}fragment F40 on Query {{ a }}", chain(0, 40));
    assert!(refusal(&early_and_late).contains("nested too deeply"));
}

#[test]
fn fragments_in_a_circle_are_invalid() {
    let said = refusal("{ ...A } fragment A on Query { b { ...B } } fragment B on Query { ...A }");
    assert!(said.contains("BAD_USER_INPUT") && said.contains("circle"), "{said}");
    assert!(refusal("{ a } fragment A on Query { ...A ...A }").contains("circle"));
}

#[test]
fn open_brackets_by_the_thousand_never_reach_the_parser() {
    for open in ["{a", "[", "{a(b:[", "{a(b:{c:", "query($v:["] {
        let said = refusal(&open.repeat(120_000 / open.len()));
        assert!(said.contains("nested too deeply"), "{open}: {said}");
    }
}

#[test]
fn fields_within_fields_end_at_the_depth_that_introspection_needs() {
    let nested = |depth: usize| format!("{}a{}", "{a".repeat(depth - 1) + "{", "}".repeat(depth));
    assert!(judge(&nested(15)).is_ok());
    assert!(refusal(&nested(16)).contains("15 levels"));
}

#[test]
fn wide_aliased_and_directive_heavy_documents_are_refused() {
    let wide = format!("{{ {} }}", "a ".repeat(2_001));
    let aliased = format!("{{ {} }}", (0..101).map(|n| format!("a{n}: a ")).collect::<String>());
    let directives = format!("{{ a {} }}", "@skip(if: true) ".repeat(51));
    let on_a_variable = format!("query ($v: Int {}) {{ a(b: $v) }}", "@x ".repeat(51));
    let tokens = format!("{{ a(b: [{}]) }}", "1 ".repeat(5_000));
    let long = format!("# {}\n{{ a }}", "x".repeat(132_000));
    for (document, limit) in [
        (wide, "2000 fields"),
        (aliased, "100 aliases"),
        (directives, "50 directives"),
        (on_a_variable, "50 directives"),
        (tokens, "5000 tokens"),
        (long, "131072 bytes"),
    ] {
        let said = refusal(&document);
        assert!(said.contains("TOO_COMPLEX") && said.contains(limit), "{limit}: {said}");
    }
}

#[test]
fn every_operation_of_a_document_counts() {
    let operations = (0..30).map(|n| format!("query Q{n} {{ ...F }} ")).collect::<String>();
    let document = format!("{operations} fragment F on Query {{ {} }}", "a ".repeat(70));
    assert!(refusal(&document).contains("2000 fields"));
}

#[test]
fn pages_within_pages_weigh_what_they_may_hold() {
    let nested =
        "query ($n: Int) { clients(first: $n) { nodes { connections(first: $n) { nodes { id name status } } } } }";
    assert!(judge_with(nested, Variables::from_value(value!({ "n": 50 }))).is_ok());
    assert!(judge_with(nested, Variables::from_value(value!({ "n": 100 }))).is_ok());
    let thrice =
        "{ clients(first: 100) { nodes { connections(first: 100) { nodes { datasets(last: 10) { ...D } } } } } }
                  fragment D on DatasetPage { nodes { id } }";
    assert!(refusal(thrice).contains("50000 fields"));
    let unsaid = "{ clients { nodes { connections { nodes { datasets { nodes { id } } } } } } }";
    assert!(refusal(unsaid).contains("50000 fields"));
}

#[test]
fn a_mutation_of_many_accounts_weighs_what_it_answers_for_each() {
    let text = "mutation ($input: ConnectAccountsInput!) { connectAccounts(input: $input) { results { connection { \
                disconnections(first: 100) { nodes { id } } } } } }";
    let rows = |count: usize| {
        let accounts = vec![serde_json::json!({ "accountId": "1" }); count];
        Variables::from_json(serde_json::json!({ "input": { "authorizationId": "a", "accounts": accounts } }))
    };
    assert!(judge_with(text, rows(100)).is_ok());
    assert!(judge_with(text, rows(500)).is_err());
}

#[test]
fn brackets_within_strings_and_comments_do_not_nest() {
    let (judges, _) = guard(Limits::default());
    let text = format!(r#"{{ a(b: "{0}", c: """{0} \""" " {0}""") # {0} "#, "{".repeat(100));
    assert!(judges.check_text(&format!("{text}\n}}")).is_ok());
    assert!(judges.check_text(r#"{ a(b: "\"[[[", c: "never closed"#).is_ok());
}

#[test]
fn a_page_has_the_size_that_the_executor_will_give_it() {
    let nodes = |asks: &str| weight(&format!("{{ clients{asks} {{ nodes {{ id }} }} }}"));
    assert_eq!((nodes(""), nodes("(first: 7)"), nodes("(last: 7)"), nodes("(first: null)")), (52, 9, 9, 52));
    // By a variable's default, by one that is given, and by none.
    let text = "query ($n: Int = 100, $none: Int) { clients(first: $n, last: $none) { nodes { id } } }";
    let given = |variables| weigh_with(text, variables, Limits::default()).unwrap_or_default();
    assert_eq!(given(Variables::default()), 102);
    assert_eq!(given(Variables::from_value(value!({ "n": 2 }))), 4);
    assert_eq!(given(Variables::from_value(value!({ "n": null, "none": 3 }))), 5);
    // As the schema says, where it says it.
    assert_eq!(weight("{ dataset(id: 1) { rows { nodes } } }"), 103);
    // The page counts for its rows, and not for what stands beside them.
    assert_eq!(weight("{ clients(first: 100) { totalCount pageInfo { hasNextPage } nodes { id } } }"), 105);
}

#[test]
fn lists_that_are_no_pages_weigh_what_they_may_hold() {
    for (text, most) in [
        ("{ node(id: 1) { ... on Connection { sharedWith { id } } } }", 20),
        ("{ authorizationAttempt(id: 1) { connections { id } } }", 100),
        ("{ connections { nodes { authorization { scopes } } } }", 1_000),
        ("{ connectionChanges(after: \"a\", first: 3) { nodes { clients { id } } } }", 75),
    ] {
        let weight = weight(text);
        assert!(weight > most && weight < most * 2, "{text} weighs {weight}");
    }
    let nodes = "query ($ids: [ID!]! = [1, 2, 3]) { nodes(ids: $ids) { id } }";
    assert_eq!(weight(nodes), 4);
}

#[test]
fn five_hundred_accounts_are_connected_by_one_mutation_that_asks_for_what_a_page_shows() {
    let text = "mutation ($input: ConnectAccountsInput!) { connectAccounts(input: $input) { errors { code message } results { \
                errors { code message field } connection { id name status lastCheckedAt viewerCanReconnect connector { name } \
                client { id name } createdBy { id name } sharedWith { id name } disconnection { id reason message } } } } }";
    let accounts = vec![serde_json::json!({ "accountId": "1" }); 500];
    let variables =
        Variables::from_json(serde_json::json!({ "input": { "authorizationId": "a", "accounts": accounts } }));
    assert!(judge_with(text, variables).is_ok());
}

#[test]
fn a_value_with_a_variable_that_is_not_given_is_weighed_all_the_same() {
    let rows = "{accountId: \"1\"}, ".repeat(500);
    let text = format!(
        "mutation ($unsaid: ID) {{ connectAccounts(input: {{ authorizationId: $unsaid, accounts: [{rows}] }}) {{ results {{ \
         connection {{ disconnections(first: 100) {{ nodes {{ id }} }} }} }} }} }}"
    );
    assert!(refusal(&text).contains("50000 fields"));
}

#[test]
fn what_asks_a_provider_weighs_more_than_what_is_known_here() {
    let aliases: String =
        (0..100).map(|n| format!("a{n}: availableAccounts(first: 1) {{ nodes {{ accountId }} }} ")).collect();
    let text = format!("{{ authorization(id: 1) {{ {aliases} }} }}");
    assert!(refusal(&text).contains("50000 fields"));
}

#[test]
fn the_usual_introspection_query_passes() {
    assert!(judge(include_str!("introspection.graphql")).is_ok());
}

#[test]
fn introspection_that_walks_in_circles_is_refused() {
    let circle = |depth: usize| {
        let rounds = "possibleTypes { interfaces { ".repeat(depth);
        format!("{{ __type(name: \"Node\") {{ {rounds} name {} }} }}", "} } ".repeat(depth))
    };
    assert!(judge(&circle(1)).is_ok());
    let fields = "{ __schema { types { fields { type { fields { type { fields { args { name } } } } } } } } }";
    let args = "{ __schema { directives { args { type { fields { args { type { inputFields { type { enumValues { name } } } } } } } } } } }";
    let fragments = "{ ...Q } fragment Q on Query { __schema { types { ...T } } }
        fragment T on __Type { possibleTypes { ...U } fields { type { ...U } } }
        fragment U on __Type { fields { type { fields { type { possibleTypes { name } } } } } }";
    let aliases: String = (0..60).map(|n| format!("a{n}: types {{ fields {{ args {{ name }} }} }} ")).collect();
    for text in [&circle(6), fields, args, fragments, &format!("{{ __schema {{ {aliases} }} }}")] {
        let said = refusal(text);
        assert!(said.contains("TOO_COMPLEX") && said.contains("of the schema"), "{text}: {said}");
    }
}

#[test]
fn a_server_that_does_not_describe_its_schema_refuses_introspection_and_nothing_else() {
    let off = || Limits { introspection: false, ..Limits::default() };
    let judged = |text: &str| weigh_with(text, Variables::default(), off());
    for text in [
        "{ __schema { description } }",
        "{ a: __type(name: \"Query\") { name } }",
        "{ ... { __schema { types { name } } } }",
    ] {
        let said = Response::from(judged(text).expect_err(text)).to_json();
        assert!(said.contains("PATCHBAY_INTROSPECTION"), "{said}");
    }
    assert!(judged("{ __typename viewer { __typename id } }").is_ok());
}

#[test]
fn the_largest_texts_within_the_limits_do_not_overwhelm_the_parser() {
    let comment = format!("{{ a # {}\n b }}", "x".repeat(130_000));
    let string = format!("{{ a(b: \"{}\") }}", "x".repeat(130_000));
    let comments = format!("{{ a {} b }}", "#\n,".repeat(43_000));
    let unclosed = format!("{}{}", "{a(b:1)@c(d:2)".repeat(55), " # x".repeat(30_000));
    let lists = format!("{{ a(b: {}) }}", "[[[[[[[[[[]]]]]]]]]]".repeat(240));
    let (judges, _) = guard(Limits::default());
    for text in [comment, string, comments, unclosed, lists] {
        judges.check_text(&text).expect("it is within the limits");
        // Whether it is a document does not matter; a stack that overflows would end the test.
        let _ = parse_query(&text);
    }
}

/// Documents to be torn apart and put together anew.
const CORPUS: [&str; 6] = [
    include_str!("introspection.graphql"),
    "query ($n: Int = 5, $ids: [ID!]!) { clients(first: $n) { nodes { ...C } edges { cursor } } nodes(ids: $ids) { id } }
     fragment C on Client { name connections(last: 3) { nodes { ... on Connection { sharedWith { id } } } } }",
    "mutation M($input: ConnectAccountsInput!) { connectAccounts(input: $input) { results { errors { field } } } }",
    "subscription { connectionsChanged { cursor connections { id } } }",
    "{ a: viewer @include(if: true) { id } ... @skip(if: false) { b: dataset(id: \"\\u00e9\") { rows(first: 0) { nodes } } } }",
    "{ authorization(id: \"\"\"a \\\"\"\" b\"\"\") { scopes availableAccounts(search: null, first: -1) { nodes { accountId } } } }",
];

proptest! {
    #[test]
    fn no_document_whatever_makes_the_guard_panic_or_pass_more_than_its_limit(
        one in 0..CORPUS.len(), other in 0..CORPUS.len(), cut in any::<prop::sample::Index>(),
        joint in any::<prop::sample::Index>(), put in "[\\PC{}()\\[\\]\"$@:!.#\n]{0,12}", times in 1..40_usize,
    ) {
        let (head, tail) = (CORPUS[one], CORPUS[other]);
        let piece = |text: &'static str, at: &prop::sample::Index| {
            (0..=at.index(text.len() + 1)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
        };
        let text = format!("{}{}{}", &head[..piece(head, &cut)], put.repeat(times), &tail[piece(tail, &joint)..]);
        let shared = SHARED.with(Clone::clone);
        let (guard, types) = &*shared;
        if guard.check_text(&text).is_ok()
            && let Ok(document) = parse_query(&text)
            && guard.check_document(&document).is_ok()
        {
            for (_, operation) in document.operations.iter() {
                let judged = guard.check_operation(&operation.node, &document, &Variables::default(), types);
                prop_assert!(judged.unwrap_or_default() <= guard.limits.complexity + guard.introspection);
            }
        }
    }
}

thread_local! {
    static SHARED: std::sync::Arc<(Guard, FieldTypes)> = std::sync::Arc::new(guard(Limits::default()));
}
