//! A chat: what one client says as `say` goes to all as `said`, with its number; `echo` comes back to its sender.
//!
//! Run: `cargo run -p spandrel-socketio-net --example chat -- 3000`, then connect with any Socket.IO 2 client.

use std::{
    collections::HashMap,
    io::{self, Write as _},
};

use spandrel_socketio::{Event, Value, encode_ack, encode_event};
use spandrel_socketio_net::{Bytes, Events, ServerConfig, ServerEvent, Socket, SocketId, SocketServer};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    writeln!(io::stdout(), "chat at http://{}", listener.local_addr()?)?;
    let (server, events) = SocketServer::new(ServerConfig::default());
    tokio::spawn(talk(events));
    let closing = server.clone();
    let accept = async {
        loop {
            let (stream, address) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let server = server.clone();
            tokio::spawn(async move {
                let other = |_: &_| http::Response::new(Bytes::from_static(b"a chat lives here"));
                server.serve_connection(Box::new(stream), address, other).await;
            });
        }
    };
    tokio::select! {
        ended = accept => ended,
        _ = tokio::signal::ctrl_c() => {
            closing.close_all().await;
            Ok(())
        }
    }
}

async fn talk(mut events: Events) {
    let (mut sockets, mut batch) = (HashMap::<SocketId, Socket>::new(), Vec::new());
    while events.recv_many(&mut batch, 256).await > 0 {
        for event in batch.drain(..) {
            match event {
                ServerEvent::Opened(socket) => drop(sockets.insert(socket.id(), socket)),
                ServerEvent::Closed { id, .. } => drop(sockets.remove(&id)),
                ServerEvent::Received { id, event } => answer(&sockets, id, &event),
                _ => {}
            }
        }
    }
}

fn answer(sockets: &HashMap<SocketId, Socket>, id: SocketId, event: &Event) {
    let args: Vec<Value> = event.args().collect();
    let args: Vec<&Value> = args.iter().collect();
    let Some(sender) = sockets.get(&id) else { return };
    // A client that does not read is closed by `send`; its end is told by an event.
    if event.is_named("say") {
        let number = Value::from_text(&id.0.to_string());
        let said = encode_event("said", &[&[&number], &args[..]].concat(), None); // once, for all
        for socket in sockets.values() {
            let _ = socket.send(&said);
        }
    } else if event.is_named("echo") {
        let _ = sender.send(&encode_event("echo", &args, None));
    }
    if let Some(ack_id) = event.ack_id() {
        let _ = sender.send(&encode_ack(ack_id, &args));
    }
}
