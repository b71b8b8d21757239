//! Why a link ends: a code and a reason.

use std::{borrow::Cow, fmt};

/// Why a link is closed: a code of RFC 6455 section 7.4 or of an application (4000-4999) and a short reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Close {
    /// The code.
    pub code: u16,
    /// The reason, for people; wires with WebSocket framing carry at most [`Close::REASON_BYTES_MAX`] bytes of it.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// Longest reason a close frame can carry, in bytes: 125 less the code.
    pub const REASON_BYTES_MAX: usize = 123;

    /// 1000: done, in good order.
    pub const NORMAL: u16 = 1000;
    /// 1001: the process goes away.
    pub const GOING_AWAY: u16 = 1001;
    /// 1002: the peer broke the wire protocol.
    pub const PROTOCOL: u16 = 1002;
    /// 1003: a kind of frame this session does not take.
    pub const UNSUPPORTED: u16 = 1003;
    /// 1005: the peer closed without a code. Never sent.
    pub const NO_CODE: u16 = 1005;
    /// 1006: the peer was gone without a close. Never sent.
    pub const ABNORMAL: u16 = 1006;
    /// 1007: bytes that are not what the frame says (bad UTF-8, a stream that does not inflate).
    pub const INVALID_DATA: u16 = 1007;
    /// 1008: against the rules of this server.
    pub const POLICY: u16 = 1008;
    /// 1009: a message over the limit.
    pub const TOO_BIG: u16 = 1009;
    /// 1011: our own fault.
    pub const INTERNAL: u16 = 1011;
    /// 1012: the server restarts.
    pub const RESTART: u16 = 1012;
    /// 1013: too busy, try later.
    pub const TRY_LATER: u16 = 1013;
    /// 4400: connection parameters missing or malformed.
    pub const BAD_PARAMETERS: u16 = 4400;
    /// 4401: authentication failed.
    pub const UNAUTHENTICATED: u16 = 4401;
    /// 4406: no subprotocol both sides know.
    pub const NO_SUBPROTOCOL: u16 = 4406;
    /// 4408: nothing heard for too long.
    pub const HEARTBEAT: u16 = 4408;
    /// 4410: the peer reads too slowly.
    pub const SLOW_CONSUMER: u16 = 4410;

    /// Makes a close.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Makes a normal close (1000) without a reason.
    #[must_use]
    pub const fn normal() -> Self {
        Self { code: Self::NORMAL, reason: Cow::Borrowed("") }
    }

    /// May this code be written on a wire? 1000-1003, 1007-1014 and 3000-4999 may (RFC 6455 section 7.4).
    #[must_use]
    pub const fn is_sendable(&self) -> bool {
        matches!(self.code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Returns the reason cut to what a close frame can carry, never inside a character.
    #[must_use]
    pub fn short_reason(&self) -> &str {
        let mut end = self.reason.len().min(Self::REASON_BYTES_MAX);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        self.reason.get(..end).unwrap_or_default()
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            write!(f, "{}", self.code)
        } else {
            write!(f, "{} {:?}", self.code, self.reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_cut_between_characters() {
        for (name, reason, want) in [
            ("short stays", "why".to_owned(), 3),
            ("ascii", "x".repeat(200), 123),
            ("two bytes each", "é".repeat(100), 122),
        ] {
            assert_eq!(Close::new(1000, reason).short_reason().len(), want, "{name}");
        }
    }

    #[test]
    fn codes_that_stay_off_the_wire() {
        for (code, want) in [
            (999, false),
            (1000, true),
            (1004, false),
            (1005, false),
            (1006, false),
            (1012, true),
            (1015, false),
            (2999, false),
            (4410, true),
            (5000, false),
        ] {
            assert_eq!(Close::new(code, "").is_sendable(), want, "{code}");
        }
    }
}
