//! Bounds on what the store holds in memory and leaves to a restart.

/// Bounds of one store. Start from [`Limits::default`] and set the fields that differ.
///
/// | field | default | why |
/// |---|---|---|
/// | `flush_bytes` | 64 MiB | journal a restart replays at most; half a second of reading |
/// | `flush_blocks` | 100,000 | the same for small blocks, and a bound on what waits in memory |
/// | `record_bytes_max` | 16 MiB | one block with its undo; the rules stop a block at 1,000,000 bytes of text |
/// | `write_bytes` | 4 MiB | bytes of a long chain that are gathered before they are written |
/// | `cache_bytes` | 16 MiB | pages the coin store keeps in memory |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of journal after which the coin store should follow. At twice as many the changes are not kept in memory any
    /// more, and the coin store is written anew as a whole.
    pub flush_bytes: u64,
    /// Blocks after which the coin store should follow, in the same way.
    pub flush_blocks: usize,
    /// Longest block with its undo, in bytes, written or read.
    pub record_bytes_max: usize,
    /// Bytes that are gathered for one write.
    pub write_bytes: usize,
    /// Bytes of pages the coin store keeps in memory.
    pub cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flush_bytes: 64 << 20,
            flush_blocks: 100_000,
            record_bytes_max: 16 << 20,
            write_bytes: 4 << 20,
            cache_bytes: 16 << 20,
        }
    }
}

impl Limits {
    /// Sets after how many bytes of journal or blocks the coin store should follow.
    #[must_use]
    pub const fn with_flush_after(mut self, bytes: u64, blocks: usize) -> Self {
        self.flush_bytes = bytes;
        self.flush_blocks = blocks;
        self
    }

    /// Sets the longest block with its undo, in bytes.
    #[must_use]
    pub const fn with_record_bytes_max(mut self, bytes: usize) -> Self {
        self.record_bytes_max = bytes;
        self
    }

    /// Sets how many bytes are gathered for one write.
    #[must_use]
    pub const fn with_write_bytes(mut self, bytes: usize) -> Self {
        self.write_bytes = bytes;
        self
    }

    /// Sets how many bytes of pages the coin store keeps.
    #[must_use]
    pub const fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }
}
