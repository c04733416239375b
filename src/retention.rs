//! Deleting what was kept long enough: a part at a time, each in a short transaction, between which others write.
//!
//! Several nodes may sweep at once: one passes over the rows that another has locked. What is old enough, and what else
//! goes with it, is for the room to say that owns the rows.

use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{LockBehavior, LockType},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    db::{Db, Transaction},
    error::Result,
};

/// How many rows go in one transaction.
pub const PART: u64 = 500;

/// Rows that are to be deleted, and locked until the transaction ends.
pub struct Part {
    pub txn: Transaction,
    pub ids: Vec<Uuid>,
}

/// The next rows that `old` finds, at most `most` of them, by their `id`, locked. None where there are no more, another
/// node has them, or the server stops.
pub async fn next_part<E: EntityTrait>(
    db: &Db,
    id: E::Column,
    old: &Select<E>,
    most: u64,
    stop: &CancellationToken,
) -> Result<Option<Part>> {
    match find_part(db, id, old, most, stop).await? {
        Some(found) => lock_part(db, id, old, found).await,
        None => Ok(None),
    }
}

/// The same, not locked: looking for them in the transaction would keep others from writing meanwhile.
pub async fn find_part<E: EntityTrait>(
    db: &Db,
    id: E::Column,
    old: &Select<E>,
    most: u64,
    stop: &CancellationToken,
) -> Result<Option<Vec<Uuid>>> {
    if stop.is_cancelled() {
        return Ok(None);
    }
    let found = old.clone().select_only().column(id).limit(most);
    let found: Vec<Uuid> = found.into_tuple().all(db.reader()).await?;
    Ok((!found.is_empty()).then_some(found))
}

/// Those of `found` that `old` still finds and that are free.
pub async fn lock_part<E: EntityTrait>(
    db: &Db,
    id: E::Column,
    old: &Select<E>,
    found: Vec<Uuid>,
) -> Result<Option<Part>> {
    let txn = db.begin().await?;
    let ids: Vec<Uuid> = old
        .clone()
        .select_only()
        .column(id)
        .filter(id.is_in(found))
        .order_by_asc(id)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_tuple()
        .all(&txn)
        .await?;
    Ok((!ids.is_empty()).then_some(Part { txn, ids }))
}

/// Deletes all rows that `old` finds, and that nothing else goes with.
pub async fn delete_old<E: EntityTrait>(
    db: &Db,
    id: E::Column,
    old: &Select<E>,
    stop: &CancellationToken,
) -> Result<()> {
    while let Some(Part { txn, ids }) = next_part(db, id, old, PART, stop).await? {
        E::delete_many().filter(id.is_in(ids)).exec(&txn).await?;
        txn.commit().await?;
    }
    Ok(())
}
