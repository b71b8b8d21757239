//! The server: its sessions, and the HTTP connections that reach them.

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    fmt,
    future::ready,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::Either;
use hyper::{
    body::{Body as HttpBody, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use spandrel_socketio::server::{Carrier, Session, SessionConfig};
use spandrel_transport::{BoxStream, Clock};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    Body, Events, ServerConfig, SocketId,
    answers::{self, Code},
    budget::Budget,
    config::{frame_bytes_max, slashed},
    events::Queue,
    query::Query,
    session::Task,
    socket::{Shared, Sid},
    stalled::Stalled,
};

/// A Socket.IO 2 server for polling, WebSocket and the upgrade between them. Cloning counts a reference.
///
/// It does not listen: give it connections ([`serve_connection`](Self::serve_connection)) or requests
/// ([`handle`](Self::handle)). Everything that happens comes out of [`Events`]. Needs a tokio runtime; sessions whose
/// runtime ends are told as closed.
#[derive(Clone)]
pub struct SocketServer(pub(crate) Arc<Inner>);

type Gate = Box<dyn Fn(&Parts) -> bool + Send + Sync>;

pub(crate) struct Inner {
    pub(crate) config: ServerConfig,
    /// With a slash at both ends.
    pub(crate) path: String,
    pub(crate) session: Arc<SessionConfig>,
    pub(crate) link_limits: spandrel_transport::Limits,
    pub(crate) clock: Clock,
    pub(crate) queue: Arc<Queue>,
    pub(crate) budget: Arc<Budget>,
    gate: OnceLock<Gate>,
    /// Held for moments; no other lock is taken inside it.
    sessions: Mutex<HashMap<Sid, Arc<Shared>>>,
    next_id: AtomicU64,
    http: http1::Builder,
    stopping: watch::Sender<bool>,
    emptied: Notify,
}

impl SocketServer {
    /// Makes a server, and what the application hears from it.
    #[must_use]
    pub fn new(config: ServerConfig) -> (Self, Events) {
        let limits = &config.limits;
        let queue = Arc::new(Queue::new(limits.events_max, limits.events_bytes_max));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(limits.head_ms_max))
            .max_buf_size(limits.head_bytes_max.max(8 << 10))
            .max_header_size(limits.head_bytes_max)
            .max_headers(limits.headers_max);
        let mut link_limits = spandrel_transport::Limits::default()
            .with_frame_bytes_max(frame_bytes_max(config.session.limits.message_bytes_max))
            .with_close_ms(limits.close_ms);
        // The rest of a refused message is thrown away, so that the goodbye arrives.
        link_limits.drain_bytes_max = link_limits.frame_bytes_max;
        let inner = Inner {
            path: slashed(&config.path),
            session: Arc::new(config.session.clone()),
            link_limits,
            clock: Clock::start(),
            queue: Arc::clone(&queue),
            budget: Arc::new(Budget::new(config.limits.held_bytes_max)),
            gate: OnceLock::new(),
            sessions: Mutex::default(),
            next_id: AtomicU64::new(1),
            http,
            stopping: watch::channel(false).0,
            emptied: Notify::new(),
            config,
        };
        (Self(Arc::new(inner)), Events::new(queue))
    }

    /// Sets who decides about requests: it is asked for each one under the path, preflights and requests of open sessions
    /// included, before anything else is done. `Err` answers 403 without any CORS header. Without a gate everybody comes
    /// in. Only the first one set counts.
    #[must_use]
    pub fn with_gate<A, E>(self, gate: impl Fn(&Parts) -> Result<A, E> + Send + Sync + 'static) -> Self {
        let _ = self.0.gate.set(Box::new(move |parts| gate(parts).is_ok()));
        self
    }

    /// Speaks HTTP/1 on a connection until it ends or becomes a WebSocket. Requests under the
    /// [path](crate::ServerConfig::path) are ours, `fallback` answers the others at once and without their bodies; a
    /// WebSocket on another path is refused with 404.
    ///
    /// Dropping the future drops the connection, unless it has become a WebSocket.
    pub async fn serve_connection<F>(&self, stream: BoxStream, address: SocketAddr, fallback: F)
    where
        F: Fn(&Request<Incoming>) -> Response<Bytes>,
    {
        let fallback = |request: Request<Incoming>| {
            ready(if answers::wants_websocket(request.headers()) {
                answers::not_found()
            } else {
                fallback(&request).map(Body::whole)
            })
        };
        self.serve_connection_with(stream, address, fallback).await;
    }

    /// As [`serve_connection`](Self::serve_connection), with a `fallback` that may wait, read the body of the request,
    /// answer with any body, and take WebSockets of its own (`hyper::upgrade::on`). Bounds for what it reads are its own
    /// too. A connection that has become a WebSocket of the application is no more this server's to close.
    pub async fn serve_connection_with<F, A, B>(&self, stream: BoxStream, address: SocketAddr, fallback: F)
    where
        F: Fn(Request<Incoming>) -> A,
        A: Future<Output = Response<B>>,
        B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
    {
        let limits = &self.0.config.limits;
        let (stream, stall) = Stalled::watch(stream, Duration::from_millis(limits.stalled_ms_max));
        let stream: BoxStream = Box::new(stream);
        let fallback = &fallback;
        let service = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(if request.uri().path().starts_with(&self.0.path) {
                self.handle(request, address).await.map(Either::Left)
            } else {
                fallback(request).await.map(Either::Right)
            })
        });
        let mut connection =
            pin!(self.0.http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let stopping = async {
            let _ = self.0.stopping.subscribe().wait_for(|is_stopping| *is_stopping).await;
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stall.noticed() => return tracing::debug!(%address, "a connection takes nothing of its answer"),
            () = stopping => {
                connection.as_mut().graceful_shutdown();
                match timeout(Duration::from_millis(limits.close_ms), connection).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, %address, "an http connection broke off");
        }
    }

    /// Closes all sessions: held GETs are answered, WebSockets say goodbye; clients that do not answer within
    /// [`close_ms`](crate::Limits::close_ms) are dropped. Returns when every [`Closed`](crate::ServerEvent::Closed) is in
    /// the queue. From now on new sessions get 503, and connections end after the answer under way, new ones at once.
    ///
    /// Cancelled, the sessions close all the same, without the bound.
    pub async fn close_all(&self) {
        self.start_closing();
        let close = Duration::from_millis(self.0.config.limits.close_ms);
        if timeout(close, self.0.until_empty()).await.is_err() {
            self.0.all().iter().for_each(|session| session.cut());
            self.0.until_empty().await;
        }
    }

    /// Does what [`close_all`](Self::close_all) does first, and does not wait. Needs no runtime.
    pub fn start_closing(&self) {
        self.0.stopping.send_replace(true);
        for session in self.0.all() {
            session.step(|machine, now| machine.close(now));
        }
    }

    /// Returns how many sessions there are, those that still say goodbye included.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.0.lock().len()
    }

    /// Returns how many sessions were closed since the start because more was half received than
    /// [`held_bytes_max`](crate::Limits::held_bytes_max).
    #[must_use]
    pub fn crowded(&self) -> u64 {
        self.0.budget.crowded()
    }
}

impl fmt::Debug for SocketServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketServer").field("sessions", &self.sessions()).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn admits(&self, parts: &Parts) -> bool {
        self.gate.get().is_none_or(|gate| gate(parts))
    }

    pub(crate) fn find(&self, sid: &str) -> Option<Arc<Shared>> {
        let sid: &Sid = sid.as_bytes().try_into().ok()?;
        self.lock().get(sid).cloned()
    }

    /// Opens a session, without its task.
    pub(crate) fn open(
        &self,
        carrier: Carrier,
        query: Query,
        address: SocketAddr,
    ) -> Result<Arc<Shared>, Code> {
        if *self.stopping.borrow() {
            return Err(Code::Full);
        }
        let (sid, name) = random_sid().map_err(|error| {
            tracing::error!(%error, "no random numbers");
            Code::Full
        })?;
        let machine = Session::new(self.clock.now(), &name, carrier, Arc::clone(&self.session));
        let id = SocketId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let query = query.kept(self.config.query_names.as_deref());
        let shared = Shared::new(id, sid, query, address, self, machine);
        let mut sessions = self.lock();
        if sessions.len() >= self.config.limits.sessions_max {
            return Err(Code::Full);
        }
        sessions.insert(sid, Arc::clone(&shared));
        Ok(shared)
    }

    pub(crate) fn remove(&self, shared: &Shared) {
        let mut sessions = self.lock();
        let removed = sessions.remove(&shared.sid);
        if sessions.is_empty() {
            *sessions = HashMap::new();
            self.emptied.notify_waiters();
        }
        drop(sessions);
        drop(removed);
    }

    fn all(&self) -> Vec<Arc<Shared>> {
        self.lock().values().cloned().collect()
    }

    async fn until_empty(&self) {
        loop {
            let mut emptied = pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.lock().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sid, Arc<Shared>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// Starts the task of a session.
pub(crate) fn start(inner: &Arc<Inner>, shared: &Arc<Shared>) {
    tokio::spawn(Task::new(Arc::clone(inner), Arc::clone(shared)));
}

fn random_sid() -> io::Result<(Sid, String)> {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let mut sid: Sid = [0; 20];
    URL_SAFE_NO_PAD.encode_slice(bytes, &mut sid).map_err(io::Error::other)?;
    Ok((sid, String::from_utf8_lossy(&sid).into_owned()))
}
