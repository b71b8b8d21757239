//! The WebSocket engine as a codec: `tungstenite` over a pipe in memory.
//!
//! Reading and control frames go through the engine. Data frames of a server go out by hand, header and payload, so that
//! the payload is not copied; those of a client are masked while they are copied.

mod tracker;

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use spandrel_transport::{Close, Codec, Frame, Kind, Limits, WireError};
use spandrel_wire::OutBuf;
use tungstenite::{
    Error, Message,
    error::{CapacityError, ProtocolError},
    protocol::{
        CloseFrame, WebSocketConfig, WebSocketContext,
        frame::coding::{Data, OpCode},
    },
};

use tracker::Tracker;

/// Buffer the engine reads into; small, since an idle connection keeps it.
const ENGINE_READ_BYTES: usize = 4 << 10;
/// After a longer frame the engine's buffers are too large for a connection that waits.
const ENGINE_KEEP_BYTES: usize = 2 * ENGINE_READ_BYTES;
/// Longest payload of a control frame: RFC 6455 section 5.5.
const CONTROL_BYTES_MAX: usize = 125;
/// Most bytes asked for in one read.
const READ_BYTES_MAX: usize = 16 << 10;

/// Which end of the connection this is. A client masks what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The end that was dialled.
    Server,
    /// The end that dialled.
    Client,
}

/// Codec of an upgraded WebSocket connection.
///
/// Pings are answered and counted, fragments joined, text checked, the peer's close answered. Every breach becomes a
/// [`WireError`] with the close code of RFC 6455: 1009 too big, 1007 bad UTF-8, 1008 too many fragments, else 1002.
pub struct WsCodec {
    engine: Box<WebSocketContext>,
    role: Role,
    tracker: Tracker,
    frame_bytes_max: usize,
    /// Longest frame masked in the engine's buffer since it was new.
    masked_bytes: usize,
    /// The engine holds no bytes: it asked for more than there were.
    is_drained: bool,
    closed: Option<Close>,
    is_broken: bool,
}

impl WsCodec {
    /// Makes a codec for one end, with the frame and fragment limits of `limits`.
    #[must_use]
    pub fn new(role: Role, limits: &Limits) -> Self {
        let max = limits.frame_bytes_max;
        Self {
            engine: engine(role, max),
            role,
            tracker: Tracker::new(limits.fragments_max),
            frame_bytes_max: max,
            masked_bytes: 0,
            is_drained: true,
            closed: None,
            is_broken: false,
        }
    }

    fn next(&mut self, src: &mut BytesMut, eof: bool, out: &mut OutBuf) -> Result<Option<Frame>, WireError> {
        self.is_drained = false;
        loop {
            let mut pipe = Pipe { src, out, eof, tracker: &mut self.tracker };
            match self.engine.read(&mut pipe) {
                Ok(Message::Text(text)) => return Ok(Some(Frame::from_checked_text(text.into()))),
                Ok(Message::Binary(data)) => return Ok(Some(Frame::binary(data))),
                Ok(Message::Close(frame)) => {
                    self.closed = Some(close_of(frame));
                    // The engine has the answer ready; reading once more writes it.
                    let _ = self.engine.flush(&mut pipe);
                    return Ok(None);
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.is_drained = src.is_empty();
                    return match self.tracker.over_limit() {
                        Some(max) => Err(WireError::TooManyFragments { max }),
                        None => Ok(None),
                    };
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    self.closed.get_or_insert_with(|| Close::new(Close::NO_CODE, ""));
                    return Ok(None);
                }
                Err(e) => return Err(wire_error(e, self.tracker.is_mid_frame())),
            }
        }
    }

    fn through_engine(&mut self, message: Message, out: &mut OutBuf) -> Result<(), WireError> {
        self.engine.write(&mut Sink(out), message).map_err(|e| wire_error(e, false))
    }
}

impl Codec for WsCodec {
    fn decode(
        &mut self,
        src: &mut BytesMut,
        eof: bool,
        out: &mut OutBuf,
    ) -> Result<Option<Frame>, WireError> {
        if self.is_broken || self.closed.is_some() {
            src.clear();
            return Ok(None);
        }
        self.next(src, eof, out).inspect_err(|_| self.is_broken = true)
    }

    fn encode(&mut self, frame: Frame, out: &mut OutBuf) -> Result<(), WireError> {
        if !self.engine.can_write() {
            return Err(WireError::Closing);
        }
        if frame.len() > self.frame_bytes_max {
            return Err(WireError::TooLong { len: frame.len() as u64, max: self.frame_bytes_max });
        }
        let opcode = match frame.kind() {
            Kind::Text => Data::Text,
            Kind::Binary => Data::Binary,
        };
        match self.role {
            Role::Server => {
                put_frame(opcode, frame.into_data(), out);
                Ok(())
            }
            Role::Client => {
                self.masked_bytes = self.masked_bytes.max(frame.len());
                let message = tungstenite::protocol::frame::Frame::message(
                    frame.into_data(),
                    OpCode::Data(opcode),
                    true,
                );
                self.through_engine(Message::Frame(message), out)
            }
        }
    }

    fn close(&mut self, why: &Close, out: &mut OutBuf) {
        if !why.is_sendable() {
            return;
        }
        let frame = CloseFrame { code: why.code.into(), reason: why.short_reason().into() };
        let _ = self.engine.close(&mut Sink(out), Some(frame));
    }

    fn ping(&mut self, payload: &[u8], out: &mut OutBuf) -> Result<bool, WireError> {
        if payload.len() > CONTROL_BYTES_MAX {
            return Err(WireError::TooLong { len: payload.len() as u64, max: CONTROL_BYTES_MAX });
        }
        if !self.engine.can_write() {
            return Err(WireError::Closing);
        }
        self.through_engine(Message::Ping(Bytes::copy_from_slice(payload)), out)?;
        Ok(true)
    }

    fn closed(&self) -> Option<&Close> {
        self.closed.as_ref()
    }

    fn has_goodbye(&self) -> bool {
        true
    }

    fn read_hint(&self) -> usize {
        self.tracker.missing().clamp(8 << 10, READ_BYTES_MAX)
    }

    fn is_mid_frame(&self) -> bool {
        self.tracker.is_mid_message()
    }

    fn held_bytes(&self) -> usize {
        self.tracker.held()
    }

    fn activity(&self) -> u64 {
        self.tracker.frames()
    }

    /// The engine keeps buffers as long as the longest frame it saw and has no way to give them back. Between messages it
    /// remembers nothing else, so a new one takes its place.
    fn shrink(&mut self) {
        let most = self.tracker.longest().max(self.masked_bytes as u64);
        let is_between_messages =
            self.is_drained && !self.tracker.is_mid_message() && self.closed.is_none() && !self.is_broken;
        if most > ENGINE_KEEP_BYTES as u64 && is_between_messages && self.engine.can_write() {
            self.engine = engine(self.role, self.frame_bytes_max);
            self.tracker.forget_longest();
            self.masked_bytes = 0;
        }
    }
}

fn engine(role: Role, frame_bytes_max: usize) -> Box<WebSocketContext> {
    let config = WebSocketConfig::default()
        .read_buffer_size(ENGINE_READ_BYTES)
        .write_buffer_size(0)
        // Bounds one frame: the pipe takes everything at once.
        .max_write_buffer_size(frame_bytes_max.saturating_add(1024))
        .max_message_size(Some(frame_bytes_max))
        .max_frame_size(Some(frame_bytes_max.max(CONTROL_BYTES_MAX)));
    let role = match role {
        Role::Server => tungstenite::protocol::Role::Server,
        Role::Client => tungstenite::protocol::Role::Client,
    };
    Box::new(WebSocketContext::new(role, Some(config)))
}

impl std::fmt::Debug for WsCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WsCodec")
            .field("role", &self.role)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// The stream the engine believes in: reads what came, writes to what goes out, never waits.
struct Pipe<'a> {
    src: &'a mut BytesMut,
    out: &'a mut OutBuf,
    eof: bool,
    tracker: &'a mut Tracker,
}

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = into.len().min(self.src.len());
        let n = self.tracker.pass(self.src.get(..n).unwrap_or_default());
        if n == 0 {
            return if self.eof && self.src.is_empty() {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        if let (Some(to), Some(from)) = (into.get_mut(..n), self.src.get(..n)) {
            to.copy_from_slice(from);
        }
        self.src.advance(n);
        Ok(n)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.put_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same for writing alone.
struct Sink<'a>(&'a mut OutBuf);

impl Read for Sink<'_> {
    fn read(&mut self, _into: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an unmasked frame: header by hand, payload as it is.
fn put_frame(opcode: Data, payload: Bytes, out: &mut OutBuf) {
    let (head, len) = frame_head(opcode, payload.len(), 0);
    out.put_slice(head.get(..len).unwrap_or_default());
    out.put_bytes(payload);
}

/// Header of a final frame without the mask (RFC 6455 section 5.2): at most 10 bytes, and how many.
fn frame_head(opcode: Data, payload_len: usize, mask_bit: u8) -> ([u8; 10], usize) {
    let first = 0x80 | u8::from(OpCode::Data(opcode));
    let mut head = [first, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    if let Ok(short @ 0..=125) = u8::try_from(payload_len) {
        head[1] = mask_bit | short;
        (head, 2)
    } else if let Ok(medium) = u16::try_from(payload_len) {
        head[1] = mask_bit | 126;
        head[2..4].copy_from_slice(&medium.to_be_bytes());
        (head, 4)
    } else {
        head[1] = mask_bit | 127;
        head[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
        (head, 10)
    }
}

fn close_of(frame: Option<CloseFrame>) -> Close {
    match frame {
        Some(frame) => Close::new(frame.code.into(), frame.reason.as_str().to_owned()),
        None => Close::new(Close::NO_CODE, ""),
    }
}

fn wire_error(error: Error, is_mid_frame: bool) -> WireError {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            WireError::TooLong { len: size as u64, max: max_size }
        }
        Error::Utf8(_) => WireError::Utf8 { at: 0 },
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) if is_mid_frame => WireError::Truncated,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => WireError::Gone,
        Error::Protocol(ProtocolError::SendAfterClosing) | Error::ConnectionClosed | Error::AlreadyClosed => {
            WireError::Closing
        }
        Error::Protocol(e) => WireError::Protocol(e.to_string()),
        e => WireError::Protocol(e.to_string()),
    }
}

#[cfg(test)]
mod tests;
