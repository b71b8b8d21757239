//! Taking over a connection whose head an HTTP server has read.

use std::net::SocketAddr;

use bytes::BytesMut;
use http::{HeaderValue, Request, Response, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use spandrel_transport::{Driver, Limits, Link, Peer};
use tokio::net::TcpStream;

use crate::{HandshakeError, Role, WsCodec, handshake};

/// The answer to an upgrade request and what the request told about the peer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Upgrade {
    /// Status 101 with `Sec-WebSocket-Accept` and the chosen subprotocol. Send it without a body.
    pub response: Response<()>,
    /// Facts for [`accept_upgraded`].
    pub peer: Peer,
}

/// Checks an upgrade request and makes the answer. `choose` gets the names the client offers, in its order, and picks one
/// ([`choose_first`]); with `None` the handshake is completed without a subprotocol, so that the caller can close with
/// a code that a browser can read.
///
/// # Errors
///
/// When the request is no WebSocket upgrade; [`HandshakeError::status`] is the answer then, and 426 wants the header
/// `Sec-WebSocket-Version: 13`.
pub fn upgrade<B>(
    request: &Request<B>,
    address: Option<SocketAddr>,
    choose: impl FnOnce(&[String]) -> Option<String>,
) -> Result<Upgrade, HandshakeError> {
    let mut response = handshake::accept(request)?;
    let mut peer = Peer::new("ws");
    peer.address = address;
    request.uri().path().clone_into(&mut peer.path);
    peer.query = request.uri().query().map(str::to_owned);
    peer.offered = handshake::offers(request.headers());
    handshake::keep_headers(request.headers(), &mut peer);
    let chosen = choose(&peer.offered);
    // RFC 6455 section 4.2.2: a name the client did not offer must not be answered.
    peer.subprotocol = chosen.filter(|name| peer.offered.contains(name));
    if let Some(value) = peer.subprotocol.as_deref().and_then(|name| HeaderValue::from_str(name).ok()) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(Upgrade { response, peer })
}

/// Picks the first offered name that is supported.
pub fn choose_first<S: AsRef<str>>(offered: &[String], supported: &[S]) -> Option<String> {
    offered.iter().find(|name| supported.iter().any(|s| s.as_ref() == *name)).cloned()
}

/// Makes the server's end of a link from an upgraded connection (`hyper::upgrade::on(&mut request).await`). Bytes that came
/// glued to the request are not lost. On plain TCP the socket is taken out of its HTTP wrapping.
#[must_use]
pub fn accept_upgraded(upgraded: Upgraded, peer: Peer, limits: &Limits) -> Box<dyn Link> {
    use hyper_util::server::conn::auto;

    let codec = WsCodec::new(Role::Server, limits);
    let upgraded = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => return tcp(parts.io.into_inner(), &parts.read_buf, codec, peer, limits),
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => tcp(parts.io.into_inner(), &parts.read_buf, codec, peer, limits),
        Err(upgraded) => Box::new(Driver::new(TokioIo::new(upgraded), codec, peer, limits)),
    }
}

fn tcp(stream: TcpStream, leftover: &[u8], codec: WsCodec, peer: Peer, limits: &Limits) -> Box<dyn Link> {
    let _ = stream.set_nodelay(true);
    Box::new(Driver::with_leftover(stream, codec, peer, limits, BytesMut::from(leftover)))
}
