//! Clients that begin much and end little.

use spandrel_socketio::{Limits as PacketLimits, encode_event};
use spandrel_socketio_net::{ServerConfig, Socket};
use tokio::io::AsyncWriteExt as _;

use crate::support::{Http, Polling, Server, Ws, masked};

const KIB: usize = 1 << 10;

/// Messages of 1 MiB, of which 1 MiB may be held of all clients.
fn config() -> ServerConfig {
    let mut config =
        ServerConfig::default().with_packet_limits(PacketLimits::default().with_message_bytes_max(KIB << 10));
    config.limits.held_bytes_max = KIB << 10;
    config
}

fn message(len: usize) -> String {
    format!("42[\"up\",\"{}\"]", "x".repeat(len - 10))
}

/// Waits until the server has read what was written before on other connections.
async fn read(server: &Server, socket: &Socket, ws: &mut Ws) {
    server.http().await.get("/").await;
    ws.say("2").await;
    assert_eq!(ws.text().await, "3");
    assert!(socket.send(&encode_event("down", &[], None)).is_ok());
    assert_eq!(ws.text().await, "42[\"down\"]");
}

#[tokio::test]
async fn half_messages_over_the_bound_close_the_one_that_holds_most() {
    for is_in_parts in [false, true] {
        let mut server = Server::start(config()).await;
        let (mut quiet, socket) = server.ws().await;
        // A second round finds that nothing of the first is counted any more.
        for round in 1..=2 {
            let mut clients = Vec::new();
            for kib in [300, 400, 300, 300] {
                let (mut ws, _socket) = server.ws().await;
                let mut bytes = masked(1, message((kib + 1) * KIB).as_bytes());
                let mut half = bytes.split_off(kib * KIB);
                std::mem::swap(&mut bytes, &mut half);
                if is_in_parts {
                    // The part that is there is a whole frame of the message.
                    half = masked(1, message((kib + 1) * KIB).as_bytes().get(..kib * KIB).unwrap());
                    half[0] = 1;
                    bytes = masked(0, message((kib + 1) * KIB).as_bytes().get(kib * KIB..).unwrap());
                }
                ws.0.get_mut().write_all(&half).await.unwrap();
                read(&server, &socket, &mut quiet).await;
                clients.push((ws, bytes));
            }
            assert_eq!(server.closed().await, "too much is half received");
            assert_eq!(server.server.crowded(), round);
            let (mut ended, _) = clients.remove(1);
            assert_eq!(ended.next().await, None, "it reads the end");
            for (mut ws, rest) in clients {
                ws.0.get_mut().write_all(&rest).await.unwrap();
                assert_eq!(server.received().await.1.len(), 301 * KIB - 8);
                drop(ws);
                assert_eq!(server.closed().await, "the WebSocket was closed");
            }
        }
    }
}

#[tokio::test]
async fn packets_without_their_attachments_count_too() {
    let mut server = Server::start(config()).await;
    let (mut quiet, socket) = server.ws().await;
    let mut clients = Vec::new();
    for kib in [300, 400, 300, 300] {
        let (mut ws, _socket) = server.ws().await;
        ws.say(r#"452-["up",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#).await;
        ws.frame(2, &vec![4; kib * KIB]).await;
        read(&server, &socket, &mut quiet).await;
        clients.push(ws);
    }
    assert_eq!(server.closed().await, "too much is half received");
    for (at, ws) in clients.iter_mut().enumerate() {
        if at != 1 {
            ws.frame(2, &[4]).await;
            assert_eq!(server.received().await.0, "up");
        }
    }
    assert_eq!(server.server.crowded(), 1);
}

#[tokio::test]
async fn a_client_alone_may_send_the_largest_message() {
    let mut config = config();
    config.limits.held_bytes_max = 0;
    let mut server = Server::start(config).await;
    let (mut ws, socket) = server.ws().await;
    ws.say(&message(KIB << 10)).await;
    assert_eq!(server.received().await.1.len(), (KIB << 10) - 8);
    socket.close();
    server.closed().await;
    let (mut polling, _socket) = server.poll().await;
    let packet = message(KIB << 10);
    let reply = polling.post(&format!("{}:{packet}", packet.len())).await;
    assert_eq!((reply.status, server.received().await.1.len()), (200, (KIB << 10) - 8));
    assert_eq!(server.server.crowded(), 0);
}

/// A POST of which only a part has come.
async fn half_post(polling: &Polling, kib: usize) -> (Http, Vec<u8>) {
    let packet = message((kib + 1) * KIB);
    let mut body = format!("{}:{packet}", packet.len()).into_bytes();
    let rest = body.split_off(kib * KIB);
    let mut http = Http::connect(polling.address).await;
    let len = (body.len() + rest.len()).to_string();
    let headers = [("content-length", len.as_str()), ("content-type", "text/plain;charset=UTF-8")];
    http.send("POST", &polling.query, &headers, &body).await;
    (http, rest)
}

#[tokio::test]
async fn half_bodies_over_the_bound_close_the_session_that_holds_most() {
    let mut server = Server::start(config()).await;
    let (mut quiet, socket) = server.ws().await;
    let mut clients = Vec::new();
    for kib in [300, 400, 300, 300] {
        let (polling, _socket) = server.poll().await;
        let (http, rest) = half_post(&polling, kib).await;
        read(&server, &socket, &mut quiet).await;
        clients.push((polling, http, rest));
    }
    assert_eq!(server.closed().await, "too much is half received");
    let (mut polling, mut http, _) = clients.remove(1);
    let reply = http.reply().await;
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (503, r#"{"code":6,"message":"Too much is being sent"}"#)
    );
    assert_eq!(polling.get().await.text(), "1:1");
    for (_polling, mut http, rest) in clients {
        http.0.get_mut().write_all(&rest).await.unwrap();
        assert_eq!(http.reply().await.text(), "ok");
        assert_eq!(server.received().await.1.len(), 301 * KIB - 8);
    }
}

#[tokio::test]
async fn the_body_of_a_session_that_is_over_is_not_read_on() {
    let mut server = Server::start(config()).await;
    let (polling, socket) = server.poll().await;
    let (mut http, _) = half_post(&polling, 300).await;
    let (mut quiet, other) = server.ws().await;
    read(&server, &other, &mut quiet).await;
    socket.close();
    let reply = http.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
}

#[tokio::test]
async fn one_parameter_over_the_bound_is_refused_and_only_the_asked_are_kept() {
    let mut server = Server::start(ServerConfig::default().with_query_names(["roomId"])).await;
    let mut http = server.http().await;
    for (more, status) in [(61, 200), (62, 400)] {
        let query = (0..more).map(|n| format!("&n{n}=1")).collect::<String>();
        let reply = http.get(&format!("EIO=3&transport=polling&roomId=q{query}")).await;
        assert_eq!(reply.status, status, "{more} and three: {}", reply.text());
    }
    let socket = server.opened().await;
    assert_eq!((socket.query("roomId"), socket.query("n1")), (Some("q"), None));
}
