//! What the parent is told.

use bytes::{BufMut, BytesMut};
use spandrel_socketio::Value;
use spandrel_wire::Frame;

use super::RoomId;

/// Whether this program listens or has joined another that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunningMode {
    /// It listens: the host. 2 on the wire.
    Server,
    /// The port is another's: a client of its host. 3 on the wire.
    Client,
}

/// Whether several programs share the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloudMode {
    /// One program, rooms have no meaning. 0 on the wire.
    Single,
    /// Several: rooms decide who hears whom. 1 on the wire.
    Cloud,
}

/// One message to the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToParent {
    /// `runningModeChanged`, always followed by [`CloudModeChanged`](Self::CloudModeChanged).
    RunningModeChanged(RunningMode),
    /// `cloudModeChanged`, also after every `connection`.
    CloudModeChanged(CloudMode),
    /// `connection`: a browser or another program came. Carries no value.
    Connection,
    /// `data`: a message for this program, as it came; its attachments are written as Node writes a buffer.
    Data(Value),
    /// `close`: a browser or another program went; its room, if it had one.
    Close(Option<RoomId>),
    /// `encrypt`: the encrypted text.
    Encrypt(String),
    /// `decrypt`: the decrypted text.
    Decrypt(String),
}

impl ToParent {
    /// Writes the message as one line, without its line break: valid JSON that holds none.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::RunningModeChanged(RunningMode::Server) => {
                fixed(r#"{"key":"runningModeChanged","value":2}"#)
            }
            Self::RunningModeChanged(RunningMode::Client) => {
                fixed(r#"{"key":"runningModeChanged","value":3}"#)
            }
            Self::CloudModeChanged(CloudMode::Single) => fixed(r#"{"key":"cloudModeChanged","value":0}"#),
            Self::CloudModeChanged(CloudMode::Cloud) => fixed(r#"{"key":"cloudModeChanged","value":1}"#),
            Self::Connection => fixed(r#"{"key":"connection"}"#),
            Self::Data(value) => with(r#"{"key":"data","value":"#, &value.to_json_with_buffers()),
            Self::Close(None) => fixed(r#"{"key":"close"}"#),
            Self::Close(Some(room)) => {
                with(r#"{"key":"close","value":"#, Value::from_text(room.as_str()).json())
            }
            Self::Encrypt(text) => with(r#"{"key":"encrypt","value":"#, Value::from_text(text).json()),
            Self::Decrypt(text) => with(r#"{"key":"decrypt","value":"#, Value::from_text(text).json()),
        }
    }

    /// May it be left out when the parent does not keep up? Only `data`: the parent counts on every other.
    #[must_use]
    pub const fn is_droppable(&self) -> bool {
        matches!(self, Self::Data(_))
    }
}

fn fixed(line: &'static str) -> Frame {
    Frame::from_checked_text(bytes::Bytes::from_static(line.as_bytes()))
}

/// `start`, the value and the closing brace. A value holds no line break: neither does the line.
fn with(start: &'static str, value: &[u8]) -> Frame {
    let mut line = BytesMut::with_capacity(start.len() + value.len() + 1);
    line.put_slice(start.as_bytes());
    line.put_slice(value);
    line.put_u8(b'}');
    Frame::from_checked_text(line.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(message: &ToParent) -> String {
        message.to_frame().as_text().unwrap().to_owned()
    }

    #[test]
    fn every_message_has_its_line() {
        let json = |text: &'static str| Value::parse(text).unwrap();
        for (message, want) in [
            (ToParent::RunningModeChanged(RunningMode::Server), r#"{"key":"runningModeChanged","value":2}"#),
            (ToParent::RunningModeChanged(RunningMode::Client), r#"{"key":"runningModeChanged","value":3}"#),
            (ToParent::CloudModeChanged(CloudMode::Single), r#"{"key":"cloudModeChanged","value":0}"#),
            (ToParent::CloudModeChanged(CloudMode::Cloud), r#"{"key":"cloudModeChanged","value":1}"#),
            (ToParent::Connection, r#"{"key":"connection"}"#),
            (
                ToParent::Data(json(r#"{"data":"\ud83d","n":1e400}"#)),
                r#"{"key":"data","value":{"data":"\ud83d","n":1e400}}"#,
            ),
            (ToParent::Data(json("[1,\r\n\n2]")), r#"{"key":"data","value":[1,   2]}"#),
            (ToParent::Close(None), r#"{"key":"close"}"#),
            (
                ToParent::Close(Some("방 \"\n\u{2028}😀".into())),
                "{\"key\":\"close\",\"value\":\"방 \\\"\\n\u{2028}😀\"}",
            ),
            (ToParent::Encrypt("U2Fs".into()), r#"{"key":"encrypt","value":"U2Fs"}"#),
            (ToParent::Decrypt(String::new()), r#"{"key":"decrypt","value":""}"#),
        ] {
            assert_eq!(line(&message), want);
        }
    }

    #[test]
    fn only_data_may_be_left_out() {
        assert!(ToParent::Data(Value::from_text("x")).is_droppable());
        for message in [
            ToParent::Connection,
            ToParent::Close(None),
            ToParent::CloudModeChanged(CloudMode::Cloud),
            ToParent::Encrypt(String::new()),
        ] {
            assert!(!message.is_droppable(), "{message:?}");
        }
    }

    proptest! {
        /// Whatever the text, the line is one JSON value without a line break and says the same text.
        #[test]
        fn prop_lines_are_json_without_line_breaks(text in any::<String>(), pad in "[ \\r\\n\\t]{0,4}") {
            let value = Value::parse(format!("[{pad}{},{pad}1]", Value::from_text(&text))).unwrap();
            let (close, clear) = (ToParent::Close(Some(text.as_str().into())), ToParent::Decrypt(text.clone()));
            for message in [close, clear, ToParent::Encrypt(text.clone()), ToParent::Data(value)] {
                let line = line(&message);
                prop_assert!(!line.contains(['\n', '\r']));
                let back: serde_json::Value = serde_json::from_str(&line).unwrap();
                let said = if message.is_droppable() { &back["value"][0] } else { &back["value"] };
                prop_assert_eq!(said.as_str(), Some(text.as_str()));
            }
        }
    }
}
