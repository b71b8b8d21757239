//! The hardware bridge as a library: the channel to the program that started it, the port pages come to, and the machine
//! between them.
//!
//! [`run`] is a whole bridge. It never starts a process, writes a file, or connects to anything but a bridge on this
//! machine's own port; it reads certificate files when they change, and nothing else. What a browser or the parent says
//! can end a session, never the bridge.
//!
//! ```
//! use spandrel_bridge_service::{Config, Exit, Limits, Service, spandrel_transport_ipc::Parent};
//! use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::default().with_port(0); // any free one
//! let (parent, bridge) = tokio::io::duplex(64 << 10);
//! let parent_link = Parent::over(bridge, &config.limits.of_parent());
//! let (service, handle) = Service::new(config, parent_link);
//! let running = tokio::spawn(service.run());
//!
//! let mut parent = BufReader::new(parent);
//! parent.write_all(b"{\"key\":\"open\"}\n").await?;
//! let address = handle.listening().await.expect("it listens");
//! assert!(address.ip().is_loopback());
//! let mut line = String::new();
//! parent.read_line(&mut line).await?;
//! assert_eq!(line, "{\"key\":\"runningModeChanged\",\"value\":2}\n");
//!
//! drop(parent); // nobody left to work for
//! assert_eq!(running.await?, Exit::ParentGone);
//! # Ok(())
//! # }
//! ```
//!
//! Bytes: `ARCHITECTURE.md`, hardware bridge; lines of the parent in `spandrel-bridge-protocol`, packets of pages in
//! `spandrel-socketio`. Limits: [`Limits`], each tested.

mod certificates;
mod config;
mod exit;
mod gate;
mod handle;
mod host_link;
mod hub;
mod limits;
mod metrics;
mod parent;
mod port;
mod reports;
mod rest;
mod service;
mod snapshot;
mod sparse;
mod status;

#[doc(hidden)]
pub mod fuzz;

pub use certificates::{CERTIFICATE_FILES, KEY_FILE, load_certificates};
pub use config::{Config, DEFAULT_PORT};
pub use exit::Exit;
pub use handle::Handle;
pub use limits::Limits;
pub use rest::Rest;
pub use service::{Service, run};
pub use snapshot::{Channel, Connections, Held, Messages, Mode, Program, Refused, Room, Session, Snapshot};

pub use spandrel_bridge_protocol;
pub use spandrel_transport;
pub use spandrel_transport_ipc;
