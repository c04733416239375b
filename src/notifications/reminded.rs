//! When reminders of a disconnection left, as far as the viewer is concerned.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{ReminderStatus, reminder, reminder_disconnection};
use sea_orm::{ColumnTrait, Condition, EntityTrait, JoinType, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::Notifications;
use crate::{
    access::{Action, Reach, Viewer},
    error::Result,
};

impl Notifications {
    /// When the viewer's reminder of each of `disconnections` left; for ADMIN and STAFF, the first one's.
    pub async fn reminded(&self, viewer: &Viewer, disconnections: &[Uuid]) -> Result<HashMap<Uuid, DateTime<Utc>>> {
        let whose = match Action::BeNotified.reach(viewer.role()) {
            Reach::Everything => None,
            Reach::MadeOrShared | Reach::Made => Some(viewer.require_user()?),
            Reach::OwnClient | Reach::Nothing => return Ok(HashMap::new()),
        };
        let mine = whose.map(|user| reminder_disconnection::Column::UserId.eq(user));
        let its_reminder = reminder_disconnection::Entity::belongs_to(reminder::Entity)
            .from(reminder_disconnection::Column::ReminderId)
            .to(reminder::Column::Id);
        let rows: Vec<(Uuid, DateTime<Utc>)> = reminder_disconnection::Entity::find()
            .select_only()
            .column(reminder_disconnection::Column::DisconnectionId)
            .column_as(reminder::Column::SentAt.min(), "sent_at")
            .join(JoinType::InnerJoin, its_reminder.into())
            .filter(reminder::Column::WorkspaceId.eq(viewer.workspace()))
            .filter(reminder::Column::Status.eq(ReminderStatus::Sent))
            .filter(reminder_disconnection::Column::DisconnectionId.is_in(disconnections.iter().copied()))
            .filter(Condition::all().add_option(mine))
            .group_by(reminder_disconnection::Column::DisconnectionId)
            .into_tuple()
            .all(self.db.reader())
            .await?;
        Ok(rows.into_iter().collect())
    }
}
