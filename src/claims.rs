//! Claims: the right to work on a row, over all nodes, until a deadline that is kept up while the work lasts.
//!
//! The rows that are claimed belong to other rooms, which write owner and deadline and say how the deadline moves. A claim
//! whose holder was killed runs out by itself. It costs a call when it is lost, and no truth: what is written under one goes by a version as well.

use std::{convert::Infallible, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ColumnTrait, Condition};

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
