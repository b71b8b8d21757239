//! What can go wrong with TLS: named without the feature too, since dialling and accepting report it.

use std::{io, net::SocketAddr, path::PathBuf};

/// A certificate, key or handshake that is no good. The message says what was expected and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read the {what} file {}: {source}; give the path of a PEM file this process may read", path.display())]
    Read {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or text holds something else than it should.
    #[error(
        "{origin} is no PEM with a {what}: {reason}; expected a block that begins with -----BEGIN {label}-----"
    )]
    Pem {
        /// The file, or "the given text".
        origin: String,
        /// What was expected.
        what: &'static str,
        /// Label of the PEM block that was expected.
        label: &'static str,
        /// What was found instead.
        reason: String,
    },
    /// Certificate and key do not belong together, or the kind of key is not supported.
    #[error(
        "certificate and private key cannot be used: {0}; give the key the first certificate of the file was made for"
    )]
    Unusable(String),
    /// A certificate that did not come from files was to be read again.
    #[error("this certificate did not come from files: there is nothing to read again; replace it instead")]
    NoFiles,
    /// A self-signed certificate could not be made.
    #[error("cannot make a certificate: {0}; expected names such as localhost or 192.0.2.1")]
    SelfSigned(String),
    /// A text is no fingerprint.
    #[error(
        "{found:?} is no fingerprint: expected the SHA-256 of a certificate as 64 hexadecimal digits, colons allowed"
    )]
    Fingerprint {
        /// The text, at most 80 characters of it.
        found: String,
    },
    /// A name that no certificate can be for.
    #[error("{name:?} is no server name: expected a host name or an address")]
    ServerName {
        /// The name, at most 80 characters of it.
        name: String,
    },
    /// The trust store of this machine cannot be used.
    #[error("cannot use the trusted certificates of this machine: {0}; name a file of certificates to trust")]
    Platform(String),
    /// A transport that only dials was asked to listen.
    #[error("no certificate to listen with: give the transport one")]
    NoCertificate,
    /// A transport that only listens was asked to dial.
    #[error("nothing said whom to trust when dialling: give the transport a TLS client")]
    NoTrust,
    /// The server's certificate is not trusted. Nothing was sent to it.
    #[error(
        "certificate of {name} is not trusted: {reason}; trust its issuer with a certificate file, or pin its fingerprint"
    )]
    Untrusted {
        /// The server's name as dialled.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Only this machine may be dialled without verifying whom one talks to. Nothing was connected.
    #[error("{address} is not this machine: expected a loopback address; use a TLS client that verifies")]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The peer speaks something else than TLS.
    #[error(
        "peer speaks no TLS: its first bytes are no handshake; check that both sides want TLS on this port"
    )]
    NotTls,
    /// The handshake took too long.
    #[error("no TLS handshake within {after_ms} ms")]
    Timeout {
        /// The time allowed, in milliseconds.
        after_ms: u64,
    },
    /// The handshake failed, or the peer was gone.
    #[error("TLS handshake failed: {0}")]
    Handshake(io::Error),
}
