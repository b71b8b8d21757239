//! The way in: frames out of bytes, messages out of frames (RFC 6455 sections 5.4 to 5.6).

use bytes::{Buf, Bytes, BytesMut};
use spandrel_transport::{Frame, Kind, Limits, WireError};

use super::{
    Role,
    header::{Control, Head, Opcode, breach},
    mask,
    utf8::Utf8,
};

/// A message up to this long is copied out of the read buffer, so that whoever keeps it does not keep the whole buffer.
/// Sharing it would save some 28 ns a message.
const COPY_BYTES_MAX: usize = 512;
/// A longer one takes the buffer with it, and what came behind it gets a new one; those between share it.
const SHARE_BYTES_MAX: usize = 8 << 10;

/// What came whole.
#[derive(Debug)]
pub(crate) enum Event {
    Message(Frame),
    Control(Control, Bytes),
}

/// Takes frames apart and joins the parts of messages. Answers nothing.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Who sends what is read here.
    from: Role,
    frame_bytes_max: usize,
    fragments_max: usize,
    /// The frame whose header was taken.
    under_way: Option<Part>,
    /// The message that comes in parts.
    message: Option<Message>,
    /// State of the text under way, whether it comes in parts or not.
    utf8: Utf8,
    finished: u64,
}

/// A frame past its header.
#[derive(Debug)]
struct Part {
    what: What,
    is_final: bool,
    mask: [u8; 4],
    len: usize,
    /// Payload bytes seen, unmasked and checked. Those of a message in parts have moved there, all others are still in
    /// the buffer they were read into.
    done: usize,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Control(Control),
    Message(Kind),
}

#[derive(Debug)]
struct Message {
    kind: Kind,
    data: Vec<u8>,
    parts: usize,
}

impl Reader {
    pub(crate) fn new(from: Role, limits: &Limits) -> Self {
        Self {
            from,
            frame_bytes_max: limits.frame_bytes_max,
            fragments_max: limits.fragments_max,
            under_way: None,
            message: None,
            utf8: Utf8::default(),
            finished: 0,
        }
    }

    /// Takes what comes next from `src`; `None` while bytes are missing. What is left in `src` belongs to the next call.
    ///
    /// # Errors
    ///
    /// The rule that was broken, as soon as the bytes tell. Nothing may be read after it.
    #[inline]
    pub(crate) fn next(&mut self, src: &mut BytesMut) -> Result<Option<Event>, WireError> {
        loop {
            let mut part = match self.under_way.take() {
                Some(part) => part,
                None => match self.begin(src)? {
                    Some(part) => part,
                    None => return Ok(None),
                },
            };
            if !self.take(&mut part, src)? {
                self.under_way = Some(part);
                return Ok(None);
            }
            self.finished += 1;
            if let Some(event) = self.finish(&part, src)? {
                return Ok(Some(event));
            }
        }
    }

    /// Takes a header, once it is complete and right.
    #[inline]
    fn begin(&mut self, src: &mut BytesMut) -> Result<Option<Part>, WireError> {
        let Some(head) = Head::parse(src) else { return Ok(None) };
        let (opcode, len) = head.check(self.from, self.frame_bytes_max)?;
        let is_final = head.is_final();
        let what = match opcode {
            Opcode::Control(control) => What::Control(control),
            Opcode::Data(kind) => What::Message(self.first(kind, is_final)?),
            Opcode::Continue => What::Message(self.further(len)?),
        };
        src.advance(head.bytes);
        Ok(Some(Part { what, is_final, mask: head.mask, len, done: 0 }))
    }

    /// A message starts.
    #[inline]
    fn first(&mut self, kind: Kind, is_final: bool) -> Result<Kind, WireError> {
        if self.message.is_some() {
            return Err(breach("new message inside a message in parts, expected its next part".to_owned()));
        }
        if self.fragments_max == 0 {
            return Err(WireError::TooManyFragments { max: 0 });
        }
        if !is_final {
            self.message = Some(Message { kind, data: Vec::new(), parts: 1 });
        }
        self.utf8 = Utf8::default();
        Ok(kind)
    }

    /// A message goes on.
    fn further(&mut self, len: usize) -> Result<Kind, WireError> {
        let Some(message) = &mut self.message else {
            return Err(breach("next part of a message, but none is under way".to_owned()));
        };
        message.parts += 1;
        if message.parts > self.fragments_max {
            return Err(WireError::TooManyFragments { max: self.fragments_max });
        }
        let total = message.data.len().saturating_add(len);
        if total > self.frame_bytes_max {
            return Err(WireError::TooLong { len: total as u64, max: self.frame_bytes_max });
        }
        Ok(message.kind)
    }

    /// Looks at the payload that has come since. Is it all there?
    #[inline]
    fn take(&mut self, part: &mut Part, src: &mut BytesMut) -> Result<bool, WireError> {
        let kind = match part.what {
            What::Control(_) => return Ok(src.len() >= part.len),
            What::Message(kind) => kind,
        };
        let fresh = match &mut self.message {
            Some(message) => {
                let (at, n) = (message.data.len(), src.len().min(part.len - part.done));
                message.data.extend_from_slice(src.get(..n).unwrap_or_default());
                src.advance(n);
                message.data.get_mut(at..)
            }
            None => {
                let end = src.len().min(part.len);
                src.get_mut(part.done..end)
            }
        };
        let fresh = fresh.unwrap_or_default();
        mask::apply(fresh, part.mask, part.done);
        if kind == Kind::Text {
            self.utf8.feed(fresh).map_err(|at| WireError::Utf8 { at })?;
        }
        part.done += fresh.len();
        Ok(part.done == part.len)
    }

    /// Makes something of a frame that is all there.
    #[inline]
    fn finish(&mut self, part: &Part, src: &mut BytesMut) -> Result<Option<Event>, WireError> {
        let kind = match part.what {
            What::Control(control) => {
                mask::apply(src.get_mut(..part.len).unwrap_or_default(), part.mask, 0);
                return Ok(Some(Event::Control(control, copy_out(src, part.len))));
            }
            What::Message(_) if !part.is_final => return Ok(None),
            What::Message(kind) => kind,
        };
        let data = match self.message.take() {
            Some(message) => Bytes::from(message.data),
            None => take_out(src, part.len),
        };
        Ok(Some(Event::Message(match kind {
            Kind::Text => {
                self.utf8.finish().map_err(|at| WireError::Utf8 { at })?;
                Frame::from_checked_text(data)
            }
            Kind::Binary => Frame::binary(data),
        })))
    }

    /// Frames of any sort that came whole.
    pub(crate) const fn finished(&self) -> u64 {
        self.finished
    }

    /// Payload bytes missing from the frame under way, if they must come to lie behind those that are there.
    pub(crate) fn missing(&self) -> usize {
        match (&self.under_way, &self.message) {
            (Some(part), None) => part.len - part.done,
            _ => 0,
        }
    }

    /// Bytes of the message that comes in parts; others are still in the buffer they were read into.
    pub(crate) fn held(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.data.len())
    }

    /// Was the start of a frame taken, and not its end?
    pub(crate) const fn is_mid_frame(&self) -> bool {
        self.under_way.is_some()
    }

    /// Or the start of a message?
    pub(crate) const fn is_mid_message(&self) -> bool {
        self.under_way.is_some() || self.message.is_some()
    }
}

/// Takes a whole payload out of the buffer it was read into.
#[inline]
fn take_out(src: &mut BytesMut, len: usize) -> Bytes {
    if len <= COPY_BYTES_MAX {
        return copy_out(src, len);
    }
    if len <= SHARE_BYTES_MAX {
        return src.split_to(len).freeze();
    }
    let behind = BytesMut::from(src.get(len..).unwrap_or_default());
    let mut own = std::mem::replace(src, behind);
    own.truncate(len);
    own.freeze()
}

#[inline]
fn copy_out(src: &mut BytesMut, len: usize) -> Bytes {
    let copy = Bytes::copy_from_slice(src.get(..len).unwrap_or_default());
    src.advance(len);
    copy
}
