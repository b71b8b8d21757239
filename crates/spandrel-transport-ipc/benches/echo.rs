//! Echo of JSON lines over a unix socket: CPU of the server per message, against a raw echo that looks for no lines, in
//! the same run.
//!
//! Run: `cargo bench -p spandrel-transport-ipc --bench echo`. Rounds are interleaved, medians are shown; the ratio is the
//! number to trust. The server runs on a thread of its own, whose CPU time the kernel counts (Linux only).

#![expect(clippy::indexing_slicing, clippy::cast_precision_loss, reason = "a bench may stop with a panic")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    thread,
};

use spandrel_transport::{Close, Connection, Endpoint, Limits, Transport as _, serve};
use spandrel_transport_ipc::UnixTransport;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    runtime::{Builder, Handle},
};

#[derive(Debug, Clone, Copy)]
enum Variant {
    Ours,
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
        let mut ns: [Vec<f64>; 2] = Default::default();
        for _ in 0..ROUNDS {
            for (at, variant) in [Variant::Ours, Variant::Raw].into_iter().enumerate() {
                ns[at].push(round(variant, bytes, connections, burst, messages));
            }
        }
        let [ours, raw] = ns.map(median);
        writeln!(
            out,
            "{bytes:>6} B x{connections:<3} ours {ours:>8.0} ns/message, raw {raw:>8.0}; ratio {:.2}",
            ours / raw
        )
        .expect("stdout");
    }
}

/// CPU nanoseconds of the server thread per message.
fn round(variant: Variant, bytes: usize, connections: usize, burst: usize, messages: usize) -> f64 {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("s");
    let server = start(variant, path.clone());
    let client = Builder::new_current_thread().enable_all().build().expect("runtime");
    client.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            streams.push(UnixStream::connect(&path).await.expect("connects"));
        }
        let request = line(bytes).repeat(burst);
        let rounds = (messages / burst / connections).max(1);
        exchange(&mut streams, &request, rounds / 10 + 1).await;
        let before = cpu_ns(&server).await;
        exchange(&mut streams, &request, rounds).await;
        let spent = cpu_ns(&server).await - before;
        spent as f64 / (rounds * burst * connections) as f64
    })
}

/// A JSON text of this length, and its line end.
fn line(len: usize) -> Vec<u8> {
    format!("[{}]\n", "1".repeat(len - 2)).into_bytes()
}

async fn exchange(streams: &mut [UnixStream], request: &[u8], rounds: usize) {
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

fn start(variant: Variant, path: PathBuf) -> Handle {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            match variant {
                Variant::Ours => {
                    let at = Endpoint::Unix { path: path.to_str().expect("utf-8").to_owned() };
                    let listener = UnixTransport::new().listen(&at).await.expect("listens");
                    tell.send(Handle::current()).expect("main thread lives");
                    serve(listener, Limits::default(), std::future::pending(), echo_ours).await;
                }
                Variant::Raw => {
                    let listener = UnixListener::bind(Path::new(&path)).expect("binds");
                    tell.send(Handle::current()).expect("main thread lives");
                    loop {
                        let (stream, _) = listener.accept().await.expect("accepts");
                        tokio::spawn(echo_raw(stream));
                    }
                }
            }
        });
    });
    told.recv().expect("server starts")
}

async fn echo_ours(mut conn: Connection) {
    while let Ok(Some(frame)) = conn.recv().await {
        if conn.feed(frame).await.is_err() {
            break;
        }
    }
    let _ = conn.close(Close::normal()).await;
}

async fn echo_raw(mut stream: UnixStream) {
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
