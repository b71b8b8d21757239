//! The machine: what came goes in, what to do comes out.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use spandrel_wire::{Frame, Millis};

use super::{SessionConfig, Transports};
use crate::{
    Ack, Decoder, Encoded, EngineError, Event, Form, Handshake, Packet, PacketError, PacketKind, Value,
    decode_payload, encode_ack, encode_disconnect, encode_event, encode_payload,
};

/// What a [`Session`] asks for or tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send a GET. Its answer may take as long as the session lasts.
    Get,
    /// Open a WebSocket.
    Dial,
    /// Write what [`Session::next_frame`] still gives, then close the WebSocket. Nothing it says matters any more.
    HangUp,
    /// The server let the client in: `40`. Said once; what was sent before goes out now.
    Connected,
    /// From here on the WebSocket carries the session.
    Upgraded,
    /// An event. If it asks for an acknowledgement, answer with [`Session::acknowledge`].
    Received(Event),
    /// The answer to what [`Session::ask`] sent; [`Ack::id`] says which.
    Acked(Ack),
    /// The session is over. Nothing follows; requests under way are to be dropped.
    Closed(CloseReason),
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side left.
    #[error("this side left")]
    Left,
    /// The server said `41`.
    #[error("the server disconnected this client")]
    Disconnected,
    /// The server closed the session, `1`.
    #[error("the server closed the session")]
    Closed,
    /// The connection is gone: the WebSocket closed or a request failed.
    #[error("the connection is gone")]
    Gone,
    /// The server answered a request with another status than 200.
    #[error("the server refused with status {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The server refused the namespace, `44`.
    #[error("the server refused: {0:?}")]
    NotAdmitted(Option<Value>),
    /// The server did not let the client in within the handshake time.
    #[error("no session within {ms} ms")]
    NotOpened {
        /// Milliseconds waited.
        ms: u64,
    },
    /// Nothing came for too long.
    #[error("the server was silent for {silent_ms} ms")]
    Silent {
        /// Milliseconds since the last packet.
        silent_ms: u64,
    },
    /// A packet or body could not be read.
    #[error("the server sent what cannot be read: {0}")]
    Broken(EngineError),
    /// A message could not be read.
    #[error("the server sent a message that cannot be read: {0}")]
    BrokenMessage(PacketError),
}

/// A packet that was not taken. The session goes on unless it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is over, or this side left.
    #[error("the session is closed")]
    Closed,
    /// Too much waits already. Send it later or leave it.
    #[error("too much waits to be sent already")]
    Full,
    /// Too many acknowledgements are awaited.
    #[error("more than {max} acknowledgements are awaited")]
    TooManyAcks {
        /// The limit.
        max: usize,
    },
}

/// One session of a client. The [module](super) says how to drive it.
///
/// - Pings every interval of the handshake; any packet is life. Silence for the timeout after a ping, or for both
///   together, closes the session.
/// - Upgrade: after `3probe` it asks for nothing more over polling; once the GET and the POST under way are answered,
///   it says `5` and goes on over the WebSocket. Nothing is lost, doubled or reordered. A WebSocket that fails before
///   `5` changes nothing; one that fails afterwards is the end.
/// - What is sent before `40` waits for it.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    stage: Stage,
    way: Way,
    handshake: Option<Handshake>,
    decoder: Decoder,
    /// Pings and what belongs to the upgrade: before anything that waits.
    control: VecDeque<Frame>,
    queue: VecDeque<Frame>,
    queued_bytes: usize,
    /// Bytes taken from here and not written yet, as the driver knows.
    unwritten: usize,
    is_getting: bool,
    is_posting: bool,
    has_socket: bool,
    /// `2probe` waits for the WebSocket that is tried.
    has_probe: bool,
    heard: Millis,
    ping_at: Millis,
    /// When the ping was sent after which nothing was heard.
    pinged: Option<Millis>,
    next_ack: u64,
    awaited: BTreeSet<u64>,
    out: VecDeque<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// `40` has not come yet.
    Opening {
        until: Millis,
    },
    Open,
    /// This side leaves over polling; the last POST is waited for until then.
    Leaving {
        until: Millis,
    },
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Polling,
    /// Polling, and a WebSocket that has until then to be granted.
    Trying {
        until: Millis,
        /// `3probe` has come: no more requests.
        is_granted: bool,
    },
    WebSocket,
}

impl Session {
    /// Starts a session: the first [`Output`] waits.
    #[must_use]
    pub fn new(now: Millis, config: SessionConfig) -> Self {
        let over_socket = config.transports == Transports::WebSocket;
        Self {
            stage: Stage::Opening { until: now.after(config.handshake_ms) },
            way: if over_socket { Way::WebSocket } else { Way::Polling },
            handshake: None,
            decoder: Decoder::new(&config.limits),
            config,
            control: VecDeque::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            unwritten: 0,
            is_getting: !over_socket,
            is_posting: false,
            has_socket: over_socket,
            has_probe: false,
            heard: now,
            ping_at: Millis::MAX,
            pinged: None,
            next_ack: 0,
            awaited: BTreeSet::new(),
            out: [if over_socket { Output::Dial } else { Output::Get }].into(),
        }
    }

    /// The GET was answered with status 200.
    pub fn answer(&mut self, now: Millis, body: Bytes, form: Form) {
        if !std::mem::take(&mut self.is_getting) || self.is_over() {
            return;
        }
        match decode_payload(body, form, &self.config.limits) {
            Ok(frames) => frames.into_iter().for_each(|frame| self.packet(now, frame)),
            Err(e) => return self.end(CloseReason::Broken(e)),
        }
        self.go_on();
    }

    /// The POST was answered with status 200.
    pub fn post_done(&mut self) {
        self.is_posting = false;
        if matches!(self.stage, Stage::Leaving { .. }) && self.queue.is_empty() {
            return self.end(CloseReason::Left);
        }
        self.go_on();
    }

    /// The GET or the POST was answered with another `status`, or, with `None`, its connection is gone: that ends the
    /// session.
    pub fn request_failed(&mut self, status: Option<u16>) {
        self.is_getting = false;
        self.is_posting = false;
        if self.way == Way::WebSocket || self.is_over() {
            return; // an answer for nobody
        }
        self.end(match (self.stage, status) {
            (Stage::Leaving { .. }, _) => CloseReason::Left,
            (_, Some(status)) => CloseReason::Refused { status },
            (_, None) => CloseReason::Gone,
        });
    }

    /// The WebSocket is open.
    pub fn socket_open(&mut self) {
        if let Way::Trying { is_granted: false, .. } = self.way {
            self.has_probe = true;
        }
    }

    /// A frame came over the WebSocket.
    pub fn frame(&mut self, now: Millis, frame: Frame) {
        match self.way {
            Way::WebSocket => self.packet(now, frame),
            Way::Trying { until, is_granted: false } if frame.as_text() == Some("3probe") => {
                self.way = Way::Trying { until, is_granted: true };
                self.go_on();
            }
            Way::Trying { .. } => self.give_up_trying(),
            Way::Polling => {} // said before it knew that it was given up
        }
    }

    /// The WebSocket is gone or could not be opened, in the latter case perhaps with the HTTP status that refused it.
    /// Polling lives on when it was only tried, else the session is over.
    pub fn socket_gone(&mut self, status: Option<u16>) {
        self.has_socket = false;
        match self.way {
            Way::Polling => {}
            Way::Trying { .. } => self.give_up_trying(),
            Way::WebSocket => self.end(match status.filter(|_| self.handshake.is_none()) {
                Some(status) => CloseReason::Refused { status },
                None => CloseReason::Gone,
            }),
        }
    }

    /// Takes a packet for the server. Before [`Output::Connected`] it waits.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], [`SendError::Full`].
    pub fn send(&mut self, packet: &Encoded) -> Result<(), SendError> {
        if !matches!(self.stage, Stage::Opening { .. } | Stage::Open) {
            return Err(SendError::Closed);
        }
        let limits = &self.config.limits;
        let bytes = self.waiting_bytes().saturating_add(packet.len_bytes());
        let frames = self.queue.len().saturating_add(packet.len_frames());
        let nothing_waits = self.queue.is_empty() && self.unwritten == 0;
        if !nothing_waits && (bytes > limits.queued_bytes_max || frames > limits.queued_frames_max) {
            return Err(SendError::Full);
        }
        self.enqueue(packet);
        Ok(())
    }

    /// Sends an event that asks for an acknowledgement; [`Output::Acked`] brings it under the number returned.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`SendError::TooManyAcks`].
    pub fn ask(&mut self, name: &str, args: &[&Value]) -> Result<u64, SendError> {
        let max = self.config.limits.acks_max;
        if self.awaited.len() >= max {
            return Err(SendError::TooManyAcks { max });
        }
        let id = self.next_ack;
        self.send(&encode_event(name, args, Some(id)))?;
        self.next_ack += 1;
        self.awaited.insert(id);
        Ok(id)
    }

    /// No longer waits for an acknowledgement; if it comes it is passed over.
    pub fn forget(&mut self, id: u64) {
        self.awaited.remove(&id);
    }

    /// Answers an event that asked for it, [`Event::ack_id`].
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn acknowledge(&mut self, id: u64, args: &[&Value]) -> Result<(), SendError> {
        self.send(&encode_ack(id, args))
    }

    /// Leaves: what was sent before still goes out, then `41`. Over polling that is waited for a little.
    pub fn disconnect(&mut self, now: Millis) {
        if self.is_over() || matches!(self.stage, Stage::Leaving { .. }) {
            return;
        }
        if self.stage == Stage::Open {
            self.enqueue(&encode_disconnect());
        } else {
            self.queue.clear();
            self.queued_bytes = 0;
        }
        if self.way == Way::WebSocket || self.handshake.is_none() {
            return self.end(CloseReason::Left);
        }
        self.stage = Stage::Leaving { until: now.after(self.config.linger_ms) };
        self.queue.push_back(PacketKind::Close.frame());
        if let Way::Trying { .. } = self.way {
            self.give_up_trying();
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Millis) {
        match self.stage {
            Stage::Over => return,
            Stage::Opening { until } if now >= until => {
                return self.end(CloseReason::NotOpened { ms: self.config.handshake_ms });
            }
            Stage::Leaving { until } if now >= until => return self.end(CloseReason::Left),
            _ => {}
        }
        if now >= self.silent_at() {
            return self.end(CloseReason::Silent { silent_ms: now.since(self.heard) });
        }
        if let Way::Trying { until, .. } = self.way
            && now >= until
        {
            self.give_up_trying();
        }
        if now >= self.ping_at {
            self.ping_at = now.after(self.ping_interval_ms());
            self.pinged = self.pinged.or(Some(now));
            self.control.push_back(PacketKind::Ping.frame());
        }
    }

    /// Counts silence from now: the driver did not listen for a while.
    pub fn excuse(&mut self, now: Millis) {
        self.heard = now;
        self.pinged = None;
    }

    /// Tells how many bytes that were taken from here are not written yet; they count as waiting.
    pub fn set_unwritten(&mut self, bytes: usize) {
        self.unwritten = bytes;
    }

    /// Returns the next thing to do or tell.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Returns the body of a POST, unless one is under way: everything that waits, as far as one body may hold it.
    pub fn next_post(&mut self) -> Option<(Form, Bytes)> {
        if !self.may_request() || self.is_posting || self.handshake.is_none() {
            return None;
        }
        let limits = &self.config.limits;
        let (frames_max, bytes_max) = (limits.packets_per_payload_max, limits.message_bytes_max);
        let (mut frames, mut bytes) = (Vec::new(), 0_usize);
        while frames.len() < frames_max && bytes < bytes_max {
            let Some(frame) = self.next_waiting() else { break };
            bytes = bytes.saturating_add(frame.len());
            frames.push(frame);
        }
        if frames.is_empty() {
            return None;
        }
        self.is_posting = true;
        Some(encode_payload(&frames, false))
    }

    /// Returns the next frame for the WebSocket.
    pub fn next_frame(&mut self) -> Option<Frame> {
        match self.way {
            Way::Polling => None,
            Way::Trying { .. } => std::mem::take(&mut self.has_probe).then(|| Frame::text("2probe")),
            Way::WebSocket => self.next_waiting(),
        }
    }

    /// Returns when to call [`tick`](Self::tick); `None` once it is over.
    #[must_use]
    pub fn wake(&self) -> Option<Millis> {
        let stage = match self.stage {
            Stage::Over => return None,
            Stage::Opening { until } | Stage::Leaving { until } => until,
            Stage::Open => Millis::MAX,
        };
        let trying = if let Way::Trying { until, .. } = self.way { until } else { Millis::MAX };
        Some(stage.min(trying).min(self.ping_at).min(self.silent_at()))
    }

    /// Returns the name of the session, once the server gave it.
    #[must_use]
    pub fn sid(&self) -> Option<&str> {
        self.handshake.as_ref().map(|handshake| handshake.sid.as_str())
    }

    /// Has the server let the client in, and is the session not over?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Is the session over?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Does the WebSocket carry the session, rather than polling?
    #[must_use]
    pub fn is_over_websocket(&self) -> bool {
        self.way == Way::WebSocket
    }

    /// Returns the bytes that wait to be sent, those the driver has included.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.queued_bytes.saturating_add(self.unwritten)
    }

    /// A packet of the server, over whichever transport.
    fn packet(&mut self, now: Millis, frame: Frame) {
        if self.is_over() {
            return;
        }
        self.heard = now;
        self.pinged = None;
        if self.handshake.is_none() {
            return match Handshake::parse(&frame) {
                Ok(handshake) => self.opened(now, handshake),
                Err(e) => self.end(CloseReason::Broken(e)),
            };
        }
        match PacketKind::of(&frame) {
            Ok(PacketKind::Message) => match self.decoder.push(frame) {
                Ok(packet) => packet.into_iter().for_each(|packet| self.message(packet)),
                Err(e) => self.end(CloseReason::BrokenMessage(e)),
            },
            Ok(PacketKind::Close) => self.end(match self.stage {
                Stage::Leaving { .. } => CloseReason::Left,
                _ => CloseReason::Closed,
            }),
            Ok(_) => {} // a pong is life, which is noted; the others say nothing to a client
            Err(e) => self.end(CloseReason::Broken(e)),
        }
    }

    fn opened(&mut self, now: Millis, handshake: Handshake) {
        let may_try = handshake.upgrades && self.config.transports == Transports::PollingThenWebSocket;
        self.handshake = Some(handshake);
        self.ping_at = now.after(self.ping_interval_ms());
        if may_try {
            self.way = Way::Trying { until: now.after(self.config.upgrade_ms), is_granted: false };
            self.has_socket = true;
            self.out.push_back(Output::Dial);
        }
    }

    fn message(&mut self, packet: Packet) {
        if matches!(self.stage, Stage::Leaving { .. }) {
            return;
        }
        match packet {
            Packet::Connect { namespace } if namespace.is_main() => {
                if let Stage::Opening { .. } = self.stage {
                    self.stage = Stage::Open;
                    self.out.push_back(Output::Connected);
                }
            }
            Packet::Disconnect { namespace } if namespace.is_main() => self.end(CloseReason::Disconnected),
            Packet::Error { namespace, value } if namespace.is_main() => {
                self.end(CloseReason::NotAdmitted(value));
            }
            Packet::Event(event) if event.namespace().is_main() => {
                self.out.push_back(Output::Received(event));
            }
            Packet::Ack(ack) if self.awaited.remove(&ack.id()) => self.out.push_back(Output::Acked(ack)),
            _ => {} // of a namespace this client is not in, or an answer to nothing
        }
    }

    /// After an answer, or a WebSocket given up: asks again, or, when the WebSocket is granted and nothing is under way, goes over to it.
    fn go_on(&mut self) {
        if self.is_over() {
            return;
        }
        let is_leaving = matches!(self.stage, Stage::Leaving { .. });
        if self.may_request() && !self.is_getting && !is_leaving {
            self.is_getting = true;
            self.out.push_back(Output::Get);
        }
        if let Way::Trying { is_granted: true, .. } = self.way
            && !self.is_getting
            && !self.is_posting
        {
            self.way = Way::WebSocket;
            self.control.push_front(PacketKind::Upgrade.frame());
            self.out.push_back(Output::Upgraded);
        }
    }

    fn give_up_trying(&mut self) {
        self.way = Way::Polling;
        self.has_probe = false;
        self.hang_up();
        self.go_on();
    }

    fn hang_up(&mut self) {
        if std::mem::take(&mut self.has_socket) {
            self.out.push_back(Output::HangUp);
        }
    }

    fn end(&mut self, why: CloseReason) {
        if self.is_over() {
            return;
        }
        self.stage = Stage::Over;
        self.awaited.clear();
        if why != CloseReason::Left || self.way != Way::WebSocket {
            self.control.clear();
            self.queue.clear();
            self.queued_bytes = 0;
        }
        self.hang_up();
        self.out.push_back(Output::Closed(why));
    }

    fn enqueue(&mut self, packet: &Encoded) {
        self.queued_bytes = self.queued_bytes.saturating_add(packet.len_bytes());
        self.queue.extend(packet.frames());
    }

    /// The next of what waits; messages only once the server has let the client in.
    fn next_waiting(&mut self) -> Option<Frame> {
        if let Some(frame) = self.control.pop_front() {
            return Some(frame);
        }
        if let Stage::Opening { .. } = self.stage {
            return None;
        }
        let frame = self.queue.pop_front()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(frame.len());
        Some(frame)
    }

    /// Does polling carry the session, and is it not about to be left?
    const fn may_request(&self) -> bool {
        !matches!(self.stage, Stage::Over)
            && matches!(self.way, Way::Polling | Way::Trying { is_granted: false, .. })
    }

    /// When silence is the end: after a ping that nothing followed, and in any case.
    fn silent_at(&self) -> Millis {
        let Some(handshake) = &self.handshake else { return Millis::MAX };
        let timeout_ms = handshake.ping_timeout_ms.max(1);
        let pinged = self.pinged.map_or(Millis::MAX, |at| at.after(timeout_ms));
        pinged.min(self.heard.after(self.ping_interval_ms()).after(timeout_ms))
    }

    fn ping_interval_ms(&self) -> u64 {
        let asked = self.handshake.as_ref().map_or(0, |handshake| handshake.ping_interval_ms);
        asked.max(self.config.ping_interval_ms_min).max(1)
    }
}
