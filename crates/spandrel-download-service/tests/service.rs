//! The service over real sockets: what a browser, a script and an operator see.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderMap;
use serde_json::{Value, json};
use spandrel_download_protocol::{Column, ColumnType, ErrorCode, ErrorResponse};
use spandrel_download_service::{Authenticator, Dataset, Principal, Service, ServiceConfig};
use spandrel_source_parquet::DatasetConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _, protocol::CloseFrame};

const ROWS: usize = 500;

struct Bench {
    dir: tempfile::TempDir,
    service: Service,
    address: SocketAddr,
}

impl Bench {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut ServiceConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut text = String::from("id,time,note\r\n");
        for n in 0..ROWS {
            let _ = write!(text, "{n},2024-03-01T00:{:02}:{:02}Z,row {n}\r\n", n / 60, n % 60);
        }
        std::fs::write(dir.path().join("logs.csv"), text).unwrap();
        let (service, address) = open(dir.path(), change).await;
        Self { dir, service, address }
    }

    async fn restart(&mut self) {
        assert!(self.service.shut_down(Duration::from_secs(10)).await);
        (self.service, self.address) = open(self.dir.path(), |_| {}).await;
    }

    async fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let host = self.address;
        let host = if headers.contains("Host:") { String::new() } else { format!("Host: {host}\r\n") };
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        Answer::parse(&bytes)
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "", "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, "", &body.to_string()).await
    }

    async fn socket(&self) -> Socket {
        Socket::connect(self.address, Some("spandrel.download.v1+json"), "").await
    }
}

fn configured(dir: &Path) -> ServiceConfig {
    let mut source = DatasetConfig::new("logs", dir.join("logs.csv"));
    source.columns = Some(vec![
        Column::new("id", ColumnType::Int),
        Column::timestamp("time", 0),
        Column::new("note", ColumnType::String),
    ]);
    let source = spandrel_source_parquet::open(source).unwrap();
    ServiceConfig::new(dir.join("state")).with_dataset(Dataset::new("logs", source))
}

async fn open(dir: &Path, change: impl FnOnce(&mut ServiceConfig)) -> (Service, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = configured(dir);
    config.listen = Some(address);
    change(&mut config);
    let service = Service::open(config).unwrap();
    let serving = service.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    (service, address)
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = bytes[end + 4..].to_vec();
        if head.to_lowercase().contains("transfer-encoding: chunked") {
            body = unchunk(&body);
        }
        Self { status, head, body }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    fn code(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status);
        (self.status, body["code"].as_str().unwrap().to_owned())
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = bytes.windows(2).position(|w| w == b"\r\n") {
        let len = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
        out.extend_from_slice(&bytes[at + 2..at + 2 + len]);
        bytes = &bytes[at + 4 + len..];
    }
    out
}

struct Socket(tokio_tungstenite::WebSocketStream<MaybeTlsStream<TcpStream>>, usize);

impl Socket {
    async fn connect(address: SocketAddr, offer: Option<&str>, bearer: &str) -> Self {
        let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
        if let Some(offer) = offer {
            request.headers_mut().insert("sec-websocket-protocol", offer.parse().unwrap());
        }
        if !bearer.is_empty() {
            request.headers_mut().insert("authorization", format!("Bearer {bearer}").parse().unwrap());
        }
        Self(tokio_tungstenite::connect_async(request).await.unwrap().0, 0)
    }

    async fn ask(&mut self, event: &str, data: Value) -> Value {
        self.1 += 1;
        let id = format!("r{}", self.1);
        let text = json!({ "event": event, "data": data, "timestamp": 1, "requestId": id }).to_string();
        self.0.send(Message::text(text)).await.unwrap();
        self.until(|m| m["requestId"] == id.as_str()).await
    }

    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let reading = async {
            loop {
                let message = self.0.next().await.expect("the connection lives").unwrap();
                if let Message::Text(text) = message {
                    let message = serde_json::from_str(&text).unwrap();
                    if wanted(&message) {
                        return message;
                    }
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading).await.expect("the message comes")
    }

    async fn event(&mut self, event: &str) -> Value {
        self.until(|m| m["event"] == event).await
    }

    async fn close_code(&mut self) -> u16 {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Close(Some(CloseFrame { code, .. })))) => return code.into(),
                Some(Ok(_)) => {}
                other => panic!("ended without a close frame: {other:?}"),
            }
        }
    }
}

fn request() -> Value {
    json!({ "searchParams": { "timeFrom": "2024-03-01T00:00:00Z", "timeTo": "2024-03-02T00:00:00Z", "filters": [] },
            "outputFormat": "csv", "compression": false })
}

fn paced(rows_per_s: u64) -> Value {
    let mut request = request();
    request["options"] = json!({ "maxRowsPerSecond": rows_per_s });
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_over_a_socket_ends_in_a_file() {
    let bench = Bench::start().await;
    let mut socket = bench.socket().await;
    let start = socket.ask("download:request", request()).await;
    assert_eq!((&start["event"], &start["data"]["totalRows"]), (&json!("download:start"), &json!(ROWS)));
    let done = socket.event("download:complete").await;
    let file = &done["data"]["files"][0];
    let answer = bench.get(file["url"].as_str().unwrap()).await;
    assert_eq!(
        (answer.status, answer.body.len()),
        (200, usize::try_from(file["bytes"].as_u64().unwrap()).unwrap())
    );
    let text = String::from_utf8(answer.body).unwrap();
    assert!(
        text.starts_with("id,time,note\r\n0,2024-03-01T00:00:00Z,row 0\r\n") && text.ends_with("row 499\r\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn both_faces_see_the_same_jobs() {
    let bench = Bench::start().await;
    let created =
        bench.call("POST", "/v1/downloads", "Idempotency-Key: k1\r\n", &request().to_string()).await;
    assert_eq!(created.status, 202);
    let status = created.json();
    let path = created.header("location").unwrap().to_owned();
    let waited = bench.get(&format!("{path}?wait=20")).await.json();
    assert_eq!(waited["state"], "completed");
    let again = bench.call("POST", "/v1/downloads", "Idempotency-Key: k1\r\n", &request().to_string()).await;
    assert_eq!((again.status, &again.json()["downloadId"]), (200, &status["downloadId"]));
    let other = bench.call("POST", "/v1/downloads", "Idempotency-Key: k1\r\n", &paced(9).to_string()).await;
    assert_eq!(other.code(), (409, "REQUEST_ID_CONFLICT".into()));
    let mut socket = bench.socket().await;
    let attached = socket.ask("download:attach", json!({ "downloadId": status["downloadId"] })).await;
    assert_eq!(attached["data"]["attached"], true);
    assert_eq!(socket.event("download:complete").await["requestId"], "k1");
    let listed = bench.get("/v1/downloads?state=completed&limit=1").await.json();
    assert_eq!(listed["downloads"][0]["downloadId"], status["downloadId"]);
    assert_eq!(bench.call("DELETE", &path, "", "").await.status, 204);
    assert_eq!(bench.get(&path).await.code(), (404, "DOWNLOAD_NOT_FOUND".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_problems_with_the_right_codes() {
    let bench = Bench::start().await;
    let body = request().to_string();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    let foreign = "Origin: http://evil.example\r\n";
    for (name, method, path, headers, body, want) in [
        ("unknown path", "GET", "/v1/nothing", "", "", (404, "NOT_FOUND")),
        ("method", "PUT", "/v1/downloads", "", "", (405, "METHOD_NOT_ALLOWED")),
        ("not json", "POST", "/v1/downloads", "", "{", (400, "MALFORMED_MESSAGE")),
        ("too long", "POST", "/v1/downloads", "", &long, (413, "BODY_TOO_LARGE")),
        ("foreign page", "POST", "/v1/downloads", foreign, &body, (403, "FORBIDDEN")),
        ("rebound name", "GET", "/v1/health", "Host: evil.example\r\n", "", (403, "FORBIDDEN")),
        (
            "request id",
            "POST",
            "/v1/downloads",
            "Idempotency-Key: srv-1\r\n",
            &body,
            (400, "INVALID_REQUEST"),
        ),
        ("wait", "GET", "/v1/downloads/dl_AAAAAAAAAAAAAAAAAAAAAA?wait=61", "", "", (400, "INVALID_REQUEST")),
        ("job", "GET", "/v1/downloads/dl_AAAAAAAAAAAAAAAAAAAAAA", "", "", (404, "DOWNLOAD_NOT_FOUND")),
        ("no job id", "GET", "/v1/downloads/x", "", "", (404, "DOWNLOAD_NOT_FOUND")),
        ("page size", "GET", "/v1/downloads?limit=1001", "", "", (400, "INVALID_REQUEST")),
        ("cursor", "GET", "/v1/downloads?cursor=x", "", "", (400, "INVALID_REQUEST")),
        ("preview rows", "POST", "/v1/preview?rows=101", "", &body, (400, "INVALID_REQUEST")),
        ("bad escape", "GET", "/v1/downloads/%ff", "", "", (400, "INVALID_REQUEST")),
        ("no upgrade", "GET", "/v1/ws", "", "", (400, "INVALID_REQUEST")),
    ] {
        let answer = bench.call(method, path, headers, body).await;
        assert_eq!(answer.code(), (want.0, want.1.to_owned()), "{name}");
    }
    assert_eq!(bench.call("PUT", "/v1/downloads", "", "").await.header("allow"), Some("POST,GET,HEAD"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_shows_rows_and_makes_no_job() {
    let bench = Bench::start().await;
    let mut wanted = request();
    wanted["searchParams"]["filters"] = json!([{ "field": "id", "op": "gte", "value": 490 }]);
    wanted["searchParams"]["columns"] = json!(["note", "id"]);
    let preview = bench.post("/v1/preview?rows=2", &wanted).await.json();
    assert_eq!(preview["rows"], json!([["row 490", "490"], ["row 491", "491"]]));
    assert_eq!((&preview["totalRows"], &preview["totalRowsExact"]), (&json!(10), &json!(true)));
    assert_eq!(bench.get("/v1/downloads").await.json()["downloads"], json!([]));
    let datasets = bench.get("/v1/datasets").await.json();
    assert_eq!(
        (&datasets["datasets"][0]["rows"], &datasets["datasets"][0]["default"]),
        (&json!(ROWS), &json!(true))
    );
    assert_eq!(datasets["datasets"][0]["timeMin"], "2024-03-01T00:00:00Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_end_with_the_right_codes() {
    let bench = Bench::start_with(|config| config.limits.connections_max = 1).await;
    let mut none = Socket::connect(bench.address, None, "").await;
    assert_eq!(none.close_code().await, 4406);
    let mut first = bench.socket().await;
    first.event("connection:health").await;
    let mut second = bench.socket().await;
    assert_eq!(second.event("system:error").await["data"]["code"], "OVERLOADED");
    assert_eq!(second.close_code().await, 1013);
    first.0.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(first.close_code().await, 1003);
    // The slot is free again once the closed connection is gone.
    loop {
        let mut third = bench.socket().await;
        if third.until(|_| true).await["event"] == "connection:health" {
            third.0.send(Message::text("x".repeat((1 << 20) + 1))).await.unwrap();
            assert_eq!(third.close_code().await, 1009);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_says_goodbye_and_its_jobs_go_on_later() {
    let mut bench = Bench::start().await;
    let mut socket = bench.socket().await;
    let start = socket.ask("download:request", paced(200)).await;
    let id = start["data"]["downloadId"].as_str().unwrap().to_owned();
    socket.event("download:progress").await;
    let address = bench.address;
    bench.restart().await;
    assert_eq!(socket.event("system:error").await["data"]["code"], "SHUTTING_DOWN");
    assert_eq!(socket.close_code().await, 1001);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens there any more");
    let done = bench.get(&format!("/v1/downloads/{id}?wait=20")).await.json();
    assert_eq!(
        (&done["state"], &done["restarts"], &done["processedRows"]),
        (&json!("completed"), &json!(1), &json!(ROWS))
    );
    let file = bench.get(done["files"][0]["url"].as_str().unwrap()).await;
    assert_eq!(String::from_utf8(file.body).unwrap().lines().count(), ROWS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_not_read_either() {
    let bench = Bench::start_with(|config| {
        config.sessions.messages_per_s = 1_000_000;
        config.sessions.message_burst = 1_000_000;
    })
    .await;
    let mut socket = bench.socket().await;
    let text = json!({ "event": "status:check", "data": {}, "timestamp": 1, "requestId": "r" }).to_string();
    let mut sent = 0_usize;
    // Every message is answered with a longer one. The server may hold its bound and what the system's buffers
    // take; then it stops reading, and we cannot write.
    let flood = async {
        loop {
            socket.0.send(Message::text(text.clone())).await.unwrap();
            sent += text.len();
        }
    };
    let stopped = tokio::time::timeout(Duration::from_secs(3), flood).await;
    assert!(stopped.is_err());
    assert!(sent < 32 << 20, "{sent} bytes were taken");
    let mut other = bench.socket().await;
    assert_eq!(other.ask("connection:health", json!({ "kind": "ping" })).await["data"]["kind"], "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_begins_too_late_reads_why_it_was_closed() {
    let bench = Bench::start_with(|config| {
        config.sessions.messages_per_s = 1_000_000;
        config.sessions.message_burst = 1_000_000;
        config.sessions.outbound_over_ms = 300;
    })
    .await;
    let mut socket = bench.socket().await;
    let start = socket.ask("download:request", paced(10)).await;
    assert_eq!(start["event"], "download:start");
    let text = json!({ "event": "status:check", "data": {}, "timestamp": 1, "requestId": "r" }).to_string();
    // The answers fill every buffer on the way; then nothing moves for longer than the server waits.
    let patience = Duration::from_millis(1_500);
    while let Ok(sent) = tokio::time::timeout(patience, socket.0.send(Message::text(text.clone()))).await {
        if sent.is_err() {
            break;
        }
    }
    let code = tokio::time::timeout(Duration::from_secs(20), socket.close_code()).await;
    assert_eq!(code.expect("an end"), 4410);
    // Its job does not depend on it.
    let mut other = bench.socket().await;
    let id = start["data"]["downloadId"].clone();
    let status = other.ask("status:check", json!({ "downloadId": id })).await;
    let state = &status["data"]["activeDownloads"][id.as_str().unwrap()]["state"];
    assert!(state == "generating" || state == "completed", "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_numbers_are_there() {
    let bench = Bench::start().await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/client.js", "text/javascript"),
        ("/style.css", "text/css"),
    ] {
        let answer = bench.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").unwrap().starts_with(kind), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
        let known = format!("If-None-Match: {}\r\n", answer.header("etag").unwrap());
        assert_eq!(bench.call("GET", path, &known, "").await.status, 304, "{path}");
    }
    assert_eq!(bench.get("/favicon.ico").await.status, 204);
    let _socket = bench.socket().await;
    bench.post("/v1/downloads", &request()).await;
    let metrics = String::from_utf8(bench.get("/metrics").await.body).unwrap();
    assert!(
        metrics.contains("\nspandrel_downloads_created_total 1\n")
            && metrics.contains("\nspandrel_downloads_records 1\n"),
        "{metrics}"
    );
    let health = bench.get("/v1/health").await.json();
    let names: Vec<_> =
        health["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["source", "storage", "memory"]);
}

/// Before anything was proved, names are nobody's business.
#[tokio::test(flavor = "multi_thread")]
async fn health_names_no_data_set_and_no_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("logs.csv"), "id,time,note\r\n1,2024-03-01T00:00:00Z,\"open").unwrap();
    let (service, address) = open(dir.path(), |config| config.auth = Arc::new(Tokens)).await;
    let bench = Bench { dir, service, address };
    let health = bench.get("/v1/health").await.json();
    let source = &health["checks"][0];
    assert_eq!((&source["status"], &health["status"]), (&json!("warn"), &json!("degraded")), "{health}");
    assert_eq!(source["message"], "a data set is not served whole", "{health}");
    assert!(!health.to_string().contains("logs"), "{health}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_leaves_the_folder_of_the_first_alone() {
    let bench = Bench::start().await;
    let state = bench.dir.path().join("state");
    std::fs::create_dir_all(state.join("scratch/sort")).unwrap();
    std::fs::remove_file(state.join("secret")).unwrap();
    let refused = Service::open(configured(bench.dir.path())).expect_err("one at a time").to_string();
    assert!(refused.contains("another process"), "{refused}");
    assert!(state.join("scratch/sort").exists(), "a preview of the first may sort there");
    assert!(!state.join("secret").exists(), "made by one that may not run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_says_so() {
    let bench = Bench::start_with(|config| config.limits.free_bytes_min = Some(u64::MAX)).await;
    let refused = bench.post("/v1/downloads", &request()).await;
    assert_eq!(refused.code(), (503, "OVERLOADED".into()));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    let health = bench.get("/v1/health").await;
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("unhealthy")));
}

/// Two principals by bearer token: what the next stage's authenticator will look like from here.
#[derive(Debug)]
struct Tokens;

impl Authenticator for Tokens {
    fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, ErrorResponse> {
        match headers.get("authorization").map(|value| value.to_str().unwrap_or_default()) {
            None => Err(ErrorResponse::new(ErrorCode::AuthRequired, "credentials are needed")),
            Some("Bearer alice") => Ok(Principal::new("alice")),
            Some("Bearer bob") => Ok(Principal::new("bob")),
            Some(_) => Err(ErrorResponse::new(ErrorCode::AuthInvalid, "the credentials do not check")),
        }
    }

    fn is_open(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_authenticator_jobs_and_files_are_private() {
    let bench = Bench::start_with(|config| config.auth = Arc::new(Tokens)).await;
    let as_who = |who: &str| format!("Authorization: Bearer {who}\r\n");
    let refused = bench.get("/v1/downloads").await;
    assert_eq!(
        (refused.code(), refused.header("www-authenticate")),
        ((401, "AUTH_REQUIRED".into()), Some("Bearer"))
    );
    assert_eq!(
        bench.call("GET", "/v1/datasets", &as_who("eve"), "").await.code(),
        (401, "AUTH_INVALID".into())
    );
    assert_eq!(bench.get("/metrics").await.status, 401);
    assert_eq!(bench.get("/v1/health").await.status, 200);

    let created = bench.call("POST", "/v1/downloads", &as_who("alice"), &request().to_string()).await;
    let path = created.header("location").unwrap().to_owned();
    let done = bench.call("GET", &format!("{path}?wait=20"), &as_who("alice"), "").await.json();
    let url = done["files"][0]["url"].as_str().unwrap().to_owned();
    assert!(url.contains("?exp=") && url.contains("&sig="));
    assert_eq!(bench.get(&url).await.status, 200, "the signature is enough");
    let plain = url.split('?').next().unwrap();
    assert_eq!(bench.get(plain).await.code(), (401, "AUTH_REQUIRED".into()));
    assert_eq!(bench.call("GET", plain, &as_who("alice"), "").await.status, 200);
    assert_eq!(bench.call("GET", plain, &as_who("bob"), "").await.code(), (404, "DOWNLOAD_NOT_FOUND".into()));
    assert_eq!(bench.call("GET", &path, &as_who("bob"), "").await.code(), (404, "DOWNLOAD_NOT_FOUND".into()));
    let (head, sig) = url.split_once("&sig=").unwrap();
    let flipped = format!("{head}&sig={}{}", if sig.starts_with('A') { 'B' } else { 'A' }, &sig[1..]);
    assert_eq!(bench.get(&flipped).await.code(), (403, "URL_INVALID".into()));

    let mut bob = Socket::connect(bench.address, Some("spandrel.download.v1+json"), "bob").await;
    let refused = bob.ask("download:attach", json!({ "downloadId": done["downloadId"] })).await;
    assert_eq!(refused["data"]["code"], "DOWNLOAD_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_signed_url_is_refused() {
    let bench = Bench::start_with(|config| {
        config.auth = Arc::new(Tokens);
        config.url_ttl_ms = 0;
    })
    .await;
    let alice = "Authorization: Bearer alice\r\n";
    let created = bench.call("POST", "/v1/downloads", alice, &request().to_string()).await;
    let path = format!("{}?wait=20", created.header("location").unwrap());
    let url =
        bench.call("GET", &path, alice, "").await.json()["files"][0]["url"].as_str().unwrap().to_owned();
    loop {
        let answer = bench.get(&url).await;
        if answer.status != 200 {
            assert_eq!(answer.code(), (403, "URL_EXPIRED".into()));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_sets_can_be_for_some_only() {
    let bench = Bench::start_with(|config| {
        config.auth = Arc::new(Tokens);
        config.datasets[0].principals = Some(vec!["alice".into()]);
    })
    .await;
    let bob = "Authorization: Bearer bob\r\n";
    assert_eq!(
        bench.call("POST", "/v1/downloads", bob, &request().to_string()).await.code(),
        (403, "FORBIDDEN".into())
    );
    assert_eq!(bench.call("GET", "/v1/datasets", bob, "").await.json()["datasets"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_over_the_limit_is_refused() {
    let bench = Bench::start_with(|config| config.limits.sort_rows_max = Some(ROWS as u64 - 1)).await;
    let mut sorted = request();
    sorted["searchParams"]["sort"] = json!([{ "field": "id", "order": "desc" }]);
    assert_eq!(bench.post("/v1/downloads", &sorted).await.code(), (422, "LIMIT_EXCEEDED".into()));
    sorted["searchParams"]["limit"] = json!(ROWS - 1);
    assert_eq!(bench.post("/v1/downloads", &sorted).await.status, 202);
    sorted["searchParams"]["sort"] = json!([{ "field": "time", "order": "desc" }]);
    sorted["searchParams"]["limit"] = json!(ROWS);
    assert_eq!(bench.post("/v1/downloads", &sorted).await.status, 202, "a sort by time is not counted");
    let mut filtered = request();
    filtered["searchParams"]["sort"] = json!([{ "field": "id", "order": "desc" }]);
    filtered["searchParams"]["filters"] = json!([{ "field": "note", "op": "contains", "value": "row" }]);
    let accepted = bench.post("/v1/downloads", &filtered).await;
    assert_eq!(accepted.status, 202, "how many rows match is not known yet");
    let url = format!("{}?wait=30", accepted.json()["statusUrl"].as_str().unwrap());
    let ended = bench.get(&url).await.json();
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("LIMIT_EXCEEDED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_many_files_ends_early() {
    let bench = Bench::start_with(|config| config.limits.page_files_max = 15).await;
    let mut parts = request();
    parts["options"] = json!({ "maxRowsPerFile": 50 });
    let mut made = Vec::new();
    for _ in 0..3 {
        let created = bench.post("/v1/downloads", &parts).await;
        let path = format!("{}?wait=20", created.header("location").unwrap());
        let done = bench.get(&path).await.json();
        assert_eq!(done["files"].as_array().unwrap().len(), 10);
        made.insert(0, done["downloadId"].clone());
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/downloads".to_owned());
    loop {
        let page = bench.get(&path).await.json();
        let listed = page["downloads"].as_array().unwrap();
        assert_eq!(listed.len(), 1, "two have more files than a page");
        seen.extend(listed.iter().map(|d| d["downloadId"].clone()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/v1/downloads?cursor={cursor}");
    }
    assert_eq!(seen.len(), 3);
    assert!(made.iter().all(|id| seen.contains(id)));
}
