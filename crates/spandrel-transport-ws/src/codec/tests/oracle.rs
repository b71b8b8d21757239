//! Against `tungstenite`, the engine this codec took the place of: the same bytes give the same frames, answers, goodbye
//! and close code, in both roles, wherever they are cut. Where the two differ on purpose:
//!
//! - A header that breaks a rule is refused at once, not after its payload; a text at its first bad byte, not at the end
//!   of its frame. So where ours refuses and the engine waits, the engine is given more bytes until it speaks.
//! - Close code 1014 is taken (it is registered, and [`Close::is_sendable`] lets us send it); the engine calls it bad.
//! - The answer to a forbidden close code has another text; the code is 1002 from both.
//! - The number of parts is bounded here; the engine has no such bound.

use std::io::{Read, Write};

use proptest::prelude::*;
use tungstenite::{
    Error, Message,
    error::{CapacityError, ProtocolError},
    protocol::{WebSocketConfig, WebSocketContext, frame::coding::CloseCode},
};

use super::*;

const FRAME_BYTES_MAX: usize = 600;

/// What an end made of a stream.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    frames: Vec<Frame>,
    end: End,
    /// Code and, if it is the peer's own, reason.
    closed: Option<(u16, String)>,
    /// Answers as (opcode, payload).
    answers: Vec<(u8, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Waiting,
    Closed,
    Refused(u16),
    /// The stream ended without a goodbye.
    Gone,
}

fn ours(role: Role, chunks: &[&[u8]], eof: bool, we_close: bool) -> Outcome {
    let limits = Limits::default().with_frame_bytes_max(FRAME_BYTES_MAX);
    let mut codec = WsCodec::new(role, &limits);
    let (mut src, mut out, mut frames, mut end) = (BytesMut::new(), OutBuf::new(), Vec::new(), End::Waiting);
    if we_close {
        codec.close(&Close::normal(), &mut out);
    }
    let last = eof.then_some((&[][..], true));
    for (chunk, eof) in chunks.iter().map(|chunk| (*chunk, false)).chain(last) {
        src.extend_from_slice(chunk);
        while end == End::Waiting {
            match codec.decode(&mut src, eof, &mut out) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) if codec.closed().is_some() => end = End::Closed,
                Ok(None) => break,
                Err(WireError::Gone | WireError::Truncated) => end = End::Gone,
                Err(e) => end = End::Refused(e.close_code()),
            }
        }
    }
    let closed = codec.closed().map(|c| (c.code, c.reason.to_string()));
    Outcome { frames, end, closed, answers: answers(&out.to_vec(), role) }
}

struct Pipe {
    src: Vec<u8>,
    at: usize,
    eof: bool,
    out: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = &self.src[self.at..];
        if rest.is_empty() && !self.eof {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(role: Role, bytes: &[u8], eof: bool, we_close: bool) -> Outcome {
    let config = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let role_there = match role {
        Role::Server => tungstenite::protocol::Role::Server,
        Role::Client => tungstenite::protocol::Role::Client,
    };
    let mut engine = WebSocketContext::new(role_there, Some(config));
    let mut pipe = Pipe { src: bytes.to_vec(), at: 0, eof, out: Vec::new() };
    if we_close {
        let normal = tungstenite::protocol::CloseFrame { code: CloseCode::Normal, reason: "".into() };
        engine.close(&mut pipe, Some(normal)).unwrap();
    }
    let (mut frames, mut closed) = (Vec::new(), None);
    let end = loop {
        match engine.read(&mut pipe) {
            Ok(Message::Text(text)) => frames.push(Frame::text(text.as_str())),
            Ok(Message::Binary(data)) => frames.push(Frame::binary(data)),
            Ok(Message::Close(close)) => {
                closed = Some(close.map_or((1005, String::new()), |c| (c.code.into(), c.reason.to_string())));
                let _ = engine.flush(&mut pipe);
                break End::Closed;
            }
            Ok(_) => {}
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => break End::Waiting,
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => break End::Gone,
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => break End::Refused(1009),
            Err(Error::Utf8(_)) => break End::Refused(1007),
            Err(Error::Protocol(_)) => break End::Refused(1002),
            Err(e) => panic!("{e}"),
        }
    };
    Outcome { frames, end, closed, answers: answers(&pipe.out, role) }
}

/// Takes apart what an end wrote.
fn answers(mut bytes: &[u8], from: Role) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (mask, rest) = if from == Role::Client { rest.split_at(4) } else { (&[0; 4][..], rest) };
        let (payload, rest) = rest.split_at(usize::from(second & 0x7F));
        all.push((first & 0x0F, payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect()));
        bytes = rest;
    }
    all
}

/// Makes equal what differs on purpose.
fn alike(mut outcome: Outcome) -> Outcome {
    let code_alone = |reason: &str| reason == "Protocol violation" || reason.ends_with("is not for the wire");
    if let Some((1002, reason)) = &mut outcome.closed
        && code_alone(reason)
    {
        reason.clear();
    }
    for (_, payload) in &mut outcome.answers {
        if payload.starts_with(&[3, 0xEA]) && code_alone(&String::from_utf8_lossy(&payload[2..])) {
            payload.truncate(2);
        }
    }
    outcome
}

fn agree(role: Role, bytes: &[u8], cuts: &[usize], eof: bool, we_close: bool) {
    let mut chunks = Vec::new();
    let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(cuts.next().map_or(rest.len(), |cut| (*cut).min(rest.len())));
        chunks.push(chunk);
        rest = after;
    }
    let got = alike(ours(role, &chunks, eof, we_close));
    let mut want = alike(theirs(role, bytes, eof, we_close));
    if matches!(got.end, End::Refused(_)) && matches!(want.end, End::Waiting | End::Gone) {
        let longer = [bytes, &vec![0; FRAME_BYTES_MAX + 200]].concat();
        want = alike(theirs(role, &longer, false, we_close));
    }
    assert_eq!(got, want, "{role:?} of {bytes:02x?}");
}

/// Frames that are right, or wrong in one way or another.
fn frame(from: Role) -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x81_u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x80]),
        3 => prop::sample::select(vec![0x88_u8, 0x89, 0x8A]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "[a-zé€😀]{0,12}".prop_map(String::into_bytes),
        2 => (prop_oneof![1000_u16..1016, 2990_u16..3010, any::<u16>()], "[a-zé]{0,6}")
            .prop_filter("1014 is taken on purpose", |(code, _)| *code != 1014)
            .prop_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => prop::collection::vec(0x80_u8.., 0..5),
        1 => (100_usize..700).prop_map(|len| vec![b'x'; len]),
    ];
    let masks = prop::bool::weighted(0.97).prop_map(move |right| right == (from == Role::Client));
    (first, payload, masks).prop_map(|(first, payload, mask)| raw(first, &payload, mask))
}

fn stream() -> impl Strategy<Value = (Role, Vec<u8>)> {
    prop_oneof![Just(Role::Server), Just(Role::Client)].prop_flat_map(|role| {
        let from = if role == Role::Server { Role::Client } else { Role::Server };
        let tail = prop::collection::vec(any::<u8>(), 0..6);
        (prop::collection::vec(frame(from), 0..8), tail, any::<prop::sample::Index>(), any::<bool>())
            .prop_map(move |(frames, tail, cut, is_cut)| {
                let mut bytes = frames.concat();
                if is_cut && !bytes.is_empty() {
                    bytes.truncate(cut.index(bytes.len()));
                } else {
                    bytes.extend(tail);
                }
                (role, bytes)
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Nearly right streams mean the same to both.
    #[test]
    fn prop_agrees_with_the_engine(
        (role, bytes) in stream(),
        cuts in prop::collection::vec(1_usize..40, 0..6),
        eof: bool,
        we_close in prop::bool::weighted(0.2),
    ) {
        agree(role, &bytes, &cuts, eof, we_close);
    }

    /// So do any bytes.
    #[test]
    fn prop_agrees_with_the_engine_on_noise(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        cuts in prop::collection::vec(1_usize..9, 0..4),
        eof: bool,
    ) {
        agree(Role::Server, &bytes, &cuts, eof, false);
        agree(Role::Client, &bytes, &cuts, eof, false);
    }
}

proptest! {
    /// What one writes the other reads: messages of any length, pings, goodbyes, from either side.
    #[test]
    fn prop_the_engine_reads_what_we_write(
        messages in prop::collection::vec((any::<bool>(), 0_usize..70_000), 0..5),
        as_client: bool,
    ) {
        let role = if as_client { Role::Client } else { Role::Server };
        let (mut codec, mut out) = (WsCodec::new(role, &Limits::default()), OutBuf::new());
        let mut frames = Vec::new();
        for (is_text, len) in messages {
            let frame = if is_text { Frame::text("é".repeat(len / 2)) } else { Frame::binary(vec![0xAA; len]) };
            codec.encode(frame.clone(), &mut out).unwrap();
            codec.ping(&[7; 125], &mut out).unwrap();
            frames.push(frame);
        }
        codec.close(&Close::new(4000, "why"), &mut out);
        let there =
            if as_client { tungstenite::protocol::Role::Server } else { tungstenite::protocol::Role::Client };
        let mut engine = WebSocketContext::new(there, None);
        let mut pipe = Pipe { src: out.to_vec(), at: 0, eof: true, out: Vec::new() };
        let mut read = || engine.read(&mut pipe).unwrap();
        for frame in frames {
            let want = match frame.as_text() {
                Some(text) => Message::text(text),
                None => Message::Binary(frame.into_data()),
            };
            prop_assert!(read() == want);
            prop_assert_eq!(read(), Message::Ping(vec![7; 125].into()));
        }
        let goodbye = tungstenite::protocol::CloseFrame { code: CloseCode::Library(4000), reason: "why".into() };
        prop_assert_eq!(read(), Message::Close(Some(goodbye)));
    }
}
