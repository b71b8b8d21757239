//! Names of keys.

use std::{fmt, str::FromStr, sync::Arc};

/// The name of a key (`kid`): 1 to 32 of `A-Z a-z 0-9 _ -`. Public. Cloning counts a reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Arc<str>);

/// A text is no key id. Close a connection that names its key so with 4400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a key id of 1 to {max} characters from A-Z a-z 0-9 _ -", max = KeyId::LEN_MAX)]
pub struct KeyIdError;

impl KeyId {
    /// Most characters.
    pub const LEN_MAX: usize = 32;

    /// Checks a text.
    ///
    /// # Errors
    ///
    /// [`KeyIdError`] when it is empty, too long or has another character in it.
    pub fn new(text: &str) -> Result<Self, KeyIdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > Self::LEN_MAX || !text.bytes().all(allowed) {
            return Err(KeyIdError);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        Self::new(text)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_has_its_alphabet_and_length() {
        for (text, good) in [
            ("k1", true),
            ("-_09azAZ", true),
            (&"x".repeat(32), true),
            (&"x".repeat(33), false),
            ("", false),
            ("k.1", false),
            ("k 1", false),
            ("k1\n", false),
            ("ké", false),
        ] {
            assert_eq!(KeyId::new(text).is_ok(), good, "{text:?}");
        }
    }
}
