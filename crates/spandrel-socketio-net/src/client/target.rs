//! Where a client connects to: streams, and what requests name.

use std::fmt::Write as _;

use http::HeaderMap;
use spandrel_transport::{BoxStream, DialError, Endpoint, Limits, Link, TlsClient};
use spandrel_transport_ws::WsTransport;
use tokio::net::TcpStream;

use super::ClientConfig;

/// The server, and how it is spoken to.
pub(crate) struct Target {
    host: String,
    port: u16,
    tls: Option<TlsClient>,
    tls_name: String,
    path: String,
    /// Parameters of the application, encoded, each with `&` behind it.
    query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) authority: String,
    pub(crate) payload_bytes_max: usize,
    link_limits: Limits,
}

impl Target {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        let mut query = String::new();
        for (name, value) in &config.query {
            encode(name, &mut query);
            query.push('=');
            encode(value, &mut query);
            query.push('&');
        }
        let default_port = if config.tls.is_some() { 443 } else { 80 };
        let mut authority =
            if config.host.contains(':') { format!("[{}]", config.host) } else { config.host.clone() };
        if config.port != default_port {
            let _ = write!(authority, ":{}", config.port); // a string takes everything
        }
        Self {
            host: config.host.clone(),
            port: config.port,
            tls: config.tls.clone().map(|tls| tls.with_alpn(["http/1.1"])),
            tls_name: config.tls_name.clone().unwrap_or_else(|| config.host.clone()),
            path: config.path.clone(),
            query,
            headers: config.headers.clone(),
            authority,
            payload_bytes_max: config.session.limits.payload_bytes_max,
            link_limits: link_limits(config),
        }
    }

    /// Path and query of a request of the polling transport.
    pub(crate) fn polling(&self, sid: Option<&str>) -> String {
        format!("{}?{}", self.path, self.full_query("polling", sid))
    }

    /// Connects, and runs TLS if it is wanted.
    pub(crate) async fn stream(&self) -> Result<BoxStream, DialError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        Ok(tls.connect(stream, &self.tls_name).await?)
    }

    /// Opens a WebSocket.
    pub(crate) async fn socket(&self, sid: Option<&str>) -> Result<Box<dyn Link>, DialError> {
        let (host, port, path) = (self.host.clone(), self.port, self.path.clone());
        let query = Some(self.full_query("websocket", sid));
        let endpoint = match self.tls {
            Some(_) => Endpoint::Wss { host, port, path, query },
            None => Endpoint::Ws { host, port, path, query },
        };
        let mut transport = WsTransport::new().with_limits(self.link_limits.clone());
        for (name, value) in &self.headers {
            transport = transport.with_header(name.clone(), value.clone());
        }
        transport.connect_stream(self.stream().await?, &endpoint).await
    }

    fn full_query(&self, transport: &str, sid: Option<&str>) -> String {
        let sid = sid.map_or_else(String::new, |sid| format!("&sid={sid}"));
        format!("{}EIO=3&transport={transport}{sid}", self.query)
    }
}

/// Bounds of the WebSocket: one byte more than a message is the type.
pub(crate) fn link_limits(config: &ClientConfig) -> Limits {
    let mut limits = Limits::default()
        .with_frame_bytes_max(config.session.limits.message_bytes_max.saturating_add(1))
        .with_close_ms(config.close_ms);
    limits.handshake_ms = config.session.handshake_ms;
    limits
}

/// Percent-encodes all but what RFC 3986 leaves unreserved.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // a string takes everything
        }
    }
}

#[cfg(test)]
mod tests {
    use spandrel_socketio::client::Transports;

    use super::*;

    #[test]
    fn requests_name_session_and_parameters() {
        let config = ClientConfig::new("127.0.0.1", 23518, Transports::Polling)
            .with_query("childServer", "true")
            .with_query("방 &", "a/b=😀");
        let target = Target::new(&config);
        let own = "/socket.io/?childServer=true&%EB%B0%A9%20%26=a%2Fb%3D%F0%9F%98%80&EIO=3&transport=polling";
        assert_eq!(target.polling(None), own);
        assert_eq!(target.polling(Some("abc")), format!("{own}&sid=abc"));
    }

    #[test]
    fn hosts_are_named_as_http_wants_them() {
        for (host, port, want) in
            [("localhost", 80, "localhost"), ("localhost", 81, "localhost:81"), ("::1", 8080, "[::1]:8080")]
        {
            assert_eq!(Target::new(&ClientConfig::new(host, port, Transports::Polling)).authority, want);
        }
    }

    #[test]
    fn values_stay_out_of_debug_output() {
        let config = ClientConfig::new("h", 1, Transports::Polling).with_query("token", "s3cret");
        let shown = format!("{config:?}");
        assert!(shown.contains("token") && !shown.contains("s3cret"));
    }
}
