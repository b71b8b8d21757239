//! Writing in one form: no white space, members in the family's order, strings as JavaScript writes them.

use crate::hex::{self, Case};

/// Where text goes: into bytes, or into a number when only its length is asked for. One writer serves both, so the two
/// cannot disagree.
pub(crate) trait Sink {
    /// Text as it is.
    fn put(&mut self, text: &[u8]);
    /// Digits of bytes, without quotes.
    fn put_hex(&mut self, bytes: &[u8], case: Case);

    /// An integer in decimal.
    fn put_int(&mut self, value: u64) {
        let mut digits = [0; 20];
        self.put(decimal(value, &mut digits));
    }

    /// A string with its quotes.
    fn put_string(&mut self, text: &str) {
        self.put(b"\"");
        let bytes = text.as_bytes();
        let mut start = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if !matches!(byte, b'"' | b'\\' | 0..0x20) {
                continue;
            }
            self.put(bytes.get(start..at).unwrap_or_default());
            start = at + 1;
            match byte {
                b'"' => self.put(b"\\\""),
                b'\\' => self.put(b"\\\\"),
                b'\n' => self.put(b"\\n"),
                b'\r' => self.put(b"\\r"),
                b'\t' => self.put(b"\\t"),
                0x08 => self.put(b"\\b"),
                0x0c => self.put(b"\\f"),
                other => {
                    self.put(b"\\u00");
                    self.put_hex(&[*other], Case::Lower);
                }
            }
        }
        self.put(bytes.get(start..).unwrap_or_default());
        self.put(b"\"");
    }

    /// A string of digits with its quotes.
    fn put_hex_string(&mut self, bytes: &[u8], case: Case) {
        self.put(b"\"");
        self.put_hex(bytes, case);
        self.put(b"\"");
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, text: &[u8]) {
        self.extend_from_slice(text);
    }

    fn put_hex(&mut self, bytes: &[u8], case: Case) {
        hex::push(bytes, case, self);
    }
}

/// Counts bytes of text.
#[derive(Debug, Default)]
pub(crate) struct Count(pub(crate) usize);

impl Sink for Count {
    fn put(&mut self, text: &[u8]) {
        self.0 += text.len();
    }

    fn put_hex(&mut self, bytes: &[u8], _: Case) {
        self.0 += bytes.len() * 2;
    }
}

/// Writes a list with its brackets.
pub(crate) fn put_list<S: Sink, T>(
    out: &mut S,
    items: impl Iterator<Item = T>,
    mut put: impl FnMut(&mut S, T),
) {
    out.put(b"[");
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.put(b",");
        }
        put(out, item);
    }
    out.put(b"]");
}

/// The decimal digits of an integer.
pub(crate) fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut used = 0;
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
        used = place + 1;
        if value == 0 {
            break;
        }
    }
    digits.get(20 - used..).unwrap_or_default()
}
