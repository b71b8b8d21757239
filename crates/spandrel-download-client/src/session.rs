//! The task that owns the connection: correlates answers, follows jobs, keeps the link alive, opens it again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde_json::value::RawValue;
use spandrel_download_protocol::{
    ClientEvent, CloseCode, ConnectionHealth, DownloadComplete, DownloadError, DownloadId, DownloadStart,
    ErrorCode, ErrorResponse, Health, HealthKind, JobRef, Limits, ProtocolError, RequestId, ServerEvent,
    ServerMessage, SessionState, Subprotocol, parse_progress, parse_server_message, write_client_message,
};
use spandrel_session::{Backoff, Beat, Heartbeat, HeartbeatTimes, Millis, Retry};
use spandrel_transport::{Close, Connection, DialError, Frame, Transport};
use spandrel_transport_ws::WsTransport;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::origin::Origin;
use crate::slot::{DownloadEvent, Slot};
use crate::{ClientError, ClientOptions};

/// How the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Open, hello received.
    Connected,
    /// Lost, being opened again.
    Reconnecting {
        /// Which attempt comes next, from 1.
        attempt: u32,
        /// Milliseconds until then.
        delay_ms: u64,
    },
    /// Over for good: the local event `connection:failed`.
    Failed {
        /// Last close code.
        code: u16,
        /// Attempts made.
        attempts: u32,
    },
}

/// Something to ask the server.
pub(crate) struct Ask {
    pub(crate) event: ClientEvent,
    pub(crate) data: Box<RawValue>,
    pub(crate) request_id: RequestId,
    pub(crate) reply: Reply,
}

type Answer<T> = oneshot::Sender<Result<T, ClientError>>;

/// Who waits for the answer.
pub(crate) enum Reply {
    /// Wants a job to follow: a request or an attach.
    Start(Answer<DownloadStart>, Arc<Slot>),
    /// Wants a `status:update`.
    State(Answer<SessionState>),
    /// Nobody: a job is followed again after a reconnect.
    Again(DownloadId),
}

impl Reply {
    /// Tells whoever waits; for a job followed again, says whether that is to be tried later.
    fn fail(self, error: ClientError, jobs: &mut HashMap<DownloadId, Arc<Slot>>) -> Option<Postponed> {
        match (self, error) {
            (Self::Start(reply, _), error) => drop(reply.send(Err(error))),
            (Self::State(reply), error) => drop(reply.send(Err(error))),
            // Many jobs at once meet the rate limit: that says nothing about the job.
            (Self::Again(id), ClientError::Refused(refusal)) if refusal.recoverable => {
                return Some(Postponed { id, after_ms: refusal.retry_after_ms.unwrap_or(1000) });
            }
            (Self::Again(id), ClientError::Refused(refusal)) => {
                if let Some(slot) = jobs.remove(&id) {
                    slot.put(DownloadEvent::Error(refusal));
                }
            }
            (Self::Again(_), _) => {}
        }
        None
    }
}

struct Postponed {
    id: DownloadId,
    after_ms: u64,
}

/// Why a connection ended.
enum End {
    /// Nobody holds the client any more.
    Unwanted,
    Lost(CloseCode),
}

pub(crate) struct Session {
    transport: WsTransport,
    origin: Origin,
    options: ClientOptions,
    asks: mpsc::Receiver<Ask>,
    state: watch::Sender<ConnectionState>,
    unanswered: HashMap<RequestId, Ask>,
    jobs: HashMap<DownloadId, Arc<Slot>>,
    backoff: Backoff,
    retry_after_ms: Option<u64>,
    /// Jobs to follow again, once the server's rate limit allows.
    postponed: Vec<DownloadId>,
    postponed_until: Instant,
    limits: Limits,
}

/// An open connection whose hello was read.
pub(crate) struct Open {
    conn: Connection,
    heart: HeartbeatTimes,
}

impl Session {
    pub(crate) fn new(
        origin: Origin,
        options: ClientOptions,
        asks: mpsc::Receiver<Ask>,
        state: watch::Sender<ConnectionState>,
    ) -> Result<Self, ClientError> {
        let mut wire = spandrel_transport::Limits::default();
        wire.frame_bytes_max = options.message_bytes_max;
        let mut transport =
            WsTransport::new().with_limits(wire).with_subprotocols([Subprotocol::Json.as_str()]);
        if let Some(token) = &options.bearer {
            transport = transport.with_header(AUTHORIZATION, bearer(token)?);
        }
        let mut limits = Limits::default();
        limits.message_bytes_max = options.message_bytes_max;
        Ok(Self {
            transport,
            origin,
            backoff: Backoff::new(options.backoff),
            options,
            asks,
            state,
            unanswered: HashMap::new(),
            jobs: HashMap::new(),
            retry_after_ms: None,
            postponed: Vec::new(),
            postponed_until: Instant::now(),
            limits,
        })
    }

    /// Dials and waits for the hello.
    pub(crate) async fn open(&self) -> Result<Open, ClientError> {
        let mut conn = Connection::new(self.transport.dial(&self.origin.messages).await?);
        let after_ms = self.options.hello_ms;
        let hello = timeout(Duration::from_millis(after_ms), async {
            loop {
                let frame = match conn.recv().await {
                    Ok(Some(frame)) => frame,
                    Ok(None) => {
                        let code = conn.close_info().map_or(Close::NO_CODE, |close| close.code);
                        return Err(ClientError::Closed { code });
                    }
                    Err(e) => return Err(DialError::Handshake(e.to_string()).into()),
                };
                let message = read(&frame, &self.limits)?;
                if message.event != Some(ServerEvent::ConnectionHealth) {
                    continue;
                }
                if let Ok(ConnectionHealth::Hello { heartbeat_interval_ms, heartbeat_timeout_ms, .. }) =
                    serde_json::from_str(message.data.get())
                {
                    let heart = HeartbeatTimes {
                        interval_ms: heartbeat_interval_ms,
                        timeout_ms: heartbeat_timeout_ms,
                    };
                    return Ok::<_, ClientError>(heart);
                }
            }
        });
        let heart = hello.await.map_err(|_| ClientError::NoHello { after_ms })??;
        Ok(Open { conn, heart })
    }

    /// Runs until nobody holds the client, or the connection is gone for good.
    pub(crate) async fn run(mut self, first: Open) {
        let mut open = first;
        loop {
            self.backoff.connected();
            self.retry_after_ms = None;
            self.state.send_replace(ConnectionState::Connected);
            let end = self.serve(&mut open).await;
            let code = match end {
                End::Unwanted => {
                    // The peer may be slow to say goodbye; nobody waits for it.
                    let _ = open.conn.close(Close::normal()).await;
                    return;
                }
                End::Lost(code) => code,
            };
            drop(open);
            match self.reopen(code).await {
                Ok(again) => open = again,
                Err(Some(code)) => return self.fail(code),
                Err(None) => return,
            }
        }
    }

    /// `Err(None)` when nobody wants the connection any more.
    async fn reopen(&mut self, mut code: CloseCode) -> Result<Open, Option<CloseCode>> {
        while code.reconnects() {
            let random = getrandom::u32().unwrap_or(u32::MAX / 2);
            let Retry::After { delay_ms, attempt } = self.backoff.lost(self.retry_after_ms.take(), random)
            else {
                break;
            };
            self.state.send_replace(ConnectionState::Reconnecting { attempt, delay_ms });
            for slot in self.jobs.values() {
                slot.put(DownloadEvent::Reconnecting { attempt, delay_ms });
            }
            if !self.wait(delay_ms).await {
                return Err(None);
            }
            code = match self.open().await {
                Ok(open) => return Ok(open),
                Err(e) => close_code(&e),
            };
        }
        Err(Some(code))
    }

    /// Waits while taking in what is asked meanwhile; `false` when nobody asks any more.
    async fn wait(&mut self, delay_ms: u64) -> bool {
        let until = Instant::now() + Duration::from_millis(delay_ms);
        loop {
            tokio::select! {
                () = sleep_until(until) => return true,
                ask = self.asks.recv() => match ask {
                    Some(ask) => drop(self.register(ask)),
                    None => return false,
                },
            }
        }
    }

    fn fail(mut self, code: CloseCode) {
        let (code, attempts) = (code.0, self.backoff.attempts());
        self.asks.close();
        while let Ok(ask) = self.asks.try_recv() {
            ask.reply.fail(ClientError::ConnectionFailed { code, attempts }, &mut self.jobs);
        }
        for (_, ask) in self.unanswered.drain() {
            ask.reply.fail(ClientError::ConnectionFailed { code, attempts }, &mut self.jobs);
        }
        for slot in self.jobs.values() {
            slot.put(DownloadEvent::ConnectionFailed { code, attempts });
        }
        self.state.send_replace(ConnectionState::Failed { code, attempts });
    }

    async fn serve(&mut self, open: &mut Open) -> End {
        let conn = &mut open.conn;
        let start = Instant::now();
        let clock = || Millis::new(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
        let mut heart = Heartbeat::new(clock(), open.heart);
        let mut activity = conn.stats().activity;
        for text in self.take_up_again() {
            if let Err(end) = send(conn, text).await {
                return end;
            }
        }
        loop {
            let wake = heart.wake().map_or(u64::MAX, Millis::get);
            let wake = start + Duration::from_millis(wake.min(86_400_000));
            let answer = tokio::select! {
                // Reading comes first: after a pause of the whole process, what waits in the socket is life.
                biased;
                received = conn.recv() => match received {
                    Ok(Some(frame)) => {
                        heart.heard(clock());
                        match self.received(&frame) {
                            Ok(answer) => answer,
                            Err(e) => {
                                tracing::warn!(error = %e, "closing: the server does not speak the protocol");
                                let _ = conn.close(Close::new(Close::INVALID_DATA, "not a message")).await;
                                return End::Lost(CloseCode::INVALID_DATA);
                            }
                        }
                    }
                    Ok(None) => {
                        let code = conn.close_info().map_or(Close::ABNORMAL, |close| close.code);
                        return End::Lost(CloseCode(code));
                    }
                    Err(e) => return End::Lost(CloseCode(e.close_code())),
                },
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.register(ask),
                    None => return End::Unwanted,
                },
                () = sleep_until(self.postponed_until), if !self.postponed.is_empty() => {
                    // A hundred a second is what servers allow by default.
                    self.postponed_until = Instant::now() + Duration::from_millis(10);
                    self.postponed.pop().filter(|id| self.jobs.contains_key(id)).and_then(|id| self.attach_again(id))
                }
                () = sleep_until(wake) => {
                    // Pings and pongs of the wire are life too, but only its counter shows them.
                    let now = conn.stats().activity;
                    if now != activity {
                        activity = now;
                        heart.heard(clock());
                    }
                    match heart.tick(clock()) {
                        Some(Beat::Ping) => match conn.try_ping(b"") {
                            Ok(true) => None,
                            _ => Some(ping()),
                        },
                        Some(Beat::Dead) => {
                            let _ = conn.close(Close::new(Close::HEARTBEAT, "nothing heard")).await;
                            return End::Lost(CloseCode::HEARTBEAT);
                        }
                        None => None,
                    }
                }
            };
            if let Some(text) = answer
                && let Err(end) = send(conn, text).await
            {
                return end;
            }
        }
    }

    /// Attaches to every job without an end, and repeats what was not answered (section 10.3).
    fn take_up_again(&mut self) -> Vec<String> {
        self.unanswered.retain(|_, ask| !matches!(ask.reply, Reply::Again(_)));
        let mut texts: Vec<String> = self.unanswered.values().map(text_of).collect();
        self.jobs.retain(|_, slot| Arc::strong_count(slot) > 1);
        self.postponed.clear();
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            texts.extend(self.attach_again(id));
        }
        texts
    }

    fn attach_again(&mut self, id: DownloadId) -> Option<String> {
        let data = serde_json::value::to_raw_value(&JobRef { download_id: id }).ok()?;
        let request_id = new_request_id();
        let ask = Ask { event: ClientEvent::DownloadAttach, data, request_id, reply: Reply::Again(id) };
        let text = text_of(&ask);
        self.unanswered.insert(ask.request_id.clone(), ask);
        Some(text)
    }

    /// Takes a question in; returns the message that asks it.
    fn register(&mut self, ask: Ask) -> Option<String> {
        let max = self.options.under_way_max;
        if self.jobs.len() >= max {
            self.jobs.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        if self.unanswered.len() >= max || self.jobs.len() >= max {
            ask.reply.fail(ClientError::TooMany { max }, &mut self.jobs);
            return None;
        }
        let text = text_of(&ask);
        self.unanswered.insert(ask.request_id.clone(), ask);
        Some(text)
    }

    /// Acts on a message of the server; returns an answer to send.
    fn received(&mut self, frame: &Frame) -> Result<Option<String>, ClientError> {
        let message = read(frame, &self.limits)?;
        let Some(event) = message.event else { return Ok(None) };
        tracing::trace!(%event, request_id = %message.request_id, "received");
        match event {
            ServerEvent::DownloadStart => self.started(&message)?,
            ServerEvent::DownloadProgress => {
                for update in parse_progress(message.data)? {
                    if let Some(slot) = self.jobs.get(&update.download_id) {
                        slot.put(DownloadEvent::Progress(update));
                    }
                }
            }
            ServerEvent::DownloadComplete => {
                let complete: DownloadComplete = data(&message)?;
                if let Some(slot) = self.jobs.remove(&complete.download_id) {
                    slot.put(DownloadEvent::Complete(complete));
                }
            }
            ServerEvent::DownloadError => {
                let error: DownloadError = data(&message)?;
                if let Some(ask) = self.answered(&message) {
                    self.refuse(ask, error.error);
                } else if let Some(slot) = error.download_id.and_then(|id| self.jobs.remove(&id)) {
                    slot.put(DownloadEvent::Error(error.error));
                }
            }
            ServerEvent::StatusUpdate => self.status(&message)?,
            ServerEvent::SystemError => {
                let error: ErrorResponse = data(&message)?;
                if matches!(error.code, ErrorCode::ShuttingDown | ErrorCode::Overloaded) {
                    self.retry_after_ms = error.retry_after_ms;
                }
                if let Some(ask) = self.answered(&message) {
                    self.refuse(ask, error);
                } else {
                    tracing::warn!(%error, "the server complains");
                }
            }
            ServerEvent::ConnectionHealth => {
                // A health message of a later version is still a sign of life.
                if let Ok(ConnectionHealth::Ping) = data(&message)
                    && let Ok(id) = serde_json::from_value(message.request_id.into())
                {
                    return Ok(Some(health(&id, HealthKind::Pong)));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn refuse(&mut self, ask: Ask, error: ErrorResponse) {
        if let Some(Postponed { id, after_ms }) = ask.reply.fail(error.into(), &mut self.jobs) {
            self.postponed.push(id);
            self.postponed_until = Instant::now() + Duration::from_millis(after_ms.clamp(10, 60_000));
        }
    }

    fn answered(&mut self, message: &ServerMessage<'_>) -> Option<Ask> {
        let id = RequestId::parse(&message.request_id).ok()?;
        self.unanswered.remove(&id)
    }

    fn started(&mut self, message: &ServerMessage<'_>) -> Result<(), ClientError> {
        let start: DownloadStart = data(message)?;
        match self.answered(message).map(|ask| ask.reply) {
            Some(Reply::Start(reply, slot)) => {
                let id = start.download_id;
                if reply.send(Ok(start)).is_ok() {
                    self.jobs.insert(id, slot);
                }
            }
            Some(reply @ Reply::State(_)) => {
                let wrong = ProtocolError::ServerMessage("download:start answers something else".to_owned());
                reply.fail(wrong.into(), &mut self.jobs);
            }
            Some(Reply::Again(_)) | None => {}
        }
        Ok(())
    }

    fn status(&mut self, message: &ServerMessage<'_>) -> Result<(), ClientError> {
        let state: SessionState = data(message)?;
        for (id, status) in &state.active_downloads {
            if let Some(slot) = self.jobs.get(id).filter(|_| !status.state.is_final()) {
                slot.put(DownloadEvent::State(status.clone()));
            }
        }
        if let Some(ask) = self.answered(message)
            && let Reply::State(reply) = ask.reply
        {
            let _ = reply.send(Ok(state));
        }
        Ok(())
    }
}

pub(crate) fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClientError::Url {
        url: String::new(),
        why: "the bearer token has characters no header may",
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// 32 hex digits: random enough to be new for each request.
pub(crate) fn new_request_id() -> RequestId {
    let words = [0; 4].map(|_: u32| getrandom::u32().unwrap_or_default());
    let text = words.iter().map(|w| format!("{w:08x}")).collect::<String>();
    RequestId::parse(&text).expect("hex digits are allowed")
}

/// Milliseconds since 1970, for the `timestamp` of messages.
#[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

fn text_of(ask: &Ask) -> String {
    write_client_message(ask.event, &ask.request_id, wall_ms(), &*ask.data)
}

fn ping() -> String {
    health(&new_request_id(), HealthKind::Ping)
}

fn health(id: &RequestId, kind: HealthKind) -> String {
    write_client_message(ClientEvent::ConnectionHealth, id, wall_ms(), &Health { kind })
}

fn read<'f>(frame: &'f Frame, limits: &Limits) -> Result<ServerMessage<'f>, ClientError> {
    let text = frame.as_text().ok_or_else(|| ProtocolError::ServerMessage("a binary frame".to_owned()))?;
    Ok(parse_server_message(text, limits)?)
}

fn data<T: serde::de::DeserializeOwned>(message: &ServerMessage<'_>) -> Result<T, ProtocolError> {
    serde_json::from_str(message.data.get()).map_err(|e| ProtocolError::ServerMessage(e.to_string()))
}

/// A peer that does not read for ten seconds is as good as gone.
async fn send(conn: &mut Connection, text: String) -> Result<(), End> {
    match timeout(Duration::from_secs(10), conn.feed(Frame::text(text))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(End::Lost(CloseCode(e.close_code()))),
        Err(_) => Err(End::Lost(CloseCode(Close::ABNORMAL))),
    }
}

/// What an attempt that failed says about trying again.
fn close_code(error: &ClientError) -> CloseCode {
    match error {
        ClientError::Closed { code } => CloseCode(*code),
        ClientError::Dial(DialError::Refused { status: 401 | 403 }) => CloseCode::AUTH_FAILED,
        ClientError::Protocol(_) => CloseCode::INVALID_DATA,
        _ => CloseCode(Close::ABNORMAL),
    }
}
