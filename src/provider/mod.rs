//! The outside world: what Patchbay asks of providers, and what their answers mean.
//!
//! A [`Provider`] is led by a connector's description and knows nothing of workspaces, connections or the database; it
//! is asked, answers, and keeps nothing. When to ask is the jobs' to know, what an answer does to a connection the
//! lifecycle's.
//!
//! - `outbound.rs`: the only HTTP client and the only socket beside it, with `addresses.rs` and `allowed.rs`: who may be called
//! - `oauth.rs`: sending a person out, redeeming codes, renewing, revoking; `token.rs`: lenient reading of token answers
//! - `api.rs`: requests with a credential: whose account it is, whether it still works; `accounts.rs`: which accounts
//!   there are; `pages.rs`: how lists go on
//! - `rows.rs`: what a dataset asks, and what comes back; `http_rows.rs`: of an API; `sql.rs`: of a database
//! - `classify.rs`: what an answer means; `patience.rs`: how long to wait; `pace.rs`: how fast to ask
//! - `key_document.rs`: the keys of the customer's identity provider
//! - `credential.rs`: what an authorization knows; `settings.rs`: this server's own OAuth clients

mod accounts;
mod addresses;
mod allowed;
mod api;
mod classify;
mod credential;
mod http_rows;
mod key_document;
mod oauth;
mod outbound;
mod own_database;
mod pace;
mod pages;
mod patience;
mod rows;
mod settings;
mod sql;
mod token;

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use crate::{
    catalogue::{Auth, Connector, RenderError, Values},
    clock::SharedClock,
};

pub use allowed::{AllowedHost, AllowedHostError};
pub use classify::{Failure, Rejection};
pub use credential::{Account, Credential, Grant, OAuthTokens};
pub use http_rows::QueryFault;
pub use key_document::KeyDocument;
pub use oauth::{AuthorizationRequest, new_verifier};
pub use outbound::{Limits, Outbound, OutboundError, Resolve, SystemResolver};
pub use own_database::OwnDatabase;
pub use pace::Turn;
pub use rows::{Haste, HttpQuery, NoRows, Query, RowLimits, Rows};
pub use settings::OAuthSettings;

use pace::Queues;
use settings::Settings;

/// Everything that is asked of providers. Cheap to clone.
#[derive(Clone)]
pub struct Provider {
    outbound: Outbound,
    settings: Arc<OAuthSettings>,
    clock: SharedClock,
    queues: Arc<Queues>,
}

impl Provider {
    /// Asks through `outbound`, as the OAuth clients of `settings`.
    pub fn new(outbound: Outbound, settings: OAuthSettings, clock: SharedClock) -> Self {
        Self { outbound, settings: Arc::new(settings), clock, queues: Arc::default() }
    }

    /// Waits until the connector may be asked once more, for a workspace, by what nobody waits for: hold it for the call.
    /// None when this server is stopping: an answer might come too late to be kept.
    pub async fn turn(&self, connector: &Connector, workspace: Uuid) -> Option<Turn> {
        self.queues.turn(connector, workspace).await
    }

    /// Gives nobody a turn any more.
    pub fn stop_turns(&self) {
        self.queues.close();
    }

    /// Whether this server can use the connector: it has every setting that the connector's file names, an OAuth client
    /// where one is needed (its secret may be missing: a public client).
    pub fn is_configured(&self, connector: &Connector) -> bool {
        let settings = self.settings.of(&connector.slug);
        let has = |name: &String| settings.is_some_and(|settings| settings.values.contains_key(name));
        let signs_in = match &connector.auth {
            Auth::OAuth2(_) => settings.is_some_and(|settings| settings.client.is_some()),
            Auth::ApiKey { .. } | Auth::Basic | Auth::Fields { .. } => true,
        };
        signs_in && connector.config_names().iter().all(has)
    }

    fn settings(&self, connector: &Connector) -> Option<&Settings> {
        self.settings.of(&connector.slug)
    }

    /// What the templates of a connector are filled in with, before there is a credential.
    fn values<'a>(&'a self, connector: &Connector, fields: &'a BTreeMap<String, String>) -> Values<'a> {
        let values = Values::default().fields(fields);
        match self.settings(connector) {
            Some(settings) => values.config(&settings.values),
            None => values,
        }
    }

    /// What they are filled in with once there is one.
    fn values_of<'a>(&'a self, connector: &Connector, credential: &'a Credential) -> Values<'a> {
        self.values(connector, &credential.fields).token(&credential.token).identity(&credential.identity)
    }
}

/// A template that cannot be filled in: neither the person nor the provider did anything wrong, so nobody is flagged.
impl From<RenderError> for Failure {
    fn from(error: RenderError) -> Self {
        Self::transient(format!("a request of this connector cannot be made: {error}"))
    }
}

#[cfg(test)]
mod stage;
#[cfg(test)]
mod tests;
