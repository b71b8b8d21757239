//! RFC 6455 without I/O: bytes in, messages and answers out.
//!
//! Reading down: this file holds the contract and answers the peer, `reader` makes messages of bytes, `header`, `mask`
//! and `utf8` are what frames consist of.

mod header;
mod mask;
mod reader;
mod utf8;

use bytes::{Bytes, BytesMut};
use spandrel_transport::{Close, Codec, Frame, Limits, WireError};
use spandrel_wire::OutBuf;

use header::{CONTROL_BYTES_MAX, Control, Opcode, breach};
use mask::Masks;
use reader::{Event, Reader};

/// Room for one read when nothing is known to come.
const READ_BYTES: usize = 8 << 10;
/// Room for what may follow a large frame, so that its end needs no buffer of its own.
const READ_ON_BYTES: usize = 16 << 10;
/// Most bytes of a frame that room is made for at once.
const READ_BYTES_MAX: usize = 48 << 10;

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
/// It comes as early as the bytes allow: a header that is wrong or announces too much is not waited for, nor is the rest
/// of a text with a bad byte in it.
///
/// A connection that waits holds no buffer. While a frame is under way its payload stays in the `src` of
/// [`decode`](Codec::decode), which must be the same buffer with more at its end in the next call.
pub struct WsCodec {
    reader: Reader,
    /// Of a client.
    masks: Option<Box<Masks>>,
    frame_bytes_max: usize,
    /// Neither end has said goodbye, and the stream has not ended.
    is_open: bool,
    is_broken: bool,
    closed: Option<Close>,
}

impl WsCodec {
    /// Makes a codec for one end, with the frame and fragment limits of `limits`.
    #[must_use]
    pub fn new(role: Role, limits: &Limits) -> Self {
        let (peer, masks) = match role {
            Role::Server => (Role::Client, None),
            Role::Client => (Role::Server, Some(Box::new(Masks::new()))),
        };
        Self {
            reader: Reader::new(peer, limits),
            masks,
            frame_bytes_max: limits.frame_bytes_max,
            is_open: true,
            is_broken: false,
            closed: None,
        }
    }

    #[inline]
    fn next(&mut self, src: &mut BytesMut, eof: bool, out: &mut OutBuf) -> Result<Option<Frame>, WireError> {
        loop {
            match self.reader.next(src)? {
                Some(Event::Message(frame)) => return Ok(Some(frame)),
                Some(Event::Control(control, payload)) => {
                    self.answer(control, payload, out)?;
                    if self.closed.is_some() {
                        return Ok(None);
                    }
                }
                None if !eof => return Ok(None),
                None => {
                    self.is_open = false;
                    let is_cut = !src.is_empty() || self.reader.is_mid_frame();
                    return Err(if is_cut { WireError::Truncated } else { WireError::Gone });
                }
            }
        }
    }

    fn answer(&mut self, control: Control, payload: Bytes, out: &mut OutBuf) -> Result<(), WireError> {
        match control {
            Control::Ping if self.is_open => self.put(Opcode::Control(Control::Pong), payload, out),
            // Section 5.5.1: nothing is sent after a close.
            Control::Ping | Control::Pong => Ok(()),
            Control::Close => self.answer_close(payload, out),
        }
    }

    /// Section 5.5.1: the first close is answered with the same; one that may not be is a breach, told in the answer.
    fn answer_close(&mut self, payload: Bytes, out: &mut OutBuf) -> Result<(), WireError> {
        let mut close = parse_close(&payload)?;
        if std::mem::replace(&mut self.is_open, false) {
            if payload.is_empty() || close.is_sendable() {
                self.put(Opcode::Control(Control::Close), payload, out)?;
            } else {
                close = Close::new(Close::PROTOCOL, format!("close code {} is not for the wire", close.code));
                self.put_close(&close, out)?;
            }
        }
        self.closed = Some(close);
        Ok(())
    }

    fn put_close(&mut self, why: &Close, out: &mut OutBuf) -> Result<(), WireError> {
        let payload = [&why.code.to_be_bytes(), why.short_reason().as_bytes()].concat();
        self.put(Opcode::Control(Control::Close), payload.into(), out)
    }

    /// Writes a frame; nothing of it in case of an error.
    #[inline]
    fn put(&mut self, opcode: Opcode, payload: Bytes, out: &mut OutBuf) -> Result<(), WireError> {
        match &mut self.masks {
            None => {
                header::put(opcode, payload.len(), None, out);
                out.put_bytes(payload);
            }
            Some(masks) => {
                let mask = masks.next()?;
                header::put(opcode, payload.len(), Some(mask), out);
                out.put_edited(&payload, |copy| mask::apply(copy, mask, 0));
            }
        }
        Ok(())
    }
}

impl Codec for WsCodec {
    #[inline]
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

    #[inline]
    fn encode(&mut self, frame: Frame, out: &mut OutBuf) -> Result<(), WireError> {
        if !self.is_open {
            return Err(WireError::Closing);
        }
        if frame.len() > self.frame_bytes_max {
            return Err(WireError::TooLong { len: frame.len() as u64, max: self.frame_bytes_max });
        }
        self.put(Opcode::Data(frame.kind()), frame.into_data(), out)
    }

    fn close(&mut self, why: &Close, out: &mut OutBuf) {
        if why.is_sendable() && std::mem::replace(&mut self.is_open, false) {
            // Without random bytes for the mask the peer gets no goodbye, only the end of the stream.
            let _ = self.put_close(why, out);
        }
    }

    fn ping(&mut self, payload: &[u8], out: &mut OutBuf) -> Result<bool, WireError> {
        if payload.len() > CONTROL_BYTES_MAX {
            return Err(WireError::TooLong { len: payload.len() as u64, max: CONTROL_BYTES_MAX });
        }
        if !self.is_open {
            return Err(WireError::Closing);
        }
        self.put(Opcode::Control(Control::Ping), Bytes::copy_from_slice(payload), out)?;
        Ok(true)
    }

    fn closed(&self) -> Option<&Close> {
        self.closed.as_ref()
    }

    fn has_goodbye(&self) -> bool {
        true
    }

    fn read_hint(&self) -> usize {
        match self.reader.missing() {
            0..=READ_BYTES => READ_BYTES,
            missing => missing.min(READ_BYTES_MAX) + READ_ON_BYTES,
        }
    }

    fn is_mid_frame(&self) -> bool {
        self.reader.is_mid_message()
    }

    fn activity(&self) -> u64 {
        self.reader.finished()
    }
}

impl std::fmt::Debug for WsCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WsCodec")
            .field("role", if self.masks.is_some() { &Role::Client } else { &Role::Server })
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Reads the payload of a close: nothing, or a code of two bytes and a reason.
fn parse_close(payload: &[u8]) -> Result<Close, WireError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(Close::new(Close::NO_CODE, "")),
            _ => Err(breach("close of 1 byte, expected none or at least 2 for the code".to_owned())),
        };
    };
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Close::new(u16::from_be_bytes(*code), reason.to_owned())),
        Err(e) => Err(WireError::Utf8 { at: 2 + e.valid_up_to() }),
    }
}

#[cfg(test)]
mod tests;
