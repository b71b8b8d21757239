//! The server's side of one session: Engine.IO 3 over polling, over WebSocket, and from the one to the other, with
//! Socket.IO 2 inside.
//!
//! [`Session`] is told what came (requests of the polling transport, frames of the WebSocket, packets of the application,
//! the time) and is asked what to do. It never opens a socket, reads a clock or draws a random number.
//!
//! # Driving rule
//!
//! - After each call, take [`poll`](Session::poll) to `None`; set one timer to [`wake`](Session::wake), call
//!   [`tick`](Session::tick) when it fires. `tick` early or twice does no harm.
//! - While [`get`](Session::get) is held: as soon as [`has_answer`](Session::has_answer), take
//!   [`answer`](Session::answer), encode it ([`encode_payload`](crate::encode_payload)) and send it. Taking it late does no
//!   harm either: what comes meanwhile goes along.
//! - While there is a WebSocket: write what [`next_frame`](Session::next_frame) gives. On [`Output::HangUp`] write what
//!   is left, then close it.
//! - When [`is_over`](Session::is_over), forget the session.
//!
//! ```
//! use std::sync::Arc;
//! use spandrel_socketio::{Form, encode_event, encode_payload, server::{Carrier, Output, Session, SessionConfig}};
//! use spandrel_wire::Millis;
//!
//! let config = Arc::new(SessionConfig::default());
//! let mut session = Session::new(Millis::new(0), "AAAAAAAAAAAAAAAAAAAA", Carrier::Polling, config);
//! session.get(Millis::new(0))?; // the request that opened it
//! let (_, body) = encode_payload(&session.answer().expect("what opens the session"), false);
//! assert!(body.starts_with(br#"95:0{"sid":"AAAAAAAAAAAAAAAAAAAA""#) && body.ends_with(b"2:40"));
//!
//! session.get(Millis::new(5))?; // held: there is nothing to say
//! assert!(!session.has_answer());
//! session.begin_post(Millis::new(8))?;
//! session.post(Millis::new(9), br#"16:42["message",12]"#.as_slice().into(), Form::Text)?; // answer it "ok"
//! let Some(Output::Received(event)) = session.poll() else { panic!("expected an event") };
//! assert_eq!(event.name(), "message");
//!
//! session.send(Millis::new(10), &encode_event("message", &[], None))?;
//! let (_, body) = encode_payload(&session.answer().expect("an answer for the held request"), false);
//! assert_eq!(body, r#"13:42["message"]"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
#[doc(hidden)]
pub mod fuzz;
mod session;

#[cfg(test)]
mod tests;

pub use config::SessionConfig;
pub use session::{Carrier, CloseReason, Output, Refusal, SendError, Session};
