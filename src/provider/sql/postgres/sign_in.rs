//! What PostgreSQL says until a user is signed in, looked at on its way to the driver: the driver would send the password in
//! clear to whoever asks for it, TLS or not.
//!
//! Within TLS nothing is seen, and nothing needs to be: what is sent there is not in clear. The messages are those of
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a message before somebody is signed in; they are short.
const LONGEST: usize = 64 * 1024;
/// `AuthenticationCleartextPassword`
const CLEAR_PASSWORD: [u8; 4] = 3_i32.to_be_bytes();

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum SignIn {
    /// There is nothing more to look at: TLS begins, the user is in, or was refused.
    Over,
    /// The password is wanted in clear. The wish was not passed on.
    WantsClearPassword,
}

/// Passes on what the database says, until nothing of it can be a wish for the password. `asks_tls`: the driver asks for
/// TLS first.
pub(in super::super) async fn pass_on(
    said: &mut (impl AsyncRead + Unpin),
    driver: &mut (impl AsyncWrite + Unpin),
    asks_tls: bool,
) -> io::Result<SignIn> {
    if asks_tls {
        let answer = said.read_u8().await?;
        driver.write_all(&[answer]).await?;
        if answer != b'N' {
            return Ok(SignIn::Over);
        }
    }
    loop {
        let mut message = vec![0; 5];
        said.read_exact(&mut message).await?;
        let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
        let length = usize::try_from(length).ok().filter(|length| (4..=LONGEST).contains(length));
        message.resize(1 + length.ok_or(io::ErrorKind::InvalidData)?, 0);
        said.read_exact(&mut message[5..]).await?;
        if message[0] == b'R' && message[5..].starts_with(&CLEAR_PASSWORD) {
            return Ok(SignIn::WantsClearPassword);
        }
        driver.write_all(&message).await?;
        // `ReadyForQuery`, `ErrorResponse`
        if matches!(message[0], b'Z' | b'E') {
            return Ok(SignIn::Over);
        }
    }
}
