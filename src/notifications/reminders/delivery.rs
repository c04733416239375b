//! Handing reminders to the mail server: each under a claim, with what still lasts at that moment.
//!
//! A reminder is handed over before it is recorded as sent. Should the server be killed between the two, it is handed over
//! once more by whoever inherits the claim, under the same Message-ID, by which mail servers and readers know it again. The same
//! is done where the mail server's answer is not heard, a few times.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{ReminderStatus, Topic, reminder, reminder_disconnection, user, workspace};
use futures_util::{StreamExt, stream};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::{Expr, LockBehavior, LockType},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    Reminders,
    owed::{BATCH, owed_to},
};
use crate::{
    access::Viewer,
    claims::{self, CLAIMED},
    db::{Transaction, beside},
    error::{Error, Result},
    ids::{self, Kind},
    journal::{Facts, NewEntry},
    mail::Unsent,
};

/// The job that reminds.
pub const JOB: &str = "remind";
/// How many are handed over at once by one node.
const AT_ONCE: usize = 4;
/// How often one is handed over at most without hearing whether it was taken: each time, somebody may get it once more.
const MOST_UNHEARD: i32 = 3;
/// How long after the first failure it is tried again; the wait doubles from then on.
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(1);
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);
/// How long one waits that failed by no fault of the mail server's.
const AFTER_A_FAILURE: TimeDelta = TimeDelta::minutes(1);

/// The right to deliver a reminder.
#[derive(Debug, Clone, Copy)]
struct Claim {
    run: Uuid,
    reminder: Uuid,
}

/// What became of one. Those that are over say of which disconnections the person was told.
enum Outcome {
    Sent(Vec<Uuid>),
    /// There is nothing to tell any more, or nobody to tell it to.
    Dropped,
    /// For good.
    Refused(Vec<Uuid>, String),
    PutOff {
        problem: String,
        /// It was handed over all the same.
        unheard: bool,
    },
}

impl Reminders {
    /// Delivers a few of those that are due; none where nothing is. How many failed for want of anything but a mail server
    /// that takes them.
    pub async fn deliver_some(&self) -> Result<Option<usize>> {
        let mut claims = Vec::new();
        for reminder in self.due().await? {
            claims.extend(self.claim(reminder).await?);
        }
        if claims.is_empty() {
            return Ok(None);
        }
        let delivered = stream::iter(claims).map(|claim| beside(self.deliver_claimed(claim))).buffer_unordered(AT_ONCE);
        Ok(Some(delivered.filter(|delivered| std::future::ready(!*delivered)).count().await))
    }

    /// The next that are due and free.
    async fn due(&self) -> Result<Vec<Uuid>> {
        let now = self.clock.now();
        Ok(reminder::Entity::find()
            .select_only()
            .column(reminder::Column::Id)
            .filter(reminder::Column::SendAt.lte(now))
            .filter(claims::unclaimed(reminder::Column::ClaimedUntil, self.db.time(now).await?))
            .order_by_asc(reminder::Column::SendAt)
            .limit(AT_ONCE as u64)
            .into_tuple()
            .all(self.db.reader())
            .await?)
    }

    async fn claim(&self, reminder: Uuid) -> Result<Option<Claim>> {
        let now = self.clock.now();
        let run = ids::new(now, &*self.entropy);
        let by = self.db.time(now).await?;
        let free = reminder::Entity::find()
            .select_only()
            .column(reminder::Column::Id)
            .filter(reminder::Column::Id.eq(reminder))
            .filter(reminder::Column::SendAt.lte(now))
            .filter(claims::unclaimed(reminder::Column::ClaimedUntil, by))
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .into_query();
        let claimed = reminder::Entity::update_many()
            .col_expr(reminder::Column::ClaimedBy, Expr::value(run))
            .col_expr(reminder::Column::ClaimedUntil, Expr::value(by + CLAIMED))
            .filter(reminder::Column::Id.in_subquery(free))
            .exec(self.db.leases())
            .await?;
        Ok((claimed.rows_affected == 1).then_some(Claim { run, reminder }))
    }

    async fn prolong(&self, claim: Claim) -> Result<()> {
        let txn = self.db.begin_lease().await?;
        let until = txn.time(self.clock.now()).await? + CLAIMED;
        reminder::Entity::update_many()
            .col_expr(reminder::Column::ClaimedUntil, Expr::value(until))
            .filter(reminder::Column::Id.eq(claim.reminder))
            .filter(reminder::Column::ClaimedBy.eq(claim.run))
            .exec(&txn)
            .await?;
        Ok(txn.commit().await?)
    }

    /// Delivers one that is claimed. Whether that went as it should, be it that the mail server did not take it.
    async fn deliver_claimed(&self, claim: Claim) -> bool {
        let delivered = async {
            let row = reminder::Entity::find_by_id(claim.reminder).one(self.db.reader()).await?;
            let row = row.ok_or_else(|| Error::internal("a reminder that is gone"))?;
            let outcome = self.hand_over(&row).await?;
            self.record(claim, &row, outcome).await
        };
        let Err(error) = claims::under(delivered, || self.prolong(claim)).await else { return true };
        tracing::error!(job = JOB, reminder = %claim.reminder, ?error, "this one failed; it is tried again");
        if let Err(error) = self.put_off(claim).await {
            tracing::error!(job = JOB, reminder = %claim.reminder, ?error, "it could not be put off");
        }
        false
    }

    /// Gives back the claim of one that failed here, for a while.
    async fn put_off(&self, claim: Claim) -> Result<()> {
        reminder::Entity::update_many()
            .col_expr(reminder::Column::SendAt, Expr::value(self.clock.now() + AFTER_A_FAILURE))
            .col_expr(reminder::Column::ClaimedBy, Expr::value(None::<Uuid>))
            .col_expr(reminder::Column::ClaimedUntil, Expr::value(None::<DateTime<Utc>>))
            .filter(reminder::Column::Id.eq(claim.reminder))
            .filter(reminder::Column::ClaimedBy.eq(claim.run))
            .exec(self.db.writer())
            .await?;
        Ok(())
    }

    async fn hand_over(&self, row: &reminder::Model) -> Result<Outcome> {
        let person = user::Entity::find_by_id(row.user_id).one(self.db.reader()).await?;
        let Some(person) = person else { return Ok(Outcome::Dropped) };
        let listed = listed(self.db.reader(), row.id).await?;
        let lasting = owed_to(self.db.reader(), &person, &listed).await?;
        let workspace = workspace::Entity::find_by_id(row.workspace_id).one(self.db.reader()).await?;
        let workspace = workspace.ok_or_else(|| Error::internal("a reminder without its workspace"))?;
        let Some(letter) = self.letter(row, &workspace, &person, &lasting).await? else {
            return Ok(Outcome::Dropped);
        };
        let told = lasting.into_iter().map(|one| one.id).collect();
        Ok(match self.mailer.send(&letter).await {
            Ok(()) => Outcome::Sent(told),
            Err(Unsent::Never(problem)) => Outcome::Refused(told, problem),
            Err(Unsent::Later(problem)) => Outcome::PutOff { problem, unheard: false },
            Err(Unsent::Unheard(problem)) if row.unheard + 1 < MOST_UNHEARD => {
                Outcome::PutOff { problem, unheard: true }
            }
            Err(Unsent::Unheard(problem)) => {
                Outcome::Refused(told, format!("it may have been taken, or not: {problem}"))
            }
        })
    }

    /// Writes what became of a reminder, and gives the claim back. Where somebody else has it by now, nothing.
    async fn record(&self, claim: Claim, row: &reminder::Model, outcome: Outcome) -> Result<()> {
        let now = self.clock.now();
        let mut written = reminder::ActiveModel {
            claimed_by: Set(None),
            claimed_until: Set(None),
            send_at: Set(None),
            ..Default::default()
        };
        match &outcome {
            Outcome::Sent(_) => {
                written.status = Set(ReminderStatus::Sent);
                written.sent_at = Set(Some(now));
            }
            Outcome::Dropped => written.status = Set(ReminderStatus::Dropped),
            Outcome::Refused(_, problem) => {
                written.status = Set(ReminderStatus::Refused);
                written.problem = Set(Some(problem.clone()));
            }
            Outcome::PutOff { problem, unheard } => {
                written.failures = Set(row.failures.saturating_add(1));
                written.unheard = Set(row.unheard + i32::from(*unheard));
                written.send_at = Set(Some(now + wait(row.failures)));
                written.problem = Set(Some(problem.clone()));
            }
        }
        let txn = self.db.begin().await?;
        let updated = reminder::Entity::update_many()
            .set(written)
            .filter(reminder::Column::Id.eq(row.id))
            .filter(reminder::Column::ClaimedBy.eq(claim.run))
            .exec(&txn)
            .await?;
        if updated.rows_affected == 0 {
            return Ok(());
        }
        match &outcome {
            Outcome::Sent(told) | Outcome::Refused(told, _) => forget_untold(&txn, row.id, told).await?,
            Outcome::Dropped => forget_untold(&txn, row.id, &[]).await?,
            Outcome::PutOff { .. } => {}
        }
        self.journal.commit(txn, row.workspace_id, entry(row, &outcome).into_iter().collect()).await?;
        self.note(row, &outcome);
        Ok(())
    }

    fn note(&self, row: &reminder::Model, outcome: &Outcome) {
        let (reminder, user) = (row.id, Kind::User.of(row.user_id));
        match outcome {
            Outcome::Sent(told) => {
                self.letters.count("sent");
                tracing::info!(%reminder, %user, disconnections = told.len(), "a reminder left");
            }
            Outcome::Dropped => {
                self.letters.count("dropped");
                tracing::info!(%reminder, %user, "a reminder had nothing left to tell");
            }
            Outcome::PutOff { problem, .. } => {
                self.letters.count("put_off");
                tracing::warn!(%reminder, %user, problem, "a reminder could not leave; it is tried again");
            }
            Outcome::Refused(_, problem) => {
                self.letters.count("refused");
                tracing::warn!(%reminder, %user, problem, "a reminder was refused");
            }
        }
    }
}

/// The disconnections that a reminder is to tell of.
async fn listed(db: &impl ConnectionTrait, reminder: Uuid) -> Result<Vec<Uuid>> {
    Ok(reminder_disconnection::Entity::find()
        .select_only()
        .column(reminder_disconnection::Column::DisconnectionId)
        .filter(reminder_disconnection::Column::ReminderId.eq(reminder))
        .into_tuple()
        .all(db)
        .await?)
}

/// What the person was not told of, since it had healed, or was added while the letter left, is off the list: should it last, or
/// begin again, the next run tells it.
async fn forget_untold(txn: &Transaction, reminder: Uuid, told: &[Uuid]) -> Result<()> {
    let told: HashSet<&Uuid> = told.iter().collect();
    let untold: Vec<Uuid> = listed(txn, reminder).await?.into_iter().filter(|id| !told.contains(id)).collect();
    for part in untold.chunks(BATCH) {
        reminder_disconnection::Entity::delete_many()
            .filter(reminder_disconnection::Column::ReminderId.eq(reminder))
            .filter(reminder_disconnection::Column::DisconnectionId.is_in(part.iter().copied()))
            .exec(txn)
            .await?;
    }
    Ok(())
}

/// What the audit log tells of it.
fn entry(row: &reminder::Model, outcome: &Outcome) -> Option<NewEntry> {
    let (action, details) = match outcome {
        Outcome::Sent(told) => ("reminder.sent", json!({ "day": row.day, "disconnections": told.len() })),
        Outcome::Refused(told, problem) => {
            ("reminder.refused", json!({ "day": row.day, "disconnections": told.len(), "problem": problem }))
        }
        Outcome::Dropped | Outcome::PutOff { .. } => return None,
    };
    Some(NewEntry {
        topic: Topic::Audit,
        action,
        actor: Viewer::job(JOB, row.workspace_id).actor(),
        subject: Kind::User.of(row.user_id),
        facts: Facts::None,
        details,
    })
}

/// How long to wait after so many failures and one more.
fn wait(failures: i32) -> TimeDelta {
    let doublings = u32::try_from(failures).unwrap_or_default().min(16);
    (FIRST_WAIT * 2_i32.pow(doublings)).min(LONGEST_WAIT)
}
