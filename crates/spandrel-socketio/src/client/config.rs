//! Times and bounds of a session, and what carries it.

use crate::{Handshake, Limits};

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
/// | `ping_interval_ms_max` | 86,400,000 | a day, the most a handshake may say: what the server announces counts |
/// | `ping_timeout_ms_min` | 100 | a server cannot make a client give up before an answer can have come |
/// | `ping_timeout_ms_max` | 86,400,000 | as with the interval; interval and timeout together bound the silence |
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
    /// Longest time between two pings, in milliseconds, whatever the server announces; less than the minimum counts as that.
    pub ping_interval_ms_max: u64,
    /// Shortest silence after a ping that ends the session, in milliseconds, whatever the server announces.
    pub ping_timeout_ms_min: u64,
    /// Longest such silence, in milliseconds; less than the minimum counts as that.
    pub ping_timeout_ms_max: u64,
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
            ping_interval_ms_max: Handshake::PING_MS_MAX,
            ping_timeout_ms_min: 100,
            ping_timeout_ms_max: Handshake::PING_MS_MAX,
            limits: Limits::default(),
        }
    }

    /// Sets the shortest and the longest time between two pings, in milliseconds. The server answers each ping, so both
    /// are this side's to choose.
    #[must_use]
    pub const fn with_ping_interval_ms(mut self, min: u64, max: u64) -> Self {
        (self.ping_interval_ms_min, self.ping_interval_ms_max) = (min, max);
        self
    }

    /// Sets the shortest and the longest silence after a ping that ends the session, in milliseconds. A server that falls
    /// silent is noticed at the latest after the longest interval and this together.
    #[must_use]
    pub const fn with_ping_timeout_ms(mut self, min: u64, max: u64) -> Self {
        (self.ping_timeout_ms_min, self.ping_timeout_ms_max) = (min, max);
        self
    }

    /// Sets the bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}
