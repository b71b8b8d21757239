//! Any operations in any order: what holds for a client whatever its server and its driver do.

use bytes::Bytes;
use spandrel_wire::{Frame, Millis};

use super::{Output, Session, SessionConfig, Transports};
use crate::{Form, Limits, Value, encode_event, encode_payload};

const QUEUED_MAX: usize = 600;

/// Plays with a session: each byte is an operation, some take the next ones as their argument.
///
/// - One GET and one POST at a time, none once it is over or carried by a WebSocket.
/// - Exactly one end, and nothing behind it.
/// - It never asks for a wake-up in vain, and comes to an end when nothing more is heard.
/// - What waits is bounded.
///
/// # Panics
///
/// When one of these does not hold.
pub fn fuzz_socketio_client(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let transports = match bytes.next().unwrap_or_default() % 3 {
        0 => Transports::Polling,
        1 => Transports::WebSocket,
        _ => Transports::PollingThenWebSocket,
    };
    let mut limits = Limits::default().with_message_bytes_max(400).with_queued_max(QUEUED_MAX, 64);
    limits.acks_max = 4;
    let now = Millis::new(1_000_000);
    let session = Session::new(now, SessionConfig::new(transports).with_limits(limits));
    let mut play =
        Play { session, now, is_getting: false, is_posting: false, has_socket: false, is_closed: false };
    play.settle();
    while let Some(op) = bytes.next() {
        play.step(op, &mut bytes);
        play.settle();
    }
    play.end();
}

struct Play {
    session: Session,
    now: Millis,
    is_getting: bool,
    is_posting: bool,
    has_socket: bool,
    is_closed: bool,
}

impl Play {
    fn step(&mut self, op: u8, bytes: &mut impl Iterator<Item = u8>) {
        let mut argument = || bytes.next().unwrap_or_default();
        match op % 16 {
            0 | 1 => {
                let (count, binary) = (argument() % 4, argument() % 4 == 0);
                let frames: Vec<_> = (0..=count).map(|_| word(argument())).collect();
                let (form, body) = encode_payload(&frames, !binary);
                self.answer(body, form);
            }
            2 => {
                let body: Vec<u8> = bytes.by_ref().take(16).collect();
                self.answer(body.into(), Form::Text);
            }
            3 | 4 => {
                if let Some((_, body)) = self.session.next_post() {
                    assert!(!self.is_posting && !body.is_empty(), "two POSTs at once, or one of nothing");
                    assert!(!self.session.is_over() && !self.session.is_over_websocket());
                    self.is_posting = true;
                }
            }
            5 if self.is_posting => {
                self.is_posting = false;
                self.session.post_done();
            }
            6 if argument() % 4 == 0 => {
                (self.is_getting, self.is_posting) = (false, false);
                self.session.request_failed((argument() % 2 == 0).then_some(400));
            }
            7 => self.session.socket_open(),
            8 | 9 if self.has_socket => self.session.frame(self.now, word(argument())),
            10 if self.has_socket && argument() % 4 == 0 => {
                self.has_socket = false;
                self.session.socket_gone(None);
            }
            11 => {
                let padding = Value::from_text(&"x".repeat(usize::from(argument())));
                let waited = self.session.waiting_bytes();
                let taken = self.session.send(&encode_event("n", &[&padding], None)).is_ok();
                let waits = self.session.waiting_bytes();
                assert!(!taken || waits <= QUEUED_MAX || waited == 0, "{waited} waited, {waits} wait");
            }
            12 => {
                if let Ok(id) = self.session.ask("q", &[])
                    && argument() % 2 == 0
                {
                    self.session.forget(id);
                }
            }
            13 => self.pass(40 * u64::from(argument())),
            14 if argument() % 8 == 0 => self.session.disconnect(self.now),
            _ => {
                let _ = self.session.next_frame();
            }
        }
    }

    fn answer(&mut self, body: Bytes, form: Form) {
        if std::mem::take(&mut self.is_getting) {
            self.session.answer(self.now, body, form);
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

    fn settle(&mut self) {
        while let Some(output) = self.session.poll() {
            assert!(!self.is_closed, "behind the end: {output:?}");
            match output {
                Output::Get => {
                    assert!(!std::mem::replace(&mut self.is_getting, true), "two GETs at once");
                    assert!(!self.session.is_over_websocket());
                }
                Output::Dial => assert!(!std::mem::replace(&mut self.has_socket, true), "two WebSockets"),
                Output::HangUp => {
                    while self.session.next_frame().is_some() {}
                    self.has_socket = false;
                }
                Output::Upgraded => {
                    assert!(self.session.is_over_websocket() && !self.is_getting && !self.is_posting)
                }
                Output::Closed(_) => self.is_closed = true,
                Output::Connected | Output::Received(_) | Output::Acked(_) => {}
            }
        }
        assert_eq!(self.is_closed, self.session.is_over());
    }

    /// Silence ends it.
    fn end(&mut self) {
        self.pass(2 * 86_400_000 + 20_000);
        assert!(self.is_closed && self.session.wake().is_none(), "still waiting: {:?}", self.session);
        assert!(self.session.next_post().is_none());
    }
}

/// Something a server says, sooner or later.
fn word(n: u8) -> Frame {
    let words = [
        r#"0{"sid":"abc","upgrades":["websocket"],"pingInterval":1000,"pingTimeout":5000}"#,
        "40",
        r#"42["n",{"a":1}]"#,
        r#"427["n"]"#,
        "430[true]",
        "431[]",
        "3",
        "6",
        "3probe",
        r#"451-["b",{"_placeholder":true,"num":0}]"#,
        "41",
        "1",
        "44\"no\"",
        "40/a",
        "4garb",
        r#"0{"sid":"abc","upgrades":["websocket"],"pingInterval":0,"pingTimeout":0}"#,
    ];
    match words.get(usize::from(n % 20)) {
        Some(text) => Frame::text(*text),
        None => Frame::binary(vec![4, n]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        /// No order of operations breaks what holds for every session.
        #[test]
        fn prop_any_operations_keep_the_rules(data in prop::collection::vec(any::<u8>(), 0..300)) {
            super::fuzz_socketio_client(&data);
        }

        /// The same once the server has let the client in.
        #[test]
        fn prop_any_operations_keep_the_rules_when_open(transports in 0_u8..3, data in prop::collection::vec(any::<u8>(), 0..300)) {
            let opened = match transports {
                1 => vec![1, 8, 0, 8, 1],
                n => vec![n, 0, 1, 1, 0, 1],
            };
            super::fuzz_socketio_client(&[opened, data].concat());
        }
    }
}
