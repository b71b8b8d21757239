//! What a bridge and its parent say to each other: one `{"key":…,"value":…}` per line.

mod json;
mod parent;
mod report;

pub use json::Json;
pub use parent::FromParent;
pub use report::{CloudMode, RunningMode, ToParent};

use std::sync::Arc;

/// A line of the parent that is no message. Skip it, log once, go on: the next line is not affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// Nothing in it.
    #[error("line is empty, expected a JSON object with a key")]
    Empty,
    /// Not UTF-8.
    #[error("line is not UTF-8 at byte {at}, expected JSON text")]
    Utf8 {
        /// First bad byte.
        at: usize,
    },
    /// Not JSON.
    #[error("line of {len} bytes is not JSON: broken at byte {at}")]
    Syntax {
        /// Where reading stopped, in bytes from the start of what was read.
        at: usize,
        /// Bytes read.
        len: usize,
    },
}

/// Pairs browsers with a program: any text, told apart byte by byte. Cloning counts a reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(Arc<str>);

impl RoomId {
    /// The text as it came, percent-decoded where it came in a query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RoomId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for RoomId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl std::borrow::Borrow<str> for RoomId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RoomId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
