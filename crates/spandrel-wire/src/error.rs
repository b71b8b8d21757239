//! What can be wrong with the bytes of a peer.

use crate::Close;

/// Bytes that could not be taken, or a frame that could not be written.
///
/// After an error from [`Codec::decode`](crate::Codec::decode) the position in the stream is lost: say goodbye with
/// [`close`](Self::close) and never decode again. After one from `encode` the frame is dropped and the link lives on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A frame over the limit, refused before it is held whole.
    #[error("frame of {len} bytes is over the limit of {max}")]
    TooLong {
        /// Bytes announced, or seen so far where nothing is announced.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// A length of zero where a frame has at least its kind byte.
    #[error("frame length is 0, expected at least 1 for the kind byte")]
    Empty,
    /// One message in more parts than allowed.
    #[error("message has more than {max} fragments")]
    TooManyFragments {
        /// The limit.
        max: usize,
    },
    /// JSON nested deeper than allowed.
    #[error("json is nested deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// Text that is not UTF-8.
    #[error("text frame is not valid UTF-8 at byte {at}")]
    Utf8 {
        /// First bad byte, counted from the start of the frame where known, else 0.
        at: usize,
    },
    /// A kind byte this wire does not know.
    #[error("frame kind {kind} is unknown, expected one of {expected}")]
    UnknownKind {
        /// The byte that came.
        kind: u8,
        /// What would have been right.
        expected: &'static str,
    },
    /// A byte that cannot start or end a message here.
    #[error("unexpected byte 0x{byte:02x} at byte {at}, expected {expected}")]
    Syntax {
        /// The byte that came.
        byte: u8,
        /// Its place in the message, or in the stream between messages.
        at: usize,
        /// What would have been right.
        expected: &'static str,
    },
    /// Any other breach of the wire protocol.
    #[error("wire protocol broken: {0}")]
    Protocol(String),
    /// The stream ended inside a frame.
    #[error("stream ended inside a frame")]
    Truncated,
    /// The stream ended at a frame border, on a wire whose peers say goodbye, without a goodbye.
    #[error("peer was gone without a close")]
    Gone,
    /// This wire cannot carry such a frame.
    #[error("this wire cannot carry the frame: {0}")]
    Unsupported(&'static str),
    /// A frame after the goodbye.
    #[error("link is closing, nothing can be sent")]
    Closing,
    /// Half a frame, and nothing more came for too long.
    #[error("frame not finished within {after_ms} ms")]
    Stalled {
        /// The time allowed, in milliseconds.
        after_ms: u64,
    },
}

impl WireError {
    /// Returns the goodbye that fits: 1009 too big, 1007 bad text, 1003 wrong kind, 1008 too slow or too many parts,
    /// else 1002. The reason is the error's text.
    #[must_use]
    pub fn close(&self) -> Close {
        Close::new(self.close_code(), self.to_string())
    }

    /// Returns the code of [`close`](Self::close). [`Gone`](Self::Gone) and [`Truncated`](Self::Truncated) give
    /// 1006, which is never sent.
    #[must_use]
    pub const fn close_code(&self) -> u16 {
        match self {
            // Length 0 shares the code of a wrong length: download protocol section 2.2.
            Self::TooLong { .. } | Self::Empty => Close::TOO_BIG,
            Self::Utf8 { .. } => Close::INVALID_DATA,
            Self::TooManyFragments { .. } | Self::Stalled { .. } => Close::POLICY,
            Self::Unsupported(_) => Close::UNSUPPORTED,
            Self::Truncated | Self::Gone => Close::ABNORMAL,
            Self::Closing => Close::NORMAL,
            Self::TooDeep { .. } | Self::UnknownKind { .. } | Self::Syntax { .. } | Self::Protocol(_) => {
                Close::PROTOCOL
            }
        }
    }
}
