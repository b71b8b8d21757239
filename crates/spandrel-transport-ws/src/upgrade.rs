//! Taking over a connection whose head an HTTP server has read.

use std::net::SocketAddr;

use bytes::BytesMut;
use http::{HeaderValue, Request, Response, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use spandrel_transport::{BoxStream, ByteStream, Driver, Limits, Link, Peer};
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
/// glued to the request are not lost. When hyper served a plain [`TcpStream`] or a [`BoxStream`], such as the one inside
/// TLS, that stream is taken out of its HTTP wrapping; any other kind works too, wrapped. Whether the stream is secure
/// only the caller knows: set [`Peer::is_secure`].
#[must_use]
pub fn accept_upgraded(upgraded: Upgraded, peer: Peer, limits: &Limits) -> Box<dyn Link> {
    let (stream, leftover) = match unwrapped::<TcpStream>(upgraded) {
        Ok((tcp, leftover)) => {
            let _ = tcp.set_nodelay(true);
            (Box::new(tcp) as BoxStream, leftover)
        }
        Err(upgraded) => match unwrapped::<BoxStream>(upgraded) {
            Ok(boxed) => boxed,
            Err(upgraded) => (Box::new(TokioIo::new(upgraded)) as BoxStream, BytesMut::new()),
        },
    };
    let codec = WsCodec::new(Role::Server, limits);
    Box::new(Driver::with_leftover(stream, codec, peer, limits, leftover))
}

/// Takes the stream out of its wrapping, with what was read and not used, if it is of this kind: served by hyper-util's
/// choice between versions or by hyper's own HTTP/1 connection.
fn unwrapped<S: ByteStream + 'static>(upgraded: Upgraded) -> Result<(S, BytesMut), Upgraded> {
    use hyper_util::server::conn::auto;

    match auto::upgrade::downcast::<TokioIo<S>>(upgraded) {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf.into())),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<S>>()?;
            Ok((parts.io.into_inner(), parts.read_buf.into()))
        }
    }
}
