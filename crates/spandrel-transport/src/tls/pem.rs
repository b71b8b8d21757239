//! Certificates and keys from PEM files and texts.

use std::{fs::File, io::Read as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};

use crate::TlsError;

/// A longer file is no certificate: it is not read to its end.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a text given by the program is called in errors.
pub(super) const TEXT: &str = "the given text";

/// Reads a file up to its bound.
pub(super) fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, TlsError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| TlsError::Read { what, path: path.to_owned(), source })
}

/// Reads all certificates, at least one.
pub(super) fn certificates(origin: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |reason: String| TlsError::Pem {
        origin: origin.to_owned(),
        what: "certificate",
        label: "CERTIFICATE",
        reason,
    };
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(wrong("it has none".into())),
        Ok(all) => Ok(all),
        Err(e) => Err(wrong(e.to_string())),
    }
}

/// Writes a certificate (RFC 7468: lines of 64 characters).
pub(super) fn certificate(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = body.as_str();
    while let Some((line, more)) = rest.split_at_checked(64) {
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

/// Reads the first private key.
pub(super) fn key(origin: &str, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| TlsError::Pem {
        origin: origin.to_owned(),
        what: "private key",
        label: "PRIVATE KEY",
        reason: match e {
            pem::Error::NoItemsFound => "it has none".into(),
            e => e.to_string(),
        },
    })
}
