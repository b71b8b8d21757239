//! When to let a fast one-way stream gather, so that a wake-up is paid for many messages instead of one.
//!
//! A reader that is faster than its peer is woken for every single message, and each wake-up costs a wait, a read and a
//! write: several times what the message itself costs. Waiting a moment before the next read makes one of many. Somebody
//! who waits for answers must not pay for that, so it is done only while many messages come and few go back.

use spandrel_wire::Millis;

/// Bounds of a [`Gather`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatherPolicy {
    /// Messages a millisecond from which a stream counts as fast, 8, at least 1. Far above what any sensor sends.
    pub per_ms: u32,
    /// Milliseconds over which the rate is taken, 2, at least 1.
    pub window_ms: u32,
    /// A stream is one-way while at most one message goes back for this many that come, 4.
    pub one_way: u32,
}

impl Default for GatherPolicy {
    fn default() -> Self {
        Self { per_ms: 8, window_ms: 2, one_way: 4 }
    }
}

/// Watches one stream and its way back. The driver tells what passed and asks whether to pause before the next read; a
/// pause is as short as its clock allows, one or two milliseconds.
#[derive(Debug, Clone)]
pub struct Gather {
    policy: GatherPolicy,
    since: Millis,
    received: u64,
    sent: u64,
    is_fast: bool,
}

impl Gather {
    /// Begins with a stream that is not fast.
    #[must_use]
    pub fn new(now: Millis, policy: GatherPolicy) -> Self {
        Self { policy, since: now, received: 0, sent: 0, is_fast: false }
    }

    /// Messages went back to the peer.
    pub fn sent(&mut self, messages: usize) {
        self.sent = self.sent.saturating_add(messages as u64);
    }

    /// Messages came from the peer. `true`: pause before the next read.
    pub fn received(&mut self, now: Millis, messages: usize) -> bool {
        self.received = self.received.saturating_add(messages as u64);
        let elapsed = now.since(self.since);
        if elapsed >= u64::from(self.policy.window_ms.max(1)) {
            let fast = u64::from(self.policy.per_ms.max(1)).saturating_mul(elapsed);
            let one_way = self.sent.saturating_mul(u64::from(self.policy.one_way)) <= self.received;
            self.is_fast = self.received >= fast && one_way;
            (self.since, self.received, self.sent) = (now, 0, 0);
        }
        self.is_fast
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gather() -> Gather {
        Gather::new(Millis::new(0), GatherPolicy::default())
    }

    #[test]
    fn a_fast_stream_gathers_until_it_is_slow_again() {
        let mut gather = gather();
        assert!(!gather.received(Millis::new(1), 100), "the window is not over");
        assert!(gather.received(Millis::new(2), 1));
        assert!(gather.received(Millis::new(3), 10));
        assert!(gather.received(Millis::new(4), 10), "20 in 2 ms");
        assert!(!gather.received(Millis::new(7), 10), "10 in 3 ms");
    }

    #[test]
    fn one_late_message_after_a_fast_stream_is_not_held_twice() {
        let mut gather = gather();
        assert!(gather.received(Millis::new(2), 100));
        assert!(!gather.received(Millis::new(1000), 1));
    }

    proptest! {
        /// A peer that gets one message for each it sends is never made to wait, however fast it is.
        #[test]
        fn prop_questions_with_answers_never_wait(per_ms in 1_usize..500, ms in 1_u64..50) {
            let mut gather = gather();
            for now in 0..ms {
                for _ in 0..per_ms {
                    prop_assert!(!gather.received(Millis::new(now), 1));
                    gather.sent(1);
                }
            }
        }

        /// A stream below the rate is never made to wait.
        #[test]
        fn prop_slow_streams_never_wait(gaps in proptest::collection::vec(1_u64..100, 1..100)) {
            let (mut gather, mut now) = (gather(), 0);
            for gap in gaps {
                now += gap;
                prop_assert!(!gather.received(Millis::new(now), 7));
            }
        }

        /// No numbers make it panic.
        #[test]
        fn prop_never_panics(steps in proptest::collection::vec((any::<u64>(), any::<usize>(), any::<usize>()), 0..50)) {
            let mut gather = gather();
            for (now, received, sent) in steps {
                gather.sent(sent);
                gather.received(Millis::new(now), received);
            }
        }
    }
}
