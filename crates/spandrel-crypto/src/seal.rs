//! Authenticated encryption: AES-256-GCM with a detached tag.

use std::fmt;

use aes_gcm::{
    Aes256Gcm, KeyInit as _, Nonce, Tag,
    aead::{AeadInOut as _, inout::InOutBuf},
};
use zeroize::Zeroize as _;

use crate::{CryptoError, SecretKey};

/// Bytes of an initialisation vector. Never used twice under one key.
pub const IV_LEN: usize = 12;

/// Bytes of a [`SealTag`].
pub const SEAL_TAG_LEN: usize = 16;

/// What [`SealKey::seal`] gives beside the ciphertext: public, sent with it.
pub type SealTag = [u8; SEAL_TAG_LEN];

/// A key of AES-256-GCM, expanded once for many messages and wiped on drop.
///
/// `Debug` prints `SealKey(..)`. The caller answers for the vectors: with random ones, stay far below 2^32 messages
/// under one key.
#[derive(Clone)]
pub struct SealKey(Aes256Gcm);

impl SealKey {
    /// Expands a key.
    #[must_use]
    pub fn new(key: &SecretKey) -> Self {
        Self(Aes256Gcm::new(key.expose().into()))
    }

    /// Encrypts `text` in place and returns the tag over it and `aad`, which is bound but not sent.
    ///
    /// # Errors
    ///
    /// [`CryptoError::TooLong`] past 64 GiB, the most one vector may cover; `text` is then unchanged.
    pub fn seal(&self, iv: &[u8; IV_LEN], aad: &[u8], text: &mut [u8]) -> Result<SealTag, CryptoError> {
        self.0
            .encrypt_inout_detached(&Nonce::from(*iv), aad, InOutBuf::from(text))
            .map(Into::into)
            .map_err(|_| CryptoError::TooLong)
    }

    /// Checks the tag in constant time and only then decrypts `text` in place.
    ///
    /// # Errors
    ///
    /// [`CryptoError::TagMismatch`] when key, vector, `aad`, ciphertext or tag is another one; `text` is then all
    /// zero: neither plaintext nor ciphertext is left to be used by mistake.
    pub fn open(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        text: &mut [u8],
        tag: &SealTag,
    ) -> Result<(), CryptoError> {
        let opened = self.0.decrypt_inout_detached(
            &Nonce::from(*iv),
            aad,
            InOutBuf::from(&mut *text),
            &Tag::from(*tag),
        );
        opened.map_err(|_| {
            text.zeroize();
            CryptoError::TagMismatch
        })
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> SealKey {
        SealKey::new(&SecretKey::from_bytes([7; 32]))
    }

    #[test]
    fn a_key_never_prints_its_bytes() {
        assert_eq!(format!("{:?}", key()), "SealKey(..)");
    }

    fn refused(name: &str, key: &SealKey, iv: &[u8; IV_LEN], aad: &[u8], text: &[u8], tag: &SealTag) {
        let mut text = text.to_vec();
        assert_eq!(key.open(iv, aad, &mut text, tag), Err(CryptoError::TagMismatch), "{name}");
        assert!(text.iter().all(|byte| *byte == 0), "{name}: something is left");
    }

    #[test]
    fn what_does_not_open_is_wiped() {
        let (iv, aad) = ([1; IV_LEN], b"first".as_slice());
        let mut sealed = b"attack at dawn".to_vec();
        let tag = key().seal(&iv, aad, &mut sealed).unwrap();
        refused("other key", &SealKey::new(&SecretKey::from_bytes([8; 32])), &iv, aad, &sealed, &tag);
        refused("other aad", &key(), &iv, b"second", &sealed, &tag);
        refused("no aad", &key(), &iv, b"", &sealed, &tag);
        refused("shorter", &key(), &iv, aad, &sealed[1..], &tag);
        refused("longer", &key(), &iv, aad, &[&sealed[..], &[0]].concat(), &tag);
        refused("empty", &key(), &iv, aad, &[], &tag);
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            refused(&format!("bit {bit} of the text"), &key(), &iv, aad, &bad, &tag);
        }
        for bit in 0..SEAL_TAG_LEN * 8 {
            let mut bad = tag;
            bad[bit / 8] ^= 1 << (bit % 8);
            refused(&format!("bit {bit} of the tag"), &key(), &iv, aad, &sealed, &bad);
        }
        for bit in 0..IV_LEN * 8 {
            let mut bad = iv;
            bad[bit / 8] ^= 1 << (bit % 8);
            refused(&format!("bit {bit} of the vector"), &key(), &bad, aad, &sealed, &tag);
        }
        key().open(&iv, aad, &mut sealed, &tag).unwrap();
        assert_eq!(sealed, b"attack at dawn");
    }

    proptest! {
        /// What is sealed opens to itself, and the ciphertext has its length.
        #[test]
        fn prop_roundtrip_seal(
            secret in any::<[u8; 32]>(),
            iv in any::<[u8; IV_LEN]>(),
            aad in prop::collection::vec(any::<u8>(), 0..40),
            text in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let key = SealKey::new(&SecretKey::from_bytes(secret));
            let mut sealed = text.clone();
            let tag = key.seal(&iv, &aad, &mut sealed).unwrap();
            prop_assert!(text.len() < 8 || sealed != text);
            key.open(&iv, &aad, &mut sealed, &tag).unwrap();
            prop_assert_eq!(sealed, text);
        }
    }
}
