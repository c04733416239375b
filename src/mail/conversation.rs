//! What is said to a mail server (RFC 5321), and what its answers mean for a letter.
//!
//! Until a letter is named, every refusal is about this server and its settings: it may be mended, and the letter leave
//! later. From the recipient on, a refusal for good (5yz) is about the letter, unless its code says otherwise.

use std::{error::Error as _, io, iter, time::Duration};

use lettre::transport::smtp::{
    Error,
    authentication::DEFAULT_MECHANISMS,
    client::{AsyncSmtpConnection, AsyncTokioStream},
    commands::{Data, Mail, Rcpt},
    extension::{ClientId, Extension, MailBodyParameter, MailParameter},
};

use tokio::{
    io::BufReader,
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    Unsent,
    form::Written,
    replies::{Replies, ask_for_tls},
    server::{Encryption, Server},
};
use crate::line::one_line;

/// How long one address of the mail server is tried.
const CONNECTING: Duration = Duration::from_secs(10);
/// How much of an answer is repeated, in characters.
const LONGEST: usize = 200;
/// Refusals for good that are about this server all the same: not signed in (RFC 4954 §6), or a host that takes no mail
/// (RFC 7504).
const ABOUT_US: [u16; 5] = [521, 530, 534, 535, 538];

const IN_CLEAR: &str = "the mail server offers no encryption, and a password is not sent in clear; ?tls=none would";
const NO_STARTTLS: &str = "the mail server offers no encryption (STARTTLS), and nothing is sent without";
const ASCII_ALONE: &str = "the mail server does not take addresses with letters beyond ASCII";

/// A connection that is ready for letters.
pub(super) async fn open(server: &Server) -> Result<AsyncSmtpConnection, Unsent> {
    let later = |error: Error| Unsent::Later(words(server, &error));
    let hello = ClientId::default();
    let (stream, encrypted) = wire(server, &hello).await?;
    let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &hello).await.map_err(later)?;
    if let Some(credentials) = &server.credentials {
        if !encrypted && !server.is_clear() {
            return Err(Unsent::Later(IN_CLEAR.to_owned()));
        }
        connection.auth(DEFAULT_MECHANISMS, credentials).await.map_err(later)?;
    }
    Ok(connection)
}

/// Connects, and encrypts as far as it is wanted and offered; and whether that is so. lettre could do it as well, but then
/// nothing stood between the encryption and what it reads.
async fn wire(server: &Server, hello: &ClientId) -> Result<(Box<dyn AsyncTokioStream>, bool), Unsent> {
    let unusable = |error: io::Error| Unsent::Later(unusable(&error.to_string()));
    let stream = connect(server).await?;
    let peer = stream.peer_addr().map_err(unusable)?;
    let Some(tls) = &server.tls else { return Ok((Box::new(Replies::new(stream, peer)), false)) };
    if server.encryption == Encryption::Always {
        let stream = tls.connector.connect(tls.name.clone(), stream).await.map_err(unusable)?;
        return Ok((Box::new(Replies::new(stream, peer)), true));
    }
    let mut replies = BufReader::new(Replies::new(stream, peer));
    let offered = ask_for_tls(&mut replies, &hello.to_string()).await;
    let offered = offered.map_err(|said| Unsent::Later(instead_of_tls(server, &said)))?;
    let stream = replies.into_inner().into_stream();
    if offered {
        let stream = tls.connector.connect(tls.name.clone(), stream).await.map_err(unusable)?;
        Ok((Box::new(Replies::greeted(stream, peer)), true))
    } else if server.encryption == Encryption::Required {
        Err(Unsent::Later(NO_STARTTLS.to_owned()))
    } else {
        Ok((Box::new(Replies::greeted(stream, peer)), false))
    }
}

/// What came before encryption was agreed on: a refusal with its code, or what went wrong.
fn instead_of_tls(server: &Server, said: &str) -> String {
    let is_refusal = said.starts_with(|first: char| first.is_ascii_digit());
    if server.gives_away(said) {
        "the mail server cannot be used".to_owned()
    } else if is_refusal {
        one_line(said, LONGEST)
    } else {
        unusable(said)
    }
}

/// Connects to the first address of the mail server that takes it.
async fn connect(server: &Server) -> Result<TcpStream, Unsent> {
    let later = |error: io::Error| Unsent::Later(unusable(&error.to_string()));
    let addresses = lookup_host((server.host.as_str(), server.port)).await.map_err(later)?;
    let mut last = io::Error::other("its name has no address");
    for address in addresses {
        match timeout(CONNECTING, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(later(last))
}

/// Says whose letter comes, for whom. After an error the connection is good for nothing more.
pub(super) async fn announce(
    server: &Server,
    connection: &mut AsyncSmtpConnection,
    letter: &Written,
) -> Result<(), Unsent> {
    let mut parameters = Vec::new();
    if !letter.bytes.is_ascii() {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Unsent::Never(ASCII_ALONE.to_owned()));
        }
        parameters = vec![MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)];
    }
    let later = |error: Error| Unsent::Later(words(server, &error));
    let refused = |error: Error| refusal(server, &error);
    connection.command(Mail::new(Some(letter.from.clone()), parameters)).await.map_err(later)?;
    connection.command(Rcpt::new(letter.to.clone(), Vec::new())).await.map_err(refused)?;
    connection.command(Data).await.map_err(refused)?;
    Ok(())
}

/// Hands over a letter that was announced; the same goes for its errors.
pub(super) async fn hand_over(
    server: &Server,
    connection: &mut AsyncSmtpConnection,
    letter: &Written,
) -> Result<(), Unsent> {
    connection.message(&letter.bytes).await.map(drop).map_err(|error| match error.status() {
        // No answer, or none that can be read.
        None => Unsent::Unheard(words(server, &error)),
        Some(_) => refusal(server, &error),
    })
}

/// What a refusal means once the letter has been named.
fn refusal(server: &Server, error: &Error) -> Unsent {
    let is_about_us = error.status().is_none_or(|code| ABOUT_US.contains(&u16::from(code)));
    let words = words(server, error);
    if error.is_permanent() && !is_about_us { Unsent::Never(words) } else { Unsent::Later(words) }
}

/// The mail server's answer, or what kept it from answering.
fn words(server: &Server, error: &Error) -> String {
    // The outer errors only say of what kind the innermost is.
    let innermost = iter::successors(error.source(), |&outer| outer.source()).last().map(ToString::to_string);
    let innermost = innermost.filter(|said| !server.gives_away(said));
    let words = match (error.status(), innermost) {
        (Some(code), Some(said)) => format!("{code} {said}"),
        (Some(code), None) => code.to_string(),
        (None, Some(said)) => unusable(&said),
        (None, None) => "the mail server cannot be used".to_owned(),
    };
    one_line(&words, LONGEST)
}

fn unusable(why: &str) -> String {
    one_line(&format!("the mail server cannot be used: {why}"), LONGEST)
}
