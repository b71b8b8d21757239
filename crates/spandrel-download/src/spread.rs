//! When to come back, so that not everybody does at once.

/// `ms` times something between 0.5 and 1.5, the same for the same `seed`.
///
/// ```
/// let ms = spandrel_download::spread(10_000, 7);
/// assert!((5_000..=15_000).contains(&ms) && ms == spandrel_download::spread(10_000, 7));
/// ```
pub fn spread(ms: u64, seed: u64) -> u64 {
    // SplitMix64: neighbouring seeds, as ports and counters are, come out far apart.
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let share = (z ^ (z >> 31)) >> 54;
    (ms / 2).saturating_add(ms.saturating_mul(share) / 1_023)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_a_time_of_their_own_around_the_middle() {
        let times: Vec<u64> = (0..1_000).map(|seed| spread(10_000, seed)).collect();
        assert!(times.iter().all(|ms| (5_000..=15_000).contains(ms)));
        let early = times.iter().filter(|ms| **ms < 7_500).count();
        let late = times.iter().filter(|ms| **ms > 12_500).count();
        assert!(early > 200 && late > 200, "{early} early, {late} late");
        assert_eq!((spread(0, 1), spread(1, 2) <= 2, spread(u64::MAX, 3) > 0), (0, true, true));
    }
}
