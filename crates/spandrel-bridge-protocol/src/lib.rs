//! Vocabulary of a hardware bridge: the messages between it and the program that started it.
//!
//! It never opens a channel, parses a value into a tree or changes one: numbers keep their digits, members their
//! order, and escapes that are no Unicode survive.
//!
//! ```
//! use spandrel_bridge_protocol::{FromParent, Json, RoomId, ToParent};
//!
//! let line = bytes::Bytes::from_static(br#"{"key":"send","value":{"n":12345678901234567890}}"#);
//! let FromParent::Send(Some(value)) = FromParent::decode(&line)? else { panic!("it is a send with a value") };
//! assert_eq!(value.as_str(), r#"{"n":12345678901234567890}"#);
//!
//! let close = ToParent::Close(Some(RoomId::from("a room")));
//! assert_eq!(close.to_frame().as_text(), Some(r#"{"key":"close","value":"a room"}"#));
//! # Ok::<(), spandrel_bridge_protocol::LineError>(())
//! ```
//!
//! Bytes: one JSON text per line, `{"key":…,"value":…}` (`ARCHITECTURE.md`, hardware bridge). How long a line may be is
//! the codec's limit; a value costs no memory beside its line.

mod messages;

#[doc(hidden)]
pub mod fuzz;

pub use messages::{CloudMode, FromParent, Json, LineError, RoomId, RunningMode, ToParent};
