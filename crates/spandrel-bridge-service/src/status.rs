//! The status page: a server of its own, for people and for Prometheus. It changes nothing.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Method, Request, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use spandrel_http::{
    Asset, Assets, Guard, GuardConfig, METRICS_CONTENT_TYPE, Metrics,
    axum::{
        body::Body,
        response::{IntoResponse as _, Response},
    },
};
use spandrel_transport::{Admission, Door, Limits};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Handle, metrics::Readings};

/// Connections at once: some tabs, a scraper, and whoever forgot to close one.
const CONNECTIONS: usize = 32;
/// From the first byte to a whole head, and the hub's answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Life of one connection.
const LIFE: Duration = Duration::from_secs(600);
const HEAD_BYTES_MAX: usize = 16 << 10;

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE: [Asset; 4] = [
    asset("/", "text/html; charset=utf-8", include_bytes!("../web/status/index.html")),
    asset("/status.css", "text/css; charset=utf-8", include_bytes!("../web/status/status.css")),
    asset("/status.mjs", "text/javascript; charset=utf-8", include_bytes!("../web/status/status.mjs")),
    asset("/chart.mjs", "text/javascript; charset=utf-8", include_bytes!("../web/status/chart.mjs")),
];

const fn asset(path: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
    Asset { path, content_type, bytes }
}

/// Tries for an address once this program is the host: whoever was it before, and had the page, may still be saying goodbye.
const TRIES: u32 = 20;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(250);

/// The page, or the wish for one. An address that cannot be had costs the page and nothing else: all programs of a machine
/// may have the same settings, and then the page is the host's.
pub(crate) struct StatusPage {
    address: SocketAddr,
    handle: Handle,
    metrics: Metrics,
    /// Who asks for the page's address is told here.
    place: watch::Sender<Option<SocketAddr>>,
    server: Option<StatusServer>,
}

impl StatusPage {
    pub(crate) async fn open(
        address: SocketAddr,
        handle: Handle,
        metrics: Metrics,
        place: watch::Sender<Option<SocketAddr>>,
    ) -> Self {
        let mut page = Self { address, handle, metrics, place, server: None };
        if let Err(error) = page.bind().await {
            tracing::warn!(
                "the status page is not served at {address}: {error}; it is tried again when this program takes over"
            );
        }
        page
    }

    async fn bind(&mut self) -> io::Result<()> {
        let server = StatusServer::bind(self.address, self.handle.clone(), self.metrics.clone()).await?;
        let address = server.address()?;
        tracing::info!("status page at http://{address}/");
        self.place.send_replace(Some(address));
        self.server = Some(server);
        Ok(())
    }

    /// Serves for ever.
    pub(crate) async fn serve(mut self) {
        if self.server.is_none() {
            self.handle.is_host().await;
        }
        for _ in 0..TRIES {
            if self.server.is_some() || self.bind().await.is_ok() {
                break;
            }
            sleep(PAUSE).await;
        }
        match self.server {
            Some(server) => server.serve().await,
            None => std::future::pending().await,
        }
    }
}

/// The page's socket. Dropped, it is closed.
struct StatusServer {
    door: Door,
    face: Arc<Face>,
}

struct Face {
    assets: Assets,
    guard: Option<Guard>,
    handle: Handle,
    metrics: Metrics,
    readings: Readings,
}

impl StatusServer {
    async fn bind(address: SocketAddr, handle: Handle, metrics: Metrics) -> io::Result<Self> {
        let limits = Limits::default().with_connections_max(CONNECTIONS, CONNECTIONS);
        let door =
            Door::bind(&address.ip().to_string(), address.port(), Admission::counting_loopback(&limits))
                .await?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the status page can be reached from other machines");
        }
        let config = GuardConfig { listen_is_loopback: address.ip().is_loopback(), ..GuardConfig::default() };
        let face = Face {
            assets: Assets::new(&PAGE, CSP),
            guard: Guard::new(&config).ok(),
            readings: Readings::new(&metrics),
            handle,
            metrics,
        };
        Ok(Self { door, face: Arc::new(face) })
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.door.local_addr()
    }

    /// Serves for ever. Dropped, all connections end.
    async fn serve(mut self) {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_buf_size(HEAD_BYTES_MAX)
            .keep_alive(true);
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = tokio::select! {
                accepted = self.door.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let face = Arc::clone(&self.face);
            let service = service_fn(move |request| {
                let face = Arc::clone(&face);
                async move { Ok::<_, std::convert::Infallible>(face.answer(&request).await) }
            });
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move {
                let _ = timeout(LIFE, connection).await;
            });
        }
    }
}

impl std::fmt::Debug for StatusServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusServer").field("address", &self.address().ok()).finish_non_exhaustive()
    }
}

impl Face {
    async fn answer(&self, request: &Request<Incoming>) -> Response {
        if !self.is_admitted(request) {
            return (StatusCode::FORBIDDEN, "Forbidden\n").into_response();
        }
        let path = request.uri().path();
        if let Some(answer) = self.assets.answer(path, request.method(), request.headers()) {
            return answer;
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
        }
        match path {
            "/status.json" => self.json().await,
            "/metrics" => self.prometheus().await,
            "/healthz" => self.health().await,
            _ => (StatusCode::NOT_FOUND, "Not found\n").into_response(),
        }
    }

    /// The name it is reached under must be its own, and no page of another site may ask, not even blindly.
    fn is_admitted(&self, request: &Request<Incoming>) -> bool {
        let single = |name: header::HeaderName| {
            let mut values = request.headers().get_all(name).iter();
            match (values.next(), values.next()) {
                (None, _) => None,
                (Some(value), None) => Some(value.to_str().unwrap_or("")),
                _ => Some(""),
            }
        };
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => single(header::HOST),
        };
        let site = single(header::HeaderName::from_static("sec-fetch-site"));
        // A link on another site may lead here, which shows the page to the one who follows it, and to nobody else.
        let is_visit = single(header::HeaderName::from_static("sec-fetch-mode")) == Some("navigate")
            && request.uri().path() == "/";
        let is_own = site.is_none_or(|site| site == "same-origin" || site == "none") || is_visit;
        let Some(guard) = &self.guard else { return false };
        // Judged like an upgrade: an origin that is told has to be its own for reading too.
        is_own && guard.check(request.method(), host, single(header::ORIGIN), true).is_ok()
    }

    async fn snapshot(&self) -> Option<crate::Snapshot> {
        timeout(PATIENCE, self.handle.snapshot()).await.ok().flatten()
    }

    async fn json(&self) -> Response {
        let Some(now) = self.snapshot().await else { return gone() };
        match serde_json::to_vec(&now) {
            Ok(text) => plain("application/json", text),
            Err(_) => gone(),
        }
    }

    async fn prometheus(&self) -> Response {
        let Some(now) = self.snapshot().await else { return gone() };
        self.readings.set(&now);
        plain(METRICS_CONTENT_TYPE, self.metrics.render().into_bytes())
    }

    /// Well while the hub answers, whatever part it plays.
    async fn health(&self) -> Response {
        match self.snapshot().await {
            Some(_) => plain("text/plain; charset=utf-8", b"ok\n".to_vec()),
            None => gone(),
        }
    }
}

fn gone() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "The bridge does not answer\n").into_response()
}

fn plain(content_type: &'static str, text: Vec<u8>) -> Response {
    let mut answer = Response::new(Body::from(text));
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    answer
}
