//! A small real server: axum on a port, the WebSocket transport, jobs that the test steers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use spandrel_download_protocol::{
    Check, CheckStatus, ClientEvent, ConnectionHealth, DownloadComplete, DownloadError, DownloadId,
    DownloadStart, DownloadStatus, ErrorCode, ErrorResponse, FileInfo, JobRef, JobState, Limits, PlannedFile,
    Problem, ProgressUpdate, RequestId, ServerEvent, SessionState, Subprotocol, SystemHealth, UtcOffset,
    parse_message, write_message,
};
use spandrel_transport::{BoxStream, Close, Connection, Endpoint, Frame, TlsServer, Transport};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What the test tells the server to do on the connection that is open.
pub(crate) enum Order {
    Say(ServerEvent, String, serde_json::Value),
    Close(u16),
    /// Cut without a goodbye.
    Cut,
    /// Keep the connection and do nothing more with it.
    Freeze,
}

/// What the server saw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) connection: usize,
    pub(crate) event: ClientEvent,
    pub(crate) request_id: String,
    pub(crate) data: serde_json::Value,
}

#[derive(Clone)]
pub(crate) struct Server(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) address: SocketAddr,
    files: Mutex<HashMap<String, Vec<u8>>>,
    /// Bytes after which each of the next answers breaks off.
    pub(crate) breaks: Mutex<Vec<usize>>,
    /// Ranges that were asked for.
    pub(crate) ranges: Mutex<Vec<Option<String>>>,
    refuse_files: Mutex<Vec<ErrorResponse>>,
    /// What an address must end with to be taken.
    signature: Mutex<u32>,
    /// The announced files.
    infos: Mutex<Vec<FileInfo>>,
    seen: mpsc::Sender<Seen>,
    orders: tokio::sync::Mutex<mpsc::Receiver<Order>>,
    connections: Mutex<usize>,
    is_secure: bool,
    ways: Ways,
}

/// How the server behaves.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    /// Requests are answered, unless a test wants to do that.
    pub(crate) answers: bool,
    /// Jobs have two parts.
    pub(crate) multi: bool,
    pub(crate) hello: bool,
    pub(crate) heartbeat_ms: u64,
    /// A transfer that breaks stands still instead.
    pub(crate) stalls: bool,
    /// Addresses of files are signed, and every break makes the old ones worthless.
    pub(crate) signs: bool,
}

impl Default for Ways {
    fn default() -> Self {
        Self { answers: true, multi: false, hello: true, heartbeat_ms: 10_000, stalls: false, signs: false }
    }
}

/// TLS below HTTP and WebSocket alike.
struct TlsListener {
    listener: TcpListener,
    tls: TlsServer,
}

impl axum::serve::Listener for TlsListener {
    type Io = BoxStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoxStream, SocketAddr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub(crate) struct Steering {
    pub(crate) server: Server,
    pub(crate) seen: mpsc::Receiver<Seen>,
    pub(crate) orders: mpsc::Sender<Order>,
}

pub(crate) fn id() -> DownloadId {
    DownloadId::from_bytes([7; 16])
}

impl Server {
    pub(crate) async fn start(answers: bool, multi: bool) -> Steering {
        Self::start_with(Ways { answers, multi, ..Ways::default() }).await
    }

    pub(crate) async fn start_with(ways: Ways) -> Steering {
        Self::start_secured(ways, None).await
    }

    pub(crate) async fn start_secured(ways: Ways, tls: Option<TlsServer>) -> Steering {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (seen_in, seen) = mpsc::channel(1000);
        let (orders, orders_out) = mpsc::channel(1000);
        let server = Self(Arc::new(Inner {
            address: listener.local_addr().unwrap(),
            files: Mutex::default(),
            breaks: Mutex::default(),
            ranges: Mutex::default(),
            refuse_files: Mutex::default(),
            signature: Mutex::default(),
            infos: Mutex::default(),
            seen: seen_in,
            orders: tokio::sync::Mutex::new(orders_out),
            connections: Mutex::default(),
            is_secure: tls.is_some(),
            ways,
        }));
        let app = server.router();
        match &tls {
            None => drop(tokio::spawn(async move { axum::serve(listener, app).await })),
            Some(tls) => {
                let listener = TlsListener { listener, tls: tls.clone() };
                tokio::spawn(async move { axum::serve(listener, app).await });
            }
        }
        Steering { server, seen, orders }
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/v1/ws", any(socket))
            .route("/v1/files/{id}/{name}", get(file))
            .route("/v1/datasets", get(datasets))
            .with_state(self.clone())
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", if self.0.is_secure { "https" } else { "http" }, self.0.address)
    }

    /// Takes sessions by another way, too.
    pub(crate) async fn listen(&self, transport: impl Transport, at: &str) -> Endpoint {
        let listener = transport.listen(&at.parse().unwrap()).await.unwrap();
        let local = listener.local().clone();
        let server = self.clone();
        let handle = move |conn| serve(server.clone(), conn);
        let limits = spandrel_transport::Limits::default();
        tokio::spawn(spandrel_transport::serve(listener, limits, std::future::pending(), handle));
        local
    }

    pub(crate) fn put(&self, name: &str, content: impl Into<Vec<u8>>) -> FileInfo {
        let content = content.into();
        let info = FileInfo {
            index: 1,
            file_name: name.to_owned(),
            content_type: "text/csv; charset=utf-8".to_owned(),
            bytes: content.len() as u64,
            rows: 1,
            sha256: Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect(),
            uncompressed_bytes: content.len() as u64,
            url: self.url_of(name),
            url_expires_at: 0,
            expires_at: 0,
        };
        self.0.files.lock().unwrap().insert(name.to_owned(), content);
        self.0.infos.lock().unwrap().push(info.clone());
        info
    }

    fn url_of(&self, name: &str) -> String {
        format!("/v1/files/{}/{name}?exp=1&sig={}", id(), self.0.signature.lock().unwrap())
    }

    /// The state of the job, with addresses of its files that are good now.
    fn state(&self, state: JobState) -> SessionState {
        let mut session = session(state);
        let fresh = |info: &FileInfo| FileInfo { url: self.url_of(&info.file_name), ..info.clone() };
        if let Some(status) = session.active_downloads.get_mut(&id()) {
            status.files = self.0.infos.lock().unwrap().iter().map(fresh).collect();
        }
        session
    }

    pub(crate) fn break_after(&self, bytes: impl IntoIterator<Item = usize>) {
        self.0.breaks.lock().unwrap().extend(bytes);
    }

    pub(crate) fn refuse_next_file(&self, error: ErrorResponse) {
        self.0.refuse_files.lock().unwrap().push(error);
    }

    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.0.ranges.lock().unwrap().clone()
    }
}

pub(crate) fn start(attached: bool, parts: u32) -> DownloadStart {
    DownloadStart {
        download_id: id(),
        state: JobState::Generating,
        total_rows: 10,
        total_rows_exact: true,
        output_format: "csv".to_owned(),
        compression: false,
        codec: None,
        formula_guard: false,
        time_zone: UtcOffset::Zulu,
        files: (1..=parts)
            .map(|index| PlannedFile { index, file_name: format!("f{index}"), url: String::new() })
            .collect(),
        status_url: String::new(),
        created_at: 0,
        duplicate: false,
        attached,
        queue_position: None,
    }
}

pub(crate) fn progress(rows: u64) -> ProgressUpdate {
    ProgressUpdate {
        request_id: RequestId::parse("job").unwrap(),
        progress: 0.0,
        processed_rows: rows,
        total_rows: 10,
        speed: 1.0,
        estimated_remaining_s: 1.0,
        download_id: id(),
        state: JobState::Generating,
        bytes_written: 0,
        restarts: 0,
    }
}

pub(crate) fn complete(files: Vec<FileInfo>) -> DownloadComplete {
    let files = (1..).zip(files).map(|(index, file)| FileInfo { index, ..file }).collect();
    DownloadComplete { download_id: id(), total_rows: 10, elapsed_ms: 1, expires_at: 0, files }
}

pub(crate) fn to_json(data: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(data).unwrap()
}

pub(crate) fn health() -> SystemHealth {
    let check = Check { name: "source".to_owned(), status: CheckStatus::Ok, message: None };
    SystemHealth::of(vec![check], 0, 0, 0)
}

pub(crate) fn session(state: JobState) -> SessionState {
    let status = DownloadStatus {
        download_id: id(),
        request_id: RequestId::parse("job").unwrap(),
        state,
        progress: 0.0,
        processed_rows: 0,
        total_rows: 10,
        total_rows_exact: true,
        created_at: 0,
        restarts: 0,
        files: vec![],
        error: None,
        expires_at: None,
        status_url: String::new(),
    };
    let active_downloads = std::collections::BTreeMap::from([(id(), status)]);
    SessionState { connected: true, last_heartbeat: 0, active_downloads, system_health: health() }
}

async fn socket(State(server): State<Server>, mut request: Request) -> Response {
    let supported = [Subprotocol::Json.as_str()];
    let choose = |offered: &[String]| spandrel_transport_ws::choose_first(offered, &supported);
    let Ok(upgrade) = spandrel_transport_ws::upgrade(&request, None, choose) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let on_upgrade = hyper::upgrade::on(&mut request);
    let peer = upgrade.peer;
    tokio::spawn(async move {
        let upgraded = on_upgrade.await.unwrap();
        let link =
            spandrel_transport_ws::accept_upgraded(upgraded, peer, &spandrel_transport::Limits::default());
        serve(server, Connection::new(link)).await;
    });
    upgrade.response.map(|()| Body::empty()).into_response()
}

async fn serve(server: Server, mut conn: Connection) {
    let number = {
        let mut connections = server.0.connections.lock().unwrap();
        *connections += 1;
        *connections
    };
    let hello = ConnectionHealth::Hello {
        server_time: 0,
        session_id: number.to_string(),
        protocol: Subprotocol::Json.as_str().to_owned(),
        heartbeat_interval_ms: server.0.ways.heartbeat_ms,
        heartbeat_timeout_ms: server.0.ways.heartbeat_ms / 2,
        max_message_bytes: 1 << 20,
        features: vec![],
        system_health: health(),
        server_nonce: None,
    };
    if server.0.ways.hello {
        say(&mut conn, ServerEvent::ConnectionHealth, "srv-1", &to_json(&hello)).await;
    }
    let mut orders = server.0.orders.lock().await;
    loop {
        tokio::select! {
            frame = conn.recv() => {
                let Ok(Some(frame)) = frame else { return };
                let limits = Limits::default();
                let text = text_of(&conn, &frame);
                let message = parse_message(&text, &limits).unwrap();
                let event = message.known_event().unwrap();
                let data = serde_json::from_str(message.data.get()).unwrap();
                let request_id = message.request_id.to_string();
                let seen = Seen { connection: number, event, request_id: request_id.clone(), data };
                server.0.seen.send(seen).await.unwrap();
                if server.0.ways.answers {
                    answer(&server, &mut conn, event, message.data, &request_id).await;
                }
            }
            order = orders.recv() => match order {
                Some(Order::Say(event, id, data)) => say(&mut conn, event, &id, &data).await,
                Some(Order::Close(code)) => {
                    let _ = conn.close(Close::new(code, "because")).await;
                    return;
                }
                Some(Order::Freeze) => {
                    drop(orders);
                    std::future::pending::<()>().await;
                    return;
                }
                Some(Order::Cut) | None => return,
            },
        }
    }
}

async fn answer(
    server: &Server,
    conn: &mut Connection,
    event: ClientEvent,
    data: &serde_json::value::RawValue,
    request_id: &str,
) {
    let limits = Limits::default();
    match event {
        ClientEvent::DownloadRequest | ClientEvent::DownloadAttach => {
            let attached = event == ClientEvent::DownloadAttach;
            let parts = if server.0.ways.multi { 2 } else { 1 };
            say(conn, ServerEvent::DownloadStart, request_id, &to_json(&start(attached, parts))).await;
            say(conn, ServerEvent::DownloadProgress, "job", &to_json(&progress(1))).await;
        }
        ClientEvent::DownloadCancel => {
            let cancelled = JobRef::parse(data, &limits).unwrap().download_id;
            let state = session(JobState::Cancelled);
            say(conn, ServerEvent::StatusUpdate, request_id, &to_json(&state)).await;
            let error = ErrorResponse::new(ErrorCode::Cancelled, "cancelled");
            let error = DownloadError { error, download_id: Some(cancelled) };
            say(conn, ServerEvent::DownloadError, "job", &to_json(&error)).await;
        }
        ClientEvent::ConnectionHealth => {}
        _ => {
            let state = server.state(JobState::Paused);
            say(conn, ServerEvent::StatusUpdate, request_id, &to_json(&state)).await;
        }
    }
}

async fn say(conn: &mut Connection, event: ServerEvent, id: &str, data: &serde_json::Value) {
    let mut text = write_message(event, id, 0, data);
    if conn.peer().scheme == "unix" {
        text = format!("{{\"key\":\"{event}\",\"value\":{text}}}");
    }
    let _ = conn.send(Frame::text(text)).await;
}

/// The message in a frame; on a socket file it is the value of a pair whose key is its event.
fn text_of(conn: &Connection, frame: &Frame) -> String {
    let text = frame.as_text().unwrap();
    if conn.peer().scheme != "unix" {
        return text.to_owned();
    }
    let pair: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!((pair.as_object().unwrap().len(), &pair["key"]), (2, &pair["value"]["event"]));
    pair["value"].to_string()
}

async fn datasets() -> impl IntoResponse {
    let body = r#"{"datasets":[{"name":"logs","default":true,"timeColumn":"time","columns":
        [{"name":"time","type":"timestamp","precision":3},{"name":"price","type":"decimal"}],
        "rows":5,"timeMin":"2024-03-01T00:00:00Z","timeMax":null}]}"#;
    ([(header::CONTENT_TYPE, "application/json")], body)
}

fn refusal(error: &ErrorResponse) -> Response {
    let problem = Problem::from(error);
    let status = StatusCode::from_u16(problem.status).unwrap();
    (status, serde_json::to_string(&problem).unwrap()).into_response()
}

async fn file(
    State(server): State<Server>,
    Path((_, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let signature = format!("sig={}", server.0.signature.lock().unwrap());
    if server.0.ways.signs && !query.unwrap_or_default().ends_with(&signature) {
        return refusal(&ErrorResponse::new(ErrorCode::UrlExpired, "too late"));
    }
    let range = headers.get(header::RANGE).map(|r| r.to_str().unwrap().to_owned());
    server.0.ranges.lock().unwrap().push(range.clone());
    if let Some(error) = server.0.refuse_files.lock().unwrap().pop() {
        return refusal(&error);
    }
    let Some(content) = server.0.files.lock().unwrap().get(&name).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let digest: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
    let current = headers.get(header::IF_RANGE).is_some_and(|v| *v == *format!("\"sha256-{digest}\""));
    let len = content.len();
    let from = range
        .filter(|_| current)
        .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok())
        .unwrap_or(0);
    let body = content[from..].to_vec();
    let cut = {
        let mut breaks = server.0.breaks.lock().unwrap();
        if breaks.is_empty() { None } else { Some(breaks.remove(0)) }
    };
    if cut.is_some() && server.0.ways.signs {
        *server.0.signature.lock().unwrap() += 1;
    }
    let whole = body.len();
    let sent = body[..cut.unwrap_or(whole).min(whole)].to_vec();
    // The bytes before the break go out, because the body is not ready for one turn.
    let end = futures_util::stream::once(async move {
        tokio::task::yield_now().await;
        if cut.is_some() && server.0.ways.stalls {
            std::future::pending::<()>().await;
        }
        if cut.is_some() { Err(std::io::Error::other("cut")) } else { Ok(Bytes::new()) }
    });
    let stream = futures_util::stream::iter([Ok(Bytes::from(sent))]).chain(end);
    let mut answer = Response::builder().header(header::CONTENT_LENGTH, whole);
    if from > 0 {
        answer = answer
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, format!("bytes {from}-{}/{len}", len - 1));
    }
    answer.body(Body::from_stream(stream)).unwrap()
}
