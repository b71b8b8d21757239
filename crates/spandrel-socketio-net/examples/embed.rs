//! Socket.IO beside other answers, in an HTTP server of the application's own: `GET /count` tells how many events there
//! were; the event `sum` is acknowledged with the sum of its numbers, which come back as a buffer too, in the event `bytes`.
//!
//! Run: `cargo run -p spandrel-socketio-net --example embed -- 3000`, then connect with any Socket.IO 2 client.

use std::{
    convert::Infallible,
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use spandrel_socketio::{Event, Value};
use spandrel_socketio_net::{Body, Events, ServerConfig, ServerEvent, Socket, SocketServer};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    writeln!(io::stdout(), "http://{}/count", listener.local_addr()?)?;
    let (server, events) = SocketServer::new(ServerConfig::default().with_path("/socket.io/"));
    let count = Arc::new(AtomicU64::new(0));
    tokio::spawn(talk(events, Arc::clone(&count)));
    loop {
        let (stream, address) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (server, count) = (server.clone(), Arc::clone(&count));
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, count) = (server.clone(), Arc::clone(&count));
            async move {
                Ok::<_, Infallible>(match request.uri().path() {
                    "/count" => text(count.load(Ordering::Relaxed).to_string()),
                    path if path.starts_with("/socket.io/") => server.handle(request, address).await,
                    _ => text("try /count".to_owned()),
                })
            }
        });
        // The bounds of HTTP are the application's here; `serve_connection_with` has them set.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades());
    }
}

fn text(text: String) -> Response<Body> {
    Response::new(Body::whole(text.into()))
}

async fn talk(mut events: Events, count: Arc<AtomicU64>) {
    let (mut sockets, mut batch) = (std::collections::HashMap::new(), Vec::new());
    while events.recv_many(&mut batch, 256).await > 0 {
        for event in batch.drain(..) {
            match event {
                ServerEvent::Opened(socket) => drop(sockets.insert(socket.id(), socket)),
                ServerEvent::Closed { id, .. } => drop(sockets.remove(&id)),
                ServerEvent::Received { id, event } => {
                    count.fetch_add(1, Ordering::Relaxed);
                    sockets.get(&id).into_iter().for_each(|socket| answer(socket, &event));
                }
                _ => {}
            }
        }
    }
}

/// A client that does not read is closed by what is sent; its end is told by an event.
fn answer(socket: &Socket, event: &Event) {
    let numbers: Vec<u64> = event.args().filter_map(|arg| arg.as_u64()).collect();
    if let (true, Some(id)) = (event.is_named("sum"), event.ack_id()) {
        let sum = numbers.iter().fold(0_u64, |sum, n| sum.saturating_add(*n));
        let _ = socket.acknowledge(id, &[&Value::from(sum)]);
        let bytes: Vec<u8> = numbers.iter().map(|n| n.to_le_bytes()[0]).collect();
        let _ = socket.emit("bytes", &[&Value::binary(bytes)]);
    }
}
