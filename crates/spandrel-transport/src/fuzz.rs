//! Bodies of fuzz targets: plain functions that must never panic, whatever the bytes.

use crate::{Fingerprint, TlsClient, TlsServer};

/// Any bytes as certificates, as a key, and as the text of a fingerprint.
pub fn fuzz_pem(data: &[u8]) {
    let _ = TlsServer::from_pem_bytes(data, data);
    let _ = TlsClient::with_ca_bytes(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = text.parse::<Fingerprint>();
    }
}
