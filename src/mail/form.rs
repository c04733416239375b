//! A letter as it goes over the wire (RFC 5322, MIME), and the addresses on its envelope.
//!
//! Names and subjects are other people's words: in a header they are one line, and encoded. Nothing is added by chance: one
//! [`Letter`] is the same bytes each time.

use lettre::{
    Address, Message,
    message::{
        Body, Mailbox, MultiPart, SinglePart,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
};
use url::Host;
use uuid::Uuid;

use super::{Letter, Unsent};
use crate::line::one_line;

/// How much of a name or a subject a header shows, in characters: no line gets longer than the 998 octets of RFC 5322
/// §2.1.1.
const LONGEST: usize = 200;

/// A letter, ready to be handed over.
pub(super) struct Written {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) bytes: Vec<u8>,
}

/// Writes `letter` out.
pub(super) fn write(from: &Mailbox, letter: &Letter) -> Result<Written, Unsent> {
    let to = address(&letter.to_email).ok_or_else(|| Unsent::Never("not an e-mail address".to_owned()))?;
    let name = Some(one_line(&letter.to_name, LONGEST)).filter(|name| !name.is_empty());
    let mut message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(name, to.clone()))
        .subject(one_line(&letter.subject, LONGEST))
        .date(letter.at.into())
        .message_id(Some(letter.message_id.clone()))
        // RFC 3834 §5: nobody's holiday answers it.
        .raw_header(header("Auto-Submitted", "auto-generated".to_owned()));
    if let Some(url) = &letter.unsubscribe {
        // RFC 8058 §3.1; a URL has neither spaces nor brackets.
        message = message
            .raw_header(header("List-Unsubscribe", format!("<{url}>")))
            .raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()));
    }
    let message = message.multipart(both(letter));
    let message = message.map_err(|error| Unsent::Never(format!("the letter cannot be written: {error}")))?;
    Ok(Written { from: from.email.clone(), to, bytes: message.formatted() })
}

/// Its text, and above that, for whoever can show it, its HTML (RFC 2046 §5.1.4: the best comes last).
fn both(letter: &Letter) -> MultiPart {
    let Letter { message_id, text, html, .. } = letter;
    // Made of both parts, so that neither can have it in it.
    let boundary = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{message_id}\n{text}\n{html}").as_bytes());
    MultiPart::alternative()
        .boundary(boundary.simple().to_string())
        .singlepart(part(ContentType::TEXT_PLAIN, text))
        .singlepart(part(ContentType::TEXT_HTML, html))
}

/// Quoted-printable (RFC 2045 §6.7), whatever is in it: short lines, no bare CR, no NUL.
fn part(kind: ContentType, text: &str) -> SinglePart {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    // It takes any text; this is what it would give back.
    let body = Body::new_with_encoding(lines, ContentTransferEncoding::QuotedPrintable);
    SinglePart::builder().header(kind).body(body.unwrap_or_else(Body::new))
}

fn header(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

/// `a@b.example`, or `Name <a@b.example>`.
pub(super) fn sender(text: &str) -> Option<Mailbox> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return None;
    }
    let Some((name, rest)) = text.rsplit_once('<') else { return Some(Mailbox::new(None, address(text)?)) };
    let name = name.trim().trim_matches('"').trim();
    let name = Some(name.to_owned()).filter(|name| !name.is_empty());
    Some(Mailbox::new(name, address(rest.strip_suffix('>')?)?))
}

/// An address, its domain as DNS has it (RFC 5891 §4.4).
pub(super) fn address(text: &str) -> Option<Address> {
    let text = text.trim();
    if text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return None;
    }
    let (user, domain) = text.rsplit_once('@')?;
    if domain.is_ascii() {
        return Address::new(user, domain).ok();
    }
    match Host::parse(domain).ok()? {
        Host::Domain(domain) => Address::new(user, domain).ok(),
        _ => None,
    }
}
