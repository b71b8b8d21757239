//! The contract of a live connection.

use std::task::{Context, Poll};

use spandrel_wire::{Batch, Close};

use crate::{LinkError, Peer};

/// One open, ordered, message-keeping link to a peer.
///
/// # Contract
///
/// 1. A frame sent is a frame received: never merged, split or reordered.
/// 2. Polling is cancel safe: a dropped call loses no frame.
/// 3. A frame over the limits is refused on both sides before it is held whole; the peer is told with a close code
///    where the wire has one, and [`poll_recv`](Self::poll_recv) then says the error once. A wire told to pass over long
///    lines counts one instead ([`LinkStats::frames_dropped`]) and lives on.
/// 4. `Ready(Ok(0))` means the peer closed in good order; every later poll says so again. A peer gone without the
///    goodbye its wire has is [`LinkError::Gone`].
/// 5. While more than [`queued_bytes_max`](spandrel_wire::Limits::queued_bytes_max) bytes wait for a peer that does not
///    read, no frames are taken for it; and while that many answers to its pings wait, nothing is read from it. Frames
///    of our own never stop the reading: two peers with full queues would wait for each other.
/// 6. All frames the peer sent before its goodbye are received before the end is.
///
/// The [`conformance`](crate::conformance) suite holds a transport to all of them.
pub trait Link: Send {
    /// Appends the frames that are ready to `out`, up to its bounds, and returns how many. Call with a batch that is not
    /// full. When it returns `Pending`, what was taken by `poll_send` is on its way out.
    ///
    /// # Errors
    ///
    /// After an error the link is over; later calls say [`LinkError::Closed`] or the same again.
    fn poll_recv(&mut self, cx: &mut Context<'_>, out: &mut Batch) -> Poll<Result<usize, LinkError>>;

    /// Takes frames from the front of `queue` until it is empty; `Pending` while the peer is slow.
    ///
    /// # Errors
    ///
    /// [`LinkError::Wire`] when the frame at the front was refused (it is dropped, the link lives on); else the link is over.
    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut Batch) -> Poll<Result<(), LinkError>>;

    /// Pushes everything taken onto the wire. Called once nothing more is ready, not per frame.
    ///
    /// # Errors
    ///
    /// When the stream below failed.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>>;

    /// Says goodbye with `why`, waits for the peer's a short while, and ends the stream so that the goodbye arrives.
    /// Frames still coming are thrown away. Only the first call's `why` counts.
    ///
    /// # Errors
    ///
    /// None that matter: the link is closed afterwards in any case.
    fn poll_close(&mut self, cx: &mut Context<'_>, why: &Close) -> Poll<Result<(), LinkError>>;

    /// Queues a ping of up to 125 bytes; flush sends it. `Ok(false)` when the wire has none.
    ///
    /// # Errors
    ///
    /// When the payload is too long or the link is closing.
    fn ping(&mut self, payload: &[u8]) -> Result<bool, LinkError> {
        let _ = payload;
        Ok(false)
    }

    /// Returns what is known of the peer.
    fn peer(&self) -> &Peer;

    /// Returns the counters.
    fn stats(&self) -> LinkStats;

    /// Returns the goodbye of the peer, once it was received.
    fn close_info(&self) -> Option<&Close>;
}

impl<L: Link + ?Sized> Link for Box<L> {
    fn poll_recv(&mut self, cx: &mut Context<'_>, out: &mut Batch) -> Poll<Result<usize, LinkError>> {
        (**self).poll_recv(cx, out)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut Batch) -> Poll<Result<(), LinkError>> {
        (**self).poll_send(cx, queue)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        (**self).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, why: &Close) -> Poll<Result<(), LinkError>> {
        (**self).poll_close(cx, why)
    }

    fn ping(&mut self, payload: &[u8]) -> Result<bool, LinkError> {
        (**self).ping(payload)
    }

    fn peer(&self) -> &Peer {
        (**self).peer()
    }

    fn stats(&self) -> LinkStats {
        (**self).stats()
    }

    fn close_info(&self) -> Option<&Close> {
        (**self).close_info()
    }
}

/// Counters of a link, since it opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Frames received.
    pub frames_in: u64,
    /// Frames taken for sending.
    pub frames_out: u64,
    /// Everything the peer finished saying: frames, parts of frames, pings, pongs. It lives while this moves.
    pub activity: u64,
    /// Frames of the peer over the limit that were dropped, on wires that go on after one
    /// ([`long_lines`](spandrel_wire::Limits::long_lines)).
    pub frames_dropped: u64,
    /// Bytes taken and not written yet.
    pub queued_bytes: usize,
}
