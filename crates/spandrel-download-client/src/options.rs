//! How a client behaves.

use spandrel_session::BackoffPolicy;

/// How a client behaves; start from the default.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Token for `Authorization: Bearer`, sent to the server's own origin only.
    pub bearer: Option<String>,
    /// When to connect again.
    pub backoff: BackoffPolicy,
    /// Milliseconds from connecting to the hello, 10,000.
    pub hello_ms: u64,
    /// Unanswered requests and followed jobs at once, 1000 each: the server's own bound of attachments.
    pub under_way_max: usize,
    /// Bytes of one message or JSON answer, 1 MiB and 16 MiB: the server's own bound, and lists of jobs.
    pub message_bytes_max: usize,
    /// Bytes of one JSON answer over HTTP.
    pub answer_bytes_max: usize,
    /// Milliseconds a transfer may stand still, 30,000; then it is broken off and continued.
    pub stall_ms: u64,
    /// Tries to continue a transfer that made no progress, 5.
    pub transfer_tries: u32,
    /// Milliseconds before the first of them, 500; doubled each time.
    pub transfer_delay_ms: u64,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            bearer: None,
            backoff: BackoffPolicy::default(),
            hello_ms: 10_000,
            under_way_max: 1000,
            message_bytes_max: 1 << 20,
            answer_bytes_max: 16 << 20,
            stall_ms: 30_000,
            transfer_tries: 5,
            transfer_delay_ms: 500,
        }
    }
}

impl ClientOptions {
    /// Identifies by a bearer token.
    #[must_use]
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.bearer = Some(token.into());
        self
    }
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientOptions")
            .field("bearer", &self.bearer.as_ref().map(|_| "…"))
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}
