//! Bounds on what is read.

/// Bounds of reading one document. Start from [`Limits::default`] and set the fields that differ.
///
/// | field | default | why |
/// |---|---|---|
/// | `document_bytes_max` | 32 MiB | a whole chain travels in one message; about 60,000 blocks without transfers |
/// | `depth_max` | 32 | both dialects stop there; the deepest known message needs 8 |
///
/// Reading a document never takes more than four times its text in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest document, in bytes of its text.
    pub document_bytes_max: usize,
    /// Deepest nesting of brackets.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { document_bytes_max: 32 << 20, depth_max: 32 }
    }
}

impl Limits {
    /// Sets the longest document, in bytes.
    #[must_use]
    pub const fn with_document_bytes_max(mut self, bytes: usize) -> Self {
        self.document_bytes_max = bytes;
        self
    }

    /// Sets the deepest nesting.
    #[must_use]
    pub const fn with_depth_max(mut self, depth: usize) -> Self {
        self.depth_max = depth;
        self
    }
}
