//! What is old leaves the tray.

use chrono::TimeDelta;
use entity::{disconnection, notification};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect, QueryTrait};
use uuid::Uuid;

use super::Notifications;
use crate::error::Result;

/// How long a notification is kept.
const KEPT: TimeDelta = TimeDelta::days(90);
/// How many are deleted by one statement: nobody else writes to SQLite meanwhile.
const AT_ONCE: u64 = 1_000;

impl Notifications {
    /// Deletes what was told long ago, but not of what still lasts: its button is still needed, and whoever was told hears
    /// of its end.
    pub async fn sweep(&self) -> Result<()> {
        let lasting = disconnection::Entity::find()
            .select_only()
            .column(disconnection::Column::Id)
            .filter(disconnection::Column::EndedAt.is_null());
        let over = Condition::any()
            .add(notification::Column::DisconnectionId.is_null())
            .add(notification::Column::DisconnectionId.not_in_subquery(lasting.into_query()));
        let old = notification::Entity::find()
            .select_only()
            .column(notification::Column::Id)
            .filter(notification::Column::CreatedAt.lt(self.clock.now() - KEPT))
            .filter(over)
            .limit(AT_ONCE);
        loop {
            let ids: Vec<Uuid> = old.clone().into_tuple().all(self.db.reader()).await?;
            if ids.is_empty() {
                return Ok(());
            }
            let these = notification::Column::Id.is_in(ids);
            notification::Entity::delete_many().filter(these).exec(self.db.writer()).await?;
        }
    }
}
