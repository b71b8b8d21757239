//! Names of downloads and of requests (protocol sections 3 and 8.2).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ProtocolError;
use crate::error::shorten;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Name of a job: 128 random bits, written `dl_` and 22 base64url characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DownloadId([u8; 16]);

impl DownloadId {
    /// From 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads `dl_…`.
    ///
    /// # Errors
    ///
    /// Any other spelling, one with unused bits set included: an id has one spelling.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        Self::read(text).ok_or_else(|| ProtocolError::DownloadId(shorten(text)))
    }

    fn read(text: &str) -> Option<Self> {
        let body = text.strip_prefix("dl_")?;
        if body.len() != 22 {
            return None;
        }
        let mut bytes = [0_u8; 16];
        let mut out = bytes.iter_mut();
        let (mut bits, mut held) = (0_u32, 0_u32);
        for c in body.bytes() {
            let value = ALPHABET.iter().position(|a| *a == c)?;
            bits = (bits << 6) | u32::try_from(value).ok()?;
            held += 6;
            if held >= 8 {
                held -= 8;
                *out.next()? = u8::try_from((bits >> held) & 0xFF).ok()?;
                bits &= (1 << held) - 1;
            }
        }
        (bits == 0).then_some(Self(bytes))
    }
}

impl fmt::Display for DownloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dl_")?;
        for chunk in self.0.chunks(3) {
            let word = chunk.iter().fold(0_u32, |w, b| (w << 8) | u32::from(*b)) << (8 * (3 - chunk.len()));
            for i in 0..=chunk.len() {
                let six = usize::try_from((word >> (18 - 6 * i)) & 63).unwrap_or_default();
                let c = ALPHABET.get(six).copied().unwrap_or(b'A');
                fmt::Write::write_char(f, char::from(c))?;
            }
        }
        Ok(())
    }
}

impl FromStr for DownloadId {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Name of a request, chosen by the client: 1 to 64 characters of `[A-Za-z0-9._:-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Most characters, 64.
    pub const MAX_CHARS: usize = 64;
    /// What ids made by a server begin with.
    pub const SERVER_PREFIX: &'static str = "srv-";

    /// Reads an id chosen by a client.
    ///
    /// # Errors
    ///
    /// Empty, over 64 characters, another alphabet, or beginning with `srv-`.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        if !Self::is_well_formed(text) || text.starts_with(Self::SERVER_PREFIX) {
            return Err(ProtocolError::RequestId(shorten(text)));
        }
        Ok(Self(text.into()))
    }

    /// `srv-` and `suffix`, for what a server starts by itself; the suffix is unique on the server.
    pub fn server(suffix: u64) -> Self {
        Self(format!("srv-{suffix}").into())
    }

    /// Whether a server made it.
    pub fn is_server(&self) -> bool {
        self.0.starts_with(Self::SERVER_PREFIX)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_well_formed(text: &str) -> bool {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(allowed)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RequestId {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for DownloadId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DownloadId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    /// Ids made by a server included: they stand in records and events.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if Self::is_well_formed(&text) {
            return Ok(Self(text.into()));
        }
        Err(de::Error::custom(ProtocolError::RequestId(shorten(&text))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn download_ids_have_one_spelling() {
        let zero = DownloadId::from_bytes([0; 16]);
        assert_eq!(zero.to_string(), "dl_AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(DownloadId::from_bytes([0xFF; 16]).to_string(), "dl______________________w");
        for bad in [
            "",
            "dl_",
            "AAAAAAAAAAAAAAAAAAAAAAAAA",
            "dl_AAAAAAAAAAAAAAAAAAAAAB",
            "dl_AAAAAAAAAAAAAAAAAAAAA=",
            "dl_AAAAAAAAAAAAAAAAAAAAA",
            "dl_AAAAAAAAAAAAAAAAAAAAAAA",
            "dl_AAAAAAAAAA+AAAAAAAAAAA",
            "DL_AAAAAAAAAAAAAAAAAAAAAA",
            "dl_AAAAAAAAAAAAAAAAAAAAé",
        ] {
            assert!(DownloadId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn request_ids_follow_the_envelope_rule() {
        for (text, good) in [
            ("a", true),
            ("A.b_c:d-9", true),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
            ("", false),
            ("a b", false),
            ("srv-1", false),
            ("SRV-1", true),
            ("é", false),
        ] {
            assert_eq!(RequestId::parse(text).is_ok(), good, "{text:?}");
        }
        assert_eq!(RequestId::server(7).as_str(), "srv-7");
        assert!(serde_json::from_str::<RequestId>("\"srv-7\"").unwrap().is_server());
    }

    proptest! {
        /// An id reads back as written, and only as written.
        #[test]
        fn prop_roundtrip_download_ids(bytes: [u8; 16]) {
            let id = DownloadId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().len(), 25);
            prop_assert_eq!(DownloadId::parse(&id.to_string()), Ok(id));
        }

        /// Reading never panics, and what reads prints the same.
        #[test]
        fn prop_never_panics_on_any_text(text in "dl_[A-Za-z0-9_=+-]{20,23}|.{0,40}") {
            if let Ok(id) = DownloadId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
