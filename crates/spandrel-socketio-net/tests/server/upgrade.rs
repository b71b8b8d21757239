//! From polling to a WebSocket.

use spandrel_socketio_net::ServerConfig;

use crate::support::{Polling, Server, Ws, down};

async fn try_socket(polling: &Polling) -> Ws {
    Ws::connect(polling.address, &polling.query.replace("polling", "websocket")).await.unwrap()
}

#[tokio::test]
async fn messages_keep_their_order() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut polling, socket) = server.poll().await;
    let mut next = 0;
    let mut send = || {
        socket.send(&down(next)).unwrap();
        next += 1;
    };
    let mut held = polling.hold().await;
    let mut ws = try_socket(&polling).await;
    ws.say("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    // Released within 100 ms, and so are further ones.
    for _ in 0..3 {
        let began = tokio::time::Instant::now();
        assert_eq!(held.reply().await.text(), "1:6");
        assert!(began.elapsed().as_millis() < 100);
        held.send("GET", &polling.query, &[], b"").await;
    }
    polling.post(r#"10:42["up",0]"#).await;
    send();
    assert_eq!(held.reply().await.text(), r#"12:42["down",0]"#);
    send();
    send();
    ws.say("5").await;
    ws.say(r#"42["up",1]"#).await;
    assert_eq!(ws.text().await, r#"42["down",1]"#);
    send();
    assert_eq!(ws.text().await, r#"42["down",2]"#);
    assert_eq!(ws.text().await, r#"42["down",3]"#);
    assert_eq!(server.received().await.1, "0");
    assert_eq!(server.received().await.1, "1");

    // Polling is over, and a second WebSocket is refused; the session does not mind.
    assert_eq!(polling.get().await.text(), r#"{"code":3,"message":"Bad request"}"#);
    assert_eq!(polling.post("1:2").await.text(), r#"{"code":3,"message":"Bad request"}"#);
    let second = Ws::connect(server.address, &polling.query.replace("polling", "websocket")).await;
    assert_eq!(second.err().map(|reply| (reply.status, reply.text())), Some((400, "Bad request".into())));
    ws.say("2").await;
    assert_eq!(ws.text().await, "3");
    drop(ws);
    assert_eq!(server.closed().await, "the WebSocket was closed");
}

#[tokio::test]
async fn an_unfinished_upgrade_is_closed_and_polling_lives_on() {
    let mut config = ServerConfig::default();
    config.session.upgrade_ms = 100;
    let mut server = Server::start(config).await;
    let (mut polling, socket) = server.poll().await;
    for how in ["silent", "probed", "garbage", "gone"] {
        let mut ws = try_socket(&polling).await;
        if how != "silent" {
            ws.say("2probe").await;
            assert_eq!(ws.text().await, "3probe");
        }
        match how {
            "garbage" => ws.say("42[\"up\"]").await,
            "gone" => drop(ws),
            _ => ws.ends().await,
        }
        socket.send(&down(1)).unwrap();
        assert_eq!(polling.get().await.text(), r#"12:42["down",1]"#, "{how}");
        // It may try again, as soon as the server knows of the end.
        while let Err(reply) =
            Ws::connect(server.address, &polling.query.replace("polling", "websocket")).await
        {
            assert_eq!(reply.status, 400);
        }
        socket.send(&down(2)).unwrap();
        assert_eq!(polling.get().await.text(), r#"12:42["down",2]"#, "{how}");
        while Ws::connect(server.address, &polling.query.replace("polling", "websocket")).await.is_err() {}
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    }
    assert!(!server.has_event());
}

#[tokio::test]
async fn a_client_that_leaves_during_an_upgrade_has_left() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut polling, _socket) = server.poll().await;
    let mut ws = try_socket(&polling).await;
    ws.say("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    assert_eq!(polling.post("2:411:1").await.text(), "ok");
    assert_eq!(server.closed().await, "the client left");
    ws.ends().await;
    assert!(!server.has_event());
}
