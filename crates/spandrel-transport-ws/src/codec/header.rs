//! Headers of frames: their layout and the rules a single one must obey (RFC 6455 section 5.2).
//!
//! | bits or bytes | meaning |
//! |---|---|
//! | 1 bit | last part of the message |
//! | 3 bits | for extensions; we agree to none, so 0 |
//! | 4 bits | opcode |
//! | 1 bit | masked: set by clients, never by servers |
//! | 7 bits | length; 126: the next 2 bytes are it, 127: the next 8 |
//! | 4 bytes | mask, if masked |

use spandrel_transport::{Kind, WireError};
use spandrel_wire::OutBuf;

use super::Role;

/// Longest payload of a control frame: RFC 6455 section 5.5.
pub(crate) const CONTROL_BYTES_MAX: usize = 125;
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;
const LENGTH_IN_2: u8 = 126;
const LENGTH_IN_8: u8 = 127;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// One more part of the message under way.
    Continue,
    /// A message, or its first part.
    Data(Kind),
    /// A control frame, which may stand between the parts of a message.
    Control(Control),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn parse(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continue,
            1 => Self::Data(Kind::Text),
            2 => Self::Data(Kind::Binary),
            8 => Self::Control(Control::Close),
            9 => Self::Control(Control::Ping),
            10 => Self::Control(Control::Pong),
            _ => return None,
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continue => 0,
            Self::Data(Kind::Text) => 1,
            Self::Data(Kind::Binary) => 2,
            Self::Control(Control::Close) => 8,
            Self::Control(Control::Ping) => 9,
            Self::Control(Control::Pong) => 10,
        }
    }
}

/// A header as it stands on the wire, not checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    first: u8,
    is_masked: bool,
    len: u64,
    /// All zero when there is none, which changes nothing.
    pub(crate) mask: [u8; 4],
    /// Length of the header itself, 2 to 14 bytes.
    pub(crate) bytes: usize,
}

impl Head {
    /// Reads the header at the start of `src`; `None` while it is not complete.
    #[inline]
    pub(crate) fn parse(src: &[u8]) -> Option<Self> {
        let (&[first, second], rest) = src.split_first_chunk()?;
        let (len, rest) = match second & LENGTH {
            LENGTH_IN_2 => {
                rest.split_first_chunk().map(|(n, rest)| (u64::from(u16::from_be_bytes(*n)), rest))?
            }
            LENGTH_IN_8 => rest.split_first_chunk().map(|(n, rest)| (u64::from_be_bytes(*n), rest))?,
            short => (u64::from(short), rest),
        };
        let is_masked = second & MASKED != 0;
        let (mask, rest) =
            if is_masked { rest.split_first_chunk().map(|(m, rest)| (*m, rest))? } else { ([0; 4], rest) };
        Some(Self { first, is_masked, len, mask, bytes: src.len() - rest.len() })
    }

    /// Applies the rules that need no other frame. Returns what comes and how long it is, at most `frame_bytes_max`, or
    /// 125 for a control frame.
    ///
    /// A length written longer than needed is taken: section 5.2 forbids writing it, and reading it does no harm.
    #[inline]
    pub(crate) fn check(&self, from: Role, frame_bytes_max: usize) -> Result<(Opcode, usize), WireError> {
        let Some(opcode) = Opcode::parse(self.first & OPCODE) else {
            return Err(breach(format!(
                "opcode {} is reserved, expected 0, 1, 2, 8, 9 or 10",
                self.first & OPCODE
            )));
        };
        let max = match opcode {
            Opcode::Control(_) => frame_bytes_max.max(CONTROL_BYTES_MAX),
            _ => frame_bytes_max,
        };
        // The first bit of a length of 8 bytes must be 0; such a length is over any limit.
        let len = match usize::try_from(self.len) {
            Ok(len) if len <= max && self.len >> 63 == 0 => len,
            _ => return Err(WireError::TooLong { len: self.len, max }),
        };
        if self.is_masked != (from == Role::Client) {
            return Err(breach(match from {
                Role::Client => "frame of a client without a mask, expected one".to_owned(),
                Role::Server => "frame of a server with a mask, expected none".to_owned(),
            }));
        }
        if self.first & RESERVED != 0 {
            let bits = (self.first & RESERVED) >> 4;
            return Err(breach(format!("reserved bits {bits:03b}, expected 000: no extension was agreed")));
        }
        if matches!(opcode, Opcode::Control(_)) {
            if !self.is_final() {
                return Err(breach("control frame in parts, expected it whole".to_owned()));
            }
            if len > CONTROL_BYTES_MAX {
                return Err(breach(format!(
                    "control frame of {len} bytes, at most {CONTROL_BYTES_MAX} are allowed"
                )));
            }
        }
        Ok((opcode, len))
    }

    pub(crate) const fn is_final(&self) -> bool {
        self.first & FINAL != 0
    }
}

/// Writes the header of a frame that is a whole message, with the shortest length there is.
#[inline]
pub(crate) fn put(opcode: Opcode, len: usize, mask: Option<[u8; 4]>, out: &mut OutBuf) {
    let first = FINAL | opcode.bits();
    let bit = if mask.is_some() { MASKED } else { 0 };
    if let Ok(short @ 0..LENGTH_IN_2) = u8::try_from(len) {
        out.put_slice(&[first, bit | short]);
    } else if let Ok(medium) = u16::try_from(len) {
        let [a, b] = medium.to_be_bytes();
        out.put_slice(&[first, bit | LENGTH_IN_2, a, b]);
    } else {
        let [a, b, c, d, e, f, g, h] = (len as u64).to_be_bytes();
        out.put_slice(&[first, bit | LENGTH_IN_8, a, b, c, d, e, f, g, h]);
    }
    if let Some(mask) = mask {
        out.put_slice(&mask);
    }
}

pub(crate) const fn breach(what: String) -> WireError {
    WireError::Protocol(what)
}
