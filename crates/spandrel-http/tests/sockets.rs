//! The parts behind a real listener on port 0, spoken to by a client that writes its own bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Extension, Request, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Router, body::Body};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use spandrel_crypto::{hex, sha256};
use spandrel_http::{
    Asset, Assets, BodyError, FileFacts, Guard, GuardConfig, GuardFace, Limits, RequestId, guard_requests,
    open_file, read_body, serve_file, with_request_id,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    at
}

#[derive(Debug, PartialEq)]
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("(absent)", String::as_str)
    }
}

/// Reads the head of a reply, byte by byte so that the body stays in the socket.
async fn head(link: &mut TcpStream) -> Reply {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(link.read_u8().await.expect("a whole head"));
    }
    let text = String::from_utf8(text).expect("an ascii head");
    let (first, rest) = text.split_once("\r\n").expect("a status line");
    let status = first.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    let lines = rest.lines().filter_map(|line| line.split_once(": "));
    let headers = lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Reply { status, headers, body: vec![] }
}

async fn ask(link: &mut TcpStream, method: &str, target: &str, headers: &[(&str, &str)]) {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        let at = link.peer_addr().expect("connected");
        text += &format!("Host: {at}\r\n");
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    link.write_all((text + "\r\n").as_bytes()).await.expect("written");
}

/// One exchange on a connection of its own.
async fn call(at: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
    let mut link = TcpStream::connect(at).await.expect("connected");
    let close = [("Connection", "close")];
    ask(&mut link, method, target, &[headers, &close].concat()).await;
    let mut reply = head(&mut link).await;
    link.read_to_end(&mut reply.body).await.expect("a whole body");
    reply
}

/// One file on disk and its record.
#[derive(Debug, Clone)]
struct Served {
    path: PathBuf,
    bytes: Arc<Vec<u8>>,
    _folder: Arc<tempfile::TempDir>,
}

impl Served {
    fn new(len: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        // 251 is prime to the block size: a block in the wrong place is seen.
        let bytes: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).expect("below 251")).collect();
        std::fs::write(&path, &bytes).expect("written");
        Self { path, bytes: bytes.into(), _folder: folder.into() }
    }

    fn etag(&self) -> String {
        format!("\"sha256-{}\"", hex(&sha256(&self.bytes)))
    }

    async fn start(&self) -> SocketAddr {
        serve(Router::new().route("/f", any(send)).with_state(self.clone())).await
    }
}

async fn send(State(served): State<Served>, method: Method, headers: HeaderMap) -> Response {
    let len = served.bytes.len() as u64;
    let Ok(file) = open_file(served.path, len).await else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let facts = FileFacts {
        file,
        len,
        sha256: sha256(&served.bytes),
        content_type: HeaderValue::from_static("text/csv; charset=utf-8"),
        file_name: "logs-part00001.csv".into(),
        modified: SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_251_200_900),
    };
    serve_file(facts, &method, &headers)
}

#[tokio::test]
async fn get_and_head_say_all_there_is_to_know() {
    let served = Served::new(200_000);
    let at = served.start().await;
    let (got, head) = (call(at, "GET", "/f", &[]).await, call(at, "HEAD", "/f", &[]).await);
    for reply in [&got, &head] {
        assert_eq!(reply.status, 200);
        for (name, want) in [
            ("etag", served.etag().as_str()),
            ("repr-digest", "sha-256=:4kvGI4HxIk+7t0aIZj+Pl0O5aAsZPt1maDXpewbnMOs=:"),
            ("accept-ranges", "bytes"),
            ("content-length", "200000"),
            ("last-modified", "Fri, 01 Mar 2024 00:00:00 GMT"),
            ("content-type", "text/csv; charset=utf-8"),
            ("content-disposition", "attachment; filename=\"logs-part00001.csv\""),
            ("cache-control", "private, no-transform"),
            ("x-content-type-options", "nosniff"),
            ("content-encoding", "(absent)"),
            ("transfer-encoding", "(absent)"),
        ] {
            assert_eq!(reply.header(name), want, "{name}");
        }
    }
    assert!(got.body == *served.bytes);
    assert!(head.body.is_empty());
    let posted = call(at, "POST", "/f", &[]).await;
    assert_eq!((posted.status, posted.header("allow")), (405, "GET, HEAD"));
}

#[tokio::test]
async fn a_range_gives_its_bytes() {
    let served = Served::new(200_000);
    let (at, etag, n) = (served.start().await, served.etag(), 200_000);
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=1000-", 1000, n - 1),
        ("bytes=-10", n - 10, n - 1),
        ("bytes=-200005", 0, n - 1),
        ("bytes=199999-200100", n - 1, n - 1),
        ("bytes=65535-131072", 65_535, 131_072),
    ] {
        for conditions in [&[("Range", range)][..], &[("Range", range), ("If-Range", &etag)]] {
            let got = call(at, "GET", "/f", conditions).await;
            assert_eq!(got.status, 206, "{range}");
            assert_eq!(got.header("content-range"), format!("bytes {first}-{last}/{n}"));
            assert_eq!(got.header("content-length"), (last - first + 1).to_string(), "{range}");
            assert_eq!(got.header("etag"), etag, "{range}");
            assert!(got.header("repr-digest").starts_with("sha-256=:"), "{range}");
            assert!(got.body == served.bytes[first..=last], "{range}");
        }
    }
    for conditions in [
        &[("Range", "bytes=5-2")][..],
        &[("Range", "lines=1-2")],
        &[("Range", "bytes=0-1,5-6")],
        &[("Range", "bytes=0-1"), ("Range", "bytes=0-1")],
        &[("Range", "bytes=7-9"), ("If-Range", "\"old\"")],
        &[("Range", "bytes=7-9"), ("If-Range", &format!("W/{etag}"))],
        &[("Range", "bytes=7-9"), ("If-Range", "Fri, 01 Mar 2024 00:00:00 GMT")],
    ] {
        let got = call(at, "GET", "/f", conditions).await;
        assert_eq!((got.status, got.header("content-range")), (200, "(absent)"), "{conditions:?}");
        assert!(got.body == *served.bytes, "{conditions:?}");
    }
    for range in ["bytes=200000-", "bytes=-0"] {
        let got = call(at, "GET", "/f", &[("Range", range)]).await;
        assert_eq!((got.status, got.header("content-range")), (416, "bytes */200000"), "{range}");
        assert!(got.body.is_empty());
    }
    let got = call(at, "HEAD", "/f", &[("Range", "bytes=0-0")]).await;
    assert_eq!((got.status, got.header("content-length")), (200, "200000"), "ranges are for GET");
}

#[tokio::test]
async fn an_empty_file_is_served() {
    let served = Served::new(0);
    let at = served.start().await;
    for (range, status) in [("", 200), ("bytes=-5", 200), ("bytes=0-", 416)] {
        let got = call(at, "GET", "/f", &[("Range", range)]).await;
        assert_eq!((got.status, got.header("content-length")), (status, "0"), "{range:?}");
    }
}

#[tokio::test]
async fn conditions_end_without_body_and_the_connection_goes_on() {
    let served = Served::new(70_000);
    let (at, etag) = (served.start().await, served.etag());
    let mut link = TcpStream::connect(at).await.unwrap();
    for (conditions, status) in [
        (&[("If-None-Match", etag.as_str())][..], 304),
        (&[("If-None-Match", etag.as_str()), ("Range", "bytes=0-1")], 304),
        (&[("If-Modified-Since", "Fri, 01 Mar 2024 00:00:00 GMT")], 304),
        (&[("If-Match", "\"other\"")], 412),
        (&[("If-Match", "\"other\""), ("Range", "bytes=999999-")], 412),
    ] {
        for method in ["GET", "HEAD"] {
            ask(&mut link, method, "/f", conditions).await;
            let got = head(&mut link).await;
            assert_eq!(got.status, status, "{conditions:?}");
            if status == 304 {
                assert_eq!(got.header("etag"), etag);
                assert_eq!(got.header("content-length"), "(absent)", "0 would be a lie about the file");
            }
        }
    }
    ask(&mut link, "GET", "/f", &[("If-Match", &etag), ("Range", "bytes=3-5")]).await;
    assert_eq!(head(&mut link).await.status, 206);
    let mut three = [0; 3];
    link.read_exact(&mut three).await.unwrap();
    assert_eq!(three, [3, 4, 5], "in step after ten answers without body");
}

#[tokio::test]
async fn a_broken_transfer_is_resumed_to_the_same_bytes() {
    let served = Served::new(3_000_000);
    let (at, mut have, mut tries) = (served.start().await, Vec::new(), 0);
    while have.len() < served.bytes.len() {
        tries += 1;
        let mut link = TcpStream::connect(at).await.unwrap();
        let (range, etag) = (format!("bytes={}-", have.len()), served.etag());
        let resume = [("Range", range.as_str()), ("If-Range", etag.as_str())];
        ask(&mut link, "GET", "/f", if have.is_empty() { &[] } else { &resume }).await;
        assert_eq!(head(&mut link).await.status, if have.is_empty() { 200 } else { 206 });
        let mut piece = vec![0; 700_001.min(served.bytes.len() - have.len())];
        link.read_exact(&mut piece).await.unwrap();
        have.extend(piece); // and the connection is dropped with more on its way
    }
    assert_eq!(tries, 5);
    assert_eq!(hex(&sha256(&have)), hex(&sha256(&served.bytes)));
}

#[tokio::test]
async fn a_file_deleted_on_the_way_still_arrives_whole() {
    let served = Served::new(16 * 1024 * 1024); // more than sockets and buffers hold
    let at = served.start().await;
    let mut link = TcpStream::connect(at).await.unwrap();
    ask(&mut link, "GET", "/f", &[("Connection", "close")]).await;
    assert_eq!(head(&mut link).await.status, 200);
    std::fs::remove_file(&served.path).unwrap();
    let mut body = Vec::new();
    link.read_to_end(&mut body).await.unwrap();
    assert!(body == *served.bytes);
    assert_eq!(call(at, "GET", "/f", &[]).await.status, 404, "and is gone for the next");
}

#[tokio::test]
async fn a_file_cut_short_on_the_way_breaks_the_connection_off() {
    let served = Served::new(16 * 1024 * 1024);
    let at = served.start().await;
    let mut link = TcpStream::connect(at).await.unwrap();
    ask(&mut link, "GET", "/f", &[]).await; // keep-alive: only a break can end the body early
    let reply = head(&mut link).await;
    std::fs::File::options().write(true).open(&served.path).unwrap().set_len(1000).unwrap();
    let mut body = Vec::new();
    let end = link.read_to_end(&mut body).await;
    assert_eq!(reply.header("content-length"), "16777216");
    assert!(body.len() < served.bytes.len(), "{} bytes, ended {end:?}", body.len());
    assert!(served.bytes.starts_with(&body), "what came is right");
}

#[tokio::test]
async fn the_guard_stands_before_every_path() {
    let guard = Guard::new(&GuardConfig {
        listen_is_loopback: true,
        allowed_origins: vec!["https://desk.example".into()],
        ..GuardConfig::default()
    });
    let refuse = |why: spandrel_http::Refused| (StatusCode::FORBIDDEN, why.to_string()).into_response();
    let face = Arc::new(GuardFace { guard: guard.unwrap(), refuse });
    let app = Router::new()
        .route("/", get(|| async { "page" }).post(|| async { "done" }))
        .layer(from_fn_with_state(face, guard_requests));
    let at = serve(app).await;
    let own = format!("http://{at}");
    let evil_target = format!("http://evil.example:{}/", at.port());
    for (name, method, target, headers, status) in [
        ("own page", "POST", "/", &[("Origin", own.as_str())][..], 200),
        ("no browser", "POST", "/", &[], 200),
        ("listed", "POST", "/", &[("Origin", "https://desk.example")], 200),
        ("foreign page", "POST", "/", &[("Origin", "http://evil.example")], 403),
        ("sandboxed page", "POST", "/", &[("Origin", "null")], 403),
        ("two origins", "POST", "/", &[("Origin", own.as_str()), ("Origin", own.as_str())], 403),
        ("foreign page reads", "GET", "/", &[("Origin", "http://evil.example")], 200),
        ("foreign upgrade", "GET", "/", &[("Origin", "http://evil.example"), ("Upgrade", "websocket")], 403),
        ("own upgrade", "GET", "/", &[("Origin", own.as_str()), ("Upgrade", "websocket")], 200),
        ("rebound name", "GET", "/", &[("Host", "evil.example")], 403),
        ("two hosts", "GET", "/", &[("Host", "localhost"), ("Host", "evil.example")], 403),
        ("target over host", "GET", &evil_target, &[("Host", "localhost")], 403),
        ("unknown path too", "GET", "/nowhere", &[("Host", "evil.example")], 403),
        ("unknown path", "GET", "/nowhere", &[], 404),
        ("unknown method", "BREW", "/", &[("Origin", "http://evil.example")], 403),
    ] {
        let got = call(at, method, target, headers).await;
        // hyper itself may refuse two hosts
        assert!(got.status == status || (name == "two hosts" && got.status == 400), "{name}: {got:?}");
        let listed = headers.contains(&("Origin", "https://desk.example"));
        assert_eq!(got.headers.contains_key("access-control-allow-origin"), listed, "{name}");
    }
    let asks = ("Access-Control-Request-Method", "POST");
    let got = call(at, "OPTIONS", "/", &[("Origin", "https://desk.example"), asks]).await;
    assert_eq!((got.status, got.header("vary")), (204, "Origin"));
    assert_eq!(got.header("content-length"), "(absent)", "RFC 9110 section 8.6");
    assert_eq!(got.header("access-control-allow-origin"), "https://desk.example");
    let got = call(at, "OPTIONS", "/", &[("Origin", "http://evil.example"), asks]).await;
    assert_eq!((got.status, got.header("access-control-allow-origin")), (405, "(absent)"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_before_it_is_sent() {
    let read = |request: Request| async {
        let (parts, body) = request.into_parts();
        let limits = Limits { body_bytes_max: 10, ..Limits::default() };
        match read_body(&parts.headers, body, &limits).await {
            Ok(body) => body.into_response(),
            Err(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            Err(_) => StatusCode::BAD_REQUEST.into_response(),
        }
    };
    let at = serve(Router::new().route("/", post(read))).await;
    let mut link = TcpStream::connect(at).await.unwrap();
    ask(&mut link, "POST", "/", &[("Content-Length", "1000000000000")]).await;
    assert_eq!(head(&mut link).await.status, 413, "announced");

    let mut link = TcpStream::connect(at).await.unwrap();
    ask(&mut link, "POST", "/", &[("Transfer-Encoding", "chunked")]).await;
    link.write_all(b"6\r\n123456\r\n5\r\n12345\r\n").await.unwrap(); // 11 bytes, and no end
    assert_eq!(head(&mut link).await.status, 413, "counted");

    let mut link = TcpStream::connect(at).await.unwrap();
    ask(&mut link, "POST", "/", &[("Transfer-Encoding", "chunked")]).await;
    link.write_all(b"a\r\n1234567890\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(head(&mut link).await.status, 200, "at the limit");
}

#[tokio::test]
async fn every_request_has_its_own_id_and_no_new_header() {
    let show = |Extension(id): Extension<RequestId>| async move { id.to_string() };
    let at = serve(Router::new().route("/", get(show)).layer(from_fn(with_request_id))).await;
    let (a, b) = (call(at, "GET", "/", &[]).await, call(at, "GET", "/", &[]).await);
    assert!(a.body.starts_with(b"req-"));
    assert_ne!(a.body, b.body);
    let names: Vec<_> = a.headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["connection", "content-length", "content-type", "date"]);
}

#[tokio::test]
async fn a_page_is_revalidated_without_body() {
    const PAGE: [Asset; 1] = [Asset { path: "/", content_type: "text/html", bytes: b"<p>hello" }];
    let assets = Arc::new(Assets::new(&PAGE, "default-src 'self'"));
    let app = Router::new().fallback(move |request: Request<Body>| {
        let assets = Arc::clone(&assets);
        async move {
            let answer = assets.answer(request.uri().path(), request.method(), request.headers());
            answer.unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
        }
    });
    let at = serve(app).await;
    let (got, head) = (call(at, "GET", "/", &[]).await, call(at, "HEAD", "/", &[]).await);
    assert_eq!((got.status, got.body.as_slice(), got.header("content-length")), (200, &b"<p>hello"[..], "8"));
    assert_eq!((head.status, head.body.as_slice(), head.header("content-length")), (200, &b""[..], "8"));
    let again = call(at, "GET", "/", &[("If-None-Match", got.header("etag"))]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("content-length"), "(absent)");
    assert_eq!(again.header("content-security-policy"), "default-src 'self'");
    assert_eq!(call(at, "GET", "/x", &[]).await.status, 404);
}
