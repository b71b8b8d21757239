//! `tcp://`: length framing over plain TCP, with the offer of subprotocols as its handshake.

use std::{
    fmt, io,
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use spandrel_wire::{Close, Codec, Endpoint, Hello, LengthCodec, Limits, OutBuf, WireError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{AcceptError, DialError, Driver, Incoming, Link, ListenError, Listener, Peer, Transport};

/// Transport of scheme `tcp`.
///
/// With subprotocols the dialling side speaks first: their names and a query (download protocol, section 2.2); the other
/// side answers with one of them, or closes with 4406. Without subprotocols frames flow at once.
#[derive(Clone, Default)]
pub struct TcpTransport {
    limits: Limits,
    subprotocols: Vec<String>,
    query: Option<String>,
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

    async fn dial_tcp(&self, to: &Endpoint) -> Result<Box<dyn Link>, DialError> {
        let Endpoint::Tcp { host, port } = to else {
            return Err(DialError::Unsupported { endpoint: to.to_string() });
        };
        let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
        let _ = stream.set_nodelay(true);
        let mut codec = LengthCodec::new(&self.limits);
        let mut peer = Peer { address: stream.peer_addr().ok(), ..Peer::new("tcp") };
        let mut leftover = BytesMut::new();
        if !self.subprotocols.is_empty() {
            let offer = Hello { names: self.subprotocols.clone(), query: self.query.clone() };
            let mut out = OutBuf::new();
            codec.encode_hello(&offer, &mut out);
            stream.write_all(&out.to_vec()).await?;
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

    async fn accept_stream(
        self,
        mut stream: TcpStream,
        address: SocketAddr,
    ) -> Result<Box<dyn Link>, AcceptError> {
        let _ = stream.set_nodelay(true);
        let mut codec = LengthCodec::new(&self.limits);
        let mut peer = Peer { address: Some(address), ..Peer::new("tcp") };
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
            let mut out = OutBuf::new();
            codec.encode_hello(&Hello::new([name]), &mut out);
            stream.write_all(&out.to_vec()).await?;
            peer.subprotocol = Some(name.clone());
            peer.query = offer.query;
            peer.offered = offer.names;
        }
        Ok(Box::new(Driver::with_leftover(stream, codec, peer, &self.limits, leftover)))
    }

    /// Says why and ends the stream so that it arrives.
    async fn refuse(&self, stream: &mut TcpStream, codec: &mut LengthCodec, why: &Close) -> AcceptError {
        let mut out = OutBuf::new();
        codec.close(why, &mut out);
        let farewell = async {
            stream.write_all(&out.to_vec()).await?;
            stream.shutdown().await?;
            let mut rest = stream.take(self.limits.drain_bytes_max as u64);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        let _ = timeout(Duration::from_millis(self.limits.close_ms), farewell).await;
        AcceptError::Handshake(format!("closed with {why}"))
    }
}

impl Transport for TcpTransport {
    fn scheme(&self) -> &'static str {
        "tcp"
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
            let Endpoint::Tcp { host, port } = at else {
                return Err(ListenError::Unsupported { endpoint: at.to_string() });
            };
            let listener = TcpListener::bind((host.as_str(), *port)).await?;
            let local = at.clone().with_port(listener.local_addr()?.port());
            Ok(Box::new(Door { listener, local, transport: self.clone() }) as Box<dyn Listener>)
        })
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport").field("subprotocols", &self.subprotocols).finish_non_exhaustive()
    }
}

struct Door {
    listener: TcpListener,
    local: Endpoint,
    transport: TcpTransport,
}

impl Listener for Door {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, AcceptError>> {
        let (stream, address) = ready!(self.listener.poll_accept(cx))?;
        let transport = self.transport.clone();
        let handshake = async move {
            let after_ms = transport.limits.handshake_ms;
            let shaken =
                timeout(Duration::from_millis(after_ms), transport.accept_stream(stream, address)).await;
            shaken.map_err(|_| AcceptError::Timeout { after_ms })?
        };
        Poll::Ready(Ok(Incoming::new(Some(address), handshake)))
    }

    fn local(&self) -> &Endpoint {
        &self.local
    }
}

/// Outer error: the stream failed. Inner: the bytes were wrong.
async fn read_hello(
    stream: &mut TcpStream,
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
