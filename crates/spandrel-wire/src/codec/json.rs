//! Concatenated JSON texts: no delimiter, found by scanning each byte once.

use bytes::{Buf, BytesMut};

use super::{Codec, capped_hint};
use crate::{Frame, Limits, OutBuf, WireError};

/// Codec of concatenated JSON: objects and arrays one after the other, white space between them allowed.
///
/// It finds where a text ends; whether it is JSON inside is for the reader to say. Anything but `{`, `[` or white
/// space between texts, too many closing brackets, or a bracket of the wrong sort breaks the stream. There is no
/// goodbye on this wire; an end of stream between two texts is a clean end.
#[derive(Debug, Clone)]
pub struct JsonCodec {
    scanner: Scanner,
    frame_bytes_max: usize,
    coalesce: bool,
    activity: u64,
}

impl JsonCodec {
    /// Makes a codec with the frame and depth limits of `limits`.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            scanner: Scanner::new(limits.depth_max),
            frame_bytes_max: limits.frame_bytes_max,
            coalesce: true,
            activity: 0,
        }
    }

    /// Sends each text in a write of its own, for peers that cannot read two in one chunk.
    #[must_use]
    pub const fn without_coalescing(mut self) -> Self {
        self.coalesce = false;
        self
    }

    /// Takes objects only: a text that starts with `[` breaks the stream.
    #[must_use]
    pub const fn objects_only(mut self) -> Self {
        self.scanner.objects_only = true;
        self
    }
}

impl Codec for JsonCodec {
    fn decode(
        &mut self,
        src: &mut BytesMut,
        eof: bool,
        _out: &mut OutBuf,
    ) -> Result<Option<Frame>, WireError> {
        if !self.scanner.is_inside() {
            let blank = src.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
            src.advance(blank);
        }
        // The scan stops one byte past the limit, so that a long text costs no more than the limit.
        let window = src.get(..src.len().min(self.frame_bytes_max + 1)).unwrap_or_default();
        match self.scanner.scan(window)? {
            Some(end) if end <= self.frame_bytes_max => {
                self.activity += 1;
                Frame::try_text(src.split_to(end).freeze()).map(Some)
            }
            Some(_) => {
                Err(WireError::TooLong { len: self.frame_bytes_max as u64 + 1, max: self.frame_bytes_max })
            }
            None if src.len() > self.frame_bytes_max => {
                Err(WireError::TooLong { len: self.frame_bytes_max as u64 + 1, max: self.frame_bytes_max })
            }
            None if eof && !src.is_empty() => Err(WireError::Truncated),
            None => Ok(None),
        }
    }

    fn encode(&mut self, frame: Frame, out: &mut OutBuf) -> Result<(), WireError> {
        if !frame.is_text() || !matches!(frame.data().first(), Some(b'{' | b'[')) {
            return Err(WireError::Unsupported(
                "only text frames that start with { or [ go over concatenated JSON",
            ));
        }
        if frame.len() > self.frame_bytes_max {
            return Err(WireError::TooLong { len: frame.len() as u64, max: self.frame_bytes_max });
        }
        out.put_bytes(frame.into_data());
        Ok(())
    }

    fn read_hint(&self) -> usize {
        capped_hint(self.scanner.at)
    }

    fn is_mid_frame(&self) -> bool {
        self.scanner.is_inside()
    }

    fn activity(&self) -> u64 {
        self.activity
    }

    fn coalesce(&self) -> bool {
        self.coalesce
    }
}

/// Finds the end of one JSON object or array; remembers where it stopped, so each byte is looked at once.
#[derive(Debug, Clone)]
struct Scanner {
    /// Next byte to look at, from the start of the text.
    at: usize,
    /// Open brackets, one bit each: 1 for `[`, 0 for `{`.
    open: Vec<u64>,
    depth: usize,
    depth_max: usize,
    in_string: bool,
    escaped: bool,
    objects_only: bool,
}

impl Scanner {
    const fn new(depth_max: usize) -> Self {
        Self {
            at: 0,
            open: Vec::new(),
            depth: 0,
            depth_max,
            in_string: false,
            escaped: false,
            objects_only: false,
        }
    }

    const fn is_inside(&self) -> bool {
        self.at > 0
    }

    /// Looks at the bytes of `text` not yet seen. `text` starts at the text's first byte each time.
    fn scan(&mut self, text: &[u8]) -> Result<Option<usize>, WireError> {
        while let Some(&byte) = text.get(self.at) {
            if self.in_string {
                self.string(text, byte);
                continue;
            }
            self.at += 1;
            match byte {
                b'[' if self.depth == 0 && self.objects_only => {
                    return Err(self.syntax(byte, "{ at the start of a text"));
                }
                b'{' | b'[' => self.push(byte == b'[')?,
                b'}' | b']' => {
                    self.pop(byte)?;
                    if self.depth == 0 {
                        return Ok(Some(std::mem::take(&mut self.at)));
                    }
                }
                _ if self.depth == 0 => return Err(self.syntax(byte, "{ or [ at the start of a text")),
                b'"' => self.in_string = true,
                _ => {}
            }
        }
        Ok(None)
    }

    fn string(&mut self, text: &[u8], byte: u8) {
        if self.escaped {
            self.escaped = false;
            self.at += 1;
            return;
        }
        match byte {
            b'"' => self.in_string = false,
            b'\\' => self.escaped = true,
            _ => {
                // memchr skips the inside of a string in large steps.
                let rest = text.get(self.at..).unwrap_or_default();
                self.at += memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                return;
            }
        }
        self.at += 1;
    }

    fn push(&mut self, is_array: bool) -> Result<(), WireError> {
        if self.depth >= self.depth_max {
            return Err(WireError::TooDeep { max: self.depth_max });
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word >= self.open.len() {
            self.open.push(0);
        }
        if let Some(word) = self.open.get_mut(word) {
            *word = (*word & !(1 << bit)) | (u64::from(is_array) << bit);
        }
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self, byte: u8) -> Result<(), WireError> {
        let Some(top) = self.depth.checked_sub(1) else {
            return Err(self.syntax(byte, "{ or [ at the start of a text"));
        };
        let is_array = self.open.get(top / 64).is_some_and(|word| word >> (top % 64) & 1 == 1);
        if is_array != (byte == b']') {
            return Err(self.syntax(byte, if is_array { "] to close [" } else { "} to close {" }));
        }
        self.depth = top;
        Ok(())
    }

    const fn syntax(&self, byte: u8, expected: &'static str) -> WireError {
        WireError::Syntax { byte, at: self.at.saturating_sub(1), expected }
    }
}
