//! Following the journal on behalf of a viewer, who is judged again at each entry.

use std::sync::Arc;

use entity::{Topic, journal_entry};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::{Entry, Following, Journal};
use crate::{
    access::Viewer,
    clock::SharedClock,
    error::{Error, Result},
    ids::Kind,
};

/// What a person is told under these actions changes what they may see.
pub const ROLE_CHANGED: &str = "user.role_changed";
/// A person may no longer come in.
pub const DEACTIVATED: &str = "user.deactivated";
/// An API key is refused from now on.
pub const KEY_REVOKED: &str = "api_key.revoked";

/// A viewer's way through the journal. It ends with `Unauthenticated` when they may no longer come in, and with
/// `CursorExpired` when their own role or client changed: what they read before no longer fits. For an API key this goes
/// for the key and for the person who made it.
pub struct Viewing {
    following: Following,
    viewer: Viewer,
    clock: SharedClock,
}

impl Journal {
    /// Follows the journal as `viewer`: everything after the number `after`, or what comes from now on.
    pub async fn follow_as(&self, viewer: &Viewer, after: Option<i64>) -> Result<Viewing> {
        let following = self.follow(viewer.workspace(), after).await?;
        self.judge_meanwhile(viewer, following.at()).await?;
        Ok(Viewing { following, viewer: viewer.clone(), clock: self.clock.clone() })
    }

    /// Up to `limit` entries that follow the number `after`, while the viewer is still who they were.
    pub async fn read_as(&self, viewer: &Viewer, after: i64, limit: u64) -> Result<Vec<Entry>> {
        let entries = self.read(viewer.workspace(), after, limit).await?;
        entries.iter().try_for_each(|entry| judge(viewer, entry))?;
        Ok(entries)
    }

    /// Whether something happened to the viewer between when they were looked up and the number `until`.
    async fn judge_meanwhile(&self, viewer: &Viewer, until: i64) -> Result<()> {
        if viewer.seen() >= until {
            return Ok(());
        }
        let who = [viewer.user(), viewer.api_key()].into_iter().flatten();
        let changes = journal_entry::Entity::find()
            .filter(journal_entry::Column::WorkspaceId.eq(viewer.workspace()))
            .filter(journal_entry::Column::Seq.gt(viewer.seen()))
            .filter(journal_entry::Column::Seq.lte(until))
            .filter(journal_entry::Column::SubjectId.is_in(who))
            .filter(journal_entry::Column::Action.is_in([ROLE_CHANGED, DEACTIVATED, KEY_REVOKED]))
            .order_by_asc(journal_entry::Column::Seq)
            .all(self.db.reader())
            .await?;
        changes.into_iter().try_for_each(|entry| judge(viewer, &entry.try_into()?))
    }
}

impl Viewing {
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// The number up to which everything was passed on.
    pub fn at(&self) -> i64 {
        self.following.at()
    }

    /// The next entry, while the viewer is still who they were.
    pub async fn next(&mut self) -> Result<Arc<Entry>> {
        let entry = self.following.next().await?;
        if self.viewer.expires_at().is_some_and(|end| end <= self.clock.now()) {
            return Err(Error::Unauthenticated);
        }
        judge(&self.viewer, &entry)?;
        Ok(entry)
    }
}

/// Whether `entry` leaves the viewer who they were: `Unauthenticated` when it says that they may no longer come in,
/// `CursorExpired` when their role or client changed, and when they were away meanwhile.
fn judge(viewer: &Viewer, entry: &Entry) -> Result<()> {
    let about = |kind, id: Option<Uuid>| {
        entry.topic == Topic::Audit && entry.subject.kind == kind && id == Some(entry.subject.id)
    };
    match &*entry.action {
        // What the viewer was looked up after does not bar them any more.
        DEACTIVATED if about(Kind::User, viewer.user()) && entry.seq > viewer.seen() => Err(Error::Unauthenticated),
        DEACTIVATED | ROLE_CHANGED if about(Kind::User, viewer.user()) => Err(Error::CursorExpired),
        KEY_REVOKED if about(Kind::ApiKey, viewer.api_key()) => Err(Error::Unauthenticated),
        _ => Ok(()),
    }
}
