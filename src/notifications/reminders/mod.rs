//! Reminders: one e-mail a day to each person whose connections have been disconnected for a day.
//!
//! A run prepares them: for each person who is owed one it writes a reminder with its disconnections, each
//! (disconnection, person) once for ever, each (person, day) once. It does so in parts ([`prepare`]), and only its last
//! makes the reminders due, so that a letter tells all of a day. Delivering them ([`delivery`]) is work of its own, under a
//! claim, and may fail and be tried again. So neither a crash nor a second node nor a changed clock doubles one; what was
//! missed while the server was down is prepared on its return, by the last run alone.
//!
//! | file | owns |
//! | --- | --- |
//! | `runs.rs` | when |
//! | `owed.rs` | whom, and of what |
//! | `prepare.rs` | what a run writes |
//! | `telling.rs` | the letter about it |
//! | `delivery.rs` | handing over, and what becomes of what was not taken |

mod delivery;
mod owed;
mod prepare;
mod runs;
mod telling;

pub use delivery::JOB;

use entity::reminder;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};

use super::Notifications;
use crate::{
    clock::{SharedClock, SharedEntropy},
    db::Db,
    error::Result,
    journal::Journal,
    mail::Mailer,
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
