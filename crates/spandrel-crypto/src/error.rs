/// A secret, a tag or an encoded text is not what it has to be.
///
/// No variant carries any part of the text it was made from: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// Not base64url without padding. Refuse the text: other spellings of the same bytes do not exist here.
    #[error("expected base64url without padding (A-Z a-z 0-9 - _, no =, last character canonical)")]
    Base64,
    /// Decoded well, but to the wrong number of bytes. Refuse the text.
    #[error("expected {want} bytes, got {got}")]
    Length {
        /// How many bytes the value has to have.
        want: usize,
        /// How many it has.
        got: usize,
    },
    /// The tag is not the one this key makes for this input. Refuse the message; say nothing more to its
    /// sender.
    #[error("tag does not match key and input")]
    TagMismatch,
    /// More than one vector may cover. Seal less at once.
    #[error("expected at most 64 GiB under one vector")]
    TooLong,
    /// Not a bearer token. Use 1 to 4096 of `A-Z a-z 0-9 - . _ ~ + /`, then any number of `=`.
    #[error("expected a bearer token of 1 to {max} characters from A-Z a-z 0-9 - . _ ~ + / and trailing =")]
    TokenForm {
        /// The longest token, in bytes.
        max: usize,
    },
}
