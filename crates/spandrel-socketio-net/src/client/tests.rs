//! The client against our own server over real sockets.

mod world;

use std::time::Duration;

use spandrel_socketio::{Frame, Value, client::CloseReason, client::SendError, encode_ack, encode_event};
use spandrel_transport::{DialError, TlsClient, TlsServer};
use tokio::time::timeout;
use world::{Relay, Server};

use super::*;
use crate::{ServerConfig, ServerEvent, client::ClientEvents};

const ALL: [Transports; 3] = [Transports::WebSocket, Transports::Polling, Transports::PollingThenWebSocket];

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn calm() -> ServerConfig {
    // Only what a test does ends a session: no ping, no silence.
    ServerConfig::default().with_pings(60_000, 60_000)
}

async fn next(events: &mut ClientEvents) -> Option<ClientEvent> {
    timeout(PATIENCE, events.recv()).await.expect("nothing was told")
}

async fn closed(events: &mut ClientEvents) -> CloseReason {
    loop {
        match next(events).await {
            Some(ClientEvent::Closed(why)) => {
                assert_eq!(next(events).await, None, "the end is the end");
                return why;
            }
            Some(_) => {}
            None => panic!("the end was not told"),
        }
    }
}

async fn numbers(events: &mut ClientEvents, count: u64) -> Vec<u64> {
    let mut got = Vec::new();
    while (got.len() as u64) < count {
        if let Some(ClientEvent::Received(event)) = next(events).await {
            got.push(event.arg(0).and_then(|arg| arg.as_u64()).expect("a number"));
        }
    }
    got
}

#[tokio::test]
async fn parameters_events_and_acknowledgements_go_both_ways() {
    for transports in ALL {
        let mut server = Server::start(ServerConfig::default()).await;
        let config = server.config(transports).with_query("roomId", "방 번호/😀&=?");
        let (socket, mut events) = connect(config).await.unwrap();
        let there = server.opened().await;
        assert_eq!(there.query("roomId"), Some("방 번호/😀&=?"), "{transports:?}");

        let answer = socket.ask("message", &[&Value::from_text("한글😀")]);
        let event = server.received().await;
        assert_eq!((event.name().as_ref(), event.arg(0)), ("message", Some(Value::from_text("한글😀"))));
        there.send(&encode_ack(event.ack_id().unwrap(), &[&Value::TRUE])).unwrap();
        assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().arg(0), Some(Value::TRUE));

        there.send(&encode_event("down", &[&Value::from(5)], Some(9))).unwrap();
        let event = loop {
            match next(&mut events).await {
                Some(ClientEvent::Received(event)) => break event,
                other => assert_eq!(other, Some(ClientEvent::Upgraded)),
            }
        };
        socket.acknowledge(&event, &[&Value::NULL]).unwrap();
        let ack = server.acked().await;
        assert_eq!((ack.id(), ack.arg(0)), (9, Some(Value::NULL)), "{transports:?}");
    }
}

#[tokio::test]
async fn order_holds_while_the_transport_changes() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (socket, mut events) = connect(server.config(Transports::PollingThenWebSocket)).await.unwrap();
    let there = server.opened().await;
    let mut sent = 0;
    while !socket.is_over_websocket() {
        for _ in 0..5 {
            socket.emit("up", &[&Value::from(sent)]).unwrap();
            there.send(&encode_event("down", &[&Value::from(sent)], None)).unwrap();
            sent += 1;
        }
        tokio::task::yield_now().await;
    }
    socket.emit("up", &[&Value::from(sent)]).unwrap();
    there.send(&encode_event("down", &[&Value::from(sent)], None)).unwrap();
    let want: Vec<_> = (0..=sent).collect();
    assert_eq!(numbers(&mut events, sent + 1).await, want);
    for n in want {
        assert_eq!(server.received().await.arg(0), Some(Value::from(n)));
    }
}

#[tokio::test]
async fn binary_and_five_megabytes_pass_over_each_transport() {
    for transports in ALL {
        let mut server = Server::start(calm()).await;
        let (socket, mut events) = connect(server.config(transports)).await.unwrap();
        let there = server.opened().await;
        let large = Value::from_text(&"가😀x".repeat(700_000));
        let mut decoder = spandrel_socketio::Decoder::new(&Limits::default());
        decoder.push(Frame::text(r#"451-["x",{"b":{"_placeholder":true,"num":0}}]"#)).unwrap();
        let packet = decoder.push(Frame::binary([&[4][..], &vec![7; 5_000_000]].concat())).unwrap();
        let Some(spandrel_socketio::Packet::Event(event)) = packet else { panic!("an event") };
        let binary = event.arg(0).unwrap();
        for value in [&large, &binary, &Value::TRUE] {
            socket.emit("up", &[value]).unwrap();
            assert!(server.received().await.arg(0).as_ref() == Some(value), "{transports:?}");
            there.send(&encode_event("down", &[value], None)).unwrap();
            let got = loop {
                if let Some(ClientEvent::Received(event)) = next(&mut events).await {
                    break event.arg(0);
                }
            };
            assert!(got.as_ref() == Some(value), "{transports:?}");
        }
    }
}

#[tokio::test]
async fn a_burst_arrives_in_order_however_slowly_it_is_taken() {
    for transports in ALL {
        let mut server = Server::start(ServerConfig::default()).await;
        let mut config = server.config(transports);
        config.events_max = 4;
        let (_socket, mut events) = connect(config).await.unwrap();
        let there = server.opened().await;
        for n in 0..3_000 {
            there.send(&encode_event("down", &[&Value::from(n)], None)).unwrap();
        }
        assert_eq!(numbers(&mut events, 3_000).await, (0..3_000).collect::<Vec<_>>(), "{transports:?}");
    }
}

#[tokio::test]
async fn over_the_bounds_nothing_more_is_read() {
    // What one read brings may go over: 256 frames or 64 KiB of them, and what one answer of polling holds.
    for (name, size, count, events_max, events_bytes_max, want) in
        [("events", 1, 2_000, 4, usize::MAX, 4 + 256), ("bytes", 10_000, 100, usize::MAX, 1_000, 1 + 7)]
    {
        let mut server = Server::start(calm()).await;
        let mut config = server.config(Transports::WebSocket);
        (config.events_max, config.events_bytes_max) = (events_max, events_bytes_max);
        let (socket, mut events) = connect(config).await.unwrap();
        let there = server.opened().await;
        let packet = encode_event("down", &[&Value::from_text(&"x".repeat(size))], None);
        for _ in 0..count {
            there.send(&packet).unwrap();
        }
        // The last one is known to be written once the server holds nothing; reading on would take it all.
        while there.queued_bytes() > 0 && !socket.0.lock().is_blocked {
            tokio::task::yield_now().await;
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let waiting = socket.0.lock().waiting();
        assert!((1..=want).contains(&waiting), "{name}: {waiting} wait");
        for _ in 0..count {
            assert!(matches!(next(&mut events).await, Some(ClientEvent::Received(_))), "{name}");
        }
    }
}

#[tokio::test]
async fn a_goodbye_is_not_waited_for_longer_than_it_may_take() {
    let relay = Relay::to_pinged(0, 60_000).await;
    let mut config = ClientConfig::new("127.0.0.1", relay.port, Transports::WebSocket);
    config.close_ms = 50;
    let (socket, mut events) = connect(config).await.unwrap();
    relay.stop_reading();
    socket.emit("up", &[&Value::from_text(&"x".repeat(20 << 20))]).unwrap();
    socket.disconnect();
    assert_eq!(closed(&mut events).await, CloseReason::Left);
    let ended = async {
        while socket.0.lock().task.is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended).await.expect("the task still waits for a peer that does not read");
}

#[tokio::test]
async fn a_lost_connection_is_told_at_once() {
    for transports in ALL {
        let mut server = Server::start(calm()).await;
        let relay = Relay::to(server.port).await;
        let mut config = server.config(transports);
        config.port = relay.port;
        let (socket, mut events) = connect(config).await.unwrap();
        server.opened().await;
        let question = socket.ask("never answered", &[]);
        server.received().await;
        relay.cut();
        // The pings of this server are a minute apart: nothing else tells.
        assert_eq!(closed(&mut events).await, CloseReason::Gone, "{transports:?}");
        assert_eq!(question.await, Err(AskError::Closed));
        assert_eq!(socket.emit("late", &[]), Err(SendError::Closed));
        assert!(!socket.is_open());
    }
}

#[tokio::test]
async fn a_connection_lost_during_the_upgrade_is_told_at_once() {
    let mut server = Server::start(calm()).await;
    let relay = Relay::to(server.port).await;
    let mut config = server.config(Transports::PollingThenWebSocket);
    config.port = relay.port;
    // Cut as soon as the server has let the client in: the WebSocket is about to be tried.
    let (_socket, mut events) = connect(config).await.unwrap();
    relay.cut();
    assert_eq!(closed(&mut events).await, CloseReason::Gone);
    server.opened().await;
}

#[tokio::test]
async fn what_the_server_ends_is_told_with_its_reason() {
    for transports in ALL {
        let mut server = Server::start(calm()).await;
        let (_socket, mut events) = connect(server.config(transports)).await.unwrap();
        server.opened().await.disconnect();
        assert_eq!(closed(&mut events).await, CloseReason::Disconnected, "{transports:?}");
        server.closed().await;

        let (_socket, mut events) = connect(server.config(transports)).await.unwrap();
        server.opened().await.close();
        let why = closed(&mut events).await;
        assert!(matches!(why, CloseReason::Closed | CloseReason::Gone), "{transports:?}: {why}");
    }
}

#[tokio::test]
async fn silence_ends_a_session() {
    let relay = Relay::to_pinged(0, 20).await;
    let mut config = ClientConfig::new("127.0.0.1", relay.port, Transports::WebSocket);
    config.session.ping_interval_ms_min = 1;
    let (_socket, mut events) = connect(config).await.unwrap();
    assert!(matches!(closed(&mut events).await, CloseReason::Silent { .. }));
}

#[tokio::test]
async fn leaving_takes_along_what_was_sent_before() {
    for transports in ALL {
        let mut server = Server::start(calm()).await;
        let (socket, mut events) = connect(server.config(transports)).await.unwrap();
        for n in 0..2_000 {
            socket.emit("up", &[&Value::from(n)]).unwrap();
        }
        socket.disconnect();
        assert_eq!(closed(&mut events).await, CloseReason::Left, "{transports:?}");
        server.opened().await;
        for n in 0..2_000 {
            assert_eq!(server.received().await.arg(0), Some(Value::from(n)), "{transports:?}");
        }
        assert_eq!(server.closed().await, crate::CloseReason::Left, "{transports:?}");
    }
}

#[tokio::test]
async fn dropping_the_events_leaves_the_server() {
    for transports in ALL {
        let mut server = Server::start(calm()).await;
        let (_socket, events) = connect(server.config(transports)).await.unwrap();
        drop(events);
        server.opened().await;
        assert_eq!(server.closed().await, crate::CloseReason::Left, "{transports:?}");
    }
}

#[tokio::test]
async fn giving_up_on_connecting_leaves_nothing_behind() {
    for transports in ALL {
        let mut server = Server::start(calm()).await;
        let mut connecting = Box::pin(connect(server.config(transports)));
        // Polled until the server knows of it, then dropped.
        let opened = tokio::select! {
            biased;
            opened = server.opened() => opened,
            done = &mut connecting => { drop(done.unwrap()); server.opened().await }
        };
        drop(connecting);
        drop(opened);
        server.closed().await;
    }
}

#[tokio::test]
async fn connecting_in_vain_says_why() {
    let port = {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap().port()
    };
    let forbidden = Server::start_with(calm(), None, |server| server.with_gate(|_| Err::<(), _>("no"))).await;
    let plain = Server::start(calm()).await;
    for transports in ALL {
        let error = connect(ClientConfig::new("127.0.0.1", port, transports)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Dial(DialError::Io(_))), "{transports:?}: {error}");

        let error = connect(forbidden.config(transports)).await.unwrap_err();
        let is_refusal = matches!(
            error,
            ConnectError::Dial(DialError::Refused { status: 403, .. })
                | ConnectError::Closed(CloseReason::Refused { status: 403 })
        );
        assert!(is_refusal, "{transports:?}: {error}");

        let mut elsewhere = plain.config(transports);
        elsewhere.path = "/elsewhere/".to_owned();
        assert!(connect(elsewhere).await.is_err(), "{transports:?}");

        let any = TlsServer::self_signed(["localhost"]).unwrap().fingerprint();
        let secured = plain.config(transports).with_tls(TlsClient::with_fingerprint(any).unwrap());
        let error = connect(secured).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Dial(DialError::Tls(_) | DialError::Io(_))),
            "{transports:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for transports in ALL {
        let mut config = ClientConfig::new("127.0.0.1", silent.local_addr().unwrap().port(), transports);
        config.session.handshake_ms = 50;
        let error = timeout(PATIENCE, connect(config)).await.unwrap().unwrap_err();
        let is_timeout = matches!(
            error,
            ConnectError::Closed(CloseReason::NotOpened { ms: 50 })
                | ConnectError::Dial(DialError::Timeout { .. })
        );
        assert!(is_timeout, "{transports:?}: {error}");
    }
}

#[tokio::test]
async fn every_transport_works_inside_tls_under_a_name_of_its_own() {
    let tls = TlsServer::self_signed(["hw.example"]).unwrap();
    let client = TlsClient::with_fingerprint(tls.fingerprint()).unwrap();
    for transports in ALL {
        let mut server =
            Server::start_with(ServerConfig::default(), Some(tls.clone()), |server| server).await;
        let config = server.config(transports).with_tls(client.clone()).with_tls_name("hw.example");
        let (socket, _events) = connect(config).await.unwrap();
        server.opened().await;
        socket.emit("up", &[&Value::from(7)]).unwrap();
        assert_eq!(server.received().await.arg(0), Some(Value::from(7)), "{transports:?}");
    }
}

#[tokio::test]
async fn one_over_what_may_wait_is_refused_and_the_session_goes_on() {
    for transports in ALL {
        let mut server = Server::start(calm()).await;
        let limits = Limits::default().with_queued_max(1_000, 100);
        let (socket, _events) = connect(server.config(transports).with_packet_limits(limits)).await.unwrap();
        server.opened().await;
        let large = Value::from_text(&"x".repeat(5_000));
        // Nothing is written in between: this task does not wait.
        socket.emit("up", &[&large]).expect("one larger packet is taken when nothing waits");
        assert_eq!(socket.emit("up", &[&Value::TRUE]), Err(SendError::Full), "{transports:?}");
        assert!(socket.queued_bytes() > 5_000);
        assert_eq!(server.received().await.arg(0), Some(large));
        while socket.emit("up", &[&Value::TRUE]).is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.received().await.arg(0), Some(Value::TRUE), "{transports:?}");
    }
}

#[tokio::test]
async fn a_question_that_is_dropped_makes_room_for_others() {
    let mut server = Server::start(calm()).await;
    let mut limits = Limits::default();
    limits.acks_max = 2;
    let (socket, _events) =
        connect(server.config(Transports::WebSocket).with_packet_limits(limits)).await.unwrap();
    server.opened().await;
    let questions = [socket.ask("a", &[]), socket.ask("b", &[])];
    let third = socket.ask("c", &[]).await;
    assert_eq!(third, Err(AskError::NotSent(SendError::TooManyAcks { max: 2 })));
    drop(questions);
    drop(socket.ask("d", &[]));
    for name in ["a", "b", "d"] {
        assert!(server.received().await.is_named(name));
    }
}

#[tokio::test]
async fn an_idle_session_lives_on_pings() {
    let relay = Relay::to_pinged(5, 10_000).await;
    let mut config = ClientConfig::new("127.0.0.1", relay.port, Transports::WebSocket);
    config.session.ping_interval_ms_min = 1;
    let (_socket, mut events) = connect(config).await.unwrap();
    let Some(ClientEvent::Received(event)) = next(&mut events).await else {
        panic!("an event after five pings")
    };
    assert!(event.is_named("pinged"));
}

#[tokio::test]
async fn the_end_of_the_runtime_is_told() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let other = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut server = Server::start(calm()).await;
            let (socket, events) = connect(server.config(Transports::Polling)).await.unwrap();
            server.opened().await;
            let _ = sender.send((socket, events));
        });
    });
    let (socket, mut events) = receiver.await.unwrap();
    other.join().unwrap();
    assert_eq!(closed(&mut events).await, CloseReason::Gone);
    assert_eq!(socket.emit("late", &[]), Err(SendError::Closed));
}

/// What the tests of a server tell: kept apart, so that one test may wait for one sort while others come.
fn unexpected(event: &ServerEvent) -> ! {
    panic!("unexpected: {event:?}")
}
