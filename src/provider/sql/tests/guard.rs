//! Which hosts are asked at all, and what is refused before anything is sent.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Mutex,
};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::provider::{Rejection, Resolve};

/// Every name is the loopback; remembers which were asked for.
#[derive(Default)]
struct Loopback(Mutex<Vec<String>>);

impl Resolve for Loopback {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.0.lock().unwrap().push(name.to_owned());
        Box::pin(async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
    }
}

fn provider(allowed: &[&str], names: Arc<Loopback>) -> Provider {
    let limits = Limits { connect: Duration::from_millis(500), total: Duration::from_millis(1500), body: 64 * 1024 };
    let allowed = allowed.iter().map(|host| host.parse().unwrap()).collect();
    let outbound = Outbound::with(allowed, names, limits).unwrap();
    Provider::new(outbound, OAuthSettings::default(), Arc::new(SystemClock))
}

/// A database that says this to whoever comes, hears one thing, and hangs up; and what it heard.
#[expect(clippy::disallowed_methods, reason = "a database of the test's own")]
async fn says(words: &[u8]) -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let words = words.to_vec();
    let told = tokio::spawn(async move {
        let (mut visitor, _) = listener.accept().await.unwrap();
        visitor.write_all(&words).await.unwrap();
        let mut told = vec![0; 4096];
        let length = visitor.read(&mut told).await.unwrap_or_default();
        told.truncate(length);
        told
    });
    (port, told)
}

async fn probed(provider: &Provider, driver: Driver, fields: &[(&str, &str)]) -> Failure {
    provider.probe(&connector(driver), &credential(fields), None).await.unwrap_err()
}

#[tokio::test]
async fn no_private_host_is_reached_however_it_is_written() {
    let provider = provider(&[], Arc::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port().to_string();
    for driver in [Driver::Postgres, Driver::MySql] {
        let unreachable = probed(&provider, driver, &[("host", "127.0.0.1"), ("port", &gone)]).await;
        assert_eq!(unreachable.to_string(), "the provider could not be reached");
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "１２７.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "169.254.169.254",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "[::ffff:7f00:1]",
            "fd00:ec2::254",
            "localhost",
            "LOCALHOST.",
            "db.example",
            "/var/run/postgresql",
            "",
            "a b",
            "db.example:5432",
            "db.example/shop",
            "ann@db.example",
        ] {
            assert_eq!(probed(&provider, driver, &[("host", host), ("port", &port)]).await, unreachable, "{host}");
        }
        for port in ["0", "70000", "", "x", "-1"] {
            assert_eq!(probed(&provider, driver, &[("port", port)]).await, unreachable, "{port}");
        }
    }
    let dialled = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(dialled.is_err(), "somebody came");
}

#[tokio::test]
async fn an_allowed_host_is_asked_for_once_and_dialled_as_it_was_checked() {
    let (port, told) = says(b"").await;
    let names = Arc::<Loopback>::default();
    let provider = provider(&[&format!("db.internal:{port}")], names.clone());
    let port = port.to_string();
    let fields = [("host", "DB.internal."), ("port", port.as_str()), ("tls", "disable")];
    let failure = probed(&provider, Driver::Postgres, &fields).await;
    assert_eq!(failure.to_string(), "the provider could not be reached", "it hangs up");
    let told = String::from_utf8_lossy(&told.await.unwrap()).into_owned();
    assert!(told.contains("user\0ann\0") && told.contains("database\0shop\0"), "{told:?}");
    assert!(!told.contains("planted"), "{told:?}");
    assert_eq!(*names.0.lock().unwrap(), ["db.internal."]);
}

#[tokio::test]
async fn the_password_is_not_given_in_clear_to_a_mysql_that_asks_for_it() {
    const GREETING: &[u8] = b"\x0a8.0.0\0\x01\0\0\0abcdefgh\0\xff\xf7\x21\x02\0\xff\xc7\x15\0\0\0\0\0\0\0\0\0\0\
        abcdefghijkl\0mysql_clear_password\0";
    let length = u8::try_from(GREETING.len()).unwrap();
    let (port, told) = says(&[&[length, 0, 0, 0], GREETING].concat()).await;
    let provider = provider(&[&format!("127.0.0.1:{port}")], Arc::default());
    let port = port.to_string();
    let failure = probed(&provider, Driver::MySql, &[("host", "127.0.0.1"), ("port", &port)]).await;
    assert_eq!(failure, Failure::transient("the database wants the password in clear"));
    assert_eq!(told.await.unwrap(), b"");
}

/// A PostgreSQL that says these, one by one, and wants the password in clear at last.
async fn asked_in_clear(tls: &str, words: &[&[u8]]) -> (Failure, String) {
    const CLEAR: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    let (port, told) = says(&[&words.concat(), CLEAR].concat()).await;
    let provider = provider(&[&format!("127.0.0.1:{port}")], Arc::default());
    let port = port.to_string();
    let failure = probed(&provider, Driver::Postgres, &[("host", "127.0.0.1"), ("port", &port), ("tls", tls)]).await;
    (failure, String::from_utf8_lossy(&told.await.unwrap()).into_owned())
}

#[tokio::test]
async fn the_password_is_not_given_in_clear_to_a_postgresql_that_asks_for_it_without_tls() {
    let first = [&[][..], &[&b"R\0\0\0\x08\0\0\0\0"[..]][..], &[&b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02"[..]][..]];
    for before in first {
        for (tls, answer) in [("disable", &[][..]), ("prefer", &[&b"N"[..]][..])] {
            let (failure, told) = asked_in_clear(tls, &[answer, before].concat()).await;
            assert!(failure.to_string().contains("wants the password in clear"), "{tls} {before:?}: {failure}");
            assert!(!told.contains("planted"), "{tls} {before:?}: {told:?}");
        }
    }
    // Who does not offer TLS where it is wanted is not even told who asks.
    for tls in ["require", "verify-full"] {
        let (_, told) = asked_in_clear(tls, &[b"N"]).await;
        assert!(!told.contains("ann") && !told.contains("planted"), "{tls}: {told:?}");
    }
    // What only says that there will be TLS gets nothing either.
    let (_, told) = asked_in_clear("prefer", &[b"S"]).await;
    assert!(!told.contains("planted"), "{told:?}");
}

#[tokio::test]
async fn nonsense_is_nobody_s_fault() {
    for words in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x01\0\0\0\xff", b"\0\0\0\0", b"\xff\xff\xff\xff"] {
        for driver in [Driver::Postgres, Driver::MySql] {
            let (port, _told) = says(words).await;
            let provider = provider(&[&format!("127.0.0.1:{port}")], Arc::default());
            let port = port.to_string();
            let fields = [("host", "127.0.0.1"), ("port", port.as_str()), ("tls", "disable")];
            let failure = probed(&provider, driver, &fields).await;
            assert!(matches!(failure, Failure::Transient { .. }), "{driver:?} {words:?}: {failure:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_query_is_refused_before_anybody_is_asked() {
    let names = Arc::<Loopback>::default();
    let provider = provider(&[], names.clone());
    for driver in [Driver::Postgres, Driver::MySql] {
        for sql in ["DELETE FROM planted", "COMMIT; DROP TABLE planted", "", "SELECT 'planted\0'"] {
            let query = Query::Sql(sql.to_owned());
            let read = provider.read(&connector(driver), &credential(&[]), None, &query, &LIMITS, Haste::AtOnce).await;
            let Err(NoRows::Query(sentence)) = read else { panic!("{sql}: {read:?}") };
            assert!(!sentence.contains("planted"), "{sentence}");
        }
    }
    assert!(names.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_nobody_waits_for_ends_with_the_server() {
    let provider = provider(&[], Arc::default());
    provider.stop_turns();
    let query = Query::Sql("SELECT 1".to_owned());
    let (connector, credential) = (connector(Driver::Postgres), credential(&[]));
    let read = provider.read(&connector, &credential, None, &query, &LIMITS, Haste::InTurn(uuid::Uuid::nil())).await;
    assert_eq!(read.unwrap_err(), NoRows::Stopping);
}

#[test]
fn a_target_has_every_field_and_says_no_secret() {
    let target = |fields: &[(&str, &str)]| Target::of(Driver::MySql, &credential(fields));
    let usual = target(&[]).unwrap();
    assert_eq!((usual.port, usual.tls), (3306, super::super::target::Tls::Prefer));
    assert!(!format!("{usual:?}").contains("planted"));
    assert!(target(&[("tls", "verify-ca")]).is_err());
    assert_eq!(target(&[("host", "db.example.")]).unwrap().certified_name(), "db.example");
    assert_eq!(target(&[("host", "[2001:DB8::1]")]).unwrap().certified_name(), "2001:db8::1");
    let nothing = Target::of(Driver::MySql, &Credential::default()).unwrap_err();
    assert_ne!(nothing, Failure::Rejected(Rejection::Unauthorized));
}
