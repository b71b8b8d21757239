//! The four files that turn a bridge to TLS.

use std::path::{Path, PathBuf};

use spandrel_transport::{TlsError, TlsServer};

/// The server's own certificate, the one that signed it, and the root, in the order they are sent.
pub const CERTIFICATE_FILES: [&str; 3] = ["cert.pem", "ChainCA1.crt", "RootCA.crt"];
/// The private key: PKCS#8, PKCS#1 or SEC1.
pub const KEY_FILE: &str = "hardware.key";

/// Looks for the four files. `None` when one of them is missing: the bridge speaks plain HTTP then. Blocking.
///
/// # Errors
///
/// When all four are there and cannot be used; the error names the file.
pub fn load_certificates(dir: &Path) -> Result<Option<TlsServer>, TlsError> {
    let path = |name: &str| dir.join(name);
    // Other failures than absence are reported by the reading.
    let is_missing = |name: &&str| path(name).metadata().is_err_and(|error| is_absence(&error));
    if CERTIFICATE_FILES.iter().chain([&KEY_FILE]).any(is_missing) {
        return Ok(None);
    }
    let certificates: Vec<PathBuf> = CERTIFICATE_FILES.iter().map(|name| path(name)).collect();
    let server = TlsServer::from_pem_chain(certificates, path(KEY_FILE))?;
    Ok(Some(server.with_alpn(["http/1.1"]).watching_files()))
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}
