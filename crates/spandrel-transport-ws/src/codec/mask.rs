//! Masks: what a client XORs its payloads with (RFC 6455 section 5.3).

use spandrel_transport::WireError;

/// Masks drawn in one call.
const DRAWN: usize = 32;

/// XORs `bytes`, the part of a payload that starts at its byte `at`. Doing it twice undoes it.
#[inline]
pub(crate) fn apply(bytes: &mut [u8], mut mask: [u8; 4], at: usize) {
    if mask == [0; 4] {
        return;
    }
    mask.rotate_left(at % 4);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, m) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= m;
    }
}

/// A supply of masks nobody can foresee, from the system's random bytes.
pub(crate) struct Masks {
    drawn: [u8; 4 * DRAWN],
    used: usize,
}

impl Masks {
    /// Makes an empty supply; the first mask asks the system.
    pub(crate) const fn new() -> Self {
        Self { drawn: [0; 4 * DRAWN], used: 4 * DRAWN }
    }

    /// Returns a mask never returned before.
    pub(crate) fn next(&mut self) -> Result<[u8; 4], WireError> {
        loop {
            if let Some((mask, _)) = self.drawn.get(self.used..).and_then(<[u8]>::split_first_chunk) {
                self.used += 4;
                return Ok(*mask);
            }
            getrandom::fill(&mut self.drawn)
                .map_err(|_| WireError::Unsupported("the system gives no random bytes for its mask"))?;
            self.used = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_differ_also_across_draws() {
        let mut masks = Masks::new();
        let drawn: std::collections::HashSet<_> = (0..10 * DRAWN).map(|_| masks.next().unwrap()).collect();
        assert!(drawn.len() > 10 * DRAWN - 3, "{} of {}: not random", drawn.len(), 10 * DRAWN);
    }

    proptest::proptest! {
        /// By words or by bytes, from any place on: byte i is XORed with byte i mod 4 of the mask.
        #[test]
        fn prop_words_agree_with_bytes(
            payload in proptest::collection::vec(proptest::num::u8::ANY, 0..100),
            mask: [u8; 4],
            cut in 0_usize..100,
        ) {
            let want: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
            let mut got = payload;
            let cut = cut.min(got.len());
            let (first, second) = got.split_at_mut(cut);
            apply(first, mask, 0);
            apply(second, mask, cut);
            proptest::prop_assert_eq!(got, want);
        }
    }
}
