//! Nonces that were seen (section 13.2).

use std::collections::{HashMap, HashSet, VecDeque};

use spandrel_wire::Millis;

use super::KeyId;

/// Bounds of a [`ReplayCache`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Nonces held, 1,000,000: some 40 MB at most.
    pub nonces_max: usize,
    /// Milliseconds a nonce is held, 60,000. Never less than twice the window of [`Freshness`](super::Freshness), since
    /// a message signed by a clock that is ahead stays fresh that long.
    pub window_ms: u64,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self { nonces_max: 1_000_000, window_ms: 60_000 }
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
    /// As many are held as may be, and none is forgotten early. `OVERLOADED`.
    #[error("too many nonces in the window, try again in {retry_after_ms} ms")]
    Full {
        /// Milliseconds until the oldest are forgotten, at least 1.
        retry_after_ms: u64,
    },
}

/// Nonces seen, of all keys: shared by the connections of a server, owned by one connection of a client.
///
/// A nonce is held at least `window_ms` after it was admitted and at most a quarter longer: nonces of one quarter
/// window lie together and are forgotten together, so that forgetting costs next to nothing.
#[derive(Debug)]
pub struct ReplayCache {
    limits: ReplayLimits,
    generations: VecDeque<Generation>,
    len: usize,
    now: Millis,
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
        Self { limits, generations: VecDeque::new(), len: 0, now: Millis::default() }
    }

    /// Admits a nonce once. Call it only for a message whose signature is good and whose time is fresh.
    ///
    /// Time that goes back forgets nothing earlier.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Seen`], or [`ReplayError::Full`] when it is new but there is no room.
    pub fn admit(&mut self, now: Millis, kid: &KeyId, nonce: &[u8; 16]) -> Result<(), ReplayError> {
        self.now = self.now.max(now);
        self.forget();
        if self.generations.iter().any(|generation| generation.has(kid, nonce)) {
            return Err(ReplayError::Seen);
        }
        if self.len >= self.limits.nonces_max {
            return Err(ReplayError::Full { retry_after_ms: self.retry_after_ms() });
        }
        self.insert(kid, *nonce);
        Ok(())
    }

    fn forget(&mut self) {
        while let Some(oldest) = self.generations.front() {
            if self.forgets_at(oldest) > self.now {
                return;
            }
            self.len -= oldest.len;
            self.generations.pop_front();
        }
    }

    fn insert(&mut self, kid: &KeyId, nonce: [u8; 16]) {
        if self.generations.back().is_none_or(|newest| newest.ends <= self.now) {
            let span_ms = (self.limits.window_ms / GENERATIONS).max(1);
            let generation = Generation { ends: self.now.after(span_ms), seen: HashMap::new(), len: 0 };
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

    fn retry_after_ms(&self) -> u64 {
        self.generations.front().map_or(1, |oldest| self.forgets_at(oldest).since(self.now).max(1))
    }
}

impl Generation {
    fn has(&self, kid: &KeyId, nonce: &[u8; 16]) -> bool {
        self.seen.get(kid).is_some_and(|nonces| nonces.contains(nonce))
    }
}
