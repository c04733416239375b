use async_graphql::parser::parse_query;
use async_graphql::{Variables, value};

use super::*;
use crate::graphql::response::Response;

fn judge_with(text: &str, variables: Variables) -> Result<(), Refusal> {
    let limits = Limits::default();
    check_text(text, &limits)?;
    let document = parse_query(text).expect("the text parses");
    check_document(&document, &limits)?;
    let (_, operation) = document.operations.iter().next().expect("there is an operation");
    check_operation(&operation.node, &document, &variables, &limits)
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
    let text = format!(r#"{{ a(b: "{0}", c: """{0} \""" " {0}""") # {0} "#, "{".repeat(100));
    assert!(check_text(&format!("{text}\n}}"), &Limits::default()).is_ok());
    assert!(check_text(r#"{ a(b: "\"[[[", c: "never closed"#, &Limits::default()).is_ok());
}

#[test]
fn the_usual_introspection_query_passes() {
    assert!(judge(include_str!("introspection.graphql")).is_ok());
}

#[test]
fn the_largest_texts_within_the_limits_do_not_overwhelm_the_parser() {
    let comment = format!("{{ a # {}\n b }}", "x".repeat(130_000));
    let string = format!("{{ a(b: \"{}\") }}", "x".repeat(130_000));
    let comments = format!("{{ a {} b }}", "#\n,".repeat(43_000));
    let unclosed = format!("{}{}", "{a(b:1)@c(d:2)".repeat(55), " # x".repeat(30_000));
    let lists = format!("{{ a(b: {}) }}", "[[[[[[[[[[]]]]]]]]]]".repeat(240));
    for text in [comment, string, comments, unclosed, lists] {
        check_text(&text, &Limits::default()).expect("it is within the limits");
        // Whether it is a document does not matter; a stack that overflows would end the test.
        let _ = parse_query(&text);
    }
}
