//! The catalogue as a list: filtered, and walked by slug.

use std::sync::Arc;

use entity::{AuthMethod, DataMode};

use super::{Auth, Catalogue, Connector, connector};
use crate::{
    access::Viewer,
    error::Result,
    pages::{self, Page, PageArgs},
};

/// Which connectors a list shows. What is not given says nothing.
#[derive(Debug, Clone, Default)]
pub struct Criteria {
    /// In the name or the slug, whatever the case.
    pub search: Option<String>,
    pub category: Option<String>,
    pub method: Option<AuthMethod>,
    pub configured: Option<bool>,
}

impl Catalogue {
    /// The connectors that meet `criteria`, by slug. Everyone may see them; `configured` says what this server can use.
    pub fn list(
        &self,
        viewer: &Viewer,
        criteria: &Criteria,
        configured: impl Fn(&Connector) -> bool,
        args: &PageArgs,
    ) -> Result<Page<Arc<Connector>>> {
        let rows = self.meeting(criteria, configured).cloned();
        pages::slice(rows, |connector| &connector.slug, args, "connectors", viewer.cursor_key())
    }

    /// How many connectors that list has.
    pub fn count(&self, criteria: &Criteria, configured: impl Fn(&Connector) -> bool) -> usize {
        self.meeting(criteria, configured).count()
    }

    fn meeting(
        &self,
        criteria: &Criteria,
        configured: impl Fn(&Connector) -> bool,
    ) -> impl Iterator<Item = &Arc<Connector>> {
        let search = criteria.search.as_deref().map(pages::fold);
        self.all().filter(move |connector| {
            let named = |term: &String| pages::fold(&connector.name).contains(term) || connector.slug.contains(term);
            search.as_ref().is_none_or(named)
                && criteria.category.as_ref().is_none_or(|category| *category == connector.category)
                && criteria.method.is_none_or(|method| method == connector.method())
                && criteria.configured.is_none_or(|wanted| wanted == configured(connector))
        })
    }
}

impl Connector {
    /// How it is authorized, as tables and the API name it.
    pub fn method(&self) -> AuthMethod {
        match self.auth {
            Auth::OAuth2(_) => AuthMethod::OAuth2,
            Auth::ApiKey { .. } => AuthMethod::ApiKey,
            Auth::Basic => AuthMethod::Basic,
            Auth::Fields { .. } => AuthMethod::Fields,
        }
    }

    /// Where its rows are read, as tables and the API name it.
    pub fn data_mode(&self) -> DataMode {
        match self.mode {
            connector::DataMode::Warehouse => DataMode::Warehouse,
            connector::DataMode::DirectQuery => DataMode::DirectQuery,
        }
    }
}
