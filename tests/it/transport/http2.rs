//! One HTTP/2 connection as a test holds it: it decides how much of an answer is read, and when.

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::{Bytes, Incoming},
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinHandle};

use super::*;

/// What a stream's reader takes without reading, in bytes.
const WINDOW: u32 = 4 * 1024;

pub struct Http2 {
    requests: SendRequest<Empty<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
    base: url::Url,
}

/// A connection whose streams have small windows.
pub async fn hyper_http2(stage: &Stage) -> Http2 {
    let stream = TcpStream::connect(stage.url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(WINDOW);
    let (requests, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    Http2 { requests, connection: tokio::spawn(connection), base: stage.url.clone() }
}

impl Http2 {
    /// Asks by GET, and reads the head of the answer alone.
    pub async fn asks(&mut self, path: &str, token: Option<&str>) -> hyper::Result<hyper::Response<Incoming>> {
        let mut request = Request::get(self.base.join(path).unwrap().as_str());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.requests.ready().await?;
        self.requests.send_request(request.body(Empty::new()).unwrap()).await
    }

    /// Asks by GET, and reads all of the answer: its status.
    pub async fn get(&mut self, path: &str) -> hyper::Result<u16> {
        let answer = self.asks(path, None).await?;
        let status = answer.status().as_u16();
        answer.into_body().collect().await?;
        Ok(status)
    }

    /// Returns when the server has ended the connection.
    pub async fn ended(self) {
        let Self { connection, requests, .. } = self;
        // An error or none: it is over.
        let _ = connection.await;
        drop(requests);
    }
}
