//! Hexadecimal by table: the hashes of these ledgers are over hex text, so it is on the path of every row.

/// Which letters a text uses. The two are never mixed in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
}

const LOWER: [[u8; 2]; 256] = pairs(b"0123456789abcdef");
const UPPER: [[u8; 2]; 256] = pairs(b"0123456789ABCDEF");
const FROM_LOWER: [u8; 256] = digits(b'a');
const FROM_UPPER: [u8; 256] = digits(b'A');

/// A digit that is none: its high bits survive any combination of two digits.
const NONE: u8 = 0xff;

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn pairs(digits: &[u8; 16]) -> [[u8; 2]; 256] {
    let (mut table, mut byte) = ([[0; 2]; 256], 0);
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn digits(first_letter: u8) -> [u8; 256] {
    let (mut table, mut digit) = ([NONE; 256], 0);
    while digit < 16_u8 {
        let byte = if digit < 10 { b'0' + digit } else { first_letter + digit - 10 };
        table[byte as usize] = digit;
        digit += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "the tables have an entry for every byte")]
fn pair(byte: u8, case: Case) -> [u8; 2] {
    match case {
        Case::Lower => LOWER[byte as usize],
        Case::Upper => UPPER[byte as usize],
    }
}

#[expect(clippy::indexing_slicing, reason = "the tables have an entry for every byte")]
fn digit(byte: u8, case: Case) -> u8 {
    match case {
        Case::Lower => FROM_LOWER[byte as usize],
        Case::Upper => FROM_UPPER[byte as usize],
    }
}

/// Writes the digits of `bytes` over the start of `text` and returns them.
fn encode<'a>(bytes: &[u8], case: Case, text: &'a mut [u8]) -> &'a [u8] {
    for (to, byte) in text.chunks_exact_mut(2).zip(bytes) {
        to.copy_from_slice(&pair(*byte, case));
    }
    text
}

/// The 64 digits of a digest.
pub(crate) fn encode_32(bytes: &[u8; 32], case: Case) -> [u8; 64] {
    let mut text = [0; 64];
    encode(bytes, case, &mut text);
    text
}

/// Appends the digits of `bytes`.
pub(crate) fn push(bytes: &[u8], case: Case, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + bytes.len() * 2, 0);
    encode(bytes, case, out.get_mut(at..).unwrap_or_default());
}

/// The digits of `bytes` as text, for people.
pub(crate) fn string(bytes: &[u8], case: Case) -> String {
    bytes.iter().flat_map(|byte| pair(*byte, case)).map(char::from).collect()
}

/// Reads exactly `2 * into.len()` digits of one case.
pub(crate) fn decode(text: &[u8], case: Case, into: &mut [u8]) -> bool {
    if text.len() != into.len() * 2 {
        return false;
    }
    let mut wrong = 0;
    for (to, two) in into.iter_mut().zip(text.chunks_exact(2)) {
        let &[high, low] = two else { return false };
        let (high, low) = (digit(high, case), digit(low, case));
        wrong |= high | low;
        *to = high << 4 | low & 15;
    }
    wrong < 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_case_is_read_at_a_time() {
        for (text, case, want) in [
            ("00ff", Case::Lower, Some([0, 0xff])),
            ("00FF", Case::Upper, Some([0, 0xff])),
            ("00fF", Case::Lower, None),
            ("00ff", Case::Upper, None),
            ("00f", Case::Lower, None),
            ("00ff0", Case::Lower, None),
            ("00ff00", Case::Lower, None),
            ("0 ff", Case::Lower, None),
            ("00:f", Case::Lower, None),
            ("00`f", Case::Lower, None),
            ("00gf", Case::Lower, None),
            ("\u{e9}ff", Case::Lower, None),
        ] {
            let mut got = [7; 2];
            let is_read = decode(text.as_bytes(), case, &mut got);
            assert_eq!(is_read.then_some(got), want, "{text} {case:?}");
        }
    }

    proptest! {
        /// What is written is read back, in either case, and only in that case unless it has no letters.
        #[test]
        fn prop_roundtrip(bytes in any::<[u8; 32]>()) {
            for (case, other) in [(Case::Lower, Case::Upper), (Case::Upper, Case::Lower)] {
                let text = encode_32(&bytes, case);
                let mut pushed = vec![b'x'];
                push(&bytes, case, &mut pushed);
                prop_assert_eq!(&pushed[1..], &text[..]);
                let shown = string(&bytes, case);
                prop_assert_eq!(shown.as_bytes(), &text[..]);
                let mut back = [0; 32];
                prop_assert!(decode(&text, case, &mut back));
                prop_assert_eq!(back, bytes);
                let has_letter = text.iter().any(u8::is_ascii_alphabetic);
                prop_assert_eq!(decode(&text, other, &mut back), !has_letter);
            }
        }
    }
}
