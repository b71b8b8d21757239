//! One JSON value as text, never as a tree.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::LineError;

/// One JSON value as it was written: valid JSON, valid UTF-8, without white space around it. Cloning counts a reference.
///
/// Numbers keep their digits and objects the order of their members. An escape may name half a surrogate pair.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Json(Bytes);

impl Json {
    /// Looks at every byte once and keeps them; no tree is made, and nesting costs a bit per level.
    ///
    /// # Errors
    ///
    /// [`LineError`] when the bytes are not exactly one JSON value, white space around it allowed.
    pub fn parse(bytes: &Bytes) -> Result<Self, LineError> {
        let raw = check(bytes)?;
        Ok(Self(bytes.slice_ref(raw.get().as_bytes())))
    }

    /// Takes bytes that the caller knows to be one JSON value, as the packet decoder of the socket side does.
    ///
    /// A broken promise makes no memory unsafe, but the other side will be told what is no JSON.
    #[must_use]
    pub fn from_checked(bytes: Bytes) -> Self {
        debug_assert!(check(&bytes).is_ok(), "promised to be one JSON value");
        Self(bytes)
    }

    /// A JSON string of this text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(Bytes::from(quoted(text)))
    }

    /// The text of the value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("null")
    }

    /// The bytes of the value.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes of the value.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The text of a JSON string, escapes undone. `None` for every other value, and for a string that is no Unicode text
    /// (half a surrogate pair).
    #[must_use]
    pub fn to_text(&self) -> Option<Cow<'_, str>> {
        text_of(self.as_str())
    }
}

pub(super) fn check(bytes: &[u8]) -> Result<&RawValue, LineError> {
    if bytes.trim_ascii().is_empty() {
        return Err(LineError::Empty);
    }
    match serde_json::from_slice(bytes) {
        Ok(raw) => Ok(raw),
        Err(error) => Err(explain(bytes, &error)),
    }
}

pub(super) fn explain(bytes: &[u8], error: &serde_json::Error) -> LineError {
    if let Err(error) = std::str::from_utf8(bytes) {
        return LineError::Utf8 { at: error.valid_up_to() };
    }
    // The reader counts lines; white space between tokens may hold some.
    let before: usize =
        bytes.split(|b| *b == b'\n').take(error.line().saturating_sub(1)).map(|line| line.len() + 1).sum();
    LineError::Syntax { at: (before + error.column()).min(bytes.len()), len: bytes.len() }
}

/// Undoes the quotes and escapes of a JSON string, if it is one.
pub(super) fn text_of(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(json).ok().map(Cow::Owned)
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_one_value_is_refused_with_its_place() {
        for (name, bytes, want) in [
            ("nothing", &b""[..], LineError::Empty),
            ("white space", b" \t ", LineError::Empty),
            ("cut", b"{\"a\":", LineError::Syntax { at: 5, len: 5 }),
            ("two values", b"1 2", LineError::Syntax { at: 3, len: 3 }),
            ("bad word", b"[1,\nnul]", LineError::Syntax { at: 8, len: 8 }),
            ("bare control", b"\"a\x01\"", LineError::Syntax { at: 2, len: 4 }),
            ("not UTF-8", b"\"a\xff\"", LineError::Utf8 { at: 2 }),
            ("number with a zero before", b"01", LineError::Syntax { at: 2, len: 2 }),
        ] {
            assert_eq!(Json::parse(&Bytes::from_static(bytes)), Err(want), "{name}");
        }
    }

    #[test]
    fn values_stay_as_they_are_written() {
        for text in
            [r#""\ud83d""#, "12345678901234567890.10e+07", r#"{"b":1,"a":[ 2 ],"b":3}"#, "null", "\"😀\""]
        {
            let padded = Bytes::from(format!(" {text}\r"));
            assert_eq!(Json::parse(&padded).unwrap().as_str(), text);
        }
    }

    #[test]
    fn deep_nesting_is_walked_without_recursion() {
        let deep = Bytes::from("[".repeat(1_000_000) + &"]".repeat(1_000_000));
        assert_eq!(Json::parse(&deep).unwrap().as_bytes().len(), 2_000_000);
    }

    #[test]
    fn text_is_undone_only_where_it_is_text() {
        for (json, want) in [
            (r#""a""#, Some("a")),
            (r#""\u0061\n""#, Some("a\n")),
            (r#""\ud83d""#, None),
            ("1", None),
            ("\"", None),
        ] {
            assert_eq!(text_of(json).as_deref(), want, "{json}");
        }
        assert_eq!(Json::text("a\n\"é").to_text().as_deref(), Some("a\n\"é"));
    }
}
