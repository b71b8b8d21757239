//! Socket.IO 2 packets to be sent, as Engine.IO frames.

use bytes::Bytes;
use spandrel_wire::Frame;

use crate::{
    Value,
    json::{write_number, write_string},
    value::{Attachments, replace_placeholders},
};

/// One Socket.IO packet as Engine.IO frames in WebSocket form: a text frame, then its attachments.
///
/// Cloning counts references, so a packet for many peers is made once. The frames must reach a peer in order and with
/// no other message between them.
#[derive(Debug, Clone)]
pub struct Encoded {
    text: Frame,
    attachments: Attachments,
}

impl Encoded {
    /// Returns the frames in order, at least one.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Frame> + '_ {
        let count = 1 + self.attachments.frames().len();
        (0..count).map(|i| match i.checked_sub(1).and_then(|i| self.attachments.frames().get(i)) {
            Some(frame) => Frame::binary(frame.clone()),
            None => self.text.clone(),
        })
    }

    /// Returns the first frame, which is the whole packet unless it has attachments.
    #[must_use]
    pub const fn text(&self) -> &Frame {
        &self.text
    }

    /// Returns the number of frames.
    #[must_use]
    pub fn len_frames(&self) -> usize {
        1 + self.attachments.frames().len()
    }

    /// Returns the bytes of all frames.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.attachments.frames().iter().fold(self.text.len(), |n, frame| n.saturating_add(frame.len()))
    }

    fn from_text(text: Vec<u8>) -> Self {
        Self { text: Frame::from_checked_text(text.into()), attachments: Attachments::default() }
    }
}

/// Makes an event, `42["name",args..]`, with an acknowledgement asked for under `ack_id`, `427["name",args..]`.
///
/// Arguments that bring attachments make it a binary one, `451-["name",..]`, and the attachments follow, not copied.
#[must_use]
pub fn encode_event(name: &str, args: &[&Value], ack_id: Option<u64>) -> Encoded {
    encode_args([b'2', b'5'], ack_id, Some(name), args)
}

/// Makes the answer to the event with this number, `437[args..]`.
#[must_use]
pub fn encode_ack(id: u64, args: &[&Value]) -> Encoded {
    encode_args([b'3', b'6'], Some(id), None, args)
}

/// Makes `40`: into the namespace `/`.
#[must_use]
pub fn encode_connect() -> Encoded {
    constant(b"40")
}

/// Makes `41`: out of the namespace `/`.
#[must_use]
pub fn encode_disconnect() -> Encoded {
    constant(b"41")
}

/// Makes the refusal of a namespace, `44/foo,"Invalid namespace"`. A path without a slash in front gets one; from a
/// comma on, which cannot stand in one, it is cut.
#[must_use]
pub fn encode_error(namespace: &str, value: &Value) -> Encoded {
    let namespace = namespace.split(',').next().unwrap_or_default();
    let mut out = Vec::with_capacity(namespace.len() + value.json().len() + 4);
    out.extend_from_slice(b"44");
    if namespace != "/" {
        if !namespace.starts_with('/') {
            out.push(b'/');
        }
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(value.json());
    Encoded::from_text(out)
}

fn constant(text: &'static [u8]) -> Encoded {
    Encoded { text: Frame::from_checked_text(Bytes::from_static(text)), attachments: Attachments::default() }
}

/// `kinds`: the digit without attachments and the one with.
fn encode_args(kinds: [u8; 2], id: Option<u64>, name: Option<&str>, args: &[&Value]) -> Encoded {
    let [plain, binary] = kinds;
    let attachments = Joined::of(args);
    let count = attachments.list.frames().len();
    let text_len = args.iter().fold(0_usize, |n, arg| n.saturating_add(arg.json().len() + 1));
    let mut out = Vec::with_capacity(text_len + name.map_or(0, str::len) + 32);
    out.push(b'4');
    out.push(if count == 0 { plain } else { binary });
    if count > 0 {
        write_number(count as u64, &mut out);
        out.push(b'-');
    }
    if let Some(id) = id {
        write_number(id, &mut out);
    }
    out.push(b'[');
    if let Some(name) = name {
        write_string(name, &mut out);
    }
    for (i, arg) in args.iter().enumerate() {
        if i > 0 || name.is_some() {
            out.push(b',');
        }
        attachments.write(arg, &mut out);
    }
    out.push(b']');
    Encoded { text: Frame::from_checked_text(out.into()), attachments: attachments.list }
}

/// The attachments of several values as those of one packet.
struct Joined {
    list: Attachments,
    /// The lists that were joined, and how many attachments come before each; empty when there was one at most.
    parts: Vec<(Attachments, usize)>,
}

impl Joined {
    fn of(args: &[&Value]) -> Self {
        let mut lists = args.iter().filter(|arg| arg.has_attachments()).map(|arg| arg.attachment_list());
        let Some(first) = lists.next() else {
            return Self { list: Attachments::default(), parts: Vec::new() };
        };
        let mut parts = vec![(first.clone(), 0)];
        let mut count = first.frames().len();
        for list in lists {
            if !parts.iter().any(|(seen, _)| seen.is_same(list)) {
                parts.push((list.clone(), count));
                count += list.frames().len();
            }
        }
        if parts.len() == 1 {
            return Self { list: first.clone(), parts: Vec::new() };
        }
        let frames = parts.iter().flat_map(|(list, _)| list.frames().iter().cloned()).collect();
        Self { list: Attachments::from_frames(frames), parts }
    }

    /// Writes a value, its placeholders counted anew where that is needed.
    fn write(&self, value: &Value, out: &mut Vec<u8>) {
        let before = self.parts.iter().find(|(list, _)| list.is_same(value.attachment_list()));
        let Some((_, before)) = before.filter(|(_, before)| *before > 0) else {
            return out.extend_from_slice(value.json());
        };
        replace_placeholders(value.json(), out, |num, out| {
            out.extend_from_slice(b"{\"_placeholder\":true,\"num\":");
            write_number(num.saturating_add(*before) as u64, out);
            out.push(b'}');
        });
    }
}
