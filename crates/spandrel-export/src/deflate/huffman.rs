//! Length-limited Huffman codes.

/// Codes of one alphabet of `N` symbols.
#[derive(Debug, Clone)]
pub(super) struct Codes<const N: usize> {
    pub(super) lengths: [u8; N],
    /// Code of each symbol as deflate writes it: first bit lowest.
    pub(super) codes: [u16; N],
}

impl<const N: usize> Codes<N> {
    /// Codes of at most `limit` bits for symbols seen `counts` times. At least two symbols get one, since some decoders
    /// refuse an alphabet of one code.
    pub(super) fn new(counts: &[u32; N], limit: u8) -> Self {
        let mut used: Vec<(u32, usize)> =
            counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(s, n)| (*n, s)).collect();
        let mut spare = 0;
        while used.len() < 2 {
            if used.iter().all(|(_, s)| *s != spare) {
                used.push((1, spare));
            }
            spare += 1;
        }
        used.sort_unstable();
        let mut per_length = depths(&used);
        shorten(&mut per_length, usize::from(limit));
        // The rarest symbols come first and get the longest codes.
        let mut lengths = [0; N];
        let mut symbols = used.iter();
        for (length, n) in per_length.iter().enumerate().rev() {
            for (_, symbol) in symbols.by_ref().take(*n as usize) {
                if let Some(slot) = lengths.get_mut(*symbol) {
                    *slot = u8::try_from(length).unwrap_or(limit);
                }
            }
        }
        Self::of_lengths(lengths)
    }

    /// The canonical codes of the given lengths (RFC 1951 section 3.2.2).
    pub(super) fn of_lengths(lengths: [u8; N]) -> Self {
        let mut per_length = [0_u16; 17];
        for length in lengths.iter().filter(|l| **l > 0) {
            if let Some(n) = per_length.get_mut(usize::from(*length)) {
                *n += 1;
            }
        }
        let mut next = [0_u16; 17];
        let mut code = 0_u16;
        for (slot, n) in next.iter_mut().skip(1).zip(per_length) {
            code = code.wrapping_add(n) << 1;
            *slot = code;
        }
        let mut codes = [0; N];
        for (code, length) in codes.iter_mut().zip(lengths).filter(|(_, l)| *l > 0) {
            if let Some(slot) = next.get_mut(usize::from(length)) {
                *code = slot.reverse_bits() >> (16 - u32::from(length));
                *slot = slot.wrapping_add(1);
            }
        }
        Self { lengths, codes }
    }

    /// The code of `symbol` above its length in the low byte; zero when it has none.
    pub(super) fn packed(&self, symbol: usize) -> u32 {
        match (self.codes.get(symbol), self.lengths.get(symbol)) {
            (Some(code), Some(length)) => u32::from(*code) << 8 | u32::from(*length),
            _ => 0,
        }
    }

    /// Bits that symbols seen `counts` times take.
    pub(super) fn cost(&self, counts: &[u32; N]) -> usize {
        counts.iter().zip(self.lengths).map(|(n, l)| *n as usize * usize::from(l)).sum()
    }
}

/// How many codes of each length an unlimited Huffman tree over `used` (rarest first, two or more) has.
fn depths(used: &[(u32, usize)]) -> [u32; 64] {
    // Leaves and inner nodes are two queues, both in rising order of weight. Leaf `i` is node `i`, inner nodes follow.
    let leaves = used.len();
    let mut weights: Vec<u64> = used.iter().map(|(n, _)| u64::from(*n)).collect();
    let mut parents = vec![0_usize; 2 * leaves];
    let (mut leaf, mut inner) = (0, leaves);
    for node in leaves..2 * leaves - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            let lightest = weights.get(leaf).filter(|_| leaf < leaves);
            let next = match (lightest, weights.get(inner)) {
                (Some(a), Some(b)) if a > b => &mut inner,
                (None, _) => &mut inner,
                _ => &mut leaf,
            };
            weight += weights.get(*next).copied().unwrap_or(0);
            if let Some(parent) = parents.get_mut(*next) {
                *parent = node;
            }
            *next += 1;
        }
        weights.push(weight);
    }
    // The root is the last node; every other stands before its parent.
    let mut depth = vec![0_usize; 2 * leaves - 1];
    let mut per_length = [0; 64];
    for node in (0..2 * leaves - 2).rev() {
        let above = parents.get(node).and_then(|p| depth.get(*p)).copied().unwrap_or(0);
        if let Some(slot) = depth.get_mut(node) {
            *slot = above + 1;
        }
        // Counts of 32 bits never give a tree as deep as the list is long.
        if node < leaves
            && let Some(n) = per_length.get_mut(above + 1)
        {
            *n += 1;
        }
    }
    per_length
}

/// Makes no code longer than `limit`, at a small loss: the code space that cut codes need is taken from the longest that
/// can give some.
fn shorten(per_length: &mut [u32; 64], limit: usize) {
    let (kept, over) = per_length.split_at_mut(limit + 1);
    let too_long: u32 = over.iter().sum();
    if too_long == 0 {
        return;
    }
    over.fill(0);
    if let Some(last) = kept.last_mut() {
        *last += too_long;
    }
    let space = 1_u64 << limit;
    let mut taken: u64 = kept.iter().enumerate().skip(1).map(|(l, n)| u64::from(*n) << (limit - l)).sum();
    while taken > space {
        // A code one bit shorter than the limit, or less, becomes two codes one bit longer: a place for one of the last.
        let Some(from) = (1..limit).rev().find(|l| kept.get(*l).is_some_and(|n| *n > 0)) else { return };
        for (length, change) in [(limit, -1), (from, -1), (from + 1, 2)] {
            if let Some(n) = kept.get_mut(length) {
                *n = n.saturating_add_signed(change);
            }
        }
        taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code space taken, in parts of 2^-15: a full code takes all.
    fn space<const N: usize>(codes: &Codes<N>) -> u32 {
        codes.lengths.iter().filter(|l| **l > 0).map(|l| 1 << (15 - l)).sum()
    }

    #[test]
    fn even_counts_give_even_codes() {
        let codes = Codes::new(&[7; 8], 15);
        assert_eq!(codes.lengths, [3; 8]);
        // First bit lowest: 1 is 001 and is written as 100.
        assert_eq!(codes.codes, [0, 4, 2, 6, 1, 5, 3, 7]);
    }

    #[test]
    fn lengths_follow_a_tree_worked_out_by_hand() {
        // 1+1=2, 2+2=4, 4+4=8, 8+8=16: each pair is as heavy as the next leaf.
        let codes = Codes::new(&[8, 1, 0, 4, 1, 2], 15);
        assert_eq!(codes.lengths, [1, 4, 0, 2, 4, 3]);
        assert_eq!(codes.cost(&[8, 1, 0, 4, 1, 2]), 8 + 4 + 8 + 4 + 6);
    }

    #[test]
    fn one_symbol_or_none_gets_company() {
        assert_eq!(Codes::new(&[0; 4], 15).lengths, [1, 1, 0, 0]);
        assert_eq!(Codes::new(&[0, 9, 0, 0], 15).lengths, [1, 1, 0, 0]);
        assert_eq!(Codes::new(&[5, 0, 0, 0], 15).lengths, [1, 1, 0, 0]);
    }

    proptest::proptest! {
        /// Codes are full, within the limit, and a symbol seen more often never has a longer one.
        #[test]
        fn prop_codes_are_full_and_limited(
            shape in proptest::collection::vec((0_u32..31, 0_u32..8), 19), limit in 5_u8..15,
        ) {
            let mut counts = [0; 19];
            for (count, (shift, n)) in counts.iter_mut().zip(shape) { *count = n << shift; }
            let codes = Codes::new(&counts, limit);
            proptest::prop_assert_eq!(space(&codes), 1 << 15);
            for (n, l) in counts.iter().zip(codes.lengths) {
                proptest::prop_assert!(l <= limit && (*n == 0 || l > 0));
                for (m, k) in counts.iter().zip(codes.lengths).filter(|(m, _)| *m > n && *n > 0) {
                    proptest::prop_assert!(k <= l, "{} of {} bits, {} of {}", m, k, n, l);
                }
            }
        }
    }
}
