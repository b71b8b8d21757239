//! Secret keys and the keys derived from them.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use crate::{CryptoError, decode_base64url_array};

/// Bytes of a [`SecretKey`].
pub const KEY_LEN: usize = 32;

/// A secret of 32 bytes, wiped from memory on drop.
///
/// `Debug` prints `SecretKey(..)`, there is no `Display` and no serialisation; equality takes the same
/// time for every pair. The only way to the bytes is [`expose`](Self::expose), so that every use can be
/// searched for.
#[derive(Clone)]
pub struct SecretKey([u8; KEY_LEN]);

impl SecretKey {
    /// Wraps 32 secret bytes. The caller's copy is not wiped.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// Reads the 43 characters of base64url without padding that configuration files hold.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Base64`] on any other spelling, [`CryptoError::Length`] unless it is 32 bytes.
    pub fn from_base64url(text: &str) -> Result<Self, CryptoError> {
        decode_base64url_array(text).map(Self)
    }

    /// Copies a key out of a file or a buffer.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Length`] unless `bytes` has exactly 32.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, CryptoError> {
        <[u8; KEY_LEN]>::try_from(bytes)
            .map(Self)
            .map_err(|_| CryptoError::Length { want: KEY_LEN, got: bytes.len() })
    }

    /// Gives the secret bytes, for a primitive or for the file that keeps them. Never for a log.
    #[must_use]
    pub const fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretKey {}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Derives the key that `info` names from `secret` (HKDF-SHA256, extract and expand, 32 bytes).
///
/// Different `salt` or `info` give unrelated keys; neither needs to be secret. An empty `salt` counts as
/// 32 zero bytes, as RFC 5869 has it.
#[must_use]
pub fn derive(secret: &SecretKey, salt: &[u8], info: &[u8]) -> SecretKey {
    let mut key = SecretKey([0; KEY_LEN]);
    Hkdf::<Sha256>::new(Some(salt), &secret.0)
        .expand(info, &mut key.0)
        .expect("32 bytes are below the 255 digests HKDF can give");
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_never_prints_its_bytes() {
        let key = SecretKey::from_bytes([0x41; KEY_LEN]);
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
        assert_eq!(format!("{:#?}", Some(key)), "Some(\n    SecretKey(..),\n)");
    }

    #[test]
    fn a_key_is_read_from_its_one_spelling() {
        let text = "ERERERERERERERERERERERERERERERERERERERERERE";
        assert_eq!(SecretKey::from_base64url(text), Ok(SecretKey::from_bytes([0x11; KEY_LEN])));
        for (name, text, want) in [
            ("padded", format!("{text}="), CryptoError::Base64),
            ("trailing bits", format!("{}F", &text[..42]), CryptoError::Base64),
            ("31 bytes", crate::encode_base64url(&[1; 31]), CryptoError::Length { want: 32, got: 31 }),
            ("33 bytes", crate::encode_base64url(&[1; 33]), CryptoError::Length { want: 32, got: 33 }),
            ("empty", String::new(), CryptoError::Length { want: 32, got: 0 }),
        ] {
            assert_eq!(SecretKey::from_base64url(&text), Err(want), "{name}: {text}");
        }
        assert_eq!(SecretKey::from_slice(&[7; 33]), Err(CryptoError::Length { want: 32, got: 33 }));
        assert_eq!(SecretKey::from_slice(&[7; 32]), Ok(SecretKey::from_bytes([7; 32])));
    }

    proptest! {
        /// Two infos never give the same key.
        #[test]
        fn prop_infos_give_unrelated_keys(secret in any::<[u8; 32]>(), a in ".{0,9}", b in ".{0,9}") {
            prop_assume!(a != b);
            let secret = SecretKey::from_bytes(secret);
            prop_assert_ne!(derive(&secret, b"s", a.as_bytes()), derive(&secret, b"s", b.as_bytes()));
        }
    }
}
