//! The requests of a list that comes in pages: from the first one to the next.
//!
//! How a list goes on is in the connector's file ([`Paging`]). Every page is asked for like the first one, at the same
//! origin: an answer cannot lead the credential anywhere else.

use reqwest::header::{HeaderMap, LINK};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::catalogue::{Carried, Page, Paging, Progress, Slot, Turn};

use super::outbound::Call;

/// The pages of one list. It holds what its requests hold, hence no `Debug`.
pub(super) struct Pages {
    paging: Option<Paging>,
    call: Call,
    progress: Progress,
}

/// Why a list does not go on although it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Astray {
    /// The next page would be at another origin.
    Elsewhere,
    /// The request has no place for what leads on.
    NoPlace,
}

impl Pages {
    /// From the request of the first page, which is given the numbers that it lacks.
    pub(super) fn new(paging: Option<&Paging>, mut call: Call) -> Result<Self, Astray> {
        let mut begun = None;
        if let Some(paging) = paging {
            let (paging, missing) = paging.begun(|slot| carried(&call, slot));
            missing.iter().try_for_each(|turn| turn_to(&mut call, turn))?;
            begun = Some(paging);
        }
        Ok(Self { paging: begun, call, progress: Progress::default() })
    }

    /// The request of the page that is due, without anything that says who asks.
    pub(super) fn call(&self) -> Call {
        self.call.clone()
    }

    /// Goes on from the page that was due; false when it was the last. One that leads to itself is the last too.
    pub(super) fn turn(&mut self, page: Page<'_>) -> Result<bool, Astray> {
        self.progress.pages += 1;
        self.progress.members += page.members;
        let turn = self.paging.as_ref().and_then(|paging| paging.turn(page, self.progress));
        let Some(turn) = turn else { return Ok(false) };
        let before = self.call.clone();
        turn_to(&mut self.call, &turn)?;
        Ok(self.call.url != before.url || self.call.body != before.body)
    }
}

/// Turns one page's request into that of another.
fn turn_to(call: &mut Call, turn: &Turn) -> Result<(), Astray> {
    match turn {
        Turn::Address(address) => {
            let next = call.url.join(address).ok().filter(|next| next.origin() == call.url.origin());
            call.url = next.ok_or(Astray::Elsewhere)?;
            Ok(())
        }
        Turn::Value { slot: Slot::Query(name), value } => {
            set_parameter(&mut call.url, name, &text(value));
            Ok(())
        }
        Turn::Value { slot: Slot::Body(at), value } => {
            set_member(&mut call.body, at, value.clone()).ok_or(Astray::NoPlace)
        }
    }
}

/// What a request has in a slot already.
fn carried(call: &Call, slot: &Slot) -> Option<Carried> {
    match slot {
        Slot::Query(name) => {
            let (_, value) = call.url.query_pairs().find(|(key, _)| key == name.as_str())?;
            Some(Carried(value.parse().ok()))
        }
        Slot::Body(at) => {
            let body: Value = serde_json::from_slice(&call.body).ok()?;
            let value = body.pointer(at)?;
            Some(Carried(text(value).parse().ok()))
        }
    }
}

/// Sets one parameter and leaves the others as they are written: some servers tell `(` from `%28`.
pub(super) fn set_parameter(url: &mut Url, name: &str, value: &str) {
    let own = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
    let of_that_name = |pair: &&str| form_urlencoded::parse(pair.as_bytes()).any(|(key, _)| key == name);
    let others = url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !of_that_name(pair));
    let query = others.chain([own.as_str()]).collect::<Vec<_>>().join("&");
    url.set_query(Some(&query));
}

/// Sets one member of a JSON body, with the objects around it where they are missing.
fn set_member(body: &mut Vec<u8>, at: &str, value: Value) -> Option<()> {
    let mut document: Value = serde_json::from_slice(body).ok()?;
    let mut place = &mut document;
    for segment in at.split('/').skip(1) {
        place = match place {
            Value::Object(members) => {
                members.entry(segment.replace("~1", "/").replace("~0", "~")).or_insert_with(|| json!({}))
            }
            Value::Array(items) => items.get_mut(segment.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    *place = value;
    *body = document.to_string().into_bytes();
    Some(())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The target of the `Link` header with `rel="next"` (RFC 8288 §3), as it is written.
pub(super) fn next_link(headers: &HeaderMap) -> Option<String> {
    headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok()).find_map(next_in_line)
}

fn next_in_line(line: &str) -> Option<String> {
    let mut rest = line;
    loop {
        let (_, link) = rest.split_once('<')?;
        let (target, parameters) = link.split_once('>')?;
        let (relations, behind) = relations(parameters);
        // A relation may be one of several, and is written in any case.
        if relations.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next")) {
            return Some(target.trim().to_owned());
        }
        rest = behind;
    }
}

/// The value of the first `rel` among a link's parameters, and what stands behind them.
fn relations(mut rest: &str) -> (String, &str) {
    let mut relations = None;
    while let Some(parameter) = rest.trim_start().strip_prefix(';') {
        let end = parameter.find(['=', ';', ',']).unwrap_or(parameter.len());
        let (name, behind) = parameter.split_at(end);
        let (value, behind) = behind.strip_prefix('=').map_or_else(|| (String::new(), behind), parameter_value);
        if relations.is_none() && name.trim().eq_ignore_ascii_case("rel") {
            relations = Some(value);
        }
        rest = behind;
    }
    (relations.unwrap_or_default(), rest)
}

/// A parameter's value, a token or quoted (RFC 9110 §5.6.4), and what stands behind it.
fn parameter_value(text: &str) -> (String, &str) {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let (mut value, mut characters) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(line: &str) -> Option<String> {
        next_link(&HeaderMap::from_iter([(LINK, line.parse().unwrap())]))
    }

    #[test]
    fn the_next_page_is_found_among_other_links() {
        for line in [
            "</items?page=2>; rel=\"next\"",
            "</items?page=2>;rel=next",
            "</items?page=1>; rel=\"prev\", </items?page=2>; rel=\"next\"",
            "</items?page=2>; title=\"a, b; rel=\\\"prev\\\"\"; rel=\"last NEXT\", </items?page=1>; rel=\"prev\"",
            "</style>; rel=preload; crossorigin , < /items?page=2 > ; Rel = next ",
        ] {
            assert_eq!(next(line).as_deref(), Some("/items?page=2"), "{line}");
        }
        let mut headers = HeaderMap::new();
        for line in ["</items?page=1>; rel=prev", "</items?page=2>; rel=next"] {
            headers.append(LINK, line.parse().unwrap());
        }
        assert_eq!(next_link(&headers).as_deref(), Some("/items?page=2"), "in a header of its own");
    }

    #[test]
    fn where_there_is_no_next_page_there_is_none() {
        for line in [
            "",
            "</items?page=1>; rel=\"prev\"",
            "</items?page=2>; title=\"rel=next\"",
            "</items?page=2>; rel=prev; rel=next",
            "</items?page=2>; rel=\"nextpage\"",
            "</items?page=2; rel=next",
            "</items?page=2>; rel=\"prev; rel=next",
        ] {
            assert_eq!(next(line), None, "{line}");
        }
        assert_eq!(next_link(&HeaderMap::new()), None);
    }

    #[test]
    fn a_member_is_set_wherever_it_stands() {
        let set = |body: &str, at: &str| {
            let mut body = body.as_bytes().to_vec();
            set_member(&mut body, at, json!(7)).map(|()| serde_json::from_slice::<Value>(&body).unwrap())
        };
        assert_eq!(set("{\"a\": 1}", "/b~1c"), Some(json!({"a": 1, "b/c": 7})));
        assert_eq!(set("{}", "/page/index"), Some(json!({"page": {"index": 7}})));
        assert_eq!(set("[{\"a\": 1}]", "/0/a"), Some(json!([{"a": 7}])));
        assert_eq!(set("{\"page\": 1}", "/page/index"), None);
        assert_eq!(set("[]", "/0/a"), None);
    }
}
