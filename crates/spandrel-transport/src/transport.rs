//! Opening links: the cold path, where boxed futures cost nothing that counts.

use std::{
    fmt,
    net::SocketAddr,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use spandrel_wire::Endpoint;

use crate::{AcceptError, DialError, Link, ListenError};

/// A way to open links. Implement it, give it a scheme, put it in a [`Registry`](crate::Registry), and run the
/// [`conformance`](crate::conformance) suite on it.
pub trait Transport: Send + Sync {
    /// Returns the scheme of the endpoints it serves.
    fn scheme(&self) -> &'static str;

    /// Opens a link, handshake included, within a deadline of its own.
    fn dial<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Link>, DialError>>;

    /// Starts to listen. Port 0 takes any free port: [`Listener::local`] tells which.
    fn listen<'a>(&'a self, at: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>>;
}

/// Takes in peers. Dropping it stops listening.
pub trait Listener: Send {
    /// Takes the next peer, before its handshake.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Closed`] when it is over; anything else may pass: pause, then poll again.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, AcceptError>>;

    /// Returns where it listens, with the real port.
    fn local(&self) -> &Endpoint;
}

/// A peer at the door: its handshake has not run. Run [`accept`](Self::accept) in a task of its own, so that a slow
/// peer keeps nobody waiting.
pub struct Incoming {
    address: Option<SocketAddr>,
    handshake: BoxFuture<'static, Result<Box<dyn Link>, AcceptError>>,
}

impl Incoming {
    /// Makes one of a handshake, which must bring its own deadline.
    pub fn new(
        address: Option<SocketAddr>,
        handshake: impl Future<Output = Result<Box<dyn Link>, AcceptError>> + Send + 'static,
    ) -> Self {
        Self { address, handshake: Box::pin(handshake) }
    }

    /// Returns the network address, where there is one.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Runs the handshake. Dropping the future drops the peer.
    ///
    /// # Errors
    ///
    /// When the peer is too slow, gone, or says something else.
    pub async fn accept(self) -> Result<Box<dyn Link>, AcceptError> {
        self.handshake.await
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("address", &self.address).finish_non_exhaustive()
    }
}
