//! What can be wrong with what a peer sent.

/// Engine.IO: a frame, a polling body or a handshake cannot be read. Close the session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A packet with no type, not even one byte.
    #[error("a packet of no bytes, expected its type (0 to 6)")]
    Empty,
    /// A type that Engine.IO 3 does not have.
    #[error("packet type {byte:#04x} is none of Engine.IO 3 (0 to 6)")]
    Kind {
        /// First byte of the packet.
        byte: u8,
    },
    /// A polling body whose length prefixes do not add up.
    #[error("polling body is broken at byte {at}: expected {expected}")]
    Payload {
        /// Byte of the body where reading stopped.
        at: usize,
        /// What should have stood there.
        expected: &'static str,
    },
    /// A text packet that is not UTF-8.
    #[error("text packet is not utf-8 at byte {at} of the body")]
    Utf8 {
        /// Byte of the body.
        at: usize,
    },
    /// A packet or a body over the limit.
    #[error("{len} bytes are over the limit of {max}")]
    TooLong {
        /// Length that came or was announced, in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// More packets in one body than the limit.
    #[error("more than {max} packets in one polling body")]
    TooManyPackets {
        /// The limit.
        max: usize,
    },
    /// The first packet of a session is not a handshake as Engine.IO 3 has it.
    #[error("handshake cannot be read: expected {expected}")]
    Handshake {
        /// What was missing or wrong.
        expected: &'static str,
    },
}

/// Socket.IO: a message cannot be read. Close the session: what followed it would be misread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Not an Engine.IO message: the caller hands other packets to others.
    #[error("expected an Engine.IO message (4)")]
    NotMessage,
    /// A type that Socket.IO 2 does not have.
    #[error("packet type is none of Socket.IO 2 (0 to 6)")]
    Kind,
    /// A binary packet without `count-` after its type.
    #[error("binary packet without a count of attachments, expected digits and -")]
    Attachments,
    /// More attachments announced than the limit.
    #[error("more than {max} attachments announced")]
    TooManyAttachments {
        /// The limit.
        max: usize,
    },
    /// An acknowledgement number that fits no 64 bits.
    #[error("acknowledgement number over 64 bits")]
    AckId,
    /// An acknowledgement without the number it answers.
    #[error("acknowledgement without a number")]
    NoAckId,
    /// The arguments cannot be read; bytes are counted from where they start.
    #[error("arguments cannot be read: {0}")]
    Json(#[from] JsonError),
    /// An event or acknowledgement whose JSON is missing or no array, or any packet with an object where none belongs.
    #[error("expected a json array of arguments")]
    NotArray,
    /// An event whose first element is no string.
    #[error("expected the event's name, a string, as first element")]
    Name,
    /// A text message while attachments of an earlier one are missing.
    #[error("text message while {missing} attachments are awaited")]
    AttachmentsMissing {
        /// How many.
        missing: usize,
    },
    /// A binary message that no packet announced.
    #[error("binary message that no packet announced")]
    NotAnnounced,
    /// A packet over the limit, attachments included.
    #[error("packet of {len} bytes is over the limit of {max}")]
    TooLong {
        /// Length so far, in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
}

/// A text is not one JSON value as RFC 8259 has it, or nests too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not JSON.
    #[error("not json at byte {at}")]
    Syntax {
        /// First byte that cannot be there; the length of the text when it ends too early.
        at: usize,
    },
    /// JSON so far, but nested too deep.
    #[error("json nested deeper than {max} levels at byte {at}")]
    TooDeep {
        /// Byte after the bracket that was one too many.
        at: usize,
        /// The limit, [`Value::DEPTH_MAX`](crate::Value::DEPTH_MAX).
        max: usize,
    },
}
