//! One message as a transport carries it: a kind and its bytes.

use bytes::Bytes;

use crate::WireError;

/// What the bytes of a [`Frame`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

/// One message on a link. Cloning counts a reference: fan-out to many peers copies no payload.
///
/// The bytes of a [`Kind::Text`] frame are valid UTF-8, checked once where they enter the process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    kind: Kind,
    data: Bytes,
}

impl Frame {
    /// Makes a text frame from a string, without copying an owned or static one.
    pub fn text(text: impl Into<TextBytes>) -> Self {
        Self { kind: Kind::Text, data: text.into().0 }
    }

    /// Makes a binary frame.
    pub fn binary(data: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Binary, data: data.into() }
    }

    /// Makes a text frame from foreign bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::Utf8`] when the bytes are not UTF-8; answer with close code 1007.
    pub fn try_text(data: Bytes) -> Result<Self, WireError> {
        match std::str::from_utf8(&data) {
            Ok(_) => Ok(Self { kind: Kind::Text, data }),
            Err(e) => Err(WireError::Utf8 { at: e.valid_up_to() }),
        }
    }

    /// Makes a text frame from bytes whose UTF-8 the caller has checked just before, as a codec does.
    ///
    /// Nothing becomes unsafe when the promise is broken: [`as_text`](Self::as_text) then says `None`.
    #[must_use]
    pub fn from_checked_text(data: Bytes) -> Self {
        Self { kind: Kind::Text, data }
    }

    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the payload.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// Returns the payload and gives up the frame.
    #[must_use]
    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// Returns the text, or `None` for a binary frame. Looks at every byte: keep the result.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.kind {
            Kind::Text => std::str::from_utf8(&self.data).ok(),
            Kind::Binary => None,
        }
    }

    /// Returns the payload's length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.data.len()
    }

    /// Is the payload empty?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Is this a text frame?
    #[must_use]
    pub const fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Text)
    }
}

/// Bytes known to be UTF-8 because they came from a string type. Made by `into()`.
#[derive(Debug, Clone)]
pub struct TextBytes(Bytes);

impl From<String> for TextBytes {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<&str> for TextBytes {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<&String> for TextBytes {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_checked_where_it_enters() {
        assert_eq!(Frame::try_text(Bytes::from_static(b"ok\xff")), Err(WireError::Utf8 { at: 2 }));
        let frame = Frame::try_text(Bytes::from_static("é".as_bytes())).unwrap();
        assert_eq!((frame.kind(), frame.as_text(), frame.len()), (Kind::Text, Some("é"), 2));
    }

    #[test]
    fn binary_has_no_text() {
        assert_eq!(Frame::binary("text all the same").as_text(), None);
    }

    #[test]
    fn clone_shares_the_payload() {
        let frame = Frame::binary(vec![7; 100]);
        assert_eq!(frame.clone().data().as_ptr(), frame.data().as_ptr());
    }
}
