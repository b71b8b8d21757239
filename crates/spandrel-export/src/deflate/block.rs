//! One block: counts, codes, header, data; or as it is when that is shorter.

use super::bits::{Bits, Run, STORED_MAX};
use super::huffman::Codes;
use super::matches::Sequences;

/// Bytes, the end of the block, lengths; two have a fixed code but no use.
const LITERALS: usize = 288;
const DISTANCES: usize = 30;
const END: usize = 256;
/// Four literals and what is left of a byte fit into 64 bits.
const LITERAL_BITS: u8 = 14;
const DISTANCE_BITS: u8 = 15;

/// Symbols seen in a block.
struct Counts {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// Bits after length and distance symbols.
    extra: usize,
}

/// Appends one block that is not final: `text`, which is `sequences`, in the shortest of the three ways.
pub(super) fn write(text: &[u8], sequences: &Sequences, bits: &mut Bits<'_>) {
    let counts = count(sequences);
    let own = Coding::new(&counts);
    let (fixed_literals, fixed_distances) = (fixed_literals(), Codes::of_lengths([5; DISTANCES]));
    let fixed = counts.cost(&fixed_literals, &fixed_distances);
    let stored = 8 * text.len() + 40 * text.len().div_ceil(STORED_MAX);
    if stored <= fixed.min(own.header.bits + own.data) {
        bits.stored(text);
    } else if fixed <= own.header.bits + own.data {
        bits.put(0b010, 3);
        data(sequences, fixed, &Tables::new(&fixed_literals, &fixed_distances), bits);
    } else {
        bits.put(0b100, 3);
        own.header.write(bits);
        data(sequences, own.data, &Tables::new(&own.literals, &own.distances), bits);
    }
}

/// Bits of a block of `sequences` with codes of its own.
pub(super) fn cost(sequences: &Sequences) -> usize {
    let own = Coding::new(&count(sequences));
    own.header.bits + own.data
}

/// The best codes for a block, and the bits they take.
struct Coding {
    literals: Codes<LITERALS>,
    distances: Codes<DISTANCES>,
    header: Header,
    data: usize,
}

impl Coding {
    fn new(counts: &Counts) -> Self {
        let literals = Codes::new(&counts.literals, LITERAL_BITS);
        let distances = Codes::new(&counts.distances, DISTANCE_BITS);
        let header = Header::new(&literals, &distances);
        let data = counts.cost(&literals, &distances);
        Self { literals, distances, header, data }
    }
}

impl Counts {
    fn cost(&self, literals: &Codes<LITERALS>, distances: &Codes<DISTANCES>) -> usize {
        literals.cost(&self.literals) + distances.cost(&self.distances) + self.extra
    }
}

fn fixed_literals() -> Codes<LITERALS> {
    let mut lengths = [8; LITERALS];
    for (symbol, length) in lengths.iter_mut().enumerate() {
        *length = match symbol {
            0..144 => 8,
            144..256 => 9,
            256..280 => 7,
            _ => 8,
        };
    }
    Codes::of_lengths(lengths)
}

#[expect(clippy::indexing_slicing, reason = "a byte finds its place among 256, a length symbol among 288")]
#[inline(never)]
fn count(sequences: &Sequences) -> Counts {
    let mut bytes = [[0_u32; 256]; 4];
    let mut lens = [0_u32; 259];
    let mut distances = [0_u32; DISTANCES];
    let mut extra = 0;
    let [b0, b1, b2, b3] = &mut bytes;
    let (fours, last) = sequences.literals().as_chunks::<4>();
    for [a, b, c, d] in fours {
        b0[usize::from(*a)] += 1;
        b1[usize::from(*b)] += 1;
        b2[usize::from(*c)] += 1;
        b3[usize::from(*d)] += 1;
    }
    for a in last {
        b0[usize::from(*a)] += 1;
    }
    for sequence in sequences.all() {
        if sequence.len > 0 {
            if let Some(n) = lens.get_mut(usize::from(sequence.len)) {
                *n += 1;
            }
            let (symbol, more) = distance_symbol(sequence.distance);
            if let Some(n) = distances.get_mut(symbol) {
                *n += 1;
            }
            extra += more as usize;
        }
    }
    let mut literals = [0_u32; LITERALS];
    for bytes in &bytes {
        for (sum, n) in literals.iter_mut().zip(bytes) {
            *sum += n;
        }
    }
    literals[END] = 1;
    for (len, n) in lens.iter().enumerate().skip(3) {
        let (symbol, _, more) = length_symbol(len);
        literals[symbol] += n;
        extra += *n as usize * more as usize;
    }
    Counts { literals, distances, extra }
}

/// The symbol of a length, its extra bits and how many.
#[expect(clippy::cast_possible_truncation, reason = "at most five bits")]
fn length_symbol(len: usize) -> (usize, u32, u32) {
    if len == 258 {
        return (285, 0, 0);
    }
    let x = len.saturating_sub(3);
    if x < 8 {
        return (257 + x, 0, 0);
    }
    let more = x.ilog2() - 2;
    (257 + 4 * more as usize + (x >> more), (x & ((1 << more) - 1)) as u32, more)
}

/// The symbol of a distance and how many extra bits it has; these are the low bits of `distance - 1`.
#[inline(always)]
fn distance_symbol(distance: u16) -> (usize, u32) {
    let x = u32::from(distance.wrapping_sub(1));
    if x < 2 {
        return (x as usize, 0);
    }
    let more = x.ilog2() - 1;
    ((2 * more + (x >> more)) as usize, more)
}

/// What to write for each byte, length and distance symbol: the bits above, their count in the low byte.
struct Tables {
    bytes: [u32; 256],
    /// With the extra bits: at most 19.
    lens: [u32; 259],
    distances: [u32; 32],
    end: u32,
}

impl Tables {
    fn new(literals: &Codes<LITERALS>, distances: &Codes<DISTANCES>) -> Self {
        let mut tables =
            Self { bytes: [0; 256], lens: [0; 259], distances: [0; 32], end: literals.packed(END) };
        for (symbol, slot) in tables.bytes.iter_mut().enumerate() {
            *slot = literals.packed(symbol);
        }
        for (len, slot) in tables.lens.iter_mut().enumerate().skip(3) {
            let (symbol, value, more) = length_symbol(len);
            let code = literals.packed(symbol);
            *slot = code + (value << (8 + (code & 0xff))) + more;
        }
        for (symbol, slot) in tables.distances.iter_mut().enumerate() {
            *slot = distances.packed(symbol);
        }
        tables
    }
}

#[inline(never)]
fn data(sequences: &Sequences, count: usize, tables: &Tables, bits: &mut Bits<'_>) {
    bits.run(count, |run| {
        let mut rest = sequences.literals_and_room();
        for sequence in sequences.all() {
            write_literals(rest, sequence.literals, &tables.bytes, run);
            rest = rest.get(sequence.literals..).unwrap_or_default();
            if sequence.len > 0 {
                run.put_packed(tables.lens.get(usize::from(sequence.len)).copied().unwrap_or(0));
                let (symbol, more) = distance_symbol(sequence.distance);
                run.put_packed(tables.distances.get(symbol).copied().unwrap_or(0));
                let x = u64::from(sequence.distance.wrapping_sub(1));
                run.put(x & ((1 << more) - 1), more);
                run.flush();
            }
        }
        run.put_packed(tables.end);
    });
}

#[inline(always)]
fn write_literals(literals: &[u8], n: usize, codes: &[u32; 256], run: &mut Run<'_>) {
    let mut rest = literals;
    let mut n = n;
    while n >= 4 {
        let (Some(four), Some(after)) = (rest.first_chunk(), rest.get(4..)) else { return };
        let (value, counts) = four_codes(four, codes);
        run.put(value, counts & 0xff);
        run.flush();
        rest = after;
        n -= 4;
    }
    // Up to three more without a branch, since how many cannot be guessed.
    let Some(four) = rest.first_chunk() else { return };
    let (value, counts) = four_codes(four, codes);
    let count = (u64::from(counts) >> (32 - 8 * n) & 0xff) as u32;
    run.put(value & ((1 << count) - 1), count);
    run.flush();
}

/// The codes of four bytes, and how many bits the first one, two, three and four of them take, from the highest byte on.
#[expect(clippy::indexing_slicing, reason = "a byte finds its place among 256")]
#[inline(always)]
fn four_codes(four: &[u8; 4], codes: &[u32; 256]) -> (u64, u32) {
    let [a, b, c, d] = *four;
    let (a, b) = (codes[usize::from(a)], codes[usize::from(b)]);
    let (c, d) = (codes[usize::from(c)], codes[usize::from(d)]);
    let one = a & 0xff;
    let two = one + (b & 0xff);
    let three = two + (c & 0xff);
    let value =
        u64::from(a >> 8) | u64::from(b >> 8) << one | u64::from(c >> 8) << two | u64::from(d >> 8) << three;
    (value, one << 24 | two << 16 | three << 8 | (three + (d & 0xff)))
}

/// The code lengths of a block as run lengths with codes of their own (RFC 1951 section 3.2.7).
struct Header {
    literals: usize,
    distances: usize,
    /// Symbol, extra bits.
    runs: Vec<(u8, u64)>,
    codes: Codes<19>,
    /// Code lengths of the code length alphabet that are written.
    kept: usize,
    bits: usize,
}

const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

impl Header {
    fn new(literals: &Codes<LITERALS>, distances: &Codes<DISTANCES>) -> Self {
        let n_literals = used(&literals.lengths).max(257);
        let n_distances = used(&distances.lengths).max(1);
        let mut lengths = literals.lengths.get(..n_literals).unwrap_or_default().to_vec();
        lengths.extend(distances.lengths.iter().take(n_distances));
        let runs = run_lengths(&lengths);
        let mut counts = [0_u32; 19];
        for (symbol, _) in &runs {
            if let Some(n) = counts.get_mut(usize::from(*symbol)) {
                *n += 1;
            }
        }
        let codes = Codes::new(&counts, 7);
        let kept = ORDER
            .iter()
            .rposition(|s| codes.lengths.get(*s).is_some_and(|l| *l > 0))
            .map_or(4, |n| n + 1)
            .max(4);
        let extra: usize = runs.iter().map(|(symbol, _)| extra_bits(*symbol) as usize).sum();
        let bits = 14 + 3 * kept + codes.cost(&counts) + extra;
        Self { literals: n_literals, distances: n_distances, runs, codes, kept, bits }
    }

    fn write(&self, bits: &mut Bits<'_>) {
        bits.put((self.literals - 257) as u64, 5);
        bits.put((self.distances - 1) as u64, 5);
        bits.put((self.kept - 4) as u64, 4);
        for symbol in ORDER.iter().take(self.kept) {
            bits.put(self.codes.lengths.get(*symbol).copied().unwrap_or(0).into(), 3);
        }
        for (symbol, extra) in &self.runs {
            let at = usize::from(*symbol);
            let (Some(code), Some(length)) = (self.codes.codes.get(at), self.codes.lengths.get(at)) else {
                continue;
            };
            bits.put(u64::from(*code), u32::from(*length));
            bits.put(*extra, extra_bits(*symbol));
        }
    }
}

fn used(lengths: &[u8]) -> usize {
    lengths.iter().rposition(|l| *l > 0).map_or(0, |n| n + 1)
}

fn extra_bits(symbol: u8) -> u32 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

fn run_lengths(lengths: &[u8]) -> Vec<(u8, u64)> {
    let mut runs = Vec::new();
    for same in lengths.chunk_by(|a, b| a == b) {
        let Some(length) = same.first() else { continue };
        let mut n = same.len();
        if *length == 0 {
            while n >= 3 {
                let take = n.min(138);
                runs.push(if take < 11 { (17, take as u64 - 3) } else { (18, take as u64 - 11) });
                n -= take;
            }
        } else {
            runs.push((*length, 0));
            n -= 1;
            while n >= 3 {
                let take = n.min(6);
                runs.push((16, take as u64 - 3));
                n -= take;
            }
        }
        runs.extend(std::iter::repeat_n((*length, 0), n));
    }
    runs
}
