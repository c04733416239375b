//! API keys as bearers: what a secret looks like, how it is found again, and that it was used.
//!
//! A secret is `pbk_` and 256 random bits; so much chance needs no slow hash. It is looked up by its SHA-256, so that
//! what a comparison takes tells nothing of it. Who makes and revokes keys is for the room of people to say.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use entity::{api_key, journal_head, user, workspace};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, sea_query::Expr};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Viewer;
use crate::{
    clock::{Entropy, SharedClock, random},
    db::Db,
    error::{Error, Result},
    tasks::Tasks,
};

/// How every secret begins: by this it is told from a token.
const MARK: &str = "pbk_";
/// How many of its characters are shown: the mark, and 48 of the 256 bits.
const SHOWN: usize = MARK.len() + 8;
/// How old the last use that is stored may be before a newer one is written.
const NOTED: TimeDelta = TimeDelta::minutes(1);

/// A secret that was just made. Its `Debug` does not show it.
#[derive(Debug)]
pub struct NewSecret {
    /// To be shown once.
    pub secret: SecretString,
    /// To recognise it by.
    pub prefix: String,
    /// To find it again.
    pub hash: Vec<u8>,
}

impl NewSecret {
    pub fn new(entropy: &dyn Entropy) -> Self {
        let secret = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(random::<32>(entropy)));
        Self { prefix: secret.chars().take(SHOWN).collect(), hash: hash(&secret), secret: secret.into() }
    }
}

/// Whether `bearer` is to be taken for an API key.
pub(super) fn is_key(bearer: &str) -> bool {
    bearer.starts_with(MARK)
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// The API key `id` as it may act now; none when it is refused.
pub async fn viewer_of_key(db: &Db, id: Uuid, now: DateTime<Utc>) -> Result<Option<Viewer>> {
    Ok(find(db, api_key::Column::Id.eq(id).into(), now).await?.map(|found| found.viewer))
}

struct Found {
    viewer: Viewer,
    last_used_at: Option<DateTime<Utc>>,
}

async fn find(db: &Db, which: Condition, now: DateTime<Utc>) -> Result<Option<Found>> {
    // One statement: the journal's number is as old as what it vouches for.
    let found = api_key::Entity::find()
        .filter(which)
        .filter(api_key::Column::RevokedAt.is_null())
        .find_also_related(user::Entity)
        .find_also_related(workspace::Entity)
        .find_also(api_key::Entity, journal_head::Entity)
        .one(db.reader())
        .await?;
    let Some((key, Some(maker), Some(home), Some(head))) = found else { return Ok(None) };
    if !maker.active || key.expires_at.is_some_and(|end| end <= now) {
        return Ok(None);
    }
    let viewer = Viewer::key(&key, &maker, &home, head.seq);
    Ok(viewer.map(|viewer| Found { viewer, last_used_at: key.last_used_at }))
}

/// Verifies keys and notes their use; cheap to clone.
#[derive(Clone)]
pub(super) struct ApiKeys {
    db: Db,
    clock: SharedClock,
    /// Keys whose use is being written.
    noting: Arc<Mutex<HashSet<Uuid>>>,
    tasks: Tasks,
}

impl ApiKeys {
    pub(super) fn new(db: Db, clock: SharedClock, tasks: Tasks) -> Self {
        Self { db, clock, noting: Arc::default(), tasks }
    }

    /// The viewer whom the key `bearer` makes, in `workspace` where one is asked for.
    pub(super) async fn viewer(&self, bearer: &str, workspace: Option<Uuid>) -> Result<Viewer> {
        let now = self.clock.now();
        let found = find(&self.db, api_key::Column::Hash.eq(hash(bearer)).into(), now).await?;
        let Found { viewer, last_used_at } = found.ok_or(Error::Unauthenticated)?;
        if workspace.is_some_and(|asked| asked != viewer.workspace()) {
            return Err(Error::Unauthenticated);
        }
        if let Some(key) = viewer.api_key().filter(|_| last_used_at.is_none_or(|last| last + NOTED <= now)) {
            self.note_use(key, now);
        }
        Ok(viewer)
    }

    /// Writes that `key` was used, beside the request and once for however many come at the same moment.
    fn note_use(&self, key: Uuid, now: DateTime<Utc>) {
        if !self.being_noted(|noting| noting.insert(key)) {
            return;
        }
        let keys = self.clone();
        self.tasks.spawn("use of an API key", async move {
            let used = api_key::Entity::update_many()
                .col_expr(api_key::Column::LastUsedAt, Expr::value(now))
                .filter(api_key::Column::Id.eq(key))
                .exec(keys.db.writer())
                .await;
            keys.being_noted(|noting| noting.remove(&key));
            if let Err(error) = used {
                tracing::warn!(%key, %error, "the last use of an API key was not written");
            }
        });
    }

    fn being_noted(&self, change: impl FnOnce(&mut HashSet<Uuid>) -> bool) -> bool {
        change(&mut self.noting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::clock::SystemEntropy;

    #[test]
    fn a_secret_is_told_from_a_token_and_shown_by_nothing() {
        let new = NewSecret::new(&SystemEntropy);
        let secret = new.secret.expose_secret();
        assert!(is_key(secret) && !is_key("eyJhbGciOiJIUzI1NiJ9.e30.x"));
        assert_eq!(URL_SAFE_NO_PAD.decode(&secret[MARK.len()..]).unwrap().len(), 32);
        assert_eq!((new.prefix.as_str(), new.hash.clone()), (&secret[..SHOWN], hash(secret)));
        assert!(!format!("{new:?}").contains(secret));
        assert_ne!(secret, NewSecret::new(&SystemEntropy).secret.expose_secret());
    }
}
