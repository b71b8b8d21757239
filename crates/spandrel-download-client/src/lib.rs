//! Client of the download protocol: ask for a job, follow it through lost connections, fetch its files and check them.
//!
//! It speaks over WebSocket, TCP and socket files, inside TLS where the address says so, and signs, seals and deflates
//! messages. It never interprets rows, never stores or prints a secret, never takes one to another origin than the
//! server's own, and never falls back to less security than was asked for.
//!
//! ```no_run
//! use spandrel_download_client::{Client, ClientOptions, Credentials, DownloadEvent, DownloadRequest, Format, Timestamp};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = ClientOptions::default().credentials(Credentials::bearer(&std::env::var("SPANDREL_BEARER")?)?);
//! let client = Client::connect("https://exports.example", options).await?;
//! let (from, to) = ("2024-03-01T00:00:00Z", "2024-03-02T00:00:00Z");
//! let request = DownloadRequest::new(Timestamp::parse(from)?, Timestamp::parse(to)?, Format::Csv);
//! let mut download = client.request(&request).await?;
//! let id = download.id();
//! while let Some(event) = download.next().await {
//!     if let DownloadEvent::Complete(done) = event {
//!         for file in &done.files {
//!             client.fetch_file(id, file, file.file_name.as_ref(), |_| {}).await?;
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`get`] does all of that in one call, for command lines.
//!
//! # Signed
//!
//! With a key every message is signed, in both directions. Whoever sits on the way, such as a proxy that ends TLS, can
//! read everything and change nothing. The key itself never travels.
//!
//! ```
//! # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/server.rs")); }
//! use spandrel_download_client::{Client, ClientOptions, ConnectionState, Credentials, Scope};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (id, secret) = ("k1", "ERERERERERERERERERERERERERERERERERERERERERE");
//! # let url = example::server(id, secret).await;
//! // `secret` is 43 characters of base64url from a file (`read_secret`), `url` like tcp://127.0.0.1:8002.
//! let options = ClientOptions::default().credentials(Credentials::key(id, secret)?);
//! let client = Client::connect(&url, options).await?;
//! assert!(matches!(&*client.state().borrow(), ConnectionState::Connected(s) if s.is_signed && !s.is_sealed));
//! assert!(client.status(Scope::All).await?.connected);
//! # Ok(())
//! # }
//! ```
//!
//! # Sealed
//!
//! Sealing hides the messages, too. Each connection derives keys of its own from the key. There is no forward secrecy:
//! it comes on top of TLS and does not replace it. Files are not sealed; their digests, which are, tell whether they
//! arrived as they should.
//!
//! ```
//! # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/server.rs")); }
//! use spandrel_download_client::{Client, ClientOptions, ConnectionState, Credentials, Scope, Seal};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (id, secret) = ("k1", "ERERERERERERERERERERERERERERERERERERERERERE");
//! # let url = example::server(id, secret).await;
//! let key = Credentials::key(id, secret)?;
//! let options = ClientOptions::default().credentials(key).seal(Seal::Required).deflates(true);
//! let client = Client::connect(&url, options).await?;
//! assert!(matches!(&*client.state().borrow(), ConnectionState::Connected(s) if s.is_sealed));
//! assert!(client.status(Scope::All).await?.connected);
//! # Ok(())
//! # }
//! ```
//!
//! # When connections break
//!
//! A lost connection is opened again after 1, 2, 4, 8 and 16 s, a fifth more or less, or later if the server asks for
//! that; then every job without an end is attached to and every unanswered request repeated under its old id. After the
//! fifth failure, or at once after a close code that says no (a wrong key for one), [`ConnectionState::Failed`] tells
//! code and reason; that is the event `connection:failed`. So does every [`Download`] and everybody who waits.
//!
//! A message of the server that is not right (signature, seal, nonce) ends the session with 4401. Its age is measured
//! on the server's clock as told in the hello, carried on by our monotonic clock: what our own wall clock says has no
//! part in it. One that is signed well but not of now costs a reconnect, since a sleep of the machine may be why.
//!
//! # Where files come from
//!
//! Files and lists come over HTTP. An `http`, `https`, `ws` or `wss` address says where; with `tcp`, `tcps` and `unix`
//! give [`ClientOptions::http_url`], or let the server configure `publicBaseUrl`. HTTP takes bearer tokens and signed
//! addresses, no keys: a session with a key fetches files by the addresses the server signs, and asks for fresh ones
//! when they run out; [`Client::datasets`] and [`Client::preview`] need
//! [`ClientOptions::http_bearer`] where the server wants credentials.
//!
//! Bytes: download protocol, version 1; reconnecting is its section 10.3, fetching 12.2, signing and sealing 13.
//! Bounds: [`ClientOptions`], each tested.

mod address;
mod client;
mod clock;
mod connector;
mod credentials;
mod dial;
mod error;
mod fetch;
#[doc(hidden)]
pub mod fuzz;
mod get;
mod http;
mod options;
mod random;
mod session;
mod slot;

pub use client::{Client, Download};
pub use credentials::{Credentials, Seal, bearer, read_secret};
pub use dial::{Dial, Offer};
pub use error::{ClientError, Failure, printable};
pub use fetch::Fetched;
pub use get::{GetError, GetEvent, GetOptions, GetReport, Wanted, filters_from_text, get};
pub use options::{ClientOptions, Trust};
pub use session::{ConnectionState, SessionInfo};
pub use slot::DownloadEvent;
pub use spandrel_crypto::{SecretKey, Token};
pub use spandrel_download_protocol::{DownloadRequest, Format, Scope, Subprotocol, Timestamp};
pub use spandrel_session::{BackoffPolicy, KeyId};
pub use spandrel_transport::{Close, DialError, Fingerprint, TlsError};
