//! What can go wrong on a link, when dialling, listening and accepting.

use std::io;

use spandrel_wire::{Close, WireError};

use crate::TlsError;

/// A link that cannot go on, or a frame that it refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// From receiving: the peer's bytes were wrong; it has been told, and the link is over.
    /// From sending: the frame cannot go over this wire; it is dropped and the link lives on.
    #[error(transparent)]
    Wire(WireError),
    /// The peer was gone without a goodbye (close code 1006). Reconnect if the session wants to.
    #[error("peer was gone without a close")]
    Gone,
    /// The link is closed or closing on this side. Nothing can be sent; drop it.
    #[error("link is closed")]
    Closed,
    /// The stream below failed.
    #[error("stream failed: {0}")]
    Io(io::Error),
}

impl LinkError {
    /// Returns the close code that describes this end of a link.
    #[must_use]
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::Wire(e) => e.close_code(),
            Self::Gone | Self::Io(_) => Close::ABNORMAL,
            Self::Closed => Close::NORMAL,
        }
    }
}

impl From<WireError> for LinkError {
    fn from(e: WireError) -> Self {
        match e {
            WireError::Gone => Self::Gone,
            WireError::Closing => Self::Closed,
            e => Self::Wire(e),
        }
    }
}

impl From<io::Error> for LinkError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof => Self::Gone,
            _ => Self::Io(e),
        }
    }
}

/// A link that could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No transport here speaks this endpoint's scheme.
    #[error("cannot dial {endpoint}: no transport for it")]
    Unsupported {
        /// What was asked for.
        endpoint: String,
    },
    /// Nobody listens there, or the network failed.
    #[error("cannot reach the peer: {0}")]
    Io(#[from] io::Error),
    /// No open link within the time allowed.
    #[error("no link within {after_ms} ms")]
    Timeout {
        /// The time allowed, in milliseconds.
        after_ms: u64,
    },
    /// The peer answered and said no, with an HTTP status.
    #[error("peer refused with status {status}")]
    Refused {
        /// HTTP status of the answer.
        status: u16,
        /// Milliseconds after which it wants to be asked again, from `Retry-After`; a date there is not read.
        retry_after_ms: Option<u64>,
    },
    /// The peer answered and said goodbye.
    #[error("peer closed during the handshake: {close}")]
    Closed {
        /// Why.
        close: Close,
    },
    /// The peer answered in a way that does not fit the protocol.
    #[error("handshake failed: {0}")]
    Handshake(String),
    /// TLS says no.
    #[error(transparent)]
    Tls(TlsError),
}

impl From<TlsError> for DialError {
    fn from(e: TlsError) -> Self {
        match e {
            TlsError::Timeout { after_ms } => Self::Timeout { after_ms },
            e => Self::Tls(e),
        }
    }
}

/// An endpoint that could not be listened at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// No transport here speaks this endpoint's scheme.
    #[error("cannot listen at {endpoint}: no transport for it")]
    Unsupported {
        /// What was asked for.
        endpoint: String,
    },
    /// Somebody else listens there, or the network refused.
    #[error("cannot listen: {0}")]
    Io(#[from] io::Error),
    /// There is no certificate to listen with.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A peer that could not be taken in. The listener lives on unless it says [`Closed`](Self::Closed).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The listener is over.
    #[error("listener is closed")]
    Closed,
    /// The network failed; with the listener, pause before the next try (as [`serve`](crate::serve) does).
    #[error("cannot accept: {0}")]
    Io(#[from] io::Error),
    /// The handshake took too long.
    #[error("no handshake within {after_ms} ms")]
    Timeout {
        /// The time allowed, in milliseconds.
        after_ms: u64,
    },
    /// What came was no proper handshake; the peer has been told where the protocol allows it.
    #[error("handshake failed: {0}")]
    Handshake(String),
    /// TLS says no; the peer has been told with an alert.
    #[error(transparent)]
    Tls(TlsError),
}

impl From<TlsError> for AcceptError {
    fn from(e: TlsError) -> Self {
        match e {
            TlsError::Timeout { after_ms } => Self::Timeout { after_ms },
            e => Self::Tls(e),
        }
    }
}
