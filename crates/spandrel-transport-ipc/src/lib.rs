//! JSON lines between processes of one machine: unix sockets, standard streams, the Node child channel.
//!
//! | what | this side | other side |
//! |---|---|---|
//! | socket at a path | [`UnixTransport`] listens | [`UnixTransport`] dials |
//! | standard streams | [`stdio`] | [`spawn`] |
//! | channel of a Node parent | [`node_channel`] | `child_process.fork` |
//!
//! Every wire carries one JSON text per line and has neither a goodbye nor pings: the end of the stream is the end of the
//! link, in good order. A line that is no JSON arrives as the text it is, and one that is not UTF-8 as a binary frame, so
//! that the reader can refuse it in the protocol's own words. Nothing here looks into a message, except that those a
//! Node runtime sends itself are passed over.
//!
//! ```
//! # #[cfg(unix)]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use spandrel_transport::{Connection, Frame, Limits, Listener, Transport};
//! use spandrel_transport_ipc::UnixTransport;
//!
//! let dir = tempfile::tempdir()?;
//! let at = format!("unix:{}", dir.path().join("echo.sock").display()).parse()?;
//! let unix = UnixTransport::new();
//! let listener = unix.listen(&at).await?;
//! tokio::spawn(spandrel_transport::serve(listener, Limits::default(), std::future::pending(), |mut conn| async move {
//!     while let Ok(Some(frame)) = conn.recv().await {
//!         let _ = conn.feed(frame).await;
//!     }
//! }));
//! let mut conn = Connection::new(unix.dial(&at).await?);
//! conn.send(Frame::text(r#"{"key":"ping"}"#)).await?;
//! assert_eq!(conn.recv().await?, Some(Frame::text(r#"{"key":"ping"}"#)));
//! # Ok(())
//! # }
//! # #[cfg(not(unix))]
//! # fn main() {}
//! ```
//!
//! Bytes: `spandrel_wire::LinesCodec` (download protocol, section 2.3). Limits:
//! [`Limits`](spandrel_transport::Limits) (line length, time for half a line, connections), each tested. Unix sockets and
//! the Node channel are there on unix only: on Windows Node uses a named pipe with frames of its own, which is not covered.

mod child;
mod error;
#[cfg(unix)]
mod inherited;
#[cfg(unix)]
mod node;
mod parent;
mod stdio;
mod threads;
#[cfg(unix)]
mod unix;

#[doc(hidden)]
pub mod fuzz;

pub use child::{Child, spawn};
pub use error::IpcError;
#[cfg(unix)]
pub use node::{NodeCodec, node_channel};
pub use parent::{Parent, ParentEnd};
pub use stdio::stdio;
pub use threads::blocking_stream;
#[cfg(unix)]
pub use unix::UnixTransport;
