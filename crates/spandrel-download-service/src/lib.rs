//! The download server as a library: message sessions, REST, files, page.
//!
//! A [`Service`] owns the durable jobs of one state directory and the data sets they read; its
//! [`router`](Service::router) goes into any axum application, [`serve`](Service::serve) runs it on a listener of its
//! own. It never reads a configuration file, handles a signal or decides who a caller is ([`Authenticator`] does).
//!
//! ```no_run
//! use std::time::Duration;
//! use spandrel_download_service::{Dataset, Service, ServiceConfig};
//! use spandrel_source_parquet::DatasetConfig;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = spandrel_source_parquet::open(DatasetConfig::new("flights", "flights.parquet"))?;
//! let config = ServiceConfig::new("state").with_dataset(Dataset::new("flights", source));
//! let service = Service::open(config)?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8001").await?;
//! tokio::select! {
//!     served = service.serve(listener) => served?,
//!     _ = tokio::signal::ctrl_c() => { service.shut_down(Duration::from_secs(5)).await; }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! **Who comes in** is for an [`Authenticator`] to say: [`Open`] lets everybody in as `anonymous`, a [`Keyring`] has
//! bearer tokens and keys, and both may be replaced while the server runs. A session that names a key signs every
//! message; the sealed subprotocols hide them as well. An id that is not known is treated like a wrong secret, down to
//! the signature of the hello. TCP frames and parent processes come in by [`serve_links`](Service::serve_links),
//! [`serve_parents`](Service::serve_parents) and [`serve_parent`](Service::serve_parent); TLS is a member of the
//! configuration.
//!
//! Bytes: the download protocol, version 1; [`OPENAPI`] describes its HTTP side. Limits: [`Limits`], those of
//! `spandrel-download` for a connection and those of `spandrel-jobs` for the job table.

mod admission;
mod auth;
mod config;
mod connection;
mod datasets;
mod error;
mod files;
mod health;
mod hub;
mod keyring;
mod listen;
mod metrics;
mod overload;
mod page;
mod panics;
mod rest;
mod routes;
mod seats;
mod secret;
mod serve;
mod service;
mod signed_until;
mod socket;
mod standing;
mod urls;
mod wire;

pub use auth::{Authenticator, Key, Open, Proof, TokenDigest};
pub use axum;
pub use config::{Dataset, Limits, ServiceConfig};
pub use error::ServiceError;
pub use keyring::{AuthMode, Bearer, CREDENTIALS_MAX, Keyring};
pub use service::Service;
pub use spandrel_download::Limits as SessionLimits;
pub use spandrel_jobs::{Limits as JobLimits, Principal, Retention};
pub use spandrel_session::KeyId;
pub use spandrel_transport;

/// The HTTP side as an OpenAPI 3.1 document.
pub const OPENAPI: &str = include_str!("openapi.json");
