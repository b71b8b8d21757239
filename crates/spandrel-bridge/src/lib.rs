//! A hardware bridge as a pure machine: rooms, host and client mode, take-over, holding and routing.
//!
//! A program that talks to a board starts a bridge; pages connect to it. Several programs of one machine
//! share one port: the first has it and is the *host*, the others are *clients* of the host, and a room pairs
//! each page with its program. Facts go in, work comes out. Never opens a socket, reads a clock or draws a
//! random number: a driver does, in any runtime.
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
//! Every rule of who hears whom is a row of a test in `src/bridge/tests`, and random operations are held to a
//! naive model of the tables. In `tests/sim` several bridges share one simulated machine and are killed,
//! frozen and cut off.
//!
//! # Specified where
//!
//! What goes over the wire: `ARCHITECTURE.md`, hardware bridge. Decided here, where nothing is said:
//!
//! - A browser's empty room name is no room. A client's `roomId` in its query has no meaning, only what it
//!   claims.
//! - A client whose room another claimed still speaks to that room's browsers, but hears them no more, and
//!   does not get the room back when the other leaves.
//! - A room that is both a client's and the host's own is the client's.
//! - Messages that wait are for the room of that moment: they go to the first room a program gets, never to a
//!   second one. A first host, which took over from nobody, and a new host without a room keep none.
//! - For [`Limits::guard_ms`] after a take-over a host also keeps what browsers say to rooms whose client is
//!   not back, and what clients say to rooms whose browsers are not back, each within the bounds of its own
//!   messages. An acknowledgement is given at once all the same.
//! - The port is asked for at once when a link ends, and once at once when neither kind of security reaches a
//!   host; after that with waits that double. Links that end within [`Limits::settled_ms`] make the next call
//!   wait, not the next try for the port.
//! - A message over [`Limits::held_bytes_max`] is not held: it alone would cost all the others.
//!
//! Limits: [`Limits`], all tested.

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
