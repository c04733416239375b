//! Connections: plug a data source in, keep it plugged in, unplug it.
//!
//! | file | owns |
//! | --- | --- |
//! | `lifecycle.rs`, `news.rs` | every write of a status, with all that goes with it; what is told of it |
//! | `held.rs`, `judged.rs` | locking an authorization with its connections; what was judged before that, judged again |
//! | `credentials.rs` | sealing and storing what opens a provider |
//! | `give_backs.rs` | giving grants back to the provider that nobody uses any more |
//! | `checks.rs`, `account_checks.rs`, `renewals.rs`, `refusals.rs`, `verdicts.rs`, `findings.rs` | finding out what works: renewals, probes, and what follows from them |
//! | `reading.rs`, `readers.rs` | reading rows for datasets, and what of datasets follows connections |
//! | `due.rs`, `batches.rs`, `pauses.rs` | which are due, who works on them, and who is left alone |
//! | `notes.rs`, `incidents.rs` | what answers leave noted, and what fails for everyone by that |
//! | `attempts.rs`, `plan.rs`, `callback.rs`, `settle.rs`, `reconnecting.rs`, `regaining.rs`, `outcome.rs` | the browser's round trip, and what comes of it |
//! | `links.rs`, `offer.rs`, `following.rs` | links for people without a login: made, seen, followed |
//! | `connect.rs`, `connect_accounts.rs`, `plug.rs`, `conflicts.rs`, `reconnect.rs`, `moves.rs`, `remove.rs`, `departed_clients.rs`, `update.rs`, `check.rs`, `ownership.rs` | what people ask for |
//! | `visibility.rs`, `list.rs`, `filter.rs`, `authorizations.rs`, `disconnections.rs`, `concerned.rs`, `counts.rs` | what people see |
//! | `changes.rs` | what subscribers hear |
//!
//! What an answer of a provider means is [`crate::provider`]'s to say; who is told, [`crate::notifications`]'s.

mod account_checks;
mod attempts;
mod authorizations;
mod batches;
mod bulk;
mod callback;
mod changes;
mod check;
mod checks;
mod concerned;
mod conflicts;
mod connect;
mod connect_accounts;
mod counts;
mod credentials;
mod departed_clients;
mod disconnections;
mod due;
mod filter;
mod findings;
mod following;
mod give_backs;
mod held;
mod history;
mod incidents;
mod judged;
mod lifecycle;
mod links;
mod list;
mod messages;
mod moves;
mod news;
mod notes;
mod offer;
mod outcome;
mod ownership;
mod pauses;
mod plan;
mod plug;
mod readers;
mod reading;
mod reconnect;
mod reconnecting;
mod refusals;
mod regaining;
mod remove;
mod renewals;
mod search;
mod settle;
mod update;
mod verdicts;
mod visibility;

use std::{sync::Arc, time::Duration};

use entity::connector;
use sea_orm::{ActiveValue::Set, EntityTrait, sea_query::OnConflict};
use url::Url;

pub use attempts::{Departure, NoDeparture};
pub use authorizations::{AuthorizationFilter, AvailableAccount, AvailableAccounts, OpenedAccounts};
pub use batches::Batch;
pub use callback::{Arrived, Callback, NotTaken, Returned};
pub use changes::{ChangeKind, ChangesPage, ConnectionsChange};
pub use check::Report;
pub use conflicts::conflict_node;
pub use connect::{Connect, ConnectUsing, Started};
pub use connect_accounts::{AccountToConnect, ConnectAccounts, ConnectedAccount};
pub use counts::Counts;
pub use disconnections::DisconnectionFilter;
pub use due::Due;
pub use filter::{ConnectionFilter, Relation};
pub use following::{Followed, NoUse, NotFollowed};
pub use held::last_checked;
pub use links::NewLink;
pub use list::{Abilities, ConnectionOrder, OrderField};
pub use offer::{Offer, Source, Standing};
pub use outcome::{attempt_connections, attempt_error};
pub use reading::{Ask, Unread};
pub use reconnect::{Reconnect, Reconnected};
pub use remove::Removed;
pub use update::Update;
pub use visibility::connections as visible;

use crate::{
    catalogue::{Auth, Catalogue, Connector, DataMode},
    clock::{SharedClock, SharedEntropy},
    db::Db,
    error::{Error, Result},
    journal::Journal,
    provider::Provider,
    tasks::Tasks,
    telemetry,
    vault::Vault,
};

/// The connections of a server; cheap to clone.
#[derive(Clone)]
pub struct Connections {
    db: Db,
    journal: Journal,
    catalogue: Catalogue,
    provider: Provider,
    vault: Vault,
    clock: SharedClock,
    entropy: SharedEntropy,
    settings: Arc<Settings>,
    providers: telemetry::Providers,
    tasks: Tasks,
    /// Every connector that was ever known here.
    known: Arc<Vec<connector::Model>>,
    searches: search::Searches,
}

/// What of the configuration concerns connections.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where browsers reach this server.
    pub public_url: Url,
    /// Origins that a `returnUrl` may have.
    pub allowed_origins: Vec<url::Origin>,
    pub probe_interval: Duration,
    /// How long what is asked may go without being seen to work before it counts as disconnected.
    pub unverified_after: Duration,
    pub job_tick: Duration,
    /// How long a provider may take until it accepts a token that it has just given out.
    pub token_taken_within: Duration,
    /// How long a reconnect waits for connections that had lost access on their own.
    pub regain_within: Duration,
}

/// The parts that [`Connections`] is made of.
pub struct Parts {
    pub db: Db,
    pub journal: Journal,
    pub catalogue: Catalogue,
    pub provider: Provider,
    pub vault: Vault,
    pub clock: SharedClock,
    pub entropy: SharedEntropy,
    pub settings: Settings,
    pub providers: telemetry::Providers,
    pub tasks: Tasks,
}

impl Connections {
    /// Puts the parts together, and remembers the catalogue for the day that one of its files is gone.
    pub async fn new(parts: Parts) -> Result<Self> {
        let known = remember(&parts.db, &parts.catalogue).await?;
        let Parts { db, journal, catalogue, provider, vault, clock, entropy, settings, providers, tasks } = parts;
        let (settings, known, searches) = (Arc::new(settings), Arc::new(known), search::Searches::new());
        Ok(Self {
            db,
            journal,
            catalogue,
            provider,
            vault,
            clock,
            entropy,
            settings,
            providers,
            tasks,
            known,
            searches,
        })
    }

    /// The connector `slug`; the input `field` is to blame where there is none.
    fn connector(&self, slug: &str, field: &str) -> Result<Arc<Connector>> {
        self.catalogue.get(slug).cloned().ok_or_else(|| Error::not_found(field))
    }

    /// The connector of something that exists: its file may be gone.
    fn connector_of(&self, slug: &str) -> Option<Arc<Connector>> {
        self.catalogue.get(slug).cloned()
    }

    /// What people call the connector.
    fn connector_name(&self, slug: &str) -> String {
        let remembered = || self.known.iter().find(|row| row.slug == slug).map(|row| row.name.clone());
        self.catalogue
            .get(slug)
            .map(|connector| connector.name.clone())
            .or_else(remembered)
            .unwrap_or_else(|| slug.to_owned())
    }

    /// How the connector's data is read; as its file last said, where that is gone.
    pub fn mode(&self, slug: &str) -> entity::DataMode {
        let remembered = || self.known.iter().find(|row| row.slug == slug).map(|row| row.mode);
        self.catalogue
            .get(slug)
            .map(|connector| mode(connector))
            .or_else(remembered)
            .unwrap_or(entity::DataMode::Warehouse)
    }

    /// How the data of a connection is read, whether it was removed or not.
    pub async fn mode_of(&self, id: uuid::Uuid) -> Result<entity::DataMode> {
        let row = entity::connection::Entity::find_by_id(id).one(self.db.reader()).await?;
        Ok(self.mode(&row.ok_or_else(|| Error::internal("a connection that never was"))?.connector))
    }

    /// Connectors that were known once and have no file now.
    pub fn forgotten_connectors(&self) -> impl Iterator<Item = &connector::Model> {
        self.known.iter().filter(|row| self.catalogue.get(&row.slug).is_none())
    }

    /// Whether this server can sign people in at the connector's provider.
    pub fn is_configured(&self, connector: &Connector) -> bool {
        self.provider.is_configured(connector)
    }
}

/// How a connector signs in, as the tables keep it.
fn method(connector: &Connector) -> entity::AuthMethod {
    match connector.auth {
        Auth::OAuth2(_) => entity::AuthMethod::OAuth2,
        Auth::ApiKey { .. } => entity::AuthMethod::ApiKey,
        Auth::Basic => entity::AuthMethod::Basic,
        Auth::Fields { .. } => entity::AuthMethod::Fields,
    }
}

/// How its data is read, as the tables keep it.
fn mode(connector: &Connector) -> entity::DataMode {
    match connector.mode {
        DataMode::Warehouse => entity::DataMode::Warehouse,
        DataMode::DirectQuery => entity::DataMode::DirectQuery,
    }
}

/// Writes what the catalogue says now beside what it said before, and reads both.
async fn remember(db: &Db, catalogue: &Catalogue) -> Result<Vec<connector::Model>> {
    let rows: Vec<_> = catalogue
        .all()
        .map(|connector| connector::ActiveModel {
            id: Set(connector.id),
            slug: Set(connector.slug.clone()),
            name: Set(connector.name.clone()),
            category: Set(connector.category.clone()),
            method: Set(method(connector)),
            mode: Set(mode(connector)),
        })
        .collect();
    if !rows.is_empty() {
        use connector::Column::{Category, Id, Method, Mode, Name};
        let newest = OnConflict::column(Id).update_columns([Name, Category, Method, Mode]).to_owned();
        connector::Entity::insert_many(rows).on_conflict(newest).exec_without_returning(db.writer()).await?;
    }
    Ok(connector::Entity::find().all(db.reader()).await?)
}
