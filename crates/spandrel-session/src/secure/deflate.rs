//! Message compression: one zlib stream per message (section 2.1).
//!
//! Nothing is kept between messages: a stream's state (tens to hundreds of kilobytes) would be the largest thing an
//! idle connection holds, while making it anew costs a few microseconds, fewer with a window of the message's size.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::LayerError;

/// Shorter messages are not deflated: little is won.
pub(super) const DEFLATE_BYTES_MIN: usize = 512;

/// zlib's own default. Level 1 takes less than half the time for a fifth more bytes.
const LEVEL: u32 = 6;

/// Whether a deflated message has to be shorter than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Else it is left alone.
    MustShrink,
    /// It may grow a little.
    MayGrow,
}

/// Appends the zlib stream of `text` to `out`. Returns `false`, with `out` as it was, when it gets too long.
pub(crate) fn deflate(text: &[u8], out: &mut Vec<u8>, size: Size) -> bool {
    let start = out.len();
    let most = match size {
        Size::MustShrink => text.len().saturating_sub(1),
        // As generous as zlib's own bound for small windows.
        Size::MayGrow => text.len() + text.len() / 8 + text.len() / 64 + 64,
    };
    out.reserve_exact(most);
    let mut stream = Compress::new_with_window_bits(Compression::new(LEVEL), true, window_bits(text.len()));
    let done = matches!(stream.compress_vec(text, out, FlushCompress::Finish), Ok(Status::StreamEnd));
    if !done || out.len() - start > most {
        out.truncate(start);
        return false;
    }
    true
}

/// The smallest window that reaches across the whole message.
fn window_bits(len: usize) -> u8 {
    (9..15).find(|bits| len <= 1 << bits).unwrap_or(15)
}

/// Inflates exactly one zlib stream of at most `max` bytes. Never holds room for more than `max` + 1 of them.
pub(crate) fn inflate(stream: &[u8], max: usize) -> Result<Vec<u8>, LayerError> {
    let most = max.saturating_add(1);
    let mut state = Decompress::new(true);
    let mut out = Vec::with_capacity(stream.len().saturating_mul(4).clamp(256, FIRST_BYTES_MAX).min(most));
    let mut rest = stream;
    loop {
        let (taken_before, len_before) = (state.total_in(), out.len());
        let status = state.decompress_vec(rest, &mut out, FlushDecompress::None);
        let taken = usize::try_from(state.total_in() - taken_before).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        if out.len() > max {
            return Err(LayerError::TooBig { len: out.len(), max });
        }
        match status {
            Ok(Status::StreamEnd) if rest.is_empty() => return Ok(out),
            Ok(Status::Ok | Status::BufError) if out.len() == out.capacity() => {
                out.reserve_exact(out.len().min(most - out.len()));
            }
            Ok(Status::Ok) if taken > 0 || out.len() > len_before => {}
            _ => return Err(LayerError::Inflate),
        }
    }
}

/// First room for what comes out of a stream, at most; it doubles from there.
const FIRST_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{
        Compression,
        write::{DeflateEncoder, ZlibEncoder},
    };
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::secure::testing::{text, unhex};

    const LIMIT: usize = 1 << 20;

    fn data() -> Value {
        serde_json::from_str(include_str!("../../tests/data/deflated.json")).expect("the data file is json")
    }

    fn zlib(text: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(text).and_then(|()| encoder.finish()).expect("memory does not fail")
    }

    #[test]
    fn golden_streams_inflate_and_so_do_ours() {
        let data = data();
        let cases = data["good"].as_array().unwrap();
        assert_eq!(cases.len(), 7);
        for case in cases {
            let message = text(case, "text");
            assert_eq!(
                inflate(&unhex(text(case, "zlib")), LIMIT).as_deref(),
                Ok(message.as_bytes()),
                "{message}"
            );
            let mut own = Vec::new();
            assert!(deflate(message.as_bytes(), &mut own, Size::MayGrow));
            assert_eq!(inflate(&own, LIMIT).as_deref(), Ok(message.as_bytes()), "{message}");
        }
    }

    #[test]
    fn streams_that_are_none_close_with_their_code() {
        let data = data();
        assert_eq!(data["limit"], LIMIT);
        let cases = data["refused"].as_array().unwrap();
        assert_eq!(cases.len(), 7);
        for case in cases {
            let refused = inflate(&unhex(text(case, "zlib")), LIMIT).unwrap_err();
            assert_eq!(refused.close().code, case["close"], "{}", case["why"]);
        }
    }

    #[test]
    fn nothing_but_one_whole_stream_is_taken() {
        let good = zlib(br#"{"event":"status:check"}"#, 6);
        for cut in 0..good.len() {
            assert_eq!(inflate(&good[..cut], LIMIT), Err(LayerError::Inflate), "first {cut} bytes");
        }
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::new(6));
        raw.write_all(b"{}").unwrap();
        for (name, stream) in [
            ("a second stream", [good.as_slice(), &good].concat()),
            ("a line end behind", [good.as_slice(), b"\n"].concat()),
            ("a line end in front", [b"\n", good.as_slice()].concat()),
            ("no header", raw.finish().unwrap()),
            ("a preset dictionary", [&[0x78, 0xbb, 0, 0, 0, 1], &good[2..]].concat()),
            ("json", b"{}".to_vec()),
        ] {
            assert_eq!(inflate(&stream, LIMIT), Err(LayerError::Inflate), "{name}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit_whatever_it_holds() {
        for (name, level, size) in
            [("a thousandfold", 9, 16 << 20), ("stored", 0, 2 << 20), ("one over", 9, LIMIT + 1)]
        {
            let bomb = zlib(&vec![b' '; size], level);
            let refused = inflate(&bomb, LIMIT).unwrap_err();
            assert_eq!(refused, LayerError::TooBig { len: LIMIT + 1, max: LIMIT }, "{name}: stopped at once");
        }
        let exact = inflate(&zlib(&vec![b' '; LIMIT], 9), LIMIT).unwrap();
        assert!(exact.len() == LIMIT && exact.capacity() <= LIMIT + 1, "{} held", exact.capacity());
        assert_eq!(inflate(&zlib(b"", 6), 0).as_deref(), Ok(&b""[..]));
        assert_eq!(inflate(&zlib(b"x", 6), 0), Err(LayerError::TooBig { len: 1, max: 0 }));
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        let noise: Vec<u8> = (0..600_u32).flat_map(|n| spandrel_crypto::sha256(&n.to_le_bytes())).collect();
        let mut out = b"before".to_vec();
        assert!(!deflate(&noise, &mut out, Size::MustShrink));
        assert_eq!(out, b"before");
        assert!(deflate(&noise, &mut out, Size::MayGrow));
        assert_eq!(inflate(&out[6..], LIMIT), Ok(noise));
    }

    proptest! {
        /// Whatever is deflated inflates to itself, within a limit of its own length and not one below.
        #[test]
        fn prop_roundtrip_deflate(
            word in prop::collection::vec(any::<u8>(), 0..600),
            times in 1_usize..40,
            size in prop::sample::select(vec![Size::MustShrink, Size::MayGrow]),
        ) {
            let text = word.repeat(times);
            let mut stream = Vec::new();
            let done = deflate(&text, &mut stream, size);
            prop_assert!(done || size == Size::MustShrink);
            if done {
                prop_assert!(size == Size::MayGrow || stream.len() < text.len());
                let out = inflate(&stream, text.len()).unwrap();
                prop_assert!(out.capacity() <= (text.len() + 1).max(256));
                prop_assert_eq!(&out, &text);
                if let Some(max) = text.len().checked_sub(1) {
                    prop_assert_eq!(inflate(&stream, max), Err(LayerError::TooBig { len: text.len(), max }));
                }
            }
        }

        /// A flipped bit never gives another text: the stream is refused, or says the same in another way.
        #[test]
        fn prop_a_flipped_bit_never_changes_the_text(text in "[a-z]{1,80}", bit in any::<prop::sample::Index>()) {
            let mut stream = zlib(text.as_bytes(), 6);
            let bit = bit.index(stream.len() * 8);
            stream[bit / 8] ^= 1 << (bit % 8);
            let got = inflate(&stream, LIMIT);
            prop_assert!(got.is_err() || got == Ok(text.into_bytes()));
        }
    }
}
