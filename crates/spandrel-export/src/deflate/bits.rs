//! Bits into bytes, lowest first.

/// RFC 1951 section 3.2.4: a stored block holds at most 65,535 bytes.
pub(super) const STORED_MAX: usize = 65_535;

/// Writes bits at the end of a byte vector.
pub(super) struct Bits<'a> {
    out: &'a mut Vec<u8>,
    /// Bits not written yet; fewer than eight between calls.
    pending: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, pending: 0, count: 0 }
    }

    /// Appends the low `count` (at most 56) bits of `value`, which has no others.
    pub(super) fn put(&mut self, value: u64, count: u32) {
        self.pending |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.out.push(self.pending.to_le_bytes()[0]);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// Appends blocks that hold `text` as it is, at least one; the last ends on a byte border.
    pub(super) fn stored(&mut self, text: &[u8]) {
        let mut rest = text;
        loop {
            let (part, after) = rest.split_at(rest.len().min(STORED_MAX));
            self.put(0, 3);
            self.put(0, (8 - self.count) % 8);
            let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
            self.out.extend_from_slice(&len.to_le_bytes());
            self.out.extend_from_slice(&(!len).to_le_bytes());
            self.out.extend_from_slice(part);
            rest = after;
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Lets `write` append exactly `count` bits by a [`Run`], whose slots are ready.
    pub(super) fn run(&mut self, count: usize, write: impl FnOnce(&mut Run<'_>)) {
        let start = self.out.len();
        // One word more, since a run writes whole words.
        self.out.resize(start + count.div_ceil(8) + 16, 0);
        let slots = self.out.get_mut(start..).unwrap_or_default();
        let mut run = Run { slots, at: 0, pending: self.pending, count: self.count };
        write(&mut run);
        run.flush();
        let Run { at, pending, count: left, .. } = run;
        debug_assert_eq!(8 * at + left as usize, count + self.count as usize, "bits counted and written");
        self.out.truncate(start + at);
        (self.pending, self.count) = (pending, left);
    }
}

/// Many bits in a row, written a word at a time.
pub(super) struct Run<'a> {
    slots: &'a mut [u8],
    at: usize,
    pending: u64,
    count: u32,
}

impl Run<'_> {
    /// Takes the low `count` bits of `value`; between flushes 56 bits fit.
    #[inline(always)]
    pub(super) fn put(&mut self, value: u64, count: u32) {
        self.pending |= value << self.count;
        self.count += count;
    }

    /// Takes bits whose value is above their count.
    #[inline(always)]
    pub(super) fn put_packed(&mut self, bits: u32) {
        self.put(u64::from(bits >> 8), bits & 0xff);
    }

    /// Writes the whole bytes taken so far.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        if let Some(word) = self.slots.get_mut(self.at..).and_then(|s| s.first_chunk_mut()) {
            *word = self.pending.to_le_bytes();
        }
        self.at += (self.count >> 3) as usize;
        self.pending >>= self.count & !7;
        self.count &= 7;
    }
}
