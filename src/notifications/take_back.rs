//! Taking back what was told and is not true any more: it leaves the trays, and whoever follows theirs hears of that.

use std::collections::HashSet;

use entity::{NotificationKind, Topic, notification};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;
use uuid::Uuid;

use crate::{
    access::Actor,
    db::Transaction,
    error::Result,
    ids::NodeId,
    journal::{Facts, NewEntry, Told},
};

/// How many rows one statement deletes.
const BATCH: usize = 500;

/// What the journal's entries are called by which notifications leave trays.
pub(super) const REMOVED: &str = "notification.removed";

/// Takes back what was told of `occasion` as `kind`, from everybody; what that was. Where `again` is true once more, whoever
/// had read the untrue loses that as well: so they are told of it again by what tells it next, and nobody else is.
pub async fn take_back(
    txn: &Transaction,
    occasion: Uuid,
    kind: NotificationKind,
    again: Option<NotificationKind>,
) -> Result<Vec<notification::Model>> {
    // In one order, since they may be marked as read at this moment.
    let told = notification::Entity::find()
        .filter(notification::Column::Occasion.eq(occasion))
        .filter(notification::Column::Kind.is_in(again.into_iter().chain([kind])))
        .order_by_asc(notification::Column::Id)
        .lock_exclusive();
    let (untrue, rest): (Vec<_>, Vec<_>) = told.all(txn).await?.into_iter().partition(|row| row.kind == kind);
    let readers: HashSet<Uuid> = untrue.iter().filter(|row| row.read_at.is_some()).map(|row| row.user_id).collect();
    let taken: Vec<_> =
        untrue.into_iter().chain(rest.into_iter().filter(|row| readers.contains(&row.user_id))).collect();
    for part in taken.chunks(BATCH) {
        let ids = part.iter().map(|row| row.id);
        notification::Entity::delete_many().filter(notification::Column::Id.is_in(ids)).exec(txn).await?;
    }
    Ok(taken)
}

/// The journal's entry that tells of notifications that were taken back; none when there were none.
pub fn removed_entry(subject: NodeId, taken: &[notification::Model]) -> Option<NewEntry> {
    let told: Vec<Told> = taken.iter().map(|row| Told { user: row.user_id, notification: row.id }).collect();
    (!told.is_empty()).then(|| NewEntry {
        topic: Topic::Notifications,
        action: REMOVED,
        actor: Actor::default(),
        subject,
        details: json!({ "people": told.len() }),
        facts: Facts::Notifications(told),
    })
}
