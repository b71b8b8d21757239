//! Every code of the protocol's error table, provoked through the real server, which serves on afterwards.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use spandrel_download_protocol::ErrorCode;
use tokio_tungstenite::tungstenite::Error;

use super::FLIGHTS;
use super::data::{all, flights, with};
use super::http::Answer;
use super::server::{PATIENCE, Server, until};
use super::ws::{Came, SUBPROTOCOL, Ws, new_id};

/// Codes with a test in this module, named like the test.
const PROVOKED: &[&str] = &[
    "MALFORMED_MESSAGE",
    "INVALID_ENVELOPE",
    "UNKNOWN_EVENT",
    "INVALID_REQUEST",
    "INVALID_TIME_RANGE",
    "INVALID_FILTER",
    "UNKNOWN_FIELD",
    "UNKNOWN_DATASET",
    "UNSUPPORTED_FORMAT",
    "UNSUPPORTED_COMPRESSION",
    "REQUEST_ID_CONFLICT",
    "LIMIT_EXCEEDED",
    "RATE_LIMITED",
    "OVERLOADED",
    "SHUTTING_DOWN",
    "DOWNLOAD_NOT_FOUND",
    "INVALID_STATE",
    "EXPIRED",
    "NOT_READY",
    "CANCELLED",
    "FORBIDDEN",
    "URL_INVALID",
    "URL_EXPIRED",
    "FILE_SYSTEM",
    "SOURCE_ERROR",
    "SOURCE_CHANGED",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "BODY_TOO_LARGE",
];

/// Codes that are provoked elsewhere, and where; and the one that cannot be.
const ELSEWHERE: &[(&str, &str)] = &[
    ("AUTH_REQUIRED", "the module `secure`, by a foreign client"),
    ("AUTH_INVALID", "the module `secure`"),
    ("AUTH_EXPIRED", "the module `secure`"),
    ("AUTH_REPLAYED", "the module `secure`"),
    ("MEMORY_LIMIT", "spandrel-download-service, tests/faults.rs: a server short of memory takes no jobs"),
    ("TIMEOUT", "spandrel-download-service, tests/faults.rs: a source that gives no answer"),
    ("INTERNAL", "spandrel-download-service, tests/faults.rs: a bug ends one request"),
    ("NETWORK_ERROR", "nowhere: file sources use no network"),
];

#[test]
fn every_code_is_provoked_or_excused() {
    let mut have: Vec<&str> =
        PROVOKED.iter().copied().chain(ELSEWHERE.iter().map(|(code, _)| *code)).collect();
    let mut want: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    have.sort_unstable();
    want.sort_unstable();
    assert_eq!(have, want);
}

/// What a good client sees of a good server.
async fn still_serves(server: &Server) {
    let request = with(flights(), &[("searchParams.limit", 100.into())]);
    let (_, complete) = server.ws().await.export(&request).await;
    let parts = server.http().parts(&complete).await;
    assert_eq!(parts[0].1.iter().filter(|byte| **byte == b'\n').count(), 101);
}

/// Checks what every error message has.
#[track_caller]
fn check(name: &str, message: &Value, code: &str) {
    let data = &message["data"];
    assert_eq!(data["code"], code, "{name}: {message}");
    assert!(data["message"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {message}");
    let code = ErrorCode::ALL.iter().find(|known| known.as_str() == code).expect("a code of the protocol");
    assert_eq!(data["recoverable"], code.recoverable(), "{name}: {message}");
    if data.get("retryAfter").is_some() {
        assert!(code.recoverable() && data["retryAfter"].as_u64() > Some(0), "{name}: {message}");
    }
    assert!(!data.to_string().contains("/tmp"), "{name}: no paths: {message}");
}

fn paced(rows_per_second: u64) -> Value {
    with(flights(), &[("options.maxRowsPerSecond", rows_per_second.into())])
}

fn id_of(start: &Value) -> String {
    start["downloadId"].as_str().expect("an id").to_owned()
}

/// MALFORMED_MESSAGE, INVALID_ENVELOPE, UNKNOWN_EVENT.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_none() {
    let server = Server::of_flights(json!({}));
    let mut ws = server.ws().await;
    for (code, text) in [
        ("MALFORMED_MESSAGE", "[]"),
        ("MALFORMED_MESSAGE", "{"),
        ("INVALID_ENVELOPE", r#"{"event":"status:check","data":{},"timestamp":0}"#),
        ("INVALID_ENVELOPE", r#"{"event":"status:check","data":{},"timestamp":-1,"requestId":"a"}"#),
        ("INVALID_ENVELOPE", r#"{"event":"status:check","data":{},"timestamp":0,"requestId":"srv-1"}"#),
        (
            "INVALID_ENVELOPE",
            r#"{"event":"status:check","event":"status:check","data":{},"timestamp":0,"requestId":"a"}"#,
        ),
        ("UNKNOWN_EVENT", r#"{"event":"download:start","data":{},"timestamp":0,"requestId":"a"}"#),
        ("UNKNOWN_EVENT", r#"{"event":"x","data":{},"timestamp":0,"requestId":"a"}"#),
    ] {
        ws.send_text(text).await;
        let answer = ws.next().await;
        assert_eq!(answer["event"], "system:error", "{text}");
        check(text, &answer, code);
    }
    for _ in 0..3 {
        ws.send_text("nonsense").await;
    }
    let code = loop {
        match ws.came().await {
            Came::Message(message) => check("nonsense", &message, "MALFORMED_MESSAGE"),
            Came::Closed(code) => break code,
        }
    };
    assert_eq!(code, 1008, "more than ten within a minute");
    server.http().send("POST", "/v1/downloads", &[], b"[]").await.refusal("MALFORMED_MESSAGE");
    still_serves(&server).await;
}

/// INVALID_REQUEST, INVALID_TIME_RANGE, INVALID_FILTER, UNKNOWN_FIELD, UNKNOWN_DATASET, UNSUPPORTED_FORMAT,
/// UNSUPPORTED_COMPRESSION: over both sides, with the place where it is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_fit() {
    let server = Server::of_flights(json!({}));
    let mut ws = server.ws().await;
    let filter = |op: &str, value: Value| json!([{ "field": "distance", "op": op, "value": value }]);
    for (code, path, member, value) in [
        ("INVALID_REQUEST", "/compresion", "compresion", json!(true)),
        ("INVALID_REQUEST", "/compression", "compression", json!("yes")),
        ("INVALID_REQUEST", "/searchParams/filter", "searchParams.filter", json!([])),
        ("INVALID_REQUEST", "/searchParams/limit", "searchParams.limit", json!(0)),
        ("INVALID_REQUEST", "/searchParams/limit", "searchParams.limit", json!(1.5)),
        ("INVALID_REQUEST", "/options/maxRowsPerFile", "options.maxRowsPerFile", json!(500_001)),
        ("INVALID_TIME_RANGE", "", "searchParams.timeFrom", json!("2013-01-01T00:00:00")),
        ("INVALID_TIME_RANGE", "", "searchParams.timeFrom", json!("2015-01-01T00:00:00Z")),
        ("INVALID_FILTER", "/searchParams/filters/0", "searchParams.filters", filter("like", json!(1))),
        ("INVALID_FILTER", "/searchParams/filters/0", "searchParams.filters", filter("eq", json!("x"))),
        ("INVALID_FILTER", "/searchParams/filters/0", "searchParams.filters", filter("eq", Value::Null)),
        ("UNKNOWN_FIELD", "", "searchParams.filters", json!([{ "field": "nope", "op": "eq", "value": 1 }])),
        ("UNKNOWN_FIELD", "", "searchParams.columns", json!(["nope"])),
        ("UNKNOWN_FIELD", "", "searchParams.sort", json!([{ "field": "nope", "order": "asc" }])),
        ("UNKNOWN_DATASET", "", "searchParams.dataset", json!("nope")),
        ("UNSUPPORTED_FORMAT", "", "outputFormat", json!("xml")),
    ] {
        let request = with(flights(), &[(member, value)]);
        let answer = ws.ask("download:request", &request).await;
        assert_eq!(answer["event"], "download:error", "{member}");
        check(&request.to_string(), &answer, code);
        let at = answer["data"]["details"]["path"].as_str().unwrap_or_default();
        assert!(at.starts_with(path), "{code} is at {at}, expected {path}");
        let refused = server.http().post("/v1/downloads", &request).await;
        let problem = refused.refusal(code);
        assert_eq!((refused.status, &problem["details"]), (400, &answer["data"]["details"]), "{problem}");
    }
    let lzma = with(flights(), &[("compression", true.into()), ("options.codec", "lzma".into())]);
    check("lzma", &ws.ask("download:request", &lzma).await, "UNSUPPORTED_COMPRESSION");
    server.http().post("/v1/downloads", &lzma).await.refusal("UNSUPPORTED_COMPRESSION");
    let list = server.get("/v1/downloads").await.json();
    assert_eq!(list["downloads"], json!([]), "nothing of this made a job");
    still_serves(&server).await;
}

/// REQUEST_ID_CONFLICT.
#[tokio::test(flavor = "multi_thread")]
async fn request_id_conflict() {
    let server = Server::of_flights(json!({}));
    let mut ws = server.ws().await;
    let (id, request) = (new_id(), with(flights(), &[("searchParams.limit", 5.into())]));
    ws.send("download:request", &id, &request).await;
    let first = ws.expect("download:start").await;
    ws.expect("download:complete").await;
    ws.send("download:request", &id, &request).await;
    let again = ws.expect("download:start").await;
    assert_eq!(
        (&again["data"]["duplicate"], &again["data"]["downloadId"]),
        (&true.into(), &first["data"]["downloadId"])
    );
    ws.expect("download:complete").await;
    let other = with(request.clone(), &[("searchParams.limit", 6.into())]);
    ws.send("download:request", &id, &other).await;
    check("other data", &ws.next().await, "REQUEST_ID_CONFLICT");
    let key = [("Idempotency-Key", id.as_str())];
    let post = async |body: &Value| {
        server.http().send("POST", "/v1/downloads", &key, body.to_string().as_bytes()).await
    };
    let same = post(&request).await;
    assert_eq!((same.status, &same.json()["downloadId"]), (200, &first["data"]["downloadId"]));
    let conflict = post(&other).await;
    conflict.refusal("REQUEST_ID_CONFLICT");
    assert_eq!(conflict.status, 409);
    still_serves(&server).await;
}

/// LIMIT_EXCEEDED: told at once when the total is known, later when it is not, and for too long a sort.
#[tokio::test(flavor = "multi_thread")]
async fn limit_exceeded() {
    let server =
        Server::of_flights(json!({ "limits": { "maxParts": 3, "maxSortRows": 1000, "maxRetries": 0 } }));
    let mut ws = server.ws().await;
    let parts = with(flights(), &[("options.maxRowsPerFile", 1_000.into())]);
    check("known", &ws.ask("download:request", &parts).await, "LIMIT_EXCEEDED");
    let refused = server.http().post("/v1/downloads", &parts).await;
    refused.refusal("LIMIT_EXCEEDED");
    assert_eq!(refused.status, 422);
    let filtered = with(
        parts,
        &[("searchParams.filters", json!([{ "field": "tailnum", "op": "contains", "value": "N1" }]))],
    );
    let id = id_of(&ws.start(&filtered).await);
    let over = ws.expect_error().await;
    assert_eq!(
        (&over["code"], &over["downloadId"]),
        (&"LIMIT_EXCEEDED".into(), &id.as_str().into()),
        "{over}"
    );
    until("its parts are gone", || {
        let names = std::fs::read_dir(server.job_dir(&id)).into_iter().flatten().flatten();
        names.filter(|entry| entry.file_name() != "record.json").count() == 0
    })
    .await;
    let sort = with(flights(), &[("searchParams.sort", json!([{ "field": "distance", "order": "asc" }]))]);
    check("sort", &ws.ask("download:request", &sort).await, "LIMIT_EXCEEDED");
    still_serves(&server).await;
}

/// RATE_LIMITED: the message is not acted on, the connection stays.
#[tokio::test(flavor = "multi_thread")]
async fn rate_limited() {
    let server = Server::of_flights(json!({ "limits": { "messagesPerSecond": 5, "messageBurst": 5 } }));
    let mut ws = server.ws().await;
    for _ in 0..20 {
        ws.send("download:request", &new_id(), &with(flights(), &[("searchParams.limit", 1.into())])).await;
    }
    let limited = loop {
        let message = ws.next().await;
        if message["data"]["code"] == "RATE_LIMITED" {
            break message;
        }
    };
    check("flood", &limited, "RATE_LIMITED");
    let wait = limited["data"]["retryAfter"].as_u64().expect("it says when");
    tokio::time::sleep(Duration::from_millis(wait + 2_000)).await;
    let id = new_id();
    ws.send("status:check", &id, &json!({ "scope": "all" })).await;
    let update = ws.answer(&id).await;
    assert_eq!(update["event"], "status:update", "{update}");
    assert!(
        update["data"]["activeDownloads"].as_object().map_or(0, serde_json::Map::len) < 12,
        "most were not acted on"
    );
    still_serves(&server).await;
}

/// OVERLOADED: the queue is full, and too many connections.
#[tokio::test(flavor = "multi_thread")]
async fn overloaded() {
    let server =
        Server::of_flights(json!({ "limits": { "maxActive": 1, "maxQueued": 1, "maxConnections": 1 } }));
    let mut ws = server.ws().await;
    let running = id_of(&ws.start(&paced(1_000)).await);
    let queued = ws.start(&paced(1_000)).await;
    assert_eq!(queued["state"], "pending", "{queued}");
    let refused = ws.ask("download:request", &paced(1_000)).await;
    check("queue", &refused, "OVERLOADED");
    assert!(refused["data"]["retryAfter"].is_u64(), "{refused}");
    let answer = server.http().post("/v1/downloads", &paced(1_000)).await;
    answer.refusal("OVERLOADED");
    assert_eq!(answer.status, 503);

    let mut second = raw_ws(&server).await;
    check("connections", &second.next().await, "OVERLOADED");
    assert!(matches!(second.came().await, Came::Closed(1013)));

    for id in [running, id_of(&queued)] {
        ws.send("download:cancel", &new_id(), &json!({ "downloadId": id })).await;
    }
    server.http().until(&id_of(&queued), "cancelled", |s| s["state"] == "cancelled").await;
    drop(ws);
    let metrics = || server.http().get("/metrics");
    let began = tokio::time::Instant::now();
    while !metrics().await.text().contains("spandrel_connections 0") {
        assert!(began.elapsed() < PATIENCE, "the connection is not forgotten");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    still_serves(&server).await;
}

/// A connection that is not given a hello.
async fn raw_ws(server: &Server) -> Ws {
    Ws::open(server.address(), &[("sec-websocket-protocol", SUBPROTOCOL)]).await.expect("a connection")
}

/// SHUTTING_DOWN: every connection is told; the stop itself is in `durability`.
#[tokio::test(flavor = "multi_thread")]
async fn shutting_down() {
    let mut server = Server::of_flights(json!({}));
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(server.ws().await);
    }
    server.signal("TERM");
    for mut ws in connections {
        let told = ws.next().await;
        check("stop", &told, "SHUTTING_DOWN");
        assert!(matches!(ws.came().await, Came::Closed(1001)));
    }
    assert_eq!(server.ended().await, Some(0));
    server.restart();
    still_serves(&server).await;
}

/// DOWNLOAD_NOT_FOUND, INVALID_STATE, CANCELLED.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_are_not_there_or_over() {
    let server = Server::of_flights(json!({}));
    let mut ws = server.ws().await;
    let nobody = json!({ "downloadId": "dl_AAAAAAAAAAAAAAAAAAAAAA" });
    for event in ["attach", "cancel", "pause", "resume", "detach"] {
        check(event, &ws.ask(&format!("download:{event}"), &nobody).await, "DOWNLOAD_NOT_FOUND");
    }
    for (method, path) in
        [("GET", ""), ("POST", "/cancel"), ("POST", "/pause"), ("POST", "/resume"), ("DELETE", "")]
    {
        let answer = server
            .http()
            .send(method, &format!("/v1/downloads/dl_AAAAAAAAAAAAAAAAAAAAAA{path}"), &[], b"")
            .await;
        answer.refusal("DOWNLOAD_NOT_FOUND");
        assert_eq!(answer.status, 404);
    }
    let id = id_of(&ws.export(&with(flights(), &[("searchParams.limit", 5.into())])).await.0);
    for what in ["cancel", "pause", "resume"] {
        check(
            what,
            &ws.ask(&format!("download:{what}"), &json!({ "downloadId": id })).await,
            "INVALID_STATE",
        );
        let answer = server.http().send("POST", &format!("/v1/downloads/{id}/{what}"), &[], b"").await;
        answer.refusal("INVALID_STATE");
        assert_eq!(answer.status, 409);
    }
    let mut other = server.ws().await;
    let id = id_of(&ws.start(&paced(1_000)).await);
    assert_eq!(other.ask("download:attach", &json!({ "downloadId": id })).await["data"]["attached"], true);
    server.http().send("POST", &format!("/v1/downloads/{id}/cancel"), &[], b"").await;
    for ws in [&mut ws, &mut other] {
        let over = ws.expect_error().await;
        assert_eq!((&over["code"], &over["downloadId"]), (&"CANCELLED".into(), &id.as_str().into()));
    }
    still_serves(&server).await;
}

/// EXPIRED: the files are past their retention, the record is not.
#[tokio::test(flavor = "multi_thread")]
async fn expired() {
    let server = Server::of_flights(json!({ "retention": { "fileTtlMs": 300 } }));
    let mut ws = server.ws().await;
    let (request_id, request) = (new_id(), with(flights(), &[("searchParams.limit", 5.into())]));
    ws.send("download:request", &request_id, &request).await;
    let complete = ws.expect("download:complete").await["data"].clone();
    let id = id_of(&complete);
    server.http().until(&id, "expired", |status| status["state"] == "expired").await;
    check("attach", &ws.ask("download:attach", &json!({ "downloadId": id })).await, "EXPIRED");
    ws.send("download:request", &request_id, &request).await;
    check("the same request", &ws.answer(&request_id).await, "EXPIRED");
    let file = server.get(complete["files"][0]["url"].as_str().expect("a url")).await;
    file.refusal("EXPIRED");
    assert_eq!(file.status, 410);
    assert!(
        until("the file is gone", || std::fs::read_dir(server.job_dir(&id))
            .is_ok_and(|dir| dir.count() == 1))
        .await
            < Duration::from_secs(5)
    );
    let next = server.http().post("/v1/downloads", &request).await;
    assert_eq!(next.status, 202);
}

/// NOT_READY: a part that is announced and not finished; one that is finished can be had meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn not_ready() {
    let server = Server::of_flights(json!({}));
    let mut ws = server.ws().await;
    let request = with(
        paced(5_000),
        &[("searchParams.limit", 30_000.into()), ("options.maxRowsPerFile", 2_000.into())],
    );
    let start = ws.start(&request).await;
    let files = start["files"].as_array().expect("files").clone();
    assert_eq!(files.len(), 15);
    let get = async |at: usize| server.get(files[at]["url"].as_str().expect("a url")).await;
    let refused: Answer = get(14).await;
    refused.refusal("NOT_READY");
    assert_eq!(refused.status, 409);
    assert!(refused.header("retry-after").is_some());
    let id = id_of(&start);
    server
        .http()
        .until(&id, "a part is finished", |s| !s["files"].as_array().expect("files").is_empty())
        .await;
    assert_eq!(get(0).await.status, 200);
    assert_eq!(server.get(&format!("/v1/files/{id}/nope.csv")).await.status, 404);
    still_serves(&server).await;
}

/// FORBIDDEN: pages of elsewhere, other hosts, and a data set of somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn forbidden() {
    let datasets = json!([{ "name": "flights", "path": FLIGHTS, "default": true },
                          { "name": "secret", "path": FLIGHTS, "principals": ["boss"] }]);
    let server =
        Server::start(json!({ "datasets": datasets }), json!({ "allowedOrigins": ["https://good.example"] }));
    let secret = with(flights(), &[("searchParams.dataset", "secret".into())]);
    check("data set", &server.ws().await.ask("download:request", &secret).await, "FORBIDDEN");
    let list = server.get("/v1/datasets").await.json();
    assert_eq!(list["datasets"].as_array().map(Vec::len), Some(1), "{list}");
    let small = with(flights(), &[("searchParams.limit", 5.into())]).to_string();
    for (name, method, head, status) in [
        ("foreign page", "POST", [("Origin", "https://evil.example")], 403),
        ("no origin at all", "POST", [("Origin", "null")], 403),
        ("rebound name", "POST", [("Host", "evil.example")], 403),
        ("rebound name, reading", "GET", [("Host", "evil.example")], 403),
        ("listed page", "POST", [("Origin", "https://good.example")], 202),
    ] {
        let body = if method == "POST" { small.as_bytes() } else { b"" };
        let answer = server.http().send(method, "/v1/downloads", &head, body).await;
        assert_eq!(answer.status, status, "{name}");
        if status == 403 {
            answer.refusal("FORBIDDEN");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{name}");
        } else {
            assert_eq!(answer.header("access-control-allow-origin"), Some("https://good.example"));
        }
    }
    let head = [("sec-websocket-protocol", SUBPROTOCOL), ("origin", "https://evil.example")];
    match Ws::open(server.address(), &head).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), 403),
        other => panic!("a foreign page got {:?}", other.is_ok()),
    }
    still_serves(&server).await;
}

/// URL_INVALID and URL_EXPIRED: whoever presents a signature is judged by it.
#[tokio::test(flavor = "multi_thread")]
async fn signed_urls() {
    let server = Server::of_flights(json!({}));
    let id = server.http().create(&with(flights(), &[("searchParams.limit", 5.into())])).await;
    let status = server.http().completed(&id).await;
    let path = status["files"][0]["url"].as_str().expect("a url").to_owned();
    let secret = std::fs::read(server.state_dir().join("secret")).expect("the server's secret");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(server.state_dir().join("secret")).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o077, 0, "nobody else may read it");
    // HKDF-SHA256 with one block, and HMAC-SHA256, written anew.
    let key = hmac(&hmac(b"spandrel.download.v1", &secret), b"url\x01");
    let sign = |path: &str, exp: u64| {
        let sig = base64url(&hmac(&key, format!("GET\n{path}\n{exp}").as_bytes()));
        format!("{path}?exp={exp}&sig={sig}")
    };
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let good = sign(&path, now + 60);
    assert_eq!(server.get(&good).await.status, 200, "{good}");
    let late = server.get(&sign(&path, now - 1)).await;
    late.refusal("URL_EXPIRED");
    assert_eq!(late.status, 403);
    let (_, sig) = good.split_once("&sig=").expect("it is signed");
    for (name, url) in [
        ("another time", good.replace(&format!("exp={}", now + 60), &format!("exp={}", now + 61))),
        ("another signature", good.replace(sig, &sig.chars().rev().collect::<String>())),
        ("cut", good[..good.len() - 1].to_owned()),
        ("no time", format!("{path}?sig={sig}")),
        ("no signature", format!("{path}?exp={}", now + 60)),
        ("another path", format!("{path}x?{}", good.split_once('?').expect("a query").1)),
    ] {
        let refused = server.get(&url).await;
        refused.refusal("URL_INVALID");
        assert_eq!(refused.status, 403, "{name}");
    }
    still_serves(&server).await;
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |three: &[u8]| {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - three.len()));
        (0..=three.len()).map(move |at| char::from(DIGITS[bits >> (18 - 6 * at) & 63]))
    };
    bytes.chunks(3).flat_map(digits).collect()
}

/// FILE_SYSTEM: the folder of a job is gone, and a finished file is.
#[tokio::test(flavor = "multi_thread")]
async fn file_system() {
    let server = Server::of_flights(json!({ "limits": { "maxRetries": 0 } }));
    let mut ws = server.ws().await;
    let request = with(
        paced(5_000),
        &[("searchParams.limit", 40_000.into()), ("options.maxRowsPerFile", 1_000.into())],
    );
    let id = id_of(&ws.start(&request).await);
    server.http().until(&id, "parts", |s| !s["files"].as_array().expect("files").is_empty()).await;
    let dir = server.job_dir(&id);
    std::fs::rename(&dir, server.folder().join("aside")).expect("the folder can be moved");
    std::fs::write(&dir, "in the way").expect("a file can take its place");
    let over = ws.expect_error().await;
    assert_eq!(
        (&over["code"], &over["recoverable"], &over["downloadId"]),
        (&"FILE_SYSTEM".into(), &true.into(), &id.as_str().into())
    );
    assert!(over["retryAfter"].is_u64(), "{over}");

    let id = server.http().create(&with(flights(), &[("searchParams.limit", 5.into())])).await;
    let status = server.http().completed(&id).await;
    let file = &status["files"][0];
    std::fs::remove_file(server.job_dir(&id).join(file["fileName"].as_str().expect("a name")))
        .expect("it was there");
    let refused = server.get(file["url"].as_str().expect("a url")).await;
    refused.refusal("FILE_SYSTEM");
    assert_eq!(refused.status, 503);
    still_serves(&server).await;
}

/// SOURCE_CHANGED and SOURCE_ERROR: another file in place of the data, and data that cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn source_changed_and_broken() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, bad) = (folder.path().join("flights.parquet"), folder.path().join("bad.parquet"));
    for copy in [&good, &bad] {
        std::fs::copy(FLIGHTS, copy).expect("a copy");
    }
    let datasets =
        json!([{ "name": "flights", "path": good, "default": true }, { "name": "bad", "path": bad }]);
    let server = Server::start(json!({ "datasets": datasets }), json!({ "limits": { "maxRetries": 0 } }));
    let mut ws = server.ws().await;

    // The third row group or so; the footer, which tells files apart, stays.
    let mut file = std::fs::File::options().write(true).open(&bad).expect("the copy");
    file.seek(SeekFrom::Start(2_000_000)).expect("a place inside");
    file.write_all(&[0x55; 200_000]).expect("it is overwritten");
    drop(file);
    let broken =
        with(all("2013-01-01T00:00:00Z", "2014-02-01T00:00:00Z"), &[("searchParams.dataset", "bad".into())]);
    ws.start(&broken).await;
    let over = ws.expect_error().await;
    assert_eq!((&over["code"], &over["recoverable"]), (&"SOURCE_ERROR".into(), &true.into()), "{over}");

    let id = id_of(&ws.start(&paced(5_000)).await);
    server.http().until(&id, "rows", |s| s["processedRows"].as_u64() > Some(500)).await;
    ws.ask("download:pause", &json!({ "downloadId": id })).await;
    std::fs::write(folder.path().join("new"), b"PAR1 this is another file PAR1").expect("another file");
    std::fs::rename(folder.path().join("new"), &good).expect("it takes the place");
    ws.send("download:resume", &new_id(), &json!({ "downloadId": id })).await;
    let over = ws.expect_error().await;
    assert_eq!(
        (&over["code"], &over["recoverable"], &over["downloadId"]),
        (&"SOURCE_CHANGED".into(), &false.into(), &id.as_str().into()),
        "{over}"
    );

    std::fs::copy(FLIGHTS, folder.path().join("new")).expect("a copy");
    std::fs::rename(folder.path().join("new"), &good).expect("it takes the place");
    still_serves(&server).await;
}

/// NOT_FOUND, METHOD_NOT_ALLOWED, BODY_TOO_LARGE.
#[tokio::test(flavor = "multi_thread")]
async fn http_only() {
    let server = Server::of_flights(json!({}));
    for path in ["/nope", "/v1/nope", "/v1/downloads/a/b/c"] {
        let answer = server.get(path).await;
        answer.refusal("NOT_FOUND");
        assert_eq!(answer.status, 404);
    }
    for (method, path, allow) in
        [("PUT", "/v1/downloads", "POST"), ("POST", "/v1/datasets", "GET"), ("DELETE", "/v1/health", "GET")]
    {
        let answer = server.http().send(method, path, &[], b"").await;
        answer.refusal("METHOD_NOT_ALLOWED");
        assert_eq!(answer.status, 405);
        assert!(
            answer.header("allow").is_some_and(|list| list.contains(allow)),
            "{:?}",
            answer.header("allow")
        );
    }
    let long = vec![b' '; (1 << 20) + 1];
    for path in ["/v1/downloads", "/v1/preview"] {
        let answer = server.http().send("POST", path, &[], &long).await;
        answer.refusal("BODY_TOO_LARGE");
        assert_eq!(answer.status, 413);
    }
    let mut ws = server.ws().await;
    ws.send_text(&" ".repeat((1 << 20) + 1)).await;
    assert!(matches!(ws.came().await, Came::Closed(1009)), "a message too long");
    still_serves(&server).await;
}
