//! Thousands of silent connections: what each costs, that others are served meanwhile, and that nothing stays behind.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use super::server::{PATIENCE, Server};
use super::ws::SUBPROTOCOL;
use super::{is_long, turn};

const MIB: u64 = 1024;
/// Resident memory of one idle connection.
const EACH_MAX_KIB: u64 = 20;
/// What may remain when all have left.
const REST_MAX_KIB: u64 = 16 * MIB;

/// One connection that asks nothing and answers pings, until it is aborted.
async fn hold(address: SocketAddr, ready: mpsc::Sender<()>) -> Option<()> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let head = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut seen = Vec::with_capacity(1024);
    let mut is_ready = false;
    loop {
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
        // The hello is the only message that comes, and holds no such bytes.
        if !is_ready && seen.windows(7).any(|part| part == b"\"hello\"") {
            is_ready = true;
            seen.clear();
            ready.send(()).await.ok()?;
        }
        if seen.ends_with(&[0x89, 0]) {
            seen.clear();
            stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.ok()?;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_cheap_and_leave_nothing_behind() {
    let _turn = turn().await;
    let count: usize = if is_long() { 9_900 } else { 1_000 };
    let server = Server::of_flights(json!({ "limits": { "maxConnections": 10_000 } }));
    // What the first connection, the first export and the first reader bring with them is there before.
    server.ws().await.export(&super::data::flights()).await;
    let before = server.rss_kib();

    let mut held = JoinSet::new();
    let (ready, mut arrived) = mpsc::channel(64);
    for _ in 0..count {
        held.spawn(hold(server.address(), ready.clone()));
        if held.len() % 200 == 0 {
            for _ in 0..200 {
                arrived.recv().await.expect("every connection is greeted");
            }
        }
    }
    assert!(held.try_join_next().is_none(), "none was turned away");
    // Long enough for the first pings: the buffers of a connection that has spoken are given back.
    sleep(Duration::from_secs(12)).await;
    assert!(held.try_join_next().is_none(), "none was given up");
    let each = (server.rss_kib().saturating_sub(before)) as f64 / count as f64;

    let mut slowest = Duration::ZERO;
    let mut ws = server.ws().await;
    for _ in 0..20 {
        let asked = Instant::now();
        ws.ask("status:check", &json!({})).await;
        slowest = slowest.max(asked.elapsed());
    }
    println!("{count} idle connections: {each:.1} KiB each; another was answered within {slowest:?}");
    assert!(each <= EACH_MAX_KIB as f64, "{each:.1} KiB each");
    drop(ws);

    held.shutdown().await;
    let left = Instant::now();
    loop {
        let metrics = server.get("/metrics").await;
        if metrics.text().lines().any(|line| line == "spandrel_connections 0") {
            break;
        }
        assert!(left.elapsed() < PATIENCE, "the connections are not forgotten");
    }
    // The allocator gives pages back a moment later.
    let mut after = server.rss_kib();
    while after > before + REST_MAX_KIB && left.elapsed() < Duration::from_secs(5) {
        sleep(Duration::from_millis(50)).await;
        after = server.rss_kib();
    }
    println!("{} MiB before, {} MiB {:?} after they left", before / MIB, after / MIB, left.elapsed());
    assert!(after <= before + REST_MAX_KIB, "{} MiB stay", (after - before) / MIB);
}
