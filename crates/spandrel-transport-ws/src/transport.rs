//! `ws://` over plain TCP, `wss://` over TLS.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use spandrel_transport::{
    AcceptError, Admission, BoxFuture, BoxStream, ByteStream, DialError, Door, Driver, Endpoint, Incoming,
    Limits, Link, ListenError, Listener, Peer, Security, Transport, farewell,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tungstenite::handshake::server::write_response;

use crate::{HandshakeError, Role, Upgrade, WsCodec, choose_first, handshake, upgrade::upgrade};

type Admit = dyn Fn(&Peer) -> Result<(), StatusCode> + Send + Sync;

/// Transport of scheme `ws`, or of `wss` when it is [secured](Self::with_security): dials and listens, both within
/// [`handshake_ms`](Limits::handshake_ms). Cloning is cheap enough for one per client.
#[derive(Clone, Default)]
pub struct WsTransport {
    limits: Limits,
    subprotocols: Vec<String>,
    headers: HeaderMap,
    admit: Option<Arc<Admit>>,
    security: Security,
    admission: Option<Admission>,
}

impl WsTransport {
    /// Makes a transport with default limits and no subprotocols.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the subprotocols: dialling offers them in this order; listening picks the first of the *client's* order that is
    /// among them. Without a common one the handshake completes without a subprotocol ([`Peer::subprotocol`]).
    #[must_use]
    pub fn with_subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a header to every request that is dialled, such as `authorization`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets a check on every upgrade request that comes in; a refusal is answered with its HTTP status.
    #[must_use]
    pub fn with_admission(
        mut self,
        admit: impl Fn(&Peer) -> Result<(), StatusCode> + Send + Sync + 'static,
    ) -> Self {
        self.admit = Some(Arc::new(admit));
        self
    }

    /// Puts TLS below all links: the scheme is `wss` then, and plain endpoints are refused. The handshake names
    /// `http/1.1`.
    #[must_use]
    pub fn with_security(mut self, security: Security) -> Self {
        self.security = security.with_alpn(&["http/1.1"]);
        self
    }

    /// Counts the peers of its listeners here, together with those of other doors. By default each listener counts its
    /// own, with the bounds of the limits.
    #[must_use]
    pub fn with_shared_admission(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }

    /// Runs the server's handshake, that of TLS included, on a stream just accepted, within the deadline.
    /// A TCP socket wants `TCP_NODELAY` set before; a [`Door`] does it.
    ///
    /// # Errors
    ///
    /// When the peer is too slow or no WebSocket client; it is answered where HTTP allows it.
    pub async fn accept_stream<S: ByteStream + 'static>(
        &self,
        stream: S,
        address: Option<SocketAddr>,
    ) -> Result<Box<dyn Link>, AcceptError> {
        let after_ms = self.limits.handshake_ms;
        let shaken = timeout(Duration::from_millis(after_ms), async {
            let mut stream = self.security.accept(stream, &self.limits).await?;
            let (mut peer, leftover) = self.handshake(&mut stream, address).await?;
            self.mark(&mut peer);
            Ok::<_, AcceptError>((stream, peer, leftover))
        });
        let (stream, peer, leftover) = shaken.await.map_err(|_| AcceptError::Timeout { after_ms })??;
        let codec = WsCodec::new(Role::Server, &self.limits);
        Ok(Box::new(Driver::with_leftover(stream, codec, peer, &self.limits, leftover)))
    }

    /// Runs the client's handshake on a stream that is connected, and secured where it is to be, within the deadline. `to`
    /// (`ws` or `wss`) says what to ask for; nothing is dialled.
    ///
    /// # Errors
    ///
    /// When the peer is too slow, says no, or is no WebSocket server.
    pub async fn connect_stream<S: ByteStream + 'static>(
        &self,
        stream: S,
        to: &Endpoint,
    ) -> Result<Box<dyn Link>, DialError> {
        let after_ms = self.limits.handshake_ms;
        let opened = timeout(Duration::from_millis(after_ms), self.open(Box::new(stream), None, to)).await;
        opened.map_err(|_| DialError::Timeout { after_ms })?
    }

    fn mark(&self, peer: &mut Peer) {
        peer.scheme = self.scheme();
        peer.is_secure = self.security.is_on();
    }

    /// Takes an endpoint of its scheme apart: host and port.
    const fn place<'e>(&self, endpoint: &'e Endpoint) -> Option<(&'e str, u16)> {
        match endpoint {
            Endpoint::Ws { host, port, .. } if !self.security.is_on() => Some((host.as_str(), *port)),
            Endpoint::Wss { host, port, .. } if self.security.is_on() => Some((host.as_str(), *port)),
            _ => None,
        }
    }

    async fn handshake(
        &self,
        stream: &mut BoxStream,
        address: Option<SocketAddr>,
    ) -> Result<(Peer, BytesMut), AcceptError> {
        let (head, leftover) = match read_head(stream, &self.limits).await {
            Ok(read) => read,
            Err(HeadError::Io(e)) => return Err(e.into()),
            Err(HeadError::Wrong(e)) => return Err(self.refuse(stream, &e).await),
        };
        let upgraded = handshake::parse_request(&head, &self.limits).and_then(|request| {
            upgrade(&request, address, |offered| choose_first(offered, &self.subprotocols))
        });
        let Upgrade { response, peer } = match upgraded {
            Ok(upgraded) => upgraded,
            Err(e) => return Err(self.refuse(stream, &e).await),
        };
        if let Some(Err(status)) = self.admit.as_ref().map(|admit| admit(&peer)) {
            self.answer(stream, status, "not admitted").await;
            return Err(AcceptError::Handshake(format!("not admitted, answered {status}")));
        }
        let mut bytes = Vec::new();
        write_response(&mut bytes, &response).map_err(|e| AcceptError::Handshake(e.to_string()))?;
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        Ok((peer, leftover))
    }

    async fn refuse(&self, stream: &mut BoxStream, error: &HandshakeError) -> AcceptError {
        self.answer(stream, error.status(), &error.to_string()).await;
        AcceptError::Handshake(error.to_string())
    }

    /// Answers with a plain status and ends the stream so that the answer arrives.
    async fn answer(&self, stream: &mut BoxStream, status: StatusCode, text: &str) {
        let extra = if status == StatusCode::UPGRADE_REQUIRED { "Sec-WebSocket-Version: 13\r\n" } else { "" };
        let answer = format!(
            "HTTP/1.1 {status}\r\n{extra}Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        let _ = farewell(stream, answer.as_bytes(), &self.limits).await;
    }

    async fn dial_ws(&self, to: &Endpoint) -> Result<Box<dyn Link>, DialError> {
        let unsupported = || DialError::Unsupported { endpoint: to.to_string() };
        let (host, port) = self.place(to).ok_or_else(unsupported)?;
        let (stream, address) = self.security.dial(host, port, &self.limits).await?;
        self.open(stream, Some(address), to).await
    }

    /// Asks for an upgrade at `to` on a stream that is connected, and secured where it is to be.
    async fn open(
        &self,
        mut stream: BoxStream,
        address: Option<SocketAddr>,
        to: &Endpoint,
    ) -> Result<Box<dyn Link>, DialError> {
        let (Endpoint::Ws { host, port, path, query } | Endpoint::Wss { host, port, path, query }) = to
        else {
            return Err(DialError::Unsupported { endpoint: to.to_string() });
        };
        let is_secure = matches!(to, Endpoint::Wss { .. });
        let target = query.as_ref().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let default_port = if is_secure { 443 } else { 80 };
        let authority = if *port == default_port { bracketed } else { format!("{bracketed}:{port}") };
        let dialled =
            handshake::Dialled::new(&authority, &target, &self.subprotocols, &self.headers).map_err(dial)?;
        stream.write_all(&dialled.request).await?;
        stream.flush().await?;
        let (head, leftover) = match read_head(&mut stream, &self.limits).await {
            Ok(read) => read,
            Err(HeadError::Io(e)) => return Err(e.into()),
            Err(HeadError::Wrong(e)) => return Err(dial(e)),
        };
        let response = handshake::parse_response(&head, &self.limits).map_err(dial)?;
        let mut peer = Peer::new(if is_secure { "wss" } else { "ws" });
        peer.is_secure = is_secure;
        peer.subprotocol = dialled.check(&response).map_err(dial)?;
        peer.address = address;
        path.clone_into(&mut peer.path);
        peer.query.clone_from(query);
        peer.offered.clone_from(&self.subprotocols);
        handshake::keep_headers(response.headers(), &mut peer);
        let codec = WsCodec::new(Role::Client, &self.limits);
        Ok(Box::new(Driver::with_leftover(stream, codec, peer, &self.limits, leftover)))
    }
}

impl Transport for WsTransport {
    fn scheme(&self) -> &'static str {
        if self.security.is_on() { "wss" } else { "ws" }
    }

    fn dial<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Link>, DialError>> {
        Box::pin(async move {
            let after_ms = self.limits.handshake_ms;
            let dialled = timeout(Duration::from_millis(after_ms), self.dial_ws(to)).await;
            dialled.map_err(|_| DialError::Timeout { after_ms })?
        })
    }

    fn listen<'a>(&'a self, at: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let unsupported = || ListenError::Unsupported { endpoint: at.to_string() };
            let (host, port) = self.place(at).ok_or_else(unsupported)?;
            self.security.check_server()?;
            let admission = self.admission.clone().unwrap_or_else(|| Admission::new(&self.limits));
            let door = Door::bind(host, port, admission).await?;
            let local = at.clone().with_port(door.local_addr()?.port());
            Ok(Box::new(WsListener { door, local, transport: self.clone() }) as Box<dyn Listener>)
        })
    }
}

impl fmt::Debug for WsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsTransport").field("subprotocols", &self.subprotocols).finish_non_exhaustive()
    }
}

struct WsListener {
    door: Door,
    local: Endpoint,
    transport: WsTransport,
}

impl Listener for WsListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, AcceptError>> {
        let (stream, address) = ready!(self.door.poll_accept(cx));
        let transport = self.transport.clone();
        let handshake = async move { transport.accept_stream(stream, Some(address)).await };
        Poll::Ready(Ok(Incoming::new(Some(address), handshake)))
    }

    fn local(&self) -> &Endpoint {
        &self.local
    }
}

enum HeadError {
    Io(io::Error),
    Wrong(HandshakeError),
}

/// Reads up to the end of a head; returns it and the bytes that came after it.
async fn read_head(stream: &mut BoxStream, limits: &Limits) -> Result<(BytesMut, BytesMut), HeadError> {
    let (mut buf, mut searched) = (BytesMut::with_capacity(2048), 0);
    loop {
        match handshake::take_head(&mut buf, &mut searched, limits).map_err(HeadError::Wrong)? {
            Some(head) => return Ok((head, buf)),
            None if stream.read_buf(&mut buf).await.map_err(HeadError::Io)? == 0 => {
                return Err(HeadError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            None => {}
        }
    }
}

fn dial(error: HandshakeError) -> DialError {
    match error {
        HandshakeError::Status { status, retry_after_ms } => DialError::Refused { status, retry_after_ms },
        e => DialError::Handshake(e.to_string()),
    }
}
