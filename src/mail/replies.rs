//! What a mail server says, as lettre can read it.
//!
//! The standard asks clients to go by the code alone (RFC 5321 §4.2) and to be ready for whatever else a server says. lettre
//! takes a reply for unreadable where a space is missing after the code, a line does not end in CRLF, a letter is not
//! UTF-8, or a code is of a kind that the standard does not name. So each line is brought into the usual form before lettre
//! sees it. It also reads without end: how much may be said in answer to one thing is bounded here, below or above
//! encryption alike, since this stream stands above it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};

/// How many bytes may come between two things that are said: more than any reply.
const MOST: usize = 32 * 1024;
/// How many bytes are read at once.
const AT_ONCE: usize = 4 * 1024;

/// What carries a conversation: a connection in clear, or an encrypted one.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> Wire for S {}

/// See the module.
#[derive(Debug)]
pub(super) struct Replies<S> {
    stream: S,
    peer: SocketAddr,
    /// How many bytes may still come.
    left: usize,
    /// The beginning of a line, as it came.
    begun: Vec<u8>,
    /// Whole lines in the usual form, and how much of them was handed on.
    lines: Vec<u8>,
    taken: usize,
}

impl<S: Wire> Replies<S> {
    pub(super) fn new(stream: S, peer: SocketAddr) -> Self {
        Self { stream, peer, left: MOST, begun: Vec::new(), lines: Vec::new(), taken: 0 }
    }

    /// The same, for a server that has said hello already: lettre waits for that.
    pub(super) fn greeted(stream: S, peer: SocketAddr) -> Self {
        Self { lines: b"220 \r\n".to_vec(), ..Self::new(stream, peer) }
    }

    /// Whether everything that came was handed on.
    fn is_drained(&self) -> bool {
        self.begun.is_empty() && self.taken == self.lines.len()
    }

    fn take_in(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                self.lines.extend_from_slice(usual_form(&line).as_bytes());
            }
        }
    }
}

/// A line of a reply in the form that the standard's grammar has (RFC 5321 §4.2).
fn usual_form(line: &[u8]) -> String {
    let line = line.trim_ascii_end();
    // What is not UTF-8 is most likely Latin-1, whose letters are the first of Unicode.
    let text = match str::from_utf8(line) {
        Ok(text) => text.to_owned(),
        Err(_) => line.iter().copied().map(char::from).collect(),
    };
    let is_code = line.len() >= 3 && line[..3].iter().all(u8::is_ascii_digit);
    if !is_code || line.get(3).is_some_and(u8::is_ascii_digit) {
        return format!("{text}\r\n");
    }
    let (code, rest) = text.split_at(3);
    let (separator, said) = match rest.strip_prefix('-') {
        Some(said) => ('-', said),
        None => (' ', rest.strip_prefix([' ', '\t']).unwrap_or(rest)),
    };
    if matches!(code.as_bytes()[1], b'0'..=b'5') {
        return format!("{code}{separator}{said}\r\n");
    }
    // Of a kind that is not in the standard: the first digit says what to do (§4.2.1).
    format!("{}50{separator}{code} {said}\r\n", &code[..1])
}

/// Asks for encryption by STARTTLS (RFC 3207), from the greeting on. Whether the server offers it; where it does, it waits
/// for the handshake.
///
/// # Errors
/// What the server said instead, or what kept it from answering.
pub(super) async fn ask_for_tls<S: Wire>(replies: &mut BufReader<Replies<S>>, hello: &str) -> Result<bool, String> {
    expect(replies, 2).await?;
    say(replies, &format!("EHLO {hello}\r\n")).await?;
    let extensions = expect(replies, 2).await?;
    let offers =
        |line: &String| line.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("STARTTLS"));
    if !extensions.iter().any(offers) {
        return Ok(false);
    }
    say(replies, "STARTTLS\r\n").await?;
    expect(replies, 2).await?;
    // Whatever is there by now was sent in clear, perhaps by somebody on the way, and is not to be taken for an answer to
    // what is said after the handshake.
    if replies.buffer().is_empty() && replies.get_ref().is_drained() {
        Ok(true)
    } else {
        Err("it goes on in clear after it agreed to encryption".to_owned())
    }
}

async fn say<S: Wire>(replies: &mut BufReader<Replies<S>>, line: &str) -> Result<(), String> {
    replies.write_all(line.as_bytes()).await.map_err(|error| error.to_string())
}

/// The lines of the next reply, without their code, which has to begin with `digit`.
async fn expect<S: Wire>(replies: &mut BufReader<Replies<S>>, digit: u8) -> Result<Vec<String>, String> {
    let mut said = Vec::new();
    loop {
        let mut line = String::new();
        if replies.read_line(&mut line).await.map_err(|error| error.to_string())? == 0 {
            return Err("it hung up".to_owned());
        }
        let line = line.trim_end();
        let (code, rest) = line.split_at_checked(3).unwrap_or((line, ""));
        if !code.starts_with(char::from(b'0' + digit)) {
            return Err(line.to_owned());
        }
        said.push(rest.get(1..).unwrap_or_default().to_owned());
        if !rest.starts_with('-') {
            return Ok(said);
        }
    }
}

impl<S: Wire> AsyncTokioStream for Replies<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: Wire> AsyncRead for Replies<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let ready = &self.lines[self.taken..];
            if !ready.is_empty() {
                let some = ready.len().min(buf.remaining());
                buf.put_slice(&ready[..some]);
                self.taken += some;
                if self.taken == self.lines.len() {
                    self.lines.clear();
                    self.taken = 0;
                }
                return Poll::Ready(Ok(()));
            }
            if self.left == 0 {
                return Poll::Ready(Err(io::Error::other("it says too much")));
            }
            let mut bytes = [0; AT_ONCE];
            let mut some = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut some))?;
            if some.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.left = self.left.saturating_sub(some.filled().len());
            self.take_in(some.filled());
        }
    }
}

impl<S: Wire> AsyncWrite for Replies<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.left = MOST;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> Replies<S> {
    /// What carries it.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_brought_into_the_usual_form_whatever_is_odd_about_it() {
        for (line, usual) in [
            (&b"250 ok\r\n"[..], "250 ok\r\n"),
            (b"250-first\r\n", "250-first\r\n"),
            (b"250\r\n", "250 \r\n"),
            (b"250 \r\n", "250 \r\n"),
            (b"250-\r\n", "250-\r\n"),
            (b"250\n", "250 \r\n"),
            (b"250 ok\n", "250 ok\r\n"),
            (b"250 ok\r\r\n", "250 ok\r\n"),
            (b"250\tok\r\n", "250 ok\r\n"),
            (b"550nobody\r\n", "550 nobody\r\n"),
            (b"550 unzul\xe4ssig\r\n", "550 unzulässig\r\n"),
            ("550 unzulässig\r\n".as_bytes(), "550 unzulässig\r\n"),
            (b"571 not here\r\n", "550 571 not here\r\n"),
            (b"471-not now\r\n", "450-471 not now\r\n"),
            (b"2500 ok\r\n", "2500 ok\r\n"),
            (b"well, thank you\r\n", "well, thank you\r\n"),
            (b"\r\n", "\r\n"),
            (b"25\xe4\r\n", "25ä\r\n"),
        ] {
            assert_eq!(usual_form(line), usual, "{:?}", line.escape_ascii().to_string());
        }
    }

    fn peer() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 25))
    }

    #[tokio::test]
    async fn lines_arrive_whole_however_they_come() {
        let (mut server, stream) = tokio::io::duplex(1024);
        let mut replies = BufReader::new(Replies::greeted(stream, peer()));
        for piece in ["2", "50", "\r", "\n250-a\n25", "0 b\r\n"] {
            server.write_all(piece.as_bytes()).await.unwrap();
        }
        drop(server);
        let mut text = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut replies, &mut text).await.unwrap();
        assert_eq!(text, "220 \r\n250 \r\n250-a\r\n250 b\r\n");
    }

    #[tokio::test]
    async fn who_talks_without_end_is_cut_off_and_may_talk_again_when_asked() {
        let (mut server, stream) = tokio::io::duplex(MOST * 4);
        let mut replies = BufReader::new(Replies::new(stream, peer()));
        for _ in 0..2 {
            server.write_all(&vec![b'x'; MOST]).await.unwrap();
            let cut = replies.read_line(&mut String::new()).await.unwrap_err();
            assert_eq!(cut.to_string(), "it says too much");
            replies.write_all(b"NOOP\r\n").await.unwrap();
        }
        let most = format!("250 {}\r\n", "x".repeat(MOST - 6));
        server.write_all(most.as_bytes()).await.unwrap();
        // What was cut off is the beginning of this line.
        let mut line = String::new();
        replies.read_line(&mut line).await.unwrap();
        assert!(line.ends_with(&most), "{} bytes", line.len());
    }

    /// What a server that says `said`, one piece each time it is its turn, is found to offer.
    async fn offered(said: &'static [&'static str]) -> Result<bool, String> {
        let (server, stream) = tokio::io::duplex(4096);
        let talking = async move {
            let mut server = BufReader::new(server);
            for piece in said {
                server.write_all(piece.as_bytes()).await.unwrap();
                let mut line = String::new();
                server.read_line(&mut line).await.unwrap();
            }
        };
        let mut replies = BufReader::new(Replies::new(stream, peer()));
        let asking = async {
            let offered = ask_for_tls(&mut replies, "me.example").await;
            drop(replies);
            offered
        };
        tokio::join!(asking, talking).0
    }

    #[tokio::test]
    async fn encryption_is_asked_for_where_it_is_offered_and_nothing_said_before_it_counts_after() {
        assert_eq!(offered(&["220 hello\r\n", "250-me\r\n250 starttls\r\n", "220 go\r\n"]).await, Ok(true));
        assert_eq!(offered(&["220\r\n", "250\n"]).await, Ok(false));
        assert_eq!(offered(&["220 hello\r\n", "250 STARTTLSX\r\n"]).await, Ok(false));
        let refused = |said: &str| Err(said.to_owned());
        assert_eq!(offered(&["554 go away\r\n"]).await, refused("554 go away"));
        let busy = ["220 hello\r\n", "250 STARTTLS\r\n", "454 not now\r\n"].leak_all();
        assert_eq!(offered(busy).await, refused("454 not now"));
        let clear = refused("it goes on in clear after it agreed to encryption");
        for injected in ["220 go\r\n250 taken\r\n", "220 go\r\n250"] {
            let said = ["220 hello\r\n", "250 STARTTLS\r\n", injected].leak_all();
            assert_eq!(offered(said).await, clear, "{injected:?}");
        }
    }

    trait LeakAll {
        fn leak_all(self) -> &'static [&'static str];
    }

    impl<const N: usize> LeakAll for [&'static str; N] {
        fn leak_all(self) -> &'static [&'static str] {
            Box::leak(Box::new(self))
        }
    }
}
