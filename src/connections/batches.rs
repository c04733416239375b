//! Working off what is due, a batch at a time: claimed together, worked on beside each other. One that fails does not
//! stop the others, and is due again a tick later.

use futures_util::{StreamExt, stream};
use uuid::Uuid;

use super::{
    Connections,
    account_checks::put_off_accounts,
    checks::Occasion,
    due::{Claim, Due},
};
use crate::{db::beside, error::Result, ids::Kind};

/// What came of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// Nothing was due.
    Empty,
    /// So many authorizations could not be worked on, which was logged.
    Worked { failed: usize },
}

impl Connections {
    /// Claims as many of a connector's authorizations that are due as may be asked at once, and works on them. Each is free
    /// again as soon as it is done, and need not wait for the slowest.
    pub async fn take_batch(&self, what: Due, slug: &str) -> Result<Batch> {
        let Some(connector) = self.connector_of(slug) else { return Ok(Batch::Empty) };
        if self.pause_left(slug, what.endpoint()).await?.is_some() {
            return Ok(Batch::Empty);
        }
        let Some(claim) = self.claim_due(what, slug, connector.pace.concurrent.into()).await? else {
            return Ok(Batch::Empty);
        };
        let ids = claim.authorizations.clone();
        let at_once = ids.len();
        let worked = stream::iter(ids).map(|id| beside(self.work_on(what, &claim, id))).buffer_unordered(at_once);
        let failed = worked.filter(|failed| std::future::ready(*failed)).count();
        self.under(&claim, async { Ok(Batch::Worked { failed: failed.await }) }).await
    }

    /// Works on one that is claimed, and gives it back. Whether it failed.
    async fn work_on(&self, what: Due, claim: &Claim, authorization: Uuid) -> bool {
        let failed = self.fails(what, authorization).await;
        // It runs out by itself; the others go on.
        if let Err(error) = self.release(claim, &[authorization]).await {
            tracing::warn!(authorization = %Kind::Authorization.of(authorization), ?error, "a claim could not be given back");
        }
        failed
    }

    async fn fails(&self, what: Due, authorization: Uuid) -> bool {
        let job = what.job();
        let done = match what {
            Due::Renewal => self.renew(job, authorization).await,
            Due::Probe => self.probe(Occasion::Due(job), authorization).await,
            Due::Accounts => self.probe_accounts(job, authorization).await,
        };
        let Err(error) = done else { return false };
        let shown = Kind::Authorization.of(authorization);
        tracing::error!(job, authorization = %shown, ?error, "this one failed; it is tried again");
        if what == Due::Accounts
            && let Err(error) = put_off_accounts(self.db.writer(), authorization, self.a_tick_later()).await
        {
            tracing::error!(job, authorization = %shown, ?error, "it could not be put off");
        }
        true
    }
}
