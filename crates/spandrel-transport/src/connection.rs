//! A link as its user holds it: async methods, batches kept inside.

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll, ready},
    time::Duration,
};

use spandrel_wire::{Batch, Close, Frame, Limits};

use crate::{Link, LinkError, LinkStats, Peer};

/// One open connection. Frames taken by [`feed`](Self::feed) or [`try_feed`](Self::try_feed) go out together when
/// [`flush`](Self::flush) is called, **or while [`recv`](Self::recv) waits**, so a task that loops over
/// `select! { frame = conn.recv() => …, more = queue.recv() => conn.try_feed(…) }` reads and writes at once.
pub struct Connection<L = Box<dyn Link>> {
    link: L,
    inq: Batch,
    outq: Batch,
    /// Something was taken since the last complete flush.
    is_unflushed: bool,
    close_ms: u64,
}

impl<L: Link> Connection<L> {
    /// Wraps a link with default [`Limits`].
    pub fn new(link: L) -> Self {
        Self::with_limits(link, &Limits::default())
    }

    /// Wraps a link with these batch bounds and close waits.
    pub fn with_limits(link: L, limits: &Limits) -> Self {
        Self {
            link,
            inq: Batch::with_limits(limits),
            outq: Batch::with_limits(limits),
            is_unflushed: false,
            close_ms: limits.close_ms,
        }
    }

    /// Receives the next frame; `None` once the peer has closed in good order ([`close_info`](Self::close_info) tells
    /// why). Moves fed frames out while it waits. Cancel safe.
    ///
    /// # Errors
    ///
    /// When the peer is gone or broke the protocol (it has been told). The connection is over then.
    pub async fn recv(&mut self) -> Result<Option<Frame>, LinkError> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Receives what is ready, at least one frame, into `batch`, which must not be full; 0 once the peer has closed.
    /// Moves fed frames out while it waits. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_batch(&mut self, batch: &mut Batch) -> Result<usize, LinkError> {
        poll_fn(|cx| self.poll_recv_batch(cx, batch)).await
    }

    /// Takes a frame for sending without waiting; it goes out with the next flush or wait in `recv`.
    ///
    /// # Errors
    ///
    /// Gives the frame back when the queue is full: [`flush`](Self::flush) or [`recv`](Self::recv) first.
    pub fn try_feed(&mut self, frame: Frame) -> Result<(), Frame> {
        self.outq.push(frame)?;
        self.is_unflushed = true;
        Ok(())
    }

    /// Takes a frame for sending, waiting only while the queue is full. Cancelled while it waits, the frame is dropped.
    ///
    /// Nothing is received while this waits: two peers that only feed may wait for each other.
    ///
    /// # Errors
    ///
    /// When the connection is over, or an earlier frame was refused by the wire.
    pub async fn feed(&mut self, frame: Frame) -> Result<(), LinkError> {
        if self.outq.is_full() {
            poll_fn(|cx| self.link.poll_send(cx, &mut self.outq)).await?;
        }
        // Room was made above; a frame given back would mean the link took none and said so.
        self.try_feed(frame).map_err(|_| LinkError::Closed)
    }

    /// Sends everything taken so far. Cancel safe: call again to go on.
    ///
    /// # Errors
    ///
    /// When the connection is over, or a frame was refused by the wire (that one is dropped, the rest stay).
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends one frame at once: [`feed`](Self::feed) and [`flush`](Self::flush). Several frames are much cheaper fed one by
    /// one and flushed once. Cancelled while flushing, the frame stays taken.
    ///
    /// # Errors
    ///
    /// As both.
    pub async fn send(&mut self, frame: Frame) -> Result<(), LinkError> {
        self.feed(frame).await?;
        self.flush().await
    }

    /// Sends a ping with up to 125 bytes at once; `false` when the wire has no pings. Answers to the peer's pings are sent
    /// while `recv` waits; both count in [`LinkStats::activity`].
    ///
    /// # Errors
    ///
    /// When the payload is too long or the connection is over.
    pub async fn ping(&mut self, payload: &[u8]) -> Result<bool, LinkError> {
        let has_pings = self.try_ping(payload)?;
        if has_pings {
            self.flush().await?;
        }
        Ok(has_pings)
    }

    /// Queues a ping without waiting; it goes out with the next flush or wait in `recv`.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn try_ping(&mut self, payload: &[u8]) -> Result<bool, LinkError> {
        let has_pings = self.link.ping(payload)?;
        self.is_unflushed |= has_pings;
        Ok(has_pings)
    }

    /// Sends what was taken, says goodbye, waits for the peer's (each step at most
    /// [`close_ms`](Limits::close_ms)), and ends the stream. Frames still coming are thrown away.
    ///
    /// Needed also after `recv` said `None`, to end the stream in good order; dropping ends it at once.
    ///
    /// # Errors
    ///
    /// None that matter: the connection is over in any case.
    pub async fn close(&mut self, why: Close) -> Result<(), LinkError> {
        let _ = tokio::time::timeout(Duration::from_millis(self.close_ms), self.flush()).await;
        poll_fn(|cx| self.link.poll_close(cx, &why)).await
    }

    /// Polls for the next frame; see [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, LinkError>> {
        if let Some(frame) = self.inq.pop() {
            return Poll::Ready(Ok(Some(frame)));
        }
        match self.link.poll_recv(cx, &mut self.inq) {
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(self.inq.pop())),
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => {
                self.inq.shrink();
                self.push_out(cx);
                Poll::Pending
            }
        }
    }

    /// Polls for a batch; see [`recv_batch`](Self::recv_batch).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_batch(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Batch,
    ) -> Poll<Result<usize, LinkError>> {
        let mut taken = 0;
        while !batch.is_full() {
            let Some(frame) = self.inq.pop() else { break };
            let _ = batch.push(frame); // not full
            taken += 1;
        }
        if taken > 0 {
            return Poll::Ready(Ok(taken));
        }
        let received = self.link.poll_recv(cx, batch);
        if received.is_pending() {
            self.push_out(cx);
        }
        received
    }

    /// Polls until everything taken is on the wire; see [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        ready!(self.link.poll_send(cx, &mut self.outq))?;
        ready!(self.link.poll_flush(cx))?;
        self.is_unflushed = false;
        self.outq.shrink();
        Poll::Ready(Ok(()))
    }

    /// Is there room for another frame in [`try_feed`](Self::try_feed)?
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.outq.is_full()
    }

    /// Returns the bytes taken and not written yet.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.outq.bytes() + self.link.stats().queued_bytes
    }

    /// Returns what is known of the peer.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        self.link.peer()
    }

    /// Returns the counters of the link.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        self.link.stats()
    }

    /// Returns the peer's goodbye, once it was received.
    #[must_use]
    pub fn close_info(&self) -> Option<&Close> {
        self.link.close_info()
    }

    /// Gives the link back. Frames received or taken and not passed on yet are lost.
    pub fn into_link(self) -> L {
        self.link
    }

    /// Writes while there is nothing to read. A failure shows where it matters: in the next read, flush or feed.
    fn push_out(&mut self, cx: &mut Context<'_>) {
        while self.is_unflushed {
            match self.poll_flush(cx) {
                // One frame was refused; those behind it still go.
                Poll::Ready(Err(LinkError::Wire(_))) => {}
                Poll::Ready(_) => self.is_unflushed = false,
                Poll::Pending => return,
            }
        }
    }
}

impl<L: Link> fmt::Debug for Connection<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", self.peer())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
