//! The accounts under an authorization, page by page.

use std::collections::HashSet;

use crate::catalogue::{Connector, Page};

use super::{
    Provider, api, classify,
    classify::Failure,
    credential::{Account, Credential},
    pages::{self, Astray, Pages},
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
        let first = api::call(&accounts.request, &self.values_of(connector, credential))?;
        let mut pages = Pages::new(accounts.next.as_ref(), first).map_err(astray)?;
        for _ in 0..MOST_PAGES {
            let call = self.signed(pages.call(), connector, credential, &accounts.request.headers, None)?;
            let answer = self.outbound.send(call).await?;
            let (said, link) = (
                classify::api_answer(&answer, connector.known_answers(), self.clock.now())?,
                pages::next_link(&answer.headers),
            );
            let read = accounts.read(&said).into_iter().filter_map(api::account);
            listed.extend(read.filter(|account| known.insert(account.id.clone())));
            let members = accounts.members(&said);
            let page =
                Page { answer: &said, link: link.as_deref(), members: members.len(), last: members.last().copied() };
            if !pages.turn(page).map_err(astray)? {
                return Ok(listed);
            }
        }
        tracing::warn!(connector = connector.slug, pages = MOST_PAGES, "a list of accounts was cut");
        Ok(listed)
    }
}

fn astray(why: Astray) -> Failure {
    Failure::transient(match why {
        Astray::Elsewhere => "the provider's list of accounts goes on somewhere else",
        Astray::NoPlace => "a request of this connector cannot be made: its body has no such place",
    })
}
