//! Length-framed TCP transport for `spandrel-transport`, plain (`tcp`) or inside TLS (`tcps`).
//!
//! [`TcpTransport`] dials and listens; each message is one frame with its length in front, so nothing is searched for
//! and nothing is masked. It never looks into a message, never reconnects, and with TLS never falls back to plain.
//!
//! ```
//! use spandrel_transport::{Close, Connection, Frame, Limits, Listener, Security, TlsClient, TlsServer, Transport};
//! use spandrel_transport_tcp::TcpTransport;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let certificate = TlsServer::self_signed(["localhost"])?;
//! let pinned = TlsClient::with_fingerprint(certificate.fingerprint())?;
//!
//! let server = TcpTransport::new()
//!     .with_subprotocols(["chat.v2", "chat.v1"])
//!     .with_security(Security::none().with_server(certificate));
//! let listener = server.listen(&"tcps://127.0.0.1:0".parse()?).await?;
//! let address = listener.local().clone();
//! tokio::spawn(spandrel_transport::serve(listener, Limits::default(), std::future::pending(), |mut conn| async move {
//!     while let Ok(Some(frame)) = conn.recv().await {
//!         let _ = conn.feed(frame).await;
//!     }
//!     let _ = conn.close(Close::normal()).await;
//! }));
//!
//! let client = TcpTransport::new()
//!     .with_subprotocols(["chat.v1"])
//!     .with_security(Security::none().with_client(pinned));
//! let mut conn = Connection::new(client.dial(&address).await?);
//! assert_eq!(conn.peer().subprotocol.as_deref(), Some("chat.v1"));
//! conn.send(Frame::text("hello")).await?;
//! assert_eq!(conn.recv().await?, Some(Frame::text("hello")));
//! conn.close(Close::normal()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Bytes: `spandrel_wire::LengthCodec` (download protocol, section 2.2). Limits: [`Limits`](spandrel_transport::Limits)
//! (frame length, deadlines, connections in all and per address), each tested.

mod transport;

pub use transport::TcpTransport;
