//! Socket.IO 2 over tokio: a server for polling and WebSocket with the upgrade between them, and a client.
//!
//! The rules are in `spandrel-socketio`; here are the sockets, tasks and queues. [`SocketServer`] takes connections or
//! HTTP requests and tells what happens through [`Events`]; a [`Socket`] sends to one client and never waits.
//!
//! Inside another HTTP server, give it the requests of its path: [`SocketServer::handle`], as `examples/embed.rs` shows.
//!
//! [`connect`] makes a client of another server, with the same packets: a [`ClientSocket`] to send, [`ClientEvents`] to
//! receive.
//!
//! It never listens or reconnects by itself, never looks into a message, knows no rooms, and never buffers without a
//! bound.
//!
//! ```
//! use spandrel_socketio::Value;
//! use spandrel_socketio_net::{Bytes, ServerConfig, ServerEvent, SocketServer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (server, mut events) = SocketServer::new(ServerConfig::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let serving = server.clone();
//! tokio::spawn(async move {
//!     while let Ok((stream, address)) = listener.accept().await {
//!         let server = serving.clone();
//!         tokio::spawn(async move {
//!             let other = |_: &_| http::Response::new(Bytes::from_static(b"not Socket.IO"));
//!             server.serve_connection(Box::new(stream), address, other).await;
//!         });
//!     }
//! });
//!
//! let echo = async move {
//!     let (mut sockets, mut batch) = (std::collections::HashMap::new(), Vec::new());
//!     while events.recv_many(&mut batch, 256).await > 0 {
//!         for event in batch.drain(..) {
//!             match event {
//!                 ServerEvent::Opened(socket) => drop(sockets.insert(socket.id(), socket)),
//!                 ServerEvent::Closed { id, .. } => drop(sockets.remove(&id)),
//!                 ServerEvent::Received { id, event } => {
//!                     let (Some(socket), Some(value)) = (sockets.get(&id), event.arg(0)) else { continue };
//!                     let _ = socket.emit("echo", &[&value]); // closes those that do not read
//!                     if let Some(id) = event.ack_id() {
//!                         let _ = socket.acknowledge(id, &[&Value::TRUE]);
//!                     }
//!                 }
//!                 _ => {}
//!             }
//!         }
//!     }
//! };
//! # tokio::select! {
//! #     () = echo => {}
//! #     () = tokio::task::yield_now() => {}
//! # }
//! # server.close_all().await;
//! # Ok(())
//! # }
//! ```
//!
//! Bytes: Engine.IO revision 3 and Socket.IO revision 4, as the 2.x libraries speak them; RFC 6455; HTTP/1.1. What an
//! HTTP client is told:
//!
//! | status | body | when |
//! |---|---|---|
//! | 400 | `{"code":0,"message":"Transport unknown"}` | `transport` is none of `polling`, `websocket` |
//! | 400 | `{"code":1,"message":"Session ID unknown"}` | `sid` is not, or no longer, of a session |
//! | 400 | `{"code":2,"message":"Bad handshake method"}` | no `sid`, and not GET |
//! | 400 | `{"code":3,"message":"Bad request"}` | JSONP (`j`), more than 64 parameters, a second request of a kind, a body that cannot be read, polling after the upgrade |
//! | 400 | `{"code":5,"message":"Unsupported protocol version"}` | a new session with another `EIO` than 3 |
//! | 403 | `{"code":4,"message":"Forbidden"}` | the gate says no; without CORS headers |
//! | 404 | text | another path below the server's; a WebSocket on any other path, unless the application takes it |
//! | 408, 413 | code 3 | the body takes too long, or is too long: the session is closed |
//! | 503 | `{"code":6,"message":"Too many sessions"}` | over the bound, or closing |
//! | 503 | `{"code":6,"message":"Too much is being sent"}` | all clients together send more than may be held: the session is closed |
//!
//! A WebSocket that is refused gets the same status with the message as plain text.
//!
//! Limits: [`Limits`] of the server, [`SessionConfig`] of a session,
//! [`ClientConfig`] of a client; all tested.

mod answers;
mod budget;
mod client;
mod config;
mod events;
#[doc(hidden)]
pub mod fuzz;
mod http;
mod query;
mod server;
mod session;
mod socket;
mod stalled;

pub use answers::Body;
pub use bytes::Bytes;
pub use client::{AskError, ClientConfig, ClientEvent, ClientEvents, ClientSocket, ConnectError, connect};
pub use config::{Limits, ServerConfig};
pub use events::{Events, ServerEvent};
pub use query::Query;
pub use server::SocketServer;
pub use socket::{Socket, SocketId};
pub use spandrel_socketio::client::{
    CloseReason as ClientCloseReason, SendError as ClientSendError, Transports,
};
pub use spandrel_socketio::server::{Carrier, CloseReason, SendError, SessionConfig};

/// Where clients look for the server, unless told otherwise.
const PATH: &str = "/socket.io/";
