//! Sessions on a WebSocket.

use std::time::Duration;

use spandrel_socketio::{Limits, Value, encode_ack, encode_event};
use spandrel_socketio_net::{SendError, ServerConfig, ServerEvent};
use tokio::io::AsyncWriteExt as _;

use crate::support::{Server, Ws, down, masked};

#[tokio::test]
async fn a_conversation() {
    let mut server = Server::start(ServerConfig::default()).await;
    let mut ws = Ws::connect(server.address, "EIO=3&transport=websocket&client=true").await.unwrap();
    let open = ws.text().await;
    assert!(open.ends_with(r#","upgrades":[],"pingInterval":1000,"pingTimeout":5000}"#), "{open}");
    assert_eq!(ws.text().await, "40");
    let socket = server.opened().await;

    ws.say("2").await;
    assert_eq!(ws.text().await, "3");
    ws.say(r#"427["message",{"key":"kk"}]"#).await;
    let ServerEvent::Received { id, event } = server.event().await else { panic!() };
    assert_eq!((id, event.ack_id()), (socket.id(), Some(7)));
    let key = event.arg(0).unwrap().member("key").unwrap();
    socket.send(&encode_ack(7, &[&key])).unwrap();
    assert_eq!(ws.text().await, r#"437["kk"]"#);

    ws.say("40/foo").await;
    assert_eq!(ws.text().await, r#"44/foo,"Invalid namespace""#);
    ws.say(r#"451-["message",{"data":{"_placeholder":true,"num":0}}]"#).await;
    ws.frame(2, &[4, 9, 8, 7]).await;
    let ServerEvent::Received { event, .. } = server.event().await else { panic!() };
    let value = event.arg(0).unwrap();
    assert_eq!(value.to_json_with_buffers(), r#"{"data":{"type":"Buffer","data":[9,8,7]}}"#);
    socket.send(&encode_event("message", &[&value], None)).unwrap();
    assert_eq!(ws.text().await, r#"451-["message",{"data":{"_placeholder":true,"num":0}}]"#);
    assert_eq!(ws.next().await, Some((2, vec![4, 9, 8, 7])));
}

#[tokio::test]
async fn the_client_leaves() {
    let mut server = Server::start(ServerConfig::default()).await;
    for said in ["41", "1"] {
        let (mut ws, _socket) = server.ws().await;
        ws.say(said).await;
        assert_eq!(server.closed().await, "the client left", "{said}");
        if said == "1" {
            ws.ends().await;
        }
    }
    let (mut ws, _socket) = server.ws().await;
    ws.frame(8, &1000_u16.to_be_bytes()).await;
    assert_eq!(server.closed().await, "the WebSocket was closed");
    assert_eq!(ws.next().await, Some((8, 1000_u16.to_be_bytes().to_vec())), "the goodbye is answered");
    assert_eq!(ws.next().await, None);
}

#[tokio::test]
async fn a_connection_that_dies_closes_the_session_at_once() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (ws, _socket) = server.ws().await;
    drop(ws);
    assert_eq!(server.closed().await, "the WebSocket was closed");
    while server.server.sessions() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn silence_closes_the_session_and_pings_keep_it() {
    let mut server = Server::start(ServerConfig::default().with_pings(50, 250)).await;
    let (mut silent, _) = server.ws().await;
    let (mut lively, socket) = server.ws().await;
    let began = tokio::time::Instant::now();
    let pinging = async {
        loop {
            lively.say("2").await;
            assert_eq!(lively.text().await, "3");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let why = tokio::select! {
        () = pinging => unreachable!(),
        why = server.closed() => why,
    };
    assert!(why.starts_with("nothing heard for 3"), "{why}");
    assert!(began.elapsed() >= Duration::from_millis(290));
    assert!(matches!(silent.next().await, Some((8, _))), "told with a goodbye");
    socket.send(&down(1)).unwrap();
    assert!(!server.has_event());
}

#[tokio::test]
async fn garbage_closes_the_session_and_no_other() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut good, _) = server.ws().await;
    for (opcode, payload, why) in [
        (1, &b"9"[..], "broken packet: "),
        (1, b"", "broken packet: "),
        (1, b"4garb", "broken message: "),
        (2, &[4, 1], "broken message: "),
        (1, b"\xff", "the WebSocket was closed"),
        (3, b"", "the WebSocket was closed"),
    ] {
        let (mut ws, _socket) = server.ws().await;
        ws.frame(opcode, payload).await;
        let got = server.closed().await;
        assert!(got.starts_with(why), "{payload:?}: {got}");
        ws.ends().await;
    }
    good.say(r#"42["up"]"#).await;
    assert_eq!(server.received().await.0, "up");
}

#[tokio::test]
async fn one_byte_over_the_limit_closes_the_session() {
    let limits = Limits::default().with_message_bytes_max(1_000);
    let mut server = Server::start(ServerConfig::default().with_packet_limits(limits)).await;
    let (mut ws, _socket) = server.ws().await;
    let message = |len: usize| format!("42[\"{}\"]", "x".repeat(len - 6));
    ws.say(&message(1_001)).await; // the type is not part of the message
    server.received().await;
    ws.say(&message(1_002)).await;
    assert_eq!(server.closed().await, "a message is too long or took too long");
    assert_eq!(ws.next().await.map(|(opcode, data)| (opcode, data[..2].to_vec())), Some((8, vec![3, 241])));
}

#[tokio::test]
async fn a_reader_that_stops_is_closed_and_others_go_on() {
    let limits = Limits::default().with_queued_max(1 << 20, 100_000);
    let mut server = Server::start(ServerConfig::default().with_packet_limits(limits)).await;
    let (mut slow, slow_socket) = server.ws().await;
    let (mut good, good_socket) = server.ws().await;
    let big = encode_event("down", &[&Value::from_text(&"x".repeat(100_000))], None);
    let mut sent = 0;
    let refused = loop {
        good_socket.send(&big).unwrap();
        assert!(good.text().await.len() > 100_000);
        if let Err(error) = slow_socket.send(&big) {
            break error;
        }
        sent += 1;
        assert!(sent < 10_000, "the slow one is closed some time");
        assert!(slow_socket.queued_bytes() <= 1 << 20);
    };
    assert_eq!(refused, SendError::TooSlow);
    assert_eq!(server.closed().await, "more than 1048576 waits for the client");
    assert_eq!(slow_socket.send(&big), Err(SendError::Closed));
    // It gets what was on its way, in order, and then the end.
    let mut got = 0;
    while let Some((1, data)) = slow.next().await {
        assert_eq!(data.len(), big.text().len());
        got += 1;
    }
    assert!(got <= sent);
    good_socket.send(&down(1)).unwrap();
    assert_eq!(good.text().await, r#"42["down",1]"#);
}

#[tokio::test]
async fn five_megabytes_pass_both_ways() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut ws, socket) = server.ws().await;
    let text = format!("42[\"up\",\"{}\"]", "가".repeat(1_700_000));
    ws.say(&text).await;
    let ServerEvent::Received { event, .. } = server.event().await else { panic!() };
    socket.send(&encode_event("up", &[&event.arg(0).unwrap()], None)).unwrap();
    assert_eq!(ws.text().await, text);
    // What was written last is told with the next step of the session.
    while socket.queued_bytes() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_messages_at_once_keep_their_order() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut ws, socket) = server.ws().await;
    let mut bytes = Vec::new();
    for n in 0..3_000 {
        bytes.extend(masked(1, format!("42[\"up\",{n}]").as_bytes()));
    }
    let mut seen = Vec::new();
    let client = async {
        ws.0.get_mut().write_all(&bytes).await.unwrap();
        for n in 0..3_000 {
            assert_eq!(ws.text().await, format!("42[\"down\",{n}]"));
        }
    };
    let app = async {
        for n in 0..3_000 {
            seen.push(server.received().await.1);
            socket.send(&down(n)).unwrap();
        }
    };
    tokio::join!(client, app);
    assert_eq!(seen, (0..3_000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_server_closes() {
    let mut server = Server::start(ServerConfig::default()).await;
    for says_41 in [false, true] {
        let (mut ws, socket) = server.ws().await;
        socket.send(&down(1)).unwrap();
        if says_41 {
            socket.disconnect()
        } else {
            socket.close()
        }
        assert_eq!(server.closed().await, "closed by the server");
        assert_eq!(ws.text().await, r#"42["down",1]"#);
        if says_41 {
            assert_eq!(ws.text().await, "41");
        }
        assert_eq!(ws.next().await, Some((8, 1000_u16.to_be_bytes().to_vec())));
    }
}
