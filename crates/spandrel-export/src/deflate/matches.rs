//! Repeated text.

/// RFC 1951: a match is at most 32,768 bytes back and 258 bytes long.
const WINDOW: usize = 32_768;
const LEN_MAX: usize = 258;
/// Two places for each of 4,096 hashes stay in the nearest cache; four times as many save 0.1 % of the file.
const HASH_BITS: u32 = 12;
/// The last bytes of a block are literals, so that words can be read without looking.
const TAIL: usize = 40;
/// Bytes whose matches are looked for together: a bit each.
const STRIDE: usize = 64;

/// Which matches are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Those of seven bytes that begin at no digit. A far match costs about as much as six digits.
    Fields,
    /// Those of five bytes, anywhere.
    Anywhere,
}

/// `literals` bytes as they are, then `len` bytes from `distance` back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sequence {
    pub(super) literals: usize,
    /// Zero where the block ends with literals.
    pub(super) len: u16,
    pub(super) distance: u16,
}

/// A block as literals and matches.
#[derive(Debug)]
pub(super) struct Sequences {
    all: Vec<Sequence>,
    /// The literals of all sequences side by side, then room that holds anything.
    literals: Vec<u8>,
    n_literals: usize,
}

/// Where text was last seen, by the hash of its first bytes.
#[derive(Debug)]
pub(super) struct Matches {
    /// The low halves of the two last places of each hash, the newest first.
    places: Box<[[u16; 2]; 1 << HASH_BITS]>,
}

impl Sequences {
    /// Room for blocks of up to `max` bytes.
    pub(super) fn new(max: usize) -> Self {
        Self { all: Vec::with_capacity(max / 16), literals: vec![0; max + STRIDE], n_literals: 0 }
    }

    pub(super) fn all(&self) -> &[Sequence] {
        &self.all
    }

    pub(super) fn literals(&self) -> &[u8] {
        self.literals.get(..self.n_literals).unwrap_or_default()
    }

    /// The literals and at least four bytes more.
    pub(super) fn literals_and_room(&self) -> &[u8] {
        &self.literals
    }

    fn clear(&mut self) {
        self.all.clear();
        self.n_literals = 0;
    }

    /// Adds the text from `from` to `here` as literals, then a match.
    #[expect(clippy::cast_possible_truncation, reason = "lengths end at 258, distances at 32,768")]
    #[inline(always)]
    fn push(&mut self, text: &[u8], from: usize, here: usize, len: usize, distance: usize) {
        let literals = here - from;
        self.all.push(Sequence { literals, len: len as u16, distance: distance as u16 });
        let room = self.literals.get_mut(self.n_literals..).unwrap_or_default();
        let text = text.get(from..).unwrap_or_default();
        // Few literals are copied with what follows them, which the next ones overwrite.
        if literals <= 32
            && let (Some(to), Some(bytes)) = (room.first_chunk_mut::<32>(), text.first_chunk())
        {
            *to = *bytes;
        } else if let (Some(to), Some(bytes)) = (room.get_mut(..literals), text.get(..literals)) {
            to.copy_from_slice(bytes);
        }
        self.n_literals += literals;
    }
}

impl Matches {
    pub(super) fn new() -> Self {
        Self { places: Box::new([[0; 2]; 1 << HASH_BITS]) }
    }

    /// Forgets all text.
    pub(super) fn clear(&mut self) {
        self.places.fill([0; 2]);
    }

    /// Finds the matches of `text` between `from` and `end`; they may reach back before `from`.
    pub(super) fn find(&mut self, look: Look, text: &[u8], from: usize, end: usize, found: &mut Sequences) {
        match look {
            Look::Fields => self.find_in::<true, 7>(text, from, end, found),
            Look::Anywhere => self.find_in::<false, 5>(text, from, end, found),
        }
    }

    /// Finds matches of at least `MIN` bytes, which begin in `FIELDS` at no digit.
    #[inline(never)]
    fn find_in<const FIELDS: bool, const MIN: usize>(
        &mut self,
        text: &[u8],
        from: usize,
        end: usize,
        found: &mut Sequences,
    ) {
        found.clear();
        let text = text.get(..end).unwrap_or_default();
        let last = end.saturating_sub(TAIL);
        let mut literals = from;
        let mut base = from;
        while base < last {
            let mut starts = if FIELDS { starts(text, base) } else { u64::MAX };
            let mut next = base + STRIDE;
            while starts != 0 {
                let here = base + starts.trailing_zeros() as usize;
                if here >= last {
                    break;
                }
                starts &= starts - 1;
                let (len, distance) = self.look::<MIN>(text, here);
                if len < MIN {
                    continue;
                }
                found.push(text, literals, here, len, distance);
                literals = here + len;
                if literals >= next {
                    next = literals;
                    break;
                }
                starts &= u64::MAX << (literals - base);
            }
            base = next;
        }
        if literals < end {
            found.push(text, literals, end, 0, 0);
        }
    }

    /// Length and distance of the longer match at `here` of the two known; no length when there is none.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "half of a place is kept: the window is half of its range"
    )]
    #[inline(always)]
    fn look<const MIN: usize>(&mut self, text: &[u8], here: usize) -> (usize, usize) {
        let first = word(text, here);
        let Some(places) = self.places.get_mut(hash(kept::<MIN>(first))) else { return (0, 0) };
        let low = here as u16;
        let [new, old] = *places;
        *places = [low, new];
        // What is older than 65,535 bytes comes out at a wrong place, and is compared like any other.
        let new = usize::from(low.wrapping_sub(new));
        let old = usize::from(low.wrapping_sub(old));
        let differs = |distance| kept::<MIN>(word(text, here.wrapping_sub(distance)) ^ first) != 0;
        if differs(new) & differs(old) {
            return (0, 0);
        }
        let (a, b) = (length(text, here, new), length(text, here, old));
        if b > a { (b, old) } else { (a, new) }
    }
}

/// How many bytes at `here` are those `distance` before; zero out of the window.
#[inline(always)]
fn length(text: &[u8], here: usize, distance: usize) -> usize {
    if distance.wrapping_sub(1) >= WINDOW || distance > here {
        return 0;
    }
    let len = same_32(text, here - distance, here);
    if len < 32 { len } else { long(text, here - distance, here) }
}

/// The same up to 32 bytes, without a branch: the length of a short match cannot be guessed.
#[inline(always)]
fn same_32(text: &[u8], place: usize, here: usize) -> usize {
    let block = |at: usize| text.get(at..).and_then(|t| t.first_chunk::<32>());
    let (Some(a), Some(b)) = (block(place), block(here)) else { return 0 };
    let mut len = 32;
    for i in [24, 16, 8, 0] {
        let differ = word(a, i) ^ word(b, i);
        len = if differ == 0 { len } else { i + (differ.trailing_zeros() / 8) as usize };
    }
    len
}

/// As [`same_32`], from there to the longest.
#[cold]
fn long(text: &[u8], place: usize, here: usize) -> usize {
    let max = LEN_MAX.min(text.len() - here);
    let mut len = 32;
    while len + 8 <= max {
        let differ = word(text, place + len) ^ word(text, here + len);
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    while len < max && text.get(place + len) == text.get(here + len) {
        len += 1;
    }
    len
}

#[inline(always)]
fn word(text: &[u8], at: usize) -> u64 {
    text.get(at..).and_then(|t| t.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

/// The bytes of a word that a match must have.
#[inline(always)]
fn kept<const MIN: usize>(word: u64) -> u64 {
    word << (64 - 8 * MIN)
}

#[inline(always)]
fn hash(word: u64) -> usize {
    (word.wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - HASH_BITS)) as usize
}

/// A bit for each of the bytes from `at` where a match may begin: all but `.`, `/` and digits. When there is none, the
/// first.
#[inline(always)]
fn starts(text: &[u8], at: usize) -> u64 {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut mask = 0;
    if let Some(bytes) = text.get(at..).and_then(|t| t.first_chunk::<STRIDE>()) {
        for (i, eight) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let bytes = u64::from_le_bytes(*eight);
            let low = bytes & !HIGH;
            // The sums carry into the highest bit from `.` on, and after `9`.
            let from_point = low + 0x5252_5252_5252_5252;
            let after_nine = low + 0x4646_4646_4646_4646;
            let starts = (!from_point | after_nine | bytes) & HIGH;
            // The product gathers the eight highest bits.
            mask |= ((starts >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
        }
    } else {
        for (i, byte) in text.iter().skip(at).take(STRIDE).enumerate() {
            mask |= u64::from(!matches!(byte, b'.'..=b'9')) << i;
        }
    }
    mask.max(1)
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "any byte will do")]
mod tests {
    use super::*;

    #[test]
    fn a_match_begins_at_no_digit() {
        let mut text: Vec<u8> = (0..=255).collect();
        text.extend_from_slice(
            b"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
        );
        for at in 0..text.len() {
            let mut expected = 0;
            for (i, byte) in text[at..].iter().take(64).enumerate() {
                expected |= u64::from(!b"./0123456789".contains(byte)) << i;
            }
            assert_eq!(starts(&text, at), expected.max(1), "from {at}");
        }
    }

    #[test]
    fn the_longer_of_two_places_wins_and_ends_where_the_text_differs() {
        for len in 0..300_usize {
            let mut text = b"first,".to_vec();
            text.extend((0..len).map(|i| (i * i % 26 + 97) as u8));
            text.extend_from_slice(b"!first,_");
            let here = text.len();
            text.extend_from_within(..6 + len);
            text.extend_from_slice(&[b'?'; 60]);
            assert_eq!(length(&text, here, here), (6 + len).min(LEN_MAX));
        }
    }

    #[test]
    fn places_out_of_the_window_are_left() {
        let mut text = b",abcdefghij,abcdefghij".to_vec();
        for (gap, expected) in [(WINDOW, 60), (WINDOW + 1, 0)] {
            text.resize(gap, b'1');
            text.extend_from_within(..60);
            text.extend_from_slice(&[b'?'; 60]);
            assert_eq!(length(&text, gap, gap), expected);
            text.truncate(22);
        }
    }
}
