//! Rules of a header on its parent.

use spandrel_chain_protocol::{BlockHash, Header, Height, Ledger, Stamp, WallMillis, expected_difficulty};

use crate::{BlockError, Rules};

/// How far a stamp may lie ahead of the clock, in milliseconds.
pub const FUTURE_MS_MAX: u64 = 7_200_000;

/// How many blocks the median is taken over.
pub const MEDIAN_BLOCKS: usize = 11;

/// The branch a block stands on: its parent, and blocks below.
pub trait Ancestors {
    /// Height and hash of the parent.
    fn parent(&self) -> (Height, BlockHash);

    /// Time and difficulty of the block at a height up to the parent's; `None` below the first block. Only the last
    /// eleven are asked for.
    fn stamp(&self, height: Height) -> Option<Stamp>;
}

/// Checks everything of a header that needs no body.
///
/// # Errors
///
/// The first rule it breaks; only [`BlockError::TooNew`] may change with time.
pub fn check_header(
    ledger: Ledger,
    header: &Header,
    below: &impl Ancestors,
    now: WallMillis,
    rules: Rules,
) -> Result<(), BlockError> {
    let (parent_height, parent_hash) = below.parent();
    let expected = parent_height.next();
    if header.height != expected || expected == parent_height {
        return Err(BlockError::Height { expected, found: header.height });
    }
    if header.previous_hash != parent_hash {
        return Err(BlockError::PreviousHash { expected: parent_hash, found: header.previous_hash });
    }
    if header.hash != header.compute_hash(ledger) {
        return Err(BlockError::Hash { claimed: header.hash });
    }
    if !rules.is_unsigned() {
        let expected = next_difficulty(ledger, below, header.timestamp);
        if header.difficulty != expected {
            return Err(BlockError::Difficulty { expected, declared: header.difficulty });
        }
    }
    if !header.hash.meets(header.difficulty) {
        let bits = header.hash.leading_zero_bits();
        return Err(BlockError::ProofOfWork { bits, difficulty: header.difficulty });
    }
    let median = median_time(below);
    if header.timestamp < median {
        return Err(BlockError::TooOld { median, found: header.timestamp });
    }
    let latest = now.after(FUTURE_MS_MAX);
    if header.timestamp > latest {
        return Err(BlockError::TooNew { latest, found: header.timestamp });
    }
    Ok(())
}

/// The difficulty the block after the parent has to declare when it is stamped `timestamp`.
pub fn next_difficulty(
    ledger: Ledger,
    below: &impl Ancestors,
    timestamp: WallMillis,
) -> spandrel_chain_protocol::Difficulty {
    let height = below.parent().0.next();
    // A branch always reaches ten blocks down where the table asks for one: it starts at height 0 or 1.
    expected_difficulty(ledger, height, timestamp, |height| below.stamp(height)).unwrap_or_default()
}

/// The median of the stamps of the last up to eleven blocks, the earliest a next block may say. Of an even number the
/// later of the two in the middle.
pub fn median_time(below: &impl Ancestors) -> WallMillis {
    let (mut stamps, mut known) = ([WallMillis::default(); MEDIAN_BLOCKS], 0);
    let mut height = Some(below.parent().0);
    for slot in &mut stamps {
        let Some(stamp) = height.and_then(|height| below.stamp(height)) else { break };
        *slot = stamp.timestamp;
        known += 1;
        height = height.and_then(|height| height.checked_sub(1));
    }
    let stamps = stamps.get_mut(..known).unwrap_or_default();
    stamps.sort_unstable();
    stamps.get(known / 2).copied().unwrap_or_default()
}

/// The stamp a miner gives the next block: its clock, but no earlier than the median.
pub fn next_timestamp(below: &impl Ancestors, now: WallMillis) -> WallMillis {
    now.max(median_time(below))
}
