//! How a list goes on after its first page: the `[accounts.next]` and `[api.pagination]` tables of a file, and what an
//! answer makes of them. The requests are made by whoever asks.

use serde_json::Value;

use super::{
    check,
    connector::{Method, Pointer, Request},
    pointer,
    section::Section,
};

/// How a list goes on.
#[derive(Debug, Clone)]
pub enum Paging {
    /// A page's `Link` header has the next one's address, as `rel="next"` (RFC 8288).
    Link,
    /// A page has the next one's address there; with `until_empty` every page does, and the first empty one is the last.
    Address { at: Pointer, until_empty: bool },
    /// A page has what the next request carries: there in its answer or, with `of_last`, in the last member of its list.
    /// Where the answer has a place for it, it goes on only while that is `true`.
    Token { at: Pointer, of_last: bool, more: Option<Pointer>, slot: Slot },
    /// The requests are numbered, from `first`. A page that holds fewer than `size` is the last; the size is said to APIs
    /// that have a place for it.
    Number { what: Numbered, slot: Slot, first: u64, size: usize, size_slot: Option<Slot> },
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

/// What turns one page's request into that of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// To be resolved against the URL of the page that has it.
    Address(String),
    /// A text or a number.
    Value { slot: Slot, value: Value },
}

/// What a page says of the next one.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The members of its list may be left out.
    pub answer: &'a Value,
    /// The target of its `Link` header with `rel="next"`.
    pub link: Option<&'a str>,
    /// The list's members on it, read or not.
    pub members: usize,
    /// The last of them; where it is not needed ([`Paging::reads_last`]), none.
    pub last: Option<&'a Value>,
}

/// The pages read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub pages: usize,
    /// The list's members on all of them.
    pub members: usize,
}

impl Paging {
    /// What leads to the page after this one, which is the last that `progress` counts; `None` when it ends the list.
    pub fn turn(&self, page: Page<'_>, progress: Progress) -> Option<Turn> {
        match self {
            Self::Link => page.link.map(|link| Turn::Address(link.to_owned())),
            Self::Address { until_empty: true, .. } if page.members == 0 => None,
            Self::Address { at, .. } => text(page.answer, at).map(Turn::Address),
            Self::Token { at, of_last, more, slot } => {
                let goes_on = |more: &Pointer| pointer::one(page.answer, more) == Some(&Value::Bool(true));
                let holder = if *of_last { page.last? } else { page.answer };
                let value = text(holder, at).filter(|_| more.as_ref().is_none_or(goes_on))?;
                Some(Turn::Value { slot: slot.clone(), value: value.into() })
            }
            Self::Number { what, slot, first, size, .. } => {
                let past = match what {
                    Numbered::Pages => progress.pages,
                    Numbered::Members => progress.members,
                };
                let number = first.saturating_add(past as u64);
                (page.members >= *size).then(|| Turn::Value { slot: slot.clone(), value: number.into() })
            }
        }
    }

    /// Whether the way on is in the last member of a page's list.
    pub fn reads_last(&self) -> bool {
        matches!(self, Self::Token { of_last: true, .. })
    }

    /// The same for a list whose first request carries these numbers already: it begins there, and a page that it wants
    /// smaller is full sooner. With what the request still has to be given.
    pub fn begun(&self, carried: impl Fn(&Slot) -> Option<Carried>) -> (Self, Vec<Turn>) {
        let (mut begun, mut missing) = (self.clone(), Vec::new());
        let Self::Number { slot, first, size, size_slot, .. } = &mut begun else { return (begun, missing) };
        match carried(slot) {
            None => missing.push(Turn::Value { slot: slot.clone(), value: (*first).into() }),
            Some(Carried(number)) => *first = number.unwrap_or(*first),
        }
        if let Some(slot) = size_slot {
            match carried(slot) {
                None => missing.push(Turn::Value { slot: slot.clone(), value: (*size).into() }),
                Some(Carried(number)) => {
                    // An API may give less than is wished for: what it gives at most is what its file says.
                    let wished = number.and_then(|number| usize::try_from(number).ok()).filter(|wished| *wished > 0);
                    *size = wished.map_or(*size, |wished| wished.min(*size));
                }
            }
        }
        (begun, missing)
    }
}

/// What a request has in a slot, as a number where it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried(pub Option<u64>);

fn text(value: &Value, at: &str) -> Option<String> {
    pointer::one(value, at).and_then(pointer::text)
}

/// The request that a list goes on from, as far as its file says what that is.
#[derive(Clone, Copy)]
pub(super) enum First<'a> {
    /// Of `[accounts]`; none where it could not be read.
    Accounts(Option<&'a Request>),
    /// A dataset's, which is made later.
    Dataset(Method),
}

const WAYS: [&str; 5] = ["link", "address", "token", "last", "number"];
/// What is said beside a way, and beside which of them.
const BESIDE: [(&str, &[&str]); 8] = [
    ("until_empty", &["address"]),
    ("query", &["token", "last", "number"]),
    ("body", &["token", "last", "number"]),
    ("more", &["token", "last"]),
    ("first", &["number"]),
    ("size", &["number"]),
    ("size_query", &["number"]),
    ("size_body", &["number"]),
];

/// Reads `[accounts.next]` or `[api.pagination]`.
pub(super) fn read(section: Section<'_>, first: First<'_>) -> Option<Paging> {
    let paging = match WAYS.into_iter().filter(|way| section.has(way)).collect::<Vec<_>>()[..] {
        [way] => one_way(&section, way, first),
        ref ways => {
            section.require_one(&WAYS);
            for way in ways.iter().skip(1) {
                section.fault(way, &section.key_span(way), "a list goes on in one way only");
            }
            None
        }
    };
    section.expect(&WAYS);
    section.expect(&BESIDE.map(|(key, _)| key));
    section.close();
    paging
}

fn one_way(section: &Section<'_>, way: &'static str, first: First<'_>) -> Option<Paging> {
    for (key, _) in BESIDE.iter().filter(|(key, ways)| section.has(key) && !ways.contains(&way)) {
        section.fault(key, &section.key_span(key), &format!("it means nothing beside `{way}`"));
    }
    match way {
        "link" => {
            let link = section.flag("link")?;
            if !link.get_ref() {
                section.fault("link", &link.span(), "it is `true`, or not there");
            }
            Some(Paging::Link)
        }
        "address" => {
            let until_empty = section.flag("until_empty").is_some_and(toml::Spanned::into_inner);
            let at = section.parse("address", check::member_pointer)?;
            Some(Paging::Address { at, until_empty })
        }
        "number" => number(section, first),
        _ => {
            let at = section.parse(way, check::member_pointer);
            let more = section.parse("more", check::member_pointer);
            let slot = needed_slot(section, way, first)?;
            Some(Paging::Token { at: at?, of_last: way == "last", more, slot })
        }
    }
}

fn number(section: &Section<'_>, first: First<'_>) -> Option<Paging> {
    let what = section.choice("number", &[("pages", Numbered::Pages), ("members", Numbered::Members)])?;
    if !section.has("size") {
        section.require_beside("`size`", "number");
    }
    let size = section.count("size");
    let size_slot = slot(section, ["size_query", "size_body"], first);
    let from = section.number("first").map(u64::from);
    let slot = needed_slot(section, "number", first)?;
    let from = match first {
        _ if section.has("first") => from,
        First::Dataset(_) => {
            section.require_beside("`first`", "number");
            None
        }
        First::Accounts(request) => {
            let carried = carried_number(request?, &slot);
            if carried.is_none() {
                let key = if matches!(slot, Slot::Query(_)) { "query" } else { "body" };
                let fault = "without `first` the request of [accounts] has to carry the first page's number there";
                section.fault(key, &section.key_span(key), fault);
            }
            carried
        }
    };
    Some(Paging::Number { what, slot, first: from?, size: size?.try_into().ok()?, size_slot })
}

fn carried_number(request: &Request, slot: &Slot) -> Option<u64> {
    match slot {
        Slot::Query(name) => {
            let (_, query) = request.url.source().split_once('?')?;
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| key == name)?.1.parse().ok()
        }
        Slot::Body(at) => pointer::one(&json_body(request)?, at)?.as_u64(),
    }
}

/// Where a token or a number goes, which has to be said.
fn needed_slot(section: &Section<'_>, way: &'static str, first: First<'_>) -> Option<Slot> {
    if !section.has("query") && !section.has("body") {
        section.require_beside("`query` or `body`", way);
    }
    slot(section, ["query", "body"], first)
}

/// The slot that one of two keys names.
fn slot(section: &Section<'_>, [query_key, body_key]: [&'static str; 2], first: First<'_>) -> Option<Slot> {
    let query = section.parse(query_key, check::line).map(Slot::Query);
    let body = section.parse(body_key, |text| place_in_body(text, first)).map(Slot::Body);
    if section.has(query_key) && section.has(body_key) {
        let fault = format!("it goes to one place only, and `{query_key}` names one");
        section.fault(body_key, &section.key_span(body_key), &fault);
        return None;
    }
    query.or(body)
}

/// A place in the request's JSON body: of accounts, in an object that the file writes there; of a dataset, any.
fn place_in_body(text: &str, first: First<'_>) -> Result<Pointer, String> {
    let at = check::member_pointer(text)?;
    let there = match first {
        First::Accounts(None) => true,
        First::Accounts(Some(request)) => {
            let body = json_body(request).ok_or("the request of [accounts] has no JSON body")?;
            let parent = at.rsplit_once('/').and_then(|(parent, _)| pointer::one(&body, parent));
            parent.is_some_and(Value::is_object)
        }
        First::Dataset(Method::Get) => return Err("requests have a body with [api] `method = \"POST\"`".to_owned()),
        First::Dataset(Method::Post) => !at.is_empty(),
    };
    if there { Ok(at) } else { Err("the body has no such place".to_owned()) }
}

/// Its body as the file has it: placeholders are text inside of strings.
fn json_body(request: &Request) -> Option<Value> {
    serde_json::from_str(request.body.as_ref()?.source()).ok()
}

#[cfg(test)]
#[path = "paging_tests.rs"]
mod tests;
