//! Thousands of silent connections: what each costs, that others are served meanwhile, and that nothing stays behind.

use std::net::SocketAddr;

use serde_json::json;
use spandrel_transport::{BoxStream, TlsClient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::server::{PATIENCE, Server};
use super::ws::SUBPROTOCOL;
use super::{is_long, turn};

const MIB: u64 = 1024;
/// Resident memory of one idle connection.
const EACH_MAX_KIB: u64 = 20;
/// Of one over TLS.
const EACH_TLS_MAX_KIB: u64 = 48;
/// What may remain when all have left.
const REST_MAX_KIB: u64 = 16 * MIB;

/// One connection that asks nothing and answers pings, until it is aborted.
async fn hold(address: SocketAddr, tls: Option<TlsClient>, ready: mpsc::Sender<()>) -> Option<()> {
    let stream = TcpStream::connect(address).await.ok()?;
    let mut stream: BoxStream = match tls {
        Some(tls) => tls.connect(stream, "localhost").await.ok()?,
        None => Box::new(stream),
    };
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
    let server = Server::of_flights(json!({ "limits": { "maxConnections": 10_100 } }));
    idle(&server, None, EACH_MAX_KIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_over_tls_are_cheap_and_leave_nothing_behind() {
    let _turn = turn().await;
    let server =
        Server::of_flights(json!({ "tls": { "selfSigned": true }, "limits": { "maxConnections": 10_100 } }));
    let log = server.log();
    let pin = log.split("fingerprint=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let pin = pin.and_then(|text| text.parse().ok()).expect("the log tells the fingerprint");
    let tls = TlsClient::with_fingerprint(pin).expect("a client");
    idle(&server, Some(tls), EACH_TLS_MAX_KIB).await;
}

async fn idle(server: &Server, tls: Option<TlsClient>, max_kib: u64) {
    let count: usize = if is_long() { 10_000 } else { 1_000 };
    let (ready, mut arrived) = mpsc::channel(64);
    // What the first connections bring with them is there before.
    let mut first = JoinSet::new();
    for _ in 0..200 {
        first.spawn(hold(server.address(), tls.clone(), ready.clone()));
    }
    for _ in 0..200 {
        timeout(PATIENCE, arrived.recv()).await.expect("every connection is greeted");
    }
    first.shutdown().await;
    let before = rest_kib(server, tls.as_ref()).await;

    let mut held = JoinSet::new();
    for _ in 0..count {
        held.spawn(hold(server.address(), tls.clone(), ready.clone()));
        if held.len() % 200 == 0 {
            for _ in 0..200 {
                timeout(PATIENCE, arrived.recv()).await.expect("every connection is greeted");
            }
        }
    }
    assert!(held.try_join_next().is_none(), "none was turned away");
    // Long enough for the first pings: the buffers of a connection that has spoken are given back.
    sleep(Duration::from_secs(12)).await;
    assert!(held.try_join_next().is_none(), "none was given up");
    let each = (server.rss_kib().saturating_sub(before)) as f64 / count as f64;

    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let asked = Instant::now();
        let health = get(server, tls.as_ref(), "/v1/health").await;
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        slowest = slowest.max(asked.elapsed());
    }
    println!("{count} idle connections: {each:.1} KiB each; another was answered within {slowest:?}");
    assert!(each <= max_kib as f64, "{each:.1} KiB each");

    held.shutdown().await;
    let left = Instant::now();
    let mut after = rest_kib(server, tls.as_ref()).await;
    while after > before + REST_MAX_KIB && left.elapsed() < Duration::from_secs(5) {
        sleep(Duration::from_millis(50)).await;
        after = server.rss_kib();
    }
    println!("{} MiB before, {} MiB {:?} after they left", before / MIB, after / MIB, left.elapsed());
    assert!(after <= before + REST_MAX_KIB, "{} MiB stay", (after - before) / MIB);
}

/// An answer, over TLS or not.
async fn get(server: &Server, tls: Option<&TlsClient>, path: &str) -> String {
    let stream = TcpStream::connect(server.address()).await.expect("a connection");
    let mut stream: BoxStream = match tls {
        Some(tls) => tls.connect(stream, "localhost").await.expect("a handshake"),
        None => Box::new(stream),
    };
    let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address());
    stream.write_all(head.as_bytes()).await.expect("the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// Resident memory once no connection is left and it has stopped to fall, five seconds later at most.
async fn rest_kib(server: &Server, tls: Option<&TlsClient>) -> u64 {
    let began = Instant::now();
    loop {
        if get(server, tls, "/metrics").await.lines().any(|line| line == "spandrel_connections 0") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the connections are not forgotten");
    }
    let mut least = server.rss_kib();
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(1) && began.elapsed() < Duration::from_secs(5) {
        sleep(Duration::from_millis(50)).await;
        let now = server.rss_kib();
        if now < least {
            (least, since) = (now, Instant::now());
        }
    }
    server.rss_kib()
}
