//! What lies between a socket and a link: nothing, or TLS.

use std::net::SocketAddr;

use spandrel_wire::Limits;
use tokio::net::TcpStream;

use crate::{BoxStream, ByteStream, DialError, TlsError};
#[cfg(feature = "tls")]
use crate::{TlsClient, TlsServer};

/// Nothing (the default) or TLS below the links of a transport: a certificate to listen with, a trust to dial with, or
/// both. A transport given TLS uses it always: there is no falling back to plain.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Security {
    #[cfg(feature = "tls")]
    server: Option<TlsServer>,
    #[cfg(feature = "tls")]
    client: Option<TlsClient>,
}

impl Security {
    /// Plain streams.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns whether streams are secured.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.server.is_some() || self.client.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Connects to a name or address and runs the handshake, if there is one. Has no deadline of its own for the
    /// connecting; wrap it together with what follows.
    ///
    /// # Errors
    ///
    /// When nobody listens there, or it is not the server wanted.
    pub async fn dial(
        &self,
        host: &str,
        port: u16,
        limits: &Limits,
    ) -> Result<(BoxStream, SocketAddr), DialError> {
        let stream = TcpStream::connect((host, port)).await?;
        let _ = stream.set_nodelay(true);
        let address = stream.peer_addr()?;
        let stream = self.connect(stream, host, limits).await?;
        Ok((stream, address))
    }
}

#[cfg(feature = "tls")]
impl Security {
    /// Secures what is listened for.
    #[must_use]
    pub fn with_server(mut self, server: TlsServer) -> Self {
        self.server = Some(server);
        self
    }

    /// Secures what is dialled.
    #[must_use]
    pub fn with_client(mut self, client: TlsClient) -> Self {
        self.client = Some(client);
        self
    }

    /// Sets the protocols named inside the handshake, for both directions.
    #[must_use]
    pub fn with_alpn(self, names: &[&str]) -> Self {
        Self {
            server: self.server.map(|server| server.with_alpn(names)),
            client: self.client.map(|client| client.with_alpn(names)),
        }
    }

    /// Says whether listening is possible: always when plain, with a certificate when secured.
    ///
    /// # Errors
    ///
    /// When there is only a trust to dial with.
    pub fn check_server(&self) -> Result<(), TlsError> {
        if self.is_on() && self.server.is_none() { Err(TlsError::NoCertificate) } else { Ok(()) }
    }

    /// Runs the listening side's handshake, if there is one, within [`handshake_ms`](Limits::handshake_ms).
    ///
    /// # Errors
    ///
    /// As [`TlsServer::accept`].
    pub async fn accept<S: ByteStream + 'static>(
        &self,
        stream: S,
        limits: &Limits,
    ) -> Result<BoxStream, TlsError> {
        match &self.server {
            Some(server) => server.clone().with_limits(limits.clone()).accept(stream).await,
            None if self.is_on() => Err(TlsError::NoCertificate),
            None => Ok(Box::new(stream)),
        }
    }

    async fn connect(&self, stream: TcpStream, host: &str, limits: &Limits) -> Result<BoxStream, TlsError> {
        match &self.client {
            Some(client) => client.clone().with_limits(limits.clone()).connect(stream, host).await,
            None if self.is_on() => Err(TlsError::NoTrust),
            None => Ok(Box::new(stream)),
        }
    }
}

#[cfg(not(feature = "tls"))]
impl Security {
    /// Changes nothing without the feature `tls`.
    #[must_use]
    pub const fn with_alpn(self, names: &[&str]) -> Self {
        let _ = names;
        self
    }

    /// Says whether listening is possible: always, without the feature `tls`.
    ///
    /// # Errors
    ///
    /// None without the feature `tls`.
    pub const fn check_server(&self) -> Result<(), TlsError> {
        Ok(())
    }

    /// Returns the stream as it is: there is no handshake without the feature `tls`.
    ///
    /// # Errors
    ///
    /// None without the feature `tls`.
    pub async fn accept<S: ByteStream + 'static>(
        &self,
        stream: S,
        limits: &Limits,
    ) -> Result<BoxStream, TlsError> {
        let _ = limits;
        Ok(Box::new(stream))
    }

    async fn connect(&self, stream: TcpStream, host: &str, limits: &Limits) -> Result<BoxStream, TlsError> {
        let _ = (host, limits);
        Ok(Box::new(stream))
    }
}
