//! Bounds on everything a peer can make grow.

use crate::LongLines;

/// Bounds of one link. Start from [`Limits::default`] and set the fields that differ.
///
/// | field | default | why |
/// |---|---|---|
/// | `frame_bytes_max` | 1 MiB | the largest message of the protocols here |
/// | `long_lines` | refuse | a peer whose message is missing knows; pass over where losing one is better than the link |
/// | `fragments_max` | 1,024 | many tiny parts cost more than one large one |
/// | `depth_max` | 64 | no message here nests deeper; parsers recurse |
/// | `queued_bytes_max` | 64 KiB | over it no frames are taken for a peer that does not read, nor its pings answered |
/// | `batch_bytes_max` | 64 KiB | larger batches fall out of the cache |
/// | `batch_frames_max` | 256 | a batch of tiny frames still yields to other tasks |
/// | `half_frame_ms` | 10,000 | a frame not finished by then never will be |
/// | `handshake_ms` | 5,000 | from the first byte to an open link |
/// | `handshake_bytes_max` | 16 KiB | head of an HTTP upgrade |
/// | `handshake_headers_max` | 100 | same |
/// | `handshakes_max` | 1,024 | handshakes under way at once, per listener |
/// | `connections_max` | 16,384 | open at once behind one door; well over what a service admits, so that it can say why |
/// | `connections_per_address_max` | 32 | a browser or a pool needs no more; loopback is not counted |
/// | `close_ms` | 1,000 | wait for the peer's goodbye, then again for the end of its stream |
/// | `drain_bytes_max` | 2 MiB | read and thrown away while closing: the rest of a refused frame, so that no reset eats the goodbye |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest payload of one frame, in bytes, in both directions.
    pub frame_bytes_max: usize,
    /// What becomes of a longer one, on wires of one message per line.
    pub long_lines: LongLines,
    /// Most parts one message may come in.
    pub fragments_max: usize,
    /// Deepest nesting a JSON scanner follows.
    pub depth_max: usize,
    /// While more than this many bytes wait to be written, no frames are taken; while that many answers to pings do,
    /// nothing is read.
    pub queued_bytes_max: usize,
    /// A batch is full at this many payload bytes.
    pub batch_bytes_max: usize,
    /// A batch is full at this many frames.
    pub batch_frames_max: usize,
    /// Longest time from one finished frame to the next while one is half received, in milliseconds.
    pub half_frame_ms: u64,
    /// Longest handshake, dialling or accepting, in milliseconds.
    pub handshake_ms: u64,
    /// Longest head of an upgrade request or response, in bytes.
    pub handshake_bytes_max: usize,
    /// Most header lines in it.
    pub handshake_headers_max: usize,
    /// Most handshakes under way at once on one listener.
    pub handshakes_max: usize,
    /// Most connections open at once behind one door.
    pub connections_max: usize,
    /// Most of them from one address (of IPv6: one /64).
    pub connections_per_address_max: usize,
    /// Longest wait for each of: our goodbye to go out, the peer's goodbye, the end of its stream; in milliseconds.
    pub close_ms: u64,
    /// Most bytes read and thrown away while closing.
    pub drain_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 1 << 20,
            long_lines: LongLines::Refuse,
            fragments_max: 1024,
            depth_max: 64,
            queued_bytes_max: 64 << 10,
            batch_bytes_max: 64 << 10,
            batch_frames_max: 256,
            half_frame_ms: 10_000,
            handshake_ms: 5_000,
            handshake_bytes_max: 16 << 10,
            handshake_headers_max: 100,
            handshakes_max: 1024,
            connections_max: 16_384,
            connections_per_address_max: 32,
            close_ms: 1_000,
            drain_bytes_max: 2 << 20,
        }
    }
}

impl Limits {
    /// Sets the longest payload of one frame, in bytes.
    #[must_use]
    pub const fn with_frame_bytes_max(mut self, bytes: usize) -> Self {
        self.frame_bytes_max = bytes;
        self
    }

    /// Sets what becomes of a line that is too long.
    #[must_use]
    pub const fn with_long_lines(mut self, long_lines: LongLines) -> Self {
        self.long_lines = long_lines;
        self
    }

    /// Sets how many bytes may wait to be written before reading stops.
    #[must_use]
    pub const fn with_queued_bytes_max(mut self, bytes: usize) -> Self {
        self.queued_bytes_max = bytes;
        self
    }

    /// Sets the longest handshake, in milliseconds.
    #[must_use]
    pub const fn with_handshake_ms(mut self, ms: u64) -> Self {
        self.handshake_ms = ms;
        self
    }

    /// Sets the longest time from one finished frame to the next while one is half received, in milliseconds.
    #[must_use]
    pub const fn with_half_frame_ms(mut self, ms: u64) -> Self {
        self.half_frame_ms = ms;
        self
    }

    /// Sets how many connections may be open at once, in all and from one address.
    #[must_use]
    pub const fn with_connections_max(mut self, all: usize, per_address: usize) -> Self {
        self.connections_max = all;
        self.connections_per_address_max = per_address;
        self
    }

    /// Sets the waits of a close, in milliseconds.
    #[must_use]
    pub const fn with_close_ms(mut self, ms: u64) -> Self {
        self.close_ms = ms;
        self
    }
}
