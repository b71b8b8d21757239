//! Those who do not keep up: a parent that reads late, a page that never reads.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::page::Page;
use super::parent::Parent;
use super::{PATIENCE, turn};

/// 8 MiB may wait; the rest is what buffers, the allocator and the work in hand take.
const GROWTH_MAX_KIB: u64 = 40 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_reads_late_gets_the_newest_data_and_every_event() {
    let _turn = turn().await;
    let mut parent = Parent::open(&[]).await;
    let mut page = Page::open(parent.address(), "busy").await;
    page.settle().await;
    let before = parent.rss_kib();
    // Forty megabytes while nobody reads.
    let filler = "x".repeat(4_000);
    let count = 10_000;
    for n in 0..count {
        page.say(&format!(r#"{{"n":{n},"filler":"{filler}"}}"#)).await;
        if n % 2_000 == 0 {
            drop(Page::open(parent.address(), &format!("passing{n}")).await);
        }
    }
    page.settle().await;
    let grown = parent.rss_kib().saturating_sub(before);
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB more");

    let (mut numbers, mut comings, mut goings) = (Vec::new(), 0, Vec::new());
    loop {
        let (key, value) = parent.hear().await;
        match key.as_str() {
            "connection" => comings += 1,
            "close" => goings.push(value),
            "data" if value["key"] == json!("settled") && !numbers.is_empty() => break,
            "data" => numbers.extend(value["n"].as_u64()),
            _ => {}
        }
    }
    assert!(numbers.windows(2).all(|pair| matches!(pair, [a, b] if a < b)), "in order");
    assert_eq!(numbers.last(), Some(&(count - 1)), "the newest");
    assert!((500..5_000).contains(&numbers.len()), "{} of {count} arrived", numbers.len());
    assert_eq!(comings, 6, "every connection is told");
    goings.sort_by_key(ToString::to_string);
    let wanted: Vec<_> = [0, 2_000, 4_000, 6_000, 8_000].map(|n| json!(format!("passing{n}"))).into();
    assert_eq!(goings, wanted, "every close is told");
    parent.logged(|line| line.contains("drop").then_some(())).await;
}

/// A page that has its greeting and reads no more, with as little room in between as the system gives.
async fn deaf(parent: &Parent) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("a small one");
    let mut stream = socket.connect(parent.address()).await.expect("a connection");
    let head = format!(
        "GET /socket.io/?EIO=3&transport=websocket&roomId=deaf HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        parent.address()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"40") {
        let byte = timeout(PATIENCE, stream.read_u8()).await.expect("an answer").expect("a byte");
        greeting.push(byte);
    }
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_never_reads_is_closed_and_costs_the_others_nothing() {
    let _turn = turn().await;
    let mut parent = Parent::open(&[]).await;
    let mut deaf = deaf(&parent).await;
    let mut good = Page::open(parent.address(), "good").await;
    good.settle().await;
    let before = parent.rss_kib();
    let filler = "x".repeat(64_000);
    let count = 800;
    for n in 0..count {
        parent.say("send", json!({ "n": n, "filler": filler })).await;
        // It pings in time: what is wrong with it is that it does not read.
        if n % 50 == 0 {
            let _ = deaf.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'2']).await;
        }
        assert!(good.hear().await.starts_with(r#"{"data":{"filler":"xx"#), "message {n}");
    }
    assert_eq!(parent.next("close").await, json!("deaf"));
    let grown = parent.rss_kib().saturating_sub(before);
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB more");
    good.settle().await;
    assert!(!good.is_closed_within(Duration::from_millis(200)).await);
}
