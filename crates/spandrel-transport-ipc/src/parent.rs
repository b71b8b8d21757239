//! The parent of this process, which stays when a link to it is over.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use spandrel_transport::{ByteStream, Driver, Limits, Link, Peer};
use spandrel_wire::LinesCodec;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    runtime::Handle,
    sync::oneshot,
};

use crate::IpcError;

/// Bytes of one read of what nobody listens to any more.
const DRAIN_BYTES: usize = 4 << 10;

/// The one link to the parent, and the end of the stream below it.
///
/// A link may be over earlier than its stream: after a line that is too long, or because whoever holds it had enough. The
/// stream is read on then, and thrown away, so that a parent that still writes does not stop, and its end is noticed.
/// Nothing tells the parent that nobody listens.
pub struct Parent {
    /// The link.
    pub link: Box<dyn Link>,
    /// The end of its stream.
    pub end: ParentEnd,
}

impl Parent {
    /// JSON lines over any stream: for a parent in the same process, which holds the other end.
    pub fn over(stream: impl ByteStream + 'static, limits: &Limits) -> Self {
        let (stream, end) = Kept::new(stream, Goodbye::Shut);
        let link = Driver::new(stream, LinesCodec::new(limits), Peer::new("lines"), limits);
        Self { link: Box::new(link), end }
    }

    /// Standard input and output, as by [`stdio`](crate::stdio()).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn stdio(limits: &Limits) -> Result<Self, IpcError> {
        let (stream, end) = Kept::new(crate::stdio::stream()?, Goodbye::Shut);
        Ok(Self { link: crate::stdio::link(stream, limits), end })
    }

    /// The channel of a Node parent, as by [`node_channel`](crate::node_channel). Closing the link leaves the channel open:
    /// Node takes its end for the end of this process, and ends its own side.
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg(unix)]
    pub fn node_channel(limits: &Limits) -> Result<Self, IpcError> {
        let (stream, end) = Kept::new(crate::node::stream()?, Goodbye::Leave);
        Ok(Self { link: crate::node::link(stream, limits), end })
    }
}

/// Resolves when the parent is gone: when standard input, or the channel, comes to its end or breaks. Cancel safe.
pub struct ParentEnd(oneshot::Receiver<()>);

impl Future for ParentEnd {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Told, or dropped with what would have told: nobody reads any more either way.
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent").finish_non_exhaustive()
    }
}

impl fmt::Debug for ParentEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParentEnd").finish_non_exhaustive()
    }
}

/// What becomes of our side of a stream when the link says goodbye.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goodbye {
    /// It is shut down.
    Shut,
    /// All is written, and it stays open.
    #[cfg_attr(not(unix), expect(dead_code, reason = "the Node channel is there on unix only"))]
    Leave,
}

/// A stream that outlives the link over it, until the other side ends it.
pub(crate) struct Kept<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    stream: Option<S>,
    tell: Option<oneshot::Sender<()>>,
    goodbye: Goodbye,
    /// The link said goodbye: it is over for it in both directions.
    is_shut: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Kept<S> {
    pub(crate) fn new(stream: S, goodbye: Goodbye) -> (Self, ParentEnd) {
        let (tell, told) = oneshot::channel();
        (Self { stream: Some(stream), tell: Some(tell), goodbye, is_shut: false }, ParentEnd(told))
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncRead for Kept<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_shut {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = ready!(self.stream()?.poll_read(cx, buf));
        let is_over = read.is_err() || (buf.filled().len() == before && buf.remaining() > 0);
        if is_over && let Some(tell) = self.tell.take() {
            let _ = tell.send(());
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for Kept<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = match self.goodbye {
            Goodbye::Shut => ready!(self.stream()?.poll_shutdown(cx)),
            Goodbye::Leave => ready!(self.stream()?.poll_flush(cx)),
        };
        self.is_shut = true;
        Poll::Ready(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Kept<S> {
    fn drop(&mut self) {
        let (Some(mut stream), Some(tell)) = (self.stream.take(), self.tell.take()) else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut unheard = vec![0; DRAIN_BYTES];
            while stream.read(&mut unheard).await.is_ok_and(|n| n > 0) {}
            let _ = tell.send(());
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    fn is_over(end: &mut ParentEnd) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        Pin::new(end).poll(&mut cx).is_ready()
    }

    #[tokio::test]
    async fn the_end_is_told_by_reading_it() {
        let (mut far, near) = duplex(16);
        let (mut kept, mut end) = Kept::new(near, Goodbye::Leave);
        far.write_all(b"ab").await.unwrap();
        let mut got = [0; 2];
        kept.read_exact(&mut got).await.unwrap();
        assert!(!is_over(&mut end));
        drop(far);
        assert_eq!(kept.read(&mut got).await.unwrap(), 0);
        assert!(is_over(&mut end));
    }

    #[tokio::test]
    async fn a_stream_without_its_link_is_read_to_its_end() {
        for goodbye in [Goodbye::Leave, Goodbye::Shut] {
            let (mut far, near) = duplex(16);
            let (mut kept, mut end) = Kept::new(near, goodbye);
            kept.shutdown().await.unwrap();
            assert_eq!(kept.read(&mut [0; 2]).await.unwrap(), 0, "over for the link");
            drop(kept);
            // More than the stream holds: somebody has to read it.
            far.write_all(&[7; 100_000]).await.unwrap();
            assert!(!is_over(&mut end), "{goodbye:?}: the parent is there");
            drop(far);
            end.await;
        }
    }

    /// A parent that is gone shows in the next read, and in the next write, whatever it left unread.
    #[cfg(unix)]
    #[tokio::test]
    async fn a_parent_that_left_is_told_at_once_by_reading_and_by_writing() {
        use spandrel_transport::{Connection, Frame};
        for (name, unread) in [("all was read", false), ("something was left unread", true)] {
            let (near, far) = tokio::net::UnixStream::pair().unwrap();
            let parent = Parent::over(near, &Limits::default());
            let mut link = Connection::new(parent.link);
            if unread {
                link.send(Frame::text("{}")).await.unwrap();
            }
            drop(far);
            let told = tokio::time::timeout(std::time::Duration::from_secs(5), link.recv()).await;
            let told = told.unwrap_or_else(|_| panic!("{name}: not told"));
            assert!(matches!(told, Ok(None) | Err(spandrel_transport::LinkError::Gone)), "{name}: {told:?}");
            assert!(link.send(Frame::text("{}")).await.is_err(), "{name}");
            parent.end.await;
        }
    }

    /// What Node takes for the end of its child does not come with the end of a session.
    #[tokio::test]
    async fn our_side_stays_open_where_its_end_would_be_misread() {
        let (mut far, near) = duplex(16);
        let (mut kept, _end) = Kept::new(near, Goodbye::Leave);
        kept.write_all(b"bye").await.unwrap();
        kept.shutdown().await.unwrap();
        drop(kept);
        far.read_exact(&mut [0; 3]).await.unwrap();
        let more = tokio::time::timeout(std::time::Duration::from_millis(50), far.read(&mut [0])).await;
        assert!(more.is_err(), "{more:?}");
    }
}
