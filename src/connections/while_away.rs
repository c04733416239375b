//! Writing what must not be lost, while the database is away.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

use crate::error::{Error, Result};

/// How long to wait at first before it is tried again; the wait doubles from then on,
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Does `work` once more as long as the database cannot, until `until`. The database may have done it and not said so:
/// `work` has to bear being done twice.
pub(super) async fn while_away<T, F>(until: Instant, work: impl Fn() -> F) -> Result<T>
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
