//! Attempts: one browser round trip each, from the link to the provider's door.
//!
//! An attempt is seen by whoever started it alone. The first browser to open its link owns it: a cookie has to come
//! back with the callback. What the browser brings back is [`super::callback`]'s, what becomes of it
//! [`super::settle`]'s.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use entity::{AttemptKind, AttemptStatus, Topic, attempt};
use futures_util::{Stream, stream};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect,
    sea_query::Expr,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

use super::{
    Connections,
    conflicts::conflict_node,
    credentials::Fresh,
    lifecycle::Change,
    plan::{Carried, Plan},
};
use crate::{
    access::{Actor, Viewer},
    catalogue::Connector,
    clock::random,
    db::Transaction,
    error::{Error, Result, UserError, UserErrorCode},
    ids::{self, Kind},
    journal::{Facts, NewEntry, Viewing},
    provider::{Account, AuthorizationRequest, new_verifier},
};

/// How long someone may be at the provider, and how long a decision may take.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How many attempts one person or key may have under way, beside those of links;
const MOST_UNDER_WAY: u64 = 1_000;
/// and how many one link.
const MOST_OF_LINK: u64 = 100;
/// How many of the connections that an attempt brought are kept with it.
pub(super) const KEPT: usize = 100;

/// A browser at an attempt's link, to be sent on.
pub struct Departure {
    /// The provider's page.
    pub location: Url,
    /// Has to come back with the callback.
    pub cookie_name: String,
    pub cookie_value: SecretString,
}

/// Why a browser is not sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoDeparture {
    #[error("This link is not valid, or no longer.")]
    Gone,
    #[error("This link was opened already. Go back to where you came from, and start again.")]
    Taken,
    #[error("The data source cannot be reached with this server's settings.")]
    Unavailable,
}

/// What is started with.
pub(super) struct NewAttempt<'a> {
    pub(super) kind: AttemptKind,
    pub(super) connector: &'a Connector,
    pub(super) plan: Plan,
    pub(super) connection: Option<Uuid>,
    pub(super) expected: Option<Account>,
    pub(super) fields: BTreeMap<String, String>,
    /// The link that somebody follows with it.
    pub(super) link: Option<OfLink<'a>>,
}

/// The link that an attempt was started by.
#[derive(Clone, Copy)]
pub(super) struct OfLink<'a> {
    pub(super) id: Uuid,
    /// What its address ends in.
    pub(super) token: &'a str,
}

impl Connections {
    /// Starts an attempt.
    pub(super) async fn start(&self, viewer: &Viewer, new: NewAttempt<'_>) -> Result<attempt::Model> {
        if !self.provider.is_configured(new.connector) {
            let message = "This server has no OAuth client configured for this connector.";
            return Err(UserError::new(UserErrorCode::NotConfigured, message).into());
        }
        let now = self.clock.now();
        let id = ids::new(now, &*self.entropy);
        let link = new.link.map(|link| link.token.to_owned());
        let carried = Carried { fields: new.fields, link, ..Carried::default() };
        let (expected_id, expected_name) = new.expected.map(|account| (account.id, account.name)).unzip();
        let row = attempt::ActiveModel {
            id: Set(id),
            workspace_id: Set(viewer.workspace()),
            kind: Set(new.kind),
            status: Set(AttemptStatus::Pending),
            connector: Set(new.connector.slug.clone()),
            started_by: Set(viewer.require_user()?),
            api_key_id: Set(viewer.actor().api_key),
            link_id: Set(new.link.map(|link| link.id)),
            plan: Set(serde_json::to_value(&new.plan).map_err(|_| Error::internal("a plan that cannot be written"))?),
            connection_id: Set(new.connection),
            state_hash: Set(None),
            browser_hash: Set(None),
            secret: Set(Some(self.seal_carried(id, &carried)?)),
            signed_in_id: Set(None),
            signed_in_name: Set(None),
            expected_id: Set(expected_id),
            expected_name: Set(expected_name),
            connections: Set(json!({ "first": [], "count": 0 })),
            error_code: Set(None),
            error_message: Set(None),
            error_conflict: Set(None),
            created_at: Set(now),
            expires_at: Set(now + LIFETIME),
            ended_at: Set(None),
        };
        let txn = self.db.begin().await?;
        self.require_room(&txn, viewer, new.link).await?;
        let row = row.insert(&txn).await?;
        let entry = entry("attempt.started", &row, viewer.actor());
        self.journal.commit(txn, viewer.workspace(), vec![entry]).await?;
        Ok(row)
    }

    /// Refuses one more attempt to who has as many under way as there may be. What is begun with a link counts for that alone:
    /// whoever follows it does not keep its maker from anything.
    async fn require_room(&self, txn: &Transaction, viewer: &Viewer, link: Option<OfLink<'_>>) -> Result<()> {
        let under_way = attempt::Entity::find()
            .filter(attempt::Column::EndedAt.is_null())
            .filter(attempt::Column::ExpiresAt.gt(self.clock.now()));
        let (theirs, most, message) = match link {
            Some(link) => (
                under_way.filter(attempt::Column::LinkId.eq(link.id)),
                MOST_OF_LINK,
                "Too many sign-ins were begun with this link. Wait ten minutes, then start again.",
            ),
            None => {
                let key = viewer.api_key();
                let by_key =
                    key.map_or_else(|| attempt::Column::ApiKeyId.is_null(), |key| attempt::Column::ApiKeyId.eq(key));
                let theirs = under_way.filter(attempt::Column::StartedBy.eq(viewer.require_user()?));
                (
                    theirs.filter(by_key).filter(attempt::Column::LinkId.is_null()),
                    MOST_UNDER_WAY,
                    "You have 1,000 sign-ins under way. Finish some, or wait ten minutes until they have expired.",
                )
            }
        };
        let there = theirs.count(txn).await? >= most;
        if there { Err(UserError::new(UserErrorCode::TooMany, message).into()) } else { Ok(()) }
    }

    /// The attempt, if it is the viewer's. A person sees what their keys started, a key only what it started itself.
    pub async fn attempt(&self, viewer: &Viewer, id: Uuid) -> Result<Option<attempt::Model>> {
        let Some(user) = viewer.user() else { return Ok(None) };
        let own = viewer.api_key().map(|key| attempt::Column::ApiKeyId.eq(key));
        let row = attempt::Entity::find_by_id(id)
            .filter(attempt::Column::WorkspaceId.eq(viewer.workspace()))
            .filter(attempt::Column::StartedBy.eq(user))
            .filter(Condition::all().add_option(own))
            .one(self.db.reader())
            .await?;
        Ok(row.map(|row| self.as_of_now(row)))
    }

    /// Where to send the person who is to finish it.
    pub fn attempt_url(&self, attempt: &attempt::Model) -> Url {
        self.public_address(&format!("oauth/start/{}", ids::encode(Kind::Attempt, attempt.id)))
    }

    /// Where the provider of `connector` sends people back to: an address of its own for each, so that no provider's answer
    /// is taken for another's (RFC 9700 §4.4.2.2).
    pub(super) fn redirect_uri(&self, connector: &Connector) -> Url {
        self.public_address(&format!("oauth/callback/{}", connector.slug))
    }

    /// The address of `path` on this server, as browsers reach it.
    pub(super) fn public_address(&self, path: &str) -> Url {
        let mut url = self.settings.public_url.clone();
        url.set_path(path);
        url
    }

    /// Sends the first browser that opens the attempt's link to the provider.
    pub async fn depart(&self, attempt: Uuid) -> Result<Result<Departure, NoDeparture>> {
        let txn = self.db.begin().await?;
        let row = attempt::Entity::find_by_id(attempt).lock_exclusive().one(&txn).await?;
        let Some(row) = row.map(|row| self.as_of_now(row)).filter(|row| row.status == AttemptStatus::Pending) else {
            return Ok(Err(NoDeparture::Gone));
        };
        if row.browser_hash.is_some() {
            return Ok(Err(NoDeparture::Taken));
        }
        let Some(connector) = self.connector_of(&row.connector) else { return Ok(Err(NoDeparture::Gone)) };
        let (state, cookie, verifier) = (self.token(), self.token(), new_verifier(&*self.entropy));
        let mut carried = self.open_carried(&row)?;
        let request = AuthorizationRequest {
            state: state.expose_secret(),
            verifier: &verifier,
            redirect_uri: &self.redirect_uri(&connector),
            login_hint: row.expected_name.as_deref(),
        };
        let Ok(location) = self.provider.authorization_url(&connector, &carried.fields, request) else {
            return Ok(Err(NoDeparture::Unavailable));
        };
        carried.verifier = Some(verifier.expose_secret().to_owned());
        let sealed = self.seal_carried(row.id, &carried)?;
        let mut row = attempt::ActiveModel::from(row);
        row.state_hash = Set(Some(hash(state.expose_secret())));
        row.browser_hash = Set(Some(hash(cookie.expose_secret())));
        row.secret = Set(Some(sealed));
        row.update(&txn).await?;
        txn.commit().await?;
        Ok(Ok(Departure { location, cookie_name: cookie_name(attempt), cookie_value: cookie }))
    }

    /// The attempt as it is, then each change of it, until it has ended.
    pub async fn attempt_changes(
        &self,
        viewer: &Viewer,
        id: Uuid,
    ) -> Result<impl Stream<Item = Result<attempt::Model>> + Send + use<>> {
        let viewing = self.journal.follow_as(viewer, Topic::Attempts, None).await?;
        let first =
            self.attempt(viewer, id).await?.ok_or(Error::BadInput("There is no attempt with this id.".to_owned()))?;
        let walk = Walk { connections: self.clone(), viewing, id, next: Some(first), ended: false };
        Ok(stream::try_unfold(walk, |mut walk| async move {
            let attempt = walk.next().await?;
            Ok(attempt.map(|attempt| (attempt, walk)))
        }))
    }

    /// Ends the attempts whose time is over, and gives back what waited in them.
    pub async fn expire_attempts(&self) -> Result<()> {
        let over = attempt::Entity::find()
            .filter(attempt::Column::EndedAt.is_null())
            .filter(attempt::Column::ExpiresAt.lte(self.clock.now()))
            .limit(100)
            .all(self.db.reader())
            .await?;
        for row in over {
            if let Err(error) = self.expire_attempt(&row).await {
                tracing::error!(attempt = %Kind::Attempt.of(row.id), ?error, "an attempt could not be ended; it is tried again");
            }
        }
        Ok(())
    }

    /// Ends an attempt whose time is over, also when that is judged again under its lock: it may have ended meanwhile, or
    /// been given more time.
    async fn expire_attempt(&self, row: &attempt::Model) -> Result<()> {
        let mut change = Change::begin(self, &Viewer::job("sweep", row.workspace_id)).await?;
        let now = self.clock.now();
        let held = hold_attempt(&change.txn, row.id).await?;
        let Some(row) = held.filter(|row| row.ended_at.is_none() && row.expires_at <= now) else { return Ok(()) };
        let carried = self.open_carried(&row).unwrap_or_default();
        if change.end_attempt(&row, Ending::Expired).await? {
            if let Some(waiting) = carried.waiting {
                change.give_back(&Fresh::from(waiting), &row.connector).await?;
            }
            change.commit().await?;
        }
        Ok(())
    }

    /// One whose time is over has expired, also before the sweep comes by.
    pub(super) fn as_of_now(&self, mut row: attempt::Model) -> attempt::Model {
        if row.ended_at.is_none() && row.expires_at <= self.clock.now() {
            row.status = AttemptStatus::Expired;
        }
        row
    }

    /// What nobody guesses: 32 random bytes, fit for an address.
    pub(super) fn token(&self) -> SecretString {
        URL_SAFE_NO_PAD.encode(random::<32>(&*self.entropy)).into()
    }
}

/// How an attempt goes on, or ends.
pub(super) enum Ending {
    Succeeded(Vec<Uuid>),
    Failed(UserError),
    Expired,
}

impl Change<'_> {
    /// Ends an attempt that has not ended; false where another got there first.
    pub(super) async fn end_attempt(&mut self, row: &attempt::Model, ending: Ending) -> Result<bool> {
        let (status, action) = match ending {
            Ending::Succeeded(_) => (AttemptStatus::Succeeded, "attempt.succeeded"),
            Ending::Failed(_) => (AttemptStatus::Failed, "attempt.failed"),
            Ending::Expired => (AttemptStatus::Expired, "attempt.expired"),
        };
        let mut update = attempt::ActiveModel {
            status: Set(status),
            secret: Set(None),
            ended_at: Set(Some(self.now.max(row.created_at))),
            ..Default::default()
        };
        match ending {
            Ending::Succeeded(ids) => update.connections = Set(brought(ids)),
            Ending::Failed(error) => {
                update.error_code = Set(Some(error.code.as_str().to_owned()));
                update.error_conflict = Set(error.conflicts_with.map(|conflict| conflict_node(conflict).to_string()));
                update.error_message = Set(Some(error.message));
            }
            Ending::Expired => {}
        }
        self.move_attempt(row, update, action).await
    }

    /// Lets an attempt wait for a decision: with what a sign-in brought, where it does not wait already, and with the
    /// account that the connection has now.
    pub(super) async fn let_wait(
        &mut self,
        row: &attempt::Model,
        sealed: Option<Vec<u8>>,
        expected: Option<Account>,
    ) -> Result<bool> {
        let mut update = attempt::ActiveModel {
            status: Set(AttemptStatus::NeedsDecision),
            expires_at: Set(self.now + LIFETIME),
            ..Default::default()
        };
        if let Some(sealed) = sealed {
            update.secret = Set(Some(sealed));
        }
        if let Some(expected) = expected {
            (update.expected_id, update.expected_name) = (Set(Some(expected.id)), Set(Some(expected.name)));
        }
        self.move_attempt(row, update, "attempt.waiting").await
    }

    /// Writes what an attempt that succeeded connected or reconnected by the end.
    pub(super) async fn tell_connected(&self, row: &attempt::Model, connections: Vec<Uuid>) -> Result<()> {
        let update = attempt::ActiveModel { connections: Set(brought(connections)), ..Default::default() };
        attempt::Entity::update_many()
            .set(update)
            .filter(attempt::Column::Id.eq(row.id))
            .filter(attempt::Column::Status.eq(AttemptStatus::Succeeded))
            .exec(&self.txn)
            .await?;
        Ok(())
    }

    /// Writes who signed in, as soon as it is known.
    pub(super) async fn note_signed_in(&self, row: &attempt::Model, account: &Account) -> Result<()> {
        attempt::Entity::update_many()
            .col_expr(attempt::Column::SignedInId, Expr::value(account.id.clone()))
            .col_expr(attempt::Column::SignedInName, Expr::value(account.name.clone()))
            .filter(attempt::Column::Id.eq(row.id))
            .exec(&self.txn)
            .await?;
        Ok(())
    }

    async fn move_attempt(
        &mut self,
        row: &attempt::Model,
        update: attempt::ActiveModel,
        action: &'static str,
    ) -> Result<bool> {
        let moved = attempt::Entity::update_many()
            .set(update)
            .filter(attempt::Column::Id.eq(row.id))
            .filter(attempt::Column::EndedAt.is_null())
            .exec(&self.txn)
            .await?;
        let moved = moved.rows_affected == 1;
        if moved {
            self.note([entry(action, row, self.actor)]);
        }
        Ok(moved)
    }
}

/// What an attempt brought, as its row keeps it.
fn brought(mut connections: Vec<Uuid>) -> serde_json::Value {
    let count = connections.len();
    connections.sort_unstable();
    connections.truncate(KEPT);
    json!({ "first": connections, "count": count })
}

/// Locks an attempt.
async fn hold_attempt(txn: &Transaction, id: Uuid) -> Result<Option<attempt::Model>> {
    Ok(attempt::Entity::find_by_id(id).lock_exclusive().one(txn).await?)
}

/// The name of an attempt's cookie: one each, so that two at once do not meet.
pub(super) fn cookie_name(attempt: Uuid) -> String {
    format!("patchbay_attempt_{}", attempt.simple())
}

/// What is stored of a token that has to come back.
pub(super) fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

fn entry(action: &'static str, row: &attempt::Model, actor: Actor) -> NewEntry {
    NewEntry {
        topic: Topic::Attempts,
        action,
        actor,
        subject: Kind::Attempt.of(row.id),
        facts: Facts::None,
        details: json!({ "connector": row.connector, "kind": row.kind.as_str() }),
    }
}

/// One follower of an attempt.
struct Walk {
    connections: Connections,
    viewing: Viewing,
    id: Uuid,
    next: Option<attempt::Model>,
    ended: bool,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<attempt::Model>> {
        if self.ended {
            return Ok(None);
        }
        let attempt = match self.next.take() {
            Some(first) => first,
            None => self.changed().await?,
        };
        self.ended =
            matches!(attempt.status, AttemptStatus::Succeeded | AttemptStatus::Failed | AttemptStatus::Expired);
        Ok(Some(attempt))
    }

    async fn changed(&mut self) -> Result<attempt::Model> {
        loop {
            let entry = self.viewing.next().await?;
            if entry.subject == self.id {
                let row = self.connections.attempt(self.viewing.viewer(), self.id).await?;
                return row.ok_or_else(|| Error::internal("an attempt that is gone"));
            }
        }
    }
}
