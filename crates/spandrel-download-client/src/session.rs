//! The task that owns the connection: takes questions in, keeps the link alive, opens it again.

mod book;
mod channel;
mod opening;

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use spandrel_download_protocol::{
    ClientEvent, CloseCode, Health, HealthKind, RequestId, write_client_message,
};
use spandrel_session::{Backoff, Beat, Heartbeat, Millis, ReplayCache, ReplayLimits, Retry};
use spandrel_transport::{Close, LinkStats};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::{Ticker, wall_ms};
use crate::dial::SharedDial;
use crate::random;
use crate::slot::DownloadEvent;
use crate::{ClientError, ClientOptions, Failure};

use book::Effect;
pub(crate) use book::{Ask, Book, Reply};
pub use channel::SessionInfo;
use channel::{Channel, Lost, Memory, SendError};
use opening::Unopened;

/// Messages that are sent again at once after a reconnect; servers take 200 at once by default.
const BURST: u32 = 100;
/// Milliseconds between those that follow; servers take 100 a second by default.
const PACE_MS: u64 = 15;
/// Longest pause a server's `retryAfter` makes before requests are sent again, in milliseconds.
const PAUSE_MS_MAX: u64 = 60_000;

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Open, hello received.
    Connected(SessionInfo),
    /// Lost, being opened again.
    Reconnecting {
        /// Which attempt comes next, from 1.
        attempt: u32,
        /// Milliseconds until then.
        delay_ms: u64,
    },
    /// Over for good: the local event `connection:failed`.
    Failed(Failure),
}

/// Why a connection ended.
enum End {
    /// Nobody holds the client any more.
    Unwanted,
    Lost(Lost),
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// What happens next on an open connection.
enum Turn {
    Received(String),
    Asked(Ask),
    /// A request is to be sent again.
    Due,
    Beat,
}

pub(crate) struct Session {
    dial: SharedDial,
    options: ClientOptions,
    asks: mpsc::Receiver<Ask>,
    state: watch::Sender<ConnectionState>,
    book: Book,
    backoff: Backoff,
    memory: Memory,
    /// The server does not want to see us earlier.
    stay_away_until: Millis,
}

/// When requests are sent again.
struct Pace {
    burst: u32,
    next: Instant,
}

/// What tells that the server lives, and that it reads.
struct Vital {
    heart: Heartbeat,
    seen: LinkStats,
    was_full: bool,
}

impl Session {
    /// Opens the first connection; the session goes on from there with [`run`](Self::run).
    pub(crate) async fn open(
        dial: SharedDial,
        options: ClientOptions,
    ) -> Result<(SessionInfo, impl FnOnce(mpsc::Receiver<Ask>, watch::Sender<ConnectionState>)), ClientError>
    {
        let ticker = Ticker::start();
        let nonces = ReplayCache::new(ReplayLimits::for_freshness(options.window_ms));
        let mut memory = Memory { ticker, nonces };
        let opened = opening::open(&*dial, &options, &mut memory).await;
        let channel = opened.map_err(|Unopened { error, .. }| error)?;
        let info = channel.info.clone();
        let run = move |asks, state| {
            let session = Self {
                dial,
                book: Book::new(options.under_way_max),
                backoff: Backoff::new(options.backoff),
                options,
                asks,
                state,
                memory,
                stay_away_until: Millis::default(),
            };
            tokio::spawn(session.run(channel));
        };
        Ok((info, run))
    }

    /// Runs until nobody holds the client, or the connection is gone for good.
    async fn run(mut self, first: Channel) {
        let mut channel = first;
        loop {
            self.backoff.connected();
            self.stay_away_until = Millis::default();
            self.state.send_replace(ConnectionState::Connected(channel.info.clone()));
            let lost = match self.serve(&mut channel).await {
                // The server may be slow to say goodbye; nobody waits for it.
                End::Unwanted => return channel.close(Close::normal()).await,
                End::Lost(lost) => lost,
            };
            tracing::debug!(close = %lost.close, is_ours = lost.is_ours, "connection lost");
            if lost.is_ours {
                tokio::spawn(channel.close(lost.close.clone()));
            } else {
                drop(channel);
            }
            match self.reopen(lost.close).await {
                Ok(again) => channel = again,
                Err(Some(close)) => return self.fail(close),
                Err(None) => return,
            }
        }
    }

    /// `Err(None)` when nobody wants the connection any more.
    async fn reopen(&mut self, mut close: Close) -> Result<Channel, Option<Close>> {
        while CloseCode(close.code).reconnects() {
            let asked_ms = self.stay_away_until.since(self.memory.ticker.now());
            let Retry::After { delay_ms, attempt } = self.backoff.lost(Some(asked_ms), random::jitter())
            else {
                break;
            };
            self.state.send_replace(ConnectionState::Reconnecting { attempt, delay_ms });
            self.book.announce(&DownloadEvent::Reconnecting { attempt, delay_ms });
            if !self.wait(delay_ms).await {
                return Err(None);
            }
            let Unopened { error, stay_away_ms } =
                match opening::open(&*self.dial, &self.options, &mut self.memory).await {
                    Ok(channel) => return Ok(channel),
                    Err(unopened) => unopened,
                };
            if let Some(ms) = stay_away_ms {
                self.stay_away(ms);
            }
            close = close_of(&error);
        }
        Err(Some(close))
    }

    /// Waits while taking in what is asked meanwhile; `false` when nobody asks any more.
    async fn wait(&mut self, delay_ms: u64) -> bool {
        let mut over = std::pin::pin!(sleep(Duration::from_millis(delay_ms)));
        loop {
            tokio::select! {
                () = &mut over => return true,
                ask = self.asks.recv() => match ask {
                    Some(ask) => drop(self.book.register(ask)),
                    None => return false,
                },
            }
        }
    }

    /// `connection:failed`.
    fn fail(mut self, close: Close) {
        let Close { code, reason } = close;
        let failure = Failure { code, reason: reason.into_owned(), attempts: self.backoff.attempts() };
        tracing::debug!(%failure, "connection:failed");
        // The state first: who is refused from now on finds the reason there.
        self.state.send_replace(ConnectionState::Failed(failure.clone()));
        self.asks.close();
        while let Ok(ask) = self.asks.try_recv() {
            self.book.register(ask);
        }
        self.book.fail(&failure);
    }

    async fn serve(&mut self, channel: &mut Channel) -> End {
        self.book.take_up_again(random::request_id);
        let mut pace = Pace { burst: BURST, next: Instant::now() };
        let now = self.memory.ticker.now();
        let heart = Heartbeat::new(now, channel.heart);
        let mut vital = Vital { heart, seen: channel.stats(), was_full: false };
        loop {
            let wake = vital.heart.wake().unwrap_or(Millis::MAX).since(self.memory.ticker.now());
            let has_due = self.book.has_due();
            let turn = tokio::select! {
                // Reading comes first: after a pause of the whole process, what waits in the socket is life.
                biased;
                turn = poll_fn(|cx| self.poll_turn(cx, channel)) => turn,
                () = sleep_until(pace.next), if has_due => Ok(Turn::Due),
                () = sleep(Duration::from_millis(wake)) => Ok(Turn::Beat),
            };
            let outcome = match turn {
                Ok(Turn::Received(text)) => {
                    vital.heart.heard(self.memory.ticker.now());
                    self.received(channel, &text, &mut pace)
                }
                Ok(Turn::Asked(ask)) => match self.book.register(ask) {
                    Some(id) => self.send(channel, &id),
                    None => Ok(()),
                },
                Ok(Turn::Due) => self.send_due(channel, &mut pace),
                Ok(Turn::Beat) => self.beat(channel, &mut vital),
                Err(end) => return end,
            };
            if let Err(lost) = outcome {
                return lost.into();
            }
        }
    }

    /// Reads first; asks only while there is room to write, which reading makes.
    fn poll_turn(&mut self, cx: &mut Context<'_>, channel: &mut Channel) -> Poll<Result<Turn, End>> {
        if let Poll::Ready(received) = channel.poll_recv(cx, &mut self.memory) {
            return Poll::Ready(received.map(Turn::Received).map_err(End::Lost));
        }
        if !channel.has_room() {
            return Poll::Pending;
        }
        self.asks.poll_recv(cx).map(|ask| ask.map(Turn::Asked).ok_or(End::Unwanted))
    }

    fn received(&mut self, channel: &mut Channel, text: &str, pace: &mut Pace) -> Result<(), Lost> {
        let effect = channel.parse(text).and_then(|message| self.book.received(&message));
        let effect = effect.map_err(|error| {
            tracing::warn!(%error, "closing: the server does not speak the protocol");
            Lost::ours(Close::INVALID_DATA, error.to_string())
        })?;
        match effect {
            Effect::None => {}
            // Without room the server does not read, and would not see the pong either.
            Effect::Pong(id) if channel.has_room() => self.say(channel, &id, HealthKind::Pong)?,
            Effect::Pong(_) => {}
            Effect::Pause(ms) => {
                let until = Instant::now() + Duration::from_millis(ms.clamp(PACE_MS, PAUSE_MS_MAX));
                (pace.burst, pace.next) = (0, pace.next.max(until));
            }
            Effect::StayAway(ms) => self.stay_away(ms),
            Effect::Clock(told_ms) => channel.learn_clock(told_ms, &self.memory),
            Effect::Denied(error) => {
                return Err(Lost::ours(Close::UNAUTHENTICATED, error.to_string()));
            }
        }
        Ok(())
    }

    fn stay_away(&mut self, ms: u64) {
        self.stay_away_until = self.memory.ticker.now().after(ms);
    }

    fn send_due(&mut self, channel: &mut Channel, pace: &mut Pace) -> Result<(), Lost> {
        pace.burst = pace.burst.saturating_sub(1);
        if pace.burst == 0 {
            pace.next = Instant::now() + Duration::from_millis(PACE_MS);
        }
        match self.book.next_due() {
            Some(id) if channel.has_room() => self.send(channel, &id),
            Some(id) => {
                self.book.postpone(id);
                pace.next = Instant::now() + Duration::from_millis(PACE_MS);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Sends a question that stands in the book; what the server could not take is told to who asked.
    fn send(&mut self, channel: &mut Channel, id: &RequestId) -> Result<(), Lost> {
        let Some(ask) = self.book.ask(id) else { return Ok(()) };
        let text = write_client_message(ask.event, id, wall_ms(), &*ask.data);
        match channel.send(text, &self.memory) {
            Ok(()) => Ok(()),
            Err(SendError::TooBig { len, max }) => {
                self.book.drop_ask(id, ClientError::TooBig { len, max });
                Ok(())
            }
            Err(SendError::Lost(lost)) => Err(lost),
        }
    }

    fn say(&self, channel: &mut Channel, id: &RequestId, kind: HealthKind) -> Result<(), Lost> {
        let event = ClientEvent::ConnectionHealth;
        let text = write_client_message(event, id, wall_ms(), &Health { kind });
        match channel.send(text, &self.memory) {
            Err(SendError::Lost(lost)) => Err(lost),
            _ => Ok(()),
        }
    }

    fn beat(&self, channel: &mut Channel, vital: &mut Vital) -> Result<(), Lost> {
        let now = self.memory.ticker.now();
        // Pings and pongs of the wire are life too, but only its counter shows them.
        let stats = channel.stats();
        if stats.activity != vital.seen.activity {
            vital.heart.heard(now);
        }
        let is_full = !channel.has_room();
        let is_stuck = is_full && vital.was_full && stats.bytes_out == vital.seen.bytes_out;
        (vital.seen, vital.was_full) = (stats, is_full);
        match vital.heart.tick(now) {
            Some(Beat::Ping) if is_stuck => Err(Lost::ours(Close::HEARTBEAT, "the server reads nothing")),
            Some(Beat::Ping) if is_full || channel.ping() => Ok(()),
            Some(Beat::Ping) => self.say(channel, &random::request_id(), HealthKind::Ping),
            Some(Beat::Dead) => Err(Lost::ours(Close::HEARTBEAT, "nothing was heard of the server")),
            None => Ok(()),
        }
    }
}

/// What an attempt that failed says about trying again.
fn close_of(error: &ClientError) -> Close {
    let code = match error {
        ClientError::Closed(close) => return close.clone(),
        ClientError::Denied { .. } => Close::UNAUTHENTICATED,
        ClientError::Untrusted { code, .. } => *code,
        ClientError::Protocol(_) => Close::INVALID_DATA,
        _ => Close::ABNORMAL,
    };
    Close::new(code, error.to_string())
}
