//! Answers that nobody reads, by whatever way: cut after a while, and who reads slowly is not.

use std::time::Duration;

use http_body_util::BodyExt;
use patchbay::config::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{http2::hyper_http2, slow_readers::large_query, *};
use crate::harness::Setup;

/// An answer may go unread for a second.
async fn impatient() -> Stage {
    let limits: fn(&mut Limits) = |limits| limits.read_timeout = Duration::from_secs(1);
    Stage::with(Setup { limits: Some(limits), ..Setup::default() }).await
}

/// A request for `query` on a connection with little room for what arrives.
async fn asks_narrowly(stage: &Stage, accept: &str, query: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut stream = socket.connect(stage.url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
    let body = json!({ "query": query }).to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\naccept: {accept}\r\ncontent-type: \
         application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        stage.admin.token,
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    stream
}

/// How many bytes come until the stream ends, `pause` after each few of them.
async fn reads(stream: &mut TcpStream, pause: Duration) -> usize {
    let (mut all, mut few) = (0, [0; 2048]);
    loop {
        match timeout(Duration::from_secs(20), stream.read(&mut few)).await.expect("nothing came") {
            Ok(read) if read > 0 => all += read,
            _ => return all,
        }
        tokio::time::sleep(pause).await;
    }
}

/// The path of a large answer by GET.
fn large_path() -> String {
    let query: String = url::form_urlencoded::byte_serialize(large_query().as_bytes()).collect();
    format!("/graphql?query={query}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_is_cut() {
    let stage = impatient().await;
    for accept in ["*/*", "text/event-stream"] {
        let whole = reads(&mut asks_narrowly(&stage, accept, &large_query()).await, Duration::ZERO).await;
        let mut deaf = asks_narrowly(&stage, accept, &large_query()).await;
        let answered = timeout(Duration::from_secs(20), deaf.peek(&mut [0; 1])).await.expect("nothing came");
        assert_eq!(answered.unwrap(), 1);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let read = reads(&mut deaf, Duration::ZERO).await;
        assert!(read < whole, "{accept}: all {whole} bytes were held for it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_but_steadily_gets_the_whole_answer() {
    let stage = impatient().await;
    for accept in ["*/*", "text/event-stream"] {
        let whole = reads(&mut asks_narrowly(&stage, accept, &large_query()).await, Duration::ZERO).await;
        assert!(whole > 100_000, "{whole}");
        let slowly = reads(&mut asks_narrowly(&stage, accept, &large_query()).await, Duration::from_millis(20)).await;
        assert_eq!(slowly, whole, "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_http_2_that_nobody_reads_is_cut_and_the_others_go_on() {
    let stage = impatient().await;
    let mut http2 = hyper_http2(&stage).await;
    let token = stage.admin.token.clone();
    let deaf = http2.asks(&large_path(), Some(&token)).await.unwrap();
    assert_eq!(deaf.status(), 200);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(http2.get("/healthz").await.unwrap(), 200, "the connection is not only this stream's");
    assert!(deaf.into_body().collect().await.is_err(), "what it had not read is gone");

    // Slowly, a piece at a time.
    let mut body = http2.asks(&large_path(), Some(&token)).await.unwrap().into_body();
    let mut read = 0;
    while let Some(frame) = timeout(Duration::from_secs(20), body.frame()).await.expect("nothing came") {
        read += frame.expect("it was cut").into_data().map_or(0, |data| data.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(read > 100_000, "{read}");
}
