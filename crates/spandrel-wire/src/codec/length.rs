//! Length framing: `u32` big-endian length of what follows, `u8` kind, payload (download protocol, section 2.2).

use bytes::{Buf, Bytes, BytesMut};

use super::{Codec, capped_hint};
use crate::{Close, Frame, Kind, Limits, OutBuf, WireError};

const KIND_HELLO: u8 = 0;
const KIND_TEXT: u8 = 1;
const KIND_BINARY: u8 = 2;
const KIND_CLOSE: u8 = 3;
const HEAD_BYTES: usize = 5;
const HELLO_BYTES_MAX: usize = 8 << 10;

/// Codec of the length-framed wire.
///
/// | bytes | meaning |
/// |---|---|
/// | 4 | length of the rest, big-endian: 1 to limit + 1 |
/// | 1 | kind: 0 hello, 1 text, 2 binary, 3 close |
/// | n | payload; of a close: code as `u16` big-endian, then a UTF-8 reason |
///
/// Kind 0 belongs to the start of a connection ([`Hello`]) and is refused by [`Codec::decode`].
#[derive(Debug, Clone)]
pub struct LengthCodec {
    frame_bytes_max: usize,
    closed: Option<Close>,
    said_close: bool,
    missing: usize,
    mid_frame: bool,
    activity: u64,
}

impl LengthCodec {
    /// Makes a codec with the frame limit of `limits`.
    #[must_use]
    pub const fn new(limits: &Limits) -> Self {
        Self {
            frame_bytes_max: limits.frame_bytes_max,
            closed: None,
            said_close: false,
            missing: 0,
            mid_frame: false,
            activity: 0,
        }
    }

    /// Takes the hello with which a connection starts; `Ok(None)` while it is not complete.
    ///
    /// # Errors
    ///
    /// When something else comes, it is longer than 8 KiB, or the peer closes (see [`Codec::closed`]).
    pub fn decode_hello(&mut self, src: &mut BytesMut) -> Result<Option<Hello>, WireError> {
        let Some((kind, payload)) = self.unit(src, HELLO_BYTES_MAX)? else { return Ok(None) };
        match kind {
            KIND_HELLO => match std::str::from_utf8(&payload) {
                Ok(text) => Ok(Some(Hello::parse(text))),
                Err(e) => Err(WireError::Utf8 { at: e.valid_up_to() }),
            },
            KIND_CLOSE => {
                self.closed = Some(parse_close(&payload)?);
                Err(WireError::Closing)
            }
            kind => Err(WireError::UnknownKind { kind, expected: "0 (hello) as the first frame" }),
        }
    }

    /// Writes the hello with which a connection starts.
    pub fn encode_hello(&self, hello: &Hello, out: &mut OutBuf) {
        put_unit(KIND_HELLO, Bytes::from(hello.to_string()), out);
    }

    fn unit(&mut self, src: &mut BytesMut, max: usize) -> Result<Option<(u8, Bytes)>, WireError> {
        let Some((&[a, b, c, d], _)) = src.split_first_chunk::<4>() else {
            self.mid_frame = !src.is_empty();
            self.missing = 0;
            return Ok(None);
        };
        let len = u32::from_be_bytes([a, b, c, d]);
        if len == 0 {
            return Err(WireError::Empty);
        }
        let payload_len = u64::from(len) - 1;
        let Some(payload_len) = usize::try_from(payload_len).ok().filter(|n| *n <= max) else {
            return Err(WireError::TooLong { len: payload_len, max });
        };
        let total = HEAD_BYTES + payload_len;
        if src.len() < total {
            self.mid_frame = true;
            self.missing = total - src.len();
            return Ok(None);
        }
        src.advance(4);
        let kind = src.get_u8();
        self.mid_frame = false;
        self.missing = 0;
        self.activity += 1;
        Ok(Some((kind, src.split_to(payload_len).freeze())))
    }
}

impl Codec for LengthCodec {
    fn decode(
        &mut self,
        src: &mut BytesMut,
        eof: bool,
        _out: &mut OutBuf,
    ) -> Result<Option<Frame>, WireError> {
        if self.closed.is_some() {
            src.clear();
            return Ok(None);
        }
        match self.unit(src, self.frame_bytes_max)? {
            Some((KIND_TEXT, payload)) => Frame::try_text(payload).map(Some),
            Some((KIND_BINARY, payload)) => Ok(Some(Frame::binary(payload))),
            Some((KIND_CLOSE, payload)) => {
                self.closed = Some(parse_close(&payload)?);
                Ok(None)
            }
            Some((kind, _)) => {
                Err(WireError::UnknownKind { kind, expected: "1 (text), 2 (binary), 3 (close)" })
            }
            None if eof && src.is_empty() => Err(WireError::Gone),
            None if eof => Err(WireError::Truncated),
            None => Ok(None),
        }
    }

    fn encode(&mut self, frame: Frame, out: &mut OutBuf) -> Result<(), WireError> {
        if self.said_close {
            return Err(WireError::Closing);
        }
        if frame.len() > self.frame_bytes_max || u32::try_from(frame.len() + 1).is_err() {
            return Err(WireError::TooLong { len: frame.len() as u64, max: self.frame_bytes_max });
        }
        let kind = match frame.kind() {
            Kind::Text => KIND_TEXT,
            Kind::Binary => KIND_BINARY,
        };
        put_unit(kind, frame.into_data(), out);
        Ok(())
    }

    fn close(&mut self, why: &Close, out: &mut OutBuf) {
        if std::mem::replace(&mut self.said_close, true) || !why.is_sendable() {
            return;
        }
        let mut payload = Vec::with_capacity(2 + why.reason.len());
        payload.extend_from_slice(&why.code.to_be_bytes());
        payload.extend_from_slice(why.short_reason().as_bytes());
        put_unit(KIND_CLOSE, payload.into(), out);
    }

    fn closed(&self) -> Option<&Close> {
        self.closed.as_ref()
    }

    fn has_goodbye(&self) -> bool {
        true
    }

    fn read_hint(&self) -> usize {
        if self.missing == 0 { 8 << 10 } else { capped_hint(self.missing) }
    }

    fn is_mid_frame(&self) -> bool {
        self.mid_frame
    }

    fn activity(&self) -> u64 {
        self.activity
    }
}

fn put_unit(kind: u8, payload: Bytes, out: &mut OutBuf) {
    let len = u32::try_from(payload.len() + 1).unwrap_or(u32::MAX); // callers have checked the length
    let [a, b, c, d] = len.to_be_bytes();
    out.put_slice(&[a, b, c, d, kind]);
    out.put_bytes(payload);
}

fn parse_close(payload: &[u8]) -> Result<Close, WireError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(Close::new(Close::NO_CODE, "")),
            _ => Err(WireError::Protocol("close of 1 byte, expected none or at least 2 for the code".into())),
        };
    };
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Close::new(u16::from_be_bytes(*code), reason.to_owned())),
        Err(e) => Err(WireError::Utf8 { at: 2 + e.valid_up_to() }),
    }
}

/// First frame of a length-framed connection: the names offered (or the one chosen) and an optional query.
///
/// Text form: names separated by commas, then after one space a query string, as `a,b kid=k1&cn=x`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hello {
    /// Subprotocol names, the best first; the answer holds one.
    pub names: Vec<String>,
    /// Query string without `?`.
    pub query: Option<String>,
}

impl Hello {
    /// Most names that are looked at; the rest are ignored.
    pub const NAMES_MAX: usize = 32;

    /// Makes a hello of these names without a query.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), query: None }
    }

    /// Reads the text form; never fails, since unknown names are simply not chosen.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (names, query) = match text.split_once(' ') {
            Some((names, query)) => (names, Some(query.to_owned())),
            None => (text, None),
        };
        let names =
            names.split(',').filter(|n| !n.is_empty()).take(Self::NAMES_MAX).map(str::to_owned).collect();
        Self { names, query }
    }
}

impl std::fmt::Display for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.names.join(","))?;
        match &self.query {
            Some(query) => write!(f, " {query}"),
            None => Ok(()),
        }
    }
}
