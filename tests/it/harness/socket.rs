//! A websocket speaking graphql-transport-ws, frame by frame.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use url::Url;

/// How long a test waits for what has to come. It is no measure: on a good day things come at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A socket that a test holds.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What came.
#[derive(Debug, PartialEq)]
pub enum Frame {
    Message(Value),
    Closed(u16),
}

impl Socket {
    /// Opened, nothing said yet.
    pub async fn open(url: &Url) -> Self {
        let address = url.join("/graphql").unwrap().as_str().replacen("http", "ws", 1);
        let mut request = address.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        Self(connect_async(request).await.unwrap().0)
    }

    pub async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// Says who it is, and waits for the acknowledgement.
    pub async fn init(&mut self, payload: Value) {
        self.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(self.next().await, Frame::Message(json!({ "type": "connection_ack" })));
    }

    /// Subscribes as `id`; the server has taken it once it answers a ping that was sent after it.
    pub async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.send(json!({ "id": id, "type": "subscribe", "payload": payload })).await;
    }

    /// The next frame; pings are answered on the way.
    pub async fn next(&mut self) -> Frame {
        tokio::time::timeout(PATIENCE, self.frame()).await.expect("nothing came")
    }

    async fn frame(&mut self) -> Frame {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] == "ping" {
                        self.send(json!({ "type": "pong" })).await;
                    } else if message["type"] != "pong" {
                        return Frame::Message(message);
                    }
                }
                Some(Ok(Message::Close(close))) => return Frame::Closed(close.map_or(1005, |close| close.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Frame::Closed(1006),
            }
        }
    }

    /// The data of the next event of any subscription.
    pub async fn event(&mut self) -> Value {
        match self.next().await {
            Frame::Message(message) if message["type"] == "next" => message["payload"]["data"].clone(),
            other => panic!("no event came, but {other:?}"),
        }
    }

    /// The code of the error that ends a subscription.
    pub async fn error(&mut self) -> String {
        match self.next().await {
            Frame::Message(message) if message["type"] == "error" => {
                message["payload"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned()
            }
            other => panic!("no error came, but {other:?}"),
        }
    }

    /// With which code the server closes.
    pub async fn closed(&mut self) -> u16 {
        match self.next().await {
            Frame::Closed(code) => code,
            other => panic!("the socket was not closed, but {other:?} came"),
        }
    }

    /// Whether nothing comes for a moment.
    pub async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.frame()).await.is_err()
    }
}
