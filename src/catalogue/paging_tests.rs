//! What pages make of each way to go on.

use serde_json::json;

use super::*;

fn page(answer: &Value, members: usize) -> Page<'_> {
    Page { answer, link: None, members, last: None }
}

fn after(pages: usize, members: usize) -> Progress {
    Progress { pages, members }
}

fn query(name: &str) -> Slot {
    Slot::Query(name.to_owned())
}

fn value(name: &str, value: Value) -> Turn {
    Turn::Value { slot: query(name), value }
}

#[test]
fn an_address_or_a_token_leads_on_while_there_is_one() {
    let address = |until_empty| Paging::Address { at: "/paging/next".to_owned(), until_empty };
    let answer = json!({"paging": {"next": "https://api.example/accounts?after=x"}});
    let next = Turn::Address("https://api.example/accounts?after=x".to_owned());
    assert_eq!(address(false).turn(page(&answer, 0), after(1, 0)), Some(next.clone()), "a page may be empty");
    assert_eq!(address(true).turn(page(&answer, 1), after(1, 1)), Some(next));
    assert_eq!(address(true).turn(page(&answer, 0), after(2, 1)), None, "or be the last for that");
    let token = Paging::Token { at: "/next".to_owned(), of_last: false, more: None, slot: query("pageToken") };
    assert_eq!(token.turn(page(&json!({"next": 7}), 5), after(1, 5)), Some(value("pageToken", json!("7"))));
    for last in [json!({}), json!({"next": null}), json!({"next": ""}), json!([])] {
        assert_eq!(token.turn(page(&last, 5), after(1, 5)), None, "{last}");
    }
}

#[test]
fn a_link_leads_on_while_there_is_one() {
    let answer = json!([]);
    let linked = Page { link: Some("/items?page=2"), ..page(&answer, 0) };
    assert_eq!(Paging::Link.turn(linked, after(1, 0)), Some(Turn::Address("/items?page=2".to_owned())));
    assert_eq!(Paging::Link.turn(page(&answer, 9), after(1, 9)), None);
}

#[test]
fn the_last_member_leads_on_while_the_answer_says_that_there_is_more() {
    let more = Some("/has_more".to_owned());
    let paging = Paging::Token { at: "/id".to_owned(), of_last: true, more, slot: query("starting_after") };
    assert!(paging.reads_last());
    let (charge, yes, no) = (json!({"id": "ch_2"}), json!({"has_more": true}), json!({"has_more": false}));
    let silent = json!({});
    let turn =
        |answer: &Value, last: Option<&Value>| paging.turn(Page { answer, link: None, members: 2, last }, after(1, 2));
    assert_eq!(turn(&yes, Some(&charge)), Some(value("starting_after", json!("ch_2"))));
    assert_eq!(turn(&no, Some(&charge)), None);
    assert_eq!(turn(&silent, Some(&charge)), None);
    assert_eq!(turn(&yes, None), None, "a page without members");
}

fn numbered(what: Numbered, first: u64) -> Paging {
    Paging::Number { what, slot: query("page"), first, size: 100, size_slot: Some(query("per_page")) }
}

#[test]
fn numbers_count_pages_or_members_until_a_page_is_not_full() {
    let answer = json!({});
    let number = |paging: Paging, members, progress| match paging.turn(page(&answer, members), progress) {
        Some(Turn::Value { value, .. }) => value.as_u64(),
        _ => None,
    };
    assert_eq!(number(numbered(Numbered::Pages, 0), 100, after(1, 100)), Some(1));
    assert_eq!(number(numbered(Numbered::Pages, 1), 100, after(3, 300)), Some(4));
    assert_eq!(number(numbered(Numbered::Members, 0), 101, after(2, 201)), Some(201));
    assert_eq!(number(numbered(Numbered::Pages, 0), 99, after(2, 199)), None);
}

#[test]
fn a_request_is_given_the_numbers_that_it_lacks() {
    let (_, missing) = numbered(Numbered::Pages, 1).begun(|_| None);
    assert_eq!(missing, [value("page", json!(1)), value("per_page", json!(100))]);
    assert!(Paging::Link.begun(|_| None).1.is_empty());
}

#[test]
fn a_list_begins_where_its_request_says_and_a_smaller_page_is_full_sooner() {
    let begun = |page: Option<u64>, size: Option<u64>| {
        let carried = |slot: &Slot| Some(Carried(if *slot == query("page") { page } else { size }));
        let (paging, missing) = numbered(Numbered::Pages, 1).begun(carried);
        assert!(missing.is_empty());
        match paging {
            Paging::Number { first, size, .. } => (first, size),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(begun(Some(3), Some(50)), (3, 50));
    assert_eq!(begun(Some(3), Some(250)), (3, 100), "an API gives no more than its file says");
    assert_eq!(begun(None, Some(0)), (1, 100));
}
