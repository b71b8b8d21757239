//! The text form of `encrypt` and `decrypt` (hardware bridge protocol, section 8): OpenSSL's salted AES-256-CBC with a key
//! from MD5, in base64.
//!
//! A legacy format without authentication: whoever changes the text changes what comes out, and a passphrase is guessed
//! at the speed of MD5. It is here because module files are written in it. Nothing new may use it.

use std::fmt;

use aes::Aes256;
use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit, block_padding::Pkcs7};
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

/// What every encrypted text starts with, before its salt.
const PREFIX: &[u8; 8] = b"Salted__";
/// Key and initial vector, as three digests give them.
const DERIVED_LEN: usize = 48;
/// Writes padding, and reads with or without it: the library behind existing files stops at the first `=`.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A passphrase: wiped from memory on drop and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes any text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// `EVP_BytesToKey` with MD5 and one round.
    fn derive(&self, salt: [u8; 8]) -> Zeroizing<[u8; DERIVED_LEN]> {
        let mut derived = Zeroizing::new([0; DERIVED_LEN]);
        let mut last: &[u8] = &[];
        let mut rest = derived.as_mut_slice();
        while let Some((digest, more)) = rest.split_at_mut_checked(16) {
            let next = Md5::new().chain_update(last).chain_update(self.0.as_bytes()).chain_update(salt);
            digest.copy_from_slice(&next.finalize());
            (last, rest) = (digest, more);
            if rest.is_empty() {
                break;
            }
        }
        derived
    }

    fn cipher<C: KeyIvInit>(&self, salt: [u8; 8]) -> Option<C> {
        let derived = self.derive(salt);
        let (key, iv) = derived.split_at_checked(32)?;
        C::new_from_slices(key, iv).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Encrypts text. The salt has to be random and new each time: equal salts show equal beginnings.
///
/// ```
/// use spandrel_bridge_protocol::{Secret, decrypt, encrypt};
///
/// let secret = Secret::new("TEST_SECRET");
/// let text = encrypt(&secret, "hello", [1, 2, 3, 4, 5, 6, 7, 8]);
/// assert_eq!(text, "U2FsdGVkX18BAgMEBQYHCBsgLldFbeiMPUa+BfKEMbo=");
/// assert_eq!((decrypt(&secret, &text), decrypt(&secret, "hello")), ("hello".into(), String::new()));
/// ```
#[must_use]
pub fn encrypt(secret: &Secret, text: &str, salt: [u8; 8]) -> String {
    let Some(cipher) = secret.cipher::<cbc::Encryptor<Aes256>>(salt) else { return String::new() };
    let sealed = cipher.encrypt_padded_vec::<Pkcs7>(text.as_bytes());
    BASE64.encode([&PREFIX[..], &salt, &sealed].concat())
}

/// Decrypts what [`encrypt`], OpenSSL or CryptoJS made. Empty when it does not decrypt: no base64, another form, another
/// secret, not UTF-8. An empty text decrypts to nothing as well.
#[must_use]
pub fn decrypt(secret: &Secret, text: &str) -> String {
    open(secret, text).unwrap_or_default()
}

fn open(secret: &Secret, text: &str) -> Option<String> {
    // Nothing after the first = counts, and one character alone is less than a byte.
    let text = text.split('=').next()?;
    let whole = text.len() - usize::from(text.len() % 4 == 1);
    let bytes = BASE64.decode(text.get(..whole)?).ok()?;
    let (salt, sealed) = bytes.strip_prefix(PREFIX)?.split_first_chunk::<8>()?;
    let clear = secret.cipher::<cbc::Decryptor<Aes256>>(*salt)?.decrypt_padded_vec::<Pkcs7>(sealed).ok()?;
    String::from_utf8(clear).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

    fn secret() -> Secret {
        Secret::new("TEST_SECRET")
    }

    #[test]
    fn key_and_vector_are_those_of_openssl() {
        let derived = secret().derive(SALT);
        assert_eq!(
            spandrel_crypto::hex(&derived[..]),
            "1598f278f110f12533737ee10157bda6f766df5c5da6105149f311817bc33f27\
             39bbc9af8620eee3a2183cf08083440d"
        );
    }

    #[test]
    fn compat_what_cryptojs_reads_is_read() {
        for (name, text) in [
            ("whole", "U2FsdGVkX18BAgMEBQYHCBsgLldFbeiMPUa+BfKEMbo="),
            ("no padding", "U2FsdGVkX18BAgMEBQYHCBsgLldFbeiMPUa+BfKEMbo"),
            ("more behind the padding", "U2FsdGVkX18BAgMEBQYHCBsgLldFbeiMPUa+BfKEMbo=\n??"),
            ("last character not canonical", "U2FsdGVkX18BAgMEBQYHCBsgLldFbeiMPUa+BfKEMbp="),
        ] {
            assert_eq!(decrypt(&secret(), text), "hello", "{name}");
        }
    }

    #[test]
    fn what_does_not_decrypt_is_empty() {
        let good = encrypt(&secret(), "hello", SALT);
        let sealed = |clear: &[u8]| {
            let cipher = secret().cipher::<cbc::Encryptor<Aes256>>(SALT).unwrap();
            BASE64.encode([&PREFIX[..], &SALT, &cipher.encrypt_padded_vec::<Pkcs7>(clear)].concat())
        };
        let no_padding = {
            let cipher = secret().cipher::<cbc::Encryptor<Aes256>>(SALT).unwrap();
            let blocks = cipher.encrypt_padded_vec::<cbc::cipher::block_padding::NoPadding>(&[0; 16]);
            BASE64.encode([&PREFIX[..], &SALT, &blocks].concat())
        };
        assert_eq!(decrypt(&secret(), &sealed("한글".as_bytes())), "한글", "the helper");
        for (name, text) in [
            ("empty", ""),
            ("blank", "    "),
            ("no base64", "&&&&"),
            ("not ascii", "한글"),
            ("no prefix", "aGVsbG8gaGVsbG8gaGVsbG8gaGVsbG8="),
            ("prefix only", "U2FsdGVkX18="),
            ("half a salt", "U2FsdGVkX18BAgM="),
            ("no block", "U2FsdGVkX18BAgMEBQYHCA=="),
            ("half a block", good.get(..32).unwrap()),
            ("line break inside", "U2FsdGVkX18BAgMEBQYH\nCBsgLldFbeiMPUa+BfKEMbo="),
            ("url alphabet", "U2FsdGVkX18BAgMEBQYHCBsgLldFbeiMPUa-BfKEMbo="),
            ("padding of nothing", &no_padding),
            ("no utf-8", &sealed(&[0xff, 0xfe])),
            ("half a character", &sealed(&"한".as_bytes()[..2])),
            ("a lone surrogate", &sealed(&[0xed, 0xa0, 0xbd])),
        ] {
            assert_eq!(decrypt(&secret(), text), "", "{name}");
        }
        assert_eq!(decrypt(&Secret::new("another"), &good), "");
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", secret()), "Secret(..)");
    }

    proptest::proptest! {
        /// Every text comes back, whatever the secret and the salt.
        #[test]
        fn prop_roundtrip(secret in ".{0,40}", text in ".{0,200}", salt: [u8; 8]) {
            let secret = Secret::new(secret);
            proptest::prop_assert_eq!(decrypt(&secret, &encrypt(&secret, &text, salt)), text);
        }

        /// No text makes it panic, and no other secret opens what a secret sealed, except by an accident of the padding
        /// that leaves no UTF-8 of that text.
        #[test]
        fn prop_another_secret_never_gives_the_text(text in ".{8,64}", salt: [u8; 8]) {
            let sealed = encrypt(&Secret::new("one"), &text, salt);
            proptest::prop_assert_ne!(decrypt(&Secret::new("two"), &sealed), text);
        }
    }
}
