//! Client of the download protocol: ask for a job, follow it through lost connections, fetch its files and check them.
//!
//! It never interprets rows, never stores a token, and never follows the server to another origin with it. TLS is not
//! spoken yet: use it on loopback, inside a tunnel or behind a local proxy.
//!
//! ```no_run
//! use spandrel_download_client::{Client, ClientOptions, DownloadEvent, DownloadRequest, Format, Timestamp};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:8001", ClientOptions::default()).await?;
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
//! Bytes: download protocol, version 1; reconnecting is its section 10.3, fetching its section 12.2. Bounds:
//! [`ClientOptions`].

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
pub use error::{ClientError, Failure};
pub use fetch::Fetched;
pub use get::{GetError, GetEvent, GetOptions, GetReport, Wanted, filters_from_text, get};
pub use options::{ClientOptions, Trust};
pub use session::{ConnectionState, SessionInfo};
pub use slot::DownloadEvent;
pub use spandrel_crypto::{SecretKey, Token};
pub use spandrel_download_protocol::{DownloadRequest, Format, Subprotocol, Timestamp};
pub use spandrel_session::{BackoffPolicy, KeyId};
pub use spandrel_transport::{Close, DialError, Fingerprint, TlsError};
