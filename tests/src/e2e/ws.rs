//! A WebSocket client that shares no code with ours.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::server::PATIENCE;

pub(crate) const SUBPROTOCOL: &str = "spandrel.download.v1+json";

/// A connection past its hello.
pub(crate) struct Ws {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What the server said first.
    pub(crate) hello: Value,
}

/// What comes over a connection.
#[derive(Debug)]
pub(crate) enum Came {
    Message(Value),
    Closed(u16),
}

/// A request id nobody used before.
pub(crate) fn new_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn request_to(address: SocketAddr, head: &[(&'static str, &str)]) -> Request {
    let mut request = format!("ws://{address}/v1/ws").into_client_request().expect("a url");
    for (name, value) in head {
        request.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    request
}

impl Ws {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut ws =
            Self::open(address, &[("sec-websocket-protocol", SUBPROTOCOL)]).await.expect("a connection");
        ws.hello = ws.expect("connection:health").await;
        assert_eq!(ws.hello["data"]["kind"], "hello");
        ws
    }

    /// A connection that has not said or heard anything.
    pub(crate) async fn open(address: SocketAddr, head: &[(&'static str, &str)]) -> Result<Self, Error> {
        let (stream, _) = connect_async(request_to(address, head)).await?;
        Ok(Self { stream, hello: Value::Null })
    }

    /// Sends a text as it is.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("it can be sent");
    }

    /// Sends a message to a server that may be gone.
    pub(crate) async fn try_send(&mut self, event: &str, data: &Value) {
        let message = json!({ "event": event, "data": data, "timestamp": 0, "requestId": new_id() });
        let _ = self.stream.send(Message::text(message.to_string())).await;
    }

    pub(crate) async fn send(&mut self, event: &str, request_id: &str, data: &Value) {
        let message = json!({ "event": event, "data": data, "timestamp": 0, "requestId": request_id });
        self.send_text(&message.to_string()).await;
    }

    /// What comes next.
    pub(crate) async fn came(&mut self) -> Came {
        timeout(PATIENCE, self.came_ever()).await.expect("the server says something in time")
    }

    /// Pings do not count as something said.
    async fn came_ever(&mut self) -> Came {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Came::Message(serde_json::from_str(&text).expect("messages are JSON"));
                }
                Some(Ok(Message::Close(frame))) => {
                    return Came::Closed(frame.map_or(1005, |f| f.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Came::Closed(1006),
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Value {
        match self.came().await {
            Came::Message(message) => message,
            Came::Closed(code) => panic!("closed with {code}"),
        }
    }

    /// The next message of this event; others are passed over, errors are not.
    pub(crate) async fn expect(&mut self, event: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["event"] == event {
                return message;
            }
            let name = message["event"].as_str().unwrap_or_default();
            assert!(!name.ends_with(":error"), "expected {event}: {message}");
        }
    }

    /// The data of the next `download:error` or `system:error`.
    pub(crate) async fn expect_error(&mut self) -> Value {
        loop {
            let message = self.next().await;
            if message["event"].as_str().is_some_and(|event| event.ends_with(":error")) {
                return message["data"].clone();
            }
        }
    }

    /// Sends, and gives the direct answer, whatever it is.
    pub(crate) async fn ask(&mut self, event: &str, data: &Value) -> Value {
        let id = new_id();
        self.send(event, &id, data).await;
        self.answer(&id).await
    }

    /// The next message with this request id.
    pub(crate) async fn answer(&mut self, id: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["requestId"] == id {
                return message;
            }
        }
    }

    /// Asks for a job; gives its `download:start`.
    pub(crate) async fn start(&mut self, request: &Value) -> Value {
        let answer = self.ask("download:request", request).await;
        assert_eq!(answer["event"], "download:start", "{answer}");
        answer["data"].clone()
    }

    /// Asks for a job and follows it to its end: `download:start` and `download:complete`.
    pub(crate) async fn export(&mut self, request: &Value) -> (Value, Value) {
        let start = self.start(request).await;
        let complete = self.expect("download:complete").await["data"].clone();
        assert_eq!(complete["downloadId"], start["downloadId"]);
        (start, complete)
    }
}
