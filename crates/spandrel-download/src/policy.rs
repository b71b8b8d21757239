//! Small machines of one connection: progress batch, message rate, refusal counter.

use std::collections::VecDeque;

use spandrel_download_protocol::{DownloadId, ProgressUpdate};

/// Updates that wait for their batch, the newest of each job (protocol section 9).
#[derive(Debug, Default)]
pub(crate) struct Batch {
    updates: Vec<ProgressUpdate>,
    first_ms: u64,
}

impl Batch {
    /// Takes an update in place of an older one of the same job.
    pub(crate) fn put(&mut self, now_ms: u64, update: ProgressUpdate) {
        if self.updates.is_empty() {
            self.first_ms = now_ms;
        }
        match self.updates.iter_mut().find(|u| u.download_id == update.download_id) {
            Some(older) => *older = update,
            None => self.updates.push(update),
        }
    }

    pub(crate) fn remove(&mut self, id: DownloadId) {
        self.updates.retain(|u| u.download_id != id);
    }

    pub(crate) fn len(&self) -> usize {
        self.updates.len()
    }

    pub(crate) fn due_ms(&self, timeout_ms: u64) -> Option<u64> {
        (!self.updates.is_empty()).then(|| self.first_ms.saturating_add(timeout_ms))
    }

    pub(crate) fn take(&mut self) -> Vec<ProgressUpdate> {
        std::mem::take(&mut self.updates)
    }
}

/// A bucket of messages that fills by time (protocol section 14).
#[derive(Debug)]
pub(crate) struct Bucket {
    per_s: u64,
    burst: u64,
    /// Thousandths of a message.
    level: u64,
    at_ms: u64,
}

impl Bucket {
    pub(crate) fn new(now_ms: u64, per_s: u64, burst: u64) -> Self {
        Self { per_s, burst, level: burst.saturating_mul(1_000), at_ms: now_ms }
    }

    /// Takes one message, or tells in how many milliseconds there is one again.
    pub(crate) fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = now_ms;
        let filled = self.level.saturating_add(passed.saturating_mul(self.per_s));
        self.level = filled.min(self.burst.saturating_mul(1_000));
        match self.level.checked_sub(1_000) {
            Some(left) => {
                self.level = left;
                Ok(())
            }
            None => Err((1_000 - self.level).div_ceil(self.per_s.max(1)).max(1)),
        }
    }
}

/// Refusals within a window of time (protocol section 3).
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    at_ms: VecDeque<u64>,
}

impl Refusals {
    /// Counts one; true when there are more than `max` within `window_ms`.
    pub(crate) fn is_over(&mut self, now_ms: u64, max: usize, window_ms: u64) -> bool {
        self.at_ms.push_back(now_ms);
        while self.at_ms.front().is_some_and(|at| at.saturating_add(window_ms) <= now_ms) {
            self.at_ms.pop_front();
        }
        self.at_ms.len() > max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_holds_a_burst_and_fills_by_time() {
        let mut bucket = Bucket::new(0, 100, 200);
        assert_eq!((0..200).filter(|_| bucket.take(0).is_ok()).count(), 200);
        assert_eq!(bucket.take(0), Err(10), "one over");
        assert_eq!(bucket.take(9), Err(1));
        assert_eq!(bucket.take(10), Ok(()));
        assert_eq!((0..500).filter(|_| bucket.take(1_000_000).is_ok()).count(), 200, "no more than a burst");
    }

    #[test]
    fn only_refusals_close_together_count() {
        let mut refusals = Refusals::default();
        for n in 0..10 {
            assert!(!refusals.is_over(n * 1_000, 10, 60_000), "refusal {n}");
        }
        assert!(!refusals.is_over(60_500, 10, 60_000), "the first is a minute old");
        assert!(refusals.is_over(60_501, 10, 60_000), "the eleventh within a minute");
    }

    proptest::proptest! {
        /// Over any stretch of time a bucket lets through no more than the burst and the rate together.
        #[test]
        fn prop_rate_holds(steps in proptest::collection::vec(0_u64..50, 1..500)) {
            let mut bucket = Bucket::new(0, 100, 20);
            let (mut now, mut taken) = (0, 0_u64);
            for step in steps {
                now += step;
                taken += u64::from(bucket.take(now).is_ok());
                proptest::prop_assert!(taken <= 20 + now / 10 + 1);
            }
        }
    }
}
