//! What happens in a person's tray, live and replayed.

use std::collections::VecDeque;

use entity::{Topic, notification};
use futures_util::{Stream, stream};
use uuid::Uuid;

use super::Notifications;
use crate::{
    access::Viewer,
    error::Result,
    journal::{NOTIFICATIONS_READ, Viewing},
};

/// The longest list inside an event.
pub(super) const MOST: usize = 100;

/// Something happened in the viewer's tray, at the cursor's place in the journal.
#[derive(Debug, Clone)]
pub struct TrayEvent {
    pub cursor: String,
    pub notifications: Vec<notification::Model>,
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
                let notifications = self.tray.by_ids(self.viewing.viewer(), part).await?;
                if !notifications.is_empty() {
                    let cursor = self.tray.journal.cursor(self.viewing.viewer(), entry.seq);
                    self.ready.push_back(TrayEvent { cursor, notifications });
                }
            }
        }
    }
}
