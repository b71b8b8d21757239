//! Names of jobs and of who owns them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const PREFIX: &str = "dl_";
/// Base64url characters of 128 bits.
const DIGITS: usize = 22;

/// Name of a job: `dl_` and 22 base64url characters holding 128 random bits.
///
/// The text form is the only spelling: the four unused bits of the last character are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(u128);

impl JobId {
    /// From 16 bytes of the system's random source.
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        f.write_str(PREFIX)?;
        for digit in 0..DIGITS {
            // Six bits a character, the highest first; the last one holds two bits and four zeros.
            let six = match 122_usize.checked_sub(digit * 6) {
                Some(shift) => (self.0 >> shift) & 63,
                None => (self.0 << 4) & 63,
            };
            let at = usize::try_from(six).unwrap_or_default();
            f.write_char(char::from(ALPHABET.get(at).copied().unwrap_or(b'A')))?;
        }
        Ok(())
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a job name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job id is dl_ and 22 base64url characters")]
pub struct JobIdError;

impl FromStr for JobId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, JobIdError> {
        let digits = text.strip_prefix(PREFIX).ok_or(JobIdError)?.as_bytes();
        let (last, head) = digits.split_last().ok_or(JobIdError)?;
        if head.len() + 1 != DIGITS {
            return Err(JobIdError);
        }
        let six = |c: &u8| ALPHABET.iter().position(|a| a == c).and_then(|at| u128::try_from(at).ok());
        let mut bits = 0_u128;
        for c in head {
            bits = (bits << 6) | six(c).ok_or(JobIdError)?;
        }
        let tail = six(last).filter(|t| t & 15 == 0).ok_or(JobIdError)?;
        Ok(Self((bits << 2) | (tail >> 4)))
    }
}

impl TryFrom<String> for JobId {
    type Error = JobIdError;

    fn try_from(text: String) -> Result<Self, JobIdError> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

/// Who owns a job. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Principal(Arc<str>);

impl Principal {
    /// A principal called `name`.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Everybody, when nobody has to say who they are.
    pub fn anonymous() -> Self {
        Self::new("anonymous")
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Principal {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_the_form_are_refused() {
        for (name, text) in [
            ("empty", ""),
            ("no prefix", "AAAAAAAAAAAAAAAAAAAAAA"),
            ("short", "dl_AAAAAAAAAAAAAAAAAAAAA"),
            ("long", "dl_AAAAAAAAAAAAAAAAAAAAAAA"),
            ("padding", "dl_AAAAAAAAAAAAAAAAAAAAA="),
            ("unused bits", "dl_AAAAAAAAAAAAAAAAAAAAAB"),
            ("slash", "dl_AAAAAAAAAA/AAAAAAAAAAA"),
            ("not ascii", "dl_AAAAAAAAAAAAAAAAAAAA\u{e9}"),
        ] {
            assert_eq!(text.parse::<JobId>(), Err(JobIdError), "{name}");
        }
        assert_eq!("dl_AAAAAAAAAAAAAAAAAAAAAA".parse(), Ok(JobId::from_random([0; 16])));
        assert_eq!(JobId::from_random([255; 16]).to_string(), "dl______________________w");
    }

    proptest::proptest! {
        /// Every id reads back from its text, and the text is 25 characters.
        #[test]
        fn prop_roundtrip_id(bytes: [u8; 16]) {
            let id = JobId::from_random(bytes);
            let text = id.to_string();
            proptest::prop_assert_eq!(text.len(), 25);
            proptest::prop_assert_eq!(text.parse::<JobId>(), Ok(id));
        }

        /// Text that is taken for an id prints as itself: there is one spelling.
        #[test]
        fn prop_one_spelling(text in "dl_[A-Za-z0-9_-]{22}") {
            if let Ok(id) = text.parse::<JobId>() {
                proptest::prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
