//! Sessions by GET and POST.

use spandrel_socketio::{Limits, Value, encode_event};
use spandrel_socketio_net::ServerConfig;
use tokio::io::AsyncWriteExt as _;

use crate::support::{Server, down};

#[tokio::test]
async fn a_session_opens_with_one_answer() {
    let mut server = Server::start(ServerConfig::default()).await;
    let reply = server.http().await.get("EIO=3&transport=polling&roomId=%EB%B0%A9+1&t=x").await;
    let text = reply.text();
    assert!(text.starts_with("95:0{\"sid\":\"") && text.ends_with("2:40"), "{text}");
    assert!(text.contains(r#","upgrades":["websocket"],"pingInterval":1000,"pingTimeout":5000}"#), "{text}");
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(server.opened().await.query("roomId"), Some("방 1"));
}

#[tokio::test]
async fn messages_go_both_ways() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut polling, socket) = server.poll().await;
    let mut held = polling.hold().await;
    let value = Value::parse(r#"{"data":{"v":"한글😀"}}"#).unwrap();
    socket.send(&encode_event("message", &[&value], None)).unwrap();
    // The length counts UTF-16 units.
    assert_eq!(held.reply().await.text(), r#"35:42["message",{"data":{"v":"한글😀"}}]"#);

    let reply = polling.post(r#"29:42["message",{"data":"한글😀"}]24:42["message",{"data":2}]"#).await;
    assert_eq!((reply.status, &*reply.text()), (200, "ok"));
    assert_eq!(reply.header("content-type"), Some("text/html"));
    assert_eq!(server.received().await, ("message".into(), r#"{"data":"한글😀"}"#.into()));
    assert_eq!(server.received().await, ("message".into(), r#"{"data":2}"#.into()));
    polling.post("6:2probe").await;
    assert_eq!(polling.get().await.text(), "6:3probe");
}

#[tokio::test]
async fn what_waits_goes_in_one_answer() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut polling, socket) = server.poll().await;
    let mut held = polling.hold().await;
    polling.post("1:2").await;
    assert_eq!(held.reply().await.text(), "1:3");
    for n in 0..3 {
        socket.send(&down(n)).unwrap();
    }
    assert_eq!(polling.get().await.text(), r#"12:42["down",0]12:42["down",1]12:42["down",2]"#);
}

#[tokio::test]
async fn binary_has_two_forms() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut polling, socket) = server.poll().await;
    // 1: text packet of 46 bytes; then a binary one.
    let text = r#"451-["bin",{"_placeholder":true,"num":0}]"#;
    let mut body = vec![0, 4, 1, 0xff];
    body.extend_from_slice(text.as_bytes());
    body.extend_from_slice(&[1, 4, 0xff, 4, 1, 2, 0xff]);
    let query = polling.query.clone();
    let kind = ("content-type", "application/octet-stream");
    assert_eq!(polling.http.request("POST", &query, &[kind], &body).await.text(), "ok");
    let spandrel_socketio_net::ServerEvent::Received { event, .. } = server.event().await else { panic!() };
    let value = event.arg(0).unwrap();
    assert_eq!(value.to_json_with_buffers(), r#"{"type":"Buffer","data":[1,2,255]}"#);

    socket.send(&encode_event("bin", &[&value], None)).unwrap();
    let reply = polling.get().await;
    assert_eq!((reply.header("content-type"), &reply.body), (Some("application/octet-stream"), &body));

    socket.send(&encode_event("bin", &[&value], None)).unwrap();
    polling.query.push_str("&b64=1");
    let reply = polling.get().await;
    assert_eq!(reply.text(), format!("{}:{text}6:b4AQL/", text.len()));
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=UTF-8"));

    let body = format!("{}:{text}6:b4AQL/", text.len());
    assert_eq!(polling.post(&body).await.text(), "ok");
    assert_eq!(server.received().await.0, "bin");
}

#[tokio::test]
async fn a_held_get_whose_connection_dies_loses_nothing() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut polling, socket) = server.poll().await;
    let held = polling.hold().await;
    drop(held);
    server.http().await.get("/").await; // the end of that connection lies in front of this
    server.http().await.get("/").await;
    socket.send(&down(0)).unwrap();
    socket.send(&down(1)).unwrap();
    assert_eq!(polling.get().await.text(), r#"12:42["down",0]12:42["down",1]"#);
}

#[tokio::test]
async fn two_gets_at_once_close_the_session() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut polling, _socket) = server.poll().await;
    let mut first = polling.hold().await;
    let second = polling.get().await;
    assert_eq!((second.status, &*second.text()), (400, r#"{"code":3,"message":"Bad request"}"#));
    assert_eq!(first.reply().await.text(), "1:1");
    assert_eq!(server.closed().await, "two requests of a kind at once");
    assert_eq!(polling.get().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
}

#[tokio::test]
async fn two_posts_at_once_close_the_session() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut polling, _socket) = server.poll().await;
    let mut first = server.http().await;
    first.get("/").await;
    first.send("POST", &polling.query, &[("content-length", "3")], b"1:").await;
    server.http().await.get("/").await;
    let reply = polling.post("1:2").await;
    assert_eq!((reply.status, &*reply.text()), (400, r#"{"code":3,"message":"Bad request"}"#));
    assert_eq!(server.closed().await, "two requests of a kind at once");
    first.0.get_mut().write_all(b"2").await.unwrap();
    assert_eq!(first.reply().await.status, 400);
}

#[tokio::test]
async fn the_client_leaves() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut polling, socket) = server.poll().await;
    let mut held = polling.hold().await;
    assert_eq!(polling.post("2:41").await.text(), "ok");
    assert_eq!(server.closed().await, "the client left");
    assert_eq!(polling.post("1:1").await.text(), "ok");
    assert_eq!(held.reply().await.text(), "1:6");
    assert!(socket.send(&down(1)).is_err());
    assert!(!server.has_event(), "closed once");
}

#[tokio::test]
async fn what_cannot_be_read_closes_the_session() {
    let mut server = Server::start(ServerConfig::default()).await;
    for (body, why) in [
        ("zzz", "broken packet: "),
        ("9:42[\"up\"]", "broken packet: "),
        ("", "broken packet: "),
        ("5:4garb", "broken message: "),
    ] {
        let (mut polling, _socket) = server.poll().await;
        assert_eq!(polling.post(body).await.text(), r#"{"code":3,"message":"Bad request"}"#, "{body}");
        let got = server.closed().await;
        assert!(got.starts_with(why), "{body}: {got}");
        // The client's next question is answered with the end.
        assert_eq!(polling.get().await.text(), "1:1", "{body}");
    }
}

#[tokio::test]
async fn a_body_is_bounded_in_bytes() {
    let limits = Limits::default().with_message_bytes_max(2_000);
    let body_max = limits.payload_bytes_max;
    let mut server = Server::start(ServerConfig::default().with_packet_limits(limits)).await;
    // A message of the longest length, without its type, and one byte over it.
    let message = |len: usize| {
        let text = format!("42[\"{}\"]", "x".repeat(len - 5));
        format!("{}:{text}", text.len())
    };
    let (mut polling, _socket) = server.poll().await;
    assert_eq!(polling.post(&message(2_000)).await.text(), "ok");
    server.received().await;
    assert_eq!(polling.post(&message(2_001)).await.status, 400);
    assert!(server.closed().await.starts_with("broken"));

    // A body one byte over the limit, announced and not announced.
    let body = "x".repeat(body_max + 1);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (header, bytes) in
        [(("content-length", &*body.len().to_string()), &body), (("transfer-encoding", "chunked"), &chunked)]
    {
        let (polling, _socket) = server.poll().await;
        let mut http = server.http().await;
        http.send("POST", &polling.query, &[header, ("content-type", "text/plain")], bytes.as_bytes()).await;
        assert_eq!(http.reply().await.status, 413, "{header:?}");
        assert_eq!(server.closed().await, "a message is too long or took too long", "{header:?}");
    }
}

#[tokio::test]
async fn a_body_is_bounded_in_time() {
    let mut config = ServerConfig::default();
    config.limits.body_ms_max = 50;
    let mut server = Server::start(config).await;
    let (polling, _socket) = server.poll().await;
    let mut slow = server.http().await;
    slow.send("POST", &polling.query, &[("content-length", "10")], b"8:42").await;
    assert_eq!(slow.reply().await.status, 408);
    assert_eq!(server.closed().await, "a message is too long or took too long");
}

#[tokio::test]
async fn five_megabytes_pass_both_ways() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut polling, socket) = server.poll().await;
    let big = "가".repeat(1_700_000);
    let text = format!("42[\"up\",\"{big}\"]");
    let body = format!("{}:{text}", text.encode_utf16().count());
    assert_eq!(polling.post(&body).await.text(), "ok");
    assert_eq!(server.received().await, ("up".into(), format!("\"{big}\"")));
    socket.send(&encode_event("up", &[&Value::from_text(&big)], None)).unwrap();
    assert_eq!(polling.get().await.text(), body);
    assert_eq!(socket.queued_bytes(), 0);
}

#[tokio::test]
async fn an_answer_that_is_not_read_counts_as_waiting() {
    let limits = Limits::default().with_queued_max(1 << 20, 1_000);
    let mut server = Server::start(ServerConfig::default().with_packet_limits(limits)).await;
    let (polling, socket) = server.poll().await;
    let big = encode_event("down", &[&Value::from_text(&"x".repeat(16 << 20))], None);
    let mut held = polling.hold().await;
    // One larger than the bound is taken when nothing else waits.
    socket.send(&big).unwrap();
    // The answer is under way and not read: what the sockets of both sides hold is less.
    let mut head = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut held.0, &mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    assert!(socket.queued_bytes() > 1 << 20);
    assert!(socket.send(&down(1)).is_err());
    assert_eq!(server.closed().await, "more than 1048576 waits for the client");
}

#[tokio::test]
async fn a_connection_that_takes_nothing_of_its_answer_is_dropped() {
    let mut config = ServerConfig::default();
    config.limits.stalled_ms_max = 100;
    let mut server = Server::start(config).await;
    let (polling, socket) = server.poll().await;
    let mut held = polling.hold().await;
    socket.send(&encode_event("down", &[&Value::from_text(&"x".repeat(30 << 20))], None)).unwrap();
    // Waits for the server to give up, then reads what the sockets held.
    while socket.queued_bytes() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut held.0, &mut rest).await;
    assert!(rest.len() < 30 << 20);
}
