//! Byte streams below a link: erased, admitted at a door, ended so that the last words arrive.

mod admission;
mod door;

use std::{io, time::Duration};

use spandrel_wire::Limits;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

pub use admission::{Admission, Held, Slot};
pub use door::{Door, Sockets};

/// Anything bytes flow through in both directions: a socket, a pipe, TLS over either.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + ?Sized> ByteStream for S {}

/// A byte stream whose kind is known at run time only. The cost of erasing it is one indirect call per read or write of
/// many frames.
pub type BoxStream = Box<dyn ByteStream>;

/// Writes `last_words` and ends the stream so that they arrive: what the peer still sends is read and thrown away, up to
/// [`drain_bytes_max`](Limits::drain_bytes_max) bytes, since unread input would become a reset and a reset eats them.
/// Takes at most [`close_ms`](Limits::close_ms). Cancelled, the words may be lost.
///
/// # Errors
///
/// When the peer is gone already or does not take the words in time; the stream is of no use either way.
pub async fn farewell<S>(stream: &mut S, last_words: &[u8], limits: &Limits) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let words = async {
        stream.write_all(last_words).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(limits.drain_bytes_max as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        Ok(())
    };
    timeout(Duration::from_millis(limits.close_ms), words).await?
}
