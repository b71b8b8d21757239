//! Bounds of the job table and how long things are kept (protocol sections 8.5, 14 and 15).

/// Bounds of a [`JobTable`](crate::JobTable).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Jobs generating at once. Default 16: more only share the same disk and cores.
    pub max_active: usize,
    /// Jobs of one principal generating at once. Default 5, so that one cannot take every slot.
    pub max_active_per_principal: usize,
    /// Jobs waiting for a slot. Default 100; more are refused with a time to come back.
    pub max_queued: usize,
    /// Parts of a job. Default 1,000, so that the messages listing them stay messages.
    pub max_parts: u32,
    /// Records kept, whatever their state. Default 100,000: about 100 MiB of memory when requests are short.
    pub jobs_max: usize,
    /// Bytes of all records: requests as they came, and parts. Default 256 MiB: a request can be 1 MiB long, and
    /// records outlive their jobs by days. Over it, no job is accepted until some are gone.
    pub record_bytes_max: usize,
    /// Tries after a failure that may pass by itself. Default 3.
    pub retries_max: u32,
    /// Wait before the first retry, in milliseconds; doubles each time. Default 1,000.
    pub retry_delay_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_active: 16,
            max_active_per_principal: 5,
            max_queued: 100,
            max_parts: 1_000,
            jobs_max: 100_000,
            record_bytes_max: 256 << 20,
            retries_max: 3,
            retry_delay_ms: 1_000,
        }
    }
}

/// How long files and records are kept, in milliseconds that pass while a process runs, and by the stamps of the
/// records between two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Files of a completed job. Default 24 h.
    pub file_ttl_ms: u64,
    /// Records of failed and cancelled jobs, and of completed ones after their files went. Default 24 h.
    pub record_ttl_ms: u64,
    /// A paused job that nobody resumes is cancelled after this. Default 7 days.
    pub paused_ttl_ms: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { file_ttl_ms: 86_400_000, record_ttl_ms: 86_400_000, paused_ttl_ms: 604_800_000 }
    }
}

/// The time of a step: two clocks that must not be mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds on a clock that never jumps; the zero point means nothing. Drives speed, retries and retention.
    pub mono_ms: u64,
    /// Milliseconds since 1970. Drives stamps only: it may jump.
    pub wall_ms: u64,
}
