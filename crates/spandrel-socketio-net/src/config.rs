//! Settings and bounds of a server.

use spandrel_socketio::{Limits as PacketLimits, server::SessionConfig};

/// Settings of a [`SocketServer`](crate::SocketServer). Start from the default and set what differs.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Times and bounds of each session.
    pub session: SessionConfig,
    /// Bounds of the server.
    pub limits: Limits,
}

impl ServerConfig {
    /// Sets how often a client pings and for how long on top of that it may be silent, in milliseconds.
    #[must_use]
    pub const fn with_pings(mut self, interval_ms: u64, timeout_ms: u64) -> Self {
        self.session.ping_interval_ms = interval_ms;
        self.session.ping_timeout_ms = timeout_ms;
        self
    }

    /// Sets the bounds of packets and of what waits for a client.
    #[must_use]
    pub fn with_packet_limits(mut self, limits: PacketLimits) -> Self {
        self.session.limits = limits;
        self
    }

    /// Sets how many sessions may be open at once.
    #[must_use]
    pub const fn with_sessions_max(mut self, sessions: usize) -> Self {
        self.limits.sessions_max = sessions;
        self
    }
}

/// Bounds of a server. Start from the default and set what differs.
///
/// | field | default | why |
/// |---|---|---|
/// | `sessions_max` | 2,048 | a classroom has some 30; over it new ones get 503 |
/// | `events_max` | 4,096 | events the application has not taken; over it nothing is read |
/// | `events_bytes_max` | 16 MiB | the same in bytes; one batch of each session may go over it |
/// | `head_ms_max` | 10,000 | from the first byte, or the last answer, to a whole head |
/// | `head_bytes_max` | 16 KiB | of a request's head |
/// | `headers_max` | 100 | the same in lines |
/// | `body_ms_max` | 30,000 | 32 MiB in that time are 1 MiB a second |
/// | `stalled_ms_max` | 30,000 | a connection that takes nothing of an answer for so long is dropped |
/// | `close_ms` | 1,000 | each step of a goodbye; `close_all` waits three times as long |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most sessions open at once, those that still say goodbye included.
    pub sessions_max: usize,
    /// Most events that wait for the application.
    pub events_max: usize,
    /// Most bytes of events that wait for the application.
    pub events_bytes_max: usize,
    /// Longest wait for the head of a request, in milliseconds.
    pub head_ms_max: u64,
    /// Longest head of a request, in bytes.
    pub head_bytes_max: usize,
    /// Most header lines of a request.
    pub headers_max: usize,
    /// Longest wait for the body of a request, in milliseconds.
    pub body_ms_max: u64,
    /// Longest time in which a connection takes nothing of its answer, in milliseconds.
    pub stalled_ms_max: u64,
    /// Longest wait for each step of a goodbye, in milliseconds.
    pub close_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_max: 2_048,
            events_max: 4_096,
            events_bytes_max: 16 << 20,
            head_ms_max: 10_000,
            head_bytes_max: 16 << 10,
            headers_max: 100,
            body_ms_max: 30_000,
            stalled_ms_max: 30_000,
            close_ms: 1_000,
        }
    }
}
