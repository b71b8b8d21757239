//! Vocabulary of a hardware bridge: the messages between it and the program that started it, who may connect to it, and
//! the text form of its encrypt and decrypt.
//!
//! It never opens a channel or socket, reads a clock, draws a random number or prints a secret; it never parses a value
//! into a tree or changes one: numbers keep their digits, members their order, and escapes that are no Unicode survive.
//!
//! ```
//! use spandrel_bridge_protocol::{FromParent, RoomId, ToParent};
//!
//! let line = bytes::Bytes::from_static(br#"{"key":"send","value":{"n":12345678901234567890}}"#);
//! let FromParent::Send(Some(value)) = FromParent::decode(&line)? else { panic!("it is a send with a value") };
//! assert_eq!(value.as_json_str(), r#"{"n":12345678901234567890}"#);
//!
//! let close = ToParent::Close(Some(RoomId::from("a room")));
//! assert_eq!(close.to_frame().as_text(), Some(r#"{"key":"close","value":"a room"}"#));
//! # Ok::<(), spandrel_bridge_protocol::LineError>(())
//! ```
//!
//! [`Rules`] judges the [`Facts`] of a request by the origin list, the names of this machine and a pairing token:
//!
//! ```
//! use spandrel_bridge_protocol::{Admitted, Facts, Header, Origins, Rules};
//!
//! let rules = Rules::new(Origins::parse("default,https://school.example")?);
//! let host = Header::One(b"127.0.0.1:23518");
//! let page = |origin: &'static str| Facts { host, origin: Header::One(origin.as_bytes()), ..Facts::default() };
//! assert_eq!(rules.judge(&page("https://school.example")), Ok(Admitted::Page));
//! let refusal = rules.judge(&page("https://evil.example")).unwrap_err();
//! assert!(refusal.to_string().ends_with("set to ...,https://evil.example admits it"));
//! # Ok::<(), spandrel_bridge_protocol::OriginsError>(())
//! ```
//!
//! Bytes: one JSON text per line, `{"key":…,"value":…}`; origins and the encrypted form (`ARCHITECTURE.md`, hardware
//! bridge). How long a line may be is the codec's limit; a value costs no memory beside its line. An origin or a host is
//! read up to [`NAME_BYTES_MAX`], tested.

mod admission;
mod crypt;
mod messages;
mod origins;
mod shown;

#[doc(hidden)]
pub mod fuzz;

pub use admission::{Admitted, Facts, Header, Refusal, Rules};
pub use crypt::{Secret, decrypt, encrypt};
pub use messages::{CloudMode, FromParent, LineError, RoomId, RunningMode, ToParent};
pub use origins::{NAME_BYTES_MAX, OriginHeader, Origins, OriginsError};
pub use shown::Shown;
pub use spandrel_socketio::Value;
