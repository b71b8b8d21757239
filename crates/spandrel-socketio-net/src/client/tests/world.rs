//! A server that tells what happened, and a relay that can be cut.

use std::{net::SocketAddr, sync::Arc};

use spandrel_socketio::{Ack, Event, client::Transports};
use spandrel_transport::{BoxStream, TlsServer};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::timeout,
};

use super::{PATIENCE, unexpected};
use crate::{
    Bytes, CloseReason, Events, ServerConfig, ServerEvent, Socket, SocketServer, client::ClientConfig,
};

/// A server of ours on a free port; gone when dropped.
pub(super) struct Server {
    pub(super) port: u16,
    events: Events,
    waiting: std::collections::VecDeque<ServerEvent>,
    _serving: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(config: ServerConfig) -> Self {
        Self::start_with(config, None, |server| server).await
    }

    pub(super) async fn start_with(
        config: ServerConfig,
        tls: Option<TlsServer>,
        change: impl FnOnce(SocketServer) -> SocketServer,
    ) -> Self {
        let (server, events) = SocketServer::new(config);
        let server = change(server);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, address)) = listener.accept().await {
                let (server, tls) = (server.clone(), tls.clone());
                connections.spawn(serve(server, stream, address, tls));
            }
        });
        Self { port, events, waiting: [].into(), _serving: serving }
    }

    pub(super) fn config(&self, transports: Transports) -> ClientConfig {
        ClientConfig::new("127.0.0.1", self.port, transports)
    }

    pub(super) async fn opened(&mut self) -> Socket {
        match self.next().await {
            ServerEvent::Opened(socket) => socket,
            other => unexpected(&other),
        }
    }

    pub(super) async fn received(&mut self) -> Event {
        match self.next().await {
            ServerEvent::Received { event, .. } => event,
            other => unexpected(&other),
        }
    }

    pub(super) async fn acked(&mut self) -> Ack {
        match self.next().await {
            ServerEvent::Acked { ack, .. } => ack,
            other => unexpected(&other),
        }
    }

    pub(super) async fn closed(&mut self) -> CloseReason {
        match self.next().await {
            ServerEvent::Closed { why, .. } => why,
            other => unexpected(&other),
        }
    }

    async fn next(&mut self) -> ServerEvent {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            let mut batch = Vec::new();
            timeout(PATIENCE, self.events.recv_many(&mut batch, 64)).await.expect("nothing happened");
            self.waiting.extend(batch);
        }
    }
}

async fn serve(server: SocketServer, stream: TcpStream, address: SocketAddr, tls: Option<TlsServer>) {
    let stream: BoxStream = match tls {
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => stream,
            Err(_) => return,
        },
        None => Box::new(stream),
    };
    let other = |_: &_| http::Response::new(Bytes::from_static(b"not Socket.IO"));
    server.serve_connection(stream, address, other).await;
}

/// Passes bytes on until it is cut.
pub(super) struct Relay {
    pub(super) port: u16,
    passing: JoinSet<()>,
    stops: Arc<Notify>,
}

impl Relay {
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let mut passing = JoinSet::new();
        passing.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut here, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut there = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let _ = copy_bidirectional(&mut here, &mut there).await;
                });
            }
        });
        Self { port: own, passing, stops: Arc::default() }
    }

    /// Grants a WebSocket, opens a session whose client is to ping each 20 ms, answers that many pings, says `pinged`, and
    /// nothing ever after.
    pub(super) async fn to_pinged(pings: usize, timeout_ms: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let mut passing = JoinSet::new();
        let stops = Arc::new(Notify::new());
        let stop = Arc::clone(&stops);
        passing.spawn(async move {
            use spandrel_transport::{Connection, Frame};
            let (stream, address) = listener.accept().await.unwrap();
            let link =
                spandrel_transport_ws::WsTransport::new().accept_stream(stream, Some(address)).await.unwrap();
            let mut link = Connection::new(link);
            let open = r#"0{"sid":"abc","upgrades":[],"pingInterval":20,"pingTimeout":TIMEOUT}"#;
            link.send(Frame::text(open.replace("TIMEOUT", &timeout_ms.to_string()))).await.unwrap();
            link.send(Frame::text("40")).await.unwrap();
            for _ in 0..pings {
                assert_eq!(link.recv().await.unwrap(), Some(Frame::text("2")));
                link.send(Frame::text("3")).await.unwrap();
            }
            if pings > 0 {
                link.send(Frame::text("42[\"pinged\"]")).await.unwrap();
            }
            loop {
                tokio::select! {
                    frame = link.recv() => if !matches!(frame, Ok(Some(_))) { return },
                    () = stop.notified() => std::future::pending().await,
                }
            }
        });
        Self { port: own, passing, stops }
    }

    /// Keeps its connections and reads nothing from them any more.
    pub(super) fn stop_reading(&self) {
        self.stops.notify_one();
    }

    /// Ends every connection, and takes no more.
    pub(super) fn cut(mut self) {
        self.passing.abort_all();
    }
}
