//! A mail server that keeps what it takes, and can be told to fail.
//!
//! It speaks SMTP (RFC 5321) on a port of its own, in clear, and answers each command by itself. A server under test
//! sends there with [`MailServer::settings`].

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mailparse::ParsedMail;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

/// Who sends, as the settings say.
pub const MAIL_FROM: &str = "Patchbay <patchbay@lighthouse.example>";

/// How long a letter that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct MailServer {
    address: SocketAddr,
    user: Option<(String, String)>,
    shared: Arc<Shared>,
    _serving: DropGuard,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    took: Notify,
    /// Base64 of what AUTH PLAIN has to say, where somebody has to sign in.
    sign_in: Option<String>,
}

#[derive(Default)]
struct State {
    letters: Vec<Received>,
    /// How many of them were given out by `next_letter`.
    given: usize,
    attempts: usize,
    connections: usize,
    faults: VecDeque<Fault>,
    /// Ends the connections there are.
    open: CancellationToken,
}

/// What goes wrong, once. Answers are whole, as `550 5.1.1 there is nobody of that name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed before a word is said.
    DropAtGreeting,
    /// A connection is taken, and then nothing.
    Hang,
    /// The sender is answered with this.
    Sender(&'static str),
    /// The recipient is answered with this.
    Recipient(&'static str),
    /// The recipient is answered with these bytes, whatever they are.
    RecipientBytes(&'static [u8]),
    /// The whole letter is answered with this, and not kept.
    Letter(&'static str),
    /// The whole letter is kept, and answered with these bytes, whatever they are.
    LetterBytes(&'static [u8]),
    /// The letter is kept, and the connection closed before the answer.
    DropAfterLetter,
}

/// A letter that was taken.
#[derive(Debug, Clone)]
pub struct Received {
    /// Of the envelope.
    pub from: String,
    pub to: Vec<String>,
    /// Name and decoded value, in order.
    pub headers: Vec<(String, String)>,
    /// The decoded parts; empty where there is none.
    pub text: String,
    pub html: String,
    /// As it came.
    pub raw: String,
}

impl MailServer {
    pub async fn start() -> Self {
        Self::serve(None).await
    }

    /// One where `user` has to sign in.
    pub async fn for_user(user: &str, password: &str) -> Self {
        Self::serve(Some((user.to_owned(), password.to_owned()))).await
    }

    async fn serve(user: Option<(String, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sign_in = user.as_ref().map(|(user, password)| STANDARD.encode(format!("\0{user}\0{password}")));
        let shared = Arc::new(Shared { sign_in, ..Shared::default() });
        let serving = CancellationToken::new();
        tokio::spawn(serving.clone().run_until_cancelled_owned(accept(listener, shared.clone())));
        Self { address, user, shared, _serving: serving.drop_guard() }
    }

    /// As PATCHBAY_SMTP_URL has it.
    pub fn url(&self) -> String {
        let mut url = Url::parse(&format!("smtp://{}", self.address)).unwrap();
        if let Some((user, password)) = &self.user {
            url.set_username(user).unwrap();
            url.set_password(Some(password)).unwrap();
        }
        url.to_string()
    }

    /// The settings of a server that sends here.
    pub fn settings(&self) -> Vec<(String, String)> {
        [("PATCHBAY_SMTP_URL", self.url()), ("PATCHBAY_MAIL_FROM", MAIL_FROM.to_owned())]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    /// What was taken so far.
    pub fn letters(&self) -> Vec<Received> {
        self.shared.state().letters.clone()
    }

    /// How often a letter was begun, with or without success.
    pub fn attempts(&self) -> usize {
        self.shared.state().attempts
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// The first letter that was not given out by this yet, once it is there.
    pub async fn next_letter(&self) -> Received {
        let next = async {
            loop {
                let took = self.shared.took.notified();
                if let Some(letter) = self.shared.state().give() {
                    return letter;
                }
                took.await;
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("a letter")
    }

    /// Fails as `fault` says at the next occasion; several one after the other. One at the greeting closes the
    /// connections there are, so that the next letter is greeted.
    pub fn fail_next(&self, fault: Fault) {
        let greets = fault.is_at_greeting();
        self.shared.state().faults.push_back(fault);
        if greets {
            self.close_connections();
        }
    }

    /// Closes the connections there are, as servers do with those that idle.
    pub fn close_connections(&self) {
        std::mem::take(&mut self.shared.state().open).cancel();
    }
}

impl Fault {
    fn is_at_greeting(&self) -> bool {
        matches!(self, Self::DropAtGreeting | Self::Hang)
    }

    fn is_at_letter(&self) -> bool {
        matches!(self, Self::Letter(_) | Self::LetterBytes(_) | Self::DropAfterLetter)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next fault, if it is one of `these`.
    fn fault(&self, these: impl FnOnce(&Fault) -> bool) -> Option<Fault> {
        self.state().faults.pop_front_if(|fault| these(fault))
    }

    fn keep(&self, letter: Received) {
        self.state().letters.push(letter);
        self.took.notify_waiters();
    }
}

impl State {
    fn give(&mut self) -> Option<Received> {
        let letter = self.letters.get(self.given).cloned()?;
        self.given += 1;
        Some(letter)
    }
}

impl Received {
    fn new(from: String, to: Vec<String>, raw: &[u8]) -> Self {
        let mail = mailparse::parse_mail(raw).unwrap();
        let headers = mail.headers.iter().map(|header| (header.get_key(), header.get_value())).collect();
        let raw = String::from_utf8_lossy(raw).into_owned();
        Self { from, to, headers, text: part(&mail, "text/plain"), html: part(&mail, "text/html"), raw }
    }

    /// The decoded value of a header that is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there more than once: {}", self.raw);
        value
    }

    pub fn subject(&self) -> &str {
        self.header("Subject").unwrap_or_default()
    }
}

fn part(mail: &ParsedMail<'_>, kind: &str) -> String {
    mail.parts().find(|part| part.ctype.mimetype == kind).map(|part| part.get_body().unwrap()).unwrap_or_default()
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let open = {
            let mut state = shared.state();
            state.connections += 1;
            state.open.clone()
        };
        let conversation = Conversation { stream: BufReader::new(stream), shared: shared.clone(), open: open.clone() };
        tokio::spawn(open.run_until_cancelled_owned(async { conversation.hold().await.unwrap_or_default() }));
    }
}

/// One connection.
struct Conversation {
    stream: BufReader<TcpStream>,
    shared: Arc<Shared>,
    open: CancellationToken,
}

impl Conversation {
    /// Until one side hangs up.
    async fn hold(mut self) -> std::io::Result<()> {
        match self.shared.fault(Fault::is_at_greeting) {
            None => self.say("220 mail.example ESMTP").await?,
            Some(Fault::Hang) => std::future::pending().await,
            Some(_) => return Ok(()),
        }
        let mut signed_in = self.shared.sign_in.is_none();
        let (mut from, mut to) = (String::new(), Vec::new());
        while let Some(line) = self.line().await? {
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => self.say("250-mail.example\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN").await?,
                "AUTH" => {
                    signed_in = self.shared.sign_in.as_deref().is_none_or(|right| rest == format!("PLAIN {right}"));
                    let answer = if signed_in { "235 welcome" } else { "535 5.7.8 wrong user or password" };
                    self.say(answer).await?;
                }
                "MAIL" if !signed_in => self.say("530 5.7.0 sign in first").await?,
                "MAIL" => {
                    self.shared.state().attempts += 1;
                    (from, to) = (in_brackets(rest), Vec::new());
                    match self.shared.fault(|fault| matches!(fault, Fault::Sender(_))) {
                        Some(Fault::Sender(answer)) => self.say(answer).await?,
                        _ => self.say("250 ok").await?,
                    }
                }
                "RCPT" => {
                    match self.shared.fault(|fault| matches!(fault, Fault::Recipient(_) | Fault::RecipientBytes(_))) {
                        Some(Fault::Recipient(answer)) => self.say(answer).await?,
                        Some(Fault::RecipientBytes(answer)) => self.stream.write_all(answer).await?,
                        _ => {
                            to.push(in_brackets(rest));
                            self.say("250 ok").await?;
                        }
                    }
                }
                "DATA" if to.is_empty() => self.say("503 5.5.1 for whom?").await?,
                "DATA" => {
                    self.say("354 go on").await?;
                    let Some(raw) = self.letter().await? else { return Ok(()) };
                    let letter = || Received::new(from.clone(), to.clone(), &raw);
                    match self.shared.fault(Fault::is_at_letter) {
                        Some(Fault::Letter(answer)) => self.say(answer).await?,
                        Some(Fault::LetterBytes(answer)) => {
                            self.shared.keep(letter());
                            self.stream.write_all(answer).await?;
                        }
                        Some(_) => {
                            self.shared.keep(letter());
                            return Ok(());
                        }
                        None => {
                            self.shared.keep(letter());
                            self.say("250 2.0.0 taken").await?;
                        }
                    }
                }
                "NOOP" | "RSET" => self.say("250 ok").await?,
                "QUIT" => {
                    self.say("221 bye").await?;
                    return Ok(());
                }
                _ => self.say("502 5.5.1 not known here").await?,
            }
        }
        Ok(())
    }

    async fn say(&mut self, answer: &str) -> std::io::Result<()> {
        self.stream.write_all(format!("{answer}\r\n").as_bytes()).await
    }

    async fn line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await?;
        // Whoever closed the connections finds none that still answers.
        Ok((read > 0 && !self.open.is_cancelled()).then(|| line.trim_end().to_owned()))
    }

    /// The letter up to its dot, without the dots that were added (RFC 5321 §4.5.2).
    async fn letter(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut letter = Vec::new();
        loop {
            let mut line = Vec::new();
            match self.stream.read_until(b'\n', &mut line).await? {
                0 => return Ok(None),
                _ if line == b".\r\n" => return Ok(Some(letter)),
                _ => letter.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line)),
            }
        }
    }
}

/// The address of `FROM:<a@b.example> SIZE=…`.
fn in_brackets(text: &str) -> String {
    let address = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    address.map(|(address, _)| address.to_owned()).unwrap_or_default()
}
