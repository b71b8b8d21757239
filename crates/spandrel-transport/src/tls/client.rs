//! The dialling side of TLS.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use spandrel_wire::Limits;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{BUFFER_BYTES_MAX, Fingerprint, failed, pem, provider};
use crate::{BoxStream, ByteStream, TlsError};

/// Dials TLS peers and decides whom to trust. Clones share the settings.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    trust: &'static str,
    limits: Limits,
}

impl TlsClient {
    /// Trusts whom this machine trusts.
    ///
    /// # Errors
    ///
    /// When the machine's trusted certificates cannot be used.
    pub fn platform() -> Result<Self, TlsError> {
        let builder = builder()?.with_platform_verifier().map_err(|e| TlsError::Platform(e.to_string()))?;
        Ok(Self::with(builder, "platform"))
    }

    /// Trusts certificates signed by those of a PEM file, and nobody else; a self-signed certificate can stand in it
    /// itself. The name dialled must still be in the server's certificate. Reads the file at once, blocking.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or holds no certificate that can be trusted.
    pub fn with_ca_file(file: impl AsRef<Path>) -> Result<Self, TlsError> {
        let file = file.as_ref();
        Self::with_roots(&file.display().to_string(), &pem::read(file, "certificate")?)
    }

    /// As [`with_ca_file`](Self::with_ca_file), of a PEM text.
    ///
    /// # Errors
    ///
    /// When the text holds no certificate that can be trusted.
    pub fn with_ca_bytes(pem: &[u8]) -> Result<Self, TlsError> {
        Self::with_roots(pem::TEXT, pem)
    }

    fn with_roots(origin: &str, pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates(origin, pem)? {
            roots.add(certificate).map_err(|e| TlsError::Unusable(format!("{origin}: {e}")))?;
        }
        Ok(Self::with(builder()?.with_root_certificates(roots), "file"))
    }

    /// Trusts exactly one certificate, whatever names and dates it holds, and nobody else: for self-signed trials. The
    /// server must still prove that the certificate's key is its own.
    ///
    /// # Errors
    ///
    /// Never in practice: only when the provider lacks the protocol versions wanted.
    pub fn with_fingerprint(fingerprint: Fingerprint) -> Result<Self, TlsError> {
        let pin = Arc::new(Pin { fingerprint, provider: provider() });
        Ok(Self::with(builder()?.dangerous().with_custom_certificate_verifier(pin), "fingerprint"))
    }

    fn with(builder: ConfigBuilder<ClientConfig, WantsClientCert>, trust: &'static str) -> Self {
        let config = Arc::new(builder.with_no_client_auth());
        Self { config, trust, limits: Limits::default() }
    }

    /// Sets the protocols named inside the handshake (ALPN), best first, as `["http/1.1"]`.
    #[must_use]
    pub fn with_alpn<S: AsRef<str>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        let mut config = (*self.config).clone();
        config.alpn_protocols = names.into_iter().map(|name| name.as_ref().as_bytes().to_vec()).collect();
        self.config = Arc::new(config);
        self
    }

    /// Sets the longest handshake, [`handshake_ms`](Limits::handshake_ms).
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Runs the handshake with the server called `host` (a name, or an address without brackets) on a stream just
    /// connected, within the deadline, and returns the stream inside. Dropping the future drops the stream.
    ///
    /// # Errors
    ///
    /// [`TlsError::Untrusted`] when it is not the server wanted; else when it is too slow, gone, or speaks no TLS.
    pub async fn connect<S: ByteStream + 'static>(
        &self,
        stream: S,
        host: &str,
    ) -> Result<BoxStream, TlsError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::ServerName { name: host.chars().take(80).collect() })?;
        let after_ms = self.limits.handshake_ms;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let handshake =
            connector.connect_with(name, stream, |session| session.set_buffer_limit(Some(BUFFER_BYTES_MAX)));
        match timeout(Duration::from_millis(after_ms), handshake).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(failed(error, Some(host))),
            Err(_) => Err(TlsError::Timeout { after_ms }),
        }
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("trust", &self.trust).finish_non_exhaustive()
    }
}

pub(super) fn builder() -> Result<ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError::Unusable(e.to_string()))
}

/// Takes one certificate and no other. Names, dates and issuer say nothing here; the signatures of the handshake, which
/// prove that the peer holds the key, are checked as always.
#[derive(Debug)]
struct Pin {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Fingerprint::of(end_entity) == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
impl TlsClient {
    /// As `with_fingerprint`, speaking one version only.
    pub(super) fn pinned(
        fingerprint: Fingerprint,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Self {
        let pin = Arc::new(Pin { fingerprint, provider: provider() });
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]);
        Self::with(builder.expect("works").dangerous().with_custom_certificate_verifier(pin), "fingerprint")
    }
}
