//! One connection of a client: its messages in, texts and commands out.

mod answers;
mod follow;
mod turns;
mod words;

use std::collections::{HashMap, VecDeque};

use spandrel_download_protocol::{
    CloseCode, ConnectionHealth, DownloadError, DownloadId, ErrorCode, ErrorResponse, EventData, JobState,
    Message, ProgressUpdate, Refusal, RequestId, ServerEvent, StatusCheck, SystemHealth, parse_message,
    read_pair, write_message,
};
use spandrel_jobs::{JobTable, Now};
use spandrel_session::{
    BatchLimits, Batcher, Beat, Heartbeat, HeartbeatTimes, Millis, Rate, RateLimit, RefusalCounter,
    RefusalLimit,
};

pub use self::words::{Ask, Command, Done, Output};
use crate::{Pings, SessionConfig, Urls, spread, view};

/// Refusals are counted over this long.
const REFUSAL_WINDOW_MS: u64 = 60_000;

/// What a conversation looks at while it answers.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// Every job.
    pub table: &'a JobTable,
    /// Where files are fetched.
    pub urls: &'a dyn Urls,
    /// How the server is.
    pub health: &'a SystemHealth,
}

impl std::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("health", &self.health).finish_non_exhaustive()
    }
}

/// What a message asks that takes a look at the world.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    request_id: RequestId,
    refused_as: ServerEvent,
    look: Look,
}

#[derive(Debug, Clone, PartialEq)]
enum Look {
    Attach(DownloadId),
    Detach(DownloadId),
    Status(StatusCheck),
    Pong,
}

/// The server's half of one connection. Drain [`poll`](Self::poll) to `None` after each call.
#[derive(Debug)]
pub struct Conversation {
    config: SessionConfig,
    attachments: HashMap<DownloadId, Attachment>,
    batch: Batcher<DownloadId, ProgressUpdate>,
    rate: RateLimit,
    /// The rate has counted the message under way already.
    is_counted: bool,
    refusals: RefusalCounter,
    heart: Heartbeat,
    heard_wall_ms: u64,
    commands: usize,
    /// Of the requests among them.
    command_bytes: usize,
    /// Commands among them that may lead to an attachment.
    creating: usize,
    /// Jobs whose end is told after the answer to the cancel, not before.
    cancelling: Vec<DownloadId>,
    own_ids: u64,
    over_since_ms: Option<u64>,
    is_closed: bool,
    out: VecDeque<Output>,
}

/// A subscription to a job's events.
#[derive(Debug)]
struct Attachment {
    request_id: RequestId,
    state: JobState,
    sent: Option<ProgressUpdate>,
}

impl Conversation {
    /// Begins with the hello.
    pub fn new(now: Now, config: SessionConfig, health: &SystemHealth) -> Self {
        let limits = &config.limits;
        let hello = ConnectionHealth::Hello {
            server_time: now.wall_ms,
            session_id: config.session_id.clone(),
            protocol: config.protocol.clone(),
            heartbeat_interval_ms: limits.heartbeat_interval_ms,
            heartbeat_timeout_ms: limits.heartbeat_timeout_ms,
            max_message_bytes: u64::try_from(limits.protocol.message_bytes_max).unwrap_or(u64::MAX),
            features: config.features.clone(),
            system_health: health.clone(),
            server_nonce: config.server_nonce.clone(),
        };
        let mut conversation = Self {
            attachments: HashMap::new(),
            batch: Batcher::new(BatchLimits {
                entries_max: limits.batch_size,
                timeout_ms: limits.batch_timeout_ms,
            }),
            rate: RateLimit::new(at(now), Rate { per_s: limits.messages_per_s, burst: limits.message_burst }),
            is_counted: false,
            refusals: RefusalCounter::new(RefusalLimit {
                max: limits.refusals_max,
                window_ms: REFUSAL_WINDOW_MS,
            }),
            heart: Heartbeat::new(
                at(now),
                HeartbeatTimes {
                    interval_ms: limits.heartbeat_interval_ms,
                    timeout_ms: limits.heartbeat_timeout_ms,
                },
            ),
            heard_wall_ms: now.wall_ms,
            commands: 0,
            command_bytes: 0,
            creating: 0,
            cancelling: Vec::new(),
            own_ids: 0,
            over_since_ms: None,
            is_closed: false,
            out: VecDeque::new(),
            config,
        };
        let id = conversation.own_id();
        conversation.send(now, ServerEvent::ConnectionHealth, &id, &hello);
        // Told once; an idle connection keeps only what it needs.
        conversation.config.features = Vec::new();
        conversation.config.session_id = String::new();
        conversation
    }

    /// The next piece of work.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Something came from the peer, whatever it was.
    pub fn heard(&mut self, now: Now) {
        self.heart.heard(at(now));
        self.heard_wall_ms = now.wall_ms;
    }

    /// A message came. Give what it asks to [`answer`](Self::answer) before the next call. Two steps, so that a long
    /// message is read before the table is locked for its answer.
    #[must_use = "the question wants its answer"]
    pub fn message(&mut self, now: Now, text: &str) -> Option<Question> {
        self.heard(now);
        if self.is_closed {
            return None;
        }
        let limits = self.config.limits.protocol.clone();
        self.parsed(now, parse_message(text, &limits))
    }

    /// A line of a parent process came: `{"key":"<event>","value":<message>}` (protocol section 2.3). As
    /// [`message`](Self::message) for the message in it.
    #[must_use = "the question wants its answer"]
    pub fn pair(&mut self, now: Now, line: &str) -> Option<Question> {
        self.heard(now);
        if self.is_closed {
            return None;
        }
        let limits = self.config.limits.protocol.clone();
        self.parsed(now, read_pair(line, &limits))
    }

    fn parsed(&mut self, now: Now, message: Result<Message<'_>, Refusal>) -> Option<Question> {
        let is_counted = std::mem::take(&mut self.is_counted);
        let refusal = match message {
            Err(refusal) => refusal,
            Ok(message) => match if is_counted { Ok(()) } else { self.rate.take(at(now)) } {
                Err(wait_ms) => {
                    self.slow_down(now, &message.request_id, wait_ms);
                    return None;
                }
                Ok(()) => match message.known_event() {
                    Err(refusal) => refusal,
                    Ok(event) => match self.dispatch(event, &message) {
                        Ok(look) => {
                            return look.map(|look| Question {
                                request_id: message.request_id,
                                refused_as: event.error_event(),
                                look,
                            });
                        }
                        Err(error) => {
                            self.error(now, event.error_event(), &message.request_id, error, None);
                            return None;
                        }
                    },
                },
            },
        };
        self.refuse(now, refusal);
        None
    }

    /// Answers what a message asked.
    pub fn answer(&mut self, now: Now, world: World<'_>, question: Question) {
        let Question { request_id: id, refused_as, look } = question;
        if self.is_closed {
            return;
        }
        let answered = match look {
            Look::Attach(job) => self.attach_to(now, world, &id, job),
            Look::Detach(job) => self.detach(now, world, &id, job),
            Look::Status(check) => self.check(now, world, &id, check),
            Look::Pong => {
                let pong = ConnectionHealth::Pong {
                    server_time: Some(now.wall_ms),
                    system_health: Some(world.health.clone()),
                };
                self.send(now, ServerEvent::ConnectionHealth, &id, &pong);
                Ok(())
            }
        };
        if let Err(error) = answered {
            self.error(now, refused_as, &id, error, None);
        }
    }

    /// A command was carried out.
    pub fn done(&mut self, now: Now, world: World<'_>, command: &Command, done: Result<Done, ErrorResponse>) {
        self.commands = self.commands.saturating_sub(1);
        if let Ask::Create { text, .. } = &command.ask {
            self.creating = self.creating.saturating_sub(1);
            self.command_bytes = self.command_bytes.saturating_sub(text.len());
        }
        let cancelled = match command.ask {
            Ask::Cancel(job) => Some(job),
            _ => None,
        };
        if let Some(at) = self.cancelling.iter().position(|job| Some(*job) == cancelled) {
            self.cancelling.swap_remove(at);
        }
        if self.is_closed {
            return;
        }
        let id = &command.request_id;
        match done {
            Err(error) => self.error(now, ServerEvent::DownloadError, id, error, None),
            Ok(Done::Created { id: job, is_duplicate }) => match world.table.job(job) {
                Some(job) => {
                    let how = if is_duplicate { Start::Duplicate } else { Start::New };
                    if let Err(error) = self.attach(now, world, id, job, how) {
                        self.error(now, ServerEvent::DownloadError, id, error, Some(job.id()));
                    }
                }
                None => self.error(now, ServerEvent::DownloadError, id, view::cancelled(), Some(job)),
            },
            Ok(Done::Told(job)) => {
                if cancelled.is_none() {
                    // The change itself first: what follows the answer is about a later one.
                    self.job(now, world, job);
                }
                self.status(now, world, id, world.table.job(job).into_iter());
            }
        }
        if let Some(job) = cancelled {
            self.job(now, world, job);
        }
    }

    /// Does what time asks for: batches, pings, the end of silent or slow peers.
    pub fn tick(&mut self, now: Now) {
        if self.is_closed {
            return;
        }
        if self.is_busy() {
            // Nothing is read now, so silence says nothing about the peer.
            self.heart.heard(at(now));
        }
        match self.heart.tick(at(now)) {
            Some(Beat::Dead) => return self.close(CloseCode::HEARTBEAT, "nothing was heard for too long"),
            Some(Beat::Ping) => self.ping(now),
            None => {}
        }
        let over_ms = self.config.limits.outbound_over_ms;
        if self.over_since_ms.is_some_and(|since| now.mono_ms.saturating_sub(since) >= over_ms) {
            return self.close(CloseCode::SLOW_CONSUMER, "too much is waiting to be read");
        }
        if self.over_since_ms.is_none() {
            let due = self.batch.tick(at(now));
            self.send_batch(now, due);
        }
    }

    /// So many bytes wait for the peer. While that is over the bound, progress waits too.
    pub fn backlog(&mut self, now: Now, bytes: usize) {
        if bytes > self.config.limits.outbound_bytes_max {
            self.over_since_ms.get_or_insert(now.mono_ms);
        } else {
            self.over_since_ms = None;
        }
    }

    /// The server goes down.
    pub fn shut_down(&mut self, now: Now) {
        if self.is_closed {
            return;
        }
        let error =
            ErrorResponse::new(ErrorCode::ShuttingDown, "the server is stopping; connect again later");
        self.notice(now, &error.with_retry_after(spread(1_000, self.config.session)));
        self.close(CloseCode::GOING_AWAY, "the server is stopping");
    }

    fn ping(&mut self, now: Now) {
        match self.config.pings {
            Pings::Frames => self.out.push_back(Output::Ping),
            Pings::Messages => {
                let id = self.own_id();
                self.send(now, ServerEvent::ConnectionHealth, &id, &ConnectionHealth::Ping);
            }
        }
    }

    /// Tells the client something of the server's own accord (`system:error`).
    pub fn notice(&mut self, now: Now, error: &ErrorResponse) {
        let id = self.own_id();
        self.send(now, ServerEvent::SystemError, &id, error);
    }

    /// Ends the connection.
    pub fn close(&mut self, code: CloseCode, reason: &'static str) {
        if !std::mem::replace(&mut self.is_closed, true) {
            self.out.push_back(Output::Close(code, reason));
        }
    }

    /// Milliseconds until [`tick`](Self::tick) has something to do.
    pub fn next_tick_ms(&self, now: Now) -> u64 {
        let limits = &self.config.limits;
        let batch = self.batch.wake().filter(|_| self.over_since_ms.is_none());
        let slow = self.over_since_ms.map(|since| Millis::new(since).after(limits.outbound_over_ms));
        let next = [self.heart.wake(), batch, slow].into_iter().flatten().min();
        next.map_or(limits.heartbeat_interval_ms, |next| next.since(at(now)))
    }

    /// Whether this connection follows the job.
    pub fn is_attached(&self, id: DownloadId) -> bool {
        self.attachments.contains_key(&id)
    }

    /// Whether the peer has so much to read that nothing should be added: no message taken, no command begun, no
    /// change of a job told.
    pub fn is_slow(&self) -> bool {
        self.over_since_ms.is_some()
    }

    /// Whether no more messages should be taken until commands are done or the peer has read.
    pub fn is_busy(&self) -> bool {
        let limits = &self.config.limits;
        self.commands >= limits.commands_max
            || self.command_bytes >= limits.commands_bytes_max
            || self.over_since_ms.is_some()
    }

    fn refuse(&mut self, now: Now, refusal: Refusal) {
        let id = refusal.request_id.clone().unwrap_or_else(|| self.own_id());
        self.send(now, ServerEvent::SystemError, &id, &refusal.error);
        if refusal.counts() && self.refusals.refused(at(now)) {
            self.close(CloseCode::POLICY, "too many messages were refused");
        }
    }

    fn error(
        &mut self,
        now: Now,
        event: ServerEvent,
        id: &RequestId,
        error: ErrorResponse,
        download_id: Option<DownloadId>,
    ) {
        if event == ServerEvent::DownloadError {
            self.send(now, event, id, &DownloadError { error, download_id });
        } else {
            self.send(now, event, id, &error);
        }
    }

    fn send(&mut self, now: Now, event: ServerEvent, id: &RequestId, data: &(impl EventData + ?Sized)) {
        if !self.is_closed {
            self.out.push_back(Output::Send(write_message(event, id.as_str(), now.wall_ms, data)));
        }
    }

    /// A request id for what the server starts by itself: the session and a counter make it unique.
    fn own_id(&mut self) -> RequestId {
        self.own_ids += 1;
        RequestId::server(self.config.session << 32 | self.own_ids & 0xFFFF_FFFF)
    }
}

const fn at(now: Now) -> Millis {
    Millis::new(now.mono_ms)
}

/// Why there is a `download:start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    New,
    Duplicate,
    Attached,
}
