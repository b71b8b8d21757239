//! Length framing over TCP, with the offer of subprotocols as its handshake.

use std::{
    fmt, io,
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use spandrel_transport::{
    AcceptError, Admission, BoxFuture, BoxStream, ByteStream, Close, Codec, DialError, Door, Driver,
    Endpoint, Incoming, Limits, Link, ListenError, Listener, Peer, Security, Transport, WireError, farewell,
};
use spandrel_wire::{Hello, LengthCodec, OutBuf};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

/// Transport of scheme `tcp`, or of `tcps` when it is [secured](Self::with_security).
///
/// With subprotocols the dialling side speaks first: their names and a query (download protocol, section 2.2); the other
/// side answers with one of them, or closes with 4406. Without subprotocols frames flow at once.
#[derive(Clone, Default)]
pub struct TcpTransport {
    limits: Limits,
    subprotocols: Vec<String>,
    query: Option<String>,
    security: Security,
    admission: Option<Admission>,
}

impl TcpTransport {
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

    /// Sets the subprotocols: dialling offers them in this order; listening picks the first of the *dialling* side's order
    /// that is among them.
    #[must_use]
    pub fn with_subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the query that goes out with the offer.
    #[must_use]
    pub fn with_query(mut self, query: impl Into<String>) -> Self {
        self.query = Some(query.into());
        self
    }

    /// Puts TLS below all links: the scheme is `tcps` then, and plain endpoints are refused.
    #[must_use]
    pub fn with_security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// Counts the peers of its listeners here, together with those of other doors. By default each listener counts its
    /// own, with the bounds of the limits.
    #[must_use]
    pub fn with_shared_admission(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }

    /// Returns host and port of an endpoint of its scheme.
    fn place<'e>(&self, endpoint: &'e Endpoint) -> Option<(&'e str, u16)> {
        match endpoint {
            Endpoint::Tcp { host, port } if !self.security.is_on() => Some((host, *port)),
            Endpoint::Tcps { host, port } if self.security.is_on() => Some((host, *port)),
            _ => None,
        }
    }

    fn peer(&self, address: Option<SocketAddr>) -> Peer {
        let mut peer = Peer::new(self.scheme());
        peer.address = address;
        peer.is_secure = self.security.is_on();
        peer
    }

    async fn dial_tcp(&self, to: &Endpoint) -> Result<Box<dyn Link>, DialError> {
        let unsupported = || DialError::Unsupported { endpoint: to.to_string() };
        let (host, port) = self.place(to).ok_or_else(unsupported)?;
        let (mut stream, address) = self.security.dial(host, port, &self.limits).await?;
        let mut codec = LengthCodec::new(&self.limits);
        let mut peer = self.peer(Some(address));
        let mut leftover = BytesMut::new();
        if !self.subprotocols.is_empty() {
            let offer = Hello { names: self.subprotocols.clone(), query: self.query.clone() };
            say(&mut stream, &codec, &offer).await?;
            peer.offered.clone_from(&self.subprotocols);
            peer.subprotocol = match read_hello(&mut stream, &mut codec, &mut leftover).await? {
                Ok(answer) => answer.names.into_iter().next().filter(|name| self.subprotocols.contains(name)),
                Err(e) => return Err(refused(&codec, &e)),
            };
            if peer.subprotocol.is_none() {
                return Err(DialError::Handshake("peer chose a subprotocol that was not offered".into()));
            }
        }
        Ok(Box::new(Driver::with_leftover(stream, codec, peer, &self.limits, leftover)))
    }

    /// Runs the listening side's handshake, that of TLS included, on a stream just accepted, within
    /// [`handshake_ms`](Limits::handshake_ms). A TCP socket wants `TCP_NODELAY` set before; a [`Door`] does it.
    ///
    /// # Errors
    ///
    /// When the peer is too slow or says something else; it is told with a close where that is possible.
    pub async fn accept_stream<S: ByteStream + 'static>(
        &self,
        stream: S,
        address: Option<SocketAddr>,
    ) -> Result<Box<dyn Link>, AcceptError> {
        let after_ms = self.limits.handshake_ms;
        let shaken = timeout(Duration::from_millis(after_ms), self.handshake(stream, address)).await;
        shaken.map_err(|_| AcceptError::Timeout { after_ms })?
    }

    async fn handshake<S: ByteStream + 'static>(
        &self,
        stream: S,
        address: Option<SocketAddr>,
    ) -> Result<Box<dyn Link>, AcceptError> {
        let mut stream = self.security.accept(stream, &self.limits).await?;
        let mut codec = LengthCodec::new(&self.limits);
        let mut peer = self.peer(address);
        let mut leftover = BytesMut::new();
        if !self.subprotocols.is_empty() {
            let offer = match read_hello(&mut stream, &mut codec, &mut leftover).await? {
                Ok(offer) => offer,
                Err(e) => return Err(self.refuse(&mut stream, &mut codec, &e.close()).await),
            };
            let Some(name) = offer.names.iter().find(|name| self.subprotocols.contains(name)) else {
                let why = Close::new(Close::NO_SUBPROTOCOL, "no subprotocol both sides know");
                return Err(self.refuse(&mut stream, &mut codec, &why).await);
            };
            say(&mut stream, &codec, &Hello::new([name])).await?;
            peer.subprotocol = Some(name.clone());
            peer.query = offer.query;
            peer.offered = offer.names;
        }
        Ok(Box::new(Driver::with_leftover(stream, codec, peer, &self.limits, leftover)))
    }

    /// Says why and ends the stream so that it arrives.
    async fn refuse(&self, stream: &mut BoxStream, codec: &mut LengthCodec, why: &Close) -> AcceptError {
        let mut out = OutBuf::new();
        codec.close(why, &mut out);
        let _ = farewell(stream, &out.to_vec(), &self.limits).await;
        AcceptError::Handshake(format!("closed with {why}"))
    }
}

impl Transport for TcpTransport {
    fn scheme(&self) -> &'static str {
        if self.security.is_on() { "tcps" } else { "tcp" }
    }

    fn dial<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Link>, DialError>> {
        Box::pin(async move {
            let after_ms = self.limits.handshake_ms;
            let dialled = timeout(Duration::from_millis(after_ms), self.dial_tcp(to)).await;
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
            Ok(Box::new(TcpDoor { door, local, transport: self.clone() }) as Box<dyn Listener>)
        })
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport")
            .field("subprotocols", &self.subprotocols)
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}

struct TcpDoor {
    door: Door,
    local: Endpoint,
    transport: TcpTransport,
}

impl Listener for TcpDoor {
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

async fn say(stream: &mut BoxStream, codec: &LengthCodec, hello: &Hello) -> io::Result<()> {
    let mut out = OutBuf::new();
    codec.encode_hello(hello, &mut out);
    stream.write_all(&out.to_vec()).await?;
    stream.flush().await
}

/// Outer error: the stream failed. Inner: the bytes were wrong.
async fn read_hello(
    stream: &mut BoxStream,
    codec: &mut LengthCodec,
    buf: &mut BytesMut,
) -> io::Result<Result<Hello, WireError>> {
    loop {
        match codec.decode_hello(buf) {
            Ok(Some(hello)) => return Ok(Ok(hello)),
            Ok(None) => {}
            Err(e) => return Ok(Err(e)),
        }
        if stream.read_buf(buf).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn refused(codec: &LengthCodec, error: &WireError) -> DialError {
    match codec.closed() {
        Some(why) => DialError::Closed { close: why.clone() },
        None => DialError::Handshake(error.to_string()),
    }
}
