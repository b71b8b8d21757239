//! Frames, codecs, limits, times and addresses shared by every transport: bytes in, frames out, no I/O.
//!
//! A [`Codec`] turns the bytes of a stream into [`Frame`]s and frames into bytes. It never opens a socket, reads a
//! clock, spawns a thread or draws a random number, so the same codec runs under a driver, a simulator and a fuzzer.
//!
//! ```
//! use bytes::BytesMut;
//! use spandrel_wire::{Codec, Frame, LengthCodec, Limits, OutBuf};
//!
//! let mut codec = LengthCodec::new(&Limits::default());
//! let mut out = OutBuf::new();
//! codec.encode(Frame::text("hi"), &mut out)?;
//!
//! let mut src = BytesMut::from(&out.to_vec()[..]);
//! assert_eq!(&src[..], b"\x00\x00\x00\x03\x01hi");
//! let frame = codec.decode(&mut src, false, &mut out)?;
//! assert_eq!(frame, Some(Frame::text("hi")));
//! # Ok::<(), spandrel_wire::WireError>(())
//! ```
//!
//! Bytes: [`LengthCodec`] is section 2.2 of the download protocol (big-endian length, kind, payload); [`JsonCodec`]
//! is RFC 8259 texts one after the other; [`LinesCodec`] is one JSON text per line. [`Origin`] is RFC 6454, read more
//! strictly. Limits: [`Limits`], all tested.

mod batch;
mod close;
mod codec;
mod endpoint;
mod error;
mod frame;
mod limits;
mod origin;
mod outbuf;
mod time;

#[doc(hidden)]
pub mod fuzz;

pub use batch::Batch;
pub use bytes::{Bytes, BytesMut};
pub use close::Close;
pub use codec::{Codec, Hello, JsonCodec, LengthCodec, LinesCodec, LongLines};
pub use endpoint::{Endpoint, EndpointError};
pub use error::WireError;
pub use frame::{Frame, Kind, TextBytes};
pub use limits::Limits;
pub use origin::{Authority, Host, Origin};
pub use outbuf::OutBuf;
pub use time::{Millis, WallMillis};
