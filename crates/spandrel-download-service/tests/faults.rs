//! The service under faults and hostile load, over real sockets: what is refused, what ends, and what lives on.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderMap;
use serde_json::{Value, json};
use spandrel_download_protocol::{Column, ColumnType, ErrorCode, ErrorResponse, Query, Schema};
use spandrel_download_service::{Authenticator, Dataset, Principal, Proof, Service, ServiceConfig};
use spandrel_export::{Batches, Facts, Plan, Read, Rows, Source, SourceError, Unit};
use spandrel_export_engine::Clock;
use spandrel_jobs::Now;
use spandrel_source_parquet::DatasetConfig;
use spandrel_transport::{TlsClient, TlsServer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

const PATIENCE: Duration = Duration::from_secs(20);

/// A data set of `rows` rows of about 1,000 bytes.
fn source(dir: &Path, rows: usize) -> Arc<dyn Source> {
    let mut text = String::from("id,time,note\r\n");
    for n in 0..rows {
        let (h, m, s) = (n / 3_600, n / 60 % 60, n % 60);
        let _ = write!(text, "{n},2024-03-01T{h:02}:{m:02}:{s:02}Z,{}\r\n", "row ".repeat(250));
    }
    std::fs::write(dir.join("logs.csv"), text).unwrap();
    let mut config = DatasetConfig::new("logs", dir.join("logs.csv"));
    config.columns = Some(vec![
        Column::new("id", ColumnType::Int),
        Column::timestamp("time", 0),
        Column::new("note", ColumnType::String),
    ]);
    spandrel_source_parquet::open(config).unwrap()
}

struct Bench {
    dir: tempfile::TempDir,
    service: Service,
    address: SocketAddr,
}

impl Bench {
    async fn start(change: impl FnOnce(&mut ServiceConfig)) -> Self {
        Self::over(100, |source| source, change).await
    }

    async fn over(
        rows: usize,
        wrap: impl FnOnce(Arc<dyn Source>) -> Arc<dyn Source>,
        change: impl FnOnce(&mut ServiceConfig),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = wrap(source(dir.path(), rows));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config =
            ServiceConfig::new(dir.path().join("state")).with_dataset(Dataset::new("logs", source));
        config.listen = Some(address);
        change(&mut config);
        let service = Service::open(config).unwrap();
        let serving = service.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        Self { dir, service, address }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let text = self.request(method, path, headers, body);
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        answer(&mut stream).await
    }

    fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            self.address,
            body.len()
        )
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "", "").await
    }

    async fn create(&self) -> Answer {
        self.call("POST", "/v1/downloads", "", &request().to_string()).await
    }

    /// The value of a metric, once it is at least `min`.
    async fn metric(&self, name: &str, min: u64) -> u64 {
        let reached = async {
            loop {
                let text = String::from_utf8(self.get("/metrics").await.body).unwrap();
                let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
                if let Some(value) = line.and_then(|v| v.parse().ok()).filter(|v| *v >= min) {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{name} reaches {min}"))
    }

    async fn socket(&self, headers: &[(&'static str, &str)]) -> Socket {
        let mut request = format!("ws://{}/v1/ws", self.address).into_client_request().unwrap();
        let offer = "spandrel.download.v1+json".parse().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", offer);
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (ws, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        let mut socket = Socket(ws);
        assert_eq!(socket.next().await.unwrap()["data"]["kind"], "hello");
        socket
    }
}

struct Socket(tokio_tungstenite::WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// The next message; `None` when the connection is over.
    async fn next(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("something comes")?.ok()? {
                Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    async fn event(&mut self, event: &str) -> Value {
        loop {
            let message = self.next().await.expect("the connection lives");
            if message["event"] == event {
                return message["data"].clone();
            }
        }
    }

    async fn ping(&mut self) -> Value {
        let ping = json!({ "event": "connection:health", "data": { "kind": "ping" }, "timestamp": 1, "requestId": "p" });
        self.0.send(Message::text(ping.to_string())).await.unwrap();
        self.event("connection:health").await
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server ends it");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, _) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {read:?} {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = bytes[head.len() + 4..].to_vec();
    Answer { status, head: head.to_owned(), body }
}

/// Sends as much as the server takes, and reads what it has to say.
async fn say(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    answer(&mut stream).await
}

fn request() -> Value {
    json!({
        "searchParams": { "timeFrom": "2024-03-01T00:00:00Z", "timeTo": "2024-03-02T00:00:00Z", "filters": [] },
        "outputFormat": "csv", "compression": false,
    })
}

#[tokio::test]
async fn a_head_has_a_size() {
    let bench = Bench::start(|_| {}).await;
    let head = |rest: &str| format!("GET /v1/health HTTP/1.1\r\nHost: {}\r\n{rest}", bench.address);
    let many = |n: usize| (0..n).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let close = "Connection: close\r\n\r\n";
    for (name, text, want) in [
        ("15 KiB", head(&format!("X: {}\r\n{close}", "a".repeat(15 << 10))), 200),
        ("17 KiB", head(&format!("X: {}\r\n{close}", "a".repeat(17 << 10))), 431),
        ("1 MiB", head(&format!("X: {}\r\n{close}", "a".repeat(1 << 20))), 431),
        ("1 MiB without an end", head(&"a".repeat(1 << 20)), 431),
        ("90 headers", head(&format!("{}{close}", many(90))), 200),
        ("101 headers", head(&format!("{}{close}", many(101))), 431),
        ("10,000 headers", head(&format!("{}{close}", many(10_000))), 431),
    ] {
        assert_eq!(say(bench.address, text.as_bytes()).await.status, want, "{name}");
    }
}

#[tokio::test]
async fn a_head_has_a_time() {
    let bench = Bench::start(|config| config.limits.head_ms_max = 400).await;
    let began = Instant::now();
    let mut silent = bench.connect().await;
    let mut slow = bench.connect().await;
    let slowly = async {
        // Every byte is progress, and none of it helps.
        for byte in b"GET /v1/health HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'a')) {
            if slow.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, slowly).await.expect("the server hangs up on a slow head");
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, silent.read_to_end(&mut rest)).await.expect("and on a silent peer");
    assert!(began.elapsed() < Duration::from_secs(5) && rest.is_empty());
    assert_eq!(bench.get("/v1/health").await.status, 200);
}

#[tokio::test]
async fn a_body_has_a_time() {
    let bench = Bench::start(|config| config.limits.body_ms_max = 300).await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 90000\r\n\r\n{{",
            bench.address
        )
    };
    let slow = say(bench.address, head("/v1/downloads").as_bytes()).await;
    assert_eq!((slow.status, &slow.json()["code"]), (503, &"TIMEOUT".into()));
    // A path that looks at no body does not wait for one.
    let id = format!("/v1/downloads/dl_{}/cancel", "A".repeat(22));
    assert_eq!(say(bench.address, head(&id).as_bytes()).await.status, 404);
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_links_count() {
    let bench = Bench::start(|config| {
        config.limits.http_per_address_max = Some(4);
        config.limits.http_counts_loopback = true;
    })
    .await;
    let mut socket = bench.socket(&[]).await;
    let held = [bench.connect().await, bench.connect().await, bench.connect().await];
    // Accepted in order: when this one is refused, those before are in.
    let refused = say(bench.address, b"").await;
    let body = refused.json();
    assert_eq!(
        (refused.status, &body["code"], &body["recoverable"]),
        (503, &"OVERLOADED".into(), &true.into())
    );
    assert!(body["retryAfter"].is_u64() && refused.head.contains("Retry-After: "), "{refused:?}");
    assert_eq!(socket.ping().await["kind"], "pong");
    drop(held);
    let back = async {
        while bench.get("/v1/health").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, back).await.expect("places come back");
    assert!(bench.metric("spandrel_connections_refused_total", 1).await >= 1);
    drop(socket);
}

#[tokio::test]
async fn one_address_has_32_unless_it_is_a_proxy() {
    for (name, proxy, want) in [("everybody", None, 503), ("a proxy", Some("https://export.example"), 200)] {
        let bench = Bench::start(|config| {
            config.limits.http_counts_loopback = true;
            config.public_base_url = proxy.map(str::to_owned);
        })
        .await;
        let mut held = Vec::new();
        for _ in 0..32 {
            held.push(bench.connect().await);
        }
        assert_eq!(bench.get("/v1/health").await.status, want, "{name}");
    }
}

#[tokio::test]
async fn all_together_have_so_many_connections() {
    let bench = Bench::start(|config| config.limits.http_connections_max = 3).await;
    let _held = [bench.connect().await, bench.connect().await, bench.connect().await];
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let refused = say(bench.address, b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(refused.status, 503);
        times.insert(refused.json()["retryAfter"].as_u64().unwrap());
    }
    assert!(times.len() > 3, "not all at once again: {times:?}");
    assert!(times.iter().all(|ms| (2_500..=7_500).contains(ms)), "{times:?}");
}

/// The server part of the next test, in a process of its own with few descriptors.
#[test]
fn child_with_few_descriptors() {
    if std::env::var_os("SPANDREL_TEST_CHILD").is_none() {
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let bench = Bench::start(|_| {}).await;
        println!("\naddress {}", bench.address);
        let mut rest = String::new();
        let _ = tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut rest)).await;
    });
}

#[cfg(unix)]
#[tokio::test]
async fn running_out_of_descriptors_is_survived() {
    let mut child = Child(
        Command::new("sh")
            .args(["-c", "ulimit -n 64; exec \"$0\" --exact child_with_few_descriptors --nocapture"])
            .arg(std::env::current_exe().unwrap())
            .env("SPANDREL_TEST_CHILD", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let address: SocketAddr = loop {
        let line = lines.next().expect("the server says where it is").unwrap();
        if let Some(address) = line.strip_prefix("address ") {
            break address.parse().unwrap();
        }
    };
    let mut held = Vec::new();
    for _ in 0..150 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    drop(held);
    let health = format!("GET /v1/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let back = async {
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut bytes = Vec::new();
            let _ = stream.write_all(health.as_bytes()).await;
            if stream.read_to_end(&mut bytes).await.is_ok() && bytes.starts_with(b"HTTP/1.1 200") {
                return;
            }
        }
    };
    timeout(PATIENCE, back).await.expect("it serves again without a restart");
    assert!(child.0.try_wait().unwrap().is_none(), "the process lives");
}

/// Ends with the test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A finished file of `rows` kilobytes: its path.
async fn file_of(bench: &Bench) -> (String, u64) {
    let id = bench.create().await.json()["downloadId"].as_str().unwrap().to_owned();
    let done = bench.get(&format!("/v1/downloads/{id}?wait=20")).await.json();
    assert_eq!(done["state"], "completed", "{done}");
    (done["files"][0]["url"].as_str().unwrap().to_owned(), done["files"][0]["bytes"].as_u64().unwrap())
}

async fn with_small_window(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.connect(address).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_dropped_and_a_slow_one_is_not() {
    let bench = Bench::over(
        12_000,
        |source| source,
        |config| {
            config.limits.stalled_ms_max = 1_000;
            config.limits.http_connections_max = 3;
        },
    )
    .await;
    let (path, bytes) = file_of(&bench).await;
    let text = bench.request("GET", &path, "", "");
    let mut stalled = with_small_window(bench.address).await;
    stalled.write_all(text.as_bytes()).await.unwrap();
    let mut slow = with_small_window(bench.address).await;
    slow.write_all(text.as_bytes()).await.unwrap();
    let (mut got, mut block) = (0_u64, vec![0; 256 << 10]);
    let began = Instant::now();
    let slowly = async {
        loop {
            match slow.read(&mut block).await.unwrap() {
                0 => return,
                n => got += n as u64,
            }
            // Twice as long in all as a reader may stand still.
            if began.elapsed() < Duration::from_secs(2) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    timeout(PATIENCE, slowly).await.expect("the slow reader gets on");
    assert!(got > bytes, "the whole file, and its head");
    assert_eq!(bench.metric("spandrel_readers_stalled_total", 1).await, 1);
    // What was on its way comes, and no more: the transfer was given up.
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stalled.read_to_end(&mut rest)).await.expect("it is over");
    assert!((rest.len() as u64) < bytes, "{} of {bytes} bytes", rest.len());
}

#[tokio::test]
async fn tls_and_http_share_the_port() {
    let server = TlsServer::self_signed(["localhost"]).unwrap();
    let fingerprint = server.fingerprint();
    let bench = Bench::start(|config| {
        config.tls = Some(server);
        config.limits.head_ms_max = 500;
    })
    .await;
    let mut silent = bench.connect().await;
    let client = TlsClient::with_fingerprint(fingerprint).unwrap();
    let mut stream = client.connect(bench.connect().await, "localhost").await.unwrap();
    let text = bench.request("GET", "/v1/health", "", "");
    write(&mut stream, text.as_bytes()).await;
    assert_eq!(answer(&mut stream).await.status, 200);
    let plain = bench.get("/v1/health").await;
    assert_eq!(plain.status, 400);
    assert!(String::from_utf8_lossy(&plain.body).contains("https"), "{plain:?}");
    let garbage = say(bench.address, &[0; 100]).await;
    assert_eq!(garbage.status, 400);
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, silent.read_to_end(&mut rest)).await.expect("a silent peer is dropped");
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// Panics where the header says so, and later for whoever is called mallory.
#[derive(Debug, Default)]
struct Fragile;

impl Authenticator for Fragile {
    fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, ErrorResponse> {
        let name = headers.get("authorization").map_or("", |v| v.to_str().unwrap_or_default());
        match name {
            "Bearer panic" => panic!("at /a/secret/path"),
            "" => Err(ErrorResponse::new(ErrorCode::AuthRequired, "who are you?")),
            name => Ok(Principal::new(name)),
        }
    }

    fn is_open(&self) -> bool {
        false
    }

    fn holds(&self, proof: &Proof, _: u64) -> bool {
        let is_mallory = matches!(proof, Proof::Bearer(_, who) if who.as_str() == "Bearer mallory");
        assert!(!is_mallory, "a bug for one");
        true
    }
}

#[tokio::test]
async fn a_bug_ends_one_request_or_connection_and_has_a_name() {
    let bench = Bench::start(|config| config.auth = Arc::new(Fragile)).await;
    let mut alice = bench.socket(&[("authorization", "Bearer alice")]).await;
    let mut mallory = bench.socket(&[("authorization", "Bearer mallory")]).await;
    let broken = bench.call("GET", "/v1/datasets", "Authorization: Bearer panic\r\n", "").await;
    let body = broken.json();
    assert_eq!((broken.status, &body["code"], &body["recoverable"]), (500, &"INTERNAL".into(), &true.into()));
    assert_eq!(body["details"]["incident"].as_str().map(str::len), Some(16), "{body}");
    assert!(!String::from_utf8_lossy(&broken.body).contains("secret"), "{body}");
    bench.service.recheck();
    assert_eq!(mallory.next().await, None, "that connection is over");
    assert_eq!(alice.ping().await["kind"], "pong");
    let metrics = bench.call("GET", "/metrics", "Authorization: Bearer alice\r\n", "").await;
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(text.contains("spandrel_panics_total{in=\"request\"} 2"), "{text}");
}

#[tokio::test]
async fn a_disk_that_fails_makes_the_server_unhealthy_until_it_works_again() {
    let bench = Bench::start(|_| {}).await;
    let mut socket = bench.socket(&[]).await;
    let jobs = bench.dir.path().join("state/jobs");
    std::fs::remove_dir(&jobs).unwrap();
    let refused = bench.create().await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &"FILE_SYSTEM".into()));
    let told = socket.event("system:error").await;
    assert_eq!((&told["code"], &told["recoverable"]), (&"FILE_SYSTEM".into(), &true.into()));
    let sick = bench.get("/v1/health").await;
    let body = sick.json();
    assert_eq!((sick.status, &body["status"]), (503, &"unhealthy".into()));
    let storage = body["checks"].as_array().unwrap().iter().find(|c| c["name"] == "storage").unwrap();
    assert_eq!(storage["status"], "fail");
    let refused = bench.create().await;
    let body = refused.json();
    assert_eq!((refused.status, &body["code"]), (503, &"OVERLOADED".into()));
    assert!((30_000..=90_000).contains(&body["retryAfter"].as_u64().unwrap()), "{body}");
    for said in [&sick, &refused] {
        let text = String::from_utf8_lossy(&said.body);
        assert!(!text.contains(&*bench.dir.path().to_string_lossy()), "{text}");
    }
    std::fs::create_dir(&jobs).unwrap();
    let back = async {
        while bench.get("/v1/health").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, back).await.expect("well again without a restart");
    assert_eq!(bench.create().await.status, 202);
    assert_eq!(socket.ping().await["systemHealth"]["status"], "healthy", "told once, and that was it");
}

#[tokio::test]
async fn a_server_short_of_memory_takes_no_jobs() {
    let bench = Bench::start(|config| config.limits.memory_fail_bytes = 1).await;
    assert_eq!(bench.get("/v1/health").await.status, 503);
    let refused = bench.create().await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &"OVERLOADED".into()));
    let sick = bench.socket(&[]).await.ping().await;
    assert_eq!(sick["systemHealth"]["status"], "unhealthy");
}

/// Time as the test sets it; the monotonic clock is a real one.
#[derive(Debug)]
struct Jumping {
    began: std::time::Instant,
    wall_ms: AtomicU64,
}

impl Clock for Jumping {
    fn now(&self) -> Now {
        let mono_ms =
            u64::try_from(Instant::now().into_std().duration_since(self.began).as_millis()).unwrap();
        Now { mono_ms, wall_ms: self.wall_ms.load(Ordering::SeqCst) }
    }
}

#[tokio::test]
async fn a_wall_clock_that_jumps_disconnects_nobody_and_loses_no_file() {
    const HOUR: u64 = 3_600_000;
    const START: u64 = 1_700_000_000_000;
    let clock = Arc::new(Jumping { began: Instant::now().into_std(), wall_ms: AtomicU64::new(START) });
    let bench = Bench::start(|config| {
        config.clock = Arc::clone(&clock) as Arc<dyn Clock>;
        config.sessions.heartbeat_interval_ms = 100;
    })
    .await;
    let mut socket = bench.socket(&[]).await;
    let (path, _) = file_of(&bench).await;
    for wall in [START + HOUR, START - HOUR, START - 10 * 365 * 24 * HOUR, 0, START] {
        clock.wall_ms.store(wall, Ordering::SeqCst);
        // Long enough for heartbeats to be due.
        for _ in 0..3 {
            assert_eq!(socket.ping().await["kind"], "pong", "at {wall}");
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        assert_eq!(bench.get(&path).await.status, 200, "at {wall}");
    }
}

/// Gives no answer while it is told to.
#[derive(Debug)]
struct Mute {
    inner: Arc<dyn Source>,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
    /// Reads fail instead.
    fails: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        let mut is_shut = self.is_shut.lock().unwrap();
        while *is_shut {
            is_shut = self.opened.wait(is_shut).unwrap();
        }
    }

    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap() = is_shut;
        self.opened.notify_all();
    }
}

impl Source for Mute {
    fn schema(&self) -> Arc<Schema> {
        self.inner.schema()
    }

    fn facts(&self) -> Facts {
        self.inner.facts()
    }

    fn snapshot(&self) -> String {
        self.inner.snapshot()
    }

    fn rows(&self, snapshot: &str) -> Result<Arc<dyn Rows>, SourceError> {
        Ok(Arc::new(MuteRows { inner: self.inner.rows(snapshot)?, gate: Arc::clone(&self.gate) }))
    }

    fn reload(&self) -> Result<(), SourceError> {
        self.inner.reload()
    }
}

#[derive(Debug)]
struct MuteRows {
    inner: Arc<dyn Rows>,
    gate: Arc<Gate>,
}

impl Rows for MuteRows {
    fn schema(&self) -> Arc<Schema> {
        self.inner.schema()
    }

    fn plan(&self, query: &Query) -> Result<Plan, SourceError> {
        self.gate.pass();
        self.inner.plan(query)
    }

    fn open(&self, read: &Read<'_>, unit: &Unit) -> Result<Box<dyn Batches>, SourceError> {
        self.gate.pass();
        if self.gate.fails.load(Ordering::SeqCst) {
            return Err(SourceError::Unreadable { what: "/a/secret/path: on purpose".into() });
        }
        self.inner.open(read, unit)
    }
}

/// A service whose source gives no answer while the gate is shut.
async fn muted(change: impl FnOnce(&mut ServiceConfig)) -> (Bench, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let bench = Bench::over(100, |inner| Arc::new(Mute { inner, gate: shut }), change).await;
    (bench, gate)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_gives_no_answer_is_answered_for() {
    let (bench, gate) = muted(|config| {
        config.limits.command_ms_max = 300;
        config.limits.commands_max = 4;
    })
    .await;
    let (path, _) = file_of(&bench).await;
    gate.set(true);
    for round in 0..6 {
        let refused = bench.create().await;
        let body = refused.json();
        // The threads that wait are at most as many as there are turns.
        let want = if round < 4 { "TIMEOUT" } else { "OVERLOADED" };
        assert_eq!((refused.status, &body["code"]), (503, &want.into()), "request {round}");
        assert!(body["retryAfter"].is_u64(), "{body}");
    }
    assert_eq!(bench.get(&path).await.status, 200, "finished files are served");
    assert_eq!(bench.get("/v1/health").await.status, 200);
    gate.set(false);
    let back = async {
        while bench.create().await.status != 202 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, back).await.expect("when it answers, all is as before");
}

/// Reads of a preview that get no answer keep its place; who comes next is not left waiting for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_preview_waits_for_its_turn_only_so_long() {
    let (bench, gate) = muted(|config| {
        config.limits.command_ms_max = 300;
        config.limits.previews_max = 1;
    })
    .await;
    gate.set(true);
    let preview = || async { bench.call("POST", "/v1/preview", "", &request().to_string()).await };
    let mut refused = Vec::new();
    for _ in 0..3 {
        refused.push(timeout(PATIENCE, preview()).await);
    }
    gate.set(false);
    for (refused, want) in refused.into_iter().zip(["TIMEOUT", "OVERLOADED", "OVERLOADED"]) {
        let refused = refused.expect("an answer");
        assert_eq!((refused.status, &refused.json()["code"]), (503, &want.into()));
        assert!(refused.json()["retryAfter"].is_u64(), "{refused:?}");
    }
    let back = async { while preview().await.status != 200 {} };
    timeout(PATIENCE, back).await.expect("the place comes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_left_while_its_command_runs_is_noticed() {
    let (bench, gate) = muted(|config| {
        config.sessions.commands_max = 1;
        config.sessions.heartbeat_interval_ms = 50;
    })
    .await;
    gate.set(true);
    let mut socket = bench.socket(&[]).await;
    let ask = json!({ "event": "download:request", "data": request(), "timestamp": 1, "requestId": "r" });
    socket.0.send(Message::text(ask.to_string())).await.unwrap();
    // Not read any more from here on: only what is written tells.
    drop(socket);
    let noticed = async {
        while bench.service.connections_ended() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let noticed = timeout(PATIENCE, noticed).await;
    gate.set(false);
    noticed.expect("the connection is over while the command still waits");
}

/// Everything below a folder that others than the owner could look at.
#[cfg(unix)]
fn readable_by_others(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = std::fs::metadata(&path).unwrap();
        if meta.permissions().mode() & 0o077 != 0 {
            found.push(path.display().to_string());
        }
        if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_of_the_state_is_anybody_elses() {
    let bench = Bench::start(|_| {}).await;
    file_of(&bench).await;
    bench.call("POST", "/v1/preview", "", &request().to_string()).await;
    let found = readable_by_others(&bench.dir.path().join("state"));
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_vanishes_fails_the_job_and_its_parts_are_gone() {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let bench = Bench::over(2_000, |inner| Arc::new(Mute { inner, gate: shut }), |_| {}).await;
    let mut slow = request();
    slow["options"] = json!({ "maxRowsPerSecond": 500, "maxRowsPerFile": 100 });
    let created = bench.call("POST", "/v1/downloads", "", &slow.to_string()).await.json();
    let id = created["downloadId"].as_str().unwrap().to_owned();
    let path = format!("/v1/downloads/{id}");
    let begun = async {
        loop {
            let status = bench.get(&path).await.json();
            if let Some(url) = status["files"][0]["url"].as_str() {
                return url.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let url = timeout(PATIENCE, begun).await.expect("a part is finished");
    assert_eq!(bench.get(&url).await.status, 200, "and served");
    std::fs::write(bench.dir.path().join("logs.csv"), "id,time,note\r\n").unwrap();
    let status = bench.get(&format!("{path}?wait=20")).await.json();
    assert_eq!((&status["state"], &status["error"]["code"]), (&"failed".into(), &"SOURCE_CHANGED".into()));
    assert_eq!(bench.get(&url).await.status, 404, "half a download is not presented");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_all_tries_of_a_job_makes_the_server_unhealthy() {
    let gate = Arc::new(Gate::default());
    let failing = Arc::clone(&gate);
    let bench = Bench::over(
        100,
        |inner| Arc::new(Mute { inner, gate: failing }),
        |config| config.jobs.retry_delay_ms = 1,
    )
    .await;
    let mut socket = bench.socket(&[]).await;
    gate.fails.store(true, Ordering::SeqCst);
    let id = bench.create().await.json()["downloadId"].as_str().unwrap().to_owned();
    let failed = bench.get(&format!("/v1/downloads/{id}?wait=20")).await;
    let status = failed.json();
    assert_eq!((&status["state"], &status["error"]["code"]), (&"failed".into(), &"SOURCE_ERROR".into()));
    assert_eq!(status["error"]["recoverable"], true, "{status}");
    assert!(!String::from_utf8_lossy(&failed.body).contains("secret"), "{status}");
    assert_eq!(socket.event("system:error").await["code"], "SOURCE_ERROR");
    let sick = bench.get("/v1/health").await;
    let source = &sick.json()["checks"][0];
    assert_eq!((sick.status, &source["message"]), (503, &"a data set cannot be read".into()), "{source}");
    // Jobs are still taken: one that comes through shows that all is well.
    gate.fails.store(false, Ordering::SeqCst);
    file_of(&bench).await;
    let back = async {
        while bench.get("/v1/health").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, back).await.expect("well again");
}
