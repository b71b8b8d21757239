//! The listening side of TLS.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use spandrel_wire::Limits;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::{
    BUFFER_BYTES_MAX, Fingerprint, failed,
    files::{Files, Sources},
    pem, provider,
};
use crate::{BoxStream, ByteStream, TlsError, farewell};

/// Takes in TLS peers with a certificate that can be replaced while serving. Clones share the certificate.
///
/// Sessions are not resumed: each new connection sees the certificate of the day, and nothing is kept for peers that left.
#[derive(Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    limits: Limits,
    is_watching: bool,
}

/// Something an operator should know about a certificate or key that works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsWarning {
    /// The file of the private key is open to others on this machine than its owner.
    KeyReadableByOthers {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl fmt::Display for TlsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyReadableByOthers { path, mode } => write!(
                f,
                "private key file {} is open to others than its owner (mode {mode:04o}), expected 0600; run chmod 600 on it",
                path.display()
            ),
        }
    }
}

impl TlsServer {
    /// Makes a server of a PEM file with the certificate chain, the server's own first, and one with its private key.
    /// Reads both files at once, blocking. [`reload`](Self::reload) reads them again.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or holds something else, or the two do not belong together.
    pub fn from_pem_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        Self::from_pem_chain([certificate], key)
    }

    /// As [`from_pem_files`](Self::from_pem_files), of a chain that is spread over several files: the server's own
    /// certificate first, then those who signed it. The handshake sends them all in this order, each once.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_pem_chain<P: AsRef<Path>>(
        certificates: impl IntoIterator<Item = P>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let certificates = certificates.into_iter().map(|file| file.as_ref().to_owned()).collect();
        let files = Files { certificates, key: key.as_ref().to_owned() };
        // Before reading: what changes meanwhile is seen as a change.
        let stamp = files.stamp();
        Self::with(files.read()?, Some(Sources::new(files, stamp)))
    }

    /// Makes a server of a certificate chain and a private key as PEM texts.
    ///
    /// # Errors
    ///
    /// When a text holds something else, or the two do not belong together.
    pub fn from_pem_bytes(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::with(certify(pem::certificates(pem::TEXT, certificate)?, pem::key(pem::TEXT, key)?)?, None)
    }

    /// Makes a server with a fresh certificate for `names` (host names or addresses), signed by nobody else: show its
    /// [`fingerprint`](Self::fingerprint), so that clients can pin it. For trials: it changes with every start.
    ///
    /// # Errors
    ///
    /// When a name cannot stand in a certificate.
    pub fn self_signed<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Self, TlsError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let made =
            rcgen::generate_simple_self_signed(names).map_err(|e| TlsError::SelfSigned(e.to_string()))?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Self::with(certify(vec![made.cert.der().clone()], key.into())?, None)
    }

    fn with(certified: Certified, sources: Option<Sources>) -> Result<Self, TlsError> {
        let current = Arc::new(Current { certified: RwLock::new(certified), sources });
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError::Unusable(e.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        // Nothing is kept for a peer that may never come back, and a replaced certificate is seen by all at once.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let server =
            Self { config: Arc::new(config), current, limits: Limits::default(), is_watching: false };
        server.warn();
        Ok(server)
    }

    /// Sets the protocols named inside the handshake (ALPN), best first, as `["http/1.1"]`. A client that names only
    /// others is refused; one that names none is taken.
    #[must_use]
    pub fn with_alpn<S: AsRef<str>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        let mut config = (*self.config).clone();
        config.alpn_protocols = names.into_iter().map(|name| name.as_ref().as_bytes().to_vec()).collect();
        self.config = Arc::new(config);
        self
    }

    /// Sets the longest handshake, [`handshake_ms`](Limits::handshake_ms), and the bounds of a refusal.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Runs the handshake on a stream just accepted, within the deadline, and returns the stream inside. A peer that is
    /// refused is told with an alert. Dropping the future drops the peer.
    ///
    /// The result can be handed to an HTTP server as it is. A TCP socket wants `TCP_NODELAY` set before.
    ///
    /// # Errors
    ///
    /// When the peer is too slow, gone, speaks no TLS, or agrees to nothing this server offers.
    pub async fn accept<S: ByteStream + 'static>(&self, stream: S) -> Result<BoxStream, TlsError> {
        self.look_at_files();
        let after_ms = self.limits.handshake_ms;
        let shaken = timeout(Duration::from_millis(after_ms), self.shake(stream)).await;
        shaken.map_err(|_| TlsError::Timeout { after_ms })?
    }

    async fn shake<S: ByteStream + 'static>(&self, stream: S) -> Result<BoxStream, TlsError> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let handshake =
            acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(BUFFER_BYTES_MAX)));
        match handshake.into_fallible().await {
            Ok(stream) => Ok(Box::new(stream)),
            Err((error, mut stream)) => {
                // The alert is written; without reading the rest a reset would eat it.
                let _ = farewell(&mut stream, &[], &self.limits).await;
                Err(failed(error, None))
            }
        }
    }

    /// Reads the files again and uses what they hold from the next handshake on. Blocking. After an error the certificate
    /// stays as it was.
    ///
    /// # Errors
    ///
    /// As [`from_pem_files`](Self::from_pem_files); [`TlsError::NoFiles`] when it was made in another way.
    pub fn reload(&self) -> Result<(), TlsError> {
        let sources = self.current.sources.as_ref().ok_or(TlsError::NoFiles)?;
        sources.watch.lock().seen = sources.files.stamp();
        self.current.set(sources.files.read()?);
        self.warn();
        Ok(())
    }

    /// Looks at the files when a peer comes, at most once a second, and [reloads](Self::reload) when they have changed, so
    /// that a renewed certificate is served without a restart. Files that are gone, broken or do not belong together change
    /// nothing and are logged once; the next change is looked at again. Looking is a `stat` of each file, reading them takes
    /// a few small files: both block, shortly. Clones made before do not look.
    ///
    /// Nothing happens without files.
    #[must_use]
    pub const fn watching_files(mut self) -> Self {
        self.is_watching = true;
        self
    }

    fn look_at_files(&self) {
        let Some(sources) = self.current.sources.as_ref().filter(|_| self.is_watching) else { return };
        if !sources.is_changed(Instant::now()) {
            return;
        }
        match self.reload() {
            Ok(()) => {
                tracing::info!(fingerprint = %self.fingerprint(), "certificate files have changed: new certificate");
            }
            Err(error) => {
                tracing::warn!(%error, "certificate files have changed and cannot be used: keeping the old certificate");
            }
        }
    }

    /// Uses this certificate chain and key, PEM texts, from the next handshake on. After an error all stays as it was.
    ///
    /// # Errors
    ///
    /// As [`from_pem_bytes`](Self::from_pem_bytes).
    pub fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let chain = pem::certificates(pem::TEXT, certificate)?;
        self.current.set(certify(chain, pem::key(pem::TEXT, key)?)?);
        Ok(())
    }

    /// Returns the fingerprint of the server's own certificate as it is now.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.current.get().fingerprint
    }

    /// Returns the server's own certificate as it is now, as a PEM text: what a client puts into the file of certificates
    /// it trusts.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.current.get().pem()
    }

    /// Returns what an operator should know; also logged once when the files are read.
    #[must_use]
    pub fn warnings(&self) -> Vec<TlsWarning> {
        self.current.sources.iter().filter_map(|sources| readable_by_others(&sources.files.key)).collect()
    }

    fn warn(&self) {
        for warning in self.warnings() {
            tracing::warn!("{warning}");
        }
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// A certificate chain with its key, and the fingerprint of the first.
#[derive(Clone)]
pub(super) struct Certified {
    key: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
}

impl Certified {
    fn pem(&self) -> String {
        self.key.cert.first().map(|own| pem::certificate(own)).unwrap_or_default()
    }
}

/// What is served now, and where it came from.
struct Current {
    certified: RwLock<Certified>,
    sources: Option<Sources>,
}

impl Current {
    fn get(&self) -> Certified {
        self.certified.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, certified: Certified) {
        *self.certified.write().unwrap_or_else(PoisonError::into_inner) = certified;
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("sources", &self.sources).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get().key)
    }
}

pub(super) fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Certified, TlsError> {
    let own = chain.first().ok_or_else(|| TlsError::Unusable("no certificate".into()))?;
    let fingerprint = Fingerprint::of(own);
    let provider: &CryptoProvider = &provider();
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|e| TlsError::Unusable(e.to_string()))?;
    Ok(Certified { key: Arc::new(key), fingerprint })
}

#[cfg(unix)]
fn readable_by_others(key: &Path) -> Option<TlsWarning> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(key).ok()?.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then(|| TlsWarning::KeyReadableByOthers { path: key.to_owned(), mode })
}

#[cfg(not(unix))]
fn readable_by_others(_key: &Path) -> Option<TlsWarning> {
    None
}

#[cfg(test)]
impl TlsServer {
    /// All that is sent, one PEM text after the other.
    pub(super) fn chain_pem(&self) -> String {
        self.current.get().key.cert.iter().map(|certificate| pem::certificate(certificate)).collect()
    }

    /// Shows the certificate of `other` and signs with a key of its own.
    pub(super) fn with_chain_of(&self, other: &Self) -> Self {
        let (own, shown) = (self.current.get(), other.current.get());
        let key = CertifiedKey::new(shown.key.cert.clone(), Arc::clone(&own.key.key));
        let certified = Certified { key: Arc::new(key), fingerprint: shown.fingerprint };
        Self::with(certified, None).expect("works")
    }
}
