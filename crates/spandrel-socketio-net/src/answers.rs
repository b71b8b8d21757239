//! What the server answers over HTTP.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::body::{Body as HttpBody, Frame as BodyFrame, SizeHint};
use spandrel_socketio::{Frame, encode_payload, server::Refusal};
use spandrel_transport_ws::HandshakeError;

use crate::socket::Shared;

/// An error of the transport, told as `{"code":N,"message":"…"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    TransportUnknown,
    SessionUnknown,
    BadHandshakeMethod,
    BadRequest,
    Forbidden,
    /// As servers of later revisions say it.
    ProtocolUnsupported,
    TooLarge,
    TooSlow,
    Full,
}

impl Code {
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::TransportUnknown => {
                (StatusCode::BAD_REQUEST, "Transport unknown", r#"{"code":0,"message":"Transport unknown"}"#)
            }
            Self::SessionUnknown => (
                StatusCode::BAD_REQUEST,
                "Session ID unknown",
                r#"{"code":1,"message":"Session ID unknown"}"#,
            ),
            Self::BadHandshakeMethod => (
                StatusCode::BAD_REQUEST,
                "Bad handshake method",
                r#"{"code":2,"message":"Bad handshake method"}"#,
            ),
            Self::BadRequest => {
                (StatusCode::BAD_REQUEST, "Bad request", r#"{"code":3,"message":"Bad request"}"#)
            }
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden", r#"{"code":4,"message":"Forbidden"}"#),
            Self::ProtocolUnsupported => (
                StatusCode::BAD_REQUEST,
                "Unsupported protocol version",
                r#"{"code":5,"message":"Unsupported protocol version"}"#,
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Bad request",
                r#"{"code":3,"message":"Bad request: the body is too large"}"#,
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "Bad request",
                r#"{"code":3,"message":"Bad request: the body took too long"}"#,
            ),
            Self::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many sessions",
                r#"{"code":6,"message":"Too many sessions"}"#,
            ),
        }
    }

    pub(crate) fn json(self) -> Response<Body> {
        let (status, _, json) = self.parts();
        answer(status, "application/json", Bytes::from_static(json.as_bytes()))
    }

    /// For a WebSocket, whose client reads no body.
    pub(crate) fn plain(self) -> Response<Body> {
        let (status, text, _) = self.parts();
        answer(status, "text/plain", Bytes::from_static(text.as_bytes()))
    }
}

impl From<Refusal> for Code {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Over => Self::SessionUnknown,
            _ => Self::BadRequest,
        }
    }
}

/// The answer to a GET. `counted` bytes of it count as unsent until HTTP has taken them.
pub(crate) fn packets(frames: &[Frame], b64: bool, shared: &Arc<Shared>, counted: usize) -> Response<Body> {
    let (form, rest) = encode_payload(frames, b64);
    let mut response = answer(StatusCode::OK, form.content_type(), Bytes::new());
    *response.body_mut() = Body { rest, counted: Some((Arc::clone(shared), counted)) };
    response
}

/// The answer to a POST.
pub(crate) fn ok() -> Response<Body> {
    answer(StatusCode::OK, "text/html", Bytes::from_static(b"ok"))
}

pub(crate) fn not_found() -> Response<Body> {
    answer(StatusCode::NOT_FOUND, "text/plain", Bytes::from_static(b"Not Found"))
}

/// The answer to a preflight: with a session 200, without 204.
pub(crate) fn preflight(headers: &HeaderMap, has_sid: bool) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::new()));
    *response.status_mut() = if has_sid { StatusCode::OK } else { StatusCode::NO_CONTENT };
    let out = response.headers_mut();
    out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
    if headers.get(ASKS_PRIVATE).is_some_and(|value| value == "true") {
        out.insert(ALLOWS_PRIVATE, HeaderValue::from_static("true"));
    }
    response
}

/// A WebSocket handshake that is none.
pub(crate) fn no_handshake(error: &HandshakeError) -> Response<Body> {
    let mut response = answer(error.status(), "text/plain", error.to_string().into());
    if error.status() == StatusCode::UPGRADE_REQUIRED {
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

/// Lets the page that asked read the answer; the gate has admitted it.
pub(crate) fn add_cors(origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    match origin {
        None => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        Some(origin) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        }
    }
}

pub(crate) fn wants_websocket(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case("websocket"))
}

const ASKS_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOWS_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

fn answer(status: StatusCode, kind: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The body of an answer: bytes that are there, handed to HTTP in pieces. What it has not taken counts as unsent.
pub struct Body {
    rest: Bytes,
    counted: Option<(Arc<Shared>, usize)>,
}

/// Longest piece handed over at once, in bytes: what HTTP holds of an answer that is not read.
const PIECE: usize = 64 << 10;

impl Body {
    /// Makes a body of bytes.
    #[must_use]
    pub const fn whole(bytes: Bytes) -> Self {
        Self { rest: bytes, counted: None }
    }

    fn taken(&mut self) {
        if let Some((shared, bytes)) = self.counted.take() {
            shared.unwritten_answers.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let piece = self.rest.len().min(PIECE);
        if piece == 0 {
            return Poll::Ready(None);
        }
        let piece = self.rest.split_to(piece);
        if self.rest.is_empty() {
            self.taken();
        }
        Poll::Ready(Some(Ok(BodyFrame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.taken();
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("len", &self.rest.len()).finish_non_exhaustive()
    }
}
