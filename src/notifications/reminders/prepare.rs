//! What a run writes: reminders, and which disconnections each tells of.
//!
//! A run over many disconnections is many short transactions, between which others write. Each is whole by itself, and
//! may be done again. A reminder that is being prepared is due at no time (`send_at` is null); the last transaction makes
//! them due and notes the run. Should the server stop before, the run goes on from the beginning and finds done what is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{ReminderStatus, reminder, reminder_disconnection, workspace};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use super::{
    Reminders,
    owed::{BATCH, People, lasting_since, owed},
    runs::{Run, last_run},
};
use crate::{
    db::Transaction,
    error::Result,
    ids::{self, Kind},
    people::{hold_people, users_of},
};

/// How many (disconnection, person) one transaction writes: a few tens of milliseconds, in which nothing else is written
/// to SQLite.
const AT_ONCE: usize = 2_000;

impl Reminders {
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
        let Some(run) = self.run_to_prepare(workspace)? else { return Ok(()) };
        let since = run.at - TimeDelta::hours(workspace.reminder_after_hours.into());
        let people = People::of(self.db.reader(), workspace.id).await?;
        let mut last = None;
        loop {
            let part = lasting_since(self.db.reader(), workspace.id, since, last.as_ref()).await?;
            let owed = owed(self.db.reader(), workspace.id, &people, &part).await?;
            let ids: Vec<Uuid> = part.iter().map(|one| one.id).collect();
            let known = reminded_before(self.db.reader(), &ids).await?;
            let new: Vec<(Uuid, Uuid)> = owed.into_iter().filter(|pair| !known.contains(pair)).collect();
            for some in new.chunks(AT_ONCE) {
                if !self.write_part(workspace.id, &run, some).await? {
                    return Ok(());
                }
            }
            last = part.into_iter().next_back();
            if last.is_none() {
                return self.finish_run(workspace.id, &run).await;
            }
        }
    }

    fn run_to_prepare(&self, workspace: &workspace::Model) -> Result<Option<Run>> {
        let run = last_run(workspace, self.clock.now())?;
        Ok(Some(run).filter(|run| workspace.reminded_at.is_none_or(|last| last < run.at)))
    }

    /// Whether this is still the run to prepare: another node may have been faster, or the hour was moved. Until the
    /// transaction ends, neither happens.
    async fn hold_run(&self, txn: &Transaction, workspace: Uuid, run: &Run) -> Result<bool> {
        hold_people(txn, workspace).await?;
        let held = workspace::Entity::find_by_id(workspace).one(txn).await?;
        let to_prepare = held.map(|held| self.run_to_prepare(&held)).transpose()?.flatten();
        Ok(to_prepare.as_ref() == Some(run))
    }

    /// Writes (disconnection, person) that were not told before to the reminders of the day. False where the run is over.
    async fn write_part(&self, workspace: Uuid, run: &Run, pairs: &[(Uuid, Uuid)]) -> Result<bool> {
        use reminder_disconnection::Column::{DisconnectionId, UserId};
        let txn = self.db.begin().await?;
        if !self.hold_run(&txn, workspace, run).await? {
            return Ok(false);
        }
        let people: BTreeSet<Uuid> = pairs.iter().map(|(_, person)| *person).collect();
        let people: Vec<Uuid> = people.into_iter().collect();
        let mut reminders = HashMap::new();
        for part in people.chunks(BATCH) {
            reminders.extend(self.reminders_of(&txn, workspace, run, part).await?);
        }
        let once = OnConflict::columns([DisconnectionId, UserId]).do_nothing().to_owned();
        let rows: Vec<_> = pairs
            .iter()
            .filter_map(|(disconnection, person)| {
                Some(reminder_disconnection::ActiveModel {
                    disconnection_id: Set(*disconnection),
                    user_id: Set(*person),
                    reminder_id: Set(*reminders.get(person)?),
                })
            })
            .collect();
        for part in rows.chunks(BATCH) {
            reminder_disconnection::Entity::insert_many(part.iter().cloned())
                .on_conflict(once.clone())
                .exec_without_returning(&txn)
                .await?;
        }
        txn.commit().await?;
        Ok(true)
    }

    /// By person, the reminder that may take more along: one that has not left yet, else a new one; none where the day's has
    /// left.
    async fn reminders_of(
        &self,
        txn: &Transaction,
        workspace: Uuid,
        run: &Run,
        people: &[Uuid],
    ) -> Result<BTreeMap<Uuid, Uuid>> {
        let (now, day) = (self.clock.now(), run.day.to_string());
        let theirs = || reminder::Entity::find().filter(reminder::Column::UserId.is_in(people.iter().copied()));
        let waiting = theirs()
            .filter(reminder::Column::Status.eq(ReminderStatus::Pending))
            .order_by_asc(reminder::Column::Id)
            // Whoever delivers it at this moment writes first what it told, or sees what is added.
            .lock_exclusive()
            .all(txn)
            .await?;
        let of_today: HashSet<Uuid> = theirs()
            .select_only()
            .column(reminder::Column::UserId)
            .filter(reminder::Column::Day.eq(&day))
            .into_tuple::<Uuid>()
            .all(txn)
            .await?
            .into_iter()
            .collect();
        // The newest of each person.
        let taking: BTreeMap<Uuid, Uuid> = waiting.iter().map(|row| (row.user_id, row.id)).collect();
        let these = reminder::Column::Id.is_in(taking.values().copied());
        reminder::Entity::update_many()
            .col_expr(reminder::Column::SendAt, Expr::value(None::<DateTime<Utc>>))
            .filter(these)
            .filter(reminder::Column::SendAt.is_not_null())
            .exec(txn)
            .await?;
        let of_another_day = taking.iter().filter(|(person, _)| !of_today.contains(person)).map(|(_, id)| *id);
        reminder::Entity::update_many()
            .col_expr(reminder::Column::Day, Expr::value(day.clone()))
            .filter(reminder::Column::Id.is_in(of_another_day))
            .exec(txn)
            .await?;
        let without = people.iter().filter(|person| !taking.contains_key(person) && !of_today.contains(person));
        let new = without.map(|person| reminder::ActiveModel {
            id: Set(ids::new(now, &*self.entropy)),
            workspace_id: Set(workspace),
            user_id: Set(*person),
            day: Set(day.clone()),
            status: Set(ReminderStatus::Pending),
            failures: Set(0),
            unheard: Set(0),
            send_at: Set(None),
            problem: Set(None),
            claimed_by: Set(None),
            claimed_until: Set(None),
            created_at: Set(now),
            sent_at: Set(None),
        });
        let once = OnConflict::columns([reminder::Column::UserId, reminder::Column::Day]).do_nothing().to_owned();
        let new = reminder::Entity::insert_many(new).on_conflict(once).exec_with_returning(txn).await?;
        Ok(taking.into_iter().chain(new.into_iter().map(|row| (row.user_id, row.id))).collect())
    }

    /// Notes the run, and makes due what it prepared.
    async fn finish_run(&self, workspace: Uuid, run: &Run) -> Result<()> {
        let txn = self.db.begin().await?;
        if !self.hold_run(&txn, workspace, run).await? {
            return Ok(());
        }
        let people = users_of(workspace).select_only().column(entity::user::Column::Id).into_query();
        reminder::Entity::update_many()
            .col_expr(reminder::Column::SendAt, Expr::value(self.clock.now()))
            .filter(reminder::Column::UserId.in_subquery(people))
            .filter(reminder::Column::Status.eq(ReminderStatus::Pending))
            .filter(reminder::Column::SendAt.is_null())
            .exec(&txn)
            .await?;
        workspace::Entity::update_many()
            .col_expr(workspace::Column::RemindedAt, Expr::value(run.at))
            .filter(workspace::Column::Id.eq(workspace))
            .exec(&txn)
            .await?;
        txn.commit().await?;
        Ok(())
    }
}

/// Who was reminded of which of `disconnections`, or will be.
async fn reminded_before(db: &impl ConnectionTrait, disconnections: &[Uuid]) -> Result<HashSet<(Uuid, Uuid)>> {
    use reminder_disconnection::Column::{DisconnectionId, UserId};
    let pairs: Vec<(Uuid, Uuid)> = reminder_disconnection::Entity::find()
        .select_only()
        .columns([DisconnectionId, UserId])
        .filter(DisconnectionId.is_in(disconnections.iter().copied()))
        .into_tuple()
        .all(db)
        .await?;
    Ok(pairs.into_iter().collect())
}
