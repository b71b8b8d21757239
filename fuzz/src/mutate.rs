//! Blind mutations from a generator that is told its seed: equal seeds give equal inputs.

/// The longest input a mutation makes: long enough to pass every small buffer, short enough to be printed.
pub const INPUT_BYTES_MAX: usize = 4096;

/// Edges of the types and grammars that the targets read.
const WORDS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"+1",
    b"255",
    b"256",
    b"65535",
    b"65536",
    b"2147483648",
    b"4294967296",
    b"9007199254740993",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1e999",
    b"-0",
    b"0.1",
    b"00",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"[[[[[[[[",
    b"}}}}",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\"\":",
    b",",
    b":",
    b";",
    b"=",
    b"==",
    b"&",
    b"%00",
    b"%2e%2e",
    b"../",
    b"//",
    b"://",
    b"@",
    b"[::1]",
    b"127.0.0.1",
    b"localhost",
    b"*",
    b"\r\n",
    b"\n",
    b"\0",
    b" ",
    b"\t",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x78\x9c",
];

/// Draws mutations of seeds (xorshift64*).
#[derive(Debug, Clone)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// Starts from `seed`; 0 counts as 1, since the generator has no way out of 0.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: if seed == 0 { 1 } else { seed } }
    }

    /// Makes the next input: one of `seeds`, changed in 1 to 8 places. Empty without seeds.
    pub fn next_input(&mut self, seeds: &[&[u8]]) -> Vec<u8> {
        let mut input = self.pick(seeds).unwrap_or_default().to_vec();
        for _ in 0..=self.below(8) {
            self.change(&mut input, seeds);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[&[u8]]) {
        let (from, to) = self.span(input.len());
        let piece: Vec<u8> = match self.below(9) {
            0 => {
                let bit = 1 << self.below(8);
                if let Some(byte) = input.get_mut(from) {
                    *byte ^= bit;
                }
                return;
            }
            1 => return input.truncate(from),
            2 => Vec::new(),
            3 => vec![self.byte()],
            4 => (0..=self.below(16)).map(|_| self.byte()).collect(),
            5 => input.get(from..to).unwrap_or_default().repeat(2 + self.below(3)),
            6 => {
                let other = self.pick(seeds).unwrap_or_default();
                let (from, to) = self.span(other.len());
                other.get(from..to).unwrap_or_default().to_vec()
            }
            7 => vec![b'0' + u8::try_from(self.below(10)).unwrap_or(0)],
            _ => self.pick(WORDS).unwrap_or_default().to_vec(),
        };
        // Half of the time the piece goes in beside what is there, half of the time in its place.
        let to = if self.below(2) == 0 { from } else { to };
        input.splice(from..to, piece);
        input.truncate(INPUT_BYTES_MAX);
    }

    /// A span of a text of `len` bytes, mostly short; `from <= to <= len`.
    fn span(&mut self, len: usize) -> (usize, usize) {
        let from = self.below(len + 1);
        let most = if self.below(4) == 0 { len } else { 4 };
        let to = from + self.below(most.min(len - from) + 1);
        (from, to)
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> Option<&'a [u8]> {
        from.get(self.below(from.len())).copied()
    }

    /// A number below `n`; 0 when `n` is 0.
    fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.draw() % n).unwrap_or(0)
    }

    const fn byte(&mut self) -> u8 {
        self.draw().to_be_bytes()[0]
    }

    const fn draw(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: &[&[u8]] = &[b"", b"bytes=0-1", b"\xff\x00"];

    #[test]
    fn equal_seeds_give_equal_inputs() {
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..1000).map(|_| mutator.next_input(SEEDS)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
        assert_eq!(inputs(0), inputs(1));
    }

    #[test]
    fn inputs_differ_and_stay_below_the_limit() {
        let long = vec![b'x'; INPUT_BYTES_MAX];
        let mut mutator = Mutator::new(1);
        let inputs: Vec<_> = (0..2000).map(|_| mutator.next_input(&[&long, b"y"])).collect();
        assert!(inputs.iter().all(|input| input.len() <= INPUT_BYTES_MAX));
        let different: std::collections::HashSet<_> = inputs.iter().collect();
        assert!(different.len() > 1500, "{} different", different.len());
        assert!(Mutator::new(1).next_input(&[]).len() <= INPUT_BYTES_MAX, "no seeds");
    }
}
