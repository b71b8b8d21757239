//! Messages between a hardware bridge and its parent, who may connect to it, and the text form of its encrypt and decrypt.
//!
//! [`Rules`] judges the [`Facts`] of one request by the origin list, the names of this machine and an optional pairing
//! token; [`encrypt`] and [`decrypt`] are the legacy form of the parent's messages of that name.
//!
//! Never opens a socket, reads a clock, draws a random number or prints a secret.
//!
//! ```
//! use spandrel_bridge_protocol::{Admitted, Facts, Header, Origins, Rules};
//!
//! let rules = Rules::new(Origins::parse("default,https://school.example")?);
//! let host = Header::One(b"127.0.0.1:23518");
//! let page = |origin: &'static str| Facts { host, origin: Header::One(origin.as_bytes()), ..Facts::default() };
//! assert_eq!(rules.judge(&page("https://school.example")), Ok(Admitted::Page));
//! let refusal = rules.judge(&page("https://evil.example")).unwrap_err();
//! assert!(refusal.to_string().ends_with("set to ...,https://evil.example admits it"));
//! # Ok::<(), spandrel_bridge_protocol::OriginsError>(())
//! ```
//!
//! Bytes: the hardware bridge protocol, sections 2, 8 and 9. Limits: [`NAME_BYTES_MAX`] of an origin or host, tested.

mod admission;
mod crypt;
#[doc(hidden)]
pub mod fuzz;
mod origins;
mod shown;

pub use admission::{Admitted, Facts, Header, Refusal, Rules};
pub use crypt::{Secret, decrypt, encrypt};
pub use origins::{NAME_BYTES_MAX, OriginHeader, Origins, OriginsError};
pub use shown::Shown;
