//! Notices a connection that takes nothing of what is written to it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use spandrel_transport::BoxStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::sleep,
};

/// A stream that notes when it takes nothing.
pub(crate) struct Stalled {
    stream: BoxStream,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The last write found no room.
    is_stuck: AtomicBool,
    /// Writes that did.
    writes: AtomicU64,
    stuck: Notify,
}

/// The side that watches.
pub(crate) struct Stall {
    seen: Arc<Seen>,
    limit: Duration,
}

impl Stalled {
    pub(crate) fn watch(stream: BoxStream, limit: Duration) -> (Self, Stall) {
        let seen = Arc::<Seen>::default();
        (Self { stream, seen: Arc::clone(&seen) }, Stall { seen, limit })
    }

    fn note<T>(&self, result: Poll<T>) -> Poll<T> {
        if result.is_ready() {
            self.seen.is_stuck.store(false, Ordering::Relaxed);
            self.seen.writes.fetch_add(1, Ordering::Relaxed);
        } else if !self.seen.is_stuck.swap(true, Ordering::Relaxed) {
            self.seen.stuck.notify_one();
        }
        result
    }
}

impl Stall {
    /// Returns once nothing was taken for as long as the limit.
    pub(crate) async fn noticed(&self) {
        loop {
            self.seen.stuck.notified().await;
            while self.seen.is_stuck.load(Ordering::Relaxed) {
                let writes = self.seen.writes.load(Ordering::Relaxed);
                sleep(self.limit).await;
                let is_stuck = self.seen.is_stuck.load(Ordering::Relaxed);
                if is_stuck && writes == self.seen.writes.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}

impl AsyncRead for Stalled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stalled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
