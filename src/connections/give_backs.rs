//! Giving a grant back to its provider once nobody uses it: over all nodes, and after a crash.
//!
//! What is to be given back gets a row in the transaction by which the last use of it ends. Many providers end all grants
//! that an account gave this server when one of them is revoked. So a grant is not given back while the same account is
//! used here in another way, and none while somebody signs in: whose account that will be is not known yet.
//!
//! Sign-ins and give-backs keep out of each other's way by rows, over all nodes. Both write first and look second, so that
//! of two that begin at once at least one sees the other:
//!
//! | | writes | then looks | and if so |
//! | --- | --- | --- | --- |
//! | a sign-in, before it redeems its code | that it is `EXCHANGING` | whether a give-back of the connector is claimed | waits for that one |
//! | a give-back, before it is sent | its claim | whether a sign-in of the connector is `EXCHANGING` | leaves, and tries later |
//!
//! A claim is not kept up: it lasts longer than what is sent under it may take, also where its node is frozen meanwhile.

use std::{collections::HashSet, time::Duration};

use chrono::TimeDelta;
use entity::{AttemptStatus, attempt, authorization, give_back};
use futures_util::{StreamExt, stream};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, OnConflict},
};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Connections, credentials::Fresh, lifecycle::Change, list::BATCH};
use crate::{
    catalogue::Connector,
    claims::unclaimed,
    db::beside,
    error::Result,
    ids::{self, Kind},
    provider::{Credential, Failure},
    vault::{Place, SealedColumn},
};

/// When under a claim the provider is asked no more: sooner than a request to it ends otherwise, so that what ends it is known.
const SENT_WITHIN: Duration = Duration::from_secs(15);
/// How long a claim lasts: long enough for a provider to be done, by then, with what it was asked and did not answer.
const CLAIMED: TimeDelta = TimeDelta::seconds(45);
const _: () = assert!(2 * SENT_WITHIN.as_secs() < CLAIMED.num_seconds().unsigned_abs());
/// How often a sign-in looks whether the give-backs are over that it waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How many are given back at once.
const AT_ONCE: usize = 8;
/// How many are looked for in a round.
const ROUND: u64 = 100;
/// How long to wait at first before one is tried again; each time it is twice as long.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(1);
/// How long to wait at most where sign-ins were in the way,
const LONGEST_FOR_SIGN_INS: TimeDelta = TimeDelta::minutes(1);
/// and where the provider failed.
const LONGEST_FOR_PROVIDER: TimeDelta = TimeDelta::hours(1);
/// How long it is tried for.
const TRIED_FOR: TimeDelta = TimeDelta::days(1);

/// Who uses the account of a grant that is to be given back.
enum AccountUse {
    /// Nobody, and nobody signs in.
    Nobody,
    /// Somebody here, who gives it back in the end.
    Somebody,
    /// Somebody signs in: whose account it is will be known soon.
    PerhapsSoon,
}

/// What came of one try.
enum Tried {
    /// It is settled: the provider has it, or nobody is to give it back.
    Over,
    /// Again after a pause.
    Again(TimeDelta),
    /// The same, and the claim is left to run out: the provider may still be at it.
    Unanswered(TimeDelta),
}

/// Where the credential of a grant to give back is sealed.
fn place(row: Uuid) -> Place {
    SealedColumn::GiveBackCredential.of(row)
}

impl Connections {
    /// A grant of `workspace` that is to be given back; none where its provider takes none.
    fn draft_give_back(
        &self,
        workspace: Uuid,
        connector: &str,
        account: Option<&str>,
        credential: &Credential,
    ) -> Result<Option<give_back::Model>> {
        let can = |connector: &Connector| self.provider.can_revoke(connector, credential);
        if !self.connector_of(connector).is_some_and(|connector| can(&connector)) {
            return Ok(None);
        }
        let now = self.clock.now();
        let id = ids::new(now, &*self.entropy);
        Ok(Some(give_back::Model {
            id,
            workspace_id: workspace,
            connector: connector.to_owned(),
            account_id: account.map(ToOwned::to_owned),
            credential: self.seal(place(id), credential)?,
            created_at: now,
            due_at: now,
            tries: 0,
            claimed_by: None,
            claimed_until: None,
        }))
    }

    /// The same of a sign-in that nothing came of; none where it cannot be told whose account it is: whether that is used
    /// here cannot be told either.
    pub(super) fn sign_in_to_give_back(
        &self,
        workspace: Uuid,
        connector: &str,
        fresh: &Fresh,
    ) -> Result<Option<give_back::Model>> {
        let Some(account) = &fresh.account else { return Ok(None) };
        self.draft_give_back(workspace, connector, Some(&account.id), &fresh.credential)
    }

    /// Gives back what is due, or as much of it as is begun before `stop`.
    pub async fn give_back_due(&self, stop: &CancellationToken) -> Result<()> {
        let due = give_back::Entity::find()
            .select_only()
            .column(give_back::Column::Id)
            .filter(give_back::Column::DueAt.lte(self.clock.now()))
            .order_by_asc(give_back::Column::DueAt)
            .limit(ROUND)
            .into_tuple()
            .all(self.db.reader())
            .await?;
        self.give_back_each(due, stop).await;
        Ok(())
    }

    /// Tries to give these back at once. That goes on without its caller.
    pub(super) async fn give_back_now(&self, rows: Vec<Uuid>) {
        if rows.is_empty() {
            return;
        }
        let all = self.clone();
        // What a panic leaves undone is due still.
        let _ = self
            .tasks
            .spawn("give-back", async move {
                all.give_back_each(rows, &CancellationToken::new()).await;
            })
            .await;
    }

    async fn give_back_each(&self, rows: Vec<Uuid>, stop: &CancellationToken) {
        let trying = |row| async move {
            if stop.is_cancelled() {
                return;
            }
            if let Err(error) = beside(self.try_give_back(row)).await {
                tracing::warn!(give_back = %row, ?error, "a grant was not given back; it is tried again");
            }
        };
        stream::iter(rows).for_each_concurrent(AT_ONCE, trying).await;
    }

    /// Waits until the give-backs of a connector are over that may not have seen a sign-in. That one says already that it is
    /// under way: whatever is claimed from now on sees it.
    pub(super) async fn await_give_backs(&self, connector: &str) -> Result<()> {
        let mut before = self.claimed_give_backs(connector).await?;
        let until = Instant::now() + CLAIMED.to_std().unwrap_or_default();
        while !before.is_empty() && Instant::now() < until {
            sleep(LOOK_AGAIN).await;
            let still = self.claimed_give_backs(connector).await?;
            before.retain(|claim| still.contains(claim));
        }
        Ok(())
    }

    /// The claims that there are on give-backs of a connector.
    async fn claimed_give_backs(&self, connector: &str) -> Result<HashSet<Option<Uuid>>> {
        let now = self.db.time(self.clock.now()).await?;
        let claims: Vec<Option<Uuid>> = give_back::Entity::find()
            .select_only()
            .column(give_back::Column::ClaimedBy)
            .filter(give_back::Column::Connector.eq(connector))
            .filter(give_back::Column::ClaimedUntil.gt(now))
            .into_tuple()
            .all(self.db.reader())
            .await?;
        Ok(claims.into_iter().collect())
    }

    async fn try_give_back(&self, id: Uuid) -> Result<()> {
        let begun = Instant::now();
        let run = ids::new(self.clock.now(), &*self.entropy);
        if !self.claim_give_back(id, run).await? {
            return Ok(());
        }
        let found = give_back::Entity::find_by_id(id).one(self.db.reader()).await?;
        let Some(row) = found.filter(|row| row.claimed_by == Some(run)) else { return Ok(()) };
        let (tried, failed) = match self.settle_claimed(&row, begun).await {
            Ok(tried) => (tried, Ok(())),
            Err(error) => (Tried::Again(pause(row.tries, LONGEST_FOR_PROVIDER)), Err(error)),
        };
        self.note_tried(&row, run, tried).await?;
        failed
    }

    /// Sends a claimed one, unless its account is in use or may be soon.
    async fn settle_claimed(&self, row: &give_back::Model, begun: Instant) -> Result<Tried> {
        match self.use_of(row).await? {
            AccountUse::Nobody => self.send_back(row, begun).await,
            AccountUse::Somebody => Ok(Tried::Over),
            AccountUse::PerhapsSoon => Ok(Tried::Again(pause(row.tries, LONGEST_FOR_SIGN_INS))),
        }
    }

    /// Claims one that is due.
    async fn claim_give_back(&self, id: Uuid, run: Uuid) -> Result<bool> {
        let now = self.clock.now();
        let theirs = self.db.time(now).await?;
        let claimed = give_back::Entity::update_many()
            .col_expr(give_back::Column::ClaimedBy, Expr::value(run))
            .col_expr(give_back::Column::ClaimedUntil, Expr::value(theirs + CLAIMED))
            .filter(give_back::Column::Id.eq(id))
            .filter(give_back::Column::DueAt.lte(now))
            .filter(unclaimed(give_back::Column::ClaimedUntil, theirs))
            .exec(self.db.writer())
            .await?;
        Ok(claimed.rows_affected == 1)
    }

    /// Who uses the account of a claimed row. In this order, since a sign-in under way comes to wait, and one that waits to
    /// be an authorization: looking the other way round could miss it twice.
    async fn use_of(&self, row: &give_back::Model) -> Result<AccountUse> {
        let under_way = attempts(&row.connector, AttemptStatus::Exchanging);
        if under_way.one(self.db.reader()).await?.is_some() {
            return Ok(AccountUse::PerhapsSoon);
        }
        let Some(account) = &row.account_id else { return Ok(AccountUse::Nobody) };
        let waiting = attempts(&row.connector, AttemptStatus::NeedsDecision);
        let waiting = waiting.filter(attempt::Column::SignedInId.eq(account)).one(self.db.reader()).await?;
        if waiting.is_some() {
            return Ok(AccountUse::Somebody);
        }
        let authorized = authorization::Entity::find()
            .filter(authorization::Column::Connector.eq(&row.connector))
            .filter(authorization::Column::AccountId.eq(account))
            .filter(authorization::Column::RemovedAt.is_null())
            .one(self.db.reader())
            .await?;
        Ok(if authorized.is_some() { AccountUse::Somebody } else { AccountUse::Nobody })
    }

    /// Sends a claimed one to the provider, which has until a while after the claim was `begun`. Where that is over already,
    /// since this node was frozen or the database slow, nothing is sent.
    async fn send_back(&self, row: &give_back::Model, begun: Instant) -> Result<Tried> {
        let later = pause(row.tries, LONGEST_FOR_PROVIDER);
        let Some(connector) = self.connector_of(&row.connector) else { return Ok(Tried::Again(later)) };
        let credential = self.open_sealed(place(row.id), &row.credential)?;
        let answer = tokio::select! {
            biased;
            () = sleep_until(begun + SENT_WITHIN) => return Ok(Tried::Unanswered(later)),
            answer = self.provider.revoke(&connector, &credential) => answer,
        };
        let Err(failure) = answer else { return Ok(Tried::Over) };
        tracing::warn!(give_back = %row.id, connector = %connector.slug, %failure, "the provider did not take the grant back");
        Ok(match failure {
            Failure::Rejected(_) => Tried::Over,
            Failure::OurClientRejected => Tried::Again(later),
            Failure::Transient { retry_after, .. } => {
                let wanted = retry_after.and_then(|wait| TimeDelta::from_std(wait).ok()).unwrap_or_default();
                Tried::Again(later.max(wanted.min(LONGEST_FOR_PROVIDER)))
            }
        })
    }

    /// Writes what came of a try, where the claim is still ours.
    async fn note_tried(&self, row: &give_back::Model, run: Uuid, tried: Tried) -> Result<()> {
        let now = self.clock.now();
        let ours = Condition::all().add(give_back::Column::Id.eq(row.id)).add(give_back::Column::ClaimedBy.eq(run));
        let next = match tried {
            Tried::Over => None,
            Tried::Again(_) | Tried::Unanswered(_) if now > row.created_at + TRIED_FOR => {
                tracing::error!(give_back = %row.id, connector = %row.connector, "a grant could not be given back for a day: end it at the provider");
                None
            }
            Tried::Again(wait) => Some((wait, false)),
            Tried::Unanswered(wait) => Some((wait, true)),
        };
        let Some((wait, claimed)) = next else {
            give_back::Entity::delete_many().filter(ours).exec(self.db.writer()).await?;
            return Ok(());
        };
        let mut later = give_back::ActiveModel {
            due_at: Set(now + wait),
            tries: Set(row.tries.saturating_add(1)),
            ..Default::default()
        };
        if !claimed {
            (later.claimed_by, later.claimed_until) = (Set(None), Set(None));
        }
        give_back::Entity::update_many().set(later).filter(ours).exec(self.db.writer()).await?;
        Ok(())
    }
}

impl Change<'_> {
    /// The grant of a locked authorization, to be given back; none where it has none that the provider would take.
    pub(super) fn grant_of(&self, authorization: &authorization::Model) -> Option<give_back::Model> {
        authorization.credential.as_ref()?;
        let connections = self.connections;
        let drafted = connections.open(authorization).and_then(|credential| {
            let account = authorization.account_id.as_deref();
            connections.draft_give_back(self.workspace, &authorization.connector, account, &credential)
        });
        drafted.unwrap_or_else(|error| {
            let authorization = Kind::Authorization.of(authorization.id);
            tracing::error!(%authorization, ?error, "a credential could not be opened to be given back");
            None
        })
    }

    /// Notes a sign-in that nothing came of, to be given back.
    pub(super) async fn give_back(&mut self, fresh: &Fresh, connector: &str) -> Result<()> {
        let noted = self.connections.sign_in_to_give_back(self.workspace, connector, fresh)?;
        self.note_give_backs(noted.into_iter().collect()).await
    }

    /// Notes grants that are to be given back, which is tried once this is committed. One that is noted already stays.
    pub(super) async fn note_give_backs(&mut self, rows: Vec<give_back::Model>) -> Result<()> {
        let once = OnConflict::column(give_back::Column::Id).do_nothing().to_owned();
        self.to_give_back.extend(rows.iter().map(|row| row.id));
        for part in rows.chunks(BATCH) {
            give_back::Entity::insert_many(part.iter().cloned().map(give_back::ActiveModel::from))
                .on_conflict(once.clone())
                .exec_without_returning(&self.txn)
                .await?;
        }
        Ok(())
    }
}

/// How long to wait after so many tries and one more.
fn pause(tries: i32, longest: TimeDelta) -> TimeDelta {
    let doublings = u32::try_from(tries).unwrap_or_default().min(16);
    (FIRST_PAUSE * 2_i32.pow(doublings)).min(longest)
}

/// Attempts of a connector that have not ended, by their status; also those whose time is over, until they are ended.
fn attempts(connector: &str, status: AttemptStatus) -> Select<attempt::Entity> {
    attempt::Entity::find()
        .filter(attempt::Column::Connector.eq(connector))
        .filter(attempt::Column::Status.eq(status))
        .filter(attempt::Column::EndedAt.is_null())
}
