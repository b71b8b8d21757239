//! The difficulty of the next block, from blocks before it.

use spandrel_wire::WallMillis;

use crate::{Difficulty, Height, Ledger};

/// Blocks between two changes of difficulty.
pub const INTERVAL_BLOCKS: u64 = 10;

/// How long that many blocks should take, in milliseconds: ten minutes each.
pub const INTERVAL_MS: u64 = 6_000_000;

/// What the difficulty rule asks of an earlier block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When it was made.
    pub timestamp: WallMillis,
    /// What it declared.
    pub difficulty: Difficulty,
}

/// One step of the table: up when ten blocks came in under half of their time, down when it took over twice as long.
/// Both comparisons are strict; a span below zero (stamps may go back) is short.
#[must_use]
pub const fn adjust(base: Difficulty, first: WallMillis, last: WallMillis) -> Difficulty {
    let span_ms = last.get().saturating_sub(first.get());
    if span_ms < INTERVAL_MS / 2 {
        Difficulty::new(base.bits().saturating_add(1))
    } else if span_ms > INTERVAL_MS * 2 {
        Difficulty::new(base.bits().saturating_sub(1))
    } else {
        base
    }
}

/// The difficulty a block of this height and time has to declare.
///
/// `ancestor` gives blocks of its own branch; at most one is asked for, at most ten below. `None` when that one is not
/// there.
pub fn expected_difficulty(
    ledger: Ledger,
    height: Height,
    timestamp: WallMillis,
    ancestor: impl FnOnce(Height) -> Option<Stamp>,
) -> Option<Difficulty> {
    let n = height.get();
    let last_of_ones = match ledger {
        Ledger::Note => 19,
        Ledger::Coin => 20,
    };
    if n < INTERVAL_BLOCKS {
        return Some(Difficulty::ZERO);
    }
    if n <= last_of_ones {
        return Some(Difficulty::new(1));
    }
    if n.is_multiple_of(INTERVAL_BLOCKS) {
        let base = ancestor(Height::new(n - INTERVAL_BLOCKS)?)?;
        return Some(adjust(base.difficulty, base.timestamp, timestamp));
    }
    let base = match ledger {
        Ledger::Note => n - 1,
        Ledger::Coin => (n - 1) / INTERVAL_BLOCKS * INTERVAL_BLOCKS,
    };
    ancestor(Height::new(base)?).map(|base| base.difficulty)
}
