//! Echo of Socket.IO events over the whole server: CPU of its thread per message, beside a bare `tokio-tungstenite` that
//! sends the same texts back unread, in the same run; a message to all of 100 clients; memory of an idle session.
//!
//! Run: `cargo bench -p spandrel-socketio-net --bench echo`. Rounds are interleaved, medians are shown; the ratio is the
//! number to trust. The server runs on a thread of its own, whose CPU time the kernel counts (Linux only).

#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a bench may stop with a panic"
)]

use std::{collections::HashMap, fs, io::Write as _, process::Command, thread};

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use spandrel_socketio::encode_event;
use spandrel_socketio_net::{Bytes, Events, ServerConfig, ServerEvent, SocketServer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle},
};

/// Bytes of a message, connections, messages written before their echoes are read, messages.
const POINTS: [(usize, usize, usize, usize); 6] = [
    (64, 1, 1, 20_000),
    (64, 1, 64, 100_000),
    (64, 100, 1, 40_000),
    (1 << 10, 1, 1, 20_000),
    (1 << 10, 1, 64, 60_000),
    (1 << 10, 100, 1, 40_000),
];
const ROUNDS: usize = 7;

fn main() {
    if std::env::var_os("ECHO_IDLE").is_some() {
        return idle();
    }
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let mut out = std::io::stdout();
    for (bytes, connections, burst, messages) in POINTS {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(round(true, bytes, connections, burst, messages));
            bare.push(round(false, bytes, connections, burst, messages));
        }
        let (ours, bare) = (median(ours), median(bare));
        let ratio = ours / bare;
        writeln!(out, "{bytes:>5} B x{connections:<3} burst {burst:<2} ours {ours:>7.0} ns/message, bare {bare:>7.0}, ratio {ratio:.2}")
            .expect("stdout");
    }
    let to_all = median((0..ROUNDS).map(|_| fan_out()).collect());
    writeln!(out, "   64 B to 100 clients: {to_all:.0} ns/delivery").expect("stdout");
    let exe = std::env::current_exe().expect("own path");
    let run = Command::new(exe).env("ECHO_IDLE", "1").output().expect("runs");
    writeln!(out, "idle: {}", String::from_utf8_lossy(&run.stdout).trim()).expect("stdout");
}

/// CPU nanoseconds of the server thread per message.
fn round(is_ours: bool, bytes: usize, connections: usize, burst: usize, messages: usize) -> f64 {
    let (server, port) = start(is_ours);
    let client = Builder::new_current_thread().enable_all().build().expect("runtime");
    client.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            streams.push(connect(port, is_ours).await);
        }
        let text = event(bytes);
        let (request, answer_len) = (frame(&text).repeat(burst), (bytes + head_len(bytes)) * burst);
        let rounds = (messages / burst / connections).max(1);
        exchange(&mut streams, &request, answer_len, rounds / 10 + 1).await;
        let before = cpu_ns(&server).await;
        exchange(&mut streams, &request, answer_len, rounds).await;
        let spent = cpu_ns(&server).await - before;
        spent as f64 / (rounds * burst * connections) as f64
    })
}

async fn exchange(streams: &mut [TcpStream], request: &[u8], answer_len: usize, rounds: usize) {
    for _ in 0..rounds {
        for stream in streams.iter_mut() {
            stream.write_all(request).await.expect("writes");
        }
        for stream in streams.iter_mut() {
            skip(stream, answer_len).await;
        }
    }
}

/// One client's message goes to all, 100 at a time waited for.
fn fan_out() -> f64 {
    const CLIENTS: usize = 100;
    const MESSAGES: usize = 400;
    let (server, port) = start(true);
    let client = Builder::new_current_thread().enable_all().build().expect("runtime");
    client.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..CLIENTS {
            streams.push(connect(port, true).await);
        }
        let text = event(64).replacen("echo", "tell", 1);
        let before = cpu_ns(&server).await;
        for _ in 0..MESSAGES {
            streams[0].write_all(&frame(&text)).await.expect("writes");
            for stream in &mut streams {
                skip(stream, 64 + head_len(64)).await;
            }
        }
        (cpu_ns(&server).await - before) as f64 / (CLIENTS * MESSAGES) as f64
    })
}

/// Memory per connection with 1,000 open after one echo each; the client's sockets are in the same process and counted.
fn idle() {
    let (server, port) = start(true);
    let client = Builder::new_current_thread().enable_all().build().expect("runtime");
    client.block_on(async {
        let mut streams = vec![connect(port, true).await];
        let request = frame(&event(64));
        exchange(&mut streams, &request, 66, 1).await;
        let before = resident_kib();
        for _ in 0..1000 {
            streams.push(connect(port, true).await);
        }
        exchange(&mut streams, &request, 66, 1).await;
        cpu_ns(&server).await;
        let grown = resident_kib() - before;
        writeln!(std::io::stdout(), "{:.1} KiB a session", grown as f64 / 1000.0).expect("stdout");
    });
}

fn start(is_ours: bool) -> (Handle, u16) {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            tell.send((Handle::current(), listener.local_addr().expect("address").port()))
                .expect("main thread lives");
            let (server, events) = SocketServer::new(ServerConfig::default().with_pings(60_000, 60_000));
            tokio::spawn(answer(events));
            loop {
                let (stream, address) = listener.accept().await.expect("accepts");
                stream.set_nodelay(true).expect("socket");
                let server = server.clone();
                tokio::spawn(async move {
                    if !is_ours {
                        return echo_bare(stream).await;
                    }
                    let other = |_: &_| http::Response::new(Bytes::new());
                    server.serve_connection(Box::new(stream), address, other).await;
                });
            }
        });
    });
    told.recv().expect("server starts")
}

async fn answer(mut events: Events) {
    let (mut sockets, mut batch) = (HashMap::new(), Vec::new());
    while events.recv_many(&mut batch, 256).await > 0 {
        for event in batch.drain(..) {
            match event {
                ServerEvent::Opened(socket) => drop(sockets.insert(socket.id(), socket)),
                ServerEvent::Closed { id, .. } => drop(sockets.remove(&id)),
                ServerEvent::Received { id, event } => {
                    let arg = event.arg(0).expect("an argument");
                    if event.is_named("tell") {
                        let packet = encode_event("tell", &[&arg], None);
                        sockets.values().for_each(|socket| socket.send(&packet).expect("is open"));
                    } else {
                        sockets[&id].send(&encode_event("echo", &[&arg], None)).expect("is open");
                    }
                }
                _ => {}
            }
        }
    }
}

async fn echo_bare(stream: TcpStream) {
    let Ok(mut ws) = tokio_tungstenite::accept_async(stream).await else { return };
    while let Some(Ok(message)) = ws.next().await {
        if ws.feed(message).await.is_err() {
            return;
        }
        while let Some(Some(Ok(message))) = ws.next().now_or_never() {
            if ws.feed(message).await.is_err() {
                return;
            }
        }
        if ws.flush().await.is_err() {
            return;
        }
    }
}

async fn connect(port: u16, is_ours: bool) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
    stream.set_nodelay(true).expect("socket");
    let request = "GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("reads"));
    }
    if is_ours {
        for _ in 0..2 {
            let len = (stream.read_u16().await.expect("reads") & 0x7f) as usize;
            skip(&mut stream, len).await;
        }
    }
    stream
}

async fn skip(stream: &mut TcpStream, len: usize) {
    let (mut sink, mut left) = ([0; 16 << 10], len);
    while left > 0 {
        let most = left.min(sink.len());
        left -= stream.read(&mut sink[..most]).await.expect("reads");
    }
}

/// An event whose text has this many bytes.
fn event(bytes: usize) -> String {
    let around = r#"42["echo",{"data":""}]"#.len();
    format!(r#"42["echo",{{"data":"{}"}}]"#, "x".repeat(bytes - around))
}

/// A masked text frame.
fn frame(text: &str) -> Vec<u8> {
    let (mut frame, len) = (vec![0x81], text.len());
    match len {
        0..=125 => frame.push(0x80 | len as u8),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

const fn head_len(len: usize) -> usize {
    if len <= 125 { 2 } else { 4 }
}

/// CPU time of the runtime's only thread, read on that thread.
async fn cpu_ns(server: &Handle) -> u64 {
    let read = server.spawn(async {
        let text = fs::read_to_string("/proc/thread-self/schedstat").expect("linux counts thread time");
        text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a number")
    });
    read.await.expect("server lives")
}

fn resident_kib() -> i64 {
    let text = fs::read_to_string("/proc/self/statm").expect("linux counts pages");
    text.split(' ').nth(1).and_then(|n| n.parse::<i64>().ok()).expect("a number") * 4
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
