//! Tables of text as blocks of a deflate stream (RFC 1951), for chunks that are put one after another.
//!
//! Made for exported rows, and they decide its choices:
//! - digits of prices, amounts and times are noise, and cost less as literals than as short matches. So a match only
//!   begins at a byte that is no digit (a separator, a letter), which leaves about seven places in a row of a hundred
//!   bytes to look at. Where there is none, one byte in 64 is looked at;
//! - a match has at least seven bytes, since a far one costs as much as six digits;
//! - rows of another kind (long repeated numbers, mostly words) are found out by trying the first 8 KiB of a chunk both
//!   ways, and then looked at everywhere;
//! - what cannot be guessed is done without a branch: the longer of two matches, how long it is, the last literals
//!   before it;
//! - the window reaches over the whole chunk, and blocks are not final, so a short empty stored block at the end is the
//!   only price of a border that can stand anywhere in a file.
//!
//! The bytes depend on the text alone.

mod bits;
mod block;
mod huffman;
mod matches;

use bits::Bits;
use matches::{Look, Matches, Sequences};

/// Text of one block: a new one costs about 80 bytes, and its codes fit better.
const BLOCK: usize = 128 * 1024;
/// The last block is longer by up to this instead of leaving a short one.
const BLOCK_REST: usize = 32 * 1024;

/// Text that shows how to look at all of a chunk.
const SAMPLE: usize = 8 * 1024;

/// Makes blocks; reused for its memory (about 300 KiB).
#[derive(Debug)]
pub(crate) struct Deflater {
    matches: Matches,
    sequences: Sequences,
}

impl Deflater {
    pub(crate) fn new() -> Self {
        Self { matches: Matches::new(), sequences: Sequences::new(BLOCK + BLOCK_REST) }
    }

    /// Appends `text` as blocks that end on a byte border, none of them final.
    pub(crate) fn append(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let look = self.look(text);
        self.matches.clear();
        let mut bits = Bits::new(out);
        let mut from = 0;
        while from < text.len() {
            let left = text.len() - from;
            let end = from + if left <= BLOCK + BLOCK_REST { left } else { BLOCK };
            self.matches.find(look, text, from, end, &mut self.sequences);
            block::write(text.get(from..end).unwrap_or_default(), &self.sequences, &mut bits);
            from = end;
        }
        bits.stored(&[]);
    }

    /// The quick way, unless a sample gets smaller by more than a 32nd the other way.
    fn look(&mut self, text: &[u8]) -> Look {
        let end = text.len().min(SAMPLE);
        let [fields, anywhere] = [Look::Fields, Look::Anywhere].map(|look| {
            self.matches.clear();
            self.matches.find(look, text, 0, end, &mut self.sequences);
            block::cost(&self.sequences)
        });
        if anywhere + anywhere / 32 < fields { Look::Anywhere } else { Look::Fields }
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "any byte will do")]
mod tests {
    use std::io::Read;

    use super::*;

    fn deflate(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Deflater::new().append(text, &mut out);
        out
    }

    /// What two decoders make of the blocks with a final one after them.
    fn inflate(blocks: &[u8], len: usize) -> Vec<u8> {
        let mut whole = blocks.to_vec();
        whole.extend_from_slice(&[3, 0]);
        let mut out = Vec::new();
        let mut decoder = flate2::read::DeflateDecoder::new(&whole[..]);
        decoder.read_to_end(&mut out).unwrap();
        assert_eq!(decoder.total_in(), whole.len() as u64, "one stream, nothing left over");
        let mut other = vec![0; len];
        let n = libdeflater::Decompressor::new().deflate_decompress(&whole, &mut other).unwrap();
        assert!(n == len && other == out, "the decoders differ");
        out
    }

    fn comes_back(text: &[u8]) {
        assert!(inflate(&deflate(text), text.len()) == text, "text of {} bytes", text.len());
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut x = 1_u64;
        std::iter::repeat_with(|| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (x >> 56) as u8
        })
        .take(len)
        .collect()
    }

    fn rows(n: u64) -> Vec<u8> {
        let mut rows = Vec::new();
        for i in 0..n {
            let row = format!("{i},{},BTC-KRW,buy,{}\r\n", i * 7919 % 1013, i as f64 / 7.0);
            rows.extend_from_slice(row.as_bytes());
        }
        rows
    }

    #[test]
    fn texts_come_back() {
        let rows = rows(100_000);
        assert!(rows.len() > 3_000_000);
        comes_back(&rows);
        for at in [BLOCK, BLOCK + BLOCK_REST, 2 * BLOCK + BLOCK_REST] {
            for len in at - 2..=at + 2 {
                comes_back(&rows[..len]);
            }
        }
        let half = [&noise(100_000)[..], &rows[..100_000], &noise(300_000)].concat();
        for text in
            [&vec![0; 300_000][..], &vec![b'7'; 300_000], &b"ab\r\n".repeat(90_000), &noise(700_000), &half]
        {
            comes_back(text);
        }
    }

    #[test]
    fn every_short_length_comes_back() {
        let (rows, noise) = (rows(20), noise(200));
        for len in 0..=200 {
            for text in
                [&rows[..len], &noise[..len], &[0; 200][..len], &[b'5'; 200][..len], &[b'x'; 200][..len]]
            {
                comes_back(text);
            }
        }
    }

    #[test]
    fn chunks_make_one_stream_and_do_not_depend_on_each_other() {
        let (rows, mut deflater) = (rows(20_000), Deflater::new());
        let mut out = Vec::new();
        for chunk in rows.chunks(200_001) {
            let start = out.len();
            deflater.append(chunk, &mut out);
            assert!(out[start..] == deflate(chunk), "a used encoder writes what a new one writes");
        }
        assert!(inflate(&out, rows.len()) == rows);
    }

    #[test]
    fn text_without_pattern_grows_by_little() {
        for len in [1, 100, 65_535, 65_536, 500_000] {
            let packed = deflate(&noise(len)).len();
            assert!(packed <= len + 10 + 5 * len.div_ceil(32 * 1024), "{len} bytes became {packed}");
        }
    }

    #[test]
    fn rows_are_no_larger_than_a_fast_general_encoder_makes_them() {
        let rows = rows(20_000);
        let level = libdeflater::CompressionLvl::new(1).unwrap();
        let mut slot = vec![0; rows.len()];
        let peer = libdeflater::Compressor::new(level).deflate_compress(&rows, &mut slot).unwrap();
        let ours = deflate(&rows).len();
        assert!(ours <= peer, "{ours} bytes against {peer}");
    }

    proptest::proptest! {
        /// Whatever the text, the blocks inflate to it.
        #[test]
        fn prop_roundtrip_any_text(pieces in proptest::collection::vec((proptest::collection::vec(0_u8..6, 1..40), 1_usize..400), 1..20)) {
            let mut text = Vec::new();
            for (piece, times) in &pieces {
                for i in 0..*times { text.extend_from_slice(piece); text.push((i * piece.len()) as u8); }
            }
            comes_back(&text);
        }

        /// Any bytes with any earlier stretch of them copied to the end, near and far, short and long.
        #[test]
        fn prop_roundtrip_copies(
            seed in proptest::collection::vec(proptest::num::u8::ANY, 1..300),
            copies in proptest::collection::vec((0_usize..100_000, 1_usize..600, proptest::bool::ANY), 0..200),
        ) {
            let mut text = seed;
            for (back, len, digit) in copies {
                let from = text.len() - 1 - back % text.len();
                for i in 0..len { text.push(text[from + i]); }
                text.push(if digit { b'0' + (len % 10) as u8 } else { (back % 251) as u8 });
            }
            comes_back(&text);
        }

        /// Symbols as unequal as Fibonacci numbers, whose codes would be longer than deflate has.
        #[test]
        fn prop_roundtrip_long_codes(order in proptest::collection::vec(0_usize..1000, 24)) {
            let mut text = Vec::new();
            let (mut a, mut b) = (1_usize, 1);
            for (i, turn) in order.iter().enumerate() {
                text.extend(std::iter::repeat_n(b'0'.wrapping_add(i as u8 * 9), a));
                text.rotate_left(turn % a);
                (a, b) = (b, a + b);
            }
            // No runs: an order that a stride of bytes mixes.
            let n = text.len();
            let mixed: Vec<u8> = (0..n).map(|i| text[i * 7919 % n]).collect();
            comes_back(&mixed);
        }
    }
}
