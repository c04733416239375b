//! The TCP stream of a peer: it is cut when the peer takes nothing of what waits to be written.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::admission::Admitted;
use super::conversation::Conversation;

/// Bytes that the system takes for a peer before it sends them. With as many as it would take by itself (megabytes), a slow
/// reader would seem to take nothing for long.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 16 * 1024;

/// Sets what the system does with what is written. Where it cannot, a slow reader may be taken for one that does not read.
pub(super) fn tune(stream: &TcpStream) {
    // Answers are small and waited for.
    let tuned = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let tuned = tuned.and_then(|()| socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT));
    if let Err(error) = tuned {
        tracing::debug!(%error, "cannot set options of a peer's stream");
    }
}

/// A peer's stream, and its place among the open connections.
pub(super) struct PeerStream {
    stream: TcpStream,
    conversation: Conversation,
    /// How long the peer may take nothing.
    read_timeout: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    _admitted: Admitted,
}

impl PeerStream {
    pub(super) fn new(
        stream: TcpStream,
        conversation: Conversation,
        read_timeout: Duration,
        admitted: Admitted,
    ) -> Self {
        Self { stream, conversation, read_timeout, stalled: None, _admitted: admitted }
    }

    /// `written`, or the end of the stream where the peer has taken nothing for too long.
    fn judge(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() || self.conversation.is_handed_over() {
            self.stalled = None;
            return written;
        }
        let read_timeout = self.read_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(read_timeout)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buf);
        if buf.filled().len() > before {
            self.conversation.hear();
        }
        read
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
