//! A hasher for identifiers, which are hashes already: folds their first 16 bytes with a key.

use std::hash::{BuildHasher, Hasher};

/// Builds hashers with a key. Who grinds identifiers that fall together has to know it.
#[derive(Debug, Clone, Copy)]
pub struct IdHash {
    key: [u64; 2],
}

impl IdHash {
    /// Takes a key that no stranger knows.
    #[must_use]
    pub const fn new(key: [u64; 2]) -> Self {
        Self { key }
    }

    /// A key everybody knows, for maps that a block's size bounds.
    #[must_use]
    pub const fn fixed() -> Self {
        Self::new([0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9])
    }
}

/// Folds what is written, 16 bytes at a time.
#[derive(Debug, Clone)]
pub struct IdHasher {
    key: [u64; 2],
    state: u64,
}

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher { key: self.key, state: 0 }
    }
}

impl IdHasher {
    fn fold(&mut self, a: u64, b: u64) {
        let product = u128::from(a ^ self.key[0] ^ self.state) * u128::from(b ^ self.key[1]);
        let (high, low) = (product >> 64, product & u128::from(u64::MAX));
        self.state = u64::try_from(high ^ low).unwrap_or_default();
    }
}

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        // Digests: their first 16 bytes are as good as all of them. Shorter input is padded.
        let mut head = [0; 16];
        let len = bytes.len().min(16);
        if let (Some(to), Some(from)) = (head.get_mut(..len), bytes.get(..len)) {
            to.copy_from_slice(from);
        }
        let (a, b) = head.split_at(8);
        let word = |half: &[u8]| half.try_into().map(u64::from_le_bytes).unwrap_or_default();
        self.fold(word(a), word(b));
    }

    fn write_u64(&mut self, value: u64) {
        self.fold(value, value.rotate_left(32));
    }

    // The length of an array says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.state
    }
}
