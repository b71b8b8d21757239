//! Why a bridge does not start, and how it ends.

use std::{io, net::SocketAddr};

/// A bridge that cannot start. Nothing listens and nothing was told to the parent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The status page cannot be served where it was wished.
    #[error("cannot serve the status page at {address}: {source}; choose another address")]
    Status {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

impl ServiceError {
    /// The exit code of a process that does nothing else: 2, as for a wrong configuration.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        2
    }
}

/// Why a bridge ended. Both are the ends it is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// The parent closed its channel, or is gone: nobody is left to work for.
    ParentGone,
    /// It was asked to stop.
    Stopped,
}

impl Exit {
    /// The exit code of a process that does nothing else.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        0
    }
}
