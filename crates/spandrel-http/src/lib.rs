//! What HTTP faces share: files with ranges and conditional requests, problem replies, origin rules,
//! signed URLs, metrics, embedded pages, bounded bodies.
//!
//! Never routes a request, knows what a file is of, or decides who a caller is: an application composes
//! these parts into its own axum router. The rules are pure functions over header values ([`ranged`],
//! [`precondition`], [`Guard::check`], [`UrlSigner::check`]); the axum pieces around them are thin.
//!
//! ```
//! use spandrel_http::{Guard, GuardConfig, Ranged, ranged};
//! use http::Method;
//!
//! assert_eq!(ranged("bytes=900-", 1000), Ranged::Part { start: 900, end_inclusive: 999 });
//! assert_eq!(ranged("bytes=1000-", 1000), Ranged::Unsatisfiable);
//!
//! let guard = Guard::new(&GuardConfig { listen_is_loopback: true, ..GuardConfig::default() })?;
//! let host = Some("localhost:8001");
//! assert!(guard.check(&Method::POST, host, Some("http://localhost:8001"), false).is_ok());
//! assert!(guard.check(&Method::POST, host, Some("http://evil.example"), false).is_err());
//! # Ok::<(), spandrel_http::GuardConfigError>(())
//! ```
//!
//! Bytes: RFC 9110 (ranges, conditional requests, `Host`), RFC 6454 (`Origin`), RFC 9457 (problems),
//! RFC 9530 (`Repr-Digest`), RFC 6266 (`Content-Disposition`), the Fetch standard (CORS), the Prometheus
//! text format 0.0.4; signed URLs and the origin rules as in sections 2.1 and 12 of the download protocol.
//!
//! Limits: [`Limits`], each with a test that goes one over. The size of a request's head is the listener's
//! to bound (hyper: `max_headers`, `max_buf_size`).

mod body;
mod conditional;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod limits;
mod metrics;
mod page;
mod problem;
mod range;
mod repeats;
mod request_id;
mod signed_url;

pub use body::{BodyError, read_body, read_json};
pub use conditional::{Precondition, Validators, if_range_holds, precondition};
pub use files::{FileError, FileFacts, open_file, serve_file};
pub use guard::{
    Authority, Guard, GuardConfig, GuardConfigError, GuardFace, Host, Origin, Refused, guard_requests,
};
pub use limits::Limits;
pub use metrics::{Counter, Gauge, Histogram, METRICS_CONTENT_TYPE, Metrics};
pub use page::{Asset, Assets};
pub use problem::Problem;
pub use range::{Ranged, ranged};
pub use repeats::Repeats;
pub use request_id::{RequestId, with_request_id};
pub use signed_url::{UrlError, UrlSigner};

pub use axum;
pub use http;
