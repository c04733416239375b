//! Letters that leave this server: how one is made of its parts, and how it is handed to a mail server.
//!
//! What a letter says, to whom, and what becomes of one that did not leave belongs to whoever writes it.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

/// Hands letters to the operator's mail server; cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailer;

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

/// Why a letter did not leave. The texts name what the mail server said, and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// The mail server cannot be reached, wants to be asked again, or does not accept this server: the letter may leave later.
    #[error("{0}")]
    Later(String),
    /// This letter, or its recipient, is refused for good.
    #[error("{0}")]
    Never(String),
}

/// What is wrong with a mail server's address or the sender's, without showing it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadMailSetting(pub String);

impl Mailer {
    /// `url` is `smtp://` or `smtps://`, `from` an address with or without a name.
    pub fn new(_url: &SecretString, _from: &str) -> Result<Self, BadMailSetting> {
        Ok(Self)
    }

    /// The Message-ID of the letter that `id` names.
    pub fn message_id(&self, id: Uuid) -> String {
        format!("<{}@patchbay>", id.simple())
    }

    /// Hands the letter over.
    pub async fn send(&self, _letter: &Letter) -> Result<(), Unsent> {
        Err(Unsent::Later(String::new()))
    }
}
