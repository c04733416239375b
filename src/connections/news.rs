//! What people and subscribers are told of a change: notifications, and entries of the journal.

use std::collections::HashMap;

use entity::{NotificationKind, disconnection};
use serde_json::json;
use uuid::Uuid;

use super::{
    held::{Held, Member},
    lifecycle::Change,
};
use crate::{
    error::Result,
    ids::{Kind, NodeId},
    journal::{Fact, Touched},
    notifications::{self, Covered, News, added_entry, removed_entry},
};

impl Change<'_> {
    pub(super) async fn tell_outage(
        &mut self,
        held: &Held,
        open: &disconnection::Model,
        before: HashMap<Uuid, Fact>,
        resumed: bool,
    ) -> Result<()> {
        if resumed {
            let subject = Kind::Disconnection.of(open.id);
            self.take_back_recovery(NotificationKind::Disconnected, open.id, subject).await?;
        }
        let covered = covered(held, &before);
        self.notify(held, NotificationKind::Disconnected, open.id, Some(open.id), &covered).await?;
        let subject = match open.connection_id {
            Some(id) => Kind::Connection.of(id),
            None => Kind::Authorization.of(held.id()),
        };
        let touched = touched(held, &before, |_| true);
        let details = json!({
            "disconnection": open.id, "reason": open.reason.as_str(), "detectedBy": open.detected_by.as_str(),
            "connections": touched.len(), "resumed": resumed,
        });
        self.tell("connection.disconnected", subject, touched, details);
        Ok(())
    }

    pub(super) async fn tell_recovery(
        &mut self,
        held: &Held,
        ended: &disconnection::Model,
        works: impl Fn(&Uuid) -> bool,
    ) -> Result<()> {
        let back = held.members.iter().filter(|member| works(&member.row.id));
        let covered: Vec<Covered> = back.map(Member::covered).collect();
        if covered.is_empty() {
            return Ok(());
        }
        let slug = &held.authorization.connector;
        let name = self.connections.connector_name(slug);
        let news = self.news(NotificationKind::Recovered, ended.id, Some(ended.id), Some(held.id()), slug, &name);
        let entropy = &*self.connections.entropy;
        let told = notifications::again(&self.txn, entropy, news, NotificationKind::Disconnected, &covered).await?;
        let subject = Kind::Disconnection.of(ended.id);
        self.note(added_entry(NotificationKind::Recovered, subject, told));
        Ok(())
    }

    /// What was told of `occasion` as `kind` is true again: that it works again is taken back.
    pub(super) async fn take_back_recovery(
        &mut self,
        kind: NotificationKind,
        occasion: Uuid,
        subject: NodeId,
    ) -> Result<()> {
        let untrue = NotificationKind::Recovered;
        let taken = notifications::take_back(&self.txn, occasion, untrue, Some(kind)).await?;
        self.note(removed_entry(subject, &taken));
        Ok(())
    }

    /// Tells that an authorization ends soon. What tells of it is its own id: an end is told of until it is averted.
    pub(super) async fn tell_end(&mut self, held: &Held, before: &HashMap<Uuid, Fact>) -> Result<()> {
        self.notify(held, NotificationKind::Expiring, held.id(), None, &covered(held, before)).await
    }

    /// The end of an authorization is averted or has come, or the authorization is gone: that it ends soon is taken back.
    pub(super) async fn take_back_end(&mut self, held: &Held) -> Result<()> {
        let taken = notifications::take_back(&self.txn, held.id(), NotificationKind::Expiring, None).await?;
        self.note(removed_entry(Kind::Authorization.of(held.id()), &taken));
        Ok(())
    }

    pub(super) async fn notify(
        &mut self,
        held: &Held,
        kind: NotificationKind,
        occasion: Uuid,
        disconnection: Option<Uuid>,
        covered: &[Covered],
    ) -> Result<()> {
        let slug = &held.authorization.connector;
        let name = self.connections.connector_name(slug);
        let news = self.news(kind, occasion, disconnection, Some(held.id()), slug, &name);
        let told = notifications::write(&self.txn, &*self.connections.entropy, news, covered).await?;
        let subject = match disconnection {
            Some(id) => Kind::Disconnection.of(id),
            None => Kind::Authorization.of(held.id()),
        };
        self.note(added_entry(kind, subject, told));
        Ok(())
    }

    pub(super) fn news<'n>(
        &self,
        kind: NotificationKind,
        occasion: Uuid,
        disconnection: Option<Uuid>,
        authorization: Option<Uuid>,
        connector: &'n str,
        connector_name: &'n str,
    ) -> News<'n> {
        let (workspace, now) = (self.workspace, self.now);
        News { workspace, kind, occasion, disconnection, authorization, connector, connector_name, now }
    }
}

/// Those of the members in `before`, as far as notifications need them.
pub(super) fn covered(held: &Held, before: &HashMap<Uuid, Fact>) -> Vec<Covered> {
    held.members.iter().filter(|member| before.contains_key(&member.row.id)).map(Member::covered).collect()
}

/// What an entry keeps of a change: every member whose facts differ from those in `before`, and those that `pick` picks
/// although theirs do not. A member left out of `before` is none of this change.
pub(super) fn touched(held: &Held, before: &HashMap<Uuid, Fact>, pick: impl Fn(&Uuid) -> bool) -> Vec<Touched> {
    let compare = |member: &Member| {
        let connection = member.row.id;
        let (was, is) = (before.get(&connection)?, held.fact(member));
        (pick(&connection) || *was != is).then(|| Touched { connection, before: Some(was.clone()), after: Some(is) })
    };
    held.members.iter().filter_map(compare).collect()
}
