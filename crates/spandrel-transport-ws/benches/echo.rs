//! Echo over WebSocket: CPU of the server per message, and memory of an idle connection, against bare
//! `tokio-tungstenite` (drain what is ready, then flush) in the same run.
//!
//! Run: `cargo bench -p spandrel-transport-ws --bench echo`. Rounds are interleaved, medians are shown; the ratio is the
//! number to trust. The server runs on a thread of its own, whose CPU time the kernel counts (Linux only).

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a bench may stop with a panic"
)]

use std::{fs, io::Write as _, process::Command, thread};

use futures_util::{FutureExt, SinkExt, StreamExt};
use spandrel_transport::{Close, Connection};
use spandrel_transport_ws::WsTransport;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle},
};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Variant {
    Ours,
    BareDefault,
    Bare16,
}

const VARIANTS: [(Variant, &str); 3] = [
    (Variant::Ours, "ours"),
    (Variant::BareDefault, "bare, defaults"),
    (Variant::Bare16, "bare, 16 KiB reads"),
];

/// Payload bytes, connections, messages written before their echoes are read, CPU milliseconds worth of messages.
const POINTS: [(usize, usize, usize, usize); 6] = [
    (64, 1, 128, 120_000),
    (1 << 10, 1, 64, 80_000),
    (64 << 10, 1, 4, 6_000),
    (64, 100, 16, 120_000),
    (1 << 10, 100, 8, 80_000),
    (64 << 10, 100, 1, 6_000),
];
const ROUNDS: usize = 7;

fn main() {
    if let Ok(variant) = std::env::var("ECHO_IDLE") {
        let (variant, _) = VARIANTS.into_iter().find(|(_, name)| *name == variant).expect("a variant");
        return idle(variant);
    }
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let mut out = std::io::stdout();
    let mut ratios = [Vec::new(), Vec::new()];
    for (bytes, connections, burst, messages) in POINTS {
        let mut ns: [Vec<f64>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (at, (variant, _)) in VARIANTS.into_iter().enumerate() {
                ns[at].push(round(variant, bytes, connections, burst, messages));
            }
        }
        let [ours, default, small] = ns.map(median);
        ratios[0].push(ours / default);
        ratios[1].push(ours / small);
        writeln!(
            out,
            "{bytes:>6} B x{connections:<3} ours {ours:>8.0} ns/message, bare {default:>8.0}, bare 16 KiB {small:>8.0}; \
             ratio to defaults {:.2}, to 16 KiB {:.2}",
            ours / default,
            ours / small
        )
        .expect("stdout");
    }
    let [to_default, to_small] =
        ratios.map(|r| (r.iter().map(|x| x.ln()).sum::<f64>() / r.len() as f64).exp());
    writeln!(out, "geometric mean: {to_default:.2} of defaults, {to_small:.2} of 16 KiB").expect("stdout");
    for (_, name) in VARIANTS {
        let exe = std::env::current_exe().expect("own path");
        let run = Command::new(exe).env("ECHO_IDLE", name).output().expect("runs");
        writeln!(out, "idle, {name}: {}", String::from_utf8_lossy(&run.stdout).trim()).expect("stdout");
    }
}

/// CPU nanoseconds of the server thread per message.
fn round(variant: Variant, bytes: usize, connections: usize, burst: usize, messages: usize) -> f64 {
    let (server, port) = start(variant);
    let client = Builder::new_current_thread().enable_all().build().expect("runtime");
    client.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            streams.push(connect(port).await);
        }
        let (request, answer_len) = (frame(bytes).repeat(burst), (bytes + head_len(bytes)) * burst);
        let rounds = (messages / burst / connections).max(1);
        exchange(&mut streams, &request, answer_len, rounds / 10 + 1).await;
        let before = cpu_ns(&server).await;
        exchange(&mut streams, &request, answer_len, rounds).await;
        let spent = cpu_ns(&server).await - before;
        spent as f64 / (rounds * burst * connections) as f64
    })
}

async fn exchange(streams: &mut [TcpStream], request: &[u8], answer_len: usize, rounds: usize) {
    let mut sink = vec![0; 256 << 10];
    for _ in 0..rounds {
        for stream in streams.iter_mut() {
            stream.write_all(request).await.expect("writes");
        }
        for stream in streams.iter_mut() {
            let mut left = answer_len;
            while left > 0 {
                let most = left.min(sink.len());
                left -= stream.read(&mut sink[..most]).await.expect("reads");
            }
        }
    }
}

/// Memory per connection with 1,000 open after one echo each; the client's sockets are in the same process and counted.
fn idle(variant: Variant) {
    let (server, port) = start(variant);
    let client = Builder::new_current_thread().enable_all().build().expect("runtime");
    client.block_on(async {
        let mut streams = vec![connect(port).await];
        exchange(&mut streams, &frame(64), 66, 1).await;
        let before = resident_kib();
        for _ in 0..1000 {
            streams.push(connect(port).await);
        }
        exchange(&mut streams, &frame(64), 66, 1).await;
        cpu_ns(&server).await;
        let grown = resident_kib() - before;
        writeln!(std::io::stdout(), "{:.1} KiB a connection", grown as f64 / 1000.0).expect("stdout");
    });
}

fn start(variant: Variant) -> (Handle, u16) {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            tell.send((Handle::current(), listener.local_addr().expect("address").port()))
                .expect("main thread lives");
            let ours = WsTransport::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                let ours = ours.clone();
                tokio::spawn(async move {
                    stream.set_nodelay(true).expect("socket");
                    match variant {
                        Variant::Ours => echo_ours(&ours, stream).await,
                        Variant::BareDefault => echo_bare(stream, WebSocketConfig::default()).await,
                        Variant::Bare16 => {
                            echo_bare(stream, WebSocketConfig::default().read_buffer_size(16 << 10)).await
                        }
                    }
                });
            }
        });
    });
    told.recv().expect("server starts")
}

async fn echo_ours(transport: &WsTransport, stream: TcpStream) {
    let Ok(link) = transport.accept_stream(stream, None).await else { return };
    let mut conn = Connection::new(link);
    while let Ok(Some(frame)) = conn.recv().await {
        if conn.feed(frame).await.is_err() {
            break;
        }
    }
    let _ = conn.close(Close::normal()).await;
}

async fn echo_bare(stream: TcpStream, config: WebSocketConfig) {
    let Ok(mut ws) = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await else { return };
    while let Some(Ok(message)) = ws.next().await {
        if !message.is_text() && !message.is_binary() {
            continue;
        }
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

async fn connect(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
    stream.set_nodelay(true).expect("socket");
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("reads"));
    }
    stream
}

/// A masked binary frame.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = vec![0x82];
    match len {
        0..=125 => frame.push(0x80 | len as u8),
        126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[1, 2, 3, 4]);
    frame.resize(frame.len() + len, 0x5A);
    frame
}

const fn head_len(len: usize) -> usize {
    match len {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    }
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
