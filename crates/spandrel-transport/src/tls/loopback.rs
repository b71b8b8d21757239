//! TLS without trust, for talking to this machine only.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{BUFFER_BYTES_MAX, client::builder, failed, provider};
use crate::{BoxStream, DialError, Limits, TlsError};

/// Connects to `address`, which must be one of this machine (127.0.0.0/8 or ::1), and runs a TLS handshake that names
/// `server_name` and **verifies nothing**: not the issuer, not the name, not the dates, not the key. All within
/// [`handshake_ms`](Limits::handshake_ms); ALPN is `http/1.1`. Dropping the future drops the stream.
///
/// Bytes to a loopback address do not leave the machine, so a certificate proves nothing there that the address does not:
/// whoever listens on the port gets them, as with a plain connection. This is for servers of this machine that speak TLS
/// under a public name because browsers want it so. For all else there is [`TlsClient`](crate::TlsClient); this is a
/// function and no client, so that nothing can be given it by mistake that dials elsewhere.
///
/// # Errors
///
/// [`TlsError::NotLoopback`] before anything is connected; else when nobody listens, or the peer speaks no TLS.
pub async fn dial_loopback_unverified(
    address: SocketAddr,
    server_name: &str,
    limits: &Limits,
) -> Result<BoxStream, DialError> {
    if !address.ip().to_canonical().is_loopback() {
        return Err(TlsError::NotLoopback { address }.into());
    }
    let name = ServerName::try_from(server_name.to_owned())
        .map_err(|_| TlsError::ServerName { name: server_name.chars().take(80).collect() })?;
    let config = CONFIG.as_ref().map_err(|why| TlsError::Unusable(why.clone()))?;
    let after_ms = limits.handshake_ms;
    let dial = async {
        let stream = TcpStream::connect(address).await?;
        let _ = stream.set_nodelay(true);
        let connector = TlsConnector::from(Arc::clone(config));
        let handshake =
            connector.connect_with(name, stream, |session| session.set_buffer_limit(Some(BUFFER_BYTES_MAX)));
        let stream = handshake.await.map_err(|error| failed(error, Some(server_name)))?;
        Ok(Box::new(stream) as BoxStream)
    };
    timeout(Duration::from_millis(after_ms), dial).await.map_err(|_| DialError::Timeout { after_ms })?
}

static CONFIG: LazyLock<Result<Arc<ClientConfig>, String>> = LazyLock::new(|| {
    let schemes = provider().signature_verification_algorithms.supported_schemes();
    let builder = builder().map_err(|error| error.to_string())?.dangerous();
    let mut config =
        builder.with_custom_certificate_verifier(Arc::new(Nobody { schemes })).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
});

/// Asks nobody. Signatures are not looked at either: any peer could show a certificate of its own, so a good one says nothing.
#[derive(Debug)]
struct Nobody {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Nobody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
