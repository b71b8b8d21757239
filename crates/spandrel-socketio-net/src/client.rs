//! A client: one session to one server.
//!
//! [`connect`] dials, and is done when the server has let the client in. What the server says comes through
//! [`ClientEvents`]; [`ClientSocket`] sends and never waits. It does not connect again by itself.

mod requests;
mod socket;
mod target;
mod task;

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use spandrel_socketio::{
    Limits,
    client::{CloseReason, SessionConfig, Transports},
};
use spandrel_transport::{DialError, TlsClient};

pub use socket::{AskError, ClientEvent, ClientEvents, ClientSocket};

/// Where to connect and how. Start from [`ClientConfig::new`].
///
/// | field | default | why |
/// |---|---|---|
/// | `events_max` | 1,024 | events not taken yet; over it nothing is read from the server |
/// | `events_bytes_max` | 16 MiB | the same in bytes; what was read at once may go over it |
/// | `close_ms` | 1,000 | each step of a goodbye |
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Name or address of the server; IPv6 without brackets.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// TLS with this trust; none is plain.
    pub tls: Option<TlsClient>,
    /// Name to ask for inside TLS; none is the host.
    pub tls_name: Option<String>,
    /// Path of the server, `/socket.io/`.
    pub path: String,
    /// Parameters of the query, as they are: encoding is done here.
    pub query: Vec<(String, String)>,
    /// Headers sent with every request.
    pub headers: HeaderMap,
    /// What carries the session, its times and bounds.
    pub session: SessionConfig,
    /// Most events that wait to be taken.
    pub events_max: usize,
    /// Most bytes of events that wait to be taken.
    pub events_bytes_max: usize,
    /// Longest wait for each step of a goodbye, in milliseconds.
    pub close_ms: u64,
}

impl ClientConfig {
    /// Plain, with default bounds and no parameters.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, transports: Transports) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            tls_name: None,
            path: crate::PATH.to_owned(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            session: SessionConfig::new(transports),
            events_max: 1_024,
            events_bytes_max: 16 << 20,
            close_ms: 1_000,
        }
    }

    /// Adds a parameter to the query.
    #[must_use]
    pub fn with_query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Adds a header to every request.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Connects inside TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsClient) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Asks inside TLS for this name, wherever it connects to.
    #[must_use]
    pub fn with_tls_name(mut self, name: impl Into<String>) -> Self {
        self.tls_name = Some(name.into());
        self
    }

    /// Sets the bounds of packets and of what waits to be sent.
    #[must_use]
    pub fn with_packet_limits(mut self, limits: Limits) -> Self {
        self.session.limits = limits;
        self
    }
}

/// Shows the names of the parameters, not their values: they may be secrets. Of headers not even those.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("path", &self.path)
            .field("query", &self.query.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// No session came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server cannot be reached, speaks no TLS that is wanted, or does not grant a WebSocket.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The server was reached, and the session ended before it began.
    #[error("no session: {0}")]
    Closed(CloseReason),
}

/// Connects, within [`handshake_ms`](SessionConfig::handshake_ms), and returns the two ends of the session once the
/// server has let the client in. A task of the runtime carries it until it is over.
///
/// Cancel safe: dropping the future leaves the server if it was reached.
///
/// ```
/// use spandrel_socketio::Value;
/// use spandrel_socketio_net::{ClientConfig, ClientEvent, Transports, connect};
/// # use spandrel_socketio::encode_event;
/// # use spandrel_socketio_net::{Bytes, ServerConfig, ServerEvent, SocketServer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (server, mut happened) = SocketServer::new(ServerConfig::default());
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let port = listener.local_addr()?.port();
/// # tokio::spawn(async move {
/// #     while let Ok((stream, address)) = listener.accept().await {
/// #         let server = server.clone();
/// #         tokio::spawn(async move {
/// #             let other = |_: &_| http::Response::new(Bytes::new());
/// #             server.serve_connection(Box::new(stream), address, other).await;
/// #         });
/// #     }
/// # });
/// # tokio::spawn(async move {
/// #     let (mut batch, mut socket) = (Vec::new(), None);
/// #     while happened.recv_many(&mut batch, 8).await > 0 {
/// #         for event in batch.drain(..) {
/// #             match event {
/// #                 ServerEvent::Opened(opened) => socket = Some(opened),
/// #                 ServerEvent::Received { event, .. } => {
/// #                     let arg = event.arg(0).unwrap_or(Value::NULL);
/// #                     let _ = socket.as_ref().map(|s| s.send(&encode_event("echo", &[&arg], None)));
/// #                 }
/// #                 _ => {}
/// #             }
/// #         }
/// #     }
/// # });
/// let config = ClientConfig::new("127.0.0.1", port, Transports::WebSocket).with_query("room", "a b");
/// let (socket, mut events) = connect(config).await?;
/// socket.emit("echo", &[&Value::from_text("hello")])?;
/// let Some(ClientEvent::Received(event)) = events.recv().await else { panic!("an event") };
/// assert!(event.is_named("echo") && event.arg(0) == Some(Value::from_text("hello")));
/// socket.disconnect();
/// assert!(matches!(events.recv().await, Some(ClientEvent::Closed(_))));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`ConnectError`]; to try again is for the caller.
pub async fn connect(config: ClientConfig) -> Result<(ClientSocket, ClientEvents), ConnectError> {
    let (socket, events, opened) = task::start(config);
    match opened.await {
        Ok(Ok(())) => Ok((socket, events)),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(ConnectError::Closed(CloseReason::Gone)), // the runtime ends
    }
}

#[cfg(test)]
mod tests;
