//! One JSON value as raw text, with the attachments its placeholders name.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;

use crate::{JsonError, json};

/// Attachments of one packet as Engine.IO frames, the type byte 4 first; shared, so that passing them on copies nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attachments(Option<Arc<[Bytes]>>);

impl Attachments {
    /// Takes frames whose first byte is the type.
    pub(crate) fn from_frames(frames: Vec<Bytes>) -> Self {
        Self((!frames.is_empty()).then(|| frames.into()))
    }

    pub(crate) fn frames(&self) -> &[Bytes] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn get(&self, num: usize) -> Option<&[u8]> {
        self.frames().get(num)?.get(1..)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }
}

/// What a [`Value`] is, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number of any size and precision.
    Number,
    /// A string.
    Text,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// One JSON value, kept as the text it came in.
///
/// The text was checked once against RFC 8259 and is never read into a tree: numbers keep their digits, members their
/// order, and a lone surrogate such as `"\ud83d"` stays the escape it was. There is no white space around the value and
/// **no raw line feed or carriage return inside** (either is replaced by a space, which between tokens means the same),
/// so a value may be put into a line of a line protocol as it is.
///
/// Binary stands in the text as `{"_placeholder":true,"num":0}`; the value shares the attachments these name.
/// Cloning counts references. Two values are equal when their texts and attachments are, byte for byte.
#[derive(Clone)]
pub struct Value {
    json: Bytes,
    attachments: Attachments,
}

impl Value {
    /// Deepest nesting of arrays and objects.
    pub const DEPTH_MAX: usize = json::DEPTH_MAX;
    /// `null`.
    pub const NULL: Self = Self::constant("null");
    /// `true`.
    pub const TRUE: Self = Self::constant("true");
    /// `false`.
    pub const FALSE: Self = Self::constant("false");

    /// Checks a text and takes it, without copying unless it holds raw line breaks. White space around it goes.
    ///
    /// The caller answers for the text being UTF-8; where it is not, the methods that give `str` say `None`.
    ///
    /// # Errors
    ///
    /// [`JsonError`] when it is not exactly one JSON value, or nests deeper than [`Value::DEPTH_MAX`].
    pub fn parse(json: impl Into<Bytes>) -> Result<Self, JsonError> {
        let json = json.into();
        let checked = json::check_all(&json)?;
        let json = if checked.start == 0 && checked.end == json.len() {
            json
        } else {
            json.slice(checked.start..checked.end)
        };
        Ok(Self { json: without_line_breaks(json), attachments: Attachments::default() })
    }

    /// Makes a string value.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut out = Vec::with_capacity(text.len() + 2);
        json::write_string(text, &mut out);
        Self { json: out.into(), attachments: Attachments::default() }
    }

    /// Makes the object `{"name":value}`, the value's attachments included.
    #[must_use]
    pub fn wrapped(name: &str, value: &Self) -> Self {
        let mut out = Vec::with_capacity(name.len() + value.json.len() + 5);
        out.push(b'{');
        json::write_string(name, &mut out);
        out.push(b':');
        out.extend_from_slice(&value.json);
        out.push(b'}');
        Self { json: out.into(), attachments: value.attachments.clone() }
    }

    /// Makes the empty object `{}`.
    #[must_use]
    pub const fn empty_object() -> Self {
        Self::constant("{}")
    }

    /// Returns the text, UTF-8 without raw line breaks.
    #[must_use]
    pub const fn json(&self) -> &Bytes {
        &self.json
    }

    /// Returns the text as a string. Looks at every byte: keep the result.
    #[must_use]
    pub fn as_json_str(&self) -> &str {
        std::str::from_utf8(&self.json).unwrap_or("null")
    }

    /// Returns what sort of value this is.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self.json.first() {
            Some(b'{') => ValueKind::Object,
            Some(b'[') => ValueKind::Array,
            Some(b'"') => ValueKind::Text,
            Some(b't' | b'f') => ValueKind::Bool,
            Some(b'n') | None => ValueKind::Null,
            _ => ValueKind::Number,
        }
    }

    /// Is this `null`?
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.kind() == ValueKind::Null
    }

    /// Returns the member `name` of an object; of equal names the last, as `JSON.parse` does. `None` for other values.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Self> {
        let hits = json::Members::of(&self.json)?.filter(|(raw, ..)| json::raw_is(raw, name));
        let (_, start, end) = hits.last()?;
        Some(self.part(start, end))
    }

    /// Returns the elements of an array, none for other values.
    pub fn elements(&self) -> impl Iterator<Item = Self> + '_ {
        Elements::of(&self.json).map(|(start, end)| self.part(start, end))
    }

    /// Returns the decoded string, a lone surrogate as U+FFFD; `None` for other values.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match &self.json[..] {
            [b'"', raw @ .., b'"'] => json::unescape(raw),
            _ => None,
        }
    }

    /// Is this the string `text`?
    #[must_use]
    pub fn is_text(&self, text: &str) -> bool {
        matches!(&self.json[..], [b'"', raw @ .., b'"'] if json::raw_is(raw, text))
    }

    /// Returns a number that is a whole one from 0 to 2^64-1, written without fraction and exponent.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        std::str::from_utf8(&self.json).ok()?.parse().ok()
    }

    /// Does the packet this came in have attachments?
    #[must_use]
    pub fn has_attachments(&self) -> bool {
        !self.attachments.frames().is_empty()
    }

    /// Returns the attachments that the placeholders of this value count into; other values of the packet share them.
    pub fn attachments(&self) -> impl ExactSizeIterator<Item = Bytes> + '_ {
        self.attachments.frames().iter().map(|frame| frame.slice(1.min(frame.len())..))
    }

    /// Returns the text with each placeholder replaced by `{"type":"Buffer","data":[1,2,255]}`, as Node writes a buffer.
    ///
    /// Each attachment is written once: a placeholder that repeats a number, or names one that did not come, becomes
    /// `null`. No client sends such a thing, and it keeps the text under four times what came. Without attachments this
    /// is [`json`](Self::json), not copied.
    #[must_use]
    pub fn to_json_with_buffers(&self) -> Bytes {
        if !self.has_attachments() {
            return self.json.clone();
        }
        let mut written = vec![false; self.attachments.frames().len()];
        let mut out = Vec::with_capacity(self.json.len());
        replace_placeholders(&self.json, &mut out, |num, out| {
            let first = written.get_mut(num).is_some_and(|w| !std::mem::replace(w, true));
            match self.attachments.get(num).filter(|_| first) {
                Some(data) => write_buffer(data, out),
                None => out.extend_from_slice(b"null"),
            }
        });
        out.into()
    }

    /// Returns the bytes it keeps alive: text and attachments.
    pub(crate) fn len_bytes(&self) -> usize {
        self.attachments.frames().iter().fold(self.json.len(), |n, frame| n.saturating_add(frame.len()))
    }

    pub(crate) const fn attachment_list(&self) -> &Attachments {
        &self.attachments
    }

    /// Makes a value of a text that was checked and has no line breaks.
    pub(crate) const fn checked(json: Bytes, attachments: Attachments) -> Self {
        Self { json, attachments }
    }

    const fn constant(json: &'static str) -> Self {
        Self { json: Bytes::from_static(json.as_bytes()), attachments: Attachments(None) }
    }

    /// Takes a value out of this one, with the attachments of both.
    pub(crate) fn part(&self, start: usize, end: usize) -> Self {
        Self { json: self.json.slice(start..end), attachments: self.attachments.clone() }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json && self.attachments.frames() == other.attachments.frames()
    }
}

impl Eq for Value {}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        if value { Self::TRUE } else { Self::FALSE }
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        let mut out = Vec::with_capacity(20);
        json::write_number(value, &mut out);
        Self { json: out.into(), attachments: Attachments::default() }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json_str())
    }
}

/// Shows at most 200 bytes of the text.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.json.get(..200).unwrap_or(&self.json);
        write!(f, "Value({}", String::from_utf8_lossy(shown))?;
        if shown.len() < self.json.len() {
            write!(f, "... {} bytes", self.json.len())?;
        }
        match self.attachments.frames().len() {
            0 => f.write_str(")"),
            n => write!(f, ", {n} attachments)"),
        }
    }
}

/// Walks over the elements of a checked array: where each starts and ends.
#[derive(Debug, Clone)]
pub(crate) struct Elements<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Elements<'a> {
    /// Of a text that is no array: none.
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self { text, at: if text.first() == Some(&b'[') { 1 } else { text.len() } }
    }

    /// Of an array, those after the one that ends at `end`; with 0, as after none, none.
    pub(crate) fn after(text: &'a [u8], end: usize) -> Self {
        Self { text, at: if end == 0 { text.len() } else { end } }
    }
}

impl Iterator for Elements<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let mut at = json::white_end(self.text, self.at);
        if self.text.get(at) == Some(&b',') {
            at = json::white_end(self.text, at + 1);
        }
        if matches!(self.text.get(at), None | Some(b']')) {
            return None;
        }
        self.at = json::skip(self.text, at);
        Some((at, self.at))
    }
}

/// In valid JSON a raw line break stands between tokens only: a space means the same.
pub(crate) fn without_line_breaks(json: Bytes) -> Bytes {
    let Some(first) = memchr::memchr2(b'\n', b'\r', &json) else { return json };
    let mut copy = json.to_vec();
    for byte in copy.iter_mut().skip(first).filter(|b| matches!(b, b'\n' | b'\r')) {
        *byte = b' ';
    }
    copy.into()
}

/// Copies a checked text to `out`, handing each `{"_placeholder":true,"num":n}` to `replace` instead.
///
/// A placeholder holds no object or array, so only the innermost object has to be remembered.
pub(crate) fn replace_placeholders(
    text: &[u8],
    out: &mut Vec<u8>,
    mut replace: impl FnMut(usize, &mut Vec<u8>),
) {
    let (mut copied, mut at, mut flat) = (0, 0, None);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at = json::skip(text, at);
                continue;
            }
            b'{' => flat = Some(at),
            b'[' | b']' => flat = None,
            b'}' => {
                if let Some(start) = flat.take()
                    && let Some(num) = text.get(start..=at).and_then(placeholder)
                {
                    out.extend_from_slice(text.get(copied..start).unwrap_or_default());
                    replace(num, out);
                    copied = at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
}

/// The number of a placeholder; `None` for any other object.
fn placeholder(object: &[u8]) -> Option<usize> {
    let (mut marked, mut num) = (false, None);
    for (name, start, end) in json::Members::of(object)? {
        let value = object.get(start..end)?;
        if json::raw_is(name, "_placeholder") {
            marked = value == b"true";
        } else if json::raw_is(name, "num") {
            num = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
        }
    }
    num.filter(|_| marked)
}

fn write_buffer(data: &[u8], out: &mut Vec<u8>) {
    out.reserve(data.len() * 3 + 32);
    out.extend_from_slice(b"{\"type\":\"Buffer\",\"data\":[");
    for (i, &byte) in data.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if byte >= 100 {
            out.push(b'0' + byte / 100);
        }
        if byte >= 10 {
            out.push(b'0' + byte / 10 % 10);
        }
        out.push(b'0' + byte % 10);
    }
    out.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests;
