//! Against a foreign client and a foreign server, and behind an HTTP server.

use std::{future::poll_fn, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response, routing::get};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use spandrel_transport::{
    Close, Connection, DialError, Endpoint, Frame, Limits, LinkError, Listener, Transport,
};
use spandrel_transport_ws::{Upgrade, WsTransport, accept_upgraded, choose_first, upgrade};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::{
    Message,
    client::IntoClientRequest,
    handshake::server::{Request as WsRequest, Response as WsResponse},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

async fn listen(transport: &WsTransport) -> (Box<dyn Listener>, Endpoint) {
    let listener = transport.listen(&"ws://127.0.0.1:0/".parse().expect("works")).await.expect("works");
    let local = listener.local().clone();
    (listener, local)
}

async fn accept(listener: &mut Box<dyn Listener>) -> Connection {
    let incoming = poll_fn(|cx| listener.poll_accept(cx)).await.expect("works");
    Connection::new(incoming.accept().await.expect("works"))
}

#[tokio::test]
async fn foreign_client_talks_to_our_server() {
    let (mut listener, local) = listen(&WsTransport::new().with_subprotocols(["v2", "v1"])).await;
    let server = tokio::spawn(async move {
        let mut conn = accept(&mut listener).await;
        let peer = conn.peer().clone();
        while let Some(frame) = conn.recv().await.unwrap() {
            conn.feed(frame).await.unwrap();
        }
        let why = conn.close_info().cloned();
        conn.close(Close::normal()).await.unwrap();
        (peer, why, conn.stats())
    });
    let mut request = format!("{local}path?kid=k1").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "v9, v1, v2".parse().unwrap());
    request.headers_mut().insert("origin", "http://page".parse().unwrap());
    request.headers_mut().insert("authorization", "Bearer t".parse().unwrap());
    let (mut ws, response) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "v1", "the client's order decides");
    assert!(!response.headers().contains_key("sec-websocket-extensions"));

    for message in
        [Message::text("ü"), Message::binary(vec![1; 70_000]), Message::Ping("p".into()), Message::text("")]
    {
        ws.send(message.clone()).await.unwrap();
        let want = if message.is_ping() { Message::Pong("p".into()) } else { message };
        assert_eq!(ws.next().await.unwrap().unwrap(), want);
    }
    ws.close(Some(CloseFrame { code: CloseCode::Library(4001), reason: "bye".into() })).await.unwrap();
    while let Some(Ok(_)) = ws.next().await {}

    let (peer, why, stats) = server.await.unwrap();
    assert_eq!((peer.path.as_str(), peer.query_param("kid")), ("/path", Some("k1")));
    assert_eq!((peer.origin(), peer.authorization()), (Some("http://page"), Some("Bearer t")));
    assert_eq!(
        (peer.subprotocol.as_deref(), &peer.offered[..]),
        (Some("v1"), &["v9", "v1", "v2"].map(String::from)[..])
    );
    assert_eq!(why, Some(Close::new(4001, "bye")));
    assert_eq!((stats.frames_in, stats.activity), (3, 5), "ping and close are activity, not frames");
}

#[tokio::test]
async fn our_client_talks_to_a_foreign_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the callback's type is given")]
        let choose = |request: &WsRequest, mut response: WsResponse| {
            assert_eq!(request.headers()["sec-websocket-protocol"], "v2, v1");
            assert_eq!(request.headers()["authorization"], "Bearer t");
            assert_eq!(request.uri(), "/p?q=1");
            response.headers_mut().insert("sec-websocket-protocol", "v1".parse().unwrap());
            Ok(response)
        };
        let mut ws = tokio_tungstenite::accept_hdr_async(stream, choose).await.unwrap();
        ws.send(Message::Ping("are you there".into())).await.unwrap();
        let mut seen = Vec::new();
        while let Some(Ok(message)) = ws.next().await {
            if message.is_text() || message.is_binary() {
                ws.send(message.clone()).await.unwrap();
            }
            seen.push(message);
        }
        seen
    });
    let transport = WsTransport::new()
        .with_subprotocols(["v2", "v1"])
        .with_header(http::header::AUTHORIZATION, "Bearer t".parse().unwrap());
    let link = transport.dial(&format!("ws://127.0.0.1:{port}/p?q=1").parse().unwrap()).await.unwrap();
    let mut conn = Connection::new(link);
    assert_eq!(conn.peer().subprotocol.as_deref(), Some("v1"));
    assert!(conn.ping(b"me too").await.unwrap());
    for frame in [Frame::text("ü"), Frame::binary(vec![1; 70_000])] {
        conn.send(frame.clone()).await.unwrap();
        assert_eq!(conn.recv().await.unwrap(), Some(frame));
    }
    conn.close(Close::new(Close::GOING_AWAY, "leaving")).await.unwrap();
    assert_eq!(conn.close_info().map(|c| c.code), Some(1001), "the server's answer");
    let seen = server.await.unwrap();
    assert!(
        seen.contains(&Message::Pong("are you there".into()))
            && seen.contains(&Message::Ping("me too".into()))
    );
    let close = CloseFrame { code: CloseCode::Away, reason: "leaving".into() };
    assert_eq!(seen.last(), Some(&Message::Close(Some(close))));
}

#[tokio::test]
async fn no_common_subprotocol_still_opens_so_that_a_close_code_can_tell() {
    let (mut listener, local) = listen(&WsTransport::new().with_subprotocols(["v1"])).await;
    let server = tokio::spawn(async move {
        let mut conn = accept(&mut listener).await;
        assert_eq!(conn.peer().subprotocol, None);
        conn.close(Close::new(Close::NO_SUBPROTOCOL, "none of ours")).await.unwrap();
    });
    let mut conn = Connection::new(WsTransport::new().with_subprotocols(["v7"]).dial(&local).await.unwrap());
    assert_eq!(conn.recv().await.unwrap(), None);
    assert_eq!(conn.close_info(), Some(&Close::new(4406, "none of ours")));
    conn.close(Close::normal()).await.unwrap();
    server.await.unwrap();
}

/// An axum server whose `/ws` upgrades; open connections come out of the channel.
async fn axum_server() -> (SocketAddr, mpsc::Receiver<Connection>) {
    let (door, arrivals) = mpsc::channel(8);
    let handler = move |mut request: Request| {
        let door = door.clone();
        async move {
            let on = hyper::upgrade::on(&mut request);
            let Upgrade { response, peer, .. } =
                match upgrade(&request, None, |offered| choose_first(offered, &["v1"])) {
                    Ok(upgrade) => upgrade,
                    Err(e) => {
                        return Response::builder()
                            .status(e.status())
                            .body(Body::from(e.to_string()))
                            .expect("works");
                    }
                };
            tokio::spawn(async move {
                let link = accept_upgraded(on.await.expect("works"), peer, &Limits::default());
                door.send(Connection::new(link)).await.expect("works");
            });
            response.map(|()| Body::empty())
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("works");
    let address = listener.local_addr().expect("works");
    let app = Router::new().route("/ws", get(handler));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, arrivals)
}

#[tokio::test]
async fn upgraded_connection_of_an_http_server_is_a_link() {
    let (address, mut arrivals) = axum_server().await;
    let mut request = format!("ws://{address}/ws?kid=k").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "v1".parse().unwrap());
    let (mut ws, response) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "v1");
    let mut conn = arrivals.recv().await.unwrap();
    assert_eq!((conn.peer().path.as_str(), conn.peer().query_param("kid")), ("/ws", Some("k")));
    assert!(conn.peer().header("host").is_some() && conn.peer().header("sec-websocket-key").is_none());
    ws.send(Message::text("hi")).await.unwrap();
    assert_eq!(conn.recv().await.unwrap(), Some(Frame::text("hi")));
    conn.send(Frame::binary(vec![1; 100_000])).await.unwrap();
    assert_eq!(ws.next().await.unwrap().unwrap().len(), 100_000);
    let (closed, seen) = tokio::join!(conn.close(Close::new(Close::RESTART, "brb")), ws.next());
    closed.unwrap();
    let frame = CloseFrame { code: CloseCode::Restart, reason: "brb".into() };
    assert_eq!(seen.unwrap().unwrap(), Message::Close(Some(frame)));
}

const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn frames_glued_to_the_request_are_not_lost() {
    let glued = [format!("{REQUEST}\r\n").as_bytes(), &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']].concat();
    let (address, mut arrivals) = axum_server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&glued).await.unwrap();
    assert_eq!(arrivals.recv().await.unwrap().recv().await.unwrap(), Some(Frame::text("hi")), "behind axum");

    let (mut listener, local) = listen(&WsTransport::new()).await;
    let mut stream = TcpStream::connect(local.host_port().unwrap()).await.unwrap();
    stream.write_all(&glued).await.unwrap();
    assert_eq!(
        accept(&mut listener).await.recv().await.unwrap(),
        Some(Frame::text("hi")),
        "on our own listener"
    );
}

#[tokio::test]
async fn what_is_no_upgrade_gets_an_http_answer() {
    let transport = WsTransport::new().with_admission(|peer| match peer.origin() {
        Some("http://evil") => Err(StatusCode::FORBIDDEN),
        _ => Ok(()),
    });
    let (listener, local) = listen(&transport).await;
    tokio::spawn(spandrel_transport::serve(listener, Limits::default(), std::future::pending(), |_| async {}));
    let without = |line: &str| format!("{}\r\n", REQUEST.replace(line, ""));
    for (name, request, want) in [
        ("no key", without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "400"),
        ("no upgrade", without("Upgrade: websocket\r\n"), "400"),
        ("old version", format!("{}\r\n", REQUEST.replace(": 13", ": 8")), "426"),
        ("post", format!("{}\r\n", REQUEST.replace("GET", "POST")), "400"),
        ("http/1.0", format!("{}\r\n", REQUEST.replace("/1.1", "/1.0")), "400"),
        ("not http", "\0\0\0\0\r\n\r\n".to_owned(), "400"),
        ("head too long", format!("{REQUEST}X: {}\r\n\r\n", "x".repeat(16 << 10)), "431"),
        ("endless head", format!("{REQUEST}X: {}", "x".repeat(17 << 10)), "431"),
        ("101 headers", format!("{REQUEST}{}\r\n", "X: y\r\n".repeat(96)), "431"),
        ("100 headers", format!("{REQUEST}{}\r\n", "X: y\r\n".repeat(95)), "101"),
        ("not admitted", format!("{REQUEST}Origin: http://evil\r\n\r\n"), "403"),
    ] {
        let mut stream = TcpStream::connect(local.host_port().unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status[..], format!("HTTP/1.1 {want}").as_bytes(), "{name}");
    }
    match WsTransport::new()
        .with_header(http::header::ORIGIN, "http://evil".parse().unwrap())
        .dial(&local)
        .await
    {
        Err(DialError::Refused { status: 403, retry_after_ms: None }) => {}
        other => panic!("a refused client got {:?}", other.map(|_| "a link")),
    }
}

#[tokio::test]
async fn a_refusal_says_when_to_come_back() {
    for (header, want) in [
        ("", None),
        ("Retry-After: 7\r\n", Some(7000)),
        ("retry-after:  0 \r\n", Some(0)),
        ("Retry-After: 99999999999999999999\r\n", Some(u64::MAX)),
        ("Retry-After: +7\r\n", None),
        ("Retry-After: -7\r\n", None),
        ("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", None),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = format!("HTTP/1.1 503 Service Unavailable\r\n{header}Content-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        match WsTransport::new().dial(&url.parse().unwrap()).await {
            Err(DialError::Refused { status: 503, retry_after_ms }) => {
                assert_eq!(retry_after_ms, want, "{header:?}");
            }
            other => panic!("{header:?}: {:?}", other.map(|_| "a link")),
        }
    }
}

#[tokio::test]
async fn silent_peers_keep_nobody_waiting_and_are_dropped() {
    let transport = WsTransport::new().with_limits(Limits::default().with_handshake_ms(200));
    let (listener, local) = listen(&transport).await;
    tokio::spawn(spandrel_transport::serve(
        listener,
        Limits::default(),
        std::future::pending(),
        |mut conn| async move {
            while let Ok(Some(frame)) = conn.recv().await {
                let _ = conn.feed(frame).await;
            }
        },
    ));
    let mut silent = TcpStream::connect(local.host_port().unwrap()).await.unwrap();
    silent.write_all(b"GET / HTT").await.unwrap();
    let mut conn = Connection::new(WsTransport::new().dial(&local).await.unwrap());
    conn.send(Frame::text("served meanwhile")).await.unwrap();
    assert!(conn.recv().await.unwrap().is_some());
    let ended = tokio::time::timeout(Duration::from_secs(5), silent.read(&mut [0])).await;
    assert_eq!(ended.expect("dropped at the deadline").unwrap_or(0), 0);

    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("ws://{}/", deaf.local_addr().unwrap()).parse().unwrap();
    assert!(matches!(transport.dial(&to).await, Err(DialError::Timeout { after_ms: 200 })));
}

#[tokio::test]
async fn reason_of_a_breach_arrives_although_more_is_under_way() {
    let (mut listener, local) = listen(&WsTransport::new()).await;
    let mut stream = TcpStream::connect(local.host_port().unwrap()).await.unwrap();
    // Bad UTF-8, then 60 kB that nobody will look at: closing with unread input would reset the connection.
    let glued = [format!("{REQUEST}\r\n").as_bytes(), &[0x81, 0x81, 0, 0, 0, 0, 0xFF], &[0; 60_000]].concat();
    stream.write_all(&glued).await.unwrap();
    let mut conn = accept(&mut listener).await;
    let server = tokio::spawn(async move {
        let end = conn.recv().await;
        drop(conn);
        end
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("no reset");
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(answer[at], 0x88, "a close frame");
    assert_eq!(u16::from_be_bytes([answer[at + 2], answer[at + 3]]), 1007);
    drop(stream);
    assert!(matches!(server.await.unwrap(), Err(LinkError::Wire(_))));
}

#[tokio::test]
async fn half_a_message_is_not_waited_for() {
    let mut limits = Limits::default().with_close_ms(100);
    limits.half_frame_ms = 150;
    let (mut listener, local) = listen(&WsTransport::new().with_limits(limits)).await;
    let mut stream = TcpStream::connect(local.host_port().unwrap()).await.unwrap();
    // A first part and pings behind it: pings do not keep a half message alive.
    let glued =
        [format!("{REQUEST}\r\n").as_bytes(), &[0x01, 0x81, 0, 0, 0, 0, b'x'], &[0x89, 0x80, 0, 0, 0, 0]]
            .concat();
    stream.write_all(&glued).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(5), accept(&mut listener).await.recv()).await;
    let end = end.expect("the deadline holds");
    assert!(matches!(&end, Err(LinkError::Wire(e)) if e.close_code() == 1008), "{end:?}");
}

#[tokio::test]
async fn closing_ends_although_the_peer_talks_on() {
    let (mut listener, local) =
        listen(&WsTransport::new().with_limits(Limits::default().with_close_ms(200))).await;
    let mut stream = TcpStream::connect(local.host_port().unwrap()).await.unwrap();
    stream.write_all(format!("{REQUEST}\r\n").as_bytes()).await.unwrap();
    let talker = tokio::spawn(async move {
        // Pings and texts for ever, and never an answer to the close.
        let chatter = [&[0x89, 0x80, 0, 0, 0, 0][..], &[0x81, 0x81, 0, 0, 0, 0, b'x']].concat().repeat(500);
        while stream.write_all(&chatter).await.is_ok() {}
    });
    let mut conn = accept(&mut listener).await;
    assert_eq!(conn.recv().await.unwrap(), Some(Frame::text("x")));
    let closed =
        tokio::time::timeout(Duration::from_secs(10), conn.close(Close::new(Close::POLICY, "enough"))).await;
    closed.expect("ends at its deadlines").unwrap();
    drop(conn);
    tokio::time::timeout(Duration::from_secs(10), talker).await.expect("the socket is closed").unwrap();
}

/// Over a stream that somebody else connected, asking for another place than it leads to.
#[tokio::test]
async fn a_stream_that_is_connected_already_is_upgraded() {
    let (here, there) = tokio::io::duplex(4 << 10);
    let transport = WsTransport::new();
    let to: Endpoint = "wss://hw.example:2351/socket.io/?a=b".parse().unwrap();
    let (client, server) =
        tokio::join!(transport.connect_stream(here, &to), transport.accept_stream(there, None));
    let (client, mut server) = (client.unwrap(), Connection::new(server.unwrap()));
    assert_eq!((server.peer().path.as_str(), server.peer().query.as_deref()), ("/socket.io/", Some("a=b")));
    assert_eq!(server.peer().header("host"), Some("hw.example:2351"));
    assert!(client.peer().is_secure);
    let mut client = Connection::new(client);
    client.send(Frame::text("hello")).await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Frame::text("hello")));
    let elsewhere =
        transport.connect_stream(tokio::io::duplex(16).0, &"tcp://127.0.0.1:1".parse().unwrap()).await;
    assert!(matches!(elsewhere.err(), Some(DialError::Unsupported { .. })));
}
