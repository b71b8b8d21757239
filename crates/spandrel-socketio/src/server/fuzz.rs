//! Any operations in any order: what holds for a session whatever its client and its driver do.

use std::sync::Arc;

use spandrel_wire::{Frame, Millis};

use super::{Carrier, CloseReason, Output, Session, SessionConfig};
use crate::{Form, Limits, Value, decode_payload, encode_event, encode_payload};

/// Bytes that may wait in a session that is played with.
const QUEUED_MAX: usize = 600;
/// Longest message it takes.
const MESSAGE_MAX: usize = 400;

/// Plays with a session: each byte is an operation, some take the next as their argument.
///
/// - Events arrive in order and exactly once in both directions; those sent before the server closes arrive too.
/// - There is exactly one end, nothing is received behind it, and it comes at the latest when nothing more does.
/// - A held GET is always answered. Time moves the machine on: it never asks for a wake-up in vain.
/// - What waits is bounded.
///
/// # Panics
///
/// When one of these does not hold.
pub fn fuzz_socketio_session(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let carrier =
        if bytes.next().is_some_and(|b| b % 2 == 1) { Carrier::WebSocket } else { Carrier::Polling };
    let mut play = Play::new(carrier);
    while let Some(op) = bytes.next() {
        play.step(op % 24, &mut bytes);
        play.settle();
    }
    play.end();
}

struct Play {
    session: Session,
    now: Millis,
    has_socket: bool,
    is_held: bool,
    is_posting: bool,
    /// Events the client said, the next one to come out, and whether any may still.
    said: u64,
    heard: u64,
    /// Events the server sent and the next one to arrive.
    sent: u64,
    arrived: u64,
    end: Option<CloseReason>,
}

impl Play {
    fn new(carrier: Carrier) -> Self {
        let limits = Limits::default().with_message_bytes_max(MESSAGE_MAX).with_queued_max(QUEUED_MAX, 64);
        let config = SessionConfig { limits, ..SessionConfig::default() };
        let now = Millis::new(1_000_000);
        Self {
            session: Session::new(now, "abcdefghijklmnopqrst", carrier, Arc::new(config)),
            now,
            has_socket: carrier == Carrier::WebSocket,
            is_held: false,
            is_posting: false,
            said: 0,
            heard: 0,
            sent: 0,
            arrived: 0,
            end: None,
        }
    }

    fn step(&mut self, op: u8, bytes: &mut impl Iterator<Item = u8>) {
        let mut argument = || bytes.next().unwrap_or_default();
        match op {
            0 => self.get(),
            1 if self.is_held => {
                self.session.get_gone();
                self.is_held = false;
            }
            2 => self.begin_post(),
            3 if self.is_posting || self.session.carrier() == Carrier::Polling => {
                let count = argument() % 4;
                let frames: Vec<_> = (0..count).map(|_| self.say()).collect();
                self.post(encode_payload(&frames, false).1.to_vec(), Form::Text);
            }
            4 if self.is_posting => {
                self.is_posting = false;
                let why = (argument() % 8 == 0).then_some(CloseReason::TooLong);
                self.session.post_failed(self.now, why);
            }
            5 => self.has_socket |= self.session.try_socket(self.now).is_ok(),
            6 => self.frame(Frame::text("2probe")),
            7 => self.frame(Frame::text("5")),
            8 if self.session.carrier() == Carrier::WebSocket => {
                let frame = self.say();
                self.frame(frame);
            }
            9 if self.has_socket => {
                self.has_socket = false;
                self.session.socket_gone(self.now, CloseReason::Gone);
            }
            10 | 11 => self.send(usize::from(argument())),
            12 => self.pass(20 * u64::from(argument())),
            13 | 14 => self.take_answer(),
            15 | 16 => self.take_frames(usize::from(argument() % 8)),
            17 => self.tell(Frame::text("2abc")),
            18 => self.tell(Frame::text("40/foo")),
            19 => {
                let words =
                    ["41", "1", "3", "6", "0", "5", "4", "", "9", "49", "451-[\"x\",1]", "41/foo", "42[1]"];
                let word = words.get(usize::from(argument()) % words.len()).copied().unwrap_or_default();
                self.tell(Frame::text(word));
            }
            20 => self.tell(Frame::binary(vec![argument(), argument()])),
            21 => {
                let body: Vec<u8> = bytes.by_ref().take(16).collect();
                let form = if body.len().is_multiple_of(2) { Form::Text } else { Form::Binary };
                self.post(body, form);
            }
            22 if argument() % 4 == 0 => self.session.close(self.now),
            23 if argument() % 4 == 0 => self.session.disconnect(self.now),
            _ => self.session.excuse(self.now),
        }
    }

    fn get(&mut self) {
        match self.session.get(self.now) {
            Ok(()) => {
                assert!(!self.is_held, "two held");
                self.is_held = true;
            }
            Err(_) if self.session.carrier() == Carrier::WebSocket => {}
            Err(_) if self.is_held => assert!(!self.session.is_open(), "a second one closes"),
            Err(_) => assert!(self.session.is_over()),
        }
    }

    fn begin_post(&mut self) {
        match self.session.begin_post(self.now) {
            Ok(()) => self.is_posting = true,
            Err(_) if self.is_posting => {
                assert!(!self.session.is_open() || self.session.carrier() == Carrier::WebSocket)
            }
            Err(_) => {}
        }
    }

    fn post(&mut self, body: Vec<u8>, form: Form) {
        if !self.is_posting {
            self.begin_post();
        }
        if std::mem::take(&mut self.is_posting) {
            let was_open = self.session.is_open();
            let is_readable = decode_payload(body.clone().into(), form, &Limits::default()).is_ok();
            let answer = self.session.post(self.now, body.into(), form);
            assert!(!was_open || is_readable || answer.is_err(), "a broken body is not taken");
            assert!(answer.is_ok() || !self.session.is_open(), "a refused body ends the session");
        }
    }

    fn frame(&mut self, frame: Frame) {
        if self.has_socket {
            self.session.frame(self.now, frame);
        }
    }

    /// Says something over the transport that is in use.
    fn tell(&mut self, frame: Frame) {
        match self.session.carrier() {
            Carrier::WebSocket => self.frame(frame),
            Carrier::Polling => {
                let (form, body) = encode_payload([&frame], false);
                self.post(body.to_vec(), form);
            }
        }
    }

    fn say(&mut self) -> Frame {
        let event = encode_event("up", &[&Value::from_text(&self.said.to_string())], None);
        // What nobody listens to any more does not count.
        self.said += 1;
        event.text().clone()
    }

    fn send(&mut self, padding: usize) {
        let number = Value::from_text(&self.sent.to_string());
        let padding = Value::from_text(&"x".repeat(padding));
        let event = encode_event("down", &[&number, &padding], None);
        let (was_open, waits) = (self.session.is_open(), self.session.queued_bytes());
        match self.session.send(self.now, &event) {
            Ok(()) => self.sent += 1,
            Err(_) => assert!(!was_open || waits > 0, "one message is always taken"),
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now.after(ms);
        while let Some(at) = self.session.wake().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.session.tick(self.now);
            self.settle();
            let next = self.session.wake();
            assert!(next.is_none_or(|next| next > self.now), "woken in vain at {at}: {next:?}");
        }
        self.now = until;
    }

    fn take_answer(&mut self) {
        let had = self.session.has_answer();
        let Some(frames) = self.session.answer() else {
            assert!(!had, "an answer was promised");
            return;
        };
        assert!(had && self.is_held && !frames.is_empty(), "an answer for nobody");
        self.is_held = false;
        frames.iter().for_each(|frame| self.arrive(frame));
    }

    fn take_frames(&mut self, count: usize) {
        for _ in 0..count {
            let had = self.session.has_frame();
            let frame = self.session.next_frame();
            assert_eq!(had, frame.is_some());
            if let Some(frame) = frame {
                self.arrive(&frame);
            }
        }
    }

    fn arrive(&mut self, frame: &Frame) {
        if let Some(number) = number(frame, "42[\"down\",\"") {
            assert_eq!(number, self.arrived, "an event out of order");
            self.arrived += 1;
        }
    }

    /// Takes the outputs.
    fn settle(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Received(event) => {
                    assert!(self.end.is_none(), "received behind the end");
                    let number = event.arg(0).and_then(|n| n.text()?.parse::<u64>().ok());
                    if let (true, Some(number)) = (event.is_named("up"), number) {
                        assert_eq!(number, self.heard, "an event out of order or lost");
                        self.heard += 1;
                    }
                }
                Output::Acked(_) => assert!(self.end.is_none()),
                Output::HangUp => {
                    // What is left goes out first.
                    self.take_frames(1000);
                    if self.session.carrier() == Carrier::WebSocket && self.end == Some(CloseReason::Closed) {
                        assert_eq!(self.arrived, self.sent, "sent before the end, and lost");
                    }
                    self.has_socket = false;
                }
                Output::Closed(why) => {
                    assert_eq!(self.end.replace(why), None, "closed twice");
                }
            }
        }
        assert_eq!(self.end.is_none(), self.session.is_open());
        if self.session.is_open() {
            assert_eq!(self.heard, self.said, "an event was lost on the way up");
        } else {
            self.heard = self.said;
        }
        assert!(self.session.queued_bytes() <= QUEUED_MAX + MESSAGE_MAX);
    }

    fn end(mut self) {
        // A client that wants its last words asks for them.
        if self.session.carrier() == Carrier::Polling && !self.session.is_over() {
            if !self.is_held {
                self.get();
            }
            self.take_answer();
            if self.session.is_open() || self.end == Some(CloseReason::Closed) {
                assert_eq!(self.arrived, self.sent, "sent, and lost");
            }
        }
        self.pass(60_000);
        self.take_answer();
        self.settle();
        self.take_frames(1000);
        assert!(self.end.is_some() && !self.is_held, "never ended, or a GET was left unanswered");
        self.pass(60_000);
        assert!(self.session.is_over() && self.session.wake().is_none(), "never over");
    }
}

/// The number an event carries as its first argument.
fn number(frame: &Frame, before: &str) -> Option<u64> {
    frame.as_text()?.strip_prefix(before)?.split_once('"')?.0.parse().ok()
}
