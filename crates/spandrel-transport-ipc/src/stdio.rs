//! The standard streams of this process as a link to its parent.

use std::sync::atomic::{AtomicBool, Ordering};

use spandrel_transport::{BoxStream, ByteStream, Driver, Limits, Link, Peer};
use spandrel_wire::LinesCodec;

use crate::{IpcError, threads::blocking_stream};

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Makes a link of standard input and standard output. Nothing else may write to standard output from now on: logs
/// belong on standard error. The end of standard input is the peer's close in good order.
///
/// The streams are read and written by threads of their own, so that a read that waits keeps neither the runtime nor the
/// process alive. Close the link before the process ends: closing waits, [`close_ms`](Limits::close_ms) at most, until
/// all is written.
///
/// # Errors
///
/// When called a second time, or the system has no more threads.
pub fn stdio(limits: &Limits) -> Result<Box<dyn Link>, IpcError> {
    Ok(link(stream()?, limits))
}

pub(crate) fn stream() -> Result<BoxStream, IpcError> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(IpcError::Taken { what: "standard input" });
    }
    Ok(blocking_stream(std::io::stdin(), std::io::stdout())?)
}

pub(crate) fn link(stream: impl ByteStream + 'static, limits: &Limits) -> Box<dyn Link> {
    Box::new(Driver::new(stream, LinesCodec::new(limits), Peer::new("stdio"), limits))
}
