//! What is old leaves the tray, and reminders go with the disconnections that they told of.

use chrono::TimeDelta;
use entity::{ReminderStatus, disconnection, notification, reminder, reminder_disconnection};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect, QueryTrait,
    sea_query::{Expr, ExprTrait as _},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Notifications;
use crate::{db::Transaction, error::Result, retention::delete_old};

/// How long a notification is kept.
const KEPT: TimeDelta = TimeDelta::days(90);
/// How long a reminder is kept that tells of nothing that is kept: longer than any day it could be sent on again.
const REMINDERS: TimeDelta = TimeDelta::days(30);

impl Notifications {
    /// Deletes what was told long ago, but not of what still lasts: its button is still needed, and whoever was told hears
    /// of its end. A reminder stays as long as a disconnection that it told of: nobody is reminded of one twice, and its
    /// history says when they were.
    pub async fn sweep(&self, stop: &CancellationToken) -> Result<()> {
        let now = self.clock.now();
        let lasting = disconnection::Entity::find()
            .select_only()
            .column(disconnection::Column::Id)
            .filter(disconnection::Column::EndedAt.is_null());
        let over = Condition::any()
            .add(notification::Column::DisconnectionId.is_null())
            .add(notification::Column::DisconnectionId.not_in_subquery(lasting.into_query()));
        let old = notification::Entity::find().filter(notification::Column::CreatedAt.lt(now - KEPT)).filter(over);
        delete_old(&self.db, notification::Column::Id, &old, stop).await?;
        let tells = reminder_disconnection::Entity::find()
            .select_only()
            .expr(Expr::value(1))
            .filter(
                Expr::col((reminder_disconnection::Entity, reminder_disconnection::Column::ReminderId))
                    .equals((reminder::Entity, reminder::Column::Id)),
            )
            .into_query();
        let old = reminder::Entity::find()
            .filter(reminder::Column::CreatedAt.lt(now - REMINDERS))
            .filter(reminder::Column::Status.ne(ReminderStatus::Pending))
            .filter(Expr::exists(tells).not());
        delete_old(&self.db, reminder::Column::Id, &old, stop).await
    }
}

/// Forgets what people were told of `disconnections`, and of which they were reminded: these are deleted in the same
/// transaction.
pub async fn forget(txn: &Transaction, disconnections: &[Uuid]) -> Result<()> {
    let told = notification::Column::DisconnectionId.is_in(disconnections.iter().copied());
    notification::Entity::delete_many().filter(told).exec(txn).await?;
    let reminded = reminder_disconnection::Column::DisconnectionId.is_in(disconnections.iter().copied());
    reminder_disconnection::Entity::delete_many().filter(reminded).exec(txn).await?;
    Ok(())
}
