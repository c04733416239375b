//! Claims: the right to work on a row, over all nodes, until a deadline that is kept up while the work lasts. And of what is
//! due, which rows are worked on next.
//!
//! The rows that are claimed belong to other rooms, which write owner and deadline and say how the deadline moves. A claim
//! whose holder was killed runs out by itself. It costs a call when it is lost, and no truth: what is written under one goes by a version as well.

use std::{convert::Infallible, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Select};
use uuid::Uuid;

use crate::error::{Error, Result};

/// How long a claim lasts that nobody keeps up: as long as others wait for one whose holder was killed.
pub const CLAIMED: TimeDelta = TimeDelta::seconds(10);
/// How often a claim is kept up.
const KEEP_UP: Duration = Duration::from_secs(3);
/// How long keeping it up may take: past this it is tried again, before the claim ends.
const KEPT_UP_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait then.
const AGAIN: Duration = Duration::from_millis(500);
const _: () = assert!(KEEP_UP.as_secs() + KEPT_UP_WITHIN.as_secs() < CLAIMED.num_seconds().unsigned_abs());

/// Rows that nobody holds a claim on at `now`, the database's time: `until` is the column of the deadline.
pub fn unclaimed(until: impl ColumnTrait, now: DateTime<Utc>) -> Condition {
    Condition::any().add(until.is_null()).add(until.lte(now))
}

/// The ids of up to `most` of those that `longest` finds, in its order; it selects ids with their workspaces. Where most of
/// them are one workspace's, half of the places are for the others that have some: a workspace with ten thousand that are due
/// does not hold up one with a single one.
pub async fn parts<E: EntityTrait>(
    db: &impl ConnectionTrait,
    longest: Select<E>,
    of_workspace: impl ColumnTrait,
    most: u64,
) -> Result<Vec<Uuid>> {
    let mut found: Vec<(Uuid, Uuid)> = longest.clone().limit(most).into_tuple().all(db).await?;
    let all = usize::try_from(most).unwrap_or(usize::MAX);
    let half = all / 2;
    let has = |workspace: Uuid| found.iter().filter(|(_, its)| *its == workspace).count();
    let crowded = found.iter().map(|(_, workspace)| *workspace).find(|workspace| has(*workspace) > half);
    if let Some(crowded) = crowded.filter(|_| found.len() == all) {
        let others = longest.filter(of_workspace.ne(crowded)).limit(most / 2);
        let others: Vec<(Uuid, Uuid)> = others.into_tuple().all(db).await?;
        found.retain(|(_, workspace)| *workspace == crowded);
        found.truncate(all - others.len());
        found.extend(others);
    }
    Ok(found.into_iter().map(|(id, _)| id).collect())
}

/// Does `work` while `prolong` moves the deadline of its claim.
pub async fn under<T, P>(work: impl Future<Output = T>, prolong: impl Fn() -> P) -> T
where
    P: Future<Output = Result<()>>,
{
    // Beside each other: work that waits for keeping up, while that waits for the row that work has locked, would wait for
    // ever; and work that was cut off could lose the only copy of a token.
    tokio::select! {
        done = work => done,
        never = keep_up(prolong) => match never {},
    }
}

async fn in_time(prolonged: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(KEPT_UP_WITHIN, prolonged).await.unwrap_or(Err(Error::Unavailable))
}

async fn keep_up<P>(prolong: impl Fn() -> P) -> Infallible
where
    P: Future<Output = Result<()>>,
{
    loop {
        tokio::time::sleep(KEEP_UP).await;
        while let Err(error) = in_time(prolong()).await {
            tracing::warn!(?error, "a claim could not be kept up; it is tried again");
            tokio::time::sleep(AGAIN).await;
        }
    }
}
