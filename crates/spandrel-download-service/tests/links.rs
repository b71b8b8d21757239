//! Message connections that do not come by plain HTTP: TCP frames, parents, TLS.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod bench;

use std::time::Duration;

use bench::{ALICE, Bench, SEALED, exchange, key, kid, message, request, secret, wall_ms};
use serde_json::{Value, json};
use spandrel_crypto::{decode_base64url_array, encode_base64url};
use spandrel_download_service::{AuthMode, Service};
use spandrel_session::{
    Freshness, Layers, LayersConfig, SealKeys, Sealing, Side, Signer, Signing, WallMillis, signing_key,
};
use spandrel_transport::{
    Close, Connection, Endpoint, Frame, MemTransport, Security, TlsClient, TlsServer, Transport as _,
};
use spandrel_transport_tcp::TcpTransport;
use tokio::net::TcpStream;

const OFFERS: [&str; 2] = ["nope.v9", "spandrel.download.v1+json"];

/// The next message; an error is the close code.
async fn next(conn: &mut Connection) -> Result<Value, u16> {
    let frame = tokio::time::timeout(Duration::from_secs(20), conn.recv()).await.expect("something comes");
    match frame {
        Ok(Some(frame)) => Ok(serde_json::from_slice(frame.data()).unwrap()),
        _ => Err(conn.close_info().map_or(Close::ABNORMAL, |close| close.code)),
    }
}

async fn until(conn: &mut Connection, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let message = next(conn).await.expect("the connection lives");
        if wanted(&message) {
            return message;
        }
    }
}

/// Serves TCP frames and says where.
async fn tcp(bench: &Bench, security: Security) -> Endpoint {
    let scheme = if security.is_on() { "tcps" } else { "tcp" };
    let transport = TcpTransport::new()
        .with_limits(bench.service.link_limits())
        .with_subprotocols(Service::subprotocols())
        .with_security(security);
    let listener = transport.listen(&format!("{scheme}://127.0.0.1:0").parse().unwrap()).await.unwrap();
    let (at, service) = (listener.local().clone(), bench.service.clone());
    tokio::spawn(async move { service.serve_links(listener).await });
    at
}

async fn dial(transport: TcpTransport, at: &Endpoint) -> Connection {
    Connection::new(transport.dial(at).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_carries_a_download_and_pings_by_messages() {
    let bench = Bench::start_with(AuthMode::None, |config| config.sessions.heartbeat_interval_ms = 100).await;
    let at = tcp(&bench, Security::none()).await;
    let mut conn = dial(TcpTransport::new().with_subprotocols(OFFERS), &at).await;
    assert_eq!(conn.peer().subprotocol.as_deref(), Some(OFFERS[1]));
    let hello = next(&mut conn).await.unwrap();
    assert_eq!(hello["data"]["kind"], "hello");
    conn.send(Frame::text(message("download:request", &request(), "t1"))).await.unwrap();
    let done = until(&mut conn, |m| m["event"] == "download:complete").await;
    assert_eq!((&done["requestId"], &done["data"]["totalRows"]), (&json!("t1"), &json!(100)));
    let ping = until(&mut conn, |m| m["data"]["kind"] == "ping").await;
    assert_eq!(ping["event"], "connection:health");
    assert!(ping["requestId"].as_str().unwrap().starts_with("srv-"));
    let pong = json!({ "kind": "pong" });
    conn.send(Frame::text(message("connection:health", &pong, "t2"))).await.unwrap();
    until(&mut conn, |m| m["data"]["kind"] == "ping").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_is_closed_though_it_takes_pings() {
    let bench = Bench::start_with(AuthMode::None, |config| {
        config.sessions.heartbeat_interval_ms = 100;
        config.sessions.heartbeat_timeout_ms = 50;
    })
    .await;
    let at = tcp(&bench, Security::none()).await;
    let mut conn = dial(TcpTransport::new().with_subprotocols(OFFERS), &at).await;
    let code = loop {
        if let Err(code) = next(&mut conn).await {
            break code;
        }
    };
    assert_eq!(code, 4408);
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_without_a_key_is_closed_where_one_is_required() {
    let bench = Bench::start(AuthMode::Required).await;
    let at = tcp(&bench, Security::none()).await;
    for (name, query, protocol, want) in [
        ("nothing", "", OFFERS[1], 4401),
        ("another parameter", "x=1", OFFERS[1], 4401),
        ("malformed kid", "kid=a.b", OFFERS[1], 4400),
        ("sealed without cn", "kid=k1", SEALED, 4400),
    ] {
        let mut transport = TcpTransport::new().with_subprotocols([protocol]);
        if !query.is_empty() {
            transport = transport.with_query(query);
        }
        assert_eq!(next(&mut dial(transport, &at).await).await, Err(want), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_session_runs_over_tcp_inside_tls() {
    let bench = Bench::start(AuthMode::Required).await;
    let certificate = TlsServer::self_signed(["localhost"]).unwrap();
    let pinned = TlsClient::with_fingerprint(certificate.fingerprint()).unwrap();
    let at = tcp(&bench, Security::none().with_server(certificate)).await;
    let transport = TcpTransport::new()
        .with_subprotocols([SEALED])
        .with_query(format!("kid=k1&cn={}", encode_base64url(&[3; 16])))
        .with_security(Security::none().with_client(pinned));
    let mut conn = dial(transport, &at).await;
    let mut config = LayersConfig::new(Side::Client);
    config.sealing = Sealing::AfterHello;
    config.signer = Some(Signer { kid: kid("k1"), key: signing_key(&secret(0x11)), mode: Signing::Required });
    let mut layers = Layers::new(config);
    let hello = conn.recv().await.unwrap().unwrap();
    let hello: Value = serde_json::from_str(&layers.inbound(&hello).unwrap()).unwrap();
    let nonce = decode_base64url_array(hello["data"]["serverNonce"].as_str().unwrap()).unwrap();
    layers.seal_with(SealKeys::derive(&secret(0x11), &[3; 16], &nonce));
    let text = message("status:check", &json!({}), "t1");
    conn.send(layers.outbound(text, WallMillis::new(wall_ms()), bench::entropy).unwrap()).await.unwrap();
    let frame = conn.recv().await.unwrap().unwrap();
    let text = layers.inbound(&frame).unwrap();
    layers.verify(&text, WallMillis::new(wall_ms()), &Freshness::default(), |_, _, _| Ok(())).unwrap();
    assert!(text.contains("\"status:update\"") && text.contains("\"t1\""), "{text}");
    // The key goes, and with it the session.
    bench.ring.replace(vec![key("k2", 0x22, "bob")], vec![]).unwrap();
    bench.service.recheck();
    assert!(matches!(conn.recv().await, Ok(None)));
    assert_eq!(conn.close_info().map(|close| close.code), Some(4401));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_inside_tls_serves_rest_and_sessions() {
    let certificate = TlsServer::self_signed(["localhost"]).unwrap().with_alpn(["http/1.1"]);
    let pinned = TlsClient::with_fingerprint(certificate.fingerprint()).unwrap();
    let bench = Bench::start_with(AuthMode::Required, |config| config.tls = Some(certificate)).await;
    let connect = async || {
        let stream = TcpStream::connect(bench.address).await.unwrap();
        pinned.connect(stream, "localhost").await.unwrap()
    };
    let headers = format!("Authorization: Bearer {ALICE}\r\n");
    let mut stream = connect().await;
    let (status, _, body) = exchange(&mut *stream, bench.address, "GET", "/v1/datasets", &headers, "").await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let transport = spandrel_transport_ws::WsTransport::new()
        .with_subprotocols([OFFERS[1]])
        .with_header(http::header::AUTHORIZATION, format!("Bearer {ALICE}").parse().unwrap())
        .with_security(Security::none().with_client(pinned.clone()));
    let at = format!("wss://{}/v1/ws", bench.address).parse().unwrap();
    let mut conn = Connection::new(transport.dial(&at).await.unwrap());
    conn.send(Frame::text(message("download:request", &request(), "w1"))).await.unwrap();
    until(&mut conn, |m| m["event"] == "download:complete").await;
}

/// A parent at one end of a link in memory.
async fn parent(service: &Service) -> (Connection, tokio::task::JoinHandle<()>) {
    let mem = MemTransport::new();
    let at = "mem:parent".parse().unwrap();
    let mut listener = mem.listen(&at).await.unwrap();
    let dialled = tokio::spawn(async move { mem.dial(&at).await.unwrap() });
    let incoming = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
    let (link, service) = (incoming.accept().await.unwrap(), service.clone());
    let talking = tokio::spawn(async move { service.serve_parent(link).await });
    (Connection::new(dialled.await.unwrap()), talking)
}

fn pair(key: &str, value: &str) -> Frame {
    Frame::text(format!(r#"{{"key":"{key}","value":{value}}}"#))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_talks_in_pairs_and_is_trusted() {
    let bench = Bench::start(AuthMode::Required).await;
    let (mut conn, talking) = parent(&bench.service).await;
    let hello = next(&mut conn).await.unwrap();
    assert_eq!(
        (&hello["key"], &hello["value"]["data"]["kind"]),
        (&json!("connection:health"), &json!("hello"))
    );
    assert_eq!(hello["value"]["data"]["protocol"], OFFERS[1]);
    conn.send(pair("download:request", &message("download:request", &request(), "i1"))).await.unwrap();
    let done = until(&mut conn, |m| m["key"] == "download:complete").await;
    assert_eq!(done["value"]["requestId"], "i1");
    // Files are not for everybody here: the parent got a signed URL.
    let url = done["value"]["data"]["files"][0]["url"].as_str().unwrap();
    assert_eq!(bench.http("GET", url, "", "").await.0, 200);
    for (name, frame, want, id) in [
        (
            "another key",
            pair("status:check", &message("connection:health", &json!({}), "i2")),
            "INVALID_ENVELOPE",
            "i2",
        ),
        (
            "a bare message",
            Frame::text(message("status:check", &json!({}), "i3")),
            "INVALID_ENVELOPE",
            "srv-",
        ),
        ("no JSON", Frame::text("nonsense"), "MALFORMED_MESSAGE", "srv-"),
        ("no UTF-8", Frame::binary(vec![0xff_u8, b'\n']), "MALFORMED_MESSAGE", "srv-"),
        ("unknown event", pair("fly", &message("fly", &json!({}), "i4")), "UNKNOWN_EVENT", "i4"),
    ] {
        conn.send(frame).await.unwrap();
        let error = until(&mut conn, |m| m["key"] == "system:error").await;
        assert_eq!(error["value"]["data"]["code"], want, "{name}");
        assert!(error["value"]["requestId"].as_str().unwrap().starts_with(id), "{name}: {error}");
    }
    conn.close(Close::normal()).await.unwrap();
    talking.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_talks_nonsense_is_left() {
    let bench = Bench::start(AuthMode::None).await;
    let (mut conn, talking) = parent(&bench.service).await;
    for _ in 0..11 {
        conn.send(Frame::text("nope")).await.unwrap();
    }
    talking.await.unwrap();
    let code = loop {
        if let Err(code) = next(&mut conn).await {
            break code;
        }
    };
    assert_eq!(code, 1008);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_tells_parents_and_tcp_peers() {
    let bench = Bench::start(AuthMode::None).await;
    let at = tcp(&bench, Security::none()).await;
    let mut peer = dial(TcpTransport::new().with_subprotocols(OFFERS), &at).await;
    next(&mut peer).await.unwrap();
    let (mut conn, talking) = parent(&bench.service).await;
    next(&mut conn).await.unwrap();
    let service = bench.service.clone();
    let stop = tokio::spawn(async move { service.shut_down(Duration::from_secs(5)).await });
    let last = next(&mut conn).await.unwrap();
    assert_eq!(
        (&last["key"], &last["value"]["data"]["code"]),
        (&json!("system:error"), &json!("SHUTTING_DOWN"))
    );
    assert_eq!(next(&mut conn).await, Err(1001));
    assert_eq!(next(&mut peer).await.unwrap()["data"]["code"], "SHUTTING_DOWN");
    assert_eq!(next(&mut peer).await, Err(1001));
    talking.await.unwrap();
    assert!(stop.await.unwrap());
}
