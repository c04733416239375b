//! Peers that say nothing, or never come to an end: their connections are closed, and there are only so many of them.

use std::{net::Ipv4Addr, time::Duration};

use patchbay::config::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use super::{http2::hyper_http2, *};
use crate::harness::Setup;

/// The beginning of every HTTP/2 connection, and then settings that change nothing (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// The frame that takes the server's settings for known, and the beginning of one with the head of a request.
const KNOWN: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
const HALF_A_HEAD: &[u8] = &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82];
const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

async fn hasty(limits: fn(&mut Limits)) -> Stage {
    Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await
}

/// A connection from an address of this machine: 127.0.0.`from`.
async fn dial_from(stage: &Stage, from: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, from), 0).into()).unwrap();
    socket.connect(stage.url.socket_addrs(|| None).unwrap()[0]).await.unwrap()
}

/// Reads until the server closes; false where it has not within `patience`.
async fn closes(stream: &mut TcpStream, patience: Duration) -> bool {
    let all = async { while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} };
    timeout(patience, all).await.is_ok()
}

/// Whether a connection of that address is served.
async fn is_served(stage: &Stage, from: u8) -> bool {
    let mut stream = dial_from(stage, from).await;
    if stream.write_all(REQUEST).await.is_err() {
        return false;
    }
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.is_ok_and(|_| &status == b"HTTP/1.1 200")
}

/// Waits until a connection of that address is served.
async fn eventually_served(stage: &Stage, from: u8) {
    for _ in 0..400 {
        if is_served(stage, from).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("127.0.0.{from} is not served any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_whole_request_is_closed_at_its_deadline() {
    let stage = hasty(|limits| limits.header_timeout = Duration::from_millis(500)).await;
    let settings = [PREFACE, SETTINGS].concat();
    let half = [PREFACE, SETTINGS, KNOWN, HALF_A_HEAD].concat();
    let said: [&[u8]; 8] =
        [b"", b"G", b"PRI * HT", b"GET /healthz HTTP/1.1\r\nhost:", b"\r\n", PREFACE, &settings, &half];
    for said in said {
        let mut stream = dial_from(&stage, 1).await;
        stream.write_all(said).await.unwrap();
        assert!(closes(&mut stream, Duration::from_secs(10)).await, "{:?}", String::from_utf8_lossy(said));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_byte_by_byte_is_cut_at_its_deadline_the_first_and_a_later_one() {
    let stage = hasty(|limits| limits.header_timeout = Duration::from_millis(600)).await;
    for before in [&b""[..], REQUEST] {
        let mut stream = dial_from(&stage, 1).await;
        stream.write_all(before).await.unwrap();
        if !before.is_empty() {
            stream.read_exact(&mut [0; 12]).await.unwrap();
        }
        let begun = Instant::now();
        let mut byte = REQUEST.iter().cycle();
        let (mut reading, mut writing) = stream.split();
        let trickle = async {
            // Never an empty line: the head does not end.
            while writing.write_all(&[*byte.find(|byte| **byte != b'\n').unwrap()]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let reads = async { while reading.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} };
        tokio::select! {
            () = reads => {}
            () = trickle => {}
            () = tokio::time::sleep(Duration::from_secs(15)) => panic!("held after {before:?}"),
        }
        assert!(begun.elapsed() >= Duration::from_millis(400), "an honest head has its time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_stays_open_between_two_requests_and_not_for_ever() {
    let stage = hasty(|limits| {
        (limits.header_timeout, limits.idle_timeout) = (Duration::from_millis(300), Duration::from_millis(1_500));
    })
    .await;
    let mut stream = dial_from(&stage, 1).await;
    for _ in 0..3 {
        stream.write_all(REQUEST).await.unwrap();
        assert!(!closes(&mut stream, Duration::from_millis(700)).await, "it is longer than a head may take");
    }
    assert!(closes(&mut stream, Duration::from_secs(10)).await, "HTTP/1.1");

    let mut idle = hyper_http2(&stage).await;
    assert_eq!(idle.get("/healthz").await.unwrap(), 200);
    timeout(Duration::from_secs(10), idle.ended()).await.expect("HTTP/2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_never_idle() {
    let stage = hasty(|limits| {
        (limits.header_timeout, limits.idle_timeout) = (Duration::from_millis(200), Duration::from_millis(300));
    })
    .await;
    let connection = connected(&stage).await;
    let mut socket = admitted(&stage, &stage.admin).await.unwrap();
    socket.subscribe("1", CHANGES, json!({ "after": stage.admin.event_cursor().await })).await;
    let query = json!({ "query": CHANGES }).to_string();
    let mut stream = post(&stage, Some(&stage.admin.token), "text/event-stream").body(query).send().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    rename(&stage, &connection, "Later").await;
    assert_eq!(socket.event().await["connectionsChanged"]["connections"][0]["name"], "Later");
    let chunk = timeout(Duration::from_secs(10), stream.chunk()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&chunk).contains("Later"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_and_the_others_do_not_notice() {
    let stage = hasty(|limits| limits.connections_per_address = 5).await;
    let mut honest = admitted(&stage, &stage.admin).await.unwrap();
    let mut quiet = Vec::new();
    for _ in 0..5 {
        quiet.push(dial_from(&stage, 2).await);
    }
    for _ in 0..20 {
        assert!(closes(&mut dial_from(&stage, 2).await, Duration::from_secs(5)).await, "closed at once");
    }
    assert!(is_served(&stage, 3).await, "another address");
    honest.subscribe("1", "{ viewer { role } }", json!({})).await;
    assert_eq!(honest.event().await["viewer"]["role"], "ADMIN");
    assert!(!closes(&mut quiet[0], Duration::from_millis(100)).await, "those within the limit have their time");
    quiet.clear();
    eventually_served(&stage, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_so_many_connections_in_all_and_open_sockets_go_on() {
    let stage = hasty(|limits| (limits.connections, limits.header_timeout) = (12, Duration::from_secs(2))).await;
    let mut honest = admitted(&stage, &stage.admin).await.unwrap();
    let mut quiet = Vec::new();
    for n in 0..30 {
        quiet.push(dial_from(&stage, 2 + n % 8).await);
    }
    assert!(!is_served(&stage, 11).await, "there is no more room");
    honest.subscribe("1", "{ viewer { role } }", json!({})).await;
    assert_eq!(honest.event().await["viewer"]["role"], "ADMIN");
    // Those who say nothing lose their places, and keep none by staying.
    eventually_served(&stage, 11).await;
    drop(quiet);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_holds_the_connections_of_many() {
    let settings = [("PATCHBAY_TRUSTED_PROXIES", "127.0.0.2"), ("PATCHBAY_MAX_CONNECTIONS_PER_ADDRESS", "5")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let stage = Stage::with(Setup { settings, ..Setup::default() }).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(dial_from(&stage, 2).await);
    }
    assert!(is_served(&stage, 2).await);
    held.clear();
    for _ in 0..5 {
        held.push(dial_from(&stage, 3).await);
    }
    assert!(!is_served(&stage, 3).await, "another is no proxy");
}
