//! When a peer that only sends nonsense is sent away (sections 2.4 and 3).

use std::collections::VecDeque;

use spandrel_wire::Millis;

/// Bounds of a [`RefusalCounter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalLimit {
    /// Refusals that are still borne, 10.
    pub max: usize,
    /// Milliseconds they are counted over, 60,000.
    pub window_ms: u64,
}

impl Default for RefusalLimit {
    fn default() -> Self {
        Self { max: 10, window_ms: 60_000 }
    }
}

/// Remembers when messages were refused, at most `max` of them.
#[derive(Debug, Clone)]
pub struct RefusalCounter {
    limit: RefusalLimit,
    seen: VecDeque<Millis>,
}

impl RefusalCounter {
    /// Nothing refused yet.
    pub const fn new(limit: RefusalLimit) -> Self {
        Self { limit, seen: VecDeque::new() }
    }

    /// A message was refused; `true` when that is one too many: answer it, then close with 1008.
    pub fn refused(&mut self, now: Millis) -> bool {
        while self.seen.front().is_some_and(|at| now.since(*at) >= self.limit.window_ms) {
            self.seen.pop_front();
        }
        if self.seen.len() >= self.limit.max {
            return true;
        }
        self.seen.push_back(now);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_eleventh_in_a_minute_is_too_many() {
        let mut counter = RefusalCounter::new(RefusalLimit::default());
        assert!((0..10).all(|s| !counter.refused(Millis::new(s * 1000))));
        assert!(counter.refused(Millis::new(59_999)));
        assert!(!counter.refused(Millis::new(60_000)), "the first is a minute old");
        assert!(counter.refused(Millis::new(60_999)));
    }

    proptest! {
        /// It agrees with counting everything borne in the last minute.
        #[test]
        fn prop_agrees_with_counting(gaps in proptest::collection::vec(0_u64..9000, 1..100)) {
            let limit = RefusalLimit::default();
            let mut counter = RefusalCounter::new(limit);
            let (mut now, mut borne) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                let recent = borne.iter().filter(|at| now - **at < limit.window_ms).count();
                let too_many = counter.refused(Millis::new(now));
                prop_assert_eq!(too_many, recent >= limit.max);
                if !too_many { borne.push(now); }
                prop_assert!(counter.seen.len() <= limit.max);
            }
        }
    }
}
