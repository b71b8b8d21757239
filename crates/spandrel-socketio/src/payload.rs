//! Polling bodies of Engine.IO 3: several packets in one, as text or as bytes.
//!
//! | form | one packet | length counts |
//! |---|---|---|
//! | text | `24:42["message",{"data":2}]` | UTF-16 code units, as JavaScript does |
//! | text, binary packet (`b64=1`) | `6:b4AQL/` | the same: type, then base64 |
//! | binary | `00` or `01`, one byte 0 to 9 per decimal digit, `ff`, the packet | bytes |

use base64::{
    Engine as _, alphabet, engine::DecodePaddingMode, engine::GeneralPurpose, engine::GeneralPurposeConfig,
};
use bytes::{Bytes, BytesMut};
use spandrel_wire::Frame;

use crate::{EngineError, Limits, PacketKind, json::write_number};

/// How a polling body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `text/plain; charset=UTF-8`.
    Text,
    /// `application/octet-stream`.
    Binary,
}

impl Form {
    /// Returns the content type a body of this form is sent with.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=UTF-8",
            Self::Binary => "application/octet-stream",
        }
    }

    /// Reads a content type: bytes when it is `application/octet-stream`, else text, as Engine.IO 3 does.
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/octet-stream") { Self::Binary } else { Self::Text }
    }
}

/// Takes a body apart into frames in WebSocket form, which share the body's bytes (base64 ones are decoded).
///
/// # Errors
///
/// Any fault, also in the last packet, is one of the whole body: close the session. A body without packets is a fault.
pub fn decode_payload(body: Bytes, form: Form, limits: &Limits) -> Result<Vec<Frame>, EngineError> {
    if body.len() > limits.payload_bytes_max {
        return Err(EngineError::TooLong { len: body.len(), max: limits.payload_bytes_max });
    }
    if form == Form::Text
        && let Err(e) = std::str::from_utf8(&body)
    {
        return Err(EngineError::Utf8 { at: e.valid_up_to() });
    }
    let mut reader = Reader { is_ascii: form == Form::Text && body.is_ascii(), body, at: 0, limits };
    let mut frames = Vec::new();
    loop {
        frames.push(match form {
            Form::Text => reader.text_packet()?,
            Form::Binary => reader.binary_packet()?,
        });
        if reader.at == reader.body.len() {
            return Ok(frames);
        }
        if frames.len() >= limits.packets_per_payload_max {
            return Err(EngineError::TooManyPackets { max: limits.packets_per_payload_max });
        }
    }
}

/// Puts frames in WebSocket form into one body: text, unless a frame is binary and the peer reads bytes (`b64` false).
///
/// No frames give an empty body, which no peer accepts.
pub fn encode_payload<'a, I>(frames: I, b64: bool) -> (Form, Bytes)
where
    I: IntoIterator<Item = &'a Frame>,
    I::IntoIter: Clone,
{
    let frames = frames.into_iter();
    let (bytes, has_binary) = frames
        .clone()
        .fold((0_usize, false), |(bytes, binary), f| (bytes.saturating_add(f.len()), binary || !f.is_text()));
    let mut out = Vec::with_capacity(bytes.saturating_add(if has_binary { bytes / 3 + 64 } else { 64 }));
    if has_binary && !b64 {
        frames.for_each(|frame| write_binary_packet(frame, &mut out));
        return (Form::Binary, out.into());
    }
    frames.for_each(|frame| write_text_packet(frame, &mut out));
    (Form::Text, out.into())
}

/// Counts the UTF-16 code units of UTF-8 text: one for each character, two for those of four bytes.
pub(crate) fn utf16_len(text: &[u8]) -> usize {
    // In blocks, so that the counters of a block fit a byte and the loop becomes vector code.
    text.chunks(120).map(|block| usize::from(block_units(block))).sum()
}

/// At most 120 bytes: at most 120 units.
fn block_units(block: &[u8]) -> u8 {
    block
        .iter()
        .fold(0_u8, |n, &b| n.wrapping_add(u8::from(b & 0xc0 != 0x80)).wrapping_add(u8::from(b >= 0xf0)))
}

fn write_text_packet(frame: &Frame, out: &mut Vec<u8>) {
    if frame.is_text() {
        write_number(utf16_len(frame.data()) as u64, out);
        out.push(b':');
        out.extend_from_slice(frame.data());
        return;
    }
    let (kind, data) = frame.data().split_first().map_or((0, &[][..]), |(kind, data)| (*kind, data));
    write_number((data.len().div_ceil(3) * 4 + 2) as u64, out);
    out.extend_from_slice(&[b':', b'b', b'0'.wrapping_add(kind)]);
    let at = out.len();
    out.resize(at + data.len().div_ceil(3) * 4, b'=');
    let space = out.get_mut(at..).unwrap_or_default();
    // The space is exactly what the padded form takes.
    let _ = BASE64.encode_slice(data, space);
}

fn write_binary_packet(frame: &Frame, out: &mut Vec<u8>) {
    out.push(u8::from(!frame.is_text()));
    let at = out.len();
    write_number(frame.len() as u64, out);
    out.iter_mut().skip(at).for_each(|digit| *digit -= b'0');
    out.push(0xff);
    out.extend_from_slice(frame.data());
}

/// Padding is written, and read whether it is there or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

struct Reader<'a> {
    body: Bytes,
    at: usize,
    is_ascii: bool,
    limits: &'a Limits,
}

impl Reader<'_> {
    fn text_packet(&mut self) -> Result<Frame, EngineError> {
        let units = self.length(b'0', b':', "a length in digits and a colon")?;
        let start = self.at;
        let rest = self.body.get(start..).unwrap_or_default();
        let len =
            if self.is_ascii { Some(units).filter(|n| *n <= rest.len()) } else { utf16_cut(rest, units) };
        let Some(len) = len else { return self.fault("as many UTF-16 units as announced") };
        self.at += len;
        let packet = self.body.slice(start..self.at);
        if packet.first() == Some(&b'b') {
            return self.base64_packet(start, &packet);
        }
        self.checked(Frame::from_checked_text(packet))
    }

    fn base64_packet(&self, start: usize, packet: &[u8]) -> Result<Frame, EngineError> {
        let fault = EngineError::Payload { at: start, expected: "b, a type from 0 to 6, base64" };
        let [_, kind @ b'0'..=b'6', text @ ..] = packet else { return Err(fault) };
        let mut out = BytesMut::zeroed(1 + base64::decoded_len_estimate(text.len()));
        let Some((first, space)) = out.split_first_mut() else { return Err(fault) };
        *first = kind - b'0';
        let Ok(len) = BASE64.decode_slice(text, space) else { return Err(fault) };
        out.truncate(1 + len);
        self.checked(Frame::binary(out))
    }

    fn binary_packet(&mut self) -> Result<Frame, EngineError> {
        let kind = self.body.get(self.at).copied();
        if !matches!(kind, Some(0 | 1)) {
            return self.fault("00 or 01");
        }
        self.at += 1;
        let len = self.length(0, 0xff, "a length in digits from 00 to 09 and ff")?;
        let start = self.at;
        if len > self.body.len() - start {
            return self.fault("as many bytes as announced");
        }
        self.at += len;
        let packet = self.body.slice(start..self.at);
        if kind == Some(1) {
            return self.checked(Frame::binary(packet));
        }
        match std::str::from_utf8(&packet) {
            Ok(_) => self.checked(Frame::from_checked_text(packet)),
            Err(e) => Err(EngineError::Utf8 { at: start + e.valid_up_to() }),
        }
    }

    /// Reads digits that count from `zero` up to the byte `end`, and passes over it.
    fn length(&mut self, zero: u8, end: u8, expected: &'static str) -> Result<usize, EngineError> {
        // Ten digits are more than any body has bytes.
        let window = self.body.get(self.at..).unwrap_or_default();
        let digits = window.iter().take(11).take_while(|b| **b != end).count();
        if !(1..=10).contains(&digits) || window.get(digits) != Some(&end) {
            return self.fault(expected);
        }
        let mut len = 0_u64;
        for byte in window.iter().take(digits) {
            match byte.wrapping_sub(zero) {
                digit @ 0..=9 => len = len * 10 + u64::from(digit),
                _ => return self.fault(expected),
            }
        }
        let max = self.limits.payload_bytes_max;
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= max) else {
            return Err(EngineError::TooLong { len: usize::try_from(len).unwrap_or(usize::MAX), max });
        };
        self.at += digits + 1;
        Ok(len)
    }

    /// A frame has a type there is, and is no longer than a message with its type may be.
    fn checked(&self, frame: Frame) -> Result<Frame, EngineError> {
        let (len, max) = (frame.len(), self.limits.message_bytes_max);
        if len > max.saturating_add(1) {
            return Err(EngineError::TooLong { len, max });
        }
        PacketKind::of(&frame).map(|_| frame)
    }

    fn fault<T>(&self, expected: &'static str) -> Result<T, EngineError> {
        Err(EngineError::Payload { at: self.at, expected })
    }
}

/// How many bytes of `text` make `units` UTF-16 units; `None` when there are fewer or the cut goes through a character.
fn utf16_cut(text: &[u8], units: usize) -> Option<usize> {
    let (mut at, mut left) = (0, units);
    for block in text.chunks(120) {
        let n = usize::from(block_units(block));
        if n > left || block.len() > left {
            break;
        }
        left -= n;
        at += block.len();
    }
    for &byte in text.get(at..)? {
        let width = usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0);
        if width > left && width > 0 {
            break;
        }
        left -= width;
        at += 1;
    }
    // A cut through a pair leaves one unit.
    (left == 0).then_some(at)
}

#[cfg(test)]
mod tests;
