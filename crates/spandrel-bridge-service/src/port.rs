//! The port pages come to: open while this bridge is the host.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use spandrel_socketio_net::SocketServer;
use spandrel_transport::{Admission, BoxStream, Door, Held, TlsServer};
use spandrel_wire::Millis;
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::{Limits, sparse::Sparse};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Connections accepted in one round: others want their turn.
const ACCEPTED: usize = 64;

/// Listens, hands connections to the socket server, and answers what is not for it.
pub(crate) struct Port {
    port: u16,
    tls: Option<TlsServer>,
    server: SocketServer,
    admission: Admission,
    /// Connections over the bound that were noted.
    turned_away: u64,
    turned_away_log: Sparse,
    door: Option<Door>,
    connections: JoinSet<()>,
    closing: Option<Closing>,
    is_ended: bool,
}

type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Port {
    pub(crate) fn new(port: u16, tls: Option<TlsServer>, server: SocketServer, limits: &Limits) -> Self {
        let handshake = spandrel_transport::Limits::default()
            .with_handshake_ms(limits.handshake_ms)
            .with_connections_max(limits.connections_max, limits.connections_max);
        Self {
            port,
            tls: tls.map(|tls| tls.with_limits(handshake.clone())),
            server,
            admission: Admission::new(&handshake),
            turned_away: 0,
            turned_away_log: Sparse::default(),
            door: None,
            connections: JoinSet::new(),
            closing: None,
            is_ended: false,
        }
    }

    /// Binds, without a wait; of two programs that try, one succeeds. A port the system chose is kept for the next time.
    pub(crate) fn listen(&mut self) -> io::Result<SocketAddr> {
        let socket = TcpSocket::new_v4()?;
        // A port whose last host died a moment ago is free; one that somebody listens on is not.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))?;
        let door = Door::new(socket.listen(BACKLOG)?, self.admission.clone());
        let address = door.local_addr()?;
        self.port = address.port();
        self.door = Some(door);
        Ok(address)
    }

    /// Frees the port and ends every session, for good. What is on its way to them is still written.
    pub(crate) fn close(&mut self) {
        self.door = None;
        self.server.start_closing();
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.door.as_ref()?.local_addr().ok()
    }

    /// Takes in who waits.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Millis) {
        self.poll_accept(cx);
        let fresh = self.turned_away() - self.turned_away;
        if fresh > 0 {
            self.turned_away += fresh;
            if let Some(told) = self.turned_away_log.admit(now, fresh, ()) {
                tell_turned_away(told);
            }
        }
    }

    /// Logs what was held back and is due.
    pub(crate) fn log_late(&mut self, now: Millis) {
        if let Some(told) = self.turned_away_log.due(now) {
            tell_turned_away(told);
        }
    }

    /// When [`log_late`](Self::log_late) has something.
    pub(crate) fn late_at(&self) -> Option<Millis> {
        self.turned_away_log.wake()
    }

    /// Connections that were dropped unread because too many were open.
    pub(crate) fn turned_away(&self) -> u64 {
        self.admission.refused()
    }

    /// Sessions that were closed because too much was half received.
    pub(crate) fn crowded(&self) -> u64 {
        self.server.crowded()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(_)) = self.connections.poll_join_next(cx) {}
        for _ in 0..ACCEPTED {
            let Some(door) = &mut self.door else { return };
            let Poll::Ready((stream, address)) = door.poll_accept(cx) else { return };
            let (server, tls) = (self.server.clone(), self.tls.clone());
            self.connections.spawn(attend(server, tls, stream, address));
        }
        cx.waker().wake_by_ref();
    }

    /// Ready when no session and no connection is left. For after [`close`](Self::close).
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_ended {
            let server = &self.server;
            let closing = self.closing.get_or_insert_with(|| {
                let server = server.clone();
                Box::pin(async move { server.close_all().await })
            });
            ready!(closing.as_mut().poll(cx));
            self.is_ended = true;
        }
        loop {
            match self.connections.poll_join_next(cx) {
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.close();
    }
}

fn tell_turned_away((connections, ()): (u64, ())) {
    tracing::warn!(connections, "too many connections are open: some were not taken in");
}

/// One connection, from its first byte to its last.
async fn attend(server: SocketServer, tls: Option<TlsServer>, stream: Held<TcpStream>, address: SocketAddr) {
    let stream: BoxStream = match tls {
        None => Box::new(stream),
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, %address, "no TLS"),
        },
    };
    server.serve_connection(stream, address, other).await;
}

/// What is not under the path of the socket server: it holds nothing and answers anyone, as the original does.
fn other<B>(request: &Request<B>) -> Response<Bytes> {
    let path = request.uri().path();
    // `/modulesXYZ` too: all paths that start so.
    if path.starts_with("/modules") {
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = StatusCode::NOT_FOUND;
        return answer;
    }
    Response::new(Bytes::from_static(b"hello entry"))
}
