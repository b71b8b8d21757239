//! WebSocket (RFC 6455) transport for `spandrel-transport`.
//!
//! [`WsTransport`] dials and listens on plain TCP, or inside TLS when it is given one; [`upgrade`] and [`accept_upgraded`]
//! take over a connection that an HTTP server has read the head of. [`WsCodec`] is RFC 6455 past the handshake, without
//! I/O. It never offers or accepts extensions (so no `permessage-deflate`), holds no buffer for a connection that waits,
//! and a secured transport never falls back to plain.
//!
//! ```
//! use spandrel_transport::{Close, Connection, Frame, Limits, Listener, Transport};
//! use spandrel_transport_ws::WsTransport;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = WsTransport::new().with_subprotocols(["chat.v2", "chat.v1"]);
//! let listener = server.listen(&"ws://127.0.0.1:0/".parse()?).await?;
//! let address = listener.local().clone();
//! tokio::spawn(spandrel_transport::serve(listener, Limits::default(), std::future::pending(), |mut conn| async move {
//!     while let Ok(Some(frame)) = conn.recv().await {
//!         let _ = conn.feed(frame).await;
//!     }
//!     let _ = conn.close(Close::normal()).await;
//! }));
//!
//! let client = WsTransport::new().with_subprotocols(["chat.v1"]);
//! let mut conn = Connection::new(client.dial(&address).await?);
//! assert_eq!(conn.peer().subprotocol.as_deref(), Some("chat.v1"));
//! conn.send(Frame::text("hello")).await?;
//! assert_eq!(conn.recv().await?, Some(Frame::text("hello")));
//! conn.close(Close::normal()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Bytes: RFC 6455. Limits: [`Limits`](spandrel_transport::Limits) (message and fragment caps, head of the upgrade,
//! deadlines), each tested.

mod codec;
mod handshake;
mod transport;
mod upgrade;

#[doc(hidden)]
pub mod fuzz;

pub use codec::{Role, WsCodec};
pub use handshake::HandshakeError;
pub use transport::WsTransport;
pub use upgrade::{Upgrade, accept_upgraded, choose_first, upgrade};
