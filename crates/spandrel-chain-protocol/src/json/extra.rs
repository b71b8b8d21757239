//! Members nobody here knows: kept for those who do, never hashed.

use std::borrow::Cow;

use super::{EXTRA_DEPTH_MAX, EXTRA_MEMBERS_MAX, Reader, Sink, read};
use crate::FormError;

/// The unknown members of one object, in the order they came, written in one form.
///
/// Two texts of the same members give equal values: white space is dropped and strings are escaped as JavaScript does.
/// Numbers keep their spelling.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Extra(Option<Box<str>>);

impl Extra {
    /// No unknown members.
    pub const NONE: Self = Self(None);

    /// Are there none?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The members as they stand in the object, `"name":value` joined by commas. Empty when there are none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Writes them after the known members.
    pub(crate) fn put(&self, out: &mut impl Sink) {
        if let Some(members) = &self.0 {
            out.put(b",");
            out.put(members.as_bytes());
        }
    }
}

/// Unknown members while their object is read.
#[derive(Debug, Default)]
pub(crate) struct Unknown<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Unknown<'a> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes the value of an unknown member.
    pub(crate) fn keep(&mut self, reader: &mut Reader<'a>, key: Cow<'a, str>) -> Result<(), FormError> {
        if self.0.len() >= EXTRA_MEMBERS_MAX {
            return Err(FormError::Value { member: "unknown members", want: "at most 64 in an object" });
        }
        let value = reader.skip_shallow(EXTRA_DEPTH_MAX)?;
        self.0.push((key, value));
        Ok(())
    }

    /// Refuses repeated names and writes the rest in one form.
    pub(crate) fn finish(self, object: &'static str) -> Result<Extra, FormError> {
        if self.0.is_empty() {
            return Ok(Extra::NONE);
        }
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        if let Some([twice, _]) = names.array_windows().find(|[a, b]| a == b) {
            return Err(FormError::Repeated { object, member: twice.chars().take(40).collect() });
        }
        let mut text = Vec::new();
        for (at, (name, value)) in self.0.iter().enumerate() {
            if at > 0 {
                text.put(b",");
            }
            text.put_string(name);
            text.put(b":");
            put_value(value, &mut text);
        }
        Ok(Extra(String::from_utf8(text).ok().map(String::into_boxed_str)))
    }
}

/// Writes a checked value without white space, its strings in one form.
fn put_value(value: &str, out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some((outside, after)) = rest.split_once('"') {
        put_outside(outside, out);
        let end = string_end(after);
        let (inner, after) = after.split_at_checked(end).unwrap_or((after, ""));
        out.put_string(&read::unescape(inner));
        rest = after.get(1..).unwrap_or_default();
    }
    put_outside(rest, out);
}

fn put_outside(text: &str, out: &mut Vec<u8>) {
    out.extend(text.bytes().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')));
}

/// Where the string that `text` continues has its closing quote.
fn string_end(text: &str) -> usize {
    let mut is_escaped = false;
    text.bytes()
        .position(|byte| match byte {
            _ if is_escaped => {
                is_escaped = false;
                false
            }
            b'\\' => {
                is_escaped = true;
                false
            }
            other => other == b'"',
        })
        .unwrap_or(text.len())
}
