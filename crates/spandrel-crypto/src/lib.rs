//! Keys, key derivation, message authentication and sealing that never print a secret.
//!
//! Takes bytes and gives bytes: HKDF-SHA256 ([`derive()`]), HMAC-SHA256 ([`sign`], [`verify`]), AES-256-GCM
//! ([`SealKey`]), SHA-256 ([`sha256`]), strict base64url ([`encode_base64url`], [`decode_base64url`]), and
//! three types that hold secrets: [`SecretKey`], [`SealKey`] and [`Token`].
//!
//! Never draws a random number, reads a clock, touches a file or writes a secret to a log: `Debug` of a
//! secret prints its type only, there is no `Display`, and memory is wiped on drop.
//!
//! ```
//! use spandrel_crypto::{CryptoError, SealKey, SecretKey, derive, encode_base64url, sign, verify};
//!
//! let secret = SecretKey::from_base64url("REREREREREREREREREREREREREREREREREREREREREQ")?;
//! let key = derive(&secret, b"spandrel.download.v1", b"url");
//! let tag = sign(&key, &[b"GET", b"\n", b"/v1/files/a.csv"]);
//! assert_eq!(encode_base64url(&tag).len(), 43);
//! verify(&key, &[b"GET\n/v1/files/a.csv"], &tag)?;
//! assert_eq!(format!("{key:?}"), "SecretKey(..)");
//!
//! let (key, iv) = (SealKey::new(&derive(&secret, b"salt", b"seal")), [7; 12]); // never the same iv twice
//! let mut text = *b"attack at dawn";
//! let tag = key.seal(&iv, b"message 0", &mut text)?;
//! assert_eq!(key.open(&iv, b"message 1", &mut text.clone(), &tag), Err(CryptoError::TagMismatch));
//! key.open(&iv, b"message 0", &mut text, &tag)?;
//! assert_eq!(&text, b"attack at dawn");
//! # Ok::<(), CryptoError>(())
//! ```
//!
//! Bytes: RFC 5869 (HKDF), RFC 2104 (HMAC), FIPS 180-4 (SHA-256), NIST SP 800-38D (GCM), RFC 4648 section 5
//! (base64url, here without padding); which inputs are signed or sealed is decided by each protocol, not here.
//!
//! Limits: a key is exactly [`KEY_LEN`] bytes, a tag [`TAG_LEN`] or [`SEAL_TAG_LEN`], a vector [`IV_LEN`]; a token has 1 to [`TOKEN_BYTES_MAX`]
//! bytes. A decoder gives three bytes for every four it is handed, so the caller's bound on the text
//! bounds the output.

mod base64url;
mod digest;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod key;
mod mac;
mod seal;
mod token;

pub use base64url::{decode_base64url, decode_base64url_array, encode_base64url, push_base64url};
pub use digest::{DIGEST_LEN, hex, sha256};
pub use error::CryptoError;
pub use key::{KEY_LEN, SecretKey, derive};
pub use mac::{HmacTag, TAG_LEN, sign, verify};
pub use seal::{IV_LEN, SEAL_TAG_LEN, SealKey, SealTag};
pub use token::{TOKEN_BYTES_MAX, Token};
