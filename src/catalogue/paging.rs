//! How a list of accounts goes on after its first page: the `[accounts.next]` table of a file, and what an answer makes
//! of it. The request is made by whoever asks.

use serde_json::Value;

use super::{
    check,
    connector::{Pointer, Request},
    pointer,
    section::Section,
};

/// How a list goes on.
#[derive(Debug, Clone)]
pub enum Paging {
    /// A page has the next one's address there.
    Address(Pointer),
    /// A page has there what the next request carries.
    Token { at: Pointer, slot: Slot },
    /// The requests are numbered, from `first`. A page that holds fewer than `size` is the last.
    Number { what: Numbered, slot: Slot, first: u64, size: usize },
}

/// What a request's number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbered {
    Pages,
    /// The members of the list so far.
    Members,
}

/// Where a request carries what leads to its page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// A parameter of its URL.
    Query(String),
    /// A place in its JSON body.
    Body(Pointer),
}

/// What turns the first request into that of a later page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// To be resolved against the first request's URL.
    Address(String),
    /// A text or a number.
    Value { slot: Slot, value: Value },
}

/// The pages read so far.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub pages: usize,
    /// The list's members on all of them, accounts or not.
    pub members: usize,
    /// Those on the last one.
    pub on_page: usize,
}

impl Paging {
    /// What leads to the page after this one; `None` when it is the last.
    pub fn turn(&self, answer: &Value, progress: Progress) -> Option<Turn> {
        let said = |at: &Pointer| pointer::one(answer, at).and_then(pointer::text);
        match self {
            Self::Address(at) => said(at).map(Turn::Address),
            Self::Token { at, slot } => Some(Turn::Value { slot: slot.clone(), value: said(at)?.into() }),
            Self::Number { what, slot, first, size } => {
                let past = match what {
                    Numbered::Pages => progress.pages,
                    Numbered::Members => progress.members,
                };
                let number = first.saturating_add(past as u64);
                (progress.on_page >= *size).then(|| Turn::Value { slot: slot.clone(), value: number.into() })
            }
        }
    }
}

const WAYS: [&str; 3] = ["address", "token", "number"];

/// Reads `[accounts.next]`; `first` is the request that it goes on from, where that could be read.
pub(super) fn read(section: Section<'_>, first: Option<&Request>) -> Option<Paging> {
    let address = section.parse("address", check::member_pointer);
    let token = section.parse("token", check::member_pointer);
    let what = section.choice("number", &[("pages", Numbered::Pages), ("members", Numbered::Members)]);
    let paging = match WAYS.map(|way| section.has(way)) {
        [true, false, false] => {
            unread(&section, "address", &["query", "body", "size"]);
            address.map(Paging::Address)
        }
        [false, true, false] => {
            unread(&section, "token", &["size"]);
            let slot = slot(&section, "token", first);
            token.zip(slot).map(|(at, slot)| Paging::Token { at, slot })
        }
        [false, false, true] => number(&section, first, what),
        _ => {
            section.require_one(&WAYS);
            for way in WAYS.into_iter().filter(|way| section.has(way)).skip(1) {
                section.fault(way, &section.key_span(way), "a list goes on in one way only");
            }
            None
        }
    };
    section.expect(&["query", "body", "size"]);
    section.close();
    paging
}

/// Reports keys that say nothing beside the way the list goes on.
fn unread(section: &Section<'_>, way: &str, keys: &[&'static str]) {
    for key in keys.iter().filter(|key| section.has(key)) {
        section.fault(key, &section.key_span(key), &format!("it means nothing beside `{way}`"));
    }
}

fn number(section: &Section<'_>, first: Option<&Request>, what: Option<Numbered>) -> Option<Paging> {
    let what = what?;
    if !section.has("size") {
        section.require_beside("`size`", "number");
    }
    let size = section.count("size");
    let slot = slot(section, "number", first)?;
    let (key, start) = match &slot {
        Slot::Query(name) => ("query", first_in_query(first?.url.source(), name)),
        Slot::Body(at) => ("body", json_body(first?).as_ref().and_then(|body| pointer::one(body, at)?.as_u64())),
    };
    if start.is_none() {
        section.fault(
            key,
            &section.key_span(key),
            "the request of [accounts] has to carry the first page's number there",
        );
    }
    Some(Paging::Number { what, slot, first: start?, size: size?.try_into().ok()? })
}

fn first_in_query(url: &str, name: &str) -> Option<u64> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name)?.1.parse().ok()
}

/// Where a token or a number goes, by the one of `query` and `body` that is there.
fn slot(section: &Section<'_>, way: &'static str, first: Option<&Request>) -> Option<Slot> {
    let query = section.parse("query", check::line).map(Slot::Query);
    let body = section.parse("body", |text| place_in_body(text, first)).map(Slot::Body);
    match (section.has("query"), section.has("body")) {
        (true, true) => {
            section.fault("body", &section.key_span("body"), "it goes to one place only, and `query` names one");
            None
        }
        (false, false) => {
            section.require_beside("`query` or `body`", way);
            None
        }
        _ => query.or(body),
    }
}

/// A member of an object that the request's JSON body has.
fn place_in_body(text: &str, first: Option<&Request>) -> Result<Pointer, String> {
    let at = check::member_pointer(text)?;
    let Some(first) = first else { return Ok(at) };
    let body = json_body(first).ok_or("the request of [accounts] has no JSON body")?;
    let parent = at.rsplit_once('/').and_then(|(parent, _)| pointer::one(&body, parent));
    if parent.is_some_and(Value::is_object) {
        Ok(at)
    } else {
        Err("the body of [accounts] has no such place".to_owned())
    }
}

/// Its body as the file has it: placeholders are text inside of strings.
fn json_body(request: &Request) -> Option<Value> {
    serde_json::from_str(request.body.as_ref()?.source()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn after(pages: usize, members: usize, on_page: usize) -> Progress {
        Progress { pages, members, on_page }
    }

    #[test]
    fn an_address_or_a_token_leads_on_while_there_is_one() {
        let address = Paging::Address("/paging/next".to_owned());
        let answer = json!({"paging": {"next": "https://api.example/accounts?after=x"}});
        let next = Turn::Address("https://api.example/accounts?after=x".to_owned());
        assert_eq!(address.turn(&answer, after(1, 0, 0)), Some(next), "a page may be empty");
        let slot = Slot::Query("pageToken".to_owned());
        let token = Paging::Token { at: "/next".to_owned(), slot: slot.clone() };
        let value = Turn::Value { slot, value: json!("7") };
        assert_eq!(token.turn(&json!({"next": 7}), after(1, 5, 5)), Some(value));
        for last in [json!({}), json!({"next": null}), json!({"next": ""}), json!([])] {
            assert_eq!(token.turn(&last, after(1, 5, 5)), None, "{last}");
        }
    }

    #[test]
    fn numbers_count_pages_or_members_until_a_page_is_not_full() {
        let numbered = |what, first| {
            let slot = Slot::Body("/PageInfo/Index".to_owned());
            Paging::Number { what, slot, first, size: 100 }
        };
        let number = |turn: Option<Turn>| match turn {
            Some(Turn::Value { value, .. }) => value.as_u64(),
            _ => None,
        };
        let answer = json!({});
        assert_eq!(number(numbered(Numbered::Pages, 0).turn(&answer, after(1, 100, 100))), Some(1));
        assert_eq!(number(numbered(Numbered::Pages, 1).turn(&answer, after(3, 300, 100))), Some(4));
        assert_eq!(number(numbered(Numbered::Members, 0).turn(&answer, after(2, 201, 101))), Some(201));
        assert_eq!(numbered(Numbered::Pages, 0).turn(&answer, after(2, 199, 99)), None);
    }
}
