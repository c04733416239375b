//! The way to a database: a socket file of one session, which leads to the address that the guard let through.
//!
//! The drivers would resolve a host's name themselves, behind the guard's back. They take a socket file as well, and
//! still check a certificate against the name; so they are given one, in a folder that nobody else may enter. What comes
//! through is counted: a single value cannot be larger than what is read at most.

use std::{
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, copy},
    net::{TcpStream, UnixListener},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    super::{Failure, Outbound},
    mysql,
    postgres::{self, SignIn},
    target::{Target, Tls},
    unreachable,
};
use crate::catalogue::Driver;

/// What a session has beside its rows, in bytes: signing in, certificates, the description of the columns.
const BESIDE: u64 = 1 << 20;

/// The file's name, as PostgreSQL's clients build it out of a folder and a port.
const FILE: &str = ".s.PGSQL.1";

/// What was seen on the way.
#[derive(Default)]
struct Seen {
    spent: AtomicBool,
    wants_clear_password: AtomicBool,
}

/// A way that is there until this is dropped.
pub(super) struct Way {
    folder: TempDir,
    seen: Arc<Seen>,
    _carrying: AbortOnDropHandle<()>,
}

impl Way {
    /// The port in the file's name, which is no port.
    pub(super) const PORT: u16 = 1;

    /// Opens the way, if the guard does, for at most so many bytes of rows as JSON. Databases write a value in up to
    /// twice as much (`bytea` as hexadecimal digits).
    pub(super) async fn open(outbound: &Outbound, target: &Target, bytes: usize) -> Result<Self, Failure> {
        let mut database = outbound.dial_socket(&target.host, target.port, &target.database).await?;
        let greeting = match target.driver {
            Driver::Postgres => Vec::new(),
            Driver::MySql => timeout(outbound.limits().connect, mysql::greeting(&mut database))
                .await
                .unwrap_or_else(|_| Err(unreachable()))?,
        };
        let budget = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(BESIDE);
        Self::lead_to(database, target, greeting, budget).map_err(|error| {
            tracing::error!(%error, "no socket file can be made for a database");
            Failure::transient("this server cannot make a socket file")
        })
    }

    #[expect(clippy::disallowed_methods, reason = "it ends with the way")]
    fn lead_to(database: TcpStream, target: &Target, greeting: Vec<u8>, budget: u64) -> io::Result<Self> {
        // Entered by this server's own user only.
        let own = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("patchbay-").permissions(own).tempdir()?;
        let listener = UnixListener::bind(folder.path().join(FILE))?;
        let seen = Arc::<Seen>::default();
        let asks_tls = (target.driver == Driver::Postgres).then(|| target.tls != Tls::Disable);
        let carrying = tokio::spawn(carry(listener, database, asks_tls, greeting, budget, Arc::clone(&seen)));
        Ok(Self { folder, seen, _carrying: AbortOnDropHandle::new(carrying) })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// Whether the database sent more than may come through, which ended the session.
    pub(super) fn is_spent(&self) -> bool {
        self.seen.spent.load(Ordering::Acquire)
    }

    /// Whether the database wanted the password in clear, which ended the session.
    pub(super) fn wants_clear_password(&self) -> bool {
        self.seen.wants_clear_password.load(Ordering::Acquire)
    }
}

/// Carries what one driver and the database say to each other, until either falls silent. `asks_tls`: whether a driver of
/// PostgreSQL asks for TLS first; none for another. `greeting`: what the database has said already.
async fn carry(
    listener: UnixListener,
    mut database: TcpStream,
    asks_tls: Option<bool>,
    greeting: Vec<u8>,
    budget: u64,
    seen: Arc<Seen>,
) {
    let Ok((mut driver, _)) = listener.accept().await else { return };
    drop(listener);
    let (answers, mut questions) = database.split();
    let (mut asked, mut told) = driver.split();
    let mut answers = (&*greeting).chain(answers).take(budget);
    let answering = async {
        if let Some(asks_tls) = asks_tls {
            match postgres::pass_on(&mut answers, &mut told, asks_tls).await {
                Ok(SignIn::Over) => {}
                Ok(SignIn::WantsClearPassword) => return seen.wants_clear_password.store(true, Ordering::Release),
                Err(_) => return,
            }
        }
        let _ = copy(&mut answers, &mut told).await;
        seen.spent.store(answers.limit() == 0, Ordering::Release);
    };
    // Whatever breaks off here breaks off at both ends, and is told by the driver.
    tokio::select! {
        () = answering => {}
        _ = copy(&mut asked, &mut questions) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, UnixStream},
    };

    use super::*;

    /// A way to a database that says so many bytes, and what comes out of it.
    async fn through(said: usize, budget: u64) -> (Way, Vec<u8>) {
        let database = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(database.local_addr().unwrap()).await.unwrap();
        let (target, _) = super::super::tests::nowhere().await;
        let way =
            Way::lead_to(dialled, &Target { driver: Driver::MySql, ..target }, b"hello".to_vec(), budget).unwrap();
        let mut driver = UnixStream::connect(way.file()).await.unwrap();
        let (mut database, _) = database.accept().await.unwrap();
        database.write_all(&vec![b'x'; said]).await.unwrap();
        database.shutdown().await.unwrap();
        let mut heard = Vec::new();
        driver.read_to_end(&mut heard).await.unwrap();
        (way, heard)
    }

    #[tokio::test]
    async fn what_is_said_comes_through_as_far_as_the_budget_goes() {
        let (way, heard) = through(100, 1000).await;
        assert_eq!((heard.len(), way.is_spent()), (105, false));
        let (way, heard) = through(1000, 100).await;
        assert_eq!((heard.len(), way.is_spent()), (100, true));
    }

    #[tokio::test]
    async fn nobody_else_may_enter_and_nothing_stays() {
        let (way, _) = through(1, 1000).await;
        let folder = way.folder().to_owned();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(UnixStream::connect(way.file()).await.is_err(), "one session, and no other");
        drop(way);
        assert!(!folder.exists());
    }
}
