//! Bounds on everything that others can make grow.

/// Bounds of one bridge. Start from [`Limits::default`] and set the fields that differ.
///
/// | field | default | why |
/// |---|---|---|
/// | `connections_max` | 2,048 | a class room of tabs, many times over; an idle one costs some 7 KiB |
/// | `unsent_bytes_max` | 8 MiB | a browser that reads nothing for so long is gone; a larger single message still goes |
/// | `unsent_frames_max` | 131,072 | the same in frames, each some 40 bytes more: small messages reach the bytes first |
/// | `line_bytes_max` | 64 MiB | a line of the parent; a longer one is dropped up to its end |
/// | `reports_bytes_max` | 8 MiB | `data` that waits for a parent that does not read; then the oldest goes |
/// | `events_bytes_max` | 4 MiB | other reports that wait; over it, no more is taken from browsers |
/// | `message_bytes_max` | 32 MiB | one message of a browser or of the host |
/// | `held_bytes_max` | 256 MiB | messages and bodies half received, of all browsers; over it the one that sent most is closed |
/// | `handshake_ms` | 10,000 | from the first byte of a connection to its first request |
/// | `stop_ms` | 2,000 | last reports to the parent and last bytes to browsers, all in all, when the bridge stops |
/// | `refusals_kept` | 20 | what the status page shows |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most connections open at once, of browsers and programs together.
    pub connections_max: usize,
    /// Most bytes that wait for one browser.
    pub unsent_bytes_max: usize,
    /// Most frames that wait for one browser.
    pub unsent_frames_max: usize,
    /// Longest line of the parent, in bytes.
    pub line_bytes_max: usize,
    /// Most bytes of `data` that wait for the parent, and as many of answers.
    pub reports_bytes_max: usize,
    /// Most bytes of other reports that wait for the parent before browsers have to wait too.
    pub events_bytes_max: usize,
    /// Longest message of a browser or of the host, in bytes.
    pub message_bytes_max: usize,
    /// Most bytes of messages and request bodies under way, of all browsers and programs together. One alone may always
    /// send a message of [`message_bytes_max`](Self::message_bytes_max).
    pub held_bytes_max: usize,
    /// Longest handshake, in milliseconds.
    pub handshake_ms: u64,
    /// Longest time from the wish to stop to the end, in milliseconds.
    pub stop_ms: u64,
    /// Most refused requests that are remembered for the status page.
    pub refusals_kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 2048,
            unsent_bytes_max: 8 << 20,
            unsent_frames_max: 131_072,
            line_bytes_max: 64 << 20,
            reports_bytes_max: 8 << 20,
            events_bytes_max: 4 << 20,
            message_bytes_max: 32 << 20,
            held_bytes_max: 256 << 20,
            handshake_ms: 10_000,
            stop_ms: 2_000,
            refusals_kept: 20,
        }
    }
}

/// What a line to the parent has around a message.
const LINE_BYTES: usize = 64 << 10;

impl Limits {
    /// The bounds of a link to the parent: hand them to whoever makes it.
    #[must_use]
    pub fn of_parent(&self) -> spandrel_transport::Limits {
        spandrel_transport::Limits::default()
            .with_frame_bytes_max(self.line_bytes_max)
            // A byte of a buffer is up to four characters there.
            .with_sent_line_bytes_max(
                self.message_bytes_max.saturating_mul(4).saturating_add(LINE_BYTES).max(self.line_bytes_max),
            )
            .with_long_lines(spandrel_transport::LongLines::Skip)
            // A parent may take its time over a line: it is trusted, and its channel is the only one.
            .with_half_frame_ms(u64::from(u32::MAX))
    }
}
