//! A hardware bridge as a pure machine: rooms, host and client mode, take-over, holding and routing.
//!
//! A program that talks to a board starts a bridge; pages connect to it. Several programs of one machine share one port:
//! the first has it and is the *host*, the others are *clients* of the host, and a room pairs each page with its program.
//! Facts go in, work comes out. Never opens a socket, reads a clock or draws a random number: a driver does, in any
//! runtime.
//!
//! ```
//! use spandrel_bridge::{Bridge, Config, ConnId, FromParent, Input, Millis, Output, Role, Security, Value};
//!
//! let mut bridge = Bridge::new(Config::new(Security::Plain, 7));
//! let now = Millis::new(0);
//! bridge.step(now, Input::Parent(FromParent::Open));
//! assert!(matches!(bridge.poll(), Some(Output::Listen)));
//! bridge.step(now, Input::Listening);
//! bridge.step(now, Input::Opened { conn: ConnId(1), role: Role::Browser, room: None });
//! while bridge.poll().is_some() {} // reports to the parent
//!
//! let value = Value::parse(r#"{"A0":1023}"#)?;
//! bridge.step(now, Input::Parent(FromParent::Send(Some(value))));
//! let Some(Output::Send(audience, packet)) = bridge.poll() else { panic!("a message for the browser") };
//! assert_eq!(packet.text().as_text(), Some(r#"42["message",{"data":{"A0":1023}}]"#));
//! assert!(bridge.audience(&audience).eq([ConnId(1)]));
//! # Ok::<(), spandrel_bridge::JsonError>(())
//! ```
//!
//! What goes over the wire: `ARCHITECTURE.md`, hardware bridge. Limits: [`Limits`], all tested.

mod bridge;
mod config;
#[doc(hidden)]
pub mod fuzz;
mod held;
mod pace;
mod packets;
mod rooms;
mod words;

pub use bridge::{Bridge, Status};
pub use config::{Config, Limits};
pub use spandrel_bridge_protocol::{CloudMode, FromParent, RoomId, RunningMode, ToParent};
pub use spandrel_socketio::{Bytes, Encoded, Event, JsonError, Value};
pub use spandrel_wire::Millis;
pub use words::{Audience, ConnId, Input, LinkId, Note, Output, Role, Security};
