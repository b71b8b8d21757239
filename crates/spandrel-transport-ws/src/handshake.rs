//! The upgrade from HTTP (RFC 6455 section 4), without I/O.

use bytes::BytesMut;
use http::{HeaderMap, Request, Response, StatusCode, header};
use spandrel_transport::{Limits, Peer};
use tungstenite::{
    Error,
    error::ProtocolError,
    handshake::{
        client::{Request as ClientRequest, Response as ClientResponse, generate_key, generate_request},
        derive_accept_key,
        machine::TryParse,
        server::{Request as ServerRequest, create_response_with_body},
    },
};

/// Most subprotocol names that are looked at.
const OFFERS_MAX: usize = 32;

/// An upgrade that cannot be. [`status`](Self::status) is the answer for the peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The head is too long.
    #[error("head is longer than {max} bytes")]
    HeadTooLong {
        /// The limit.
        max: usize,
    },
    /// The head has too many lines.
    #[error("head has more than {max} header lines")]
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
    /// Not the version of RFC 6455.
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
    /// HTTP, but not a WebSocket upgrade.
    #[error("not a WebSocket upgrade: {0}")]
    NotUpgrade(String),
    /// Not HTTP.
    #[error("not HTTP/1.1: {0}")]
    NotHttp(String),
    /// The server answered with another status than 101.
    #[error("server answered with status {status}")]
    Status {
        /// The status.
        status: u16,
        /// Its `Retry-After` in milliseconds, where that is a number of seconds.
        retry_after_ms: Option<u64>,
    },
    /// The server's answer does not fit the request.
    #[error("wrong answer to the upgrade: {0}")]
    Answer(&'static str),
}

impl HandshakeError {
    /// Returns the HTTP status a server answers with: 431, 426 or 400.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::HeadTooLong { .. } | Self::TooManyHeaders { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Takes a complete head from the front of `buf`, once it is there. `searched` remembers how far the end was looked for, so
/// that a head that comes byte by byte costs no more than one that comes whole.
pub(crate) fn take_head(
    buf: &mut BytesMut,
    searched: &mut usize,
    limits: &Limits,
) -> Result<Option<BytesMut>, HandshakeError> {
    let from = searched.saturating_sub(3);
    let found = buf.get(from..).unwrap_or_default().windows(4).position(|w| w == b"\r\n\r\n");
    let end = found.map(|at| from + at + 4);
    if end.unwrap_or(buf.len()) > limits.handshake_bytes_max {
        return Err(HandshakeError::HeadTooLong { max: limits.handshake_bytes_max });
    }
    *searched = buf.len();
    Ok(end.map(|end| buf.split_to(end)))
}

/// Reads a request head.
pub(crate) fn parse_request(head: &[u8], limits: &Limits) -> Result<ServerRequest, HandshakeError> {
    parse(head, limits)
}

/// Reads a response head.
pub(crate) fn parse_response(head: &[u8], limits: &Limits) -> Result<ClientResponse, HandshakeError> {
    parse(head, limits)
}

fn parse<T: TryParse>(head: &[u8], limits: &Limits) -> Result<T, HandshakeError> {
    let max = limits.handshake_headers_max;
    // The first line and the empty one are not headers.
    if head.iter().filter(|b| **b == b'\n').count() > max.saturating_add(2) {
        return Err(HandshakeError::TooManyHeaders { max });
    }
    match T::try_parse(head) {
        Ok(Some((_, parsed))) => Ok(parsed),
        Ok(None) => Err(HandshakeError::NotHttp("head is not complete".into())),
        Err(Error::Capacity(_)) => Err(HandshakeError::TooManyHeaders { max }),
        Err(e) => Err(HandshakeError::NotHttp(e.to_string())),
    }
}

/// Checks an upgrade request and makes the 101 answer, without a subprotocol yet.
pub(crate) fn accept<B>(request: &Request<B>) -> Result<Response<()>, HandshakeError> {
    create_response_with_body(&on_one_line(request), || ()).map_err(|e| match e {
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => HandshakeError::Version,
        e => HandshakeError::NotUpgrade(e.to_string()),
    })
}

/// What the check looks at. It reads the first line of a header only, but several are one list (RFC 9110 section 5.3).
fn on_one_line<B>(request: &Request<B>) -> Request<()> {
    let headers = request.headers();
    let mut plain = Request::new(());
    *plain.method_mut() = request.method().clone();
    *plain.version_mut() = request.version();
    for (name, token) in [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket")] {
        if has_token(headers, &name, token) {
            plain.headers_mut().insert(name, http::HeaderValue::from_static(token));
        }
    }
    for name in [header::SEC_WEBSOCKET_VERSION, header::SEC_WEBSOCKET_KEY] {
        if let Some(value) = headers.get(&name) {
            plain.headers_mut().insert(name, value.clone());
        }
    }
    plain
}

/// Returns the names of all `Sec-WebSocket-Protocol` headers, in order.
pub(crate) fn offers(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    let names = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|name| !name.is_empty());
    names.take(OFFERS_MAX).map(str::to_owned).collect()
}

/// Copies the headers worth keeping: not those of the upgrade itself, which say nothing about the peer.
pub(crate) fn keep_headers(headers: &HeaderMap, peer: &mut Peer) {
    peer.headers = headers
        .iter()
        .filter(|(name, _)| {
            !name.as_str().starts_with("sec-websocket")
                && !matches!(**name, header::UPGRADE | header::CONNECTION)
        })
        .filter_map(|(name, value)| Some((name.as_str().into(), value.to_str().ok()?.into())))
        .collect();
}

/// A dialled upgrade: the request's bytes and what the answer must say.
pub(crate) struct Dialled {
    pub(crate) request: Vec<u8>,
    accept_key: String,
    offered: Vec<String>,
}

impl Dialled {
    /// Makes a request for `target` (path and query) at `host`.
    pub(crate) fn new(
        host: &str,
        target: &str,
        offered: &[String],
        headers: &HeaderMap,
    ) -> Result<Self, HandshakeError> {
        let wrong = |e: http::Error| HandshakeError::NotHttp(e.to_string());
        let mut request: ClientRequest = Request::builder()
            .uri(target)
            .header(header::HOST, host)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, generate_key())
            .body(())
            .map_err(wrong)?;
        if !offered.is_empty() {
            let value = http::HeaderValue::from_str(&offered.join(", ")).map_err(|e| wrong(e.into()))?;
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        for (name, value) in headers {
            request.headers_mut().append(name, value.clone());
        }
        let (request, key) = generate_request(request).map_err(|e| HandshakeError::NotHttp(e.to_string()))?;
        Ok(Self { request, accept_key: derive_accept_key(key.as_bytes()), offered: offered.to_vec() })
    }

    /// Checks the answer (RFC 6455 section 4.1) and returns the subprotocol. None at all is taken: such a server says why
    /// with a close code.
    pub(crate) fn check<B>(&self, response: &Response<B>) -> Result<Option<String>, HandshakeError> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let retry_after_ms = retry_after_ms(response.headers());
            return Err(HandshakeError::Status { status: response.status().as_u16(), retry_after_ms });
        }
        let headers = response.headers();
        if !has_token(headers, &header::UPGRADE, "websocket")
            || !has_token(headers, &header::CONNECTION, "upgrade")
        {
            return Err(HandshakeError::Answer("Upgrade or Connection header missing"));
        }
        if headers.get(header::SEC_WEBSOCKET_ACCEPT).map(http::HeaderValue::as_bytes)
            != Some(self.accept_key.as_bytes())
        {
            return Err(HandshakeError::Answer("Sec-WebSocket-Accept does not fit the key"));
        }
        if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
            return Err(HandshakeError::Answer("an extension nobody asked for"));
        }
        match &offers(headers)[..] {
            [] => Ok(None),
            [name] if self.offered.contains(name) => Ok(Some(name.clone())),
            _ => Err(HandshakeError::Answer("a subprotocol nobody asked for")),
        }
    }
}

/// Dates are not read: who means a pause gives seconds, and a date would need a clock that both sides trust.
fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    // `parse` takes a sign, the header has none.
    let is_number = !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| seconds.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000))
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}
