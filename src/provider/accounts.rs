//! The accounts under an authorization, page by page.
//!
//! How the list goes on is in the connector's file ([`Paging`](crate::catalogue::Paging)). A page is asked for like the
//! first one, at the same origin: an answer cannot lead the credential anywhere else.

use std::collections::HashSet;

use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::catalogue::{Connector, Progress, Slot, Turn};

use super::{
    Provider, api,
    classify::Failure,
    credential::{Account, Credential},
    outbound::Call,
};

/// Pages of one list that are read. What is beyond is left out, and the log says so.
const MOST_PAGES: usize = 100;

impl Provider {
    /// The accounts under an authorization, all of them and each once, in the provider's order; none where the connector
    /// has no `[accounts]`.
    ///
    /// # Errors
    /// Of any page: a list with a hole is none.
    pub async fn accounts(&self, connector: &Connector, credential: &Credential) -> Result<Vec<Account>, Failure> {
        let Some(accounts) = &connector.accounts else { return Ok(Vec::new()) };
        let (mut listed, mut known) = (Vec::new(), HashSet::new());
        let (mut turn, mut members) = (None, 0);
        for pages in 1..=MOST_PAGES {
            let mut call = api::call(&accounts.request, &self.values_of(connector, credential))?;
            if let Some(turn) = &turn {
                turn_to(&mut call, turn)?;
            }
            let answer = self.ask_by(call, connector, credential, &accounts.request, None).await?;
            let read = accounts.read(&answer).into_iter().filter_map(api::account);
            listed.extend(read.filter(|account| known.insert(account.id.clone())));
            let on_page = accounts.members(&answer);
            members += on_page;
            let next = accounts.next.as_ref().and_then(|next| next.turn(&answer, Progress { pages, members, on_page }));
            // A page that leads to itself is the last one too.
            if next.is_none() || next == turn {
                return Ok(listed);
            }
            turn = next;
        }
        tracing::warn!(connector = connector.slug, pages = MOST_PAGES, "a list of accounts was cut");
        Ok(listed)
    }
}

/// Turns the first page's request into that of another.
fn turn_to(call: &mut Call, turn: &Turn) -> Result<(), Failure> {
    match turn {
        Turn::Address(address) => {
            let next = call.url.join(address).ok().filter(|next| next.origin() == call.url.origin());
            call.url =
                next.ok_or_else(|| Failure::transient("the provider's list of accounts goes on somewhere else"))?;
        }
        Turn::Value { slot: Slot::Query(name), value } => set_parameter(&mut call.url, name, &text(value)),
        Turn::Value { slot: Slot::Body(at), value } => set_member(&mut call.body, at, value)?,
    }
    Ok(())
}

/// Sets one parameter and leaves the others as they are written: some servers tell `(` from `%28`.
fn set_parameter(url: &mut Url, name: &str, value: &str) {
    let own = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
    let of_that_name = |pair: &&str| form_urlencoded::parse(pair.as_bytes()).any(|(key, _)| key == name);
    let others = url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !of_that_name(pair));
    let query = others.chain([own.as_str()]).collect::<Vec<_>>().join("&");
    url.set_query(Some(&query));
}

/// Sets one member of a JSON body.
fn set_member(body: &mut Vec<u8>, at: &str, value: &Value) -> Result<(), Failure> {
    let unfit = || Failure::transient("a request of this connector cannot be made: its body has no such place");
    let mut document: Value = serde_json::from_slice(body).map_err(|_| unfit())?;
    let (parent, name) = at.rsplit_once('/').ok_or_else(unfit)?;
    let parent = document.pointer_mut(parent).and_then(Value::as_object_mut).ok_or_else(unfit)?;
    parent.insert(name.replace("~1", "/").replace("~0", "~"), value.clone());
    *body = document.to_string().into_bytes();
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
