//! What happens in a person's tray, live and replayed.

use std::collections::VecDeque;

use entity::{Topic, notification};
use futures_util::{Stream, stream};
use uuid::Uuid;

use super::{Notifications, take_back::REMOVED};
use crate::{
    access::{Action, Viewer},
    error::Result,
    journal::{NOTIFICATIONS_READ, Viewing},
};

/// The longest list inside an event.
pub(super) const MOST: usize = 100;

/// Something happened in the viewer's tray, at the cursor's place in the journal.
#[derive(Debug, Clone)]
pub struct TrayEvent {
    pub cursor: String,
    /// Empty where they are gone.
    pub notifications: Vec<notification::Model>,
    /// Which.
    pub ids: Vec<Uuid>,
}

impl Notifications {
    /// What is added to the viewer's tray, one event per notification, after the journal cursor `after`.
    pub async fn added(
        &self,
        viewer: &Viewer,
        after: Option<&str>,
    ) -> Result<impl Stream<Item = Result<TrayEvent>> + use<>> {
        self.happened(viewer, after, "notification.added", 1).await
    }

    /// What the viewer reads, in any window, after the journal cursor `after`.
    pub async fn read(
        &self,
        viewer: &Viewer,
        after: Option<&str>,
    ) -> Result<impl Stream<Item = Result<TrayEvent>> + use<>> {
        self.happened(viewer, after, NOTIFICATIONS_READ, MOST).await
    }

    /// What leaves the viewer's tray because it is not true any more, after the journal cursor `after`.
    pub async fn removed(
        &self,
        viewer: &Viewer,
        after: Option<&str>,
    ) -> Result<impl Stream<Item = Result<TrayEvent>> + use<>> {
        self.happened(viewer, after, REMOVED, MOST).await
    }

    async fn happened(
        &self,
        viewer: &Viewer,
        after: Option<&str>,
        action: &'static str,
        most: usize,
    ) -> Result<impl Stream<Item = Result<TrayEvent>> + use<>> {
        let place = match after {
            Some(cursor) => Some(self.journal.place(viewer, Topic::Notifications, cursor).await?),
            None => None,
        };
        let viewing = self.journal.follow_as(viewer, Topic::Notifications, place).await?;
        let walk = Walk { tray: self.clone(), viewing, action, most, ready: VecDeque::new() };
        Ok(stream::try_unfold(walk, |mut walk| async move {
            let event = walk.next().await?;
            Ok(Some((event, walk)))
        }))
    }
}

/// One subscriber's way.
struct Walk {
    tray: Notifications,
    viewing: Viewing,
    action: &'static str,
    most: usize,
    ready: VecDeque<TrayEvent>,
}

impl Walk {
    async fn next(&mut self) -> Result<TrayEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let entry = self.viewing.next().await?;
            if entry.action != self.action {
                continue;
            }
            let mine = |told: &&crate::journal::Told| Some(told.user) == self.viewing.viewer().user();
            let facts = entry.facts(self.tray.journal.counts())?;
            let ids: Vec<Uuid> = facts.notifications().iter().filter(mine).map(|told| told.notification).collect();
            drop(facts);
            for part in ids.chunks(self.most) {
                if let Some((notifications, ids)) = self.shown(part).await? {
                    let cursor = self.tray.journal.cursor(self.viewing.viewer(), entry.seq);
                    self.ready.push_back(TrayEvent { cursor, notifications, ids });
                }
            }
        }
    }

    /// Those of `ids` that are in the viewer's tray; of those that left it, the ids. None: nothing to tell.
    async fn shown(&self, ids: &[Uuid]) -> Result<Option<(Vec<notification::Model>, Vec<Uuid>)>> {
        let viewer = self.viewing.viewer();
        if self.action == REMOVED {
            return Ok(viewer.may(Action::BeNotified).ok().map(|_| (Vec::new(), ids.to_vec())));
        }
        let rows = self.tray.by_ids(viewer, ids).await?;
        let found = rows.iter().map(|row| row.id).collect();
        Ok((!rows.is_empty()).then_some((rows, found)))
    }
}
