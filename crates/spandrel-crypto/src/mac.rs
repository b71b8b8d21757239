//! Message authentication: HMAC-SHA256 over parts, compared in constant time.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{CryptoError, SecretKey};

/// Bytes of an [`HmacTag`].
pub const TAG_LEN: usize = 32;

/// What [`sign`] gives: public, sent beside the message.
pub type HmacTag = [u8; TAG_LEN];

/// Signs the concatenation of `parts` (HMAC-SHA256).
///
/// Nothing is put between the parts: a protocol that joins fields of free length has to put separators
/// that no field can contain, or one input can pass for another.
#[must_use]
pub fn sign(key: &SecretKey, parts: &[&[u8]]) -> HmacTag {
    mac(key, parts).finalize().into_bytes().into()
}

/// Checks, in a time that does not depend on where they differ, that `tag` is what [`sign`] gives.
///
/// # Errors
///
/// [`CryptoError::TagMismatch`] on any other tag, also on one of another length.
pub fn verify(key: &SecretKey, parts: &[&[u8]], tag: &[u8]) -> Result<(), CryptoError> {
    mac(key, parts).verify_slice(tag).map_err(|_| CryptoError::TagMismatch)
}

fn mac(key: &SecretKey, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_flipped_bit_a_short_tag_and_another_key_are_refused() {
        let key = SecretKey::from_bytes([9; 32]);
        let tag = sign(&key, &[b"one", b"two"]);
        assert_eq!(verify(&key, &[b"onetwo"], &tag), Ok(()));
        for at in 0..TAG_LEN * 8 {
            let mut bad = tag;
            bad[at / 8] ^= 1 << (at % 8);
            assert_eq!(verify(&key, &[b"onetwo"], &bad), Err(CryptoError::TagMismatch), "bit {at}");
        }
        for (name, key, input, tag) in [
            ("truncated", &key, &b"onetwo"[..], &tag[..31]),
            ("empty", &key, b"onetwo", &[]),
            ("other input", &key, b"onetwO", &tag),
            ("other key", &SecretKey::from_bytes([8; 32]), b"onetwo", &tag),
        ] {
            assert_eq!(verify(key, &[input], tag), Err(CryptoError::TagMismatch), "{name}");
        }
        assert_eq!(verify(&key, &[b"onetwo"], &[&tag[..], &[0]].concat()), Err(CryptoError::TagMismatch));
    }

    proptest! {
        /// Where the input is cut into parts does not matter.
        #[test]
        fn prop_split_anywhere_signs_the_same(
            key in any::<[u8; 32]>(),
            input in prop::collection::vec(any::<u8>(), 0..100),
            cut in any::<prop::sample::Index>(),
        ) {
            let key = SecretKey::from_bytes(key);
            let (head, tail) = input.split_at(cut.index(input.len() + 1));
            prop_assert_eq!(sign(&key, &[head, tail]), sign(&key, &[&input]));
        }
    }
}
