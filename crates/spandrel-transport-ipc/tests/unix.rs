//! The file of a unix socket, and lines as foreign bytes.

#![cfg(unix)]

use std::{fs, future::poll_fn, os::unix::fs::PermissionsExt as _, path::Path};

use spandrel_transport::{
    Connection, DialError, Endpoint, Frame, Limits, LinkError, Listener, Transport, WireError,
};
use spandrel_transport_ipc::UnixTransport;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

fn at(path: &Path) -> Endpoint {
    Endpoint::Unix { path: path.to_str().expect("utf-8").to_owned() }
}

async fn accept(listener: &mut Box<dyn Listener>) -> Connection {
    let incoming = poll_fn(|cx| listener.poll_accept(cx)).await.expect("accepts");
    Connection::new(incoming.accept().await.expect("no handshake to fail"))
}

#[tokio::test]
async fn the_file_is_for_its_user_alone_and_goes_with_the_listener() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a b.sock");
    let listener = UnixTransport::new().listen(&at(&path)).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    drop(listener);
    assert!(!path.exists(), "the file is still there");
    let gone = UnixTransport::new().dial(&at(&path)).await.err();
    assert!(matches!(gone, Some(DialError::Io(_))), "{gone:?}");
}

#[tokio::test]
async fn a_file_left_behind_is_replaced_and_one_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    // A std listener leaves its file behind, as a killed process does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut first = UnixTransport::new().listen(&at(&path)).await.unwrap();
    let second = UnixTransport::new().listen(&at(&path)).await.err().expect("in use").to_string();
    assert!(second.contains("another process listens"), "{second}");
    // The second one looked whether anybody is there.
    assert_eq!(accept(&mut first).await.recv().await.unwrap(), None);
    let (client, to) = (UnixTransport::new(), at(&path));
    let (dialled, mut accepted) = tokio::join!(client.dial(&to), accept(&mut first));
    Connection::new(dialled.unwrap()).send(Frame::text("{}")).await.unwrap();
    assert_eq!(accepted.recv().await.unwrap(), Some(Frame::text("{}")), "the first still serves");
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    fs::write(&path, "dear diary").unwrap();
    let refused = UnixTransport::new().listen(&at(&path)).await.err().expect("refused").to_string();
    assert!(refused.contains("no socket"), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary");
}

#[tokio::test]
async fn a_file_that_is_another_ones_by_now_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixTransport::new().listen(&at(&path)).await.unwrap();
    fs::rename(&path, dir.path().join("old")).unwrap();
    fs::write(&path, "new").unwrap();
    drop(listener);
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
}

/// Of many that find a file left behind at once, one listens and the others are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_one_replaces_a_file_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let starters: Vec<_> = (0..8)
        .map(|_| {
            let at = at(&path);
            tokio::spawn(async move { UnixTransport::new().listen(&at).await.ok() })
        })
        .collect();
    let mut listening = Vec::new();
    for starter in starters {
        listening.extend(starter.await.unwrap());
    }
    assert_eq!(listening.len(), 1);
    assert!(UnixTransport::new().dial(&at(&path)).await.is_ok(), "the one that listens cannot be reached");
}

/// Whoever may read the folder may lock it for ever.
#[tokio::test]
async fn a_folder_another_one_keeps_locked_is_used_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let held = fs::File::open(dir.path()).unwrap();
    held.lock().unwrap();
    let _listener = UnixTransport::new().listen(&at(&path)).await.expect("binds");
    assert!(UnixTransport::new().dial(&at(&path)).await.is_ok());
}

#[tokio::test]
async fn lines_that_are_no_messages_arrive_and_the_link_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut listener = UnixTransport::new().listen(&at(&path)).await.unwrap();
    let mut peer = UnixStream::connect(&path).await.unwrap();
    let mut conn = accept(&mut listener).await;
    for byte in b"no json\n[1]\r\n\n{\xff}\n{}\n" {
        peer.write_all(&[*byte]).await.unwrap();
    }
    for want in [Frame::text("no json"), Frame::text("[1]"), Frame::binary(&b"{\xff}"[..]), Frame::text("{}")]
    {
        assert_eq!(conn.recv().await.unwrap(), Some(want));
    }
    conn.send(Frame::text("{\"a\":1}")).await.unwrap();
    let mut answer = [0; 8];
    peer.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"{\"a\":1}\n");
}

#[tokio::test]
async fn half_a_line_and_a_long_one_end_the_link() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut limits = Limits::default().with_frame_bytes_max(1000).with_close_ms(50);
    limits.half_frame_ms = 50;
    let mut listener = UnixTransport::new().with_limits(limits).listen(&at(&path)).await.unwrap();
    let mut slow = UnixStream::connect(&path).await.unwrap();
    let mut conn = accept(&mut listener).await;
    slow.write_all(b"{}\n{\"half\":").await.unwrap();
    assert_eq!(conn.recv().await.unwrap(), Some(Frame::text("{}")));
    let stalled = conn.recv().await;
    assert!(matches!(stalled, Err(LinkError::Wire(WireError::Stalled { after_ms: 50 }))), "{stalled:?}");

    let mut long = UnixStream::connect(&path).await.unwrap();
    let mut conn = accept(&mut listener).await;
    long.write_all(&[b'1'; 1002]).await.unwrap();
    let refused = conn.recv().await;
    assert!(matches!(refused, Err(LinkError::Wire(WireError::TooLong { max: 1000, .. }))), "{refused:?}");
    assert_eq!(long.read(&mut [0]).await.unwrap(), 0, "the peer sees the end");
}
