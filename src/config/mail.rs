//! The operator's mail server: two settings that go together. What is in them is for the room `mail` to judge.

use secrecy::SecretString;

use super::{parse, reader::Reader};

/// The settings, with what is said where one is missing.
const TOGETHER: [(&str, &str); 2] = [
    (
        "smtp_url",
        "not set, and it goes with PATCHBAY_MAIL_FROM; set it to the mail server, for example \
         smtp://USER:PASSWORD@mail.example.com:587",
    ),
    (
        "mail_from",
        "not set, and it goes with PATCHBAY_SMTP_URL; set it to the sender of reminders, for example \
         Patchbay <patchbay@example.com>",
    ),
];

/// Where letters are handed in, and who sends them.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// `smtp://…` or `smtps://…`; may hold a password.
    pub smtp_url: SecretString,
    /// An address, with or without a name.
    pub from: String,
}

/// The mail server, if one is meant. What is missing is noted.
pub(super) fn read(reader: &mut Reader) -> Option<MailSettings> {
    if !TOGETHER.iter().any(|(key, _)| reader.is_set(key)) {
        return None;
    }
    for (key, otherwise) in TOGETHER {
        if !reader.is_set(key) {
            reader.missing(key, otherwise);
        }
    }
    let smtp_url = reader.read("smtp_url", parse::one_text);
    let from = reader.read("mail_from", parse::one_text);
    Some(MailSettings { smtp_url: smtp_url?.into(), from: from? })
}
