//! Looking for a nonce. In the text headers of these ledgers it stands last, so all full blocks before it are hashed once
//! and a try costs one compression, two where the nonce lies across the end of a block.

use sha2::block_api::compress256;
use spandrel_chain_protocol::{BlockHash, Difficulty, Header, INT_MAX, Ledger, Nonce};

const BLOCK: usize = 64;

/// State of SHA-256 before the first block (FIPS 180-4, 5.3.3).
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Tries nonces on one header. Cheap to clone: each thread takes its own range.
#[derive(Debug, Clone)]
pub struct HeaderScan {
    /// After all full blocks of the text before the nonce.
    state: [u32; 8],
    /// What is left of that text, at the start of the last blocks.
    tail: [[u8; BLOCK]; 2],
    tail_len: usize,
    text_len: usize,
    difficulty: Difficulty,
}

impl HeaderScan {
    /// Prepares a header; its nonce and hash do not matter.
    #[must_use]
    pub fn new(header: &Header, ledger: Ledger) -> Self {
        let text = header.hash_prefix(ledger);
        let (full, rest) = text.as_chunks::<BLOCK>();
        let mut state = START;
        compress256(&mut state, full);
        let mut tail = [[0; BLOCK]; 2];
        if let Some(to) = tail.as_flattened_mut().get_mut(..rest.len()) {
            to.copy_from_slice(rest);
        }
        Self { state, tail, tail_len: rest.len(), text_len: text.len(), difficulty: header.difficulty }
    }

    /// Tries `tries` nonces from `first` on; gives the first that meets the difficulty of the header, and its hash.
    ///
    /// Takes as long as it takes: hand out ranges that end before you want to hear of a new tip.
    #[must_use]
    pub fn scan(&self, first: Nonce, tries: u64) -> Option<(Nonce, BlockHash)> {
        let end = first.get().saturating_add(tries).min(INT_MAX + 1);
        let mut nonce = first.get();
        while nonce < end {
            // All nonces of one length share their padding.
            let mut tail = Tail::new(self, nonce);
            let longer = 10_u64.checked_pow(tail.digits).unwrap_or(u64::MAX).min(end);
            loop {
                let state = tail.hash(self.state);
                if meets(&state, self.difficulty) {
                    return Some((Nonce::new(nonce)?, to_hash(&state)));
                }
                nonce += 1;
                if nonce == longer {
                    break;
                }
                tail.count();
            }
        }
        None
    }
}

/// The last blocks of the text, with the nonce and the padding in them.
struct Tail {
    blocks: [[u8; BLOCK]; 2],
    is_two: bool,
    last_digit: usize,
    digits: u32,
}

impl Tail {
    fn new(scan: &HeaderScan, nonce: u64) -> Self {
        let text = nonce.to_string();
        let mut blocks = scan.tail;
        let end = scan.tail_len + text.len();
        let is_two = end + 9 > BLOCK;
        let bits = u64::try_from(scan.text_len + text.len()).unwrap_or_default() * 8;
        let size = if is_two { 2 * BLOCK } else { BLOCK };
        let all = blocks.as_flattened_mut();
        for (at, bytes) in [(scan.tail_len, text.as_bytes()), (end, &[0x80]), (size - 8, &bits.to_be_bytes())]
        {
            if let Some(to) = all.get_mut(at..at + bytes.len()) {
                to.copy_from_slice(bytes);
            }
        }
        Self { blocks, is_two, last_digit: end - 1, digits: u32::try_from(text.len()).unwrap_or_default() }
    }

    /// Counts the nonce one up in its decimal digits; its length stays.
    fn count(&mut self) {
        let all = self.blocks.as_flattened_mut();
        let mut at = self.last_digit;
        while let Some(digit) = all.get_mut(at) {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
            at = at.wrapping_sub(1);
        }
    }

    fn hash(&self, mut state: [u32; 8]) -> [u32; 8] {
        if self.is_two {
            compress256(&mut state, &self.blocks);
        } else {
            let [first, _] = &self.blocks;
            compress256(&mut state, std::slice::from_ref(first));
        }
        state
    }
}

fn meets(state: &[u32; 8], difficulty: Difficulty) -> bool {
    let wanted = u32::from(difficulty.bits());
    let [first, ..] = state;
    if first.leading_zeros() < wanted.min(32) {
        return false;
    }
    wanted <= 32 || to_hash(state).meets(difficulty)
}

fn to_hash(state: &[u32; 8]) -> BlockHash {
    let mut bytes = [0; 32];
    for (to, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    BlockHash::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spandrel_chain_protocol::{CoinBlock, Height, Version, WallMillis};

    use super::*;

    fn header(version_len: usize, height: u64, difficulty: u8) -> Header {
        let mut header = CoinBlock::genesis().header;
        header.version = Version::new(&"v".repeat(version_len)).unwrap();
        header.height = Height::new(height).unwrap();
        header.timestamp = WallMillis::new(1_655_100_000_000);
        header.difficulty = Difficulty::new(difficulty);
        header
    }

    fn hash_of(header: &Header, ledger: Ledger, nonce: u64) -> BlockHash {
        let mut header = header.clone();
        header.nonce = Nonce::new(nonce).unwrap();
        header.compute_hash(ledger)
    }

    #[test]
    fn every_length_of_a_header_is_hashed_right() {
        for version_len in 0..=80 {
            for ledger in [Ledger::Note, Ledger::Coin] {
                let header = header(version_len, 7, 0);
                let scan = HeaderScan::new(&header, ledger);
                for nonce in [0, 1, 9, 10, 99, 1_000_000, INT_MAX - 1, INT_MAX] {
                    let first = Nonce::new(nonce).unwrap();
                    let found = scan.scan(first, 1);
                    assert_eq!(
                        found,
                        Some((first, hash_of(&header, ledger, nonce))),
                        "{version_len} {nonce}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_range_ends_where_it_ends() {
        let scan = HeaderScan::new(&header(5, 7, 255), Ledger::Coin);
        assert_eq!(scan.scan(Nonce::ZERO, 0), None);
        assert_eq!(scan.scan(Nonce::ZERO, 2000), None);
        assert_eq!(scan.scan(Nonce::MAX, u64::MAX), None, "after the last nonce there is none");
    }

    proptest! {
        /// The nonce that is found is the first one a slow search finds, in whatever ranges it is looked for.
        #[test]
        fn prop_finds_the_first(version_len in 0_usize..81, height in 0_u64..100_000, difficulty in 0_u8..11, power in 0_u32..15, back in 0_u64..40, step in 1_u64..300) {
            let header = header(version_len, height, difficulty);
            let first = 10_u64.pow(power).saturating_sub(back);
            let want = (first..first + 600).find(|nonce| hash_of(&header, Ledger::Coin, *nonce).meets(header.difficulty));
            let scan = HeaderScan::new(&header, Ledger::Coin);
            let mut from = first;
            let mut got = None;
            while got.is_none() && from < first + 600 {
                let tries = step.min(first + 600 - from);
                got = scan.scan(Nonce::new(from).unwrap(), tries);
                from += tries;
            }
            prop_assert_eq!(got.map(|(nonce, _)| nonce.get()), want);
            if let Some((nonce, hash)) = got {
                prop_assert_eq!(hash, hash_of(&header, Ledger::Coin, nonce.get()));
            }
        }
    }
}
