//! Bodies of fuzz targets: plain functions that must never panic, whatever the bytes.

use bytes::BytesMut;
use spandrel_transport::{Close, Codec, Frame, Limits, WireError};
use spandrel_wire::OutBuf;

use crate::{Role, WsCodec};

/// What a codec made of a stream: frames, the error or goodbye that ended it, the frames counted, what was answered.
type Outcome = (Vec<Frame>, Option<WireError>, Option<Close>, u64, Vec<u8>);

const ROLES: [Role; 2] = [Role::Server, Role::Client];
const FRAME_BYTES_MAX: usize = 4096;

fn codec(role: Role) -> WsCodec {
    let mut limits = Limits::default().with_frame_bytes_max(FRAME_BYTES_MAX);
    limits.fragments_max = 8;
    WsCodec::new(role, &limits)
}

fn run<'a>(role: Role, chunks: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut codec = codec(role);
    let (mut src, mut out, mut frames) = (BytesMut::new(), OutBuf::new(), Vec::new());
    let mut error = None;
    for (chunk, eof) in chunks.map(|c| (c, false)).chain(std::iter::once((&[][..], true))) {
        src.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut src, eof, &mut out) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(e) => {
                    codec.close(&e.close(), &mut out);
                    error = Some(e);
                    break;
                }
            }
        }
        if error.is_some() || codec.closed().is_some() {
            break;
        }
        assert!(src.len() <= FRAME_BYTES_MAX + 14, "more is held than a frame with its header");
    }
    assert_eq!(codec.decode(&mut src, false, &mut out), Ok(None), "something came after the end");
    let is_text = |f: &Frame| f.as_text().is_some();
    assert!(frames.iter().all(|f| f.len() <= FRAME_BYTES_MAX && (!f.is_text() || is_text(f))));
    (frames, error, codec.closed().cloned(), codec.activity(), unmasked(role, &out.to_vec()))
}

/// What an end wrote, without the masks, which nobody can foresee. Answers are short frames.
fn unmasked(role: Role, mut bytes: &[u8]) -> Vec<u8> {
    if role == Role::Server {
        return bytes.to_vec();
    }
    let mut all = Vec::new();
    while let Some((&[first, second, a, b, c, d], rest)) = bytes.split_first_chunk() {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(second & 0x7F)));
        all.extend([first, second]);
        all.extend(payload.iter().zip([a, b, c, d].iter().cycle()).map(|(byte, m)| byte ^ m));
        bytes = rest;
    }
    all
}

/// Lengths of 1 to 64, or to 16 KiB, that look random and are the same for the same data.
fn cuts(data: &[u8]) -> impl FnMut() -> usize {
    let mut state =
        data.iter().fold(0x9E37_79B9_7F4A_7C15_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3));
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let most = if state & 0x700 == 0 { 16 << 10 } else { 64 };
        1 + usize::try_from(state >> 32).unwrap_or(0) % most
    }
}

/// The data in pieces of these lengths.
fn pieces(data: &[u8], mut len: impl FnMut() -> usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(rest.len().min(len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Frames of any bytes, in both roles: split anywhere they give the same; and what one end writes the other reads.
pub fn fuzz_ws_frame(data: &[u8]) {
    for role in ROLES {
        let whole = run(role, std::iter::once(data));
        assert!(run(role, data.chunks(1)) == whole, "splitting changed the frames");
        assert!(run(role, pieces(data, cuts(data))) == whole, "splitting changed the frames");
    }
    roundtrip(data);
}

/// Messages made of the data, with a ping behind each, over the wire and back.
fn roundtrip(data: &[u8]) {
    let mut cut = cuts(data);
    let sent: Vec<Frame> = pieces(data, &mut cut)
        .map(|piece| match std::str::from_utf8(piece) {
            Ok(text) => Frame::text(text.repeat(1 + text.len() % 9)),
            Err(_) => Frame::binary(piece.repeat(1 + piece.len() % 9)),
        })
        .filter(|frame| frame.len() <= FRAME_BYTES_MAX)
        .collect();
    for role in ROLES {
        let there = if role == Role::Server { Role::Client } else { Role::Server };
        let (mut sender, mut out, mut pongs) = (codec(role), OutBuf::new(), Vec::new());
        for frame in &sent {
            let ping = frame.data().get(..frame.len().min(125)).unwrap_or_default();
            assert_eq!(sender.encode(frame.clone(), &mut out), Ok(()));
            assert_eq!(sender.ping(ping, &mut out), Ok(true));
            pongs.push(ping.len());
        }
        sender.close(&Close::normal(), &mut out);
        let wire = out.to_vec();
        let (frames, error, closed, activity, answers) = run(there, pieces(&wire, &mut cut));
        assert!(frames == sent && error.is_none() && closed == Some(Close::normal()), "not what was sent");
        assert_eq!(activity, 2 * sent.len() as u64 + 1);
        let masks = if there == Role::Client { 0x80 } else { 0 };
        let mut rest = &answers[..];
        for len in pongs {
            let (head, after) = rest.split_at(rest.len().min(2));
            assert!(
                matches!(head, [0x8A, second] if usize::from(second ^ masks) == len),
                "not a pong: {head:x?}"
            );
            rest = after.get(len..).unwrap_or_default();
        }
    }
}

/// Any bytes as the head of an upgrade request and of its answer.
pub fn fuzz_ws_handshake(data: &[u8]) {
    let limits = Limits::default();
    let _ = crate::handshake::parse_request(data, &limits);
    let _ = crate::handshake::parse_response(data, &limits);
}
