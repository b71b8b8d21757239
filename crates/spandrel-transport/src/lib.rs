//! Batched, object-safe message links, with an in-memory transport and a conformance suite.
//!
//! A [`Link`] moves [`Frame`]s between two peers; it is polled in batches, so that erasing its type costs a few
//! nanoseconds per batch instead of a box per frame. [`Driver`] makes a link of any byte stream and any codec;
//! [`Connection`] is what users hold. A [`Transport`] dials and listens; [`Registry`] finds one by scheme.
//!
//! Transports over sockets share what lies below a link: a [`Door`] that admits peers ([`Admission`]), a [`Security`] that
//! is nothing or TLS (feature `tls`: `TlsServer`, `TlsClient`), and a [`farewell`] that arrives. What comes out is a
//! [`BoxStream`], which an HTTP server takes as well.
//!
//! It never looks into a message, never reconnects by itself, never buffers without a bound, and never falls back from
//! TLS to plain.
//!
//! ```
//! use spandrel_transport::{Connection, Frame, Link, MemTransport, Transport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mem = MemTransport::new();
//! let mut listener = mem.listen(&"mem:echo".parse()?).await?;
//! tokio::spawn(async move {
//!     let incoming = std::future::poll_fn(|cx| listener.poll_accept(cx)).await?;
//!     let mut server = Connection::new(incoming.accept().await?);
//!     while let Some(frame) = server.recv().await? {
//!         server.feed(frame).await?; // goes out with the next wait: no flush per frame
//!     }
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//! });
//! let mut client = Connection::new(mem.dial(&"mem:echo".parse()?).await?);
//! client.send(Frame::text("hello")).await?;
//! assert_eq!(client.recv().await?, Some(Frame::text("hello")));
//! # Ok(())
//! # }
//! ```
//!
//! TLS around any stream, here one in memory:
//!
//! ```
//! # #[cfg(feature = "tls")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use spandrel_transport::{TlsClient, TlsServer};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! let server = TlsServer::self_signed(["localhost"])?;
//! let client = TlsClient::with_fingerprint(server.fingerprint())?;
//! let (here, there) = tokio::io::duplex(1024);
//! let (here, there) = tokio::join!(client.connect(here, "localhost"), server.accept(there));
//! let (mut here, mut there) = (here?, there?);
//! here.write_all(b"hello").await?;
//! here.shutdown().await?;
//! let mut got = String::new();
//! there.read_to_string(&mut got).await?;
//! assert_eq!(got, "hello");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "tls"))]
//! # fn main() {}
//! ```
//!
//! Bytes: those of the codec in use, see `spandrel-wire`. Limits: [`Limits`], one set per link, each tested.
//! [`conformance`] holds a transport to the contract of [`Link`].

mod clock;
mod connection;
mod driver;
mod error;
mod link;
mod mem;
mod peer;
mod registry;
mod security;
mod serve;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod tls_error;
mod transport;

pub mod conformance;
#[cfg(feature = "tls")]
#[doc(hidden)]
pub mod fuzz;

pub use clock::Clock;
pub use connection::Connection;
pub use driver::Driver;
pub use error::{AcceptError, DialError, LinkError, ListenError};
pub use futures_util::future::BoxFuture;
pub use link::{Link, LinkStats};
pub use mem::{MemLink, MemTransport};
pub use peer::Peer;
pub use registry::Registry;
pub use security::Security;
pub use serve::serve;
pub use spandrel_wire::{Batch, Bytes, Close, Codec, Endpoint, Frame, Kind, Limits, LongLines, WireError};
pub use stream::{Admission, BoxStream, ByteStream, Door, Held, Slot, Sockets, farewell};
#[cfg(feature = "tls")]
pub use tls::{Fingerprint, TlsClient, TlsServer, TlsWarning, dial_loopback_unverified};
pub use tls_error::TlsError;
pub use transport::{Incoming, Listener, Transport};
