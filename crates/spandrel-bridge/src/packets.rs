//! The Socket.IO packets of a bridge, made and read.

use spandrel_bridge_protocol::RoomId;
use spandrel_socketio::{Encoded, Event, Value, encode_ack, encode_event};

/// The event that carries everything, in both directions.
pub(crate) const MESSAGE: &str = "message";
/// A client claims a room.
pub(crate) const MATCH_TARGET: &str = "matchTarget";

/// A message of the parent: `{"data":V}`, or `{}` when it came without a value.
pub(crate) fn of_parent(value: Option<&Value>) -> Encoded {
    let payload = value.map_or_else(Value::empty_object, |value| Value::wrapped("data", value));
    encode_event(MESSAGE, &[&payload], None)
}

/// A message that came by one session and goes out by others, attachments and all.
pub(crate) fn relayed(message: &Value) -> Encoded {
    encode_event(MESSAGE, &[message], None)
}

/// The claim of a room.
pub(crate) fn claim(room: &RoomId) -> Encoded {
    encode_event(MATCH_TARGET, &[&Value::from_text(room.as_str())], None)
}

/// The room of a claim: a text, or the text `roomId` of an object. Anything else names none.
pub(crate) fn claimed(event: &Event) -> Option<RoomId> {
    let target = event.arg(0)?;
    RoomId::from_value(&target.member("roomId").unwrap_or(target))
}

/// What answers a message: its `key` if it is an object with one, else `true`.
pub(crate) fn answer(ack_id: u64, message: Option<&Value>) -> Encoded {
    let key = message.and_then(|message| message.member("key")).unwrap_or(Value::TRUE);
    encode_ack(ack_id, &[&key])
}
