//! What a bridge is told about itself, and its bounds.

use crate::Security;

/// Facts about one bridge.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it serves with, and dials with first.
    pub security: Security,
    /// Any number, drawn anew for each process: spreads programs that wait for the same port.
    pub seed: u64,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// Default bounds.
    #[must_use]
    pub fn new(security: Security, seed: u64) -> Self {
        Self { security, seed, limits: Limits::default() }
    }
}

/// Bounds of a [`Bridge`](crate::Bridge), and its clockwork.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Sessions at once. Default 2,048: more pages than a machine can show. A room lives by those in it, so
    /// there are never more rooms than sessions.
    pub connections_max: usize,
    /// Bytes of a room's name. Default 1,024; real ones have 10.
    pub room_bytes_max: usize,
    /// Messages held at once, for each of three: the own messages, those of browsers for the clients of their
    /// rooms, those of clients for the browsers of their rooms. Default 1,024.
    pub held_messages_max: usize,
    /// Bytes of them, for each of the three. Default 1 MiB.
    pub held_bytes_max: usize,
    /// Milliseconds a message is held. Default 5,000.
    pub held_ms: u64,
    /// Milliseconds after a take-over in which the rules of several programs hold, whether or not one has
    /// come. Default 5,000: by then every program and browser of the old host is back.
    pub guard_ms: u64,
    /// Milliseconds an attempt to reach the host may take. Default 2,500: with both kinds of security, the
    /// wait below and its jitter, a port that becomes free is noticed within 10 s.
    pub dial_ms: u64,
    /// Milliseconds a link must have lived for its loss to be no flapping. Default 1,000.
    pub settled_ms: u64,
    /// Milliseconds to wait after the second failure in a row; doubled for each further one. Default 50.
    /// After the first there is no wait.
    pub wait_ms: u64,
    /// Longest such wait before its jitter of half either way, in milliseconds. Default 3,000.
    pub wait_max_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 2_048,
            room_bytes_max: 1_024,
            held_messages_max: 1_024,
            held_bytes_max: 1 << 20,
            held_ms: 5_000,
            guard_ms: 5_000,
            dial_ms: 2_500,
            settled_ms: 1_000,
            wait_ms: 50,
            wait_max_ms: 3_000,
        }
    }
}
