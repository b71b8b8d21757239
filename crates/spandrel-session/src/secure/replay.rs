//! Nonces that were seen (section 13.2).

use std::collections::{HashMap, HashSet, VecDeque};

use spandrel_wire::Millis;

use super::KeyId;

/// Bounds of a [`ReplayCache`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Nonces held, 1,000,000: about 35 MiB when full.
    pub nonces_max: usize,
    /// Of them under one key, as many by default. A server whose keys are in several hands sets less, so that whoever
    /// has one of them cannot use up what all need.
    pub per_key_max: usize,
    /// Milliseconds a nonce is held, 60,000. Never less than twice the window of [`Freshness`](super::Freshness), since
    /// a message signed by a clock that is ahead stays fresh that long.
    pub window_ms: u64,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self { nonces_max: 1_000_000, per_key_max: 1_000_000, window_ms: 60_000 }
    }
}

impl ReplayLimits {
    /// The defaults for timestamps that may be `freshness_ms` off: held 60 s, or longer if they stay fresh longer.
    #[must_use]
    pub fn for_freshness(freshness_ms: u64) -> Self {
        let limits = Self::default();
        Self { window_ms: limits.window_ms.max(freshness_ms.saturating_mul(2)), ..limits }
    }
}

/// A nonce is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It was admitted before under this key. `AUTH_REPLAYED`.
    #[error("nonce was seen before")]
    Seen,
    /// The driver takes no message now, and this one was not remembered. `RATE_LIMITED`.
    #[error("too many messages, try again in {retry_after_ms} ms")]
    TooFast {
        /// Milliseconds until one is taken again.
        retry_after_ms: u64,
    },
    /// As many are held as may be, in all or of this key, and none is forgotten early. `OVERLOADED`.
    #[error("too many nonces in the window, try again in {retry_after_ms} ms")]
    Full {
        /// Milliseconds until the oldest are forgotten, at least 1.
        retry_after_ms: u64,
    },
}

/// Nonces seen, of all keys: shared by the connections of a server, owned by one connection of a client.
///
/// A nonce is held at least `window_ms` after it was admitted and at most a quarter longer: nonces of one quarter
/// window lie together and are forgotten together, so that forgetting costs next to nothing. (The hash tables are the
/// standard library's, which seeds them itself against crafted collisions; nothing that can be seen depends on it.)
#[derive(Debug)]
pub struct ReplayCache {
    limits: ReplayLimits,
    generations: VecDeque<Generation>,
    len: usize,
}

#[derive(Debug)]
struct Generation {
    /// Takes nonces before this time.
    ends: Millis,
    seen: HashMap<KeyId, HashSet<[u8; 16]>>,
    len: usize,
}

/// Generations in one window.
const GENERATIONS: u64 = 4;

impl ReplayCache {
    /// Nothing seen yet. Memory is taken as nonces come.
    #[must_use]
    pub fn new(limits: ReplayLimits) -> Self {
        Self { limits, generations: VecDeque::new(), len: 0 }
    }

    /// Admits a nonce once. Call it only for a message whose signature is good and whose time
    /// is fresh, on a clock that never goes back.
    ///
    /// When `now` goes back, nothing is forgotten earlier for it: a nonce then lies with those of the latest time.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Seen`], or [`ReplayError::Full`] when it is new but there is no room.
    pub fn admit(&mut self, now: Millis, kid: &KeyId, nonce: &[u8; 16]) -> Result<(), ReplayError> {
        self.forget(now);
        let mut of_key = 0;
        for nonces in self.generations.iter().filter_map(|generation| generation.seen.get(kid)) {
            if nonces.contains(nonce) {
                return Err(ReplayError::Seen);
            }
            of_key += nonces.len();
        }
        if of_key >= self.limits.per_key_max {
            let with_key = self.generations.iter().find(|generation| generation.seen.contains_key(kid));
            return Err(self.full(now, with_key));
        }
        if self.len >= self.limits.nonces_max {
            return Err(self.full(now, self.generations.front()));
        }
        self.insert(now, kid, *nonce);
        Ok(())
    }

    fn forget(&mut self, now: Millis) {
        while let Some(oldest) = self.generations.front() {
            if self.forgets_at(oldest) > now {
                return;
            }
            self.len -= oldest.len;
            self.generations.pop_front();
        }
    }

    fn insert(&mut self, now: Millis, kid: &KeyId, nonce: [u8; 16]) {
        if self.generations.back().is_none_or(|newest| newest.ends <= now) {
            let span_ms = (self.limits.window_ms / GENERATIONS).max(1);
            let generation = Generation { ends: now.after(span_ms), seen: HashMap::new(), len: 0 };
            self.generations.push_back(generation);
        }
        if let Some(newest) = self.generations.back_mut() {
            newest.len += 1;
            self.len += 1;
            match newest.seen.get_mut(kid) {
                Some(nonces) => nonces.insert(nonce),
                None => newest.seen.entry(kid.clone()).or_default().insert(nonce),
            };
        }
    }

    /// Nonces held.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn forgets_at(&self, generation: &Generation) -> Millis {
        generation.ends.after(self.limits.window_ms)
    }

    /// Full until this generation is forgotten.
    fn full(&self, now: Millis, until: Option<&Generation>) -> ReplayError {
        let retry_after_ms = until.map_or(1, |oldest| self.forgets_at(oldest).since(now).max(1));
        ReplayError::Full { retry_after_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 60_000;

    fn kid(text: &str) -> KeyId {
        KeyId::new(text).expect("a key id")
    }

    fn nonce(n: usize) -> [u8; 16] {
        (n as u128).to_le_bytes()
    }

    #[test]
    fn a_nonce_passes_once_for_at_least_the_window_and_for_each_key() {
        let mut cache = ReplayCache::new(ReplayLimits::default());
        let mut admit = |at, key: &str| cache.admit(Millis::new(at), &kid(key), &nonce(1));
        assert_eq!(admit(5, "k1"), Ok(()));
        assert_eq!(admit(5, "k1"), Err(ReplayError::Seen));
        assert_eq!(admit(6, "k2"), Ok(()), "another key has its own");
        assert_eq!(admit(5 + WINDOW, "k1"), Err(ReplayError::Seen));
        assert_eq!(admit(0, "k1"), Err(ReplayError::Seen), "time going back forgets nothing");
        assert_eq!(admit(0, "k3"), Ok(()));
        assert_eq!(admit(WINDOW, "k3"), Err(ReplayError::Seen));
        assert_eq!(admit(5 + WINDOW + WINDOW / 4, "k1"), Ok(()), "a quarter longer at most");
        assert!(!cache.is_empty());
    }

    #[test]
    fn one_over_the_limit_is_told_when_to_come_back() {
        let mut cache = ReplayCache::new(ReplayLimits { nonces_max: 3, ..ReplayLimits::default() });
        let mut admit = |at, n| cache.admit(Millis::new(at), &kid("k1"), &nonce(n));
        assert!([(0, 1), (10, 2), (20_000, 3)].into_iter().all(|(at, n)| admit(at, n).is_ok()));
        assert_eq!(admit(20_000, 4), Err(ReplayError::Full { retry_after_ms: 55_000 }));
        assert_eq!(admit(20_000, 1), Err(ReplayError::Seen), "nothing was put out for it");
        assert_eq!(admit(74_999, 4), Err(ReplayError::Full { retry_after_ms: 1 }));
        assert_eq!(admit(75_000, 4), Ok(()));
        assert_eq!(cache.len(), 2, "the two oldest went together");
    }

    #[test]
    fn one_key_leaves_room_for_the_others() {
        let mut cache =
            ReplayCache::new(ReplayLimits { nonces_max: 5, per_key_max: 3, ..ReplayLimits::default() });
        let mut admit = |at, key: &str, n| cache.admit(Millis::new(at), &kid(key), &nonce(n));
        // Over several generations.
        assert!([(0, 1), (20_000, 2), (40_000, 3)].into_iter().all(|(at, n)| admit(at, "k1", n).is_ok()));
        assert_eq!(admit(40_000, "k1", 9), Err(ReplayError::Full { retry_after_ms: 35_000 }));
        assert_eq!(admit(40_000, "k2", 9), Ok(()));
        assert_eq!(admit(75_000, "k1", 9), Ok(()), "its oldest is forgotten");
    }

    #[test]
    fn a_million_are_held_and_all_are_forgotten() {
        let limits = ReplayLimits::default();
        let mut cache = ReplayCache::new(limits);
        for n in 0..limits.nonces_max {
            assert_eq!(cache.admit(Millis::new(n as u64 / 20), &kid("k1"), &nonce(n)), Ok(()));
        }
        let now = limits.nonces_max as u64 / 20;
        assert!(matches!(
            cache.admit(Millis::new(now), &kid("k1"), &nonce(usize::MAX)),
            Err(ReplayError::Full { .. })
        ));
        let slots: usize =
            cache.generations.iter().flat_map(|g| g.seen.values()).map(HashSet::capacity).sum();
        assert!(slots <= 2 * limits.nonces_max, "{slots} slots");
        assert_eq!(cache.admit(Millis::new(now + 75_000), &kid("k1"), &nonce(0)), Ok(()));
        assert_eq!((cache.len(), cache.generations.len()), (1, 1));
    }

    #[test]
    fn a_nonce_is_held_as_long_as_its_timestamp_can_stay_fresh() {
        for (freshness_ms, want) in [(0, 60_000), (30_000, 60_000), (30_001, 60_002), (u64::MAX, u64::MAX)] {
            assert_eq!(ReplayLimits::for_freshness(freshness_ms).window_ms, want);
        }
        // Signed by a clock 30 s ahead, replayed at the last moment at which it is still fresh.
        let freshness = super::super::Freshness::default();
        let mut cache = ReplayCache::new(ReplayLimits::for_freshness(freshness.window_ms));
        let stamp = 1_000_000 + freshness.window_ms;
        let admit = |cache: &mut ReplayCache, wall: u64| {
            freshness.check(spandrel_wire::WallMillis::new(wall), stamp).expect("fresh");
            cache.admit(Millis::new(wall), &kid("k1"), &nonce(1))
        };
        assert_eq!(admit(&mut cache, stamp - freshness.window_ms), Ok(()));
        assert_eq!(admit(&mut cache, stamp + freshness.window_ms), Err(ReplayError::Seen));
    }
}
