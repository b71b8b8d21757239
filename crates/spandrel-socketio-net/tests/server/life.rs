//! Many sessions, a slow application, the end of a server.

use std::{collections::HashMap, time::Duration};

use spandrel_socketio::{Value, encode_event};
use spandrel_socketio_net::{ServerConfig, ServerEvent};
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::support::{SOON, Server, down, masked};

#[tokio::test]
async fn a_message_for_many_reaches_each() {
    let mut server = Server::start(ServerConfig::default()).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(server.ws().await);
    }
    let mut pollers = Vec::new();
    for _ in 0..20 {
        pollers.push(server.poll().await);
    }
    let packet = encode_event("all", &[&Value::from_text("한글")], None);
    for n in 0..10 {
        for (_, socket) in &clients {
            socket.send(&packet).unwrap();
            socket.send(&down(n)).unwrap();
        }
        pollers.iter().for_each(|(_, socket)| socket.send(&packet).unwrap());
    }
    for (ws, _) in &mut clients {
        for n in 0..10 {
            assert_eq!(ws.text().await, r#"42["all","한글"]"#);
            assert_eq!(ws.text().await, format!("42[\"down\",{n}]"));
        }
    }
    for (polling, _) in &mut pollers {
        assert_eq!(polling.get().await.text(), r#"14:42["all","한글"]"#.repeat(10));
    }
}

/// Sessions, requests and the application on several threads: nothing waits for a wake-up that never comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn threads_do_not_matter() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut sockets, mut on_ws, mut on_polls) = (HashMap::new(), Vec::new(), Vec::new());
    for _ in 0..10 {
        let (ws, socket) = server.ws().await;
        sockets.insert(socket.id(), socket);
        on_ws.push(ws);
        let (polling, socket) = server.poll().await;
        sockets.insert(socket.id(), socket);
        on_polls.push(polling);
    }
    let mut clients = Vec::new();
    for mut ws in on_ws {
        clients.push(tokio::spawn(async move {
            for n in 0..300 {
                ws.say(&format!("42[\"up\",{n}]")).await;
                assert_eq!(ws.text().await, format!("42[\"down\",{n}]"));
            }
        }));
    }
    for mut polling in on_polls {
        clients.push(tokio::spawn(async move {
            for n in 0..100 {
                let packet = format!("42[\"up\",{n}]");
                assert_eq!(polling.post(&format!("{}:{packet}", packet.len())).await.text(), "ok");
                assert!(polling.get().await.text().ends_with(&format!("42[\"down\",{n}]")));
            }
        }));
    }
    let (mut left, mut batch) = (10 * 300 + 10 * 100, Vec::new());
    let echo = async {
        while left > 0 {
            server.events.recv_many(&mut batch, 16).await;
            for event in batch.drain(..) {
                // Those that are done leave.
                let ServerEvent::Received { id, event } = event else { continue };
                let value = event.arg(0).unwrap();
                sockets[&id].send(&encode_event("down", &[&value], None)).unwrap();
                left -= 1;
            }
        }
    };
    timeout(SOON * 3, echo).await.expect("nothing stands still");
    for client in clients {
        client.await.unwrap();
    }
}

/// While the application takes nothing, little is read; nothing is lost, and nobody is taken for silent.
#[tokio::test]
async fn a_slow_application_slows_its_clients_down() {
    let mut config = ServerConfig::default().with_pings(50, 150);
    config.limits.events_max = 100;
    config.limits.events_bytes_max = 100_000;
    let mut server = Server::start(config).await;
    let (ws, _socket) = server.ws().await;
    let mut bytes = Vec::new();
    let padding = "x".repeat(900);
    for n in 0..20_000 {
        bytes.extend(masked(1, format!("42[\"up\",{n},\"{padding}\"]").as_bytes()));
    }
    let total = bytes.len();
    let (sink, _keep) = {
        let (read, write) = ws.0.into_inner().into_split();
        (write, read)
    };
    let writing = tokio::spawn(async move {
        let mut sink = sink;
        sink.write_all(&bytes).await.unwrap();
        sink
    });
    // Longer than the client may be silent.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!writing.is_finished(), "{total} bytes were read for nobody");
    let (mut batch, began) = (Vec::new(), tokio::time::Instant::now());
    for n in 0..20_000 {
        if batch.is_empty() {
            timeout(SOON, server.events.recv_many(&mut batch, 64)).await.unwrap();
            batch.reverse();
        }
        let Some(ServerEvent::Received { event, .. }) = batch.pop() else { panic!("lost at {n}") };
        assert_eq!(event.arg(0).unwrap().as_json_str(), n.to_string());
    }
    writing.await.unwrap();
    assert!(began.elapsed() < SOON, "once it takes something again, the rest follows at once");
}

#[tokio::test]
async fn close_all_says_goodbye_and_tells_every_end() {
    let mut server = Server::start(ServerConfig::default()).await;
    let mut open = HashMap::new();
    let (mut ws, socket) = server.ws().await;
    open.insert(socket.id(), 0);
    socket.send(&down(1)).unwrap();
    let (polling, socket) = server.poll().await;
    open.insert(socket.id(), 0);
    let mut held = polling.hold().await;
    let (unheld, socket) = server.poll().await;
    open.insert(socket.id(), 0);
    let (_mute, socket) = server.ws().await; // never answers the goodbye
    open.insert(socket.id(), 0);
    let closing = server.server.clone();
    let began = tokio::time::Instant::now();
    let close = tokio::spawn(async move { closing.close_all().await });
    assert_eq!(ws.text().await, r#"42["down",1]"#);
    ws.ends().await;
    assert_eq!(held.reply().await.text(), "1:1");
    close.await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(2_500));
    assert_eq!(server.server.sessions(), 0);
    for _ in 0..4 {
        match server.event().await {
            ServerEvent::Closed { id, .. } => *open.get_mut(&id).unwrap() += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(open.values().all(|ends| *ends == 1), "{open:?}");
    // Nobody comes in any more.
    assert_eq!(unheld.sid.len(), 20);
    let mut late = server.http().await;
    late.send("GET", "EIO=3&transport=polling", &[], b"").await;
    assert!(timeout(SOON, late.try_reply()).await.unwrap().is_none_or(|reply| reply.status == 503));
    assert!(!server.has_event());
}

#[tokio::test]
async fn the_reader_hears_of_the_end_of_the_server() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (ws, socket) = server.ws().await;
    drop(ws);
    server.closed().await;
    // The accept loop holds one too; here it is a server of its own.
    let (alone, mut events) = spandrel_socketio_net::SocketServer::new(ServerConfig::default());
    drop(alone);
    assert_eq!(timeout(SOON, events.recv_many(&mut Vec::new(), 8)).await.unwrap(), 0);
    assert!(socket.send(&down(1)).is_err());
}

#[tokio::test]
async fn without_a_reader_the_server_goes_on() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut ws, socket) = server.ws().await;
    let (_, other) = spandrel_socketio_net::SocketServer::new(ServerConfig::default());
    drop(std::mem::replace(&mut server.events, other));
    for _ in 0..10_000 {
        ws.say("42[\"up\"]").await;
    }
    socket.send(&down(1)).unwrap();
    assert_eq!(ws.text().await, r#"42["down",1]"#);
}
