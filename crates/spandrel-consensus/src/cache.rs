//! Signatures that were found good before: rows are checked when they come into the pool, and again in a block.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use crate::{IdHash, SignatureCheck, Verifier};

/// Remembers what was checked.
pub trait KnownSignatures {
    /// Was exactly this check passed before?
    fn is_known(&self, check: &SignatureCheck) -> bool;
}

/// A bounded memory: two generations, the older one forgotten when the younger is full.
///
/// Entries are salted hashes of message, key and signature, 16 bytes each: nobody outside can aim at a collision.
#[derive(Debug, Clone)]
pub struct SignatureCache {
    salt: [u8; 32],
    young: HashSet<[u8; 16], IdHash>,
    old: HashSet<[u8; 16], IdHash>,
    generation_max: usize,
}

impl SignatureCache {
    /// Makes an empty one that holds between `entries / 2` and `entries` checks, about 18 bytes each. The salt has to be
    /// random and stay here.
    #[must_use]
    pub fn new(salt: [u8; 32], entries: usize) -> Self {
        let (a, b) = salt.split_at(16);
        let word =
            |bytes: &[u8]| bytes.first_chunk().map(|head| u64::from_le_bytes(*head)).unwrap_or_default();
        let hash = IdHash::new([word(a), word(b)]);
        Self {
            salt,
            young: HashSet::with_hasher(hash),
            old: HashSet::with_hasher(hash),
            generation_max: entries / 2,
        }
    }

    /// Remembers a check that passed.
    pub fn insert(&mut self, check: &SignatureCheck) {
        if self.generation_max == 0 {
            return;
        }
        if self.young.len() >= self.generation_max {
            self.old = std::mem::replace(&mut self.young, HashSet::with_hasher(*self.old.hasher()));
        }
        self.young.insert(self.entry(check));
    }

    /// How many checks are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Is nothing remembered?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, check: &SignatureCheck) -> [u8; 16] {
        let mut text = [0; 32 + 32 + 33 + 64];
        let parts = [&self.salt[..], &check.message, check.key.as_bytes(), &check.signature];
        let mut rest = text.as_mut_slice();
        for part in parts {
            if let Some((to, after)) = rest.split_at_mut_checked(part.len()) {
                to.copy_from_slice(part);
                rest = after;
            } else {
                return [0; 16];
            }
        }
        let digest: [u8; 32] = Sha256::digest(text).into();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

impl KnownSignatures for SignatureCache {
    fn is_known(&self, check: &SignatureCheck) -> bool {
        if self.is_empty() {
            return false;
        }
        let entry = self.entry(check);
        self.young.contains(&entry) || self.old.contains(&entry)
    }
}

/// A verifier that leaves out what is known.
#[derive(Debug, Clone, Copy)]
pub struct Remembering<V, K> {
    verifier: V,
    known: K,
}

impl<V: Verifier, K: KnownSignatures> Remembering<V, K> {
    /// Puts a memory before a verifier.
    pub const fn new(verifier: V, known: K) -> Self {
        Self { verifier, known }
    }
}

impl<K: KnownSignatures + ?Sized> KnownSignatures for &K {
    fn is_known(&self, check: &SignatureCheck) -> bool {
        (**self).is_known(check)
    }
}

impl<V: Verifier, K: KnownSignatures> Verifier for Remembering<V, K> {
    fn is_valid(&self, check: &SignatureCheck) -> bool {
        self.known.is_known(check) || self.verifier.is_valid(check)
    }

    fn check_all(&self, checks: &[SignatureCheck]) -> Result<(), usize> {
        let (places, unknown): (Vec<usize>, Vec<SignatureCheck>) =
            checks.iter().enumerate().filter(|(_, check)| !self.known.is_known(check)).unzip();
        self.verifier.check_all(&unknown).map_err(|at| places.get(at).copied().unwrap_or(at))
    }
}

#[cfg(test)]
mod tests {
    use spandrel_chain_protocol::PublicKey;

    use super::*;

    /// Says no to everything, so that only memory can say yes.
    struct No;

    impl Verifier for No {
        fn is_valid(&self, _: &SignatureCheck) -> bool {
            false
        }
    }

    fn check(seed: u8) -> SignatureCheck {
        SignatureCheck { message: [seed; 32], key: PublicKey::from_bytes([2; 33]), signature: [seed; 64] }
    }

    #[test]
    fn only_the_very_same_check_is_known() {
        let mut cache = SignatureCache::new([7; 32], 100);
        assert!(!cache.is_known(&check(1)));
        cache.insert(&check(1));
        assert!(cache.is_known(&check(1)));
        for other in [
            SignatureCheck { message: [2; 32], ..check(1) },
            SignatureCheck { key: PublicKey::from_bytes([3; 33]), ..check(1) },
            SignatureCheck { signature: [2; 64], ..check(1) },
        ] {
            assert!(!cache.is_known(&other), "{other:?}");
        }
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest() {
        let mut cache = SignatureCache::new([7; 32], 10);
        for seed in 0..=200 {
            cache.insert(&check(seed));
            assert!(cache.len() <= 10);
            assert!(cache.is_known(&check(seed)));
            assert!(seed < 5 || cache.is_known(&check(seed - 4)), "the last five stay");
        }
        assert!(!cache.is_known(&check(100)));
        let mut none = SignatureCache::new([7; 32], 0);
        none.insert(&check(1));
        assert!(none.is_empty());
    }

    #[test]
    fn the_place_of_a_bad_one_is_that_among_all() {
        let mut cache = SignatureCache::new([7; 32], 100);
        for seed in [0, 1, 3] {
            cache.insert(&check(seed));
        }
        let checks: Vec<SignatureCheck> = (0..4).map(check).collect();
        assert_eq!(Remembering::new(No, &cache).check_all(&checks), Err(2));
        cache.insert(&check(2));
        assert_eq!(Remembering::new(No, &cache).check_all(&checks), Ok(()));
    }
}
