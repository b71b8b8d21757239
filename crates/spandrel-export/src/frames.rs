//! Tables of text as zstd frames, each readable alone.

use std::io::Cursor;

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, ParamSwitch, compress_bound};

use crate::ExportError;

/// Level 1 is smaller and faster than level 3 on tabular text.
const LEVEL: i32 = 1;
/// Text that shows of what kind a chunk is.
const SAMPLE: usize = 8 * 1024;
/// Digits side by side that are noise rather than a repeated number.
const LONG_NUMBER: usize = 6;

/// Makes frames; reused for its memory.
pub(crate) struct Frames {
    plain: Compressor<'static>,
    numbers: Compressor<'static>,
}

impl Frames {
    /// # Errors
    /// [`ExportError::Compress`] when the library refuses its settings.
    pub(crate) fn new() -> Result<Self, ExportError> {
        Ok(Self { plain: compressor(&[])?, numbers: compressor(&FOR_NUMBERS)? })
    }

    /// Appends `text` as one frame.
    ///
    /// # Errors
    /// [`ExportError::Compress`] when the library refuses the input.
    pub(crate) fn append(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), ExportError> {
        let compressor = if has_long_numbers(text) { &mut self.numbers } else { &mut self.plain };
        out.reserve(compress_bound(text.len()));
        // A cursor writes after what is there, and needs no bytes cleared before.
        let at = out.len() as u64;
        let mut slot = Cursor::new(out);
        slot.set_position(at);
        compressor.compress_to_buffer(text, &mut slot).map(drop).map_err(refused)
    }
}

/// Long numbers are noise: few matches are worth taking, so the table of places stays in the nearest cache, one place in
/// three is skipped, and the literals are most of the frame and must be coded (which a skip would turn off).
const FOR_NUMBERS: [CParameter; 4] = [
    CParameter::HashLog(12),
    CParameter::MinMatch(7),
    CParameter::TargetLength(2),
    CParameter::LiteralCompressionMode(ParamSwitch::Enable),
];

fn compressor(settings: &[CParameter]) -> Result<Compressor<'static>, ExportError> {
    let mut compressor = Compressor::new(LEVEL).map_err(refused)?;
    for setting in settings {
        compressor.set_parameter(*setting).map_err(refused)?;
    }
    Ok(compressor)
}

fn refused(error: std::io::Error) -> ExportError {
    ExportError::Compress(error.to_string())
}

/// Whether at least a sixth of the text is digits of long numbers.
fn has_long_numbers(text: &[u8]) -> bool {
    let sample = text.get(..SAMPLE).unwrap_or(text);
    let digits: usize = sample
        .split(|byte| !matches!(byte, b'.' | b'0'..=b'9'))
        .map(<[u8]>::len)
        .filter(|len| *len >= LONG_NUMBER)
        .sum();
    digits * 6 >= sample.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(rows: u64) -> Vec<u8> {
        let row = |i: u64| {
            format!("{},BTC-KRW,{}.{}\r\n", 1_000_000 + i * 7, i * 7919 % 1013, i * 104_729 % 9_999_991)
        };
        (0..rows).map(row).collect::<String>().into_bytes()
    }

    fn words(rows: u64) -> Vec<u8> {
        let row = |i: u64| format!("2013,1,{},EWR,IAH,N{},late by {}\r\n", i % 31, i * 7919 % 1013, i % 60);
        (0..rows).map(row).collect::<String>().into_bytes()
    }

    #[test]
    fn kinds_of_text_are_told_apart() {
        assert!(has_long_numbers(&numbers(1)));
        assert!(has_long_numbers(&numbers(10_000)));
        assert!(!has_long_numbers(&words(1)));
        assert!(!has_long_numbers(&words(10_000)));
        assert!(has_long_numbers(b"123456abcdefghijklmnopqrstuvwxyzabcd"), "six of 36 bytes");
        assert!(!has_long_numbers(b"123456abcdefghijklmnopqrstuvwxyzabcde"), "six of 37 bytes");
        assert!(!has_long_numbers(b"12345,12345,12345"), "short numbers only");
    }

    #[test]
    fn frames_are_appended_and_do_not_depend_on_each_other() {
        let mut frames = Frames::new().unwrap();
        let texts = [numbers(20_000), words(20_000), b"a".to_vec(), numbers(3), vec![0; 300_000], words(1)];
        let (mut out, mut whole) = (b"".to_vec(), Vec::new());
        for text in &texts {
            let start = out.len();
            frames.append(text, &mut out).unwrap();
            let mut alone = Vec::new();
            Frames::new().unwrap().append(text, &mut alone).unwrap();
            assert!(out[start..] == alone, "used compressors write what new ones write");
            assert_eq!(zstd::bulk::decompress(&alone, text.len()).unwrap(), *text);
            whole.extend_from_slice(text);
        }
        assert!(zstd::decode_all(&out[..]).unwrap() == whole);
    }

    proptest::proptest! {
        #[test]
        fn prop_any_text_comes_back(text in proptest::collection::vec(proptest::num::u8::ANY, 1..5000), digits in proptest::bool::ANY) {
            let text: Vec<u8> = if digits { text.iter().map(|b| b'.' + b % 13).collect() } else { text };
            let mut out = Vec::new();
            Frames::new().unwrap().append(&text, &mut out).unwrap();
            proptest::prop_assert_eq!(zstd::decode_all(&out[..]).unwrap(), text);
        }
    }
}
