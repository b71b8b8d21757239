//! Connections for HTTP: plain, or TLS by the same settings as the session's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use spandrel_transport::{BoxFuture, BoxStream, Limits, Security, TlsClient};
use tower_service::Service;

/// Dials `http` addresses, and `https` ones if the client speaks TLS.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    secure: Option<Security>,
}

impl Connector {
    pub(crate) fn new(tls: Option<TlsClient>) -> Self {
        Self { secure: tls.map(|tls| Security::none().with_client(tls).with_alpn(&["http/1.1"])) }
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
        let is_secure = uri.scheme_str() == Some("https");
        let security = if is_secure { self.secure.clone() } else { Some(Security::none()) };
        Box::pin(async move {
            let security = security.ok_or_else(|| io::Error::other("no certificates are trusted here"))?;
            let host = uri.host().unwrap_or_default();
            let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
            let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
            let dialled = security.dial(host, port, &Limits::default()).await;
            let (stream, _) = dialled.map_err(io::Error::other)?;
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
