//! HTTP: requests that are none, bodies that mean nothing, paths and ranges that reach too far, foreign pages.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Victim, documents};
use crate::e2e::server::PATIENCE;

/// How long half a request is left lying before its sender hangs up.
const HALF: Duration = Duration::from_millis(300);

/// Sends bytes, and reads what comes until the server is done: the statuses of all answers, and the last body.
///
/// With `is_all` our side hangs up when no answer comes: half a request is all there will be.
async fn say(address: SocketAddr, bytes: &[u8], is_all: bool) -> (Vec<u16>, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut answer = Vec::new();
    let exchange = async {
        let _ = stream.write_all(bytes).await;
        if is_all && timeout(HALF, stream.read_to_end(&mut answer)).await.is_err() {
            let _ = stream.shutdown().await;
        }
        let _ = stream.read_to_end(&mut answer).await;
    };
    timeout(PATIENCE, exchange).await.expect("the server answers or closes");
    let mut statuses = Vec::new();
    let mut body = Vec::new();
    let text = String::from_utf8_lossy(&answer).into_owned();
    for (at, _) in text.match_indices("HTTP/1.1 ") {
        if let Some(status) = text.get(at + 9..at + 12).and_then(|status| status.parse().ok()) {
            statuses.push(status);
        }
    }
    if let Some(at) = answer.windows(4).position(|part| part == b"\r\n\r\n") {
        body = answer.split_off(at + 4);
    }
    (statuses, body)
}

/// Requests that are none: refused with a status of the 400s, or dropped.
fn no_requests() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| all.push((name.to_owned(), bytes));
    for line in [
        "",
        "\r\n",
        "GET",
        "GET /",
        "GET / HTTP",
        "GET / HTTP/",
        "GET / HTTP/9.9",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET  / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1.1 x",
        "G\0T / HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GÉT / HTTP/1.1",
        "{\"event\":1}",
        "<x/>",
        "\x16\x03\x01\x02\x00\x01",
        "PRI * HTTP/2.0",
        "SSH-2.0-x",
        "CONNECT HTTP/1.1",
        "/ GET HTTP/1.1",
        "GET / HTTP/1.1\rX: y",
    ] {
        add(&format!("first line {line:?}"), format!("{line}\r\nHost: localhost\r\n\r\n").into_bytes());
    }
    for head in [
        "NoColon",
        ": x",
        "Na me: x",
        "Name : x",
        "N\0me: x",
        "Näme: x",
        "Name: \0",
        "Name: a\rb",
        " Folded: x",
        "Content-Length: -1",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: five",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 1.5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: \x0bchunked",
    ] {
        let bytes = format!(
            "POST /v1/downloads HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n\r\nhello"
        );
        add(&format!("header {head:?}"), bytes.into_bytes());
    }
    for chunk in [
        "x\r\n",
        "-1\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000000\r\n",
        "5\r\nhelloXX",
        "5\r\nhel",
        "0x5\r\nhello\r\n",
        "5;ext\0\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n",
        "\r\n",
        "5\nhello\n0\n\n",
        "1 1\r\nhello\r\n",
    ] {
        let head = "POST /v1/downloads HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked";
        add(&format!("chunk {chunk:?}"), format!("{head}\r\n\r\n{chunk}").into_bytes());
    }
    for (name, many) in [("101 headers", 101), ("3,000 headers", 3_000)] {
        let heads: String = (0..many).map(|n| format!("X-{n}: y\r\n")).collect();
        add(name, format!("GET /v1/health HTTP/1.1\r\nHost: localhost\r\n{heads}\r\n").into_bytes());
    }
    for len in [17 << 10, 70 << 10, 1 << 20] {
        let long = "a".repeat(len);
        let start = "GET /v1/health HTTP/1.1\r\nHost: localhost\r\n";
        add(&format!("a header of {len} bytes"), format!("{start}X: {long}\r\n\r\n").into_bytes());
        add(&format!("a header name of {len} bytes"), format!("{start}{long}: x\r\n\r\n").into_bytes());
        add(
            &format!("a path of {len} bytes"),
            format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes(),
        );
        add(
            &format!("a method of {len} bytes"),
            format!("{long} / HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes(),
        );
        add(&format!("{len} bytes without an end"), vec![b'a'; len]);
    }
    for byte in [0, 1, 0x80, 0xff] {
        add(&format!("5,000 bytes {byte:#x}"), vec![byte; 5_000]);
    }
    all
}

fn request(method: &str, path: &str, heads: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !heads.iter().any(|(name, _)| *name == "Host") {
        text += "Host: localhost\r\n";
    }
    for (name, value) in heads {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    [(text + "\r\n").as_bytes(), body].concat()
}

/// Says it, and checks that the one answer is a refusal of the 400s in the form of all others.
async fn refused(victim: &mut Victim, name: &str, bytes: &[u8]) -> u16 {
    let (statuses, body) = say(victim.server.address(), bytes, false).await;
    assert_eq!(statuses.len(), 1, "{name}: {statuses:?}");
    assert!((400..500).contains(&statuses[0]), "{name}: {statuses:?}");
    let problem: Value = serde_json::from_slice(&body)
        .unwrap_or_else(|e| panic!("{name}: {e}: {}", String::from_utf8_lossy(&body)));
    assert!(problem["code"].is_string() && problem["recoverable"].is_boolean(), "{name}: {problem}");
    let told = problem.to_string();
    assert!(!told.contains("/root") && !told.contains("/tmp") && !told.contains(".rs:"), "{name}: {told}");
    victim.still_serves(name).await;
    statuses[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_or_dropped() {
    let _turn = crate::e2e::turn().await;
    let mut victim = Victim::new(json!({})).await;
    for (name, bytes) in no_requests() {
        let (statuses, _) = say(victim.server.address(), &bytes, true).await;
        let is_refused =
            statuses.iter().all(|status| (400..500).contains(status) || [501, 505].contains(status))
                && statuses.len() <= 1;
        assert!(is_refused, "{name}: {statuses:?}");
        victim.still_serves(&name).await;
    }
    victim.end(80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_mean_nothing_are_refused_with_a_reason() {
    let _turn = crate::e2e::turn().await;
    let mut victim = Victim::new(json!({})).await;
    let json_type = [("Content-Type", "application/json")];
    for (name, text) in documents::malformed() {
        for path in ["/v1/downloads", "/v1/preview"] {
            let name = format!("{path}: {name}");
            assert_eq!(
                refused(&mut victim, &name, &request("POST", path, &json_type, &text)).await,
                400,
                "{name}"
            );
        }
    }
    for (name, data) in documents::ill_requests() {
        for path in ["/v1/downloads", "/v1/preview"] {
            let name = format!("{path}: {name}");
            let status =
                refused(&mut victim, &name, &request("POST", path, &json_type, data.to_string().as_bytes()))
                    .await;
            assert!([400, 413, 422].contains(&status), "{name}: {status}");
        }
    }
    for method in ["PUT", "PATCH", "TRACE", "CONNECT", "PROPFIND", "FOO", "get", "G-T"] {
        for path in ["/v1/downloads", "/v1/ws", "/v1/health", "/"] {
            refused(&mut victim, &format!("{method} {path}"), &request(method, path, &[], b"")).await;
        }
    }
    for query in [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=99999999999999999999",
        "cursor=x",
        "cursor=%00",
        "cursor=../..",
        "state=nobody",
        "state=completed%00",
        "limit=%",
        "limit=1.5",
    ] {
        refused(&mut victim, query, &request("GET", &format!("/v1/downloads?{query}"), &[], b"")).await;
    }
    let none = "/v1/downloads/dl_AAAAAAAAAAAAAAAAAAAAAA";
    for (method, path) in
        [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/pause"), ("POST", "/resume")]
    {
        let status = refused(&mut victim, path, &request(method, &format!("{none}{path}"), &[], b"")).await;
        assert_eq!(status, 404, "{method} {path}");
    }
    for wait in ["-1", "61", "x", "1e3", "99999999999999999999", "0.5", ""] {
        refused(&mut victim, wait, &request("GET", &format!("{none}?wait={wait}"), &[], b"")).await;
    }
    let good = crate::e2e::data::flights().to_string();
    for key in ["", "srv-1", "a b", "a/b", "ä", "{}", &"a".repeat(65), "a,b"] {
        let heads = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        let name = format!("Idempotency-Key {key:?}");
        refused(&mut victim, &name, &request("POST", "/v1/downloads", &heads, good.as_bytes())).await;
    }
    victim.end(400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_ranges_reach_one_file_only() {
    let _turn = crate::e2e::turn().await;
    let mut victim = Victim::new(json!({})).await;
    let request_data =
        crate::e2e::data::with(crate::e2e::data::flights(), &[("searchParams.limit", 1_000.into())]);
    let id = victim.server.http().create(&request_data).await;
    let done = victim.server.http().completed(&id).await;
    let file = &done["files"][0];
    let (name, len) = (file["fileName"].as_str().expect("a name"), file["bytes"].as_u64().expect("a length"));
    let whole = victim.server.get(&format!("/v1/files/{id}/{name}")).await.body;
    for bad in [
        "../",
        "..%2f",
        "%2e%2e/",
        "%2e%2e%2f",
        "..%5c",
        "..\\",
        "%252e%252e%252f",
        "..%c0%af",
        "%c0%ae%c0%ae/",
        "....//",
        "..;/",
        "./",
        "%2e/",
        "%00",
        "a%00b",
        "%0d%0aX:y",
        "~",
        "~root",
        "*",
        "?",
        "#",
        "%",
        "%2",
        "%zz",
        "con",
        "nul",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "job.json",
        "record.json",
        "request.json",
        "secret",
        "..%2fsecret",
        "parts",
        "file:%2f%2f%2fetc%2fpasswd",
        "\u{ff0e}\u{ff0e}\u{ff0f}",
    ] {
        for path in
            [format!("/v1/files/{id}/{bad}"), format!("/v1/files/{bad}/{name}"), format!("/v1/files/{bad}")]
        {
            let path: String =
                path.chars().map(|c| if c.is_ascii() { c.to_string() } else { "%EF%BC%8E".into() }).collect();
            let (statuses, body) =
                say(victim.server.address(), &request("GET", &path, &[], b""), false).await;
            assert!(matches!(statuses[..], [400..=499]), "{path}: {statuses:?}");
            assert!(
                !body.starts_with(&whole[..50]) && !String::from_utf8_lossy(&body).contains("root:"),
                "{path}"
            );
            victim.still_serves(&path).await;
        }
    }
    let at = format!("/v1/files/{id}/{name}");
    let last = len - 1;
    for range in [
        "bytes=0-0",
        "bytes=0-",
        "bytes=-1",
        "bytes=-0",
        "bytes=1-0",
        "bytes=5-2",
        "bytes=-",
        "bytes=",
        "bytes",
        "",
        "bytes=a-b",
        "bytes=0-a",
        "bytes= 0-1",
        "bytes=0 -1",
        "bytes=0-1,2-3",
        "bytes=0-1,",
        "bytes=,0-1",
        "bytes=--1",
        "bytes=0--1",
        "bytes=+0-1",
        "bytes=0x0-1",
        "bytes=18446744073709551615-",
        "bytes=18446744073709551616-",
        "bytes=0-18446744073709551616",
        "bytes=-18446744073709551616",
        "bytes=99999999999999999999999999-",
        "Bytes=0-1",
        "BYTES=0-1",
        "octets=0-1",
        "rows=0-1",
        "bytes:0-1",
        "bytes=0-1;x",
        "bytes=1.5-2",
        "bytes=１-2",
        "bytes=0-1\t",
        "bytes=00000000000000000000-1",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        format!("bytes={len}-"),
        format!("bytes={last}-"),
        format!("bytes={last}-{len}"),
        format!("bytes=-{len}"),
        format!("bytes=-{}", len + 1),
        format!("bytes=0-{}", u64::MAX),
        (0..1_300).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(",").replacen("", "bytes=", 1),
        (0..1_300).map(|_| "0-").collect::<Vec<_>>().join(",").replacen("", "bytes=", 1),
    ]) {
        let (statuses, body) =
            say(victim.server.address(), &request("GET", &at, &[("Range", &range)], b""), false).await;
        match statuses[..] {
            [200] => assert!(body == whole, "{range}"),
            [206] => assert!(
                body.len() as u64 <= len && whole.windows(body.len()).any(|part| part == body),
                "{range}"
            ),
            [400 | 416 | 431] => {}
            _ => panic!("{range}: {statuses:?}"),
        }
        victim.still_serves(&range).await;
    }
    victim.end(120).await;
}

/// Origins of pages that are not the server's.
const FOREIGN: &[&str] = &[
    "https://evil.example",
    "http://evil.example",
    "null",
    "",
    "file://",
    "http://localhost",
    "http://localhost:1",
    "https://localhost:{port}.evil.example",
    "http://127.0.0.1:1",
    "http://127.0.0.1",
    "http://127.0.0.1.evil.example:{port}",
    "http://evil.example:{port}",
    "http://127.0.0.1:{port}.evil.example",
    "http://user@127.0.0.1:{port}",
    "http://127.0.0.1:{port}/path",
    "http://127.0.0.2:{port}",
    "http://[::1]:{port}",
    "http://0.0.0.0:{port}",
    "http://127.1:{port}",
    "http://2130706433:{port}",
    "chrome-extension://abcdef",
    "http://127.0.0.1:{port} http://evil.example",
    "data:",
    "javascript:1",
    "*",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_another_origin_changes_anything_on_any_route() {
    let _turn = crate::e2e::turn().await;
    let mut victim = Victim::new(json!({})).await;
    let address = victim.server.address();
    let own = address.to_string();
    let slow =
        crate::e2e::data::with(crate::e2e::data::flights(), &[("options.maxRowsPerSecond", 10.into())]);
    let id = victim.server.http().create(&slow).await;
    let document = victim.server.get("/v1/openapi.json").await.json();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in
            methods.as_object().expect("methods").keys().filter(|m| ["post", "delete"].contains(&m.as_str()))
        {
            routes.push((method.to_uppercase(), path.replace("{id}", &id)));
        }
    }
    assert!(routes.len() >= 6, "{routes:?}");
    let body = slow.to_string();
    for origin in FOREIGN {
        let origin = origin.replace("{port}", &address.port().to_string());
        for (method, path) in &routes {
            for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
                let heads = [("Host", own.as_str()), ("Origin", &origin), ("Content-Type", kind)];
                let name = format!("{method} {path} for {origin:?} as {kind}");
                assert_eq!(
                    refused(&mut victim, &name, &request(method, path, &heads, body.as_bytes())).await,
                    403,
                    "{name}"
                );
            }
        }
        let heads = [
            ("Host", own.as_str()),
            ("Origin", &origin),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ("Sec-WebSocket-Protocol", crate::e2e::ws::SUBPROTOCOL),
        ];
        let name = format!("a message connection for {origin:?}");
        assert_eq!(refused(&mut victim, &name, &request("GET", "/v1/ws", &heads, b"")).await, 403, "{name}");
        // A page may send a GET anywhere; what it must not have is the answer.
        let heads = [("Host", own.as_str()), ("Origin", origin.as_str())];
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(&request("GET", "/v1/downloads", &heads, b"")).await.expect("the request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(!answer.to_ascii_lowercase().contains("access-control-allow"), "{origin:?}: {answer}");
    }
    for host in [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}",
        "",
        "*",
        "10.0.0.1:{port}",
        "0.0.0.0:{port}",
        "user@127.0.0.1:{port}",
        "127.0.0.1:{port}.evil.example",
        "localhost:{port}/x",
        "[::2]:{port}",
        "169.254.169.254",
    ] {
        let host = host.replace("{port}", &address.port().to_string());
        for (method, path) in routes.iter().cloned().chain(
            ["/", "/v1/downloads", "/v1/datasets", "/v1/health", "/metrics", "/v1/ws", "/v1/openapi.json"]
                .map(|path| ("GET".to_owned(), path.to_owned())),
        ) {
            let name = format!("{method} {path} at {host:?}");
            let status =
                refused(&mut victim, &name, &request(&method, &path, &[("Host", &host)], body.as_bytes()))
                    .await;
            assert!([400, 403].contains(&status), "{name}: {status}");
        }
    }
    let job = victim.server.get(&format!("/v1/downloads/{id}")).await.json();
    assert_eq!(job["state"], "generating", "nothing has touched the job");
    let list = victim.server.get("/v1/downloads").await.json();
    assert_eq!(list["downloads"].as_array().map(Vec::len), Some(2), "nothing was started");
    victim.server.http().send("DELETE", &format!("/v1/downloads/{id}"), &[], b"").await;
    victim.end(500).await;
}
