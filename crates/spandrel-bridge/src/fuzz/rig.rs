//! Drives a bridge and writes down what it does, a line for each effect.

use spandrel_socketio::{Decoder, Encoded, Event, Frame, Packet};
use spandrel_wire::Millis;

use crate::{Bridge, Config, ConnId, Input, Output, Security};

/// A bridge at a point in time.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) bridge: Bridge,
    pub(crate) now: Millis,
}

impl Rig {
    pub(crate) fn new(config: Config) -> Self {
        Self { bridge: Bridge::new(config), now: Millis::new(1_000) }
    }

    pub(crate) fn advance(&mut self, ms: u64) {
        self.now = self.now.after(ms);
    }

    /// One line per effect: a packet has one for each session it goes to, in the order of their names.
    pub(crate) fn step(&mut self, input: Input) -> Vec<String> {
        self.bridge.step(self.now, input);
        let mut done = Vec::new();
        while let Some(output) = self.bridge.poll() {
            match output {
                Output::Report(message) => {
                    done.push(format!("parent {}", message.to_frame().as_text().unwrap_or_default()));
                }
                Output::Encrypt(text) => done.push(format!("encrypt {text}")),
                Output::Decrypt(text) => done.push(format!("decrypt {text}")),
                Output::Listen => done.push("listen".into()),
                Output::StopListening => done.push("stop".into()),
                Output::Send(audience, packet) => {
                    let mut conns: Vec<_> = self.bridge.audience(&audience).collect();
                    conns.sort_unstable();
                    done.extend(conns.iter().map(|ConnId(conn)| format!("to {conn} {}", shown(&packet))));
                }
                Output::Close(ConnId(conn)) => done.push(format!("close {conn}")),
                Output::Dial(link, Security::Plain) => done.push(format!("dial {} plain", link.0)),
                Output::Dial(link, Security::Tls) => done.push(format!("dial {} tls", link.0)),
                Output::SendHost(link, packet) => done.push(format!("host {} {}", link.0, shown(&packet))),
                Output::HangUp(link) => done.push(format!("hang up {}", link.0)),
                Output::Note(note) => done.push(format!("note {note}")),
                Output::Exit(code) => done.push(format!("exit {code}")),
            }
        }
        done
    }
}

/// The packet as text, each attachment behind it in square brackets.
fn shown(packet: &Encoded) -> String {
    let part = |frame: Frame| match frame.as_text() {
        Some(text) => text.to_owned(),
        None => format!("{:?}", frame.data()),
    };
    packet.frames().map(part).collect::<Vec<_>>().join(" ")
}

/// An event as a session brings it: `["name",...]`, a number before it asks for an acknowledgement.
pub(crate) fn event(text: &str) -> Event {
    event_with(&format!("42{text}"), &[])
}

/// An event with attachments.
pub(crate) fn event_with(text: &str, attachments: &[&[u8]]) -> Event {
    let mut decoder = Decoder::new(&spandrel_socketio::Limits::default());
    let frames = attachments.iter().map(|bytes| Frame::binary([&[4], *bytes].concat()));
    let mut packet = decoder.push(Frame::text(text)).expect("an event");
    for frame in frames {
        packet = decoder.push(frame).expect("an attachment");
    }
    match packet {
        Some(Packet::Event(event)) => event,
        other => panic!("{text} is no event: {other:?}"),
    }
}
