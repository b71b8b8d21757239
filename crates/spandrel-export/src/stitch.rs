//! Deflate blocks of libdeflate joined into one stream (RFC 1951).
//!
//! libdeflate is the fastest deflate there is, but it only makes whole streams. A piece short enough becomes exactly one
//! block; its final bit is cleared, its end found, and an empty stored block brings the stream back to a byte border.
//! Then the next piece follows. Decoders see one ordinary stream with flush points.
//!
//! The end of a block is its end-of-block code; up to seven zero bits of padding follow. The code's length and value are
//! read from the block's own header, so the end is known without decoding the data, unless the code itself ends in zeros
//! that could be padding. Such a piece is cut in two and tried again.

use libdeflater::Compressor;

use crate::ExportError;

/// Text in one piece. Level 1 starts a second block after 8,192 sequences or 65,535 bytes; 40,000 bytes of tabular
/// text stay below both nearly always, and a piece with two blocks is cut again.
const PIECE: usize = 40_000;
/// Below this a piece is stored instead of cut again.
const PIECE_MIN: usize = 64;
/// RFC 1951 section 3.2.4: a stored block holds at most 65,535 bytes.
const STORED_MAX: usize = 65_535;

/// Appends `text` as blocks that end on a byte border, none of them final.
pub(crate) fn append(deflate: &mut Compressor, text: &[u8], out: &mut Vec<u8>) -> Result<(), ExportError> {
    for piece in text.chunks(PIECE) {
        append_piece(deflate, piece, out)?;
    }
    Ok(())
}

fn append_piece(deflate: &mut Compressor, piece: &[u8], out: &mut Vec<u8>) -> Result<(), ExportError> {
    let start = out.len();
    out.resize(start + deflate.deflate_compress_bound(piece.len()), 0);
    let slot = out.get_mut(start..).unwrap_or_default();
    let len = deflate.deflate_compress(piece, slot).map_err(|e| ExportError::Compress(format!("{e:?}")))?;
    let block = slot.get(..len).unwrap_or_default();
    if let Some(end) = end_of_only_block(block) {
        out.truncate(start + len);
        if let Some(first) = out.get_mut(start) {
            *first &= !1; // BFINAL
        }
        close_at(out, start, end);
        return Ok(());
    }
    out.truncate(start);
    if piece.len() <= PIECE_MIN {
        store(piece, out);
        return Ok(());
    }
    let (left, right) = piece.split_at(piece.len() / 2);
    append_piece(deflate, left, out)?;
    append_piece(deflate, right, out)
}

/// Appends an empty stored block after bit `end` of the block that begins at `start`.
fn close_at(out: &mut Vec<u8>, start: usize, end: usize) {
    // Three bits: not final, type 0. They are zero, as is the padding after them.
    out.truncate(start + (end + 3).div_ceil(8).min(out.len() - start));
    while out.len() < start + (end + 3).div_ceil(8) {
        out.push(0);
    }
    out.extend_from_slice(&[0, 0, 0xff, 0xff]);
}

fn store(piece: &[u8], out: &mut Vec<u8>) {
    for part in piece.chunks(STORED_MAX) {
        let len = u16::try_from(part.len()).unwrap_or(0);
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(part);
    }
}

/// Bit position just after the end-of-block code of a stream that is one final block; `None` when there is more
/// than one block, or it is stored, or the end is not certain.
fn end_of_only_block(block: &[u8]) -> Option<usize> {
    let mut bits = Bits { bytes: block, at: 0 };
    if bits.take(1)? != 1 {
        return None; // not final: more blocks follow
    }
    let (code, len) = match bits.take(2)? {
        1 => (0, 7), // RFC 1951 section 3.2.6: 256 is seven zeros
        2 => dynamic_end_code(&mut bits)?,
        _ => return None,
    };
    // Padding is the zero bits after the code, at most seven.
    let total = block.len() * 8;
    let mut found = None;
    for padding in 0..8 {
        let end = total.checked_sub(padding)?;
        let at = end.checked_sub(len)?;
        if at < bits.at {
            break;
        }
        if read_code(block, at, len)? == code {
            if found.is_some() {
                return None;
            }
            found = Some(end);
        }
        // A one cannot be padding.
        if bit(block, end.checked_sub(1)?)? == 1 {
            break;
        }
    }
    found
}

/// Reads the header of a block with dynamic codes and returns the code of symbol 256 (first bit highest) and its length.
fn dynamic_end_code(bits: &mut Bits<'_>) -> Option<(u32, usize)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let literals = bits.take(5)? as usize + 257;
    let distances = bits.take(5)? as usize + 1;
    let count = bits.take(4)? as usize + 4;
    let mut lengths = [0_u8; 19];
    for at in ORDER.iter().take(count) {
        *lengths.get_mut(*at)? = u8::try_from(bits.take(3)?).ok()?;
    }
    let codes = canonical(&lengths);
    let mut all: Vec<u8> = Vec::with_capacity(literals + distances);
    while all.len() < literals + distances {
        let symbol = bits.symbol(&lengths, &codes)?;
        match symbol {
            0..=15 => all.push(u8::try_from(symbol).ok()?),
            16 => {
                let last = *all.last()?;
                let n = bits.take(2)? as usize + 3;
                all.extend(std::iter::repeat_n(last, n));
            }
            17 => {
                let n = bits.take(3)? as usize + 3;
                all.extend(std::iter::repeat_n(0, n));
            }
            _ => {
                let n = bits.take(7)? as usize + 11;
                all.extend(std::iter::repeat_n(0, n));
            }
        }
    }
    all.truncate(literals);
    let len = usize::from(*all.get(256)?);
    let code = *canonical(&all).get(256)?;
    (len > 0).then_some((code, len))
}

/// Canonical codes of the given lengths (RFC 1951 section 3.2.2).
fn canonical(lengths: &[u8]) -> Vec<u32> {
    let mut count = [0_u32; 16];
    for &len in lengths {
        if let Some(n) = count.get_mut(usize::from(len)) {
            *n += 1;
        }
    }
    count[0] = 0;
    let mut next = [0_u32; 17];
    let mut code = 0;
    for (len, n) in count.iter().enumerate() {
        code = (code + n) << 1;
        if let Some(slot) = next.get_mut(len + 1) {
            *slot = code;
        }
    }
    let mut codes = Vec::with_capacity(lengths.len());
    for &len in lengths {
        let slot = next.get_mut(usize::from(len));
        codes.push(match slot {
            Some(slot) if len > 0 => {
                *slot += 1;
                *slot - 1
            }
            _ => 0,
        });
    }
    codes
}

fn bit(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at / 8).map(|b| u32::from(b >> (at % 8)) & 1)
}

fn read_code(bytes: &[u8], at: usize, len: usize) -> Option<u32> {
    (at..at + len).try_fold(0, |code, at| Some(code << 1 | bit(bytes, at)?))
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, n: usize) -> Option<u32> {
        let mut value = 0;
        for i in 0..n {
            value |= bit(self.bytes, self.at + i)? << i;
        }
        self.at += n;
        Some(value)
    }

    /// One symbol of a small code, bit by bit.
    fn symbol(&mut self, lengths: &[u8], codes: &[u32]) -> Option<usize> {
        let mut code = 0;
        for len in 1..=7_u8 {
            code = code << 1 | self.take(1)?;
            if let Some(symbol) = lengths.iter().zip(codes).position(|(l, c)| *l == len && *c == code) {
                return Some(symbol);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn inflate(stream: &[u8]) -> Vec<u8> {
        let mut whole = stream.to_vec();
        whole.extend_from_slice(&[3, 0]);
        let mut out = Vec::new();
        let mut decoder = flate2::read::DeflateDecoder::new(&whole[..]);
        decoder.read_to_end(&mut out).unwrap();
        assert_eq!(decoder.total_in(), whole.len() as u64, "one stream, nothing left over");
        out
    }

    fn level_1() -> Compressor {
        Compressor::new(libdeflater::CompressionLvl::new(1).unwrap())
    }

    #[test]
    fn texts_come_back() {
        let mut rows = Vec::new();
        for i in 0..20_000_u64 {
            rows.extend_from_slice(
                format!("{i},{},BTC-KRW,buy,{}\r\n", i * 7919 % 1013, i as f64 / 7.0).as_bytes(),
            );
        }
        let zeros = vec![0_u8; 300_000];
        let mut x = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (x >> 56) as u8
        })
        .take(200_000)
        .collect();
        for text in [&rows[..], &zeros, &noise, b"", b"a", b"ab\r\n", &rows[..39_999], &rows[..40_001]] {
            let mut out = Vec::new();
            append(&mut level_1(), text, &mut out).unwrap();
            assert!(inflate(&out) == text, "text of {} bytes", text.len());
        }
    }

    proptest::proptest! {
        /// Whatever the text, the joined stream inflates to it.
        #[test]
        fn prop_roundtrip_any_text(pieces in proptest::collection::vec((proptest::collection::vec(0_u8..6, 1..40), 1_usize..400), 1..20)) {
            let mut text = Vec::new();
            for (piece, times) in &pieces {
                for i in 0..*times { text.extend_from_slice(piece); text.push((i * piece.len()) as u8); }
            }
            let mut out = Vec::new();
            append(&mut level_1(), &text, &mut out).unwrap();
            proptest::prop_assert!(inflate(&out) == text);
        }
    }
}
