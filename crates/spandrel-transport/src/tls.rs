//! TLS as a byte stream below any link: rustls with the ring provider, chosen explicitly, TLS 1.2 and 1.3.

mod client;
mod files;
mod fingerprint;
mod loopback;
mod pem;
mod server;

use std::{io, sync::Arc};

use rustls::crypto::CryptoProvider;

pub use client::TlsClient;
pub use fingerprint::Fingerprint;
pub use loopback::dial_loopback_unverified;
pub use server::{TlsServer, TlsWarning};

use crate::TlsError;

/// Most bytes TLS holds for a peer that does not read; the link above has its own bound.
const BUFFER_BYTES_MAX: usize = 32 << 10;

/// The provider of all TLS here: never the process default, which another crate may have set.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Tells what a failed handshake means. `name` is the server's, when we dialled it.
fn failed(error: io::Error, name: Option<&str>) -> TlsError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (inner, name) {
        (Some(rustls::Error::InvalidCertificate(why)), Some(name)) => {
            TlsError::Untrusted { name: name.to_owned(), reason: why.to_string() }
        }
        (Some(rustls::Error::InvalidMessage(_)), _) => TlsError::NotTls,
        _ => TlsError::Handshake(error),
    }
}

#[cfg(test)]
mod tests;
