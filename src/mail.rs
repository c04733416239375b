//! Letters that leave this server: how one is made of its parts, and how it is handed to a mail server.
//!
//! What a letter says, to whom, and what becomes of one that did not leave belongs to whoever writes it. How a letter
//! looks on the wire is in [`form`]; what the operator's mail server is, in [`server`]; what is said to it, in
//! [`conversation`].

mod conversation;
mod form;
mod idle;
mod replies;
mod server;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use lettre::{message::Mailbox, transport::smtp::client::AsyncSmtpConnection};
use secrecy::SecretString;
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

use self::{idle::Idle, server::Server};
use crate::tasks::Tasks;

/// How long it may take until a mail server is ready for a letter: names looked up, connected, encrypted, signed in.
const OPENING: Duration = Duration::from_secs(30);
/// How long it may take until a letter is announced (RFC 5321 §4.5.3.2.2 to §4.5.3.2.4).
const ANNOUNCING: Duration = Duration::from_secs(120);
/// How long it may take to hand one over. Some servers look for spam before they answer, and one that is not waited for
/// may have taken it (RFC 5321 §4.5.3.2.6).
const HANDING_OVER: Duration = Duration::from_secs(600);

/// Hands letters to the operator's mail server; cheap to clone.
#[derive(Clone)]
pub struct Mailer {
    inner: Arc<Inner>,
}

struct Inner {
    server: Server,
    from: Mailbox,
    idle: Arc<Idle>,
}

/// A letter to one person, in two forms that say the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Of [`Mailer::message_id`]: the same each time that the same letter is handed over.
    pub message_id: String,
    pub to_name: String,
    pub to_email: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub at: DateTime<Utc>,
    /// Where one request (RFC 8058) ends letters of this kind to this person.
    pub unsubscribe: Option<Url>,
}

/// Why a letter did not leave. The texts name what the mail server said, on one line of at most 200 characters, and no
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// The mail server cannot be reached, wants to be asked again, or does not accept this server: the letter may leave
    /// later. It may even have left, where the connection broke before the answer.
    #[error("{0}")]
    Later(String),
    /// It was handed over, and whether it was taken cannot be told: it may leave once more.
    #[error("{0}")]
    Unheard(String),
    /// This letter, or its recipient, is refused for good.
    #[error("{0}")]
    Never(String),
}

/// What is wrong with a setting, without showing it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMailSetting {
    /// The mail server's address.
    #[error("{0}")]
    Url(String),
    /// The sender.
    #[error("{0}")]
    From(String),
}

impl Mailer {
    /// `url` is `smtp://[USER:PASSWORD@]HOST[:PORT][?tls=none|opportunistic|required]` or
    /// `smtps://[USER:PASSWORD@]HOST[:PORT]`, `from` an address with or without a name. Nothing is connected yet.
    pub fn new(url: &SecretString, from: &str, tasks: Tasks) -> Result<Self, BadMailSetting> {
        let server = Server::parse(url)?;
        let from = form::sender(from).ok_or_else(|| {
            BadMailSetting::From(
                "must be an address, with or without a name; write for example Patchbay <patchbay@example.com>"
                    .to_owned(),
            )
        })?;
        Ok(Self { inner: Arc::new(Inner { server, from, idle: Idle::new(tasks) }) })
    }

    /// The Message-ID of the letter that `id` names.
    pub fn message_id(&self, id: Uuid) -> String {
        format!("<reminder.{}@{}>", id.simple(), self.inner.from.email.domain())
    }

    /// Hands the letter over.
    pub async fn send(&self, letter: &Letter) -> Result<(), Unsent> {
        let Inner { server, from, idle } = &*self.inner;
        let written = form::write(from, letter)?;
        let opening = timeout(OPENING, self.connection()).await;
        let mut connection = opening.unwrap_or_else(|_| Err(Unsent::Later(no_answer(OPENING))))?;
        let announcing = timeout(ANNOUNCING, conversation::announce(server, &mut connection, &written)).await;
        let announced = announcing.unwrap_or_else(|_| Err(Unsent::Later(no_answer(ANNOUNCING))));
        let handed_over = match announced {
            Ok(()) => timeout(HANDING_OVER, conversation::hand_over(server, &mut connection, &written))
                .await
                .unwrap_or_else(|_| Err(Unsent::Unheard(no_answer(HANDING_OVER)))),
            Err(unsent) => Err(unsent),
        };
        // After an error there may still come what nobody waits for.
        if handed_over.is_ok() {
            idle.keep(connection)
        } else {
            idle.leave(connection)
        }
        handed_over
    }

    /// Says goodbye to the mail server, before the process ends; takes two seconds at most. Another letter connects anew.
    pub async fn close(&self) {
        self.inner.idle.close().await;
    }

    /// One that works: an idle one that still answers, or else a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Unsent> {
        while let Some(mut connection) = self.inner.idle.take() {
            if connection.test_connected().await {
                return Ok(connection);
            }
        }
        conversation::open(&self.inner.server).await
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").finish_non_exhaustive()
    }
}

fn no_answer(within: Duration) -> String {
    format!("the mail server did not answer within {} s", within.as_secs())
}

/// Whether a letter can be addressed to it.
pub fn is_address(text: &str) -> bool {
    form::address(text).is_some()
}
