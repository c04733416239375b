//! Links: made by somebody with a login, so that somebody without one does one thing, once.
//!
//! Of what a link's address ends in, a hash is stored; the rest is sealed in an attempt of the link, while it lasts. A link acts for whoever made it, as they are today: what
//! they may do no more, it does no more. It ends when it was used, and when the connection works again by other means; that it
//! expired, or that what it is for is gone, is judged when it is read. Following one is [`super::following`]'s.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    AttemptKind, LinkEnd, Status, Topic, api_key, attempt, client, connection, link, link_connector, user, workspace,
};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
    QuerySelect, sea_query::Expr,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{Connections, attempts::hash, held::Held, lifecycle::Change, list::BATCH, visibility};
use crate::{
    access::{Action, Actor, Viewer},
    catalogue::Connector,
    db::Transaction,
    error::{Error, Result, UserError, UserErrorCode},
    ids::{self, Kind},
    journal::{Fact, Facts, NewEntry},
    people,
};

/// How long a link works where nothing is said, in hours.
const USUAL_LIFE: i32 = 72;
/// How long one may work, in hours: thirty days.
const LONGEST_LIFE: i32 = 720;
/// How many links of one person or key may be open.
const MOST_OPEN: u64 = 10_000;
/// How many connectors one link may offer.
const MOST_CONNECTORS: usize = 20;

/// A link that was just made.
pub struct NewLink {
    /// To be shown once: nobody can find it again.
    pub url: Url,
    pub expires_at: DateTime<Utc>,
}

/// What a link that is of use lets someone do.
pub(super) enum Errand {
    Reconnect(Box<connection::Model>),
    /// Connect data sources of this client.
    Connect(client::Model),
}

impl Connections {
    /// Makes a link to reconnect a connection. `hours` is how long it works: 1 to 720.
    pub async fn create_reconnect_link(
        &self,
        viewer: &Viewer,
        connection: Uuid,
        hours: Option<i32>,
    ) -> Result<NewLink> {
        viewer.may(Action::Tend)?;
        let row = self.tended(viewer, connection, Action::Tend).await?;
        let lifetime = lifetime(hours)?;
        let connector = self.connector_of(&row.connector).filter(|connector| self.is_configured(connector));
        if connector.is_none() {
            return Err(not_configured().into());
        }
        let (mut link, token) = self.draft_link(viewer, AttemptKind::Reconnect, lifetime)?;
        link.connection_id = Some(row.id);
        self.write_link(viewer, link, &[row.connector], &token).await
    }

    /// Makes a link to connect data sources for a client, each once: 1 to 20 connectors, by their slugs.
    pub async fn create_connect_link(
        &self,
        viewer: &Viewer,
        client: Uuid,
        connectors: &[String],
        hours: Option<i32>,
    ) -> Result<NewLink> {
        viewer.may(Action::ManageClients)?;
        self.require_client(viewer.workspace(), Some(client)).await?;
        self.require_offerable(connectors)?;
        let (mut link, token) = self.draft_link(viewer, AttemptKind::Connect, lifetime(hours)?)?;
        link.client_id = Some(client);
        self.write_link(viewer, link, connectors, &token).await
    }

    fn require_offerable(&self, connectors: &[String]) -> Result<()> {
        if connectors.is_empty() || connectors.len() > MOST_CONNECTORS {
            return Err(Error::invalid("connectors", format!("Name 1 to {MOST_CONNECTORS} connectors.")));
        }
        let mut known = HashSet::new();
        let flaw = |slug: &String| match self.catalogue.get(slug) {
            _ if !known.insert(slug.clone()) => {
                Some(UserError::new(UserErrorCode::Invalid, "This connector is named twice."))
            }
            None => Some(UserError::new(UserErrorCode::NotFound, "There is no such connector.")),
            Some(connector) if !self.is_configured(connector) => Some(not_configured()),
            Some(_) => None,
        };
        let flaws = connectors.iter().map(flaw).enumerate();
        let flaws: Vec<UserError> =
            flaws.filter_map(|(place, flaw)| Some(flaw?.at(["connectors".to_owned(), place.to_string()]))).collect();
        if flaws.is_empty() { Ok(()) } else { Err(Error::Rejected(flaws)) }
    }

    fn draft_link(
        &self,
        viewer: &Viewer,
        kind: AttemptKind,
        lifetime: TimeDelta,
    ) -> Result<(link::Model, SecretString)> {
        let (now, token) = (self.clock.now(), self.token());
        let link = link::Model {
            id: ids::new(now, &*self.entropy),
            workspace_id: viewer.workspace(),
            kind,
            token_hash: hash(token.expose_secret()),
            connection_id: None,
            client_id: None,
            created_by: viewer.require_user()?,
            api_key_id: viewer.actor().api_key,
            created_at: now,
            expires_at: now + lifetime,
            ended_at: None,
            ended_by: None,
        };
        Ok((link, token))
    }

    async fn write_link(
        &self,
        viewer: &Viewer,
        link: link::Model,
        connectors: &[String],
        token: &SecretString,
    ) -> Result<NewLink> {
        let txn = self.db.begin().await?;
        self.require_room_for(&txn, &link).await?;
        people::client_stays(&txn, viewer.workspace(), link.client_id).await?;
        let link = link.into_active_model().insert(&txn).await?;
        if link.kind == AttemptKind::Connect {
            let offered = connectors.iter().zip(0..).map(|(connector, place)| link_connector::ActiveModel {
                link_id: Set(link.id),
                connector: Set(connector.clone()),
                place: Set(place),
                connection_id: Set(None),
                used_at: Set(None),
            });
            link_connector::Entity::insert_many(offered).exec_without_returning(&txn).await?;
        }
        let expires_at = link.expires_at;
        let details = json!({ "kind": link.kind.as_str(), "expiresAt": expires_at, "connectors": connectors });
        let created = entry("link.created", &link, viewer.actor(), details)?;
        self.journal.commit(txn, viewer.workspace(), vec![created]).await?;
        Ok(NewLink { url: self.link_url(link.kind, token.expose_secret()), expires_at })
    }

    /// Refuses one more link to who has as many open ones as there may be.
    async fn require_room_for(&self, txn: &Transaction, new: &link::Model) -> Result<()> {
        let by_key = match new.api_key_id {
            Some(key) => link::Column::ApiKeyId.eq(key),
            None => link::Column::ApiKeyId.is_null(),
        };
        let open = link::Entity::find()
            .filter(link::Column::CreatedBy.eq(new.created_by))
            .filter(by_key)
            .filter(link::Column::EndedAt.is_null())
            .filter(link::Column::ExpiresAt.gt(new.created_at));
        if open.count(txn).await? < MOST_OPEN {
            return Ok(());
        }
        let message =
            "You have 10,000 open links. Make more once some were used or have expired; `expiresInHours` says when.";
        Err(UserError::new(UserErrorCode::TooMany, message).into())
    }

    /// The address of a link that ends in `token`.
    pub(super) fn link_url(&self, kind: AttemptKind, token: &str) -> Url {
        self.public_address(&match kind {
            AttemptKind::Connect => format!("connect/{token}"),
            AttemptKind::Reconnect => format!("reconnect/{token}"),
        })
    }

    /// What the link lets someone do in the name of `maker`, if it has not ended; none where it has expired, what it is for
    /// is gone, or the maker may do that no more.
    pub(super) async fn errand(&self, maker: &Viewer, link: &link::Model) -> Result<Option<Errand>> {
        if link.expires_at <= self.clock.now() {
            return Ok(None);
        }
        match (link.connection_id, link.client_id) {
            (Some(connection), _) => match self.tended(maker, connection, Action::Tend).await {
                Ok(row) => Ok(Some(Errand::Reconnect(Box::new(row)))),
                Err(Error::Rejected(_) | Error::Forbidden) => Ok(None),
                Err(other) => Err(other),
            },
            (None, Some(client)) if maker.may(Action::ManageClients).is_ok() => {
                let found = people::clients_of(maker.workspace()).filter(client::Column::Id.eq(client));
                Ok(found.one(self.db.reader()).await?.map(Errand::Connect))
            }
            (None, _) => Ok(None),
        }
    }

    /// The link that an attempt was started by, where it was by one: refused where that is of no use any more.
    pub(super) async fn link_of(&self, maker: &Viewer, attempt: &attempt::Model) -> Result<Option<link::Model>> {
        let Some(id) = attempt.link_id else { return Ok(None) };
        let link = link::Entity::find_by_id(id).one(self.db.reader()).await?;
        let link = link.ok_or_else(|| Error::internal("an attempt of a link that is gone"))?;
        let good = link.ended_at.is_none() && self.errand(maker, &link).await?.is_some();
        if good { Ok(Some(link)) } else { Err(of_no_use().into()) }
    }
}

impl Change<'_> {
    /// Uses the link up, in the transaction that does what it is for: `connection` was reconnected or made. Refused where
    /// somebody else used it at this moment, or it has ended.
    pub(super) async fn use_up(&mut self, link: &link::Model, connector: &Connector, connection: Uuid) -> Result<()> {
        // Two data sources of one link at the same moment: the later sees what the earlier left.
        let row = link::Entity::find_by_id(link.id).lock_exclusive().one(&self.txn).await?;
        let over = row.is_none_or(|row| row.ended_at.is_some() || row.expires_at <= self.now);
        if over || !self.maker_may_still(link).await? {
            return Err(of_no_use().into());
        }
        let left = match link.kind {
            AttemptKind::Reconnect => 0,
            AttemptKind::Connect => self.use_for(link, connector, connection).await?,
        };
        if left == 0 {
            link::Entity::update_many()
                .col_expr(link::Column::EndedAt, self.not_before(link::Column::CreatedAt))
                .col_expr(link::Column::EndedBy, Expr::value(LinkEnd::Used.as_str()))
                .filter(link::Column::Id.eq(link.id))
                .filter(link::Column::EndedAt.is_null())
                .exec(&self.txn)
                .await?;
        }
        let connection = Kind::Connection.of(connection).to_string();
        let details = json!({ "kind": link.kind.as_str(), "connector": connector.slug, "connection": connection });
        let used = entry("link.used", link, self.actor, details)?;
        self.note([used]);
        Ok(())
    }

    /// Whether the link's maker may still do what it is for: they may have left, or got another role, while the provider was
    /// asked, and the key by which they made it may have been revoked.
    async fn maker_may_still(&self, link: &link::Model) -> Result<bool> {
        if let Some(key) = link.api_key_id {
            let key = api_key::Entity::find_by_id(key).filter(api_key::Column::RevokedAt.is_null());
            if key.one(&self.txn).await?.is_none_or(|key| key.expires_at.is_some_and(|end| end <= self.now)) {
                return Ok(false);
            }
        }
        let found =
            user::Entity::find_by_id(link.created_by).find_also_related(workspace::Entity).one(&self.txn).await?;
        let Some((user, Some(workspace))) = found.filter(|(user, _)| user.active) else { return Ok(false) };
        let maker = Viewer::person(&user, &workspace, None, i64::MAX);
        let Some(connection) = link.connection_id else { return Ok(maker.may(Action::ManageClients).is_ok()) };
        // The permission table gives seeing and reconnecting the same reach, to whoever may reconnect at all.
        let seen = visibility::live_connections(&maker).filter(connection::Column::Id.eq(connection));
        Ok(maker.may(Action::Tend).is_ok() && seen.one(&self.txn).await?.is_some())
    }

    /// Uses a connect link for one connector, once; how many are left.
    async fn use_for(&self, link: &link::Model, connector: &Connector, connection: Uuid) -> Result<u64> {
        let used = link_connector::Entity::update_many()
            .col_expr(link_connector::Column::UsedAt, Expr::value(self.now))
            .col_expr(link_connector::Column::ConnectionId, Expr::value(connection))
            .filter(link_connector::Column::LinkId.eq(link.id))
            .filter(link_connector::Column::Connector.eq(&connector.slug))
            .filter(link_connector::Column::UsedAt.is_null())
            .exec(&self.txn)
            .await?;
        if used.rows_affected != 1 {
            return Err(of_no_use().into());
        }
        Ok(link_connector::Entity::find()
            .filter(link_connector::Column::LinkId.eq(link.id))
            .filter(link_connector::Column::UsedAt.is_null())
            .count(&self.txn)
            .await?)
    }

    /// These connections work again: links to reconnect them have nothing left to do.
    pub(super) async fn end_links(&self, connections: &[Uuid]) -> Result<()> {
        for part in connections.chunks(BATCH) {
            link::Entity::update_many()
                .col_expr(link::Column::EndedAt, self.not_before(link::Column::CreatedAt))
                .col_expr(link::Column::EndedBy, Expr::value(LinkEnd::Healed.as_str()))
                .filter(link::Column::ConnectionId.is_in(part.iter().copied()))
                .filter(link::Column::EndedAt.is_null())
                .exec(&self.txn)
                .await?;
        }
        Ok(())
    }
}

/// Those of the members in `before` that work again, or whose end is no longer near.
pub(super) fn mended(held: &Held, before: &HashMap<Uuid, Fact>) -> Vec<Uuid> {
    let mended = |was: Status, is: Status| match was {
        Status::Disconnected => is != Status::Disconnected,
        Status::Expiring => is == Status::Connected,
        Status::Connected => false,
    };
    let members = held.members.iter().map(|member| &member.row);
    members
        .filter(|row| before.get(&row.id).is_some_and(|was| mended(was.status, row.status)))
        .map(|row| row.id)
        .collect()
}

/// What a link that can do nothing more says to whoever follows it.
pub(super) fn of_no_use() -> UserError {
    UserError::new(UserErrorCode::Rejected, "This link was used already, or does not work any more.")
}

fn not_configured() -> UserError {
    UserError::new(UserErrorCode::NotConfigured, "This server is not configured for this connector.")
}

fn lifetime(hours: Option<i32>) -> Result<TimeDelta> {
    match hours.unwrap_or(USUAL_LIFE) {
        hours @ 1..=LONGEST_LIFE => Ok(TimeDelta::hours(hours.into())),
        _ => Err(Error::invalid("expiresInHours", format!("A link works for 1 to {LONGEST_LIFE} hours."))),
    }
}

/// What the audit log tells of a link: about the connection or the client that it is for.
fn entry(action: &'static str, link: &link::Model, actor: Actor, details: serde_json::Value) -> Result<NewEntry> {
    let connection = link.connection_id.map(|id| Kind::Connection.of(id));
    let subject = connection.or(link.client_id.map(|id| Kind::Client.of(id)));
    let subject = subject.ok_or_else(|| Error::internal("a link for nothing"))?;
    Ok(NewEntry { topic: Topic::Audit, action, actor, subject, facts: Facts::None, details })
}
