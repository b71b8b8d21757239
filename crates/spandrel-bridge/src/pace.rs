//! How long to wait between attempts to find a host: not at all, then doubling with jitter.

use crate::Limits;

/// Counts failures in a row.
#[derive(Debug)]
pub(crate) struct Pace {
    failures: u32,
    random: u64,
}

impl Pace {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { failures: 0, random: seed }
    }

    /// Milliseconds to wait after one more failure.
    pub(crate) fn failed(&mut self, limits: &Limits) -> u64 {
        let before = self.failures;
        self.failures = before.saturating_add(1);
        let Some(doublings) = before.checked_sub(1) else { return 0 };
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        let wait_ms = limits.wait_ms.saturating_mul(factor).min(limits.wait_max_ms);
        half_either_way(wait_ms, self.next_random())
    }

    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// SplitMix64: enough to keep programs apart.
    const fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// From half of `ms` to one and a half of it, evenly: programs that lost one host do not try in one instant.
fn half_either_way(ms: u64, random: u64) -> u64 {
    let step = (u128::from(ms) * u128::from(random)) >> 64;
    (ms / 2).saturating_add(u64::try_from(step).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_costs_nothing_and_the_waits_double_up_to_a_bound() {
        let limits = Limits::default();
        for seed in 0..100 {
            let mut pace = Pace::new(seed);
            assert_eq!(pace.failed(&limits), 0);
            for nominal in [50, 100, 200, 400, 800, 1600, 3000, 3000, 3000] {
                let wait_ms = pace.failed(&limits);
                assert!((nominal / 2..nominal * 3 / 2).contains(&wait_ms), "{wait_ms} of {nominal}");
            }
            pace.reset();
            assert_eq!(pace.failed(&limits), 0);
        }
    }

    #[test]
    fn jitter_is_half_either_way_and_differs_by_seed() {
        assert_eq!(half_either_way(1000, 0), 500);
        assert_eq!(half_either_way(1000, u64::MAX), 1499);
        assert_eq!(half_either_way(u64::MAX, u64::MAX), u64::MAX);
        let first = |seed| Pace::new(seed).next_random();
        assert_ne!(first(1), first(2));
    }
}
