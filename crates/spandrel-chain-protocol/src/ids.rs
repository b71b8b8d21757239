//! Hashes, accounts and keys: bytes inside, digits of one case outside.

use std::fmt;
use std::str::FromStr;

use crate::FormError;
use crate::hex::{self, Case};
use crate::json::{Reader, Sink};

/// A text is not the digits it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{want} expected")]
pub struct DigitsError {
    want: &'static str,
}

macro_rules! digits {
    ($(#[$doc:meta])* $name:ident, $len:literal, $case:ident, $want:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Wraps the bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            #[allow(dead_code, reason = "not every kind of digits stands in a text")]
            pub(crate) fn read(reader: &mut Reader<'_>, member: &'static str) -> Result<Self, FormError> {
                reader.hex(member, Case::$case, $want).map(Self)
            }

            #[allow(dead_code, reason = "not every kind of digits stands in a text")]
            pub(crate) fn put(&self, out: &mut impl Sink) {
                out.put_hex(&self.0, Case::$case);
            }

            #[allow(dead_code, reason = "not every kind of digits stands in a text")]
            pub(crate) fn put_string(&self, out: &mut impl Sink) {
                out.put_hex_string(&self.0, Case::$case);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&hex::string(&self.0, Case::$case))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = DigitsError;

            fn from_str(text: &str) -> Result<Self, DigitsError> {
                let mut bytes = [0; $len];
                if hex::decode(text.as_bytes(), Case::$case, &mut bytes) {
                    Ok(Self(bytes))
                } else {
                    Err(DigitsError { want: $want })
                }
            }
        }
    };
}

digits! {
    /// The hash of a block: 64 lower-case digits.
    BlockHash, 32, Lower, "64 lower-case hexadecimal digits"
}
digits! {
    /// The root over the data of a block: 64 upper-case digits.
    MerkleRoot, 32, Upper, "64 upper-case hexadecimal digits"
}
digits! {
    /// The identifier of a transaction, wire name `hash` or `txOutId`: 64 lower-case digits. It covers neither the
    /// spent rows nor the signatures, so two rows can share one.
    Txid, 32, Lower, "64 lower-case hexadecimal digits"
}
digits! {
    /// The message a receipt signs, which also names the receipt: a chain takes each once.
    ReceiptId, 32, Lower, "64 lower-case hexadecimal digits"
}
digits! {
    /// The commitment to everything of a body that the identifiers leave out.
    BodyCommitment, 32, Lower, "64 lower-case hexadecimal digits"
}
digits! {
    /// Who owns an output: the last 40 digits of a compressed public key.
    Account, 20, Lower, "40 lower-case hexadecimal digits"
}
digits! {
    /// A compressed public key on secp256k1: 66 lower-case digits. Whether it is on the curve is for a verifier to say.
    PublicKey, 33, Lower, "66 lower-case hexadecimal digits"
}

impl BlockHash {
    /// What the first block of a chain names as its parent.
    pub const ZERO: Self = Self([0; 32]);

    /// Counts the zero bits before the first one, 0 to 256.
    #[must_use]
    pub fn leading_zero_bits(&self) -> u32 {
        let mut bits = 0;
        for byte in self.0 {
            bits += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        bits
    }

    /// Has the hash the zero bits a difficulty asks for?
    #[must_use]
    pub fn meets(&self, difficulty: crate::Difficulty) -> bool {
        self.leading_zero_bits() >= u32::from(difficulty.bits())
    }
}

impl PublicKey {
    /// The account that this key owns.
    #[must_use]
    pub fn account(&self) -> Account {
        let mut account = [0; 20];
        account.copy_from_slice(self.0.last_chunk::<20>().unwrap_or(&[0; 20]));
        Account(account)
    }
}

/// A signature as it stands in a text: DER in lower-case digits when it is well written, any other string otherwise.
///
/// Only [`der`](Self::der) can be checked; the rest is kept because older programs put anything here, and the body
/// commitment covers it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SignatureText(Written);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Written {
    Der { len: u8, bytes: [u8; DER_BYTES_MAX] },
    Text(Box<str>),
}

/// The longest DER form of a signature on a curve of 256 bits.
pub const DER_BYTES_MAX: usize = 72;

impl SignatureText {
    /// Reads what stands between the quotes.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut bytes = [0; DER_BYTES_MAX];
        let is_der = bytes
            .get_mut(..text.len() / 2)
            .is_some_and(|into| hex::decode(text.as_bytes(), Case::Lower, into));
        match u8::try_from(text.len() / 2) {
            Ok(len) if is_der => Self(Written::Der { len, bytes }),
            _ => Self(Written::Text(text.into())),
        }
    }

    /// Wraps DER bytes, as a signer makes them; `None` over [`DER_BYTES_MAX`].
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let mut bytes = [0; DER_BYTES_MAX];
        bytes.get_mut(..der.len())?.copy_from_slice(der);
        Some(Self(Written::Der { len: u8::try_from(der.len()).ok()?, bytes }))
    }

    /// The bytes its digits spell, not yet known to be strict DER; `None` when they are no digits or too many.
    #[must_use]
    pub fn der(&self) -> Option<&[u8]> {
        match &self.0 {
            Written::Der { len, bytes } => bytes.get(..usize::from(*len)),
            Written::Text(_) => None,
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>, member: &'static str) -> Result<Self, FormError> {
        reader.string(member).map(|text| Self::from_text(&text))
    }

    /// Writes the bare text; a string that is no digits goes into the commitment as its characters.
    pub(crate) fn put(&self, out: &mut impl Sink) {
        match &self.0 {
            Written::Der { .. } => out.put_hex(self.der().unwrap_or_default(), Case::Lower),
            Written::Text(text) => out.put(text.as_bytes()),
        }
    }

    pub(crate) fn put_string(&self, out: &mut impl Sink) {
        match &self.0 {
            Written::Der { .. } => out.put_hex_string(self.der().unwrap_or_default(), Case::Lower),
            Written::Text(text) => out.put_string(text),
        }
    }
}

impl fmt::Display for SignatureText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Written::Der { .. } => f.pad(&hex::string(self.der().unwrap_or_default(), Case::Lower)),
            Written::Text(text) => f.pad(text),
        }
    }
}

impl fmt::Debug for SignatureText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignatureText({self})")
    }
}

/// What tells two receipts of the same payment apart: 1 to 32 of `0-9A-Za-z_-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReceiptNonce(Box<str>);

impl ReceiptNonce {
    const WANT: &'static str = "1 to 32 of 0-9 A-Z a-z _ -";

    /// Takes a text.
    ///
    /// # Errors
    ///
    /// [`DigitsError`] for another length or other characters.
    pub fn new(text: &str) -> Result<Self, DigitsError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if (1..=32).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.into()))
        } else {
            Err(DigitsError { want: Self::WANT })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn read(reader: &mut Reader<'_>, member: &'static str) -> Result<Self, FormError> {
        let text = reader.string(member)?;
        Self::new(&text).map_err(|e| FormError::Value { member, want: e.want })
    }
}

/// The version of a block: up to 80 bytes of any text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(Box<str>);

impl Version {
    /// Longest version, in bytes.
    pub const BYTES_MAX: usize = 80;

    /// Takes a text; `None` over 80 bytes.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (text.len() <= Self::BYTES_MAX).then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn read(reader: &mut Reader<'_>, member: &'static str) -> Result<Self, FormError> {
        let text = reader.string(member)?;
        Self::new(&text).ok_or(FormError::Value { member, want: "at most 80 bytes" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zero_bits_of_the_table() {
        for (hash, bits) in [
            ("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", 0),
            ("8000000000000000000000000000000000000000000000000000000000000000", 0),
            ("7f00000000000000000000000000000000000000000000000000000000000000", 1),
            ("40ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", 1),
            ("0f00000000000000000000000000000000000000000000000000000000000000", 4),
            ("01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", 7),
            ("0080ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", 8),
            ("0001000000000000000000000000000000000000000000000000000000000000", 15),
            ("0000000000000000000000000000000000000000000000000000000000000000", 256),
        ] {
            let hash: BlockHash = hash.parse().unwrap();
            assert_eq!(hash.leading_zero_bits(), bits, "{hash}");
            for difficulty in 0..=255_u8 {
                assert_eq!(hash.meets(crate::Difficulty::new(difficulty)), bits >= u32::from(difficulty));
            }
        }
    }

    #[test]
    fn an_account_is_the_end_of_a_key() {
        let key: PublicKey =
            "02c94e0e599b53ddfec96ec3e2a7f413bcd5bf5d7272eb3bf3570c79caac848aac".parse().unwrap();
        assert_eq!(key.account().to_string(), "a7f413bcd5bf5d7272eb3bf3570c79caac848aac");
        assert_eq!(format!("{:?}", key.account()), "Account(a7f413bcd5bf5d7272eb3bf3570c79caac848aac)");
    }

    #[test]
    fn a_signature_keeps_its_text_whatever_it_is() {
        for (name, text, is_der) in [
            ("digits", "3006020101020101", true),
            ("empty", "", true),
            ("upper case", "3006020101020101AB", false),
            ("odd", "300", false),
            ("no digits", "zz", false),
            ("longest", &"ab".repeat(72), true),
            ("one over", &"ab".repeat(73), false),
            ("far over", &"ab".repeat(400), false),
            ("quotes", "a\"b\\\n", false),
        ] {
            let signature = SignatureText::from_text(text);
            assert_eq!(signature.to_string(), text, "{name}");
            assert_eq!(signature.der().is_some(), is_der, "{name}");
        }
        assert_eq!(SignatureText::from_der(&[7; 73]), None);
    }

    #[test]
    fn texts_have_bounds() {
        for (name, text, ok) in [
            ("empty", "", false),
            ("one", "n", true),
            ("all kinds", "09AZaz_-", true),
            ("32", &"x".repeat(32), true),
            ("33", &"x".repeat(33), false),
            ("space", "a b", false),
            ("not ASCII", "é", false),
        ] {
            assert_eq!(ReceiptNonce::new(text).is_ok(), ok, "{name}");
        }
        assert!(Version::new(&"é".repeat(40)).is_some());
        assert!(Version::new(&"é".repeat(41)).is_none());
    }
}
