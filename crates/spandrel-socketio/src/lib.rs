//! Engine.IO 3 and Socket.IO 2 without I/O: packets, payloads, sessions of server and client.
//!
//! Never opens a socket, reads a clock or draws a random number, and never reads JSON into a tree: a [`Value`] is the
//! text it came in, checked once, so that numbers, member order and odd escapes pass unchanged.
//!
//! The unit is a [`Frame`] in WebSocket form: text `4` + packet, or byte `04` + an attachment. Polling bodies are made
//! of the same frames, so a packet that goes to many peers over either transport is encoded once.
//!
//! ```
//! use spandrel_socketio::{Decoder, Frame, Limits, Packet, Value, encode_ack, encode_event};
//!
//! let mut decoder = Decoder::new(&Limits::default());
//! let frame = Frame::text(r#"427["message",{"data":1.50,"key":"k"}]"#);
//! let Some(Packet::Event(event)) = decoder.push(frame)? else { panic!("an event") };
//! assert!(event.is_named("message"));
//! let arg = event.arg(0).expect("an argument");
//! assert_eq!(arg.as_json_str(), r#"{"data":1.50,"key":"k"}"#);
//!
//! let key = arg.member("key").unwrap_or(Value::TRUE);
//! let answer = encode_ack(event.ack_id().expect("asks for an answer"), &[&key]);
//! assert_eq!(answer.text(), &Frame::text(r#"437["k"]"#));
//!
//! let packet = encode_event("message", &[&arg], None); // once, for any number of peers
//! assert_eq!(packet.text(), &Frame::text(r#"42["message",{"data":1.50,"key":"k"}]"#));
//! # Ok::<(), spandrel_socketio::PacketError>(())
//! ```
//!
//! Bytes: revision 3 of the Engine.IO protocol and revision 4 of the Socket.IO protocol, which is what the 2.x
//! libraries speak. Limits: [`Limits`], all tested.

mod encode;
mod engine;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod json;
mod limits;
mod packet;
mod payload;
mod value;

pub mod client;
pub mod server;

pub use bytes::Bytes;
pub use encode::{Encoded, encode_ack, encode_connect, encode_disconnect, encode_error, encode_event};
pub use engine::{EnginePacket, Handshake, PacketKind};
pub use error::{EngineError, JsonError, PacketError};
pub use limits::Limits;
pub use packet::{Ack, Decoder, Event, Namespace, Packet};
pub use payload::{Form, decode_payload, encode_payload};
pub use spandrel_wire::{Frame, Millis};
pub use value::{Value, ValueKind};
