//! Turns a bearer into a viewer. Role and activity come from the database each time.

use entity::{journal_head, user, workspace};
use sea_orm::EntityTrait;
use uuid::Uuid;

use super::{
    JwtSecret, Viewer,
    api_key::{self, Keys},
};
use crate::{
    clock::SharedClock,
    db::Db,
    error::{Error, Result},
};

/// Verifies bearers; cheap to clone.
#[derive(Clone)]
pub struct Authenticator {
    db: Db,
    secret: JwtSecret,
    clock: SharedClock,
    keys: Keys,
}

impl Authenticator {
    pub fn new(db: Db, secret: JwtSecret, clock: SharedClock) -> Self {
        let keys = Keys::new(db.clone(), clock.clone());
        Self { db, secret, clock, keys }
    }

    /// The viewer whom `bearer` names, in `workspace` where one is asked for. Whatever is wrong with it, the answer is
    /// the same: UNAUTHENTICATED.
    pub async fn viewer(&self, bearer: &str, workspace: Option<Uuid>) -> Result<Viewer> {
        if api_key::is_key(bearer) {
            return self.keys.viewer(bearer, workspace).await;
        }
        let verified = self.secret.verify(bearer, self.clock.now()).map_err(|_| Error::Unauthenticated)?;
        // One statement: the journal's number is as old as the role that it vouches for.
        let found = user::Entity::find_by_id(verified.user)
            .find_also_related(workspace::Entity)
            .find_also_related(journal_head::Entity)
            .one(self.db.reader())
            .await?;
        let Some((user, Some(home), Some(head))) = found else { return Err(Error::Unauthenticated) };
        if !user.active || workspace.is_some_and(|asked| asked != home.id) {
            return Err(Error::Unauthenticated);
        }
        Ok(Viewer::person(&user, &home, Some(verified.expires_at), head.seq))
    }

    /// Returns once what bearers left to be written is written. Nothing is verified any more.
    pub async fn drained(&self) {
        self.keys.drained().await;
    }
}
