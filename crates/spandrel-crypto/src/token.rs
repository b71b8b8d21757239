//! Bearer tokens (RFC 6750): secrets that are text.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{CryptoError, digest::DIGEST_LEN, sha256};

/// The longest token, in bytes: half of the 8 KiB that servers commonly allow for a whole header.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// A bearer token, wiped from memory on drop and never printed.
///
/// Two tokens are compared by their SHA-256 digests in constant time, so neither the place of the first
/// difference nor the length of the secret can be learnt from the time an answer takes.
#[derive(Clone)]
pub struct Token {
    text: Zeroizing<String>,
    digest: [u8; DIGEST_LEN],
}

impl Token {
    /// Takes a token from configuration or from a header.
    ///
    /// # Errors
    ///
    /// [`CryptoError::TokenForm`] unless it is 1 to [`TOKEN_BYTES_MAX`] characters of `b64token`
    /// (RFC 6750 section 2.1): anything else cannot come over the wire in an `Authorization` header.
    pub fn new(text: impl Into<String>) -> Result<Self, CryptoError> {
        let text = Zeroizing::new(text.into());
        if !is_b64token(&text) {
            return Err(CryptoError::TokenForm { max: TOKEN_BYTES_MAX });
        }
        let digest = sha256(text.as_bytes());
        Ok(Self { text, digest })
    }

    /// Takes the token out of the value of an `Authorization` header: `Bearer`, in any case, one or more
    /// spaces, the token. `None` on another scheme and on a value that is not a token.
    #[must_use]
    pub fn from_authorization(value: &str) -> Option<Self> {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(())?;
        Self::new(token.trim_start_matches(' ')).ok()
    }

    /// Gives the text, for the header of a request. Never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.digest.ct_eq(&other.digest).into()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len() <= TOKEN_BYTES_MAX
        && !body.is_empty()
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_equal_tokens_and_nothing_is_printed() {
        let token = Token::new("correct.horse~battery").unwrap();
        assert_eq!(token, Token::new("correct.horse~battery".to_owned()).unwrap());
        for other in ["correct.horse~batterz", "correct.horse~batter", "correct.horse~batteryy", "C"] {
            assert_ne!(token, Token::new(other).unwrap(), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert_eq!(token.expose(), "correct.horse~battery");
    }

    #[test]
    fn only_what_a_header_can_carry_is_a_token() {
        for good in ["a", "A-._~+/9==", &"t".repeat(TOKEN_BYTES_MAX)] {
            assert!(Token::new(good).is_ok(), "{good}");
        }
        for (name, bad) in [
            ("empty", ""),
            ("only padding", "=="),
            ("padding inside", "a=b"),
            ("space", "a b"),
            ("line end", "a\r\nX: y"),
            ("comma", "a,b"),
            ("quote", "\"a\""),
            ("outside ascii", "tökén"),
            ("one over the limit", &"t".repeat(TOKEN_BYTES_MAX + 1)),
        ] {
            assert_eq!(Token::new(bad), Err(CryptoError::TokenForm { max: TOKEN_BYTES_MAX }), "{name}");
        }
    }

    #[test]
    fn the_header_gives_its_token() {
        let want = Token::new("abc").unwrap();
        for (value, is_token) in [
            ("Bearer abc", true),
            ("bearer abc", true),
            ("BEARER   abc", true),
            ("Bearer", false),
            ("Bearer ", false),
            ("Bearer abc def", false),
            ("Bearer abc,", false),
            ("Bearer\tabc", false),
            ("Basic abc", false),
            (" Bearer abc", false),
            ("abc", false),
            ("", false),
        ] {
            assert_eq!(Token::from_authorization(value) == Some(want.clone()), is_token, "{value:?}");
        }
    }
}
