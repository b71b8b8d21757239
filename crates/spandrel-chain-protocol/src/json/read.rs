//! A pull reader: every byte is looked at once, strings are borrowed, nothing is built that nobody asked for.
//!
//! RFC 8259, and: integers are plain digits up to 2^53 - 1, a member stands there once, halves of surrogate pairs are
//! refused where the document is read to its end.

use std::borrow::Cow;

use super::INT_MAX;
use crate::hex::{self, Case};
use crate::{FormError, Limits};

/// Where reading stands in a text.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    depth_max: usize,
    /// The first escape that is half of a pair.
    surrogate: Option<usize>,
}

/// Reads a whole document. When `read` refuses it, the rest is still checked, so that the error tells what is no JSON
/// from what is JSON of another shape.
pub(crate) fn read_document<'a, T>(
    text: &'a str,
    limits: &Limits,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, FormError>,
) -> Result<T, FormError> {
    if text.len() > limits.document_bytes_max {
        return Err(FormError::TooLong { len: text.len(), max: limits.document_bytes_max });
    }
    let mut reader = Reader { text, at: 0, depth: 0, depth_max: limits.depth_max, surrogate: None };
    match read(&mut reader).and_then(|value| reader.end().map(|()| value)) {
        Ok(value) => match reader.surrogate {
            Some(at) => Err(FormError::Surrogate { at }),
            None => Ok(value),
        },
        Err(error) if error.is_json() => {
            let mut reader = Reader { text, at: 0, depth: 0, depth_max: limits.depth_max, surrogate: None };
            reader.skip().and_then(|_| reader.end())?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Fills the slot of a member that may stand there once.
pub(crate) fn once<T>(
    slot: &mut Option<T>,
    object: &'static str,
    member: &'static str,
    value: Result<T, FormError>,
) -> Result<(), FormError> {
    if slot.is_some() {
        return Err(FormError::Repeated { object, member: member.to_owned() });
    }
    *slot = Some(value?);
    Ok(())
}

/// Takes a member that has to be there.
pub(crate) fn need<T>(slot: Option<T>, object: &'static str, member: &'static str) -> Result<T, FormError> {
    slot.ok_or(FormError::Missing { object, member })
}

/// Bytes that end the plain part of a string.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const STOPS: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0);
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

#[expect(clippy::indexing_slicing, reason = "the table has an entry for every byte")]
fn is_stop(byte: u8) -> bool {
    STOPS[byte as usize]
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    const fn json<T>(&self, expected: &'static str) -> Result<T, FormError> {
        Err(FormError::Json { at: self.at, expected })
    }

    /// The next byte that is no white space, not taken.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), FormError> {
        if self.peek() != Some(byte) {
            return self.json(expected);
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), FormError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.json("end of text"),
        }
    }

    fn enter(&mut self) -> Result<(), FormError> {
        if self.depth >= self.depth_max {
            return Err(FormError::TooDeep { at: self.at, max: self.depth_max });
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Reads an object; `member` has to take the value of each key it is given.
    pub(crate) fn object(
        &mut self,
        what: &'static str,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), FormError>,
    ) -> Result<(), FormError> {
        if self.peek() != Some(b'{') {
            return Err(FormError::Type { member: what, want: "an object" });
        }
        self.enter()?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.json("name of a member");
            }
            let key = self.raw_string()?.text();
            self.take(b':', ":")?;
            member(self, key)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return self.json(", or }"),
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// Reads a list; `item` has to take each value.
    pub(crate) fn list(
        &mut self,
        what: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), FormError>,
    ) -> Result<(), FormError> {
        if self.peek() != Some(b'[') {
            return Err(FormError::Type { member: what, want: "a list" });
        }
        self.enter()?;
        if self.peek() == Some(b']') {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        loop {
            item(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return self.json(", or ]"),
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// Reads an integer of plain digits, at most 2^53 - 1.
    pub(crate) fn int(&mut self, member: &'static str) -> Result<u64, FormError> {
        const WANT: &str = "plain digits of an integer from 0 to 2^53 - 1";
        match self.peek() {
            Some(b'0'..=b'9') => {}
            Some(b'-') => {
                self.number()?;
                return Err(FormError::Value { member, want: WANT });
            }
            _ => return Err(FormError::Type { member, want: "a number" }),
        }
        let start = self.at;
        let mut value = 0_u64;
        for byte in self.rest() {
            if !byte.is_ascii_digit() {
                break;
            }
            value = value.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
            self.at += 1;
        }
        let goes_on = matches!(self.byte(), Some(b'.' | b'e' | b'E'));
        let has_leading_zero = self.at - start > 1 && self.text.as_bytes().get(start) == Some(&b'0');
        if !goes_on && !has_leading_zero && value <= INT_MAX {
            return Ok(value);
        }
        self.at = start;
        self.number()?; // "007" is no JSON: the 0 ends the number and what follows does not fit
        Err(FormError::Value { member, want: WANT })
    }

    /// Reads a string.
    pub(crate) fn string(&mut self, member: &'static str) -> Result<Cow<'a, str>, FormError> {
        if self.peek() != Some(b'"') {
            return Err(FormError::Type { member, want: "a string" });
        }
        Ok(self.raw_string()?.text())
    }

    /// Reads a string of exactly `2 * N` digits of one case.
    pub(crate) fn hex<const N: usize>(
        &mut self,
        member: &'static str,
        case: Case,
        want: &'static str,
    ) -> Result<[u8; N], FormError> {
        if self.peek() != Some(b'"') {
            return Err(FormError::Type { member, want: "a string" });
        }
        let mut bytes = [0; N];
        let (start, end) = (self.at + 1, self.at + 1 + 2 * N);
        let all = self.text.as_bytes();
        if all.get(end) == Some(&b'"')
            && all.get(start..end).is_some_and(|digits| hex::decode(digits, case, &mut bytes))
        {
            self.at = end + 1;
            return Ok(bytes);
        }
        // Escapes may spell digits too.
        let text = self.raw_string()?.text();
        if hex::decode(text.as_bytes(), case, &mut bytes) {
            return Ok(bytes);
        }
        Err(FormError::Value { member, want })
    }

    /// A second reader at the same place. What it finds of surrogates stays with it.
    pub(crate) const fn fork(&self) -> Self {
        Self { text: self.text, at: self.at, depth: self.depth, depth_max: self.depth_max, surrogate: None }
    }

    /// Takes any value and returns its text.
    pub(crate) fn skip(&mut self) -> Result<&'a str, FormError> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'{') => self.object("value", |reader, _| reader.skip().map(drop))?,
            Some(b'[') => self.list("value", |reader| reader.skip().map(drop))?,
            Some(b'"') => drop(self.raw_string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return self.json("a value"),
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// Takes a value that may nest only `depth_max` deep in itself.
    pub(crate) fn skip_shallow(&mut self, depth_max: usize) -> Result<&'a str, FormError> {
        let outer = self.depth_max;
        self.depth_max = outer.min(self.depth + depth_max);
        let skipped = self.skip();
        let is_own_bound = self.depth_max < outer;
        self.depth_max = outer;
        match skipped {
            Err(FormError::TooDeep { .. }) if is_own_bound => {
                Err(FormError::Value { member: "unknown member", want: "at most 16 brackets deep" })
            }
            other => other,
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), FormError> {
        if !self.rest().starts_with(word.as_bytes()) {
            return self.json("a value");
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), FormError> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.json("a digit"),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) {
        self.at += self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
    }

    fn some_digits(&mut self) -> Result<(), FormError> {
        let start = self.at;
        self.digits();
        if self.at == start { self.json("a digit") } else { Ok(()) }
    }

    /// Takes a string that starts here.
    fn raw_string(&mut self) -> Result<RawString<'a>, FormError> {
        self.at += 1;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            self.at += self.rest().iter().take_while(|byte| !is_stop(**byte)).count();
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                Some(_) => return self.json("no control character in a string"),
                None => return self.json("\" at the end of a string"),
            }
        }
        let inner = self.text.get(start..self.at).unwrap_or_default();
        self.at += 1;
        Ok(RawString { inner, has_escapes })
    }

    fn escape(&mut self) -> Result<(), FormError> {
        let start = self.at;
        match self.rest() {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
            [_, b'u', ..] => {
                let unit = self.unit()?;
                if (0xd800..0xdc00).contains(&unit) && self.rest().starts_with(b"\\u") {
                    let after_first = self.at;
                    if !(0xdc00..0xe000).contains(&self.unit()?) {
                        self.at = after_first;
                        self.surrogate.get_or_insert(start);
                    }
                } else if (0xd800..0xe000).contains(&unit) {
                    self.surrogate.get_or_insert(start);
                }
            }
            _ => return self.json("an escape"),
        }
        Ok(())
    }

    /// Takes `\uXXXX`.
    fn unit(&mut self) -> Result<u32, FormError> {
        let digits = self.text.as_bytes().get(self.at + 2..self.at + 6).unwrap_or_default();
        match hex_unit(digits) {
            Some(unit) => {
                self.at += 6;
                Ok(unit)
            }
            None => self.json("four digits after \\u"),
        }
    }
}

fn hex_unit(digits: &[u8]) -> Option<u32> {
    if digits.len() != 4 {
        return None;
    }
    digits.iter().try_fold(0, |unit, byte| Some(unit << 4 | char::from(*byte).to_digit(16)?))
}

/// A string between its quotes, its escapes checked.
#[derive(Debug, Clone, Copy)]
struct RawString<'a> {
    inner: &'a str,
    has_escapes: bool,
}

impl<'a> RawString<'a> {
    fn text(self) -> Cow<'a, str> {
        if self.has_escapes { Cow::Owned(unescape(self.inner)) } else { Cow::Borrowed(self.inner) }
    }
}

/// Writes out checked escapes. Half a pair becomes U+FFFD; the document is refused in the end.
pub(super) fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, after)) = rest.split_once('\\') {
        out.push_str(plain);
        let (letter, mut tail) = after.split_at_checked(1).unwrap_or((after, ""));
        out.push(match letter {
            "b" => '\u{8}',
            "f" => '\u{c}',
            "n" => '\n',
            "r" => '\r',
            "t" => '\t',
            "u" => unescape_unit(&mut tail),
            other => other.chars().next().unwrap_or('\\'),
        });
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn unescape_unit(tail: &mut &str) -> char {
    let take = |tail: &mut &str| {
        let (digits, rest) = tail.split_at_checked(4)?;
        let unit = hex_unit(digits.as_bytes())?;
        *tail = rest;
        Some(unit)
    };
    let Some(first) = take(tail) else { return char::REPLACEMENT_CHARACTER };
    if (0xd800..0xdc00).contains(&first) {
        let mut next = tail.strip_prefix("\\u").unwrap_or_default();
        if let Some(second @ 0xdc00..0xe000) = take(&mut next) {
            *tail = next;
            let point = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
    }
    char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
}
