//! A stream of the HTTP port: holds its place, gives up a peer that takes nothing, ends so that answers arrive.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use spandrel_transport::{BoxStream, Limits, Slot, farewell};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Shared between a stream and whoever serves HTTP on it.
#[derive(Debug, Default)]
pub(super) struct Mood {
    /// A message link has it now, which has rules of its own for slow peers and for ends.
    pub(super) is_upgraded: AtomicBool,
    /// The peer took nothing for too long.
    pub(super) is_stalled: AtomicBool,
}

pub(super) struct Watched {
    /// Taken when dropped.
    stream: Option<BoxStream>,
    slot: Option<Slot>,
    mood: Arc<Mood>,
    stalled_ms_max: u64,
    /// Runs while bytes wait for the peer.
    waiting: Option<Pin<Box<Sleep>>>,
    has_ended: bool,
}

impl Watched {
    pub(super) fn new(stream: BoxStream, slot: Slot, stalled_ms_max: u64, mood: Arc<Mood>) -> Self {
        Self { stream: Some(stream), slot: Some(slot), mood, stalled_ms_max, waiting: None, has_ended: false }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut BoxStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// A write that waits is an error after a while.
    fn timed<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() || self.mood.is_upgraded.load(Ordering::Relaxed) {
            self.waiting = None;
            return done;
        }
        let limit = Duration::from_millis(self.stalled_ms_max);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        if waiting.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.mood.is_stalled.store(true, Ordering::Relaxed);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, has_room) = (buf.filled().len(), buf.remaining() > 0);
        let read = self.stream()?.poll_read(cx, buf);
        if matches!(read, Poll::Ready(Err(_))) || read.is_ready() && has_room && buf.filled().len() == before
        {
            self.has_ended = true;
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = self.stream()?.poll_write(cx, buf);
        self.timed(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = self.stream()?.poll_write_vectored(cx, bufs);
        self.timed(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = self.stream()?.poll_flush(cx);
        self.timed(cx, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = self.stream()?.poll_shutdown(cx);
        self.timed(cx, done)
    }
}

impl Drop for Watched {
    /// What the peer still sends is read for a moment, or a reset would eat the last answer. The place is free after.
    fn drop(&mut self) {
        let is_over = self.has_ended
            || self.mood.is_upgraded.load(Ordering::Relaxed)
            || self.mood.is_stalled.load(Ordering::Relaxed);
        let (Some(mut stream), slot) = (self.stream.take(), self.slot.take()) else { return };
        if is_over {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = farewell(&mut stream, &[], &Limits::default()).await;
                drop((stream, slot));
            });
        }
    }
}
