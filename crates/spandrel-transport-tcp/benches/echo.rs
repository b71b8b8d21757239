//! Echo over length-framed TCP: CPU of the server per message, against tokio-util's `Framed` (its default codec for
//! lengths, drain what is ready, then flush) and against a raw echo that looks for no frames, in the same run.
//!
//! Run: `cargo bench -p spandrel-transport-tcp --bench echo`. Rounds are interleaved, medians are shown; the ratio is the
//! number to trust. The server runs on a thread of its own, whose CPU time the kernel counts (Linux only).

#![expect(clippy::indexing_slicing, clippy::cast_precision_loss, reason = "a bench may stop with a panic")]

use std::{fs, io::Write as _, thread};

use futures_util::{FutureExt as _, SinkExt, StreamExt as _};
use spandrel_transport::{Close, Connection};
use spandrel_transport_tcp::TcpTransport;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle},
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

#[derive(Debug, Clone, Copy)]
enum Variant {
    Ours,
    Framed,
    Raw,
}

/// Payload bytes, connections, messages written before their echoes are read, messages in all.
const POINTS: [(usize, usize, usize, usize); 6] = [
    (64, 1, 128, 200_000),
    (1 << 10, 1, 64, 120_000),
    (64 << 10, 1, 4, 8_000),
    (64, 100, 16, 200_000),
    (1 << 10, 100, 8, 120_000),
    (64 << 10, 100, 1, 8_000),
];
const ROUNDS: usize = 7;

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let mut out = std::io::stdout();
    for (bytes, connections, burst, messages) in POINTS {
        let mut ns: [Vec<f64>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (at, variant) in [Variant::Ours, Variant::Framed, Variant::Raw].into_iter().enumerate() {
                ns[at].push(round(variant, bytes, connections, burst, messages));
            }
        }
        let [ours, framed, raw] = ns.map(median);
        writeln!(
            out,
            "{bytes:>6} B x{connections:<3} ours {ours:>8.0} ns/message, Framed {framed:>8.0}, raw {raw:>8.0}; \
             ratio to Framed {:.2}, to raw {:.2}",
            ours / framed,
            ours / raw
        )
        .expect("stdout");
    }
}

/// CPU nanoseconds of the server thread per message.
fn round(variant: Variant, bytes: usize, connections: usize, burst: usize, messages: usize) -> f64 {
    let (server, port) = start(variant);
    let client = Builder::new_current_thread().enable_all().build().expect("runtime");
    client.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
            stream.set_nodelay(true).expect("socket");
            streams.push(stream);
        }
        let request = frame(bytes).repeat(burst);
        let rounds = (messages / burst / connections).max(1);
        exchange(&mut streams, &request, rounds / 10 + 1).await;
        let before = cpu_ns(&server).await;
        exchange(&mut streams, &request, rounds).await;
        let spent = cpu_ns(&server).await - before;
        spent as f64 / (rounds * burst * connections) as f64
    })
}

/// A binary frame of ours; for `Framed` the kind is the payload's first byte.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = u32::try_from(len + 1).expect("small").to_be_bytes().to_vec();
    frame.push(2);
    frame.resize(frame.len() + len, 0x5A);
    frame
}

async fn exchange(streams: &mut [TcpStream], request: &[u8], rounds: usize) {
    let mut sink = vec![0; 256 << 10];
    for _ in 0..rounds {
        for stream in streams.iter_mut() {
            stream.write_all(request).await.expect("writes");
        }
        for stream in streams.iter_mut() {
            let mut left = request.len();
            while left > 0 {
                let most = left.min(sink.len());
                left -= stream.read(&mut sink[..most]).await.expect("reads");
            }
        }
    }
}

fn start(variant: Variant) -> (Handle, u16) {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            tell.send((Handle::current(), listener.local_addr().expect("address").port()))
                .expect("main thread lives");
            let ours = TcpTransport::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                let ours = ours.clone();
                tokio::spawn(async move {
                    stream.set_nodelay(true).expect("socket");
                    match variant {
                        Variant::Ours => echo_ours(&ours, stream).await,
                        Variant::Framed => echo_framed(stream).await,
                        Variant::Raw => echo_raw(stream).await,
                    }
                });
            }
        });
    });
    told.recv().expect("server starts")
}

async fn echo_ours(transport: &TcpTransport, stream: TcpStream) {
    let Ok(link) = transport.accept_stream(stream, None).await else { return };
    let mut conn = Connection::new(link);
    while let Ok(Some(frame)) = conn.recv().await {
        if conn.feed(frame).await.is_err() {
            break;
        }
    }
    let _ = conn.close(Close::normal()).await;
}

async fn echo_framed(stream: TcpStream) {
    let mut framed = Framed::new(stream, LengthDelimitedCodec::new());
    while let Some(Ok(message)) = framed.next().await {
        if framed.feed(message.freeze()).await.is_err() {
            return;
        }
        while let Some(Some(Ok(message))) = framed.next().now_or_never() {
            if framed.feed(message.freeze()).await.is_err() {
                return;
            }
        }
        let flushed = SinkExt::<bytes::Bytes>::flush(&mut framed).await;
        if flushed.is_err() {
            return;
        }
    }
}

async fn echo_raw(mut stream: TcpStream) {
    let mut buf = vec![0; 16 << 10];
    while let Ok(n @ 1..) = stream.read(&mut buf).await {
        if stream.write_all(&buf[..n]).await.is_err() {
            return;
        }
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
