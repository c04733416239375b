//! Reminders: one e-mail a day to each person whose connections have been disconnected for a day.
//!
//! A run prepares them: in one transaction it writes, for each person who is owed one, a reminder with its disconnections,
//! each (disconnection, person) once for ever, each (person, day) once. Delivering them ([`delivery`]) is work of its own, under a claim, and
//! may fail and be tried again. So neither a crash nor a second node nor a changed clock doubles one; what was missed while the server was
//! down is prepared on its return, by the last run alone.
//!
//! | file | owns |
//! | --- | --- |
//! | `runs.rs` | when |
//! | `owed.rs` | whom, and of what |
//! | `telling.rs` | the letter about it |
//! | `delivery.rs` | handing over, and what becomes of what was not taken |

mod delivery;
mod owed;
mod runs;
mod telling;

pub use delivery::JOB;

use std::collections::HashSet;

use chrono::TimeDelta;
use entity::{ReminderStatus, reminder, reminder_disconnection, workspace};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, TryInsertResult,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use self::{
    owed::{BATCH, Owed, Which, owed},
    runs::{Run, last_run},
};
use super::Notifications;
use crate::{
    clock::{SharedClock, SharedEntropy},
    db::{Db, Transaction},
    error::Result,
    ids::{self, Kind},
    journal::Journal,
    mail::Mailer,
    people::hold_people,
    telemetry::Letters,
};

/// Reminds people of what stays disconnected; cheap to clone.
#[derive(Clone)]
pub struct Reminders {
    db: Db,
    journal: Journal,
    notifications: Notifications,
    mailer: Mailer,
    letters: Letters,
    clock: SharedClock,
    entropy: SharedEntropy,
}

/// The parts that [`Reminders`] are made of.
pub struct Parts {
    pub db: Db,
    pub journal: Journal,
    pub notifications: Notifications,
    pub mailer: Mailer,
    pub letters: Letters,
    pub clock: SharedClock,
    pub entropy: SharedEntropy,
}

impl Reminders {
    pub fn new(parts: Parts) -> Self {
        let Parts { db, journal, notifications, mailer, letters, clock, entropy } = parts;
        Self { db, journal, notifications, mailer, letters, clock, entropy }
    }

    /// Prepares the reminders of every workspace whose run has come. One that fails does not stop the others; how many
    /// did.
    pub async fn prepare(&self) -> Result<usize> {
        let mut failed = 0;
        for workspace in workspace::Entity::find().all(self.db.reader()).await? {
            if let Err(error) = self.prepare_run(&workspace).await {
                failed += 1;
                tracing::error!(workspace = %Kind::Workspace.of(workspace.id), ?error, "its reminders could not be prepared; it is tried again");
            }
        }
        Ok(failed)
    }

    async fn prepare_run(&self, workspace: &workspace::Model) -> Result<()> {
        if self.run_to_prepare(workspace)?.is_none() {
            return Ok(());
        }
        let txn = self.db.begin().await?;
        // Held, and read again: another node may have been faster, or somebody moved the hour.
        hold_people(&txn, workspace.id).await?;
        let held = workspace::Entity::find_by_id(workspace.id).one(&txn).await?;
        let Some(workspace) = held else { return Ok(()) };
        let Some(run) = self.run_to_prepare(&workspace)? else { return Ok(()) };
        let since = run.at - TimeDelta::hours(workspace.reminder_after_hours.into());
        for owed in owed(&txn, workspace.id, Which::Since(since)).await? {
            self.prepare_for(&txn, &run, &owed).await?;
        }
        let mut workspace = workspace.into_active_model();
        workspace.reminded_at = Set(Some(run.at));
        workspace::Entity::update(workspace).exec(&txn).await?;
        txn.commit().await?;
        Ok(())
    }

    fn run_to_prepare(&self, workspace: &workspace::Model) -> Result<Option<Run>> {
        let run = last_run(workspace, self.clock.now())?;
        Ok(Some(run).filter(|run| workspace.reminded_at.is_none_or(|last| last < run.at)))
    }

    /// Writes what a person was not reminded of before to the reminder of the day; nothing where that has left already.
    async fn prepare_for(&self, txn: &Transaction, run: &Run, owed: &Owed) -> Result<()> {
        let ids: Vec<Uuid> = owed.outages.keys().copied().collect();
        let known = reminded_before(txn, owed.person.id, &ids).await?;
        let new: Vec<Uuid> = ids.into_iter().filter(|id| !known.contains(id)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let Some(reminder) = self.reminder_of(txn, run, owed).await? else { return Ok(()) };
        for part in new.chunks(BATCH) {
            let rows = part.iter().map(|disconnection| reminder_disconnection::ActiveModel {
                disconnection_id: Set(*disconnection),
                user_id: Set(owed.person.id),
                reminder_id: Set(reminder),
            });
            reminder_disconnection::Entity::insert_many(rows).exec_without_returning(txn).await?;
        }
        Ok(())
    }

    /// The reminder that may take more along: one that could not leave yet, else a new one; none where the day's has left.
    async fn reminder_of(&self, txn: &Transaction, run: &Run, owed: &Owed) -> Result<Option<Uuid>> {
        let (now, day) = (self.clock.now(), run.day.to_string());
        let waiting = reminder::Entity::find()
            .filter(reminder::Column::UserId.eq(owed.person.id))
            .filter(reminder::Column::Status.eq(ReminderStatus::Pending))
            .order_by_desc(reminder::Column::Id)
            // Whoever delivers it at this moment writes first what it told, or sees what is added.
            .lock_exclusive()
            .one(txn)
            .await?;
        if let Some(waiting) = waiting {
            let id = waiting.id;
            let mut waiting = waiting.into_active_model();
            waiting.send_at = Set(Some(now));
            if !has_day(txn, owed.person.id, &day).await? {
                waiting.day = Set(day);
            }
            reminder::Entity::update(waiting).exec(txn).await?;
            return Ok(Some(id));
        }
        let row = reminder::ActiveModel {
            id: Set(ids::new(now, &*self.entropy)),
            workspace_id: Set(owed.person.workspace_id),
            user_id: Set(owed.person.id),
            day: Set(day),
            status: Set(ReminderStatus::Pending),
            failures: Set(0),
            unheard: Set(0),
            send_at: Set(Some(now)),
            problem: Set(None),
            claimed_by: Set(None),
            claimed_until: Set(None),
            created_at: Set(now),
            sent_at: Set(None),
        };
        let id = row.id.clone().take();
        let once = OnConflict::columns([reminder::Column::UserId, reminder::Column::Day]).do_nothing().to_owned();
        let written = reminder::Entity::insert(row).on_conflict(once).try_insert().exec_without_returning(txn).await?;
        Ok(id.filter(|_| matches!(written, TryInsertResult::Inserted(rows) if rows > 0)))
    }

    /// Takes leave of the mail server.
    pub async fn close(&self) {
        self.mailer.close().await;
    }

    /// Makes whatever waits for another try due at once: for the start of a server, which may end an outage of its own.
    pub async fn hurry(&self) -> Result<()> {
        let now = self.clock.now();
        reminder::Entity::update_many()
            .col_expr(reminder::Column::SendAt, Expr::value(now))
            .filter(reminder::Column::SendAt.gt(now))
            .exec(self.db.writer())
            .await?;
        Ok(())
    }
}

/// Whether the person has a reminder of `day`.
async fn has_day(txn: &Transaction, person: Uuid, day: &str) -> Result<bool> {
    let its =
        reminder::Entity::find().filter(reminder::Column::UserId.eq(person)).filter(reminder::Column::Day.eq(day));
    Ok(its.count(txn).await? > 0)
}

/// Those of `disconnections` of which the person was reminded, or will be.
async fn reminded_before(txn: &Transaction, person: Uuid, disconnections: &[Uuid]) -> Result<HashSet<Uuid>> {
    use reminder_disconnection::Column::{DisconnectionId, UserId};
    let mut known = HashSet::new();
    for part in disconnections.chunks(BATCH) {
        let ids: Vec<Uuid> = reminder_disconnection::Entity::find()
            .select_only()
            .column(DisconnectionId)
            .filter(UserId.eq(person))
            .filter(DisconnectionId.is_in(part.iter().copied()))
            .into_tuple()
            .all(txn)
            .await?;
        known.extend(ids);
    }
    Ok(known)
}
