//! The machine.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use spandrel_wire::{Frame, Millis};

use super::SessionConfig;
use crate::{
    Ack, Decoder, Encoded, EngineError, EnginePacket, Event, Form, Handshake, Packet, PacketError,
    PacketKind, Value, decode_payload, encode_connect, encode_disconnect, encode_error,
};

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// Requests of the polling transport.
    Polling,
    /// A WebSocket.
    WebSocket,
}

/// What the driver has to do or tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// The client sent an event to the main namespace.
    Received(Event),
    /// The client acknowledged an event that asked for it.
    Acked(Ack),
    /// Write what [`Session::next_frame`] still gives, then close the WebSocket. During an upgrade the session lives on.
    HangUp,
    /// The session is closed: nothing is received or sent any more. Comes exactly once.
    Closed(CloseReason),
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client said so.
    #[error("the client left")]
    Left,
    /// The WebSocket is gone.
    #[error("the WebSocket was closed")]
    Gone,
    /// Nothing came for longer than interval and timeout together.
    #[error("nothing heard for {silent_ms} ms")]
    Silent {
        /// How long, in milliseconds.
        silent_ms: u64,
    },
    /// The client takes less than it is sent.
    #[error("more than {max} waits for the client")]
    TooSlow {
        /// The bound that was reached: bytes or frames.
        max: usize,
    },
    /// A packet or polling body cannot be read.
    #[error("broken packet: {0}")]
    Broken(EngineError),
    /// A message cannot be read.
    #[error("broken message: {0}")]
    Garbage(PacketError),
    /// Two GETs or two POSTs at once.
    #[error("two requests of a kind at once")]
    Overlap,
    /// A request body that is too long or took too long, or a WebSocket message over the limit.
    #[error("a message is too long or took too long")]
    TooLong,
    /// This side closed it.
    #[error("closed by the server")]
    Closed,
}

/// A request that the session does not take. The answer is status 400; nothing else follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such session any more.
    #[error("the session is over")]
    Over,
    /// Polling after the upgrade, or a second WebSocket.
    #[error("the session has another transport")]
    Transport,
    /// A second request of a kind; the session is closed.
    #[error("another request of this kind is open")]
    Overlap,
    /// The body cannot be read; the session is closed.
    #[error("the body cannot be read")]
    Body,
}

/// A packet that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is closed.
    #[error("the session is closed")]
    Closed,
    /// Longer than any message may be; it is dropped, the session lives on.
    #[error("packet of {len} bytes is over the limit of {max}")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Too much waits already; the session is closed because of it.
    #[error("the client is too slow: the session is closed")]
    TooSlow,
}

/// One session of a server. The [module](super) says how to drive it.
///
/// What the client may do at what time:
///
/// | it does | while polling | with a WebSocket |
/// |---|---|---|
/// | GET | held until there is something to say; a second one ends the session | refused |
/// | POST | packets are read in order; a second one ends the session | refused |
/// | opens a WebSocket | it may upgrade: `2probe`, `3probe`, `5`, within `upgrade_ms` | refused |
/// | sends `2…` | `3…` with the same data goes the way of all packets | the same |
/// | sends `41` | closed; it has `linger_ms` to send `1` too | closed; it has `linger_ms` to hang up |
/// | sends `1` | closed; a held GET is answered `6` | closed |
/// | sends `40/foo` | `44/foo,"Invalid namespace"` | the same |
/// | sends what cannot be read | closed; a held GET is answered `1` | closed |
///
/// Packets that only a server sends (`0`, `3`, `6`), and `5` at other times, are passed over, as are events for other
/// namespaces than the main one.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    stage: Stage,
    way: Way,
    decoder: Decoder,
    queue: VecDeque<Frame>,
    queued_bytes: usize,
    /// Bytes taken from here and not written yet, as the driver knows.
    unwritten: usize,
    /// Answers of the socket that is being tried; the queue belongs to the polls until then.
    probe_answers: u8,
    heard: Millis,
    is_held: bool,
    /// The held GET is answered even when there is nothing to say.
    is_released: bool,
    release_at: Option<Millis>,
    is_posting: bool,
    out: VecDeque<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The client said `41`; it is waited for until then.
    Left(Millis),
    /// The last words wait for a GET until then.
    Ending(Millis),
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Polling,
    /// Polling, and a WebSocket that has until then to take over.
    Trying {
        until: Millis,
        is_probed: bool,
    },
    WebSocket,
}

/// Most unwritten answers to probes; no client sends a second one.
const PROBE_ANSWERS_MAX: u8 = 8;

impl Session {
    /// Opens a session named `sid` ([`Handshake::sid`]). What opens it, the handshake and `40`, waits as the first frames.
    #[must_use]
    pub fn new(now: Millis, sid: &str, carrier: Carrier, config: Arc<SessionConfig>) -> Self {
        let handshake = Handshake {
            sid: sid.to_owned(),
            upgrades: carrier == Carrier::Polling,
            ping_interval_ms: config.ping_interval_ms,
            ping_timeout_ms: config.ping_timeout_ms,
        };
        let mut session = Self {
            stage: Stage::Open,
            way: if carrier == Carrier::Polling { Way::Polling } else { Way::WebSocket },
            decoder: Decoder::new(&config.limits),
            config,
            queue: VecDeque::new(),
            queued_bytes: 0,
            unwritten: 0,
            probe_answers: 0,
            heard: now,
            is_held: false,
            is_released: false,
            release_at: None,
            is_posting: false,
            out: VecDeque::new(),
        };
        session.push(handshake.encode());
        session.push(encode_connect().text().clone());
        session
    }

    /// A GET of the polling transport came: it is held until there is an answer.
    ///
    /// # Errors
    ///
    /// [`Refusal::Over`], [`Refusal::Transport`], and [`Refusal::Overlap`], which closes the session.
    pub fn get(&mut self, now: Millis) -> Result<(), Refusal> {
        self.polls()?;
        if self.is_held {
            self.end(now, CloseReason::Overlap);
            return Err(Refusal::Overlap);
        }
        self.is_held = true;
        self.plan_release(now);
        Ok(())
    }

    /// The connection of the held GET is gone. What would have been its answer goes with the next.
    pub fn get_gone(&mut self) {
        self.is_held = false;
        self.release_at = None;
        if let Stage::Open | Stage::Left(_) = self.stage {
            self.is_released = false;
        }
    }

    /// A POST of the polling transport came; its body is still to be read.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn begin_post(&mut self, now: Millis) -> Result<(), Refusal> {
        self.polls()?;
        if self.is_posting {
            self.end(now, CloseReason::Overlap);
            return Err(Refusal::Overlap);
        }
        self.is_posting = true;
        Ok(())
    }

    /// The body of the POST is there: its packets are taken in order. The answer is `ok`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Body`] when a packet cannot be read: the session is closed.
    pub fn post(&mut self, now: Millis, body: Bytes, form: Form) -> Result<(), Refusal> {
        self.is_posting = false;
        if let Stage::Ending(_) | Stage::Over = self.stage {
            return Err(Refusal::Over);
        }
        match decode_payload(body, form, &self.config.limits) {
            Ok(frames) => frames.into_iter().try_for_each(|frame| self.packet(now, frame)),
            Err(e) => {
                self.end(now, CloseReason::Broken(e));
                Err(Refusal::Body)
            }
        }
    }

    /// The body of the POST never comes: the connection is gone, or, when there is a reason, the session ends with it.
    pub fn post_failed(&mut self, now: Millis, why: Option<CloseReason>) {
        self.is_posting = false;
        if let Some(why) = why {
            self.end(now, why);
        }
    }

    /// A WebSocket asks to take over.
    ///
    /// # Errors
    ///
    /// [`Refusal::Over`], or [`Refusal::Transport`] when there is one already.
    pub fn try_socket(&mut self, now: Millis) -> Result<(), Refusal> {
        match (self.stage, self.way) {
            (Stage::Open, Way::Polling) => {
                self.way = Way::Trying { until: now.after(self.config.upgrade_ms), is_probed: false };
                Ok(())
            }
            (Stage::Open, _) => Err(Refusal::Transport),
            _ => Err(Refusal::Over),
        }
    }

    /// A frame came over the WebSocket.
    pub fn frame(&mut self, now: Millis, frame: Frame) {
        match self.way {
            Way::Polling => {} // said before it knew that it was given up
            Way::Trying { until, .. } => self.try_out(now, until, &frame),
            Way::WebSocket => {
                let _ = self.packet(now, frame); // what it closes is told by the outputs
            }
        }
    }

    /// The WebSocket is gone, most often [`CloseReason::Gone`]: polling lives on when it was only tried, else the session
    /// is closed. An [`Output::HangUp`] may still come; there is nothing to do for it.
    pub fn socket_gone(&mut self, now: Millis, why: CloseReason) {
        match self.way {
            Way::Polling => {}
            Way::Trying { .. } => self.back_to_polling(),
            Way::WebSocket => {
                self.end(now, why);
                self.finish();
            }
        }
    }

    /// Takes a packet for the client.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`]; [`SendError::TooLong`]; and [`SendError::TooSlow`], which closes the session.
    pub fn send(&mut self, now: Millis, packet: &Encoded) -> Result<(), SendError> {
        if self.stage != Stage::Open {
            return Err(SendError::Closed);
        }
        let (len, max) = (packet.len_bytes(), self.config.limits.message_bytes_max);
        // The types of its frames are not part of it.
        if len > max.saturating_add(packet.len_frames()) {
            return Err(SendError::TooLong { len, max });
        }
        self.enqueue(now, packet.frames(), packet.len_bytes())
    }

    /// Closes the session. What was sent before still goes out. The client takes it for a lost connection and comes
    /// back by itself if it does so at all.
    pub fn close(&mut self, now: Millis) {
        self.end(now, CloseReason::Closed);
    }

    /// Closes the session with `41`: a client does not come back by itself.
    pub fn disconnect(&mut self, now: Millis) {
        if self.stage == Stage::Open {
            self.push(encode_disconnect().text().clone());
            self.end(now, CloseReason::Closed);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Millis) {
        if self.release_at.is_some_and(|at| now >= at) {
            self.release_at = None;
            self.is_released = true;
        }
        if let Way::Trying { until, .. } = self.way
            && now >= until
        {
            self.give_up_trying();
        }
        match self.stage {
            Stage::Open if now >= self.deadline() => {
                self.end(now, CloseReason::Silent { silent_ms: now.since(self.heard) });
            }
            Stage::Left(until) if now >= until => self.end(now, CloseReason::Left),
            Stage::Ending(until) if now >= until && !self.is_held => self.finish(),
            _ => {}
        }
    }

    /// Counts silence from now: the driver did not listen for a while.
    pub fn excuse(&mut self, now: Millis) {
        self.heard = now;
    }

    /// Tells how many bytes that were taken from here are not written yet; they count as waiting.
    pub fn set_unwritten(&mut self, bytes: usize) {
        self.unwritten = bytes;
    }

    /// Returns the next thing to do or tell.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Returns the frames the held GET is to be answered with, if [`has_answer`](Self::has_answer).
    pub fn answer(&mut self) -> Option<Vec<Frame>> {
        if !self.has_answer() {
            return None;
        }
        let mut frames = Vec::new();
        // After the upgrade the queue is the WebSocket's.
        if self.way != Way::WebSocket {
            frames = std::mem::take(&mut self.queue).into();
            self.queued_bytes = 0;
        }
        if frames.is_empty() {
            frames.push(PacketKind::Noop.frame());
        }
        self.is_held = false;
        self.is_released = false;
        self.release_at = None;
        if let Stage::Ending(_) = self.stage {
            self.finish();
        }
        Some(frames)
    }

    /// Returns the next frame for the WebSocket.
    pub fn next_frame(&mut self) -> Option<Frame> {
        match self.way {
            Way::Polling => None,
            Way::Trying { .. } => {
                self.probe_answers = self.probe_answers.checked_sub(1)?;
                Some(Frame::text("3probe"))
            }
            Way::WebSocket => {
                if self.probe_answers > 0 {
                    self.probe_answers -= 1;
                    return Some(Frame::text("3probe"));
                }
                let frame = self.queue.pop_front()?;
                self.queued_bytes = self.queued_bytes.saturating_sub(frame.len());
                if self.queue.is_empty() && self.queue.capacity() > QUEUE_KEEP {
                    self.queue = VecDeque::new();
                }
                Some(frame)
            }
        }
    }

    /// Is there a frame for the WebSocket?
    #[must_use]
    pub fn has_frame(&self) -> bool {
        match self.way {
            Way::Polling => false,
            Way::Trying { .. } => self.probe_answers > 0,
            Way::WebSocket => self.probe_answers > 0 || !self.queue.is_empty(),
        }
    }

    /// Is a GET held, and is there an answer for it?
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.is_held && (self.is_released || !self.queue.is_empty())
    }

    /// Returns when to call [`tick`](Self::tick).
    #[must_use]
    pub fn wake(&self) -> Option<Millis> {
        let stage = match self.stage {
            Stage::Open => self.deadline(),
            Stage::Left(until) => until,
            Stage::Ending(until) if !self.is_held => until,
            Stage::Ending(_) | Stage::Over => return None, // its answer waits to be taken
        };
        let trying = if let Way::Trying { until, .. } = self.way { until } else { Millis::MAX };
        Some(stage.min(trying).min(self.release_at.unwrap_or(Millis::MAX)))
    }

    /// Returns what carries the session now.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        match self.way {
            Way::Polling | Way::Trying { .. } => Carrier::Polling,
            Way::WebSocket => Carrier::WebSocket,
        }
    }

    /// Returns the bytes that wait here, without those the driver has.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Can the session still send and receive?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Is nothing left to do but to write the last frames to the WebSocket?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    fn polls(&self) -> Result<(), Refusal> {
        match (self.stage, self.way) {
            (Stage::Over, _) => Err(Refusal::Over),
            (_, Way::WebSocket) => Err(Refusal::Transport),
            _ => Ok(()),
        }
    }

    fn deadline(&self) -> Millis {
        self.heard.after(self.config.ping_interval_ms).after(self.config.ping_timeout_ms)
    }

    /// A packet of the client, over whichever transport.
    fn packet(&mut self, now: Millis, frame: Frame) -> Result<(), Refusal> {
        match self.stage {
            Stage::Open | Stage::Left(_) => self.heard = now,
            Stage::Ending(_) | Stage::Over => return Ok(()), // behind what ended it
        }
        match PacketKind::of(&frame) {
            Ok(PacketKind::Message) if self.is_open() => self.message(now, frame),
            Ok(PacketKind::Ping) if self.is_open() => {
                // A wrong frame would have no type.
                if let Ok(EnginePacket { data, .. }) = EnginePacket::from_frame(frame) {
                    let pong = EnginePacket { kind: PacketKind::Pong, data }.into_frame();
                    let len = pong.len();
                    let _ = self.enqueue(now, [pong], len);
                }
                Ok(())
            }
            Ok(PacketKind::Close) => {
                self.end(now, CloseReason::Left);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(e) => {
                self.end(now, CloseReason::Broken(e));
                Err(Refusal::Body)
            }
        }
    }

    fn message(&mut self, now: Millis, frame: Frame) -> Result<(), Refusal> {
        match self.decoder.push(frame) {
            Ok(None) => {}
            Ok(Some(Packet::Event(event))) if event.namespace().is_main() => {
                self.out.push_back(Output::Received(event))
            }
            Ok(Some(Packet::Ack(ack))) if ack.namespace().is_main() => self.out.push_back(Output::Acked(ack)),
            Ok(Some(Packet::Connect { namespace })) if !namespace.is_main() => {
                let refusal = encode_error(namespace.path(), &Value::from_text("Invalid namespace"));
                let _ = self.enqueue(now, refusal.frames(), refusal.len_bytes());
            }
            Ok(Some(Packet::Disconnect { namespace })) if namespace.is_main() => self.leave(now),
            Ok(Some(_)) => {}
            Err(e) => {
                self.end(now, CloseReason::Garbage(e));
                return Err(Refusal::Body);
            }
        }
        Ok(())
    }

    /// The client said `41`. It says `1` or hangs up next.
    fn leave(&mut self, now: Millis) {
        self.out.push_back(Output::Closed(CloseReason::Left));
        self.forget();
        self.stage = Stage::Left(now.after(self.config.linger_ms));
    }

    /// A packet over the socket that is tried.
    fn try_out(&mut self, now: Millis, until: Millis, frame: &Frame) {
        match frame.as_text() {
            Some("2probe") if self.probe_answers < PROBE_ANSWERS_MAX => {
                self.probe_answers += 1;
                self.way = Way::Trying { until, is_probed: true };
                self.plan_release(now);
            }
            Some("5") => {
                self.way = Way::WebSocket;
                self.heard = now;
                self.release_at = None;
                // No client polls any more by now; one that does gets an answer.
                self.is_released = self.is_held;
            }
            _ => self.give_up_trying(),
        }
    }

    /// During an upgrade no GET is held for long: the client waits for its end before it goes over.
    fn plan_release(&mut self, now: Millis) {
        if self.is_held && matches!(self.way, Way::Trying { is_probed: true, .. }) && !self.is_released {
            self.release_at.get_or_insert(now.after(self.config.release_ms));
        }
    }

    fn give_up_trying(&mut self) {
        self.out.push_back(Output::HangUp);
        self.back_to_polling();
    }

    fn back_to_polling(&mut self) {
        self.way = Way::Polling;
        self.probe_answers = 0;
        self.release_at = None;
    }

    /// Ends the session: the one place. A reason is told once.
    fn end(&mut self, now: Millis, why: CloseReason) {
        match self.stage {
            Stage::Open => self.out.push_back(Output::Closed(why.clone())),
            Stage::Left(_) => {}
            Stage::Ending(_) | Stage::Over => return,
        }
        // What the application sent before it closed is owed; a client that broke the rules is owed nothing.
        if why != CloseReason::Closed {
            self.clear_queue();
        }
        self.decoder = Decoder::new(&self.config.limits);
        if self.way != Way::Polling {
            self.out.push_back(Output::HangUp);
        }
        if self.way == Way::WebSocket {
            self.stage = Stage::Over;
            return;
        }
        self.back_to_polling();
        let has_gone = matches!(why, CloseReason::Left | CloseReason::Silent { .. });
        match why {
            CloseReason::Left => self.is_released = true,
            _ => self.push(PacketKind::Close.frame()),
        }
        self.stage = Stage::Ending(now.after(self.config.linger_ms));
        if has_gone && !self.is_held {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.forget();
        self.stage = Stage::Over;
    }

    fn forget(&mut self) {
        self.clear_queue();
        self.decoder = Decoder::new(&self.config.limits);
    }

    fn clear_queue(&mut self) {
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
    }

    /// Queues frames of one packet, or closes the session when that would be too much.
    fn enqueue(
        &mut self,
        now: Millis,
        frames: impl IntoIterator<Item = Frame>,
        bytes: usize,
    ) -> Result<(), SendError> {
        let limits = &self.config.limits;
        let waiting = self.queued_bytes.saturating_add(self.unwritten);
        let bytes_max = limits.queued_bytes_max;
        let is_too_much = waiting > 0 && waiting.saturating_add(bytes) > bytes_max;
        let (frames_max, has_too_many) =
            (limits.queued_frames_max, self.queue.len() >= limits.queued_frames_max);
        if is_too_much || has_too_many {
            self.end(now, CloseReason::TooSlow { max: if is_too_much { bytes_max } else { frames_max } });
            return Err(SendError::TooSlow);
        }
        frames.into_iter().for_each(|frame| self.push(frame));
        Ok(())
    }

    fn push(&mut self, frame: Frame) {
        self.queued_bytes = self.queued_bytes.saturating_add(frame.len());
        self.queue.push_back(frame);
    }
}

/// Room for this many frames is kept by a session that has nothing to say.
const QUEUE_KEEP: usize = 32;
