//! A byte stream as a link, on virtual time.

use std::time::Duration;

use spandrel_transport::{Connection, Driver, Frame, Limits, LinkError, Peer, WireError};
use spandrel_wire::LinesCodec;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};

#[tokio::test]
async fn what_is_half_received_is_told_until_it_is_whole() {
    let limits = Limits::default();
    let (mut peer, io) = tokio::io::duplex(64 << 10);
    let driver = Driver::new(io, LinesCodec::new(&limits), Peer::new("test"), &limits);
    let mut conn = Connection::with_limits(Box::new(driver), &limits);
    assert_eq!(conn.stats().held_bytes, 0);
    peer.write_all(&[b'x'; 40_000]).await.unwrap();
    assert!(timeout(Duration::from_millis(10), conn.recv()).await.is_err(), "nothing whole yet");
    assert_eq!(conn.stats().held_bytes, 40_000);
    peer.write_all(b"\n").await.unwrap();
    assert_eq!(conn.recv().await.unwrap().unwrap().len(), 40_000);
    assert_eq!(conn.stats().held_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_half_frame_has_its_time_while_it_is_read_and_no_longer() {
    let mut limits = Limits::default().with_close_ms(50);
    limits.half_frame_ms = 3_000;
    let (mut peer, io) = tokio::io::duplex(16);
    let driver = Driver::new(io, LinesCodec::new(&limits), Peer::new("test"), &limits);
    let mut conn = Connection::with_limits(Box::new(driver), &limits);
    peer.write_all(b"[\"half\",").await.unwrap();
    assert!(timeout(Duration::from_secs(1), conn.recv()).await.is_err(), "nothing whole yet");
    // Nobody reads, so that the peer gets no further than the pipe is long.
    let writing = tokio::spawn(async move {
        peer.write_all(b" \"and the other half of it").await.unwrap();
        sleep(Duration::from_secs(2)).await;
        peer.write_all(b"\"]\n[").await.unwrap();
        peer
    });
    sleep(Duration::from_secs(60)).await;
    let frame = conn.recv().await.unwrap();
    assert_eq!(frame, Some(Frame::text("[\"half\", \"and the other half of it\"]")));
    // While it is read, the time runs.
    let began = Instant::now();
    let stalled = conn.recv().await;
    assert!(matches!(stalled, Err(LinkError::Wire(WireError::Stalled { after_ms: 3_000 }))), "{stalled:?}");
    assert_eq!(began.elapsed().as_secs(), 3);
    drop(writing.await.unwrap());
}
