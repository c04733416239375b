//! API keys: how they come and go, and as what they are seen. What a key may do, and how its secret is verified, is
//! [`crate::access`]'s to say.
//!
//! A key that a key makes, its child, never outlives it: it ends no later, and is revoked with it. Else whoever holds a key
//! for a day could hold one for ever.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use entity::{Role, api_key};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, Order as Direction, PaginatorTrait,
    QueryFilter, Select,
};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::{
    People, audit, client_stays,
    names::{self, both},
};
use crate::{
    access::{Action, Actor, NewSecret, Viewer},
    db::Transaction,
    error::{Error, Result},
    ids::{self, Kind},
    journal::{KEY_REVOKED, NewEntry},
    pages::{self, Key, Order, Page, PageArgs},
};

/// A key that is to be made. Only a CLIENT key has a client, and has to; no key is a MEMBER's.
#[derive(Debug, Clone)]
pub struct CreateApiKey {
    pub name: String,
    pub role: Role,
    pub client: Option<Uuid>,
    pub read_only: bool,
    pub expires_at: Option<DateTime<Utc>>,
}

impl People {
    /// The keys of the workspace that were not revoked, by id.
    pub async fn api_keys(&self, viewer: &Viewer, args: &PageArgs) -> Result<Page<api_key::Model>> {
        let by_id = |key: &api_key::Model| vec![Key::Id(key.id)];
        let order = Order::by("api keys", api_key::Column::Id, Direction::Asc, by_id);
        pages::read(self.db.reader(), listed(viewer)?, args, order, viewer.cursor_key()).await
    }

    /// How many keys that list has.
    pub async fn count_api_keys(&self, viewer: &Viewer) -> Result<u64> {
        Ok(listed(viewer)?.count(self.db.reader()).await?)
    }

    /// One key by id. Whoever may not list keys finds none but the one that asks.
    pub async fn api_key(&self, viewer: &Viewer, id: Uuid) -> Result<Option<api_key::Model>> {
        if viewer.api_key() != Some(id) && viewer.may(Action::Administer).is_err() {
            return Ok(None);
        }
        Ok(live(viewer.workspace()).filter(api_key::Column::Id.eq(id)).one(self.db.reader()).await?)
    }

    /// The keys with these ids, revoked ones too: for what a viewer sees that they did. Whoever may not know the people
    /// sees none.
    pub async fn api_keys_by_ids(&self, viewer: &Viewer, ids: &[Uuid]) -> Result<HashMap<Uuid, api_key::Model>> {
        if viewer.may(Action::SeePeople).is_err() {
            return Ok(HashMap::new());
        }
        let select = keys_of(viewer.workspace()).filter(api_key::Column::Id.is_in(ids.iter().copied()));
        Ok(select.all(self.db.reader()).await?.into_iter().map(|key| (key.id, key)).collect())
    }

    /// Makes a key that acts for the viewer. Its secret comes back this once. One that a key makes ends no later than that.
    pub async fn create_api_key(&self, viewer: &Viewer, new: CreateApiKey) -> Result<(api_key::Model, SecretString)> {
        viewer.may(Action::Administer)?;
        let (maker, now) = (viewer.require_user()?, self.clock.now());
        let latest = viewer.api_key().and(viewer.expires_at());
        let valid = both(fits(new.role, new.client), lives(new.expires_at, now, latest));
        let (name, _) = both(names::name("name", &new.name), valid)?;
        let secret = NewSecret::new(&*self.entropy);
        let row = api_key::Model {
            id: self.new_id(),
            workspace_id: viewer.workspace(),
            name,
            prefix: secret.prefix,
            hash: secret.hash,
            role: new.role,
            client_id: new.client,
            read_only: new.read_only,
            created_by: maker,
            parent_id: viewer.api_key(),
            created_at: now,
            expires_at: new.expires_at,
            last_used_at: None,
            revoked_at: None,
        };
        let txn = self.begin(viewer.workspace()).await?;
        parent_stays(&txn, &row, now).await?;
        client_stays(&txn, viewer.workspace(), row.client_id).await?;
        row.clone().into_active_model().insert(&txn).await?;
        let details = json!({ "after": {
            "name": row.name,
            "prefix": row.prefix,
            "role": row.role.as_str(),
            "clientId": row.client_id.map(|client| ids::encode(Kind::Client, client)),
            "readOnly": row.read_only,
            "expiresAt": row.expires_at,
            "madeByKey": row.parent_id.map(|parent| ids::encode(Kind::ApiKey, parent)),
        } });
        let entry = audit("api_key.created", viewer.actor(), Kind::ApiKey, row.id, details);
        self.journal.commit(txn, viewer.workspace(), vec![entry]).await?;
        Ok((row, secret.secret))
    }

    /// Refuses a key from now on, also on sockets that are open; and with it the keys that it made.
    pub async fn revoke_api_key(&self, viewer: &Viewer, id: Uuid) -> Result<()> {
        viewer.may(Action::Administer)?;
        let txn = self.begin(viewer.workspace()).await?;
        let found = live(viewer.workspace()).filter(api_key::Column::Id.eq(id)).one(&txn).await?;
        let key = found.ok_or_else(|| Error::not_found("apiKeyId"))?;
        let entries = revoke(&txn, viewer.actor(), key, self.clock.now()).await?;
        self.journal.commit(txn, viewer.workspace(), entries).await?;
        Ok(())
    }
}

/// Revokes a key and those that it made, and so on; what the journal is told of each. The people of the workspace are held:
/// no key is made meanwhile.
pub(super) async fn revoke(
    txn: &Transaction,
    actor: Actor,
    key: api_key::Model,
    now: DateTime<Utc>,
) -> Result<Vec<NewEntry>> {
    let (mut entries, mut generation) = (Vec::new(), vec![key]);
    while !generation.is_empty() {
        let ids: Vec<Uuid> = generation.iter().map(|key| key.id).collect();
        // An older version left those alone that a revoked key had made: through it, its own are found as well.
        for key in generation.into_iter().filter(|key| key.revoked_at.is_none()) {
            let parent = key.parent_id.map(|parent| ids::encode(Kind::ApiKey, parent));
            let details = json!({ "before": { "name": key.name, "prefix": key.prefix, "madeByKey": parent } });
            entries.push(audit(KEY_REVOKED, actor, Kind::ApiKey, key.id, details));
            let revoked = api_key::ActiveModel { id: Set(key.id), revoked_at: Set(Some(now)), ..Default::default() };
            revoked.update(txn).await?;
        }
        generation = api_key::Entity::find().filter(api_key::Column::ParentId.is_in(ids)).all(txn).await?;
    }
    Ok(entries)
}

/// Refuses to make a key for one that was revoked, or ended, since it asked: nothing would take the new one along.
async fn parent_stays(txn: &Transaction, new: &api_key::Model, now: DateTime<Utc>) -> Result<()> {
    let Some(parent) = new.parent_id else { return Ok(()) };
    let found = live(new.workspace_id).filter(api_key::Column::Id.eq(parent)).one(txn).await?;
    let good = found.is_some_and(|key| key.expires_at.is_none_or(|end| end > now));
    if good { Ok(()) } else { Err(Error::Unauthenticated) }
}

/// Every key of the workspace, revoked or not.
fn keys_of(workspace: Uuid) -> Select<api_key::Entity> {
    api_key::Entity::find().filter(api_key::Column::WorkspaceId.eq(workspace))
}

/// Those that were not revoked; expired ones too.
pub(super) fn live(workspace: Uuid) -> Select<api_key::Entity> {
    keys_of(workspace).filter(api_key::Column::RevokedAt.is_null())
}

fn listed(viewer: &Viewer) -> Result<Select<api_key::Entity>> {
    viewer.may(Action::Administer)?;
    Ok(live(viewer.workspace()))
}

/// Whether a key of this role may be, and may have, or do without, this client.
fn fits(role: Role, client: Option<Uuid>) -> Result<()> {
    match (role, client) {
        (Role::Member, _) => Err(Error::invalid("role", "A key is of role ADMIN, STAFF or CLIENT.")),
        (Role::Client, None) => Err(Error::invalid("clientId", "A key of role CLIENT belongs to a client.")),
        (Role::Admin | Role::Staff, Some(_)) => {
            Err(Error::invalid("clientId", "Only a key of role CLIENT belongs to a client."))
        }
        (Role::Client, Some(_)) | (Role::Admin | Role::Staff, None) => Ok(()),
    }
}

/// Whether a key may end then: in the future, and not after `latest`, where the key that makes it ends then.
fn lives(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>, latest: Option<DateTime<Utc>>) -> Result<()> {
    match (expires_at, latest) {
        (Some(end), _) if end <= now => Err(Error::invalid("expiresAt", "This has passed already.")),
        (end, Some(latest)) if end.is_none_or(|end| end > latest) => {
            let at = latest.to_rfc3339_opts(SecondsFormat::Secs, true);
            Err(Error::invalid("expiresAt", format!("A key makes no key that outlives it. It ends at {at}.")))
        }
        (Some(_) | None, _) => Ok(()),
    }
}
