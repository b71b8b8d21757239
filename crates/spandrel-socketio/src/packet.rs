//! Socket.IO 2 packets out of Engine.IO messages.
//!
//! Text of a packet: `type[count-][namespace,][ack][json]`, for example `2["message",{"data":1}]`, `27["message"]`,
//! `51-/admin,["file",{"_placeholder":true,"num":0}]`.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use spandrel_wire::Frame;

use crate::{
    Limits, PacketError, PacketKind, Value, json,
    value::{Attachments, Elements, without_line_breaks},
};

/// A namespace as it was written: `/`, or a path with a slash in front and maybe a query behind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace(Bytes);

impl Namespace {
    /// `/`, the one every session is in.
    pub const MAIN: Self = Self(Bytes::from_static(b"/"));

    /// Is this `/`, whatever the query?
    #[must_use]
    pub fn is_main(&self) -> bool {
        matches!(&self.0[..], b"/" | [b'/', b'?', ..])
    }

    /// Returns the part before the query.
    #[must_use]
    pub fn path(&self) -> &str {
        let text = self.as_str();
        text.split_once('?').map_or(text, |(path, _)| path)
    }

    /// Returns the whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("/")
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One Socket.IO packet, its attachments included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packet {
    /// `0`: into a namespace. A server sends it unasked for `/`.
    Connect {
        /// Which one.
        namespace: Namespace,
    },
    /// `1`: out of a namespace.
    Disconnect {
        /// Which one.
        namespace: Namespace,
    },
    /// `2` and, with attachments, `5`.
    Event(Event),
    /// `3` and, with attachments, `6`.
    Ack(Ack),
    /// `4`: the peer refuses a namespace.
    Error {
        /// Which one.
        namespace: Namespace,
        /// What it says, most often a string.
        value: Option<Value>,
    },
}

/// The arguments of an event or acknowledgement: a checked JSON array and its attachments.
#[derive(Clone, PartialEq, Eq)]
struct Args {
    array: Value,
    /// Where the first two elements are; those that do not exist end at 0.
    parts: [(usize, usize); 2],
}

impl Args {
    fn part(&self, (start, end): (usize, usize)) -> Option<Value> {
        (end > 0).then(|| self.array.part(start, end))
    }

    /// Elements from the second on.
    fn rest(&self) -> impl Iterator<Item = Value> + '_ {
        let [_, second] = self.parts;
        let after = Elements::after(self.array.json(), second.1);
        self.part(second).into_iter().chain(after.map(|(start, end)| self.array.part(start, end)))
    }
}

/// A named event with arguments, perhaps one that asks for an acknowledgement.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    namespace: Namespace,
    ack_id: Option<u64>,
    args: Args,
}

impl Event {
    /// Returns the namespace it is for.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Returns the name; a lone surrogate in it becomes U+FFFD. To compare, [`is_named`](Self::is_named) costs less.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        json::unescape(self.raw_name()).unwrap_or_default()
    }

    /// Is this its name?
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        json::raw_is(self.raw_name(), name)
    }

    /// Returns the argument at `index`, the first one at 0. Walks over those before it.
    #[must_use]
    pub fn arg(&self, index: usize) -> Option<Value> {
        self.args.rest().nth(index)
    }

    /// Returns the arguments in order.
    pub fn args(&self) -> impl Iterator<Item = Value> + '_ {
        self.args.rest()
    }

    /// Returns the number under which the peer awaits an acknowledgement.
    #[must_use]
    pub const fn ack_id(&self) -> Option<u64> {
        self.ack_id
    }

    /// Returns the buffers that came with it.
    pub fn attachments(&self) -> impl ExactSizeIterator<Item = Bytes> + '_ {
        self.args.array.attachments()
    }

    /// Returns the bytes it keeps alive: text and attachments.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.args.array.len_bytes()
    }

    /// The name between its quotes, as it was written.
    fn raw_name(&self) -> &[u8] {
        let [(start, end), _] = self.args.parts;
        self.args.array.json().get(start + 1..end.saturating_sub(1)).unwrap_or_default()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Event");
        out.field("namespace", &self.namespace.as_str()).field("ack_id", &self.ack_id);
        out.field("args", &self.args.array).finish()
    }
}

/// The answer to an event that asked for one.
#[derive(Clone, PartialEq, Eq)]
pub struct Ack {
    namespace: Namespace,
    id: u64,
    args: Args,
}

impl Ack {
    /// Returns the namespace it is for.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Returns the number of the event it answers.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns the argument at `index`, the first one at 0. Walks over those before it.
    #[must_use]
    pub fn arg(&self, index: usize) -> Option<Value> {
        self.args().nth(index)
    }

    /// Returns the arguments in order.
    pub fn args(&self) -> impl Iterator<Item = Value> + '_ {
        let [first, _] = self.args.parts;
        self.args.part(first).into_iter().chain(self.args.rest())
    }

    /// Returns the bytes it keeps alive: text and attachments.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.args.array.len_bytes()
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Ack");
        out.field("namespace", &self.namespace.as_str()).field("id", &self.id);
        out.field("args", &self.args.array).finish()
    }
}

/// Makes Socket.IO packets of Engine.IO messages, one session's in order.
///
/// Holds back a packet until its attachments have come: at most [`Limits::attachments_max`], and
/// [`Limits::message_bytes_max`] bytes together with its text. After an error the position is lost: close the session.
#[derive(Debug)]
pub struct Decoder {
    attachments_max: usize,
    message_bytes_max: usize,
    pending: Option<Box<Pending>>,
}

#[derive(Debug)]
struct Pending {
    head: Head,
    json: Json,
    wanted: usize,
    frames: Vec<Bytes>,
    bytes: usize,
}

impl Decoder {
    /// Awaits a first message.
    #[must_use]
    pub const fn new(limits: &Limits) -> Self {
        Self {
            attachments_max: limits.attachments_max,
            message_bytes_max: limits.message_bytes_max,
            pending: None,
        }
    }

    /// Takes one Engine.IO message, the whole frame with its type `4`; gives a packet when it is complete.
    ///
    /// # Errors
    ///
    /// Any [`PacketError`]; nothing more is to be pushed then.
    pub fn push(&mut self, frame: Frame) -> Result<Option<Packet>, PacketError> {
        if PacketKind::of(&frame) != Ok(PacketKind::Message) {
            return Err(PacketError::NotMessage);
        }
        self.fits(frame.len())?;
        if !frame.is_text() {
            return self.attachment(frame.into_data());
        }
        if let Some(pending) = &self.pending {
            return Err(PacketError::AttachmentsMissing { missing: pending.wanted - pending.frames.len() });
        }
        self.text(frame.into_data())
    }

    /// How many attachments are awaited.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.pending.as_ref().map_or(0, |p| p.wanted - p.frames.len())
    }

    fn text(&mut self, text: Bytes) -> Result<Option<Packet>, PacketError> {
        let head = Head::read(&text, self.attachments_max)?;
        let json = head.json(&text)?;
        if head.attachments == 0 {
            return head.finish(json, Attachments::default()).map(Some);
        }
        // What an event must be is known before its attachments are awaited.
        let json = json.ok_or(PacketError::NotArray)?;
        head.check_array(&json.text)?;
        let (wanted, bytes) = (head.attachments, text.len());
        self.pending =
            Some(Box::new(Pending { head, json, wanted, frames: Vec::with_capacity(wanted), bytes }));
        Ok(None)
    }

    fn attachment(&mut self, frame: Bytes) -> Result<Option<Packet>, PacketError> {
        let Some(pending) = &mut self.pending else { return Err(PacketError::NotAnnounced) };
        pending.bytes = pending.bytes.saturating_add(frame.len());
        pending.frames.push(frame);
        let (bytes, is_complete) = (pending.bytes, pending.frames.len() == pending.wanted);
        self.fits(bytes)?;
        if !is_complete {
            return Ok(None);
        }
        let Some(done) = self.pending.take() else { return Ok(None) };
        done.head.finish(Some(done.json), Attachments::from_frames(done.frames)).map(Some)
    }

    /// One byte over the limit is the type.
    fn fits(&self, len: usize) -> Result<(), PacketError> {
        let max = self.message_bytes_max;
        if len > max.saturating_add(1) { Err(PacketError::TooLong { len, max }) } else { Ok(()) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Connect,
    Disconnect,
    Event,
    Ack,
    Error,
}

/// What stands before the JSON of a packet.
#[derive(Debug)]
struct Head {
    sort: Sort,
    attachments: usize,
    namespace: Namespace,
    id: Option<u64>,
    /// Where the JSON starts; the length of the text when there is none.
    json_at: usize,
}

impl Head {
    fn read(text: &Bytes, attachments_max: usize) -> Result<Self, PacketError> {
        let (sort, is_binary) = match text.get(1) {
            Some(b'0') => (Sort::Connect, false),
            Some(b'1') => (Sort::Disconnect, false),
            Some(b'2') => (Sort::Event, false),
            Some(b'3') => (Sort::Ack, false),
            Some(b'4') => (Sort::Error, false),
            Some(b'5') => (Sort::Event, true),
            Some(b'6') => (Sort::Ack, true),
            _ => return Err(PacketError::Kind),
        };
        let mut at = 2;
        let mut attachments = 0;
        if is_binary {
            let too_many = PacketError::TooManyAttachments { max: attachments_max };
            let (count, end) = digits(text, at).map_err(|()| too_many.clone())?;
            let count = count.filter(|_| text.get(end) == Some(&b'-')).ok_or(PacketError::Attachments)?;
            attachments = usize::try_from(count).ok().filter(|n| *n <= attachments_max).ok_or(too_many)?;
            at = end + 1;
        }
        let mut namespace = Namespace::MAIN;
        if text.get(at) == Some(&b'/') {
            let rest = text.get(at..).unwrap_or_default();
            let len = memchr::memchr(b',', rest).unwrap_or(rest.len());
            namespace = Namespace(text.slice(at..at + len));
            at = (at + len + 1).min(text.len());
        }
        let (id, json_at) = digits(text, at).map_err(|()| PacketError::AckId)?;
        if sort == Sort::Ack && id.is_none() && json_at < text.len() {
            return Err(PacketError::NoAckId);
        }
        Ok(Self { sort, attachments, namespace, id, json_at })
    }

    /// Checks the JSON and cuts it out, without raw line breaks; `None` when there is none.
    fn json(&self, text: &Bytes) -> Result<Option<Json>, PacketError> {
        let at = self.json_at;
        if at == text.len() {
            return Ok(None);
        }
        let checked = json::check_all(text.get(at..).unwrap_or_default())?;
        let text = without_line_breaks(text.slice(at + checked.start..at + checked.end));
        let shift = |n: usize| n.saturating_sub(checked.start);
        Ok(Some(Json { text, parts: checked.parts.map(|(start, end)| (shift(start), shift(end))) }))
    }

    /// What a packet other than an error may carry: an array, of an event one that starts with its name.
    fn check_array(&self, array: &[u8]) -> Result<(), PacketError> {
        if array.first() != Some(&b'[') {
            return Err(PacketError::NotArray);
        }
        let named = self.sort != Sort::Event || array.get(json::white_end(array, 1)) == Some(&b'"');
        if named { Ok(()) } else { Err(PacketError::Name) }
    }

    fn finish(self, json: Option<Json>, attachments: Attachments) -> Result<Packet, PacketError> {
        if let Some(json) = json.as_ref().filter(|_| self.sort != Sort::Error) {
            self.check_array(&json.text)?;
        }
        let args = json.map(|Json { text, parts }| Args { array: Value::checked(text, attachments), parts });
        let namespace = self.namespace;
        Ok(match self.sort {
            Sort::Connect => Packet::Connect { namespace },
            Sort::Disconnect => Packet::Disconnect { namespace },
            Sort::Event => {
                Packet::Event(Event { namespace, ack_id: self.id, args: args.ok_or(PacketError::NotArray)? })
            }
            Sort::Ack => {
                let id = self.id.ok_or(PacketError::NoAckId)?;
                Packet::Ack(Ack { namespace, id, args: args.ok_or(PacketError::NotArray)? })
            }
            Sort::Error => Packet::Error { namespace, value: args.map(|args| args.array) },
        })
    }
}

/// The JSON of a packet, checked.
#[derive(Debug)]
struct Json {
    text: Bytes,
    parts: [(usize, usize); 2],
}

/// Reads digits at `at`: the number, `None` when there is no digit, and where they end. Over 64 bits: `Err`.
fn digits(text: &[u8], at: usize) -> Result<(Option<u64>, usize), ()> {
    let mut number = None;
    let mut end = at;
    while let Some(digit @ b'0'..=b'9') = text.get(end) {
        let so_far: u64 = number.unwrap_or(0);
        number = Some(so_far.checked_mul(10).and_then(|n| n.checked_add(u64::from(digit - b'0'))).ok_or(())?);
        end += 1;
    }
    Ok((number, end))
}

#[cfg(test)]
mod tests;
