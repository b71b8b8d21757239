//! The requests of the Socket.IO path.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use spandrel_socketio::{
    Form, Frame,
    server::{Carrier, CloseReason},
};
use spandrel_transport_ws::HandshakeError;
use tokio::time::timeout;

use crate::{
    Body, SocketServer,
    answers::{self, Code},
    query::Query,
    server::start,
    session::Upgrading,
    socket::Shared,
};

impl SocketServer {
    /// Answers one request under `/socket.io/`, whatever served it; a WebSocket needs hyper's HTTP/1 with upgrades.
    ///
    /// A GET may be held for long. Dropping the future tells the session that its connection is gone; what would have
    /// been the answer goes with the next one.
    pub async fn handle(&self, request: Request<Incoming>, address: SocketAddr) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if !self.0.admits(&parts) {
            return Code::Forbidden.json();
        }
        let origin = parts.headers.get(header::ORIGIN).cloned();
        let mut response = match self.route(Request::from_parts(parts, ()), address) {
            Next::Answer(response) => response,
            Next::Get { shared, b64 } => Held::new(&shared).answer(b64).await,
            Next::Post { shared, form, announced } => self.post(&shared, form, announced, body).await,
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            answers::add_cors(origin, response.headers_mut());
        }
        response
    }

    /// Decides what is to be done: everything that needs no waiting.
    fn route(&self, request: Request<()>, address: SocketAddr) -> Next {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        if request.uri().path() != crate::PATH {
            return Next::Answer(answers::not_found());
        }
        if request.method() == Method::OPTIONS {
            return Next::Answer(answers::preflight(request.headers(), query.has("sid")));
        }
        if answers::wants_websocket(request.headers()) {
            return Next::Answer(self.upgrade(request, query, address).unwrap_or_else(Refused::answer));
        }
        self.poll(&request, query, address).unwrap_or_else(|code| Next::Answer(code.json()))
    }

    fn poll(&self, request: &Request<()>, query: Query, address: SocketAddr) -> Result<Next, Code> {
        let session = self.check(&query)?;
        // A WebSocket that asks for no upgrade; or an answer for a script element, which sends no `Origin` and could
        // read it.
        if query.get("transport") != Some("polling") || query.get("j").is_some() {
            return Err(Code::BadRequest);
        }
        let b64 = query.has("b64");
        let Some(shared) = session else {
            if request.method() != Method::GET {
                return Err(Code::BadHandshakeMethod);
            }
            check_handshake(&query)?;
            return self.open(query, address, b64).map(Next::Answer);
        };
        match *request.method() {
            Method::GET => {
                shared.step(|machine, now| machine.get(now))?;
                Ok(Next::Get { shared, b64 })
            }
            Method::POST => {
                shared.step(|machine, now| machine.begin_post(now))?;
                let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
                let form = Form::of_content_type(kind.unwrap_or_default());
                Ok(Next::Post { shared, form, announced: announced(request.headers()) })
            }
            _ => Err(Code::BadRequest),
        }
    }

    /// Checks what all requests have in common, in the order of the original; finds the session.
    fn check(&self, query: &Query) -> Result<Option<Arc<Shared>>, Code> {
        if !matches!(query.get("transport"), Some("polling" | "websocket")) {
            return Err(Code::TransportUnknown);
        }
        match query.get("sid").filter(|sid| !sid.is_empty()) {
            Some(sid) => self.0.find(sid).map(Some).ok_or(Code::SessionUnknown),
            None => Ok(None),
        }
    }

    /// Opens a polling session and answers with what opens it.
    fn open(&self, query: Query, address: SocketAddr, b64: bool) -> Result<Response<Body>, Code> {
        let shared = self.0.open(Carrier::Polling, query, address)?;
        let frames = {
            let mut core = shared.lock();
            let opened = core.machine.get(self.0.clock.now()).ok().and_then(|()| core.machine.answer());
            core.tell(&shared);
            opened.unwrap_or_default()
        };
        start(&self.0, &shared);
        Ok(answers::packets(&frames, b64, &shared, 0))
    }

    /// Takes a WebSocket: for a new session, or to take over one.
    fn upgrade(
        &self,
        mut request: Request<()>,
        query: Query,
        address: SocketAddr,
    ) -> Result<Response<Body>, Refused> {
        let session = self.check(&query)?;
        if query.get("transport") != Some("websocket") {
            return Err(Code::BadRequest.into());
        }
        let upgrade = spandrel_transport_ws::upgrade(&request, Some(address), |_| None)?;
        let mut peer = upgrade.peer;
        peer.headers = Vec::new(); // nobody reads them, and each connection would keep them
        peer.query = None;
        let upgrading = |on| Upgrading { on, peer };
        match session {
            Some(shared) => {
                let tried = shared.step(|machine, now| machine.try_socket(now));
                tried.map_err(Code::from)?;
                shared.give(upgrading(hyper::upgrade::on(&mut request)));
            }
            None => {
                check_handshake(&query)?;
                let shared = self.0.open(Carrier::WebSocket, query, address)?;
                shared.give(upgrading(hyper::upgrade::on(&mut request)));
                start(&self.0, &shared);
            }
        }
        Ok(upgrade.response.map(|()| Body::whole(Bytes::new())))
    }

    async fn post(&self, shared: &Arc<Shared>, form: Form, announced: u64, body: Incoming) -> Response<Body> {
        let mut posting = Posting { shared, is_done: false };
        let max = self.0.session.limits.payload_bytes_max;
        if announced > max as u64 {
            posting.fail(CloseReason::TooLong);
            return Code::TooLarge.json();
        }
        let wait = Duration::from_millis(self.0.config.limits.body_ms_max);
        let bytes = match timeout(wait, Limited::new(body, max).collect()).await {
            Ok(Ok(whole)) => whole.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                posting.fail(CloseReason::TooLong);
                return Code::TooLarge.json();
            }
            Ok(Err(_)) => return Code::BadRequest.json(), // broke off: nobody reads this
            Err(_) => {
                posting.fail(CloseReason::TooLong);
                return Code::TooSlow.json();
            }
        };
        posting.is_done = true;
        let taken = shared.step(|machine, now| machine.post(now, bytes, form));
        // The application sets the pace.
        poll_fn(|cx| shared.poll_delivered(cx)).await;
        match taken {
            Ok(()) => answers::ok(),
            Err(refusal) => Code::from(refusal).json(),
        }
    }
}

/// Why a WebSocket is not taken.
enum Refused {
    Code(Code),
    Handshake(HandshakeError),
}

impl Refused {
    fn answer(self) -> Response<Body> {
        match self {
            Self::Code(code) => code.plain(),
            Self::Handshake(error) => answers::no_handshake(&error),
        }
    }
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self::Code(code)
    }
}

impl From<HandshakeError> for Refused {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

enum Next {
    Answer(Response<Body>),
    Get { shared: Arc<Shared>, b64: bool },
    Post { shared: Arc<Shared>, form: Form, announced: u64 },
}

/// A new session speaks revision 3.
fn check_handshake(query: &Query) -> Result<(), Code> {
    if query.get("EIO") != Some("3") {
        return Err(Code::ProtocolUnsupported);
    }
    Ok(())
}

/// What does not fit 64 bits is over every limit.
fn announced(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.map_or(0, |text| text.parse().unwrap_or(u64::MAX))
}

/// A POST whose body is being read. Dropped before it is done, the connection is gone.
struct Posting<'a> {
    shared: &'a Arc<Shared>,
    is_done: bool,
}

impl Posting<'_> {
    fn fail(&mut self, why: CloseReason) {
        self.is_done = true;
        self.shared.step(|machine, now| machine.post_failed(now, Some(why)));
    }
}

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.step(|machine, now| machine.post_failed(now, None));
        }
    }
}

/// A held GET. Dropped before it is answered, the connection is gone.
struct Held<'a> {
    shared: &'a Arc<Shared>,
    is_done: bool,
}

impl<'a> Held<'a> {
    const fn new(shared: &'a Arc<Shared>) -> Self {
        Self { shared, is_done: false }
    }

    async fn answer(mut self, b64: bool) -> Response<Body> {
        let shared = self.shared;
        let (frames, bytes) = Pin::new(&mut self).await;
        answers::packets(&frames, b64, shared, bytes)
    }
}

impl Future for Held<'_> {
    type Output = (Vec<Frame>, usize);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.shared.poll_answer(cx);
        self.is_done = answer.is_ready();
        answer
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.step(|machine, _| machine.get_gone());
        }
    }
}
