//! A page in a few bytes: Socket.IO 2 over a WebSocket library that is not ours, cheap enough for a thousand of them.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::PATIENCE;

/// What the handshake of the bridge asks for.
const PING_EVERY: Duration = Duration::from_secs(1);

/// A session past its greeting.
pub(super) struct Page {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    ping_at: Instant,
}

impl Page {
    /// A page in a room, percent-encoded.
    pub(super) async fn open(address: SocketAddr, room: &str) -> Self {
        Self::connect(address, &format!("client=true&roomId={room}")).await.expect("a session")
    }

    /// Another hardware program, which has this room.
    pub(super) async fn program(address: SocketAddr, room: &str) -> Self {
        let mut program = Self::connect(address, "childServer=true").await.expect("a session");
        program.send(&format!(r#"42["matchTarget","{room}"]"#)).await;
        program
    }

    pub(super) async fn connect(address: SocketAddr, query: &str) -> Result<Self, Error> {
        let url = format!("ws://{address}/socket.io/?EIO=3&transport=websocket&{query}");
        let config = WebSocketConfig::default().read_buffer_size(4 << 10).max_write_buffer_size(usize::MAX);
        let request = url.into_client_request().expect("a url");
        let (stream, _) = connect_async_with_config(request, Some(config), true).await?;
        let mut page = Self { stream, ping_at: Instant::now() + PING_EVERY };
        let open = page.frame().await.unwrap_or_default();
        assert!(open.starts_with(r#"0{"sid":""#), "{open}");
        assert_eq!(page.frame().await.as_deref(), Some("40"));
        Ok(page)
    }

    /// Sends a frame as it stands.
    pub(super) async fn send(&mut self, frame: &str) {
        let sent = timeout(PATIENCE, self.stream.send(Message::text(frame))).await;
        sent.expect("the bridge reads").expect("it is open");
    }

    /// Sends a frame that may come too late.
    pub(super) async fn try_send(&mut self, message: Message) -> bool {
        timeout(PATIENCE, self.stream.send(message)).await.is_ok_and(|sent| sent.is_ok())
    }

    /// `message` with one argument, already JSON.
    pub(super) async fn say(&mut self, json: &str) {
        self.send(&format!(r#"42["message",{json}]"#)).await;
    }

    /// The next frame but pongs, pinging as asked meanwhile; `None` when the bridge closed.
    pub(super) async fn frame(&mut self) -> Option<String> {
        loop {
            match tokio::time::timeout_at(self.ping_at, self.stream.next()).await {
                Err(_) => {
                    self.ping_at = Instant::now() + PING_EVERY;
                    if self.stream.send(Message::text("2")).await.is_err() {
                        return None;
                    }
                }
                Ok(Some(Ok(Message::Text(text)))) if text.as_str() == "3" => {}
                Ok(Some(Ok(Message::Text(text)))) => return Some(text.as_str().to_owned()),
                Ok(Some(Ok(Message::Binary(bytes)))) => return Some(format!("binary {bytes:?}")),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) => return None,
            }
        }
    }

    /// What the next `message` event carries, as JSON text.
    pub(super) async fn hear(&mut self) -> String {
        let frame = timeout(PATIENCE, self.frame()).await.expect("something comes").expect("it is open");
        let inner = frame.strip_prefix(r#"42["message","#).and_then(|rest| rest.strip_suffix(']'));
        inner.unwrap_or_else(|| panic!("a message: {frame}")).to_owned()
    }

    /// Asks to be acknowledged and waits for it: all that was sent before has been taken.
    pub(super) async fn settle(&mut self) {
        self.send(r#"4299["message",{"key":"settled"}]"#).await;
        loop {
            let frame = timeout(PATIENCE, self.frame()).await.expect("an answer").expect("it is open");
            if frame == r#"4399["settled"]"# {
                return;
            }
        }
    }

    /// Whether the bridge closes it within the time; what it says before is passed over.
    pub(super) async fn is_closed_within(&mut self, wait: Duration) -> bool {
        timeout(wait, async { while self.frame().await.is_some() {} }).await.is_ok()
    }
}
