//! What a search finds in the names of today: connectors' in the catalogue, clients' in the database.
//!
//! The journal's facts name neither. A client's name changes with an entry in the journal, so what was found while a number
//! was the last one holds for every entry up to it: subscribers ask once for all entries that are known at the time, and
//! those with the same search share the answer.

use std::{collections::HashSet, sync::Arc};

use moka::future::Cache;
use sea_orm::QuerySelect;
use uuid::Uuid;

use super::{ConnectionFilter, Connections, filter::clients_named};
use crate::{
    access::Viewer,
    error::{Error, Result},
    journal::Fact,
    pages::fold,
};

/// How many clients all answers that are kept name, about.
const KEPT: u64 = 100_000;

/// What is searched for, and which names it stands in.
#[derive(Debug)]
pub(super) struct Searched {
    connectors: HashSet<String>,
    clients: HashSet<Uuid>,
    term: String,
}

impl Searched {
    pub(super) fn new(connectors: HashSet<String>, clients: HashSet<Uuid>, term: String) -> Self {
        Self { connectors, clients, term }
    }

    pub(super) fn finds(&self, fact: &Fact) -> bool {
        self.connectors.contains(&fact.connector)
            || fact.client.is_some_and(|client| self.clients.contains(&client))
            || fold(&fact.name).contains(&self.term)
    }
}

/// A subscriber's search: what it found, and up to which number of the journal that holds.
#[derive(Debug, Default)]
pub(super) struct Search(Option<(i64, Arc<Searched>)>);

impl Search {
    /// What was found; none where nothing is searched for.
    pub(super) fn searched(&self) -> Option<&Searched> {
        self.0.as_ref().map(|(_, searched)| &**searched)
    }

    fn holds_at(&self, seq: i64) -> bool {
        self.0.as_ref().is_some_and(|(known, _)| seq <= *known)
    }
}

/// The answers that were given last: of a workspace, for a term, when its journal stood at a number.
#[derive(Clone)]
pub(super) struct Searches(Cache<(Uuid, String, i64), Arc<Searched>>);

impl Searches {
    pub(super) fn new() -> Self {
        let weigh =
            |_: &_, searched: &Arc<Searched>| u32::try_from(searched.clients.len()).unwrap_or(u32::MAX).max(100);
        Self(Cache::builder().weigher(weigh).max_capacity(KEPT).build())
    }

    /// The answer for that place, which `ask` gives where there is none yet: once for all who want it at the same time.
    async fn find(
        &self,
        workspace: Uuid,
        term: String,
        known: i64,
        ask: impl Future<Output = Result<Searched>>,
    ) -> Result<Arc<Searched>> {
        let found = self.0.try_get_with((workspace, term, known), async { ask.await.map(Arc::new) });
        found.await.map_err(Arc::<Error>::unwrap_or_clone)
    }
}

impl Connections {
    /// Makes `search` hold at the number `seq`, and up to `known`, which is not less.
    pub(super) async fn search_as_of(
        &self,
        viewer: &Viewer,
        filter: &ConnectionFilter,
        search: &mut Search,
        seq: i64,
        known: i64,
    ) -> Result<()> {
        let Some(term) = filter.term() else { return Ok(()) };
        if search.holds_at(seq) {
            return Ok(());
        }
        let ask = self.ask_for_names(viewer, term.clone());
        let searched = self.searches.find(viewer.workspace(), term, known, ask).await?;
        *search = Search(Some((known, searched)));
        Ok(())
    }

    async fn ask_for_names(&self, viewer: &Viewer, term: String) -> Result<Searched> {
        let named = clients_named(viewer, &term).select_only().column(entity::client::Column::Id);
        let clients: Vec<Uuid> = named.into_tuple().all(self.db.reader()).await?;
        let connectors = self.connectors_named(&term).into_iter().collect();
        Ok(Searched::new(connectors, clients.into_iter().collect(), term))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_same_search_at_the_same_place_asks_once_and_one_further_on_again() {
        let (searches, asked) = (Searches::new(), AtomicUsize::new(0));
        let find = |workspace, term: &'static str, known| {
            let ask = async {
                asked.fetch_add(1, Ordering::Relaxed);
                // The others come meanwhile.
                tokio::task::yield_now().await;
                Ok(Searched::new(HashSet::new(), HashSet::from([Uuid::from_u128(7)]), "acme".to_owned()))
            };
            searches.find(Uuid::from_u128(workspace), term.to_owned(), known, ask)
        };
        let found = futures_util::future::join_all((0..10).map(|_| find(1, "acme", 5))).await;
        assert!(found.iter().all(|one| one.as_ref().unwrap().clients.len() == 1));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        for (workspace, term, known) in [(1, "acme", 6), (1, "globex", 5), (2, "acme", 5)] {
            find(workspace, term, known).await.unwrap();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4, "another place, another term, another workspace");
    }

    #[tokio::test]
    async fn a_search_that_failed_is_asked_again() {
        let searches = Searches::new();
        let failed = searches.find(Uuid::nil(), "acme".to_owned(), 1, async { Err(Error::Unavailable) }).await;
        assert!(matches!(failed, Err(Error::Unavailable)));
        let ask = async { Ok(Searched::new(HashSet::new(), HashSet::new(), "acme".to_owned())) };
        assert!(searches.find(Uuid::nil(), "acme".to_owned(), 1, ask).await.is_ok());
    }
}
