//! What a reminder says: plain words in two forms, text and HTML, made of the templates beside this file.
//!
//! Everything that somebody typed, and everything that a provider said, is one line of bounded length before a template
//! sees it ([`phrases`]); the HTML template escapes it besides. Who is reminded of what, and when, is not decided here.

use askama::Template;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use url::Url;

mod phrases;
#[cfg(test)]
mod tests;

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
    /// Those that began after all of these, and are only counted.
    pub(super) rest: Rest,
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

/// Disconnections that are not told one by one.
#[derive(Debug, Clone, Default)]
pub(super) struct Rest {
    pub(super) count: usize,
    /// The names of their connectors, each once.
    pub(super) connectors: Vec<String>,
    /// When the last of them began.
    pub(super) newest: Option<DateTime<Utc>>,
}

/// A reminder in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// How many outages are told in full, where they fit.
pub(super) const MOST_TOLD: usize = 40;

/// How many bytes each form may have: Gmail cuts off what is beyond 102 KB.
const MOST_BYTES: usize = 96 * 1024;

impl Reminder<'_> {
    /// Puts it in words.
    pub(super) fn in_words(&self) -> Words {
        let mut told = self.outages.len().min(MOST_TOLD);
        loop {
            let words = self.telling(told);
            if told == 0 || words.text.len().max(words.html.len()) <= MOST_BYTES {
                return words;
            }
            // Long names and addresses: rather fewer outages than a letter without its end.
            told /= 2;
        }
    }

    /// In words, with the first `told` outages in full and the others counted.
    fn telling(&self, told: usize) -> Words {
        let all = self.outages.len() + self.rest.count;
        let subject = phrases::subject(&self.outages, &self.rest);
        let parts = Parts {
            greeting: phrases::greeting(self.person),
            lead: phrases::lead(&self.outages, &self.rest, self.now),
            outages: self.outages.iter().take(told).map(|outage| self.told(outage)).collect(),
            rest: phrases::rest(all - told),
            workspace: phrases::name(self.workspace),
            why: phrases::why(all),
            unsubscribe: self.unsubscribe.as_str(),
        };
        let preview = phrases::preview(&self.outages, all, self.now);
        let html = Html { subject: &subject, preview: &preview, parts: &parts }.to_string();
        let text = Text { parts: &parts }.to_string();
        Words { subject, text, html }
    }

    fn told<'o>(&self, outage: &'o Outage) -> Told<'o> {
        Told {
            connector: phrases::name(&outage.connector),
            account: outage.account.as_deref().and_then(phrases::account),
            clients: phrases::clients(&outage.clients),
            connections: phrases::connections(outage.connections),
            since: phrases::moment(outage.since, self.zone),
            lasting: phrases::lasting(self.now - outage.since),
            message: phrases::message(&outage.message),
            url: outage.url.as_str(),
        }
    }
}

/// What both forms say.
struct Parts<'a> {
    greeting: String,
    lead: String,
    outages: Vec<Told<'a>>,
    /// Of those that are not told in full.
    rest: Option<String>,
    workspace: String,
    why: &'static str,
    unsubscribe: &'a str,
}

/// An outage in words.
struct Told<'a> {
    connector: String,
    account: Option<String>,
    clients: String,
    /// None for a single one.
    connections: Option<String>,
    since: String,
    lasting: String,
    message: String,
    url: &'a str,
}

#[derive(Template)]
#[template(path = "notifications/letter.txt")]
struct Text<'a> {
    parts: &'a Parts<'a>,
}

#[derive(Template)]
#[template(path = "notifications/letter.html")]
struct Html<'a> {
    subject: &'a str,
    /// What a list of mails shows beside the subject.
    preview: &'a str,
    parts: &'a Parts<'a>,
}
