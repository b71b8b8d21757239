//! How long to wait between attempts to find a host: not at all, then doubling with jitter.

use crate::Limits;

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    failures: u32,
}

impl Pace {
    /// Milliseconds to wait after one more failure.
    pub(crate) fn failed(&mut self, limits: &Limits, random: u32) -> u64 {
        let before = self.failures;
        self.failures = before.saturating_add(1);
        let Some(doublings) = before.checked_sub(1) else { return 0 };
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        half_either_way(limits.wait_ms.saturating_mul(factor).min(limits.wait_max_ms), random)
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// From half of `ms` to one and a half of it, evenly. A thousand programs do not try in one instant.
fn half_either_way(ms: u64, random: u32) -> u64 {
    let step = (u128::from(ms) * u128::from(random)) >> 32;
    (ms / 2).saturating_add(u64::try_from(step).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: u32 = 1 << 31;

    #[test]
    fn the_first_failure_costs_nothing_and_the_waits_double_up_to_a_bound() {
        let (mut pace, limits) = (Pace::default(), Limits::default());
        let waits: Vec<_> = (0..10).map(|_| pace.failed(&limits, MIDDLE)).collect();
        assert_eq!(waits, [0, 50, 100, 200, 400, 800, 1600, 3000, 3000, 3000]);
        assert!((0..100).all(|_| pace.failed(&limits, u32::MAX) < 4500));
        pace.reset();
        assert_eq!(pace.failed(&limits, MIDDLE), 0);
    }

    #[test]
    fn jitter_is_half_either_way() {
        assert_eq!(half_either_way(1000, 0), 500);
        assert_eq!(half_either_way(1000, u32::MAX), 1499);
        assert_eq!(half_either_way(u64::MAX, u32::MAX), u64::MAX);
    }
}
