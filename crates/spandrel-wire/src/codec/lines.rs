//! One JSON text per line.

use bytes::{Buf, BytesMut};

use super::{Codec, capped_hint};
use crate::{Frame, Limits, OutBuf, WireError};

/// Codec of newline-delimited JSON: one text frame per line ended by LF (a CR before it is dropped), empty lines
/// skipped. Whether the line is JSON is for the reader to say, and what to answer when it is not: a line that is not even
/// UTF-8 arrives as a binary frame, the only way one can arrive here.
///
/// A line over the limit ends the link, or with [`LongLines::Skip`] is passed over up to its end and counted
/// ([`Codec::dropped`]): no more than the limit is held of it, and the memory is given back at once.
///
/// At the end of the stream a last line without LF counts as a line. There is no goodbye on this wire.
#[derive(Debug, Clone)]
pub struct LinesCodec {
    frame_bytes_max: usize,
    long_lines: LongLines,
    /// Bytes of `src` already searched for a line end.
    searched: usize,
    /// Inside a line that is passed over.
    is_skipping: bool,
    dropped: u64,
    activity: u64,
}

/// What becomes of a line over the limit, on wires of one message per line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LongLines {
    /// The link ends with [`WireError::TooLong`].
    #[default]
    Refuse,
    /// The line is dropped up to its end and counted; the next one is read as ever.
    Skip,
}

impl LinesCodec {
    /// Makes a codec with the frame limit of `limits`, and what they say of long lines.
    #[must_use]
    pub const fn new(limits: &Limits) -> Self {
        Self {
            frame_bytes_max: limits.frame_bytes_max,
            long_lines: limits.long_lines,
            searched: 0,
            is_skipping: false,
            dropped: 0,
            activity: 0,
        }
    }

    /// Takes a whole line off `src`: `None` when there is nothing in it, or too much.
    fn take(&mut self, src: &mut BytesMut, end: usize, skip: usize) -> Result<Option<Frame>, WireError> {
        self.searched = 0;
        let mut line = src.split_to(end);
        src.advance(skip.min(src.len()));
        if std::mem::take(&mut self.is_skipping) {
            self.activity += 1;
            return Ok(None);
        }
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if line.len() > self.frame_bytes_max {
            self.pass_over()?;
            self.activity += 1;
            return Ok(None);
        }
        if line.is_empty() {
            return Ok(None);
        }
        self.activity += 1;
        let line = line.freeze();
        Ok(Some(Frame::try_text(line.clone()).unwrap_or_else(|_| Frame::binary(line))))
    }

    /// Counts a line over the limit, or ends the link.
    const fn pass_over(&mut self) -> Result<(), WireError> {
        match self.long_lines {
            LongLines::Refuse => {
                Err(WireError::TooLong { len: self.frame_bytes_max as u64 + 1, max: self.frame_bytes_max })
            }
            LongLines::Skip => {
                self.dropped += 1;
                Ok(())
            }
        }
    }
}

impl Codec for LinesCodec {
    fn decode(
        &mut self,
        src: &mut BytesMut,
        eof: bool,
        _out: &mut OutBuf,
    ) -> Result<Option<Frame>, WireError> {
        loop {
            let fresh = src.get(self.searched..).unwrap_or_default();
            let Some(found) = memchr::memchr(b'\n', fresh) else { break };
            if let Some(frame) = self.take(src, self.searched + found, 1)? {
                return Ok(Some(frame));
            }
        }
        // One byte of grace for the CR that is not part of the line.
        if !self.is_skipping && src.len() > self.frame_bytes_max.saturating_add(1) {
            self.pass_over()?;
            self.is_skipping = true;
        }
        if self.is_skipping {
            // A new buffer, not an empty one: the old one may be as long as the limit.
            *src = BytesMut::new();
            if eof {
                self.is_skipping = false;
                self.activity += 1;
            }
        }
        self.searched = src.len();
        if eof && !src.is_empty() {
            return self.take(src, src.len(), 0);
        }
        Ok(None)
    }

    fn encode(&mut self, frame: Frame, out: &mut OutBuf) -> Result<(), WireError> {
        if !frame.is_text() {
            return Err(WireError::Unsupported("binary frame on a wire of JSON lines"));
        }
        if frame.len() > self.frame_bytes_max {
            return Err(WireError::TooLong { len: frame.len() as u64, max: self.frame_bytes_max });
        }
        if frame.is_empty() || memchr::memchr2(b'\n', b'\r', frame.data()).is_some() {
            return Err(WireError::Unsupported("empty text or line break on a wire of JSON lines"));
        }
        out.put_bytes(frame.into_data());
        out.put_slice(b"\n");
        Ok(())
    }

    fn read_hint(&self) -> usize {
        capped_hint(self.searched)
    }

    fn is_mid_frame(&self) -> bool {
        self.searched > 0 || self.is_skipping
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }

    fn activity(&self) -> u64 {
        self.activity
    }
}
