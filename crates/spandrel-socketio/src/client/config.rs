//! Times and bounds of a session, and what carries it.

use crate::Limits;

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transports {
    /// A WebSocket from the first byte.
    WebSocket,
    /// HTTP requests only.
    Polling,
    /// HTTP requests first, then a WebSocket if the server offers and grants it.
    PollingThenWebSocket,
}

/// Times and bounds of a [`Session`](super::Session). Start from [`SessionConfig::new`] and set what differs.
///
/// | field | default | why |
/// |---|---|---|
/// | `handshake_ms` | 10,000 | from the first request to `40`; a server answers at once or not at all |
/// | `upgrade_ms` | 10,000 | a WebSocket that is not granted by then is given up, polling goes on |
/// | `linger_ms` | 1,000 | how long a goodbye over polling is waited for |
/// | `ping_interval_ms_min` | 100 | a server cannot make a client ping without pause |
/// | `limits` | [`Limits::default`] | what a server that does not read, or never acknowledges, may cost |
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionConfig {
    /// What carries the session.
    pub transports: Transports,
    /// Longest time until the server has let the client in, in milliseconds.
    pub handshake_ms: u64,
    /// Longest try of a WebSocket beside polling, in milliseconds.
    pub upgrade_ms: u64,
    /// Longest wait for the last POST, in milliseconds.
    pub linger_ms: u64,
    /// Shortest time between two pings, in milliseconds, whatever the server asks for.
    pub ping_interval_ms_min: u64,
    /// Bounds of packets, polling bodies, awaited acknowledgements and of what waits to be sent. One larger message is
    /// taken when nothing else waits.
    pub limits: Limits,
}

impl SessionConfig {
    /// The default times and bounds.
    #[must_use]
    pub fn new(transports: Transports) -> Self {
        Self {
            transports,
            handshake_ms: 10_000,
            upgrade_ms: 10_000,
            linger_ms: 1_000,
            ping_interval_ms_min: 100,
            limits: Limits::default(),
        }
    }

    /// Sets the bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}
