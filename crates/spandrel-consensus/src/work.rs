//! Work of a chain, and which of two chains is the better one.

use spandrel_chain_protocol::Difficulty;

/// The work of a chain: each block counts 2^difficulty. Sums saturate, since a difficulty is only claimed before it is
/// checked; nobody can do 2^128 of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(u128);

impl Work {
    /// No work.
    pub const ZERO: Self = Self(0);

    /// The work a block of this difficulty counts.
    #[must_use]
    pub const fn of(difficulty: Difficulty) -> Self {
        match 1_u128.checked_shl(difficulty.bits() as u32) {
            Some(work) => Self(work),
            None => Self(u128::MAX),
        }
    }

    /// The work with one more block.
    #[must_use]
    pub const fn plus(self, difficulty: Difficulty) -> Self {
        Self(self.0.saturating_add(Self::of(difficulty).0))
    }

    /// The number of expected tries.
    #[must_use]
    pub const fn tries(self) -> u128 {
        self.0
    }

    /// Does a chain of this work replace one of `current`? Equal work does not: the first one seen stays.
    #[must_use]
    pub fn beats(self, current: Self) -> bool {
        self > current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(difficulties: &[u8]) -> Work {
        difficulties.iter().fold(Work::ZERO, |work, bits| work.plus(Difficulty::new(*bits)))
    }

    #[test]
    fn the_heavier_chain_wins_and_a_tie_changes_nothing() {
        for (name, candidate, current, want) in [
            ("longer, same difficulty", &[0, 0, 0][..], &[0, 0][..], true),
            ("shorter, harder", &[2], &[0, 0, 0], true),
            ("longer, lighter", &[0, 0, 0], &[2], false),
            ("equal work", &[1], &[0, 0], false),
            ("claims saturate", &[255, 255], &[255], false),
            ("a claim of 127 has room", &[127], &[126], true),
            ("a claim of 128 is full", &[128], &[127], true),
        ] {
            assert_eq!(sum(candidate).beats(sum(current)), want, "{name}");
        }
        assert_eq!(sum(&[0, 1, 3]).tries(), 11);
        assert_eq!(sum(&[128, 0]).tries(), u128::MAX);
    }
}
