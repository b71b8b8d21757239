//! How a session gets its links: over the network, or by a way of the user's own.

use std::sync::Arc;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use spandrel_crypto::{Token, encode_base64url};
use spandrel_download_protocol::Subprotocol;
use spandrel_session::KeyId;
use spandrel_transport::{BoxFuture, DialError, Endpoint, Limits, Link, Security, TlsClient, Transport};
use spandrel_transport_tcp::TcpTransport;
use spandrel_transport_ws::WsTransport;

use crate::address::Route;
use crate::{ClientError, ClientOptions, Credentials, Trust};

/// Opens links to one server. Implement it to bring a transport of your own to
/// [`Client::connect_over`](crate::Client::connect_over).
pub trait Dial: Send + Sync {
    /// Opens a link on which the server says hello next, within a deadline of its own. The subprotocol that the
    /// server chose stands in the link's [`Peer`](spandrel_transport::Peer); without one the session ends with
    /// 4406.
    fn dial<'a>(&'a self, offer: &'a Offer) -> BoxFuture<'a, Result<Box<dyn Link>, DialError>>;

    /// Whether messages travel as `{key, value}` (protocol section 2.3). Then nothing is negotiated, signed or
    /// sealed.
    fn is_wrapped(&self) -> bool {
        false
    }
}

/// What the client says of itself when it dials.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Offer {
    /// Subprotocols, the dearest first.
    pub subprotocols: Vec<Subprotocol>,
    /// Name of the key that signs.
    pub kid: Option<KeyId>,
    /// Sixteen random bytes as base64url, of this dial only; when a sealed subprotocol is offered.
    pub client_nonce: Option<String>,
    /// Goes into the `Authorization` header, where there is one.
    pub bearer: Option<Token>,
}

impl Offer {
    pub(crate) fn new(
        options: &ClientOptions,
        subprotocols: Vec<Subprotocol>,
        client_nonce: &[u8; 16],
    ) -> Self {
        let mut offer = Self { subprotocols, kid: None, client_nonce: None, bearer: None };
        match &options.credentials {
            Credentials::None => {}
            Credentials::Bearer(token) => offer.bearer = Some(token.clone()),
            Credentials::Key { id, .. } => {
                offer.kid = Some(id.clone());
                let seals = offer.subprotocols.iter().any(|p| p.has_aes());
                offer.client_nonce = seals.then(|| encode_base64url(client_nonce));
            }
        }
        offer
    }

    /// `kid` and `cn` as the query they travel in; both alphabets need no escaping.
    #[must_use]
    pub fn query(&self) -> Option<String> {
        let kid = self.kid.as_ref().map(|kid| format!("kid={kid}"));
        let cn = self.client_nonce.as_ref().map(|cn| format!("cn={cn}"));
        let parts: Vec<String> = kid.into_iter().chain(cn).collect();
        (!parts.is_empty()).then(|| parts.join("&"))
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.subprotocols.iter().map(|p| p.as_str())
    }
}

/// The network, by the transports of this workspace. One transport is made for each dial, since each has another
/// client nonce in its query.
pub(crate) struct Network {
    route: Route,
    endpoint: Endpoint,
    limits: Limits,
    security: Security,
}

impl Network {
    pub(crate) fn new(
        route: Route,
        options: &ClientOptions,
        security: Security,
    ) -> Result<Self, ClientError> {
        if let (Route::Tcp { .. }, Credentials::Bearer(_)) = (&route, &options.credentials) {
            return Err(ClientError::Options("a bearer token cannot go over tcp: use a key"));
        }
        let text = match &route {
            Route::Ws { authority, is_secure } => {
                format!("{}://{authority}/v1/ws", if *is_secure { "wss" } else { "ws" })
            }
            Route::Tcp { authority, is_secure } => {
                format!("{}://{authority}", if *is_secure { "tcps" } else { "tcp" })
            }
            Route::Unix { path } => format!("unix:{path}"),
        };
        let why = "expected host:port or the path of a socket";
        let endpoint = text.parse().map_err(|_| ClientError::Url { url: text, why })?;
        let mut limits = Limits::default();
        limits.frame_bytes_max = options.message_bytes_max;
        Ok(Self { route, endpoint, limits, security })
    }

    fn ws(&self, offer: &Offer) -> Result<(WsTransport, Endpoint), DialError> {
        let mut transport = WsTransport::new()
            .with_limits(self.limits.clone())
            .with_subprotocols(offer.names())
            .with_security(self.security.clone());
        if let Some(token) = &offer.bearer {
            transport = transport.with_header(AUTHORIZATION, bearer(token)?);
        }
        let mut endpoint = self.endpoint.clone();
        if let Endpoint::Ws { query, .. } | Endpoint::Wss { query, .. } = &mut endpoint {
            *query = offer.query();
        }
        Ok((transport, endpoint))
    }

    fn tcp(&self, offer: &Offer) -> TcpTransport {
        let transport = TcpTransport::new()
            .with_limits(self.limits.clone())
            .with_subprotocols(offer.names())
            .with_security(self.security.clone());
        match offer.query() {
            Some(query) => transport.with_query(query),
            None => transport,
        }
    }
}

impl Dial for Network {
    fn dial<'a>(&'a self, offer: &'a Offer) -> BoxFuture<'a, Result<Box<dyn Link>, DialError>> {
        Box::pin(async move {
            match &self.route {
                Route::Ws { .. } => {
                    let (transport, endpoint) = self.ws(offer)?;
                    transport.dial(&endpoint).await
                }
                Route::Tcp { .. } => self.tcp(offer).dial(&self.endpoint).await,
                #[cfg(unix)]
                Route::Unix { .. } => {
                    let transport = spandrel_transport_ipc::UnixTransport::new();
                    transport.with_limits(self.limits.clone()).dial(&self.endpoint).await
                }
                #[cfg(not(unix))]
                Route::Unix { .. } => Err(DialError::Unsupported { endpoint: self.endpoint.to_string() }),
            }
        })
    }

    fn is_wrapped(&self) -> bool {
        matches!(self.route, Route::Unix { .. })
    }
}

/// Who is trusted, for addresses that have TLS.
pub(crate) fn tls(options: &ClientOptions, is_secure: bool) -> Result<Option<TlsClient>, ClientError> {
    match (&options.trust, is_secure) {
        (Trust::Platform, false) => Ok(None),
        // Somebody who pins a certificate does not mean to go without.
        (_, false) => Err(ClientError::Options("certificates have no use with an address without TLS")),
        (Trust::Platform, true) => Ok(Some(TlsClient::platform()?)),
        (Trust::CaFile(path), true) => Ok(Some(TlsClient::with_ca_file(path)?)),
        (Trust::Pin(fingerprint), true) => Ok(Some(TlsClient::with_fingerprint(*fingerprint)?)),
    }
}

pub(crate) fn bearer(token: &Token) -> Result<HeaderValue, DialError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| DialError::Handshake("the bearer token has characters no header may".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Shared by all that dial the same server.
pub(crate) type SharedDial = Arc<dyn Dial>;
