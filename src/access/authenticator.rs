//! Turns a bearer into a viewer. Role and activity come from the database each time.

use entity::{journal_head, user, workspace};
use sea_orm::EntityTrait;
use uuid::Uuid;

use super::{JwtSecret, Viewer};
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
}

impl Authenticator {
    pub fn new(db: Db, secret: JwtSecret, clock: SharedClock) -> Self {
        Self { db, secret, clock }
    }

    /// The viewer whom `bearer` names, in `workspace` where one is asked for. Whatever is wrong with it, the answer is
    /// the same: UNAUTHENTICATED.
    pub async fn viewer(&self, bearer: &str, workspace: Option<Uuid>) -> Result<Viewer> {
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
}
