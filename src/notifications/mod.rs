//! The tray: what each person is told, once per occasion and kind.
//!
//! Rows are written inside the transaction of what they tell of ([`write()`]), and pushed by the journal after it. Who
//! hears of something is fixed when it is written; what is not true any more is taken back ([`take_back()`]). What an outage *is* belongs to [`crate::connections`].

mod changes;
mod letter;
mod preferences;
mod reminded;
mod reminders;
mod sweep;
mod take_back;
mod tray;
mod write;

pub use changes::TrayEvent;
pub use preferences::{Subscriber, UpdatePreferences};
pub use reminders::{JOB as REMIND, Parts as RemindersParts, Reminders};
pub use sweep::forget;
pub use take_back::{removed_entry, take_back};
pub use tray::{Notifications, Read, added_entry};
pub use write::{Covered, News, again, write, write_to_admins};
