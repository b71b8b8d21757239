//! Engine.IO 3: packets as WebSocket frames, and the handshake object.

use bytes::{Bytes, BytesMut};
use spandrel_wire::Frame;

use crate::{EngineError, Value};

/// Types of Engine.IO packets. In a text frame the type is the first digit, in a binary frame the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketKind {
    /// `0`: the handshake object, server to client, first of all.
    Open = 0,
    /// `1`: the session ends.
    Close = 1,
    /// `2`: the client asks for life; before an upgrade `2probe`.
    Ping = 2,
    /// `3`: the answer, with the same data.
    Pong = 3,
    /// `4`: a Socket.IO packet or one of its attachments.
    Message = 4,
    /// `5`: from here on the client speaks over WebSocket only.
    Upgrade = 5,
    /// `6`: nothing; releases a waiting poll.
    Noop = 6,
}

impl PacketKind {
    /// Reads the type of a frame in WebSocket form.
    ///
    /// # Errors
    ///
    /// [`EngineError::Empty`], [`EngineError::Kind`].
    pub fn of(frame: &Frame) -> Result<Self, EngineError> {
        let byte = *frame.data().first().ok_or(EngineError::Empty)?;
        let number = if frame.is_text() { byte.wrapping_sub(b'0') } else { byte };
        Self::from_number(number).ok_or(EngineError::Kind { byte })
    }

    /// Returns the type with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Open,
            1 => Self::Close,
            2 => Self::Ping,
            3 => Self::Pong,
            4 => Self::Message,
            5 => Self::Upgrade,
            6 => Self::Noop,
            _ => return None,
        })
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns a packet of this type without data, as a text frame. Allocates nothing.
    #[must_use]
    pub fn frame(self) -> Frame {
        Frame::from_checked_text(Bytes::from_static(match self {
            Self::Open => b"0",
            Self::Close => b"1",
            Self::Ping => b"2",
            Self::Pong => b"3",
            Self::Message => b"4",
            Self::Upgrade => b"5",
            Self::Noop => b"6",
        }))
    }
}

/// One Engine.IO packet: its type, and its data without the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnginePacket {
    /// The type.
    pub kind: PacketKind,
    /// The data: text or binary, shared with the frame it came in.
    pub data: Frame,
}

impl EnginePacket {
    /// The data of the ping and the pong that try a WebSocket before an upgrade.
    pub const PROBE: &'static str = "probe";

    /// Takes a packet from a frame in WebSocket form, without copying.
    ///
    /// # Errors
    ///
    /// [`EngineError::Empty`], [`EngineError::Kind`].
    pub fn from_frame(frame: Frame) -> Result<Self, EngineError> {
        let kind = PacketKind::of(&frame)?;
        let is_text = frame.is_text();
        let data = frame.into_data().slice(1..);
        let data = if is_text { Frame::from_checked_text(data) } else { Frame::binary(data) };
        Ok(Self { kind, data })
    }

    /// Makes the frame in WebSocket form; copies the data unless there is none.
    #[must_use]
    pub fn into_frame(self) -> Frame {
        if self.data.is_text() && self.data.is_empty() {
            return self.kind.frame();
        }
        let mut out = BytesMut::with_capacity(self.data.len() + 1);
        if self.data.is_text() {
            out.extend_from_slice(&[b'0' + self.kind.number()]);
            out.extend_from_slice(self.data.data());
            return Frame::from_checked_text(out.freeze());
        }
        out.extend_from_slice(&[self.kind.number()]);
        out.extend_from_slice(self.data.data());
        Frame::binary(out)
    }
}

/// The object of packet `0`, with which a server opens a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Name of the session: 1 to [`Handshake::SID_BYTES_MAX`] of `A-Z a-z 0-9 - _ .`, so that it needs no escapes in a query.
    pub sid: String,
    /// May the client go over to a WebSocket? On a WebSocket: no.
    pub upgrades: bool,
    /// The client pings this often, in milliseconds.
    pub ping_interval_ms: u64,
    /// Silence for this long on top of the interval ends the session, in milliseconds.
    pub ping_timeout_ms: u64,
}

impl Handshake {
    /// Longest session name, in bytes.
    pub const SID_BYTES_MAX: usize = 128;
    /// Longest interval or timeout that is taken, in milliseconds: a day.
    pub const PING_MS_MAX: u64 = 86_400_000;

    /// Makes the packet as a frame: `0{"sid":"..","upgrades":["websocket"],"pingInterval":1000,"pingTimeout":5000}`.
    #[must_use]
    pub fn encode(&self) -> Frame {
        let sid = Value::from_text(&self.sid);
        let upgrades = if self.upgrades { r#"["websocket"]"# } else { "[]" };
        let (interval, timeout) = (self.ping_interval_ms, self.ping_timeout_ms);
        Frame::text(format!(
            r#"0{{"sid":{sid},"upgrades":{upgrades},"pingInterval":{interval},"pingTimeout":{timeout}}}"#
        ))
    }

    /// Reads the packet. Members it does not know are passed over.
    ///
    /// # Errors
    ///
    /// [`EngineError::Handshake`] says what was expected.
    pub fn parse(frame: &Frame) -> Result<Self, EngineError> {
        let fault = |expected| EngineError::Handshake { expected };
        if !frame.is_text() || PacketKind::of(frame)? != PacketKind::Open {
            return Err(fault("packet 0"));
        }
        let json: Bytes = frame.data().slice(1..);
        let object = Value::parse(json).map_err(|_| fault("a json object"))?;
        let sid = object.member("sid").ok_or_else(|| fault("member sid"))?;
        let sid =
            sid.text().filter(|s| is_sid(s)).ok_or_else(|| fault("a sid of A-Z a-z 0-9 - _ ."))?.into_owned();
        let upgrades =
            object.member("upgrades").is_some_and(|u| u.elements().any(|e| e.is_text("websocket")));
        let millis =
            |name| object.member(name).and_then(|v| v.as_u64()).filter(|ms| *ms <= Self::PING_MS_MAX);
        Ok(Self {
            sid,
            upgrades,
            ping_interval_ms: millis("pingInterval").ok_or_else(|| fault("pingInterval in milliseconds"))?,
            ping_timeout_ms: millis("pingTimeout").ok_or_else(|| fault("pingTimeout in milliseconds"))?,
        })
    }
}

fn is_sid(text: &str) -> bool {
    (1..=Handshake::SID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_a_digit_in_text_and_a_byte_in_binary() {
        for number in 0..=6 {
            let kind = PacketKind::from_number(number).unwrap();
            assert_eq!(PacketKind::of(&kind.frame()), Ok(kind));
            assert_eq!(PacketKind::of(&Frame::binary(vec![number])), Ok(kind));
            assert_eq!(kind.frame(), Frame::text(number.to_string()));
        }
        assert_eq!(PacketKind::of(&Frame::text("")), Err(EngineError::Empty));
        for (name, frame, byte) in [
            ("a digit too far", Frame::text("7"), b'7'),
            ("no digit", Frame::text("x4"), b'x'),
            ("text that starts like a binary frame", Frame::text("\u{4}"), 4),
            ("binary that starts like a text frame", Frame::binary("4"), b'4'),
        ] {
            assert_eq!(PacketKind::of(&frame), Err(EngineError::Kind { byte }), "{name}");
        }
    }

    #[test]
    fn packets_share_their_frame_and_come_back() {
        for frame in [
            Frame::text("2probe"),
            Frame::text("3"),
            Frame::text("42[\"한\"]"),
            Frame::binary(vec![4, 9, 8, 7]),
        ] {
            let packet = EnginePacket::from_frame(frame.clone()).unwrap();
            assert_eq!(packet.data.len() + 1, frame.len());
            assert_eq!(packet.data.data().as_ptr(), frame.data()[1..].as_ptr(), "not copied");
            assert_eq!(packet.into_frame(), frame);
        }
    }

    #[test]
    fn a_handshake_is_written_as_clients_know_it() {
        let handshake =
            Handshake { sid: "a-B_9".into(), upgrades: true, ping_interval_ms: 1000, ping_timeout_ms: 5000 };
        let text = r#"0{"sid":"a-B_9","upgrades":["websocket"],"pingInterval":1000,"pingTimeout":5000}"#;
        assert_eq!(handshake.encode(), Frame::text(text));
        assert_eq!(Handshake::parse(&handshake.encode()), Ok(handshake.clone()));
        let over_websocket = Handshake { upgrades: false, ..handshake };
        assert!(over_websocket.encode().as_text().unwrap().contains(r#""upgrades":[]"#));
        assert_eq!(Handshake::parse(&over_websocket.encode()), Ok(over_websocket));
    }

    #[test]
    fn a_handshake_may_hold_more_but_not_less() {
        let full = r#"{"cookie":1,"pingTimeout":2,"upgrades":["x","websocket"],"pingInterval":1,"sid":"s"}"#;
        let got = Handshake::parse(&Frame::text(format!("0{full}"))).unwrap();
        let want = Handshake { sid: "s".into(), upgrades: true, ping_interval_ms: 1, ping_timeout_ms: 2 };
        assert_eq!(got, want);
        let long = format!(r#""{}""#, "s".repeat(Handshake::SID_BYTES_MAX + 1));
        for (name, text) in [
            ("another packet", full.replace('{', "4{")),
            ("no json", "0{".into()),
            ("an array", "0[]".into()),
            ("no sid", format!("0{}", full.replace("sid", "dis"))),
            ("an empty sid", format!("0{}", full.replace("\"s\"", "\"\""))),
            ("a sid for another query", format!("0{}", full.replace("\"s\"", "\"s&EIO=4\""))),
            ("a sid over the limit", format!("0{}", full.replace("\"s\"", &long))),
            ("a sid that is a number", format!("0{}", full.replace("\"s\"", "5"))),
            ("no interval", format!("0{}", full.replace("pingInterval", "p"))),
            ("a fraction", format!("0{}", full.replace(":2,", ":2.5,"))),
            ("more than a day", format!("0{}", full.replace(":2,", ":86400001,"))),
        ] {
            assert!(
                matches!(Handshake::parse(&Frame::text(text)), Err(EngineError::Handshake { .. })),
                "{name}"
            );
        }
    }
}
