//! Times and bounds of a session.

use crate::Limits;

/// Times and bounds of a [`Session`](super::Session). Start from the default and set what differs; one is shared by all
/// sessions of a server.
///
/// | field | default | why |
/// |---|---|---|
/// | `ping_interval_ms` | 1,000 | told to the client, which pings this often |
/// | `ping_timeout_ms` | 5,000 | told too; silence for both together ends the session |
/// | `upgrade_ms` | 10,000 | a client that means it needs two round trips |
/// | `release_ms` | 25 | long enough for the client to learn of the upgrade first, so that it does not poll again |
/// | `linger_ms` | 2,000 | a polling client asks again at once; one that said it leaves hangs up at once |
/// | `limits` | [`Limits::default`], 8 MiB and 131,072 frames waiting | what a client that does not read may cost |
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionConfig {
    /// The client pings this often, in milliseconds.
    pub ping_interval_ms: u64,
    /// Silence for this long on top of the interval ends the session, in milliseconds.
    pub ping_timeout_ms: u64,
    /// A WebSocket that does not finish its upgrade is closed after this many milliseconds; polling lives on.
    pub upgrade_ms: u64,
    /// During an upgrade a held poll is released after this many milliseconds. The protocol allows 100.
    pub release_ms: u64,
    /// What is left to say, or a client that said it leaves, is waited for this long, in milliseconds.
    pub linger_ms: u64,
    /// Bounds of packets, polling bodies and of what waits for the client. One larger message is taken when nothing else
    /// waits.
    pub limits: Limits,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            ping_interval_ms: 1_000,
            ping_timeout_ms: 5_000,
            upgrade_ms: 10_000,
            release_ms: 25,
            linger_ms: 2_000,
            limits: Limits::default().with_queued_max(8 << 20, 131_072),
        }
    }
}
