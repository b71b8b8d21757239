//! Base64url without padding, one spelling per value (RFC 4648 sections 3.5 and 5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroize as _;

use crate::CryptoError;

/// Encodes `bytes` as base64url without padding: four characters for three bytes.
#[must_use]
pub fn encode_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends `bytes` as base64url without padding to `text`.
pub fn push_base64url(bytes: &[u8], text: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, text);
}

/// Decodes base64url without padding. The empty text is the empty value.
///
/// # Errors
///
/// [`CryptoError::Base64`] on padding, on a character outside the alphabet (white space and the `+/` of
/// plain base64 too), on a length no encoder makes, and on unused bits that are not zero.
pub fn decode_base64url(text: &str) -> Result<Vec<u8>, CryptoError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| CryptoError::Base64)
}

/// Decodes base64url without padding into exactly `N` bytes. What was decoded on the way is wiped.
///
/// # Errors
///
/// [`CryptoError::Base64`] as [`decode_base64url`]; [`CryptoError::Length`] on any other number of bytes.
pub fn decode_base64url_array<const N: usize>(text: &str) -> Result<[u8; N], CryptoError> {
    let mut bytes = decode_base64url(text)?;
    let array =
        <[u8; N]>::try_from(bytes.as_slice()).map_err(|_| CryptoError::Length { want: N, got: bytes.len() });
    bytes.zeroize();
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors_of_rfc_4648_hold_without_padding() {
        for (plain, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (b"fooba", "Zm9vYmE"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff, 0xbf], "-_-_"),
        ] {
            assert_eq!(encode_base64url(plain), text);
            let mut appended = String::from("x");
            push_base64url(plain, &mut appended);
            assert_eq!(appended, format!("x{text}"));
            assert_eq!(decode_base64url(text).as_deref(), Ok(plain), "{text}");
        }
    }

    #[test]
    fn every_second_spelling_is_refused() {
        for (name, text) in [
            ("padding", "Zg=="),
            ("half padding", "Zg="),
            ("only padding", "="),
            ("standard alphabet +", "+/+/"),
            ("standard alphabet /", "Zm9/"),
            ("trailing bits of one byte", "Zh"),
            ("trailing bits of two bytes", "Zm9"),
            ("one character", "Z"),
            ("five characters", "Zm9vY"),
            ("leading space", " Zg"),
            ("line end", "Zg\n"),
            ("line end inside", "Zm\n9v"),
            ("nul", "Z\0"),
            ("outside ascii", "Zé"),
        ] {
            assert_eq!(decode_base64url(text), Err(CryptoError::Base64), "{name}");
        }
    }

    #[test]
    fn an_array_wants_its_exact_length() {
        assert_eq!(decode_base64url_array::<3>("Zm9v"), Ok(*b"foo"));
        assert_eq!(decode_base64url_array::<4>("Zm9v"), Err(CryptoError::Length { want: 4, got: 3 }));
        assert_eq!(decode_base64url_array::<2>("Zm9v"), Err(CryptoError::Length { want: 2, got: 3 }));
        assert_eq!(decode_base64url_array::<3>("Zm9v="), Err(CryptoError::Base64));
    }

    proptest! {
        /// What is encoded decodes to itself, in the url alphabet and unpadded.
        #[test]
        fn prop_roundtrip_base64url(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = encode_base64url(&bytes);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(decode_base64url(&text), Ok(bytes));
        }

        /// A text that decodes is the only text that decodes to those bytes.
        #[test]
        fn prop_one_spelling_per_value(text in "[A-Za-z0-9_=+/-]{0,12}") {
            if let Ok(bytes) = decode_base64url(&text) {
                prop_assert_eq!(encode_base64url(&bytes), text);
            }
        }
    }
}
