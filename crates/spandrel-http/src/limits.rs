/// What a stranger can grow, and how far.
///
/// ```
/// let limits = spandrel_http::Limits { body_bytes_max: 64 * 1024, ..Default::default() };
/// assert_eq!(limits.body_read_ms_max, 30_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body; one more is 413. Default 1 MiB, the size of the largest message of the
    /// protocols: a request over HTTP may be what one over a message connection may be.
    pub body_bytes_max: usize,
    /// Milliseconds until the last byte of a request body has to be there; later is 408. Default 30,000:
    /// 1 MiB at 35 KB/s, and a bound on how long a silent sender holds a task.
    pub body_read_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes_max: 1024 * 1024, body_read_ms_max: 30_000 }
    }
}
