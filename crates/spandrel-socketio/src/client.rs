//! The client's side of one session: Engine.IO 3 over polling, over WebSocket, or from the one to the other, with
//! Socket.IO 2 inside.
//!
//! [`Session`] is told what came (answers of the polling transport, frames of the WebSocket, packets of the application,
//! the time) and is asked what to do. It never opens a socket, reads a clock or draws a random number, and it does not
//! connect again: when a session is over, make another.
//!
//! # Driving rule
//!
//! - After each call, take [`poll`](Session::poll) to `None`; set one timer to [`wake`](Session::wake), call
//!   [`tick`](Session::tick) when it fires. `tick` early or twice does no harm.
//! - [`Output::Get`]: send a GET with [`sid`](Session::sid), if there is one; hand its answer to
//!   [`answer`](Session::answer), or say [`request_failed`](Session::request_failed). There is one at a time.
//! - As soon as [`next_post`](Session::next_post) gives a body, send it; then [`post_done`](Session::post_done) or
//!   `request_failed`. It gives no second one meanwhile, and what is sent meanwhile goes along with the next.
//! - [`Output::Dial`]: open a WebSocket, with the `sid` if there is one; then [`socket_open`](Session::socket_open) or
//!   [`socket_gone`](Session::socket_gone). While there is one: hand its frames to [`frame`](Session::frame), write what
//!   [`next_frame`](Session::next_frame) gives. On [`Output::HangUp`] write what is left, then close it.
//! - [`Output::Closed`] comes once and last.
//!
//! ```
//! use spandrel_socketio::{Form, Value, client::{Output, Session, SessionConfig, Transports}, encode_event};
//! use spandrel_wire::Millis;
//!
//! let now = Millis::new(0);
//! let mut session = Session::new(now, SessionConfig::new(Transports::Polling));
//! assert_eq!(session.poll(), Some(Output::Get)); // of /socket.io/?EIO=3&transport=polling
//! session.send(&encode_event("message", &[&Value::from(1)], None))?; // waits for the connection
//!
//! let opened = r#"67:0{"sid":"abc","upgrades":[],"pingInterval":1000,"pingTimeout":5000}2:40"#;
//! session.answer(now, opened.into(), Form::Text);
//! assert_eq!(session.sid(), Some("abc"));
//! assert_eq!(session.poll(), Some(Output::Connected));
//! assert_eq!(session.poll(), Some(Output::Get)); // the next one, held by the server
//! assert_eq!(session.next_post(), Some((Form::Text, r#"15:42["message",1]"#.into())));
//! # Ok::<(), spandrel_socketio::client::SendError>(())
//! ```

mod config;
#[doc(hidden)]
pub mod fuzz;
mod session;

#[cfg(test)]
mod tests;

pub use config::{SessionConfig, Transports};
pub use session::{CloseReason, Output, SendError, Session};
