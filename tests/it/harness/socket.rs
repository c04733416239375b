//! A websocket speaking graphql-transport-ws, frame by frame.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};
use url::Url;

/// How long a test waits for what has to come. It is no measure: on a good day things come at once.
const PATIENCE: Duration = Duration::from_secs(20);
const PROTOCOL: &str = "graphql-transport-ws";

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
        Self::dial(url, Some(PROTOCOL), None).await.unwrap()
    }

    /// As a web page of `origin`, or somebody with another sub-protocol or none, would open it.
    pub async fn dial(url: &Url, protocol: Option<&str>, origin: Option<&str>) -> Result<Self, tungstenite::Error> {
        Ok(Self(connect_async(upgrade(url, protocol, origin)).await?.0))
    }

    /// Opened with so little room for what arrives that a server soon notices when nobody reads.
    pub async fn open_narrow(url: &Url) -> Self {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4 * 1024).unwrap();
        let address = url.socket_addrs(|| None).unwrap()[0];
        let stream = MaybeTlsStream::Plain(tcp.connect(address).await.unwrap());
        Self(client_async(upgrade(url, Some(PROTOCOL), None), stream).await.unwrap().0)
    }

    /// Sends a frame as it is.
    pub async fn send_frame(&mut self, frame: Message) -> Result<(), tungstenite::Error> {
        self.0.send(frame).await
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

    /// The next frame, pings and pongs of the protocol too.
    pub async fn next_raw(&mut self) -> Frame {
        tokio::time::timeout(PATIENCE, self.any_frame()).await.expect("nothing came")
    }

    async fn frame(&mut self) -> Frame {
        loop {
            match self.any_frame().await {
                Frame::Message(message) if message["type"] == "ping" => self.send(json!({ "type": "pong" })).await,
                Frame::Message(message) if message["type"] == "pong" => {}
                frame => return frame,
            }
        }
    }

    async fn any_frame(&mut self) -> Frame {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Frame::Message(serde_json::from_str(&text).unwrap()),
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

    /// With which code the server closes, whatever comes before.
    pub async fn ends(&mut self) -> u16 {
        loop {
            if let Frame::Closed(code) = self.next().await {
                return code;
            }
        }
    }

    /// Whether nothing comes for a moment.
    pub async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.frame()).await.is_err()
    }
}

fn upgrade(url: &Url, protocol: Option<&str>, origin: Option<&str>) -> tungstenite::handshake::client::Request {
    let address = url.join("/graphql").unwrap().as_str().replacen("http", "ws", 1);
    let mut request = address.into_client_request().unwrap();
    for (name, value) in [("sec-websocket-protocol", protocol), ("origin", origin)] {
        if let Some(value) = value {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    request
}
