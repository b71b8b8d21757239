//! A listener for the service: deadlines and bounds around hyper.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use spandrel_transport::{BoxStream, TlsServer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower_service::Service as _;

use crate::Service;

/// A failed accept is tried again after this long: out of descriptors, the next try would fail at once.
const PAUSE: Duration = Duration::from_millis(100);
/// Transfers under way may go on for this long when the server stops.
const LINGER: Duration = Duration::from_secs(3);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;

impl Service {
    /// Serves the router on `listener` until [`shut_down`](Self::shut_down) is called; connections already open
    /// are brought to an end by it. Cancel safe: dropping the future stops accepting.
    ///
    /// # Errors
    /// None after the first connection: failed accepts are logged and tried again.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        let inner = Arc::clone(&self.0);
        let router = self.router();
        let slots = Arc::new(Semaphore::new(inner.config.limits.http_connections_max.max(1)));
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(inner.config.limits.head_ms_max))
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX);
        let mut is_failing = false;
        loop {
            // A slot first: connections over the bound wait in the system's queue, not in ours.
            let accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((slot, listener.accept().await?))
            };
            let accepted = tokio::select! {
                biased;
                () = inner.stopping.cancelled() => return Ok(()),
                accepted = accepted => accepted,
            };
            let (slot, (stream, address)) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%error, "cannot accept, trying again");
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            is_failing = false;
            let _ = stream.set_nodelay(true);
            let router = router.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(address));
                router.clone().call(request)
            });
            let (stopping, builder, tls) =
                (inner.stopping.clone(), builder.clone(), inner.config.tls.clone());
            inner.tasks.spawn(async move {
                let _slot = slot;
                let Some(stream) = secured(tls, stream).await else { return };
                let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
                let mut connection = pin!(connection);
                tokio::select! {
                    ended = connection.as_mut() => {
                        if let Err(error) = ended {
                            tracing::debug!(%error, %address, "an http connection broke off");
                        }
                        return;
                    }
                    () = stopping.cancelled() => {}
                }
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(LINGER, connection).await;
            });
        }
    }
}

/// The stream inside TLS, where that is wanted; `None` for a peer that does not speak it.
async fn secured(tls: Option<TlsServer>, stream: TcpStream) -> Option<BoxStream> {
    let Some(tls) = tls else { return Some(Box::new(stream)) };
    tls.accept(stream).await.inspect_err(|error| tracing::debug!(%error, "a peer was not taken in")).ok()
}
