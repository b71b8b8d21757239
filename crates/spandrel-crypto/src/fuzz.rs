//! Entry points for the fuzz member; not part of the API.

use crate::{Token, decode_base64url, decode_base64url_array, encode_base64url};

/// Decodes foreign text; what decodes has to encode to the same text.
pub fn fuzz_base64url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let bytes = decode_base64url(text);
    let array = decode_base64url_array::<32>(text);
    match &bytes {
        Ok(bytes) => {
            assert_eq!(encode_base64url(bytes), text, "two spellings of one value");
            assert_eq!(array.is_ok(), bytes.len() == 32, "length of the array");
        }
        Err(_) => assert!(array.is_err(), "the array form is laxer"),
    }
}

/// Reads a foreign `Authorization` value.
pub fn fuzz_authorization(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(token) = Token::from_authorization(text) {
        assert!(text.ends_with(token.expose()), "a token that was not in the header");
    }
}
