//! Bounds on what the machine keeps.

/// Bounds of a chain and its pool. Start from [`Limits::default`] and set the fields that differ.
///
/// | field | default | why |
/// |---|---|---|
/// | `recent_bytes_max` | 16 MiB | blocks at the tip kept for a reorganisation; older ones come from the archive |
/// | `side_blocks_max` | 1,000 | blocks beside the best chain; anybody can make them where difficulty is low |
/// | `side_bytes_max` | 32 MiB | the same by their text |
/// | `pool_rows_max` | 5,000 | rows waiting for a block: five full ones |
/// | `pool_bytes_max` | 8,000,000 | the same by their text |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most bytes of text of the last blocks that are kept. The very last one is kept whatever its size.
    pub recent_bytes_max: usize,
    /// Most blocks beside the best chain.
    pub side_blocks_max: usize,
    /// Most bytes of text of those.
    pub side_bytes_max: usize,
    /// Most rows in the pool.
    pub pool_rows_max: usize,
    /// Most bytes of text of those.
    pub pool_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            recent_bytes_max: 16 << 20,
            side_blocks_max: 1000,
            side_bytes_max: 32 << 20,
            pool_rows_max: 5000,
            pool_bytes_max: 8_000_000,
        }
    }
}

impl Limits {
    /// Sets how many bytes of the last blocks are kept.
    #[must_use]
    pub const fn with_recent_bytes_max(mut self, bytes: usize) -> Self {
        self.recent_bytes_max = bytes;
        self
    }

    /// Sets how many blocks beside the best chain are kept, by number and bytes.
    #[must_use]
    pub const fn with_side_max(mut self, blocks: usize, bytes: usize) -> Self {
        self.side_blocks_max = blocks;
        self.side_bytes_max = bytes;
        self
    }

    /// Sets how many rows the pool holds, by number and bytes.
    #[must_use]
    pub const fn with_pool_max(mut self, rows: usize, bytes: usize) -> Self {
        self.pool_rows_max = rows;
        self.pool_bytes_max = bytes;
        self
    }
}
