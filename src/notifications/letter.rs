//! What a reminder says: plain words in two forms, text and HTML, made of the templates beside this file.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use url::Url;

/// What a person is reminded of in one e-mail.
#[derive(Debug, Clone)]
pub(super) struct Reminder<'a> {
    pub(super) workspace: &'a str,
    /// The person's name.
    pub(super) person: &'a str,
    /// In which times are told.
    pub(super) zone: Tz,
    pub(super) now: DateTime<Utc>,
    /// The longest lasting first; never empty.
    pub(super) outages: Vec<Outage>,
    /// Where the person turns reminders off.
    pub(super) unsubscribe: Url,
}

/// A disconnection, as far as it is the person's.
#[derive(Debug, Clone)]
pub(super) struct Outage {
    pub(super) connector: String,
    /// What the provider calls the account that signed in, where it is known.
    pub(super) account: Option<String>,
    /// Names, sorted, each once; none for connections of the workspace itself.
    pub(super) clients: Vec<String>,
    /// How many connections.
    pub(super) connections: usize,
    pub(super) since: DateTime<Utc>,
    /// What happened and what to do, for people.
    pub(super) message: String,
    /// Where its button leads.
    pub(super) url: Url,
}

/// A reminder in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

impl Reminder<'_> {
    /// Puts it in words.
    pub(super) fn in_words(&self) -> Words {
        Words { subject: String::new(), text: String::new(), html: String::new() }
    }
}
