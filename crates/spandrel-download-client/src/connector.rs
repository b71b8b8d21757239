//! Connections for HTTP: plain, or TLS by the same settings as the session's.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use spandrel_transport::{BoxFuture, BoxStream, TlsClient};
use tokio::net::TcpStream;
use tower_service::Service;

/// Dials `http` addresses, and `https` ones if the client speaks TLS.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    tls: Option<Arc<TlsClient>>,
}

impl Connector {
    pub(crate) fn new(tls: Option<TlsClient>) -> Self {
        Self { tls: tls.map(|tls| Arc::new(tls.with_alpn(["http/1.1"]))) }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
            let is_secure = uri.scheme_str() == Some("https");
            let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
            let stream = TcpStream::connect((host, port)).await?;
            let _ = stream.set_nodelay(true);
            let stream: BoxStream = match tls {
                Some(tls) if is_secure => tls.connect(stream, host).await.map_err(io::Error::other)?,
                None if is_secure => return Err(io::Error::other("no certificates are trusted here")),
                _ => Box::new(stream),
            };
            Ok(Stream(TokioIo::new(stream)))
        })
    }
}

/// A stream as the HTTP client wants it.
pub(crate) struct Stream(TokioIo<BoxStream>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
