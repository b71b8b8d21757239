//! Follows frame headers beside the engine, to know what the engine does not tell: how many frames came, whether one is
//! under way, how much of it is missing, and in how many parts a message comes.

/// Walks over the bytes of a stream of frames without keeping them.
#[derive(Debug)]
pub(crate) struct Tracker {
    head: [u8; 14],
    head_len: usize,
    payload_left: u64,
    frames: u64,
    /// Parts of the message under way.
    fragments: usize,
    fragments_max: usize,
    is_mid_message: bool,
    /// Payload bytes of the message under way.
    held: u64,
    is_control: bool,
    is_over: bool,
    /// Longest payload announced since somebody asked.
    longest: u64,
}

impl Tracker {
    pub(crate) const fn new(fragments_max: usize) -> Self {
        Self {
            head: [0; 14],
            head_len: 0,
            payload_left: 0,
            frames: 0,
            fragments: 0,
            fragments_max,
            is_mid_message: false,
            held: 0,
            is_control: false,
            is_over: false,
            longest: 0,
        }
    }

    /// Looks at the next bytes and returns how many may go on to the engine: all of them, or those before the part that
    /// is one too many, and none after it.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !self.is_over {
            if self.payload_left > 0 {
                let n = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(rest.len());
                self.payload_left -= n as u64;
                if !self.is_control {
                    self.held += n as u64;
                }
                rest = rest.get(n..).unwrap_or_default();
                if self.payload_left > 0 {
                    return bytes.len();
                }
                self.frames += 1;
            }
            let Some((&byte, after)) = rest.split_first() else { return bytes.len() };
            rest = after;
            if let Some(slot) = self.head.get_mut(self.head_len) {
                *slot = byte;
                self.head_len += 1;
            }
            if self.head_len == head_bytes(self.head[1], self.head_len) {
                self.header();
                self.head_len = 0;
            }
            if self.is_over {
                // The header is never completed for the engine, so it waits.
                return (bytes.len() - rest.len()).saturating_sub(1);
            }
        }
        0
    }

    fn header(&mut self) {
        let [first, second, ..] = self.head;
        self.is_control = first & 0x0F >= 8;
        if !self.is_control {
            if !self.is_mid_message {
                self.held = 0;
            }
            self.fragments = if first & 0x0F == 0 { self.fragments + 1 } else { 1 };
            self.is_mid_message = first & 0x80 == 0;
            self.is_over = self.fragments > self.fragments_max;
        }
        let [_, _, a, b, c, d, e, f, g, h, ..] = self.head;
        self.payload_left = match second & 0x7F {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        };
        self.longest = self.longest.max(self.payload_left);
        if self.payload_left == 0 {
            self.frames += 1;
        }
    }

    /// Longest payload announced since [`forget_longest`](Self::forget_longest), in bytes.
    pub(crate) const fn longest(&self) -> u64 {
        self.longest
    }

    pub(crate) const fn forget_longest(&mut self) {
        self.longest = 0;
    }

    /// The limit, once a message came in more parts.
    pub(crate) fn over_limit(&self) -> Option<usize> {
        self.is_over.then_some(self.fragments_max)
    }

    /// Frames of any sort that came whole.
    pub(crate) const fn frames(&self) -> u64 {
        self.frames
    }

    /// Payload bytes of the message under way.
    pub(crate) fn held(&self) -> usize {
        if self.is_mid_message || (self.payload_left > 0 && !self.is_control) {
            usize::try_from(self.held).unwrap_or(usize::MAX)
        } else {
            0
        }
    }

    /// Bytes missing from the frame under way.
    pub(crate) fn missing(&self) -> usize {
        usize::try_from(self.payload_left).unwrap_or(usize::MAX)
    }

    pub(crate) const fn is_mid_frame(&self) -> bool {
        self.head_len > 0 || self.payload_left > 0
    }

    pub(crate) const fn is_mid_message(&self) -> bool {
        self.is_mid_frame() || self.is_mid_message
    }
}

/// Length of a header by its second byte; not reached while fewer than two bytes are there.
const fn head_bytes(second: u8, have: usize) -> usize {
    if have < 2 {
        return usize::MAX;
    }
    let length = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}
