//! A listening socket that does not give up and lets nobody crowd it.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep},
};

use crate::{Admission, Held};

/// Pause after a failed accept: out of descriptors, the next try would fail at once.
const PAUSE: Duration = Duration::from_millis(100);

/// A kind of listening socket.
pub trait Sockets: Send {
    /// What it accepts.
    type Stream: Send;
    /// Where a peer comes from.
    type Address: Send;

    /// Takes the next peer.
    ///
    /// # Errors
    ///
    /// Those of the system, which may pass.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, Self::Address)>>;

    /// Returns the address to count a peer by.
    fn ip(address: &Self::Address) -> Option<IpAddr>;
}

impl Sockets for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let (stream, address) = ready!(Self::poll_accept(self, cx))?;
        let _ = stream.set_nodelay(true);
        Poll::Ready(Ok((stream, address)))
    }

    fn ip(address: &SocketAddr) -> Option<IpAddr> {
        Some(address.ip())
    }
}

#[cfg(unix)]
impl Sockets for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;
    type Address = ();

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, ())>> {
        let (stream, _unnamed) = ready!(Self::poll_accept(self, cx))?;
        Poll::Ready(Ok((stream, ())))
    }

    fn ip((): &()) -> Option<IpAddr> {
        None
    }
}

/// Accepts from a listening socket, for ever: a peer over the bounds of the [`Admission`] is dropped before anything is
/// spent on it, and when the system has no more descriptors it pauses and tries again, which is logged once.
///
/// Dropping it stops listening. Each accepted stream gives its slot back when it is dropped. Box one as
/// [`BoxStream`](crate::BoxStream) before an HTTP server gets it: a WebSocket upgrade finds that again.
pub struct Door<L = TcpListener> {
    listener: L,
    admission: Admission,
    pause: Option<Pin<Box<Sleep>>>,
    is_failing: bool,
}

impl Door<TcpListener> {
    /// Listens at a name or address; port 0 takes any free one.
    ///
    /// # Errors
    ///
    /// When somebody else listens there, or the system says no.
    pub async fn bind(host: &str, port: u16, admission: Admission) -> io::Result<Self> {
        Ok(Self::new(TcpListener::bind((host, port)).await?, admission))
    }

    /// Returns where it listens, with the real port.
    ///
    /// # Errors
    ///
    /// When the system cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl<L: Sockets> Door<L> {
    /// Makes a door of a socket that listens already.
    pub const fn new(listener: L, admission: Admission) -> Self {
        Self { listener, admission, pause: None, is_failing: false }
    }

    /// Waits for the next peer that is admitted. Cancel safe.
    pub async fn accept(&mut self) -> (Held<L::Stream>, L::Address) {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls for the next peer that is admitted.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Held<L::Stream>, L::Address)> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(self.listener.poll_accept(cx)) {
                Ok((stream, address)) => {
                    self.is_failing = false;
                    if let Some(slot) = self.admission.admit(L::ip(&address)) {
                        return Poll::Ready((Held::new(stream, slot), address));
                    }
                }
                // The peer left while it waited: nothing is wrong here.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.is_failing, true) {
                        tracing::warn!(%error, "cannot accept, trying again");
                    }
                    self.pause = Some(Box::pin(sleep(PAUSE)));
                }
            }
        }
    }

    /// Returns the count of peers.
    pub const fn admission(&self) -> &Admission {
        &self.admission
    }
}

impl<L> fmt::Debug for Door<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("admission", &self.admission).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use spandrel_wire::Limits;
    use tokio::{io::AsyncReadExt as _, time::Instant};

    use super::*;

    #[tokio::test]
    async fn one_over_the_bound_is_dropped_and_a_place_comes_back() {
        let limits = Limits::default().with_connections_max(10, 2);
        let mut door = Door::bind("127.0.0.1", 0, Admission::counting_loopback(&limits)).await.unwrap();
        let to = door.local_addr().unwrap();
        let mut outside = Vec::new();
        for _ in 0..3 {
            outside.push(TcpStream::connect(to).await.unwrap());
        }
        let (first, _) = door.accept().await;
        let (_second, _) = door.accept().await;
        let mut third = outside.pop().unwrap();
        let refused = async {
            let read = third.read(&mut [0]).await;
            assert!(matches!(read, Ok(0) | Err(_)), "one over the bound was told {read:?}");
        };
        tokio::select! {
            _ = door.accept() => panic!("one over the bound came in"),
            () = refused => {}
        }
        assert_eq!(door.admission().refused(), 1);
        drop(first);
        let _outside = TcpStream::connect(to).await.unwrap();
        let (_third, _) = door.accept().await;
        assert_eq!(door.admission().open(), 2);
    }

    /// Fails some times before it has a peer.
    struct OutOfDescriptors(AtomicUsize);

    impl Sockets for OutOfDescriptors {
        type Stream = ();
        type Address = ();

        fn poll_accept(&self, _cx: &mut Context<'_>) -> Poll<io::Result<((), ())>> {
            let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            Poll::Ready(left.map_or(Ok(((), ())), |_| Err(io::Error::from_raw_os_error(24))))
        }

        fn ip((): &()) -> Option<IpAddr> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failing_accepts_are_tried_again_after_a_pause() {
        let mut door = Door::new(OutOfDescriptors(AtomicUsize::new(3)), Admission::new(&Limits::default()));
        let (_held, ()) = door.accept().await;
        let start = Instant::now();
        let _ = door.accept().await;
        assert_eq!(start.elapsed(), Duration::ZERO, "a good accept does not pause");
        let door = Door::new(OutOfDescriptors(AtomicUsize::new(3)), Admission::new(&Limits::default()));
        let start = Instant::now();
        let _ = { door }.accept().await;
        assert!(start.elapsed() >= PAUSE * 3, "three failures took {:?}", start.elapsed());
    }
}
