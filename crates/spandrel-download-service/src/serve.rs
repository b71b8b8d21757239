//! The HTTP port: who comes in, how long each phase may take, how it all ends.

mod watched;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use spandrel_download::spread;
use spandrel_http::Repeats;
use spandrel_transport::{Admission, BoxStream, Slot, TlsServer, farewell};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tower_service::Service as _;

use self::watched::{Mood, Watched};
use crate::service::Inner;
use crate::{Service, ServiceConfig};

/// A failed accept is tried again after this long: out of descriptors, the next try would fail at once.
const PAUSE: Duration = Duration::from_millis(100);
/// Transfers under way may go on for this long when the server stops.
const LINGER: Duration = Duration::from_secs(3);
/// Bytes of a request's head; also what is kept of an answer beside the block that is being sent.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;
/// Connections of one address, unless the configuration says otherwise: a browser or a pool needs no more.
const PER_ADDRESS_MAX: usize = 32;
/// Peers that are told why they are refused, at once. More are dropped without a word.
const REFUSALS_MAX: usize = 64;
/// Bytes the kernel keeps of an answer before the peer has room: a reader that stands still costs this and its own
/// window, and one that takes half of it in a while does not count as standing still.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

impl Service {
    /// Serves the router on `listener`, inside TLS when the configuration says so, until
    /// [`shut_down`](Self::shut_down) is called; connections already open are brought to an end by it. Cancel safe:
    /// dropping the future stops accepting.
    ///
    /// # Errors
    /// None after the first connection: failed accepts are logged and tried again.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        let port = Arc::new(Port::new(self));
        let inner = &self.0;
        inner.tasks.spawn(crate::health::keep_watch(Arc::clone(inner)));
        let failures = Repeats::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = inner.stopping.cancelled() => return Ok(()),
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(left_out) = failures.admit(inner.now().mono_ms) {
                        tracing::warn!(%error, left_out, "cannot accept, trying again");
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            match port.admission.admit(Some(address.ip())) {
                Some(slot) => {
                    let port = Arc::clone(&port);
                    inner.tasks.spawn(async move { port.take_in(stream, address, slot).await });
                }
                None => port.refuse(stream, address),
            }
        }
    }
}

/// What all connections of a listener share.
struct Port {
    inner: Arc<Inner>,
    router: Router,
    builder: http1::Builder,
    admission: Admission,
    refusals: Arc<Semaphore>,
}

impl Port {
    fn new(service: &Service) -> Self {
        let inner = Arc::clone(&service.0);
        let limits = &inner.config.limits;
        let all = limits.http_connections_max.max(1);
        let bounds = spandrel_transport::Limits::default()
            .with_connections_max(all, per_address_max(&inner.config, all));
        let admission = match limits.http_counts_loopback {
            true => Admission::counting_loopback(&bounds),
            false => Admission::new(&bounds),
        };
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(limits.head_ms_max))
            .max_buf_size(HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX);
        Self {
            router: service.router(),
            builder,
            admission,
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            inner,
        }
    }

    /// One too many: told why where that costs next to nothing. Inside TLS it would cost a handshake.
    fn refuse(&self, mut stream: TcpStream, address: SocketAddr) {
        self.inner.metrics.refused.inc();
        if self.inner.config.tls.is_some() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        self.inner.tasks.spawn(async move {
            let _permit: OwnedSemaphorePermit = permit;
            let _ =
                farewell(&mut stream, busy(address).as_bytes(), &spandrel_transport::Limits::default()).await;
        });
    }

    async fn take_in(&self, stream: TcpStream, address: SocketAddr, slot: Slot) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        let stream = match &self.inner.config.tls {
            None => Box::new(stream),
            Some(tls) => match self.secured(tls, stream).await {
                Some(stream) => stream,
                None => return,
            },
        };
        self.attend(stream, address, slot).await;
    }

    /// The stream inside TLS; `None` for a peer that does not speak it, or not in time.
    async fn secured(&self, tls: &TlsServer, stream: TcpStream) -> Option<BoxStream> {
        let shake = async {
            let mut first = [0];
            let speaks_tls = stream.peek(&mut first).await.is_ok_and(|n| n == 1) && first == [HANDSHAKE];
            if speaks_tls {
                return tls.accept(stream).await.inspect_err(|error| tracing::debug!(%error, "no TLS")).ok();
            }
            let mut stream = stream;
            let _ = farewell(&mut stream, PLAIN.as_bytes(), &spandrel_transport::Limits::default()).await;
            None
        };
        timeout(Duration::from_millis(self.inner.config.limits.head_ms_max), shake).await.ok()?
    }

    /// Speaks HTTP on any stream of bytes.
    async fn attend(&self, stream: BoxStream, address: SocketAddr, slot: Slot) {
        let mood = Arc::new(Mood::default());
        let limit = self.inner.config.limits.stalled_ms_max;
        let stream: BoxStream = Box::new(Watched::new(stream, slot, limit, Arc::clone(&mood)));
        let (router, shared) = (self.router.clone(), Arc::clone(&mood));
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(address));
            let (answer, mood) = (router.clone().call(request), Arc::clone(&shared));
            async move {
                let answer = answer.await?;
                if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                    mood.is_upgraded.store(true, Ordering::Relaxed);
                }
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let mut connection =
            pin!(self.builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        tokio::select! {
            ended = connection.as_mut() => {
                if mood.is_stalled.load(Ordering::Relaxed) {
                    self.inner.metrics.stalled.inc();
                }
                if let Err(error) = ended {
                    tracing::debug!(%error, %address, "an http connection broke off");
                }
                return;
            }
            () = self.inner.stopping.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LINGER, connection).await;
    }
}

/// First byte of a TLS record that begins a handshake.
const HANDSHAKE: u8 = 22;

const PLAIN: &str = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\
                     Content-Length: 39\r\n\r\nThis port speaks TLS: ask with https.\r\n";

/// The answer to one peer too many. Peers that were refused together do not come back together.
fn busy(address: SocketAddr) -> String {
    let retry_ms = spread(REFUSED_RETRY_MS, u64::from(address.port()));
    let body = format!(
        "{{\"type\":\"urn:spandrel:error:OVERLOADED\",\"title\":\"Overloaded\",\"status\":503,\
         \"detail\":\"too many connections; try again later\",\"code\":\"OVERLOADED\",\"recoverable\":true,\
         \"retryAfter\":{retry_ms}}}"
    );
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/problem+json\r\n\
         Retry-After: {}\r\nContent-Length: {}\r\n\r\n{body}",
        retry_ms.div_ceil(1_000),
        body.len()
    )
}

const REFUSED_RETRY_MS: u64 = 5_000;

/// Connections of one address, of `all`: behind a proxy everybody comes from the same.
pub(crate) fn per_address_max(config: &ServiceConfig, all: usize) -> usize {
    let from_proxy = config.public_base_url.as_ref().map(|_| all);
    config.limits.http_per_address_max.or(from_proxy).unwrap_or(PER_ADDRESS_MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_at_the_door_are_whole_answers() {
        let address: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        for answer in [busy(address), PLAIN.to_owned()] {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).unwrap();
            assert_eq!(length.parse(), Ok(body.len()), "{answer}");
        }
        let body = busy(address);
        let body: serde_json::Value = serde_json::from_str(body.split_once("\r\n\r\n").unwrap().1).unwrap();
        let retry_ms = body["retryAfter"].as_u64().unwrap();
        assert!((2_500..=7_500).contains(&retry_ms) && body["code"] == "OVERLOADED");
    }
}
