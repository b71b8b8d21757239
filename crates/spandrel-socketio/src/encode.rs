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

    /// Is it longer than a message may be? A reader with this limit counts the type of the first frame on top.
    pub(crate) fn is_over(&self, message_bytes_max: usize) -> bool {
        self.len_bytes() > message_bytes_max.saturating_add(1)
    }

    fn from_text(text: Vec<u8>) -> Self {
        Self { text: Frame::from_checked_text(text.into()), attachments: Attachments::default() }
    }
}

/// Makes an event, `42["name",args..]`, with an acknowledgement asked for under `ack_id`, `427["name",args..]`.
///
/// Arguments that name attachments make it a binary one, `451-["name",..]`, and those attachments follow, not copied, in
/// the order in which they are named. Where any argument [has attachments](Value::has_attachments), a placeholder that names
/// none becomes `null`.
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
    let text_len = args.iter().fold(0_usize, |n, arg| n.saturating_add(arg.json().len() + 1));
    let mut out = Vec::with_capacity(text_len + name.map_or(0, str::len) + 32);
    out.push(b'4');
    if !args.iter().any(|arg| arg.has_attachments()) {
        out.push(plain);
        write_args(id, name, args, &mut out, |arg, out| out.extend_from_slice(arg.json()));
        return Encoded::from_text(out);
    }
    // How many are named is known behind the text only.
    let mut named = Named::default();
    let mut text = Vec::with_capacity(out.capacity());
    write_args(id, name, args, &mut text, |arg, text| named.write(arg, text));
    if named.frames.is_empty() {
        out.push(plain);
    } else {
        out.push(binary);
        write_number(named.frames.len() as u64, &mut out);
        out.push(b'-');
    }
    out.extend_from_slice(&text);
    Encoded {
        text: Frame::from_checked_text(out.into()),
        attachments: Attachments::from_frames(named.frames),
    }
}

/// Writes `7["name",args..]`.
fn write_args(
    id: Option<u64>,
    name: Option<&str>,
    args: &[&Value],
    out: &mut Vec<u8>,
    mut write: impl FnMut(&Value, &mut Vec<u8>),
) {
    if let Some(id) = id {
        write_number(id, out);
    }
    out.push(b'[');
    if let Some(name) = name {
        write_string(name, out);
    }
    for (i, arg) in args.iter().enumerate() {
        if i > 0 || name.is_some() {
            out.push(b',');
        }
        write(arg, out);
    }
    out.push(b']');
}

/// The attachments of one packet: those its values name, counted in the order in which they are named first.
#[derive(Default)]
struct Named {
    frames: Vec<Bytes>,
    /// The lists the values name theirs from, and the new number of each that was named.
    lists: Vec<(Attachments, Vec<Option<usize>>)>,
}

impl Named {
    /// Writes a value with its placeholders counted anew. One that names nothing becomes `null`: as it is, it would name
    /// what belongs to another value, or make a peer refuse the packet.
    fn write(&mut self, value: &Value, out: &mut Vec<u8>) {
        let list = value.attachment_list();
        let known = self.lists.iter().position(|(seen, _)| seen.is_same(list)).unwrap_or_else(|| {
            self.lists.push((list.clone(), vec![None; list.frames().len()]));
            self.lists.len() - 1
        });
        let Self { frames, lists } = self;
        let mut numbers = lists.get_mut(known).map(|(_, numbers)| numbers);
        replace_placeholders(value.json(), out, |num, out| {
            let slot = numbers.as_mut().and_then(|numbers| numbers.get_mut(num));
            let Some((slot, frame)) = slot.zip(list.frames().get(num)) else {
                return out.extend_from_slice(b"null");
            };
            let num = *slot.get_or_insert_with(|| {
                frames.push(frame.clone());
                frames.len() - 1
            });
            out.extend_from_slice(b"{\"_placeholder\":true,\"num\":");
            write_number(num as u64, out);
            out.push(b'}');
        });
    }
}
