//! What is below HTTP: heads and bodies that never end, and bodies that are too long.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::harness::Setup;

const HEAD: &str = "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

async fn dial(stage: &Stage, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(stage.url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    stream
}

/// All that the server says until it hangs up.
async fn heard(mut stream: TcpStream) -> String {
    let mut heard = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut heard)).await.expect("it is held").unwrap();
    String::from_utf8(heard).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_is_cut() {
    let stage = Stage::new().await;
    let said = heard(dial(&stage, HEAD).await).await;
    assert!(!said.starts_with("HTTP/1.1 200"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_cut() {
    let limits: fn(&mut patchbay::config::Limits) = |limits| limits.body_timeout = Duration::from_millis(300);
    let stage = Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await;
    let said = heard(dial(&stage, &format!("{HEAD}content-length: 100\r\n\r\n{{")).await).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_refused_announced_or_not() {
    let limits: fn(&mut patchbay::config::Limits) = |limits| limits.body_bytes = 1_000;
    let stage = Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await;
    let body = json!({ "query": "{ __typename }", "extensions": { "padding": "x".repeat(2_000) } }).to_string();
    assert_eq!(Reply::of(post(&stage, None, STRICT).body(body.clone())).await.status, 413);
    let chunked = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len());
    let mut stream = dial(&stage, &chunked).await;
    let mut heard = [0; 12];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"HTTP/1.1 413");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_two_megabytes_is_the_most_that_is_read() {
    let stage = Stage::new().await;
    for (padding, status) in [(1_900_000, 200), (2_200_000, 413)] {
        let body = json!({ "query": "{ __typename }", "extensions": { "padding": "x".repeat(padding) } });
        assert_eq!(ask(&stage, &body).await.status, status, "{padding}");
    }
}
