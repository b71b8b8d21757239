//! What a conversation is told about its server, and its bounds.

use spandrel_download_protocol as protocol;
use spandrel_jobs::Principal;

/// Facts about one connection.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Names the connection; no two of a process share it.
    pub session: u64,
    /// 128 random bits as text, told in the hello.
    pub session_id: String,
    /// Subprotocol in use.
    pub protocol: String,
    /// Whose jobs are seen.
    pub principal: Principal,
    /// `format:…`, `codec:…`.
    pub features: Vec<String>,
    /// 16 random bytes as base64url, told in the hello of a sealed session; `None` on every other.
    pub server_nonce: Option<String>,
    /// Bytes of the longest message to send: what the peer takes, less what signature and seal add to it.
    pub sent_bytes_max: usize,
    /// How the peer is asked for a sign of life.
    pub pings: Pings,
    /// Bounds.
    pub limits: Limits,
}

/// How a peer is asked for a sign of life (protocol section 10.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pings {
    /// By the transport: [`Output::Ping`](crate::Output::Ping).
    #[default]
    Frames,
    /// By `connection:health` messages, for transports that have no ping.
    Messages,
}

/// Bounds of a [`Conversation`](crate::Conversation), and its clockwork.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Bounds of messages.
    pub protocol: protocol::Limits,
    /// Jobs followed at once. Default 1,000; each costs about 200 bytes.
    pub attachments_max: usize,
    /// Messages a second in the long run. Default 100: a page sends a few, a flood costs us answers.
    pub messages_per_s: u32,
    /// Messages at once. Default 200.
    pub message_burst: u32,
    /// Refused messages within a minute before the connection is closed. Default 10.
    pub refusals_max: usize,
    /// Commands waiting for their answers. Default 64; a client that sends more waits.
    pub commands_max: usize,
    /// Bytes of requests waiting for their answers before no more messages are read. Default 1 MiB, so one more of that
    /// size at most is held; read and resolved, a request takes a few times its text.
    pub commands_bytes_max: usize,
    /// Updates in one progress message. Default 100.
    pub batch_size: usize,
    /// Milliseconds an update waits for its batch. Default 1,000.
    pub batch_timeout_ms: u64,
    /// Milliseconds between pings. Default 10,000.
    pub heartbeat_interval_ms: u64,
    /// Milliseconds of silence on top of that. Default 5,000.
    pub heartbeat_timeout_ms: u64,
    /// Bytes waiting for a slow peer. Default 1 MiB; over it, progress waits.
    pub outbound_bytes_max: usize,
    /// Milliseconds a peer may stay over that. Default 30,000.
    pub outbound_over_ms: u64,
    /// Jobs in one `status:update`. Default 1,000.
    pub status_jobs_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            protocol: protocol::Limits::default(),
            attachments_max: 1_000,
            messages_per_s: 100,
            message_burst: 200,
            refusals_max: 10,
            commands_max: 64,
            commands_bytes_max: 1 << 20,
            batch_size: 100,
            batch_timeout_ms: 1_000,
            heartbeat_interval_ms: 10_000,
            heartbeat_timeout_ms: 5_000,
            outbound_bytes_max: 1 << 20,
            outbound_over_ms: 30_000,
            status_jobs_max: 1_000,
        }
    }
}
