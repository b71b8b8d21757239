//! Reads JSON without building a tree: is it valid, where does it end, where is a member.
//!
//! Iterative: nesting costs one bit a level of a fixed 1,024, so neither stack nor heap follows a hostile text. Every
//! function looks at each byte a fixed number of times.

use std::{borrow::Cow, cmp::Ordering};

use crate::JsonError;

/// Deepest nesting of a text. What reads our lines may be recursive, and no message nests a hundredth of this.
pub(crate) const DEPTH_MAX: usize = 1024;

/// A value that was found valid, in bytes of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The first two values directly inside, as far as there are any: an event's name and its argument.
    pub(crate) parts: [(usize, usize); 2],
}

/// Checks the value that starts at `at` (white space before it allowed).
pub(crate) fn check(text: &[u8], at: usize) -> Result<Checked, JsonError> {
    let mut reader = Reader { text, at };
    reader.white();
    let start = reader.at;
    let mut open = Open::default();
    let mut parts = Parts::default();
    loop {
        // A value stands here.
        parts.starts(open.depth, reader.at);
        match reader.peek() {
            Some(b'"') => reader.string()?,
            Some(b'{') => {
                reader.at += 1;
                reader.white();
                if !reader.take(b'}') {
                    reader.open(&mut open, true)?;
                    reader.key()?;
                    continue;
                }
            }
            Some(b'[') => {
                reader.at += 1;
                reader.white();
                if !reader.take(b']') {
                    reader.open(&mut open, false)?;
                    continue;
                }
            }
            Some(b'-' | b'0'..=b'9') => reader.number()?,
            Some(b't') => reader.word(b"true")?,
            Some(b'f') => reader.word(b"false")?,
            Some(b'n') => reader.word(b"null")?,
            _ => return reader.fault(),
        }
        // A value has ended: close what it ends, up to the next comma.
        loop {
            let Some(is_object) = open.top() else {
                return Ok(Checked { start, end: reader.at, parts: parts.found });
            };
            parts.ends(open.depth, reader.at);
            reader.white();
            if reader.take(b',') {
                reader.white();
                if is_object {
                    reader.key()?;
                }
                break;
            }
            if !reader.take(if is_object { b'}' } else { b']' }) {
                return reader.fault();
            }
            open.pop();
        }
    }
}

/// Checks that `text` is one value with nothing but white space around it.
pub(crate) fn check_all(text: &[u8]) -> Result<Checked, JsonError> {
    let checked = check(text, 0)?;
    let mut reader = Reader { text, at: checked.end };
    reader.white();
    if reader.at == text.len() { Ok(checked) } else { reader.fault() }
}

/// Remembers where the first values inside the outermost one are.
#[derive(Default)]
struct Parts {
    found: [(usize, usize); 2],
    count: usize,
}

impl Parts {
    fn starts(&mut self, depth: usize, at: usize) {
        if depth == 1
            && let Some(part) = self.found.get_mut(self.count)
        {
            part.0 = at;
        }
    }

    fn ends(&mut self, depth: usize, at: usize) {
        if depth == 1
            && let Some(part) = self.found.get_mut(self.count)
        {
            part.1 = at;
            self.count += 1;
        }
    }
}

/// Returns where the white space from `at` on ends.
pub(crate) fn white_end(text: &[u8], at: usize) -> usize {
    let mut reader = Reader { text, at };
    reader.white();
    reader.at
}

/// Returns where the value that starts at `at` ends, in a text that [`check`] has passed.
pub(crate) fn skip(text: &[u8], at: usize) -> usize {
    let mut at = at;
    let mut depth = 0_usize;
    while let Some(&byte) = text.get(at) {
        at = match byte {
            b'"' => string_end(text, at),
            b'{' | b'[' => {
                depth += 1;
                at + 1
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at + 1
            }
            b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => {
                at += 1;
                continue;
            }
            _ => scalar_end(text, at),
        };
        if depth == 0 {
            return at;
        }
    }
    at
}

/// Returns the end of the string that starts at `at`, in a checked text.
fn string_end(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        at = plain_end(text, at);
        match text.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return text.len(),
        }
    }
}

fn scalar_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let len = rest
        .iter()
        .position(|b| matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r' | b':'))
        .unwrap_or(rest.len());
    at + len.max(1)
}

/// Walks over the members of a checked object: raw name without quotes, start and end of the value.
#[derive(Debug, Clone)]
pub(crate) struct Members<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Members<'a> {
    /// `None` when the text does not start with `{`.
    pub(crate) fn of(text: &'a [u8]) -> Option<Self> {
        (text.first() == Some(&b'{')).then_some(Self { text, at: 1 })
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let mut at = white_end(self.text, self.at);
        if self.text.get(at) == Some(&b',') {
            at = white_end(self.text, at + 1);
        }
        if self.text.get(at) != Some(&b'"') {
            return None;
        }
        let name_end = string_end(self.text, at);
        let name = self.text.get(at + 1..name_end.saturating_sub(1))?;
        let colon = white_end(self.text, name_end);
        let start = white_end(self.text, colon + 1);
        let end = skip(self.text, start);
        self.at = end;
        Some((name, start, end))
    }
}

/// Is the raw inside of a checked string this text?
pub(crate) fn raw_is(raw: &[u8], text: &str) -> bool {
    // Every escape is longer than what it stands for.
    match raw.len().cmp(&text.len()) {
        Ordering::Less => false,
        Ordering::Equal => raw == text.as_bytes() && !raw.contains(&b'\\'),
        Ordering::Greater => raw.contains(&b'\\') && unescape(raw).as_deref() == Some(text),
    }
}

/// Decodes the raw inside of a checked string; a lone surrogate becomes U+FFFD. `None` when it is not UTF-8.
pub(crate) fn unescape(raw: &[u8]) -> Option<Cow<'_, str>> {
    let Some(first) = memchr::memchr(b'\\', raw) else {
        return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
    };
    let mut out = String::with_capacity(raw.len());
    let (mut from, mut at) = (0, first);
    loop {
        out.push_str(std::str::from_utf8(raw.get(from..at)?).ok()?);
        let (c, len) = escape(raw.get(at..)?)?;
        out.push(c);
        from = at + len;
        match memchr::memchr(b'\\', raw.get(from..)?) {
            Some(n) => at = from + n,
            None => break,
        }
    }
    out.push_str(std::str::from_utf8(raw.get(from..)?).ok()?);
    Some(Cow::Owned(out))
}

/// Decodes the escape at the start of `raw` and returns how many bytes it takes.
fn escape(raw: &[u8]) -> Option<(char, usize)> {
    let c = match raw.get(1)? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return Some(unicode_escape(raw)),
        other => char::from(*other),
    };
    Some((c, 2))
}

fn unicode_escape(raw: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let digits = raw.get(at..at + 6).filter(|d| d.starts_with(b"\\u"))?.get(2..)?;
        digits.iter().try_fold(0_u32, |n, d| Some(n << 4 | char::from(*d).to_digit(16)?))
    };
    let Some(first) = unit(0) else { return (char::REPLACEMENT_CHARACTER, 6) };
    if let (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) = (first, unit(6)) {
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

/// Appends `text` as a JSON string. Lines stay whole: control characters are escaped.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    out.push(b'"');
}

/// Appends the decimal digits of `n`.
pub(crate) fn write_number(n: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut left = n;
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        used += 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// Open brackets, one bit each: 1 for an object, the innermost of each word in its bit 0.
#[derive(Default)]
struct Open {
    words: [u64; DEPTH_MAX / 64],
    depth: usize,
}

impl Open {
    /// `None` beyond [`DEPTH_MAX`].
    fn push(&mut self, is_object: bool) -> Option<()> {
        let word = self.words.get_mut(self.depth / 64)?;
        *word = *word << 1 | u64::from(is_object);
        self.depth += 1;
        Some(())
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if let Some(word) = self.words.get_mut(self.depth / 64) {
            *word >>= 1;
        }
    }

    /// Is the innermost an object? `None` when nothing is open.
    fn top(&self) -> Option<bool> {
        let innermost = self.depth.checked_sub(1)?;
        self.words.get(innermost / 64).map(|word| word & 1 == 1)
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fault<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Syntax { at: self.at })
    }

    fn open(&self, open: &mut Open, is_object: bool) -> Result<(), JsonError> {
        open.push(is_object).ok_or(JsonError::TooDeep { at: self.at, max: DEPTH_MAX })
    }

    fn white(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }

    /// A member's name and colon, up to its value.
    fn key(&mut self) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return self.fault();
        }
        self.string()?;
        self.white();
        if !self.take(b':') {
            return self.fault();
        }
        self.white();
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return self.fault();
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.fault();
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    /// The string whose quote stands here.
    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            self.at = plain_end(self.text, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                _ => return self.fault(),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|b| b.is_ascii_hexdigit()) {
                        return self.fault();
                    }
                    self.at += 1;
                }
            }
            _ => return self.fault(),
        }
        Ok(())
    }
}

/// Where the bytes of a string from `at` on meet a quote, a backslash, a control character or the end.
///
/// Strings here are short or full of escapes: single bytes first, then blocks, which become vector code.
#[inline]
fn plain_end(text: &[u8], at: usize) -> usize {
    let mut at = at;
    let mut near = text.get(at..).unwrap_or_default();
    if let Some((head, rest)) = near.split_first_chunk::<BLOCK>() {
        if let Some(n) = head.iter().position(is_special) {
            return at + n;
        }
        let blocks = rest.as_chunks::<BLOCK>().0.iter();
        at += BLOCK
            * (1 + blocks
                .take_while(|block| !block.iter().fold(false, |hit, b| hit | is_special(b)))
                .count());
        near = text.get(at..).unwrap_or_default();
    }
    at + near.iter().position(is_special).unwrap_or(near.len())
}

const BLOCK: usize = 32;

#[inline]
fn is_special(byte: &u8) -> bool {
    // Not `||`: a jump for each byte is no vector code.
    (*byte == b'"') | (*byte == b'\\') | (*byte < 0x20)
}

#[cfg(test)]
pub(crate) mod tests;
