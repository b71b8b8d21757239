//! Why a frame or a message is refused.

use spandrel_wire::Close;

/// A frame cannot become a message, or a message a frame. The connection is over: close it with
/// [`close`](Self::close) and say nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A binary frame where the subprotocol has none. 1003.
    #[error("expected a text frame, as this subprotocol has no binary ones")]
    BinaryFrame,
    /// The message is not UTF-8. 1007.
    #[error("expected UTF-8")]
    Utf8,
    /// Not a whole zlib stream with the right checksum, or bytes after its end. 1007.
    #[error("expected exactly one zlib stream (RFC 1950)")]
    Inflate,
    /// The frame, or the message in it, is over the limit. 1009. Nothing above the limit was allocated, and of a
    /// message to be sent nothing was sealed.
    #[error("message of {len} bytes or more is over the limit of {max}")]
    TooBig {
        /// Bytes seen before giving up.
        len: usize,
        /// Most that are taken.
        max: usize,
    },
    /// A frame that does not open, whatever is wrong with it. 4401. It says no more, on purpose.
    #[error("frame is not sealed as it has to be")]
    Unsealed,
    /// As many messages were sealed under one key as may be. 1012: a new connection has new keys.
    #[error("{max} messages were sealed on this connection, connect again")]
    Exhausted {
        /// Most in one direction of one connection.
        max: u64,
    },
    /// To be signed, but not a JSON object with a member. 1011: our own fault, nothing was sent.
    #[error("expected a JSON object with at least one member to sign")]
    Unsignable,
    /// To be sent before the hello gave the keys. 1011: our own fault, nothing was sent.
    #[error("expected the hello before the first message of a sealed session")]
    NoKeysYet,
}

impl LayerError {
    /// Code and reason to close the connection with (section 2.4).
    #[must_use]
    pub fn close(&self) -> Close {
        match self {
            Self::BinaryFrame => Close::new(Close::UNSUPPORTED, "binary frame on a text subprotocol"),
            Self::Utf8 => Close::new(Close::INVALID_DATA, "not UTF-8"),
            Self::Inflate => Close::new(Close::INVALID_DATA, "not one zlib stream"),
            Self::TooBig { .. } => Close::new(Close::TOO_BIG, "message too big"),
            Self::Unsealed => Close::new(Close::UNAUTHENTICATED, "authentication failed"),
            Self::Exhausted { .. } => Close::new(Close::RESTART, "keys used up, connect again"),
            Self::Unsignable | Self::NoKeysYet => Close::new(Close::INTERNAL, "internal error"),
        }
    }
}

/// What is wrong with the `auth` of a message that was read well. Each variant is one error code of section 11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthFailure {
    /// `AUTH_REQUIRED`: no `auth` on a signed session. Answer with an id of your own: the head is not trusted.
    #[error("expected a signed message, got one without auth")]
    Required,
    /// `AUTH_INVALID`: form, key or signature. Answer with an id of your own. It never says which.
    #[error("signature is not valid")]
    Invalid,
    /// `AUTH_EXPIRED`: well signed, but not now. Answer with the message's own id and with `details.serverTime`.
    #[error("signed outside the window, sign again at {server_time_ms}")]
    Expired {
        /// The clock it was measured on, in milliseconds since 1970.
        server_time_ms: u64,
    },
    /// `AUTH_REPLAYED`: well signed, but seen before. Answer with the message's own id.
    #[error("message was seen before")]
    Replayed,
    /// `RATE_LIMITED`: well signed, but more than may come, and not remembered. Answer with the message's own id.
    #[error("too many messages, try again in {retry_after_ms} ms")]
    TooFast {
        /// Milliseconds until the next one is taken.
        retry_after_ms: u64,
    },
    /// `OVERLOADED`: well signed, but no more nonces can be remembered. Answer with the message's own id.
    #[error("too many messages in the replay window, try again in {retry_after_ms} ms")]
    CacheFull {
        /// Milliseconds until there is room.
        retry_after_ms: u64,
    },
}

impl AuthFailure {
    /// Whether the signature was good: then the message's own `requestId` may be used in the answer.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.is_excused() || matches!(self, Self::Replayed)
    }

    /// Whether it says nothing against the peer: it never ends a server's connection.
    #[must_use]
    pub const fn is_excused(&self) -> bool {
        matches!(self, Self::Expired { .. } | Self::CacheFull { .. } | Self::TooFast { .. })
    }
}

/// A message whose `auth` is refused, and whether that was the last one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct AuthRefusal {
    /// What is wrong. A server answers it.
    pub failure: AuthFailure,
    /// Close the connection with this, after the answer. A server closes on the third failure that is not
    /// [excused](AuthFailure::is_excused); a client on the first of any kind.
    ///
    /// A client may connect again after [`Expired`](AuthFailure::Expired): its idea of the server's clock can be wrong
    /// after a sleep of the machine, and the next hello mends it.
    pub close: Option<Close>,
}
