//! A byte buffer that is written by position: grown rarely, zeroed once, reused for ever.

/// Text under way. `bytes` past `at` hold rubbish from earlier use.
#[derive(Debug, Default)]
pub struct Text {
    bytes: Vec<u8>,
    at: usize,
}

impl Text {
    /// An empty buffer; grows on first use.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.at).unwrap_or(&[])
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.at
    }

    /// Nothing written.
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Forgets what was written, keeps the memory.
    pub fn clear(&mut self) {
        self.at = 0;
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a run of bytes.
    pub fn push(&mut self, from: &[u8]) {
        self.ensure(from.len());
        if let Some(slot) = self.bytes.get_mut(self.at..self.at + from.len()) {
            slot.copy_from_slice(from);
        }
        self.at += from.len();
    }

    /// Appends the first `len` (at most 32) bytes of a block of 32 with one fixed-size copy.
    #[inline]
    pub(crate) fn push_short(&mut self, block: &[u8; 32], len: usize) {
        self.ensure(32);
        if let Some(slot) = self.bytes.get_mut(self.at..self.at + 32) {
            slot.copy_from_slice(block);
        }
        self.at += len;
    }

    /// Lets `write` put text at a position with at least `room` bytes after it; it returns the new position.
    ///
    /// # Panics
    /// When `write` says it used more than there was: text would be missing. A bug in this crate, found by its tests.
    #[inline]
    pub(crate) fn with(&mut self, room: usize, write: impl FnOnce(&mut [u8], usize) -> usize) {
        self.ensure(room);
        let end = write(&mut self.bytes, self.at);
        assert!(end <= self.bytes.len(), "a cell passed the room it asked for");
        self.at = end;
    }

    #[inline]
    fn ensure(&mut self, room: usize) {
        if self.bytes.len() - self.at < room {
            self.grow(room);
        }
    }

    #[cold]
    fn grow(&mut self, room: usize) {
        let wanted = (self.at + room).max(self.bytes.len() + self.bytes.len() / 2).max(4096);
        self.bytes.resize(wanted, 0);
    }
}
