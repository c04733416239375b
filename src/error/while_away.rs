//! Doing again what a database that is away could not do: for what must not be lost.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Error, Result};

/// How long to wait at first before it is tried again; the wait doubles from then on,
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Does `work` once more as long as the database cannot, until `until`. The database may have done it and not said so:
/// `work` has to bear being done twice.
pub async fn while_away<T, F>(until: Instant, work: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut wait = FIRST_WAIT;
    loop {
        match work().await {
            Err(Error::Unavailable) if Instant::now() + wait < until => sleep(wait).await,
            done => return done,
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
