//! What a bridge and its parent say to each other: one `{"key":…,"value":…}` per line.

mod parent;
mod report;

pub use parent::FromParent;
pub use report::{CloudMode, RunningMode, ToParent};

use std::sync::Arc;

use spandrel_socketio::Value;

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
    #[error("line of {len} bytes is not JSON: byte {at} cannot be there")]
    Syntax {
        /// First byte that cannot be there; the length of the line when it ends too early.
        at: usize,
        /// Bytes of the line.
        len: usize,
    },
}

/// Pairs browsers with a program: any text, told apart byte by byte. Cloning counts a reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(Arc<str>);

impl RoomId {
    /// The room a JSON value names: Unicode text that is not empty.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        parent::unicode_text(value).filter(|room| !room.is_empty()).map(Self::from)
    }

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
