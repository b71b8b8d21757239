//! What is answered before there is a session.

use spandrel_socketio_net::{ServerConfig, SocketServer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::support::{SOON, Server, UPGRADE, Ws};

#[tokio::test]
async fn errors_have_their_codes() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (polling, _socket) = server.poll().await;
    let sid = &polling.sid;
    let mut http = server.http().await;
    for (name, method, query, want) in [
        ("no transport", "GET", "EIO=3".to_owned(), r#"{"code":0,"message":"Transport unknown"}"#),
        (
            "other transport",
            "GET",
            "EIO=3&transport=bogus".into(),
            r#"{"code":0,"message":"Transport unknown"}"#,
        ),
        (
            "unknown session",
            "GET",
            "EIO=3&transport=polling&sid=nope".into(),
            r#"{"code":1,"message":"Session ID unknown"}"#,
        ),
        (
            "unknown session of the right length",
            "POST",
            format!("EIO=3&transport=polling&sid={}", "a".repeat(20)),
            r#"{"code":1,"message":"Session ID unknown"}"#,
        ),
        (
            "handshake by POST",
            "POST",
            "EIO=3&transport=polling".into(),
            r#"{"code":2,"message":"Bad handshake method"}"#,
        ),
        (
            "for a script element",
            "GET",
            "EIO=3&transport=polling&j=0".into(),
            r#"{"code":3,"message":"Bad request"}"#,
        ),
        (
            "websocket without upgrade",
            "GET",
            "EIO=3&transport=websocket".into(),
            r#"{"code":3,"message":"Bad request"}"#,
        ),
        (
            "the same with a session",
            "GET",
            format!("EIO=3&transport=websocket&sid={sid}"),
            r#"{"code":3,"message":"Bad request"}"#,
        ),
        (
            "other method",
            "PUT",
            format!("EIO=3&transport=polling&sid={sid}"),
            r#"{"code":3,"message":"Bad request"}"#,
        ),
        (
            "revision 4",
            "GET",
            "EIO=4&transport=polling".into(),
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
        ),
        (
            "no revision",
            "GET",
            "transport=polling".into(),
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
        ),
    ] {
        let reply = http.request(method, &query, &[], b"").await;
        assert_eq!((reply.status, &*reply.text()), (400, want), "{name}");
        assert_eq!(reply.header("content-type"), Some("application/json"), "{name}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{name}");
    }
    assert!(!server.has_event(), "no session was opened or closed");
}

#[tokio::test]
async fn a_websocket_is_refused_in_plain_text() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (_ws, socket) = server.ws().await;
    assert_eq!(socket.query("roomId"), Some("q"));
    for (name, query, status, text) in [
        ("unknown session", "EIO=3&transport=websocket&sid=nope", 400, "Session ID unknown"),
        ("other transport", "EIO=3&transport=bogus", 400, "Transport unknown"),
        ("polling", "EIO=3&transport=polling", 400, "Bad request"),
        ("revision 4", "EIO=4&transport=websocket", 400, "Unsupported protocol version"),
        ("other path below", "/socket.io/x?EIO=3&transport=websocket", 404, "Not Found"),
        ("other path", "/?EIO=3&transport=websocket", 404, "Not Found"),
    ] {
        let Err(reply) = Ws::connect(server.address, query).await else { panic!("{name}: taken") };
        assert_eq!((reply.status, &*reply.text()), (status, text), "{name}");
    }
    let mut old = UPGRADE;
    old[2].1 = "8";
    let reply = server.http().await.request("GET", "EIO=3&transport=websocket", &old, b"").await;
    assert_eq!((reply.status, reply.header("sec-websocket-version")), (426, Some("13")));
}

#[tokio::test]
async fn other_paths_are_answered_by_others() {
    let server = Server::start(ServerConfig::default()).await;
    let mut http = server.http().await;
    for (path, want) in [
        ("/", (200, "other")),
        ("/socket.io", (200, "other")),
        ("/some/socket.io/", (200, "other")),
        ("/socket.io/socket.io.js", (404, "Not Found")),
    ] {
        let reply = http.get(path).await;
        assert_eq!((reply.status, &*reply.text()), want, "{path}");
    }
}

#[tokio::test]
async fn origins_are_echoed_on_success_and_on_errors() {
    let server = Server::start(ServerConfig::default()).await;
    let mut http = server.http().await;
    for query in ["EIO=3&transport=polling", "EIO=3&transport=bogus", "EIO=3&transport=polling&sid=nope"] {
        let reply = http.get(query).await;
        let cors =
            ["access-control-allow-origin", "access-control-allow-credentials"].map(|n| reply.header(n));
        assert_eq!(cors, [Some("*"), None], "{query}");
        let reply = http.request("GET", query, &[("origin", "https://a.example")], b"").await;
        let cors =
            ["access-control-allow-origin", "access-control-allow-credentials"].map(|n| reply.header(n));
        assert_eq!(cors, [Some("https://a.example"), Some("true")], "{query}");
    }
}

#[tokio::test]
async fn preflights_are_answered() {
    let server = Server::start(ServerConfig::default()).await;
    let mut http = server.http().await;
    let asks = ("access-control-request-private-network", "true");
    for (name, query, asked, status, private) in [
        ("new session", "EIO=3&transport=polling", &[asks][..], 204, Some("true")),
        ("nobody asked for loopback", "EIO=3&transport=polling", &[], 204, None),
        ("with a session", "EIO=3&transport=polling&sid=x", &[asks], 200, Some("true")),
    ] {
        let headers: Vec<_> = [("origin", "https://a.example"), ("access-control-request-method", "POST")]
            .iter()
            .chain(asked)
            .copied()
            .collect();
        let reply = http.request("OPTIONS", query, &headers, b"").await;
        assert_eq!(reply.status, status, "{name}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://a.example"), "{name}");
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"), "{name}");
        assert_eq!(reply.header("access-control-allow-methods"), Some("GET, POST"), "{name}");
        assert_eq!(reply.header("access-control-allow-headers"), Some("Content-Type"), "{name}");
        assert_eq!(reply.header("access-control-allow-private-network"), private, "{name}");
    }
}

#[tokio::test]
async fn the_gate_comes_before_everything() {
    let (server, events) = SocketServer::new(ServerConfig::default());
    let server = server.with_gate(|parts| match parts.headers.get("origin") {
        Some(origin) if origin == "https://evil.example" => Err(()),
        _ => Ok(()),
    });
    let mut server = Server::serve(server, events).await;
    let (polling, socket) = server.poll().await;
    let evil = ("origin", "https://evil.example");
    let mut http = server.http().await;
    for (method, query) in [
        ("GET", "EIO=3&transport=polling"),
        ("GET", "transport=bogus"),
        ("OPTIONS", "EIO=3&transport=polling"),
        ("GET", "/socket.io/other"),
        ("POST", &polling.query),
        ("GET", &polling.query),
    ] {
        let reply = http.request(method, query, &[evil], b"1:1").await;
        let want = (403, r#"{"code":4,"message":"Forbidden"}"#);
        assert_eq!((reply.status, &*reply.text()), want, "{method} {query}");
        assert!(!reply.headers.keys().any(|name| name.starts_with("access-control-")), "{method} {query}");
        http = server.http().await;
    }
    let headers: Vec<_> = UPGRADE.iter().copied().chain([evil]).collect();
    for query in ["EIO=3&transport=websocket".to_owned(), polling.query.replace("polling", "websocket")] {
        assert_eq!(server.http().await.request("GET", &query, &headers, b"").await.status, 403, "{query}");
    }
    // Other paths answer anyone.
    assert_eq!(server.http().await.request("GET", "/", &[evil], b"").await.status, 200);
    socket.send(&crate::support::down(1)).unwrap();
    assert!(!server.has_event(), "the session of another was not touched");
}

#[tokio::test]
async fn one_session_over_the_bound_is_refused() {
    let mut server = Server::start(ServerConfig::default().with_sessions_max(2)).await;
    let (_ws, _) = server.ws().await;
    let (mut polling, _) = server.poll().await;
    let reply = server.http().await.get("EIO=3&transport=polling").await;
    assert_eq!((reply.status, &*reply.text()), (503, r#"{"code":6,"message":"Too many sessions"}"#));
    let Err(reply) = Ws::connect(server.address, "EIO=3&transport=websocket").await else { panic!("taken") };
    assert_eq!((reply.status, &*reply.text()), (503, "Too many sessions"));
    assert!(!server.has_event());
    // One that leaves makes room.
    assert_eq!(polling.post("1:1").await.text(), "ok");
    assert_eq!(server.closed().await, "the client left");
    while server.server.sessions() > 1 {
        tokio::task::yield_now().await;
    }
    server.ws().await;
}

#[tokio::test]
async fn a_head_is_bounded_in_bytes_lines_and_time() {
    let mut config = ServerConfig::default();
    config.limits.head_ms_max = 50;
    config.limits.headers_max = 10;
    let server = Server::start(config).await;
    let long = format!("EIO=3&transport=polling&x={}", "x".repeat(16 << 10));
    assert!(matches!(server.http().await.get(&long).await.status, 414 | 431));
    let mut http = server.http().await;
    let headers = [("a", "b"); 9];
    assert_eq!(http.request("GET", "EIO=3&transport=polling", &headers, b"").await.status, 200);
    let headers = [("a", "b"); 10];
    assert_eq!(http.request("GET", "EIO=3&transport=polling", &headers, b"").await.status, 431);
    // Half a head and then nothing, or nothing at all.
    for bytes in [&b"GET /socket.io/?EIO=3 HTTP/1.1\r\nhost:"[..], b""] {
        let mut http = server.http().await;
        http.0.get_mut().write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let end = timeout(SOON, http.0.read_to_end(&mut rest)).await;
        end.expect("the connection ends soon").unwrap();
    }
}
