//! The codec alone: the rules of RFC 6455, splits, limits.

mod memory;
mod oracle;
mod rules;

use std::io;

use super::*;

fn limits() -> Limits {
    let mut limits = Limits::default().with_frame_bytes_max(1000);
    limits.fragments_max = 4;
    limits
}

/// A frame as a client sends it (masked) or a server (not).
fn raw(first: u8, payload: &[u8], mask: bool) -> Vec<u8> {
    let mut bytes = vec![first];
    let bit = if mask { 0x80 } else { 0 };
    match payload.len() {
        n @ 0..=125 => bytes.push(bit | u8::try_from(n).unwrap()),
        n => {
            bytes.push(bit | 126);
            bytes.extend_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
        }
    }
    if mask {
        bytes.extend_from_slice(&[9, 8, 7, 6]);
        bytes.extend(payload.iter().zip([9, 8, 7, 6].iter().cycle()).map(|(b, m)| b ^ m));
    } else {
        bytes.extend_from_slice(payload);
    }
    bytes
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    raw(first, payload, true)
}

struct Run {
    frames: Vec<Frame>,
    error: Option<WireError>,
    codec: WsCodec,
    out: Vec<u8>,
}

fn server(bytes: &[u8]) -> Run {
    let mut codec = WsCodec::new(Role::Server, &limits());
    let (mut src, mut out, mut frames, mut error) = (BytesMut::from(bytes), OutBuf::new(), vec![], None);
    loop {
        match codec.decode(&mut src, false, &mut out) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => break,
            Err(e) => {
                codec.close(&e.close(), &mut out);
                error = Some(e);
                break;
            }
        }
    }
    Run { frames, error, codec, out: out.to_vec() }
}

/// The code in the close frame at the end of what went out.
fn close_code(out: &[u8]) -> Option<u16> {
    let at = out.iter().position(|b| *b == 0x88)?;
    Some(u16::from_be_bytes([*out.get(at + 2)?, *out.get(at + 3)?]))
}

#[test]
fn breaches_end_with_the_code_of_the_rule() {
    let close = |code: u16| masked(0x88, &code.to_be_bytes());
    for (rule, bytes, code) in [
        ("reserved bit 1", masked(0xC1, b"x"), 1002),
        ("reserved bit 2", masked(0xA1, b"x"), 1002),
        ("reserved bit 3", masked(0x91, b"x"), 1002),
        ("reserved data opcode", masked(0x83, b""), 1002),
        ("reserved control opcode", masked(0x8B, b""), 1002),
        ("not masked", raw(0x81, b"x", false), 1002),
        ("control frame in parts", masked(0x09, b"x"), 1002),
        ("control frame of 126 bytes", masked(0x89, &[0; 126]), 1002),
        ("continuation of nothing", masked(0x80, b"x"), 1002),
        ("text inside a fragmented text", [masked(0x01, b"a"), masked(0x81, b"b")].concat(), 1002),
        ("close of one byte", masked(0x88, b"x"), 1002),
        ("close reason not UTF-8", masked(0x88, b"\x03\xE8\xFF"), 1007),
        ("text not UTF-8", masked(0x81, b"ab\xFF"), 1007),
        ("text not UTF-8 across parts", [masked(0x01, b"\xC3"), masked(0x80, b"x")].concat(), 1007),
        ("text ends inside a character", masked(0x81, b"\xC3"), 1007),
        ("frame one over the limit", masked(0x82, &[0; 1001]), 1009),
        ("message one over the limit", [masked(0x02, &[0; 1000]), masked(0x80, b"x")].concat(), 1009),
        (
            "frame of 2^63 - 1 bytes, header alone",
            [&[0x82, 0xFF, 0x7F][..], &[0xFF; 7], &[0; 4]].concat(),
            1009,
        ),
        ("frame of 2^64 - 1 bytes, header alone", [&[0x82, 0xFF][..], &[0xFF; 8], &[0; 4]].concat(), 1009),
        (
            "one part too many",
            [masked(0x02, b"1"), masked(0x00, b"2").repeat(3), masked(0x80, b"5")].concat(),
            1008,
        ),
        ("empty parts count too", [masked(0x02, b""), masked(0x00, b"").repeat(4)].concat(), 1008),
        ("forbidden close code 1005", close(1005), 1002),
        ("forbidden close code 1006", close(1006), 1002),
        ("forbidden close code 999", close(999), 1002),
        ("forbidden close code 2999", close(2999), 1002),
    ] {
        let got = server(&[masked(0x81, b"before"), bytes].concat());
        assert_eq!(got.frames, [Frame::text("before")], "{rule}: frames");
        assert_eq!(close_code(&got.out), Some(code), "{rule}: {:?}", got.error);
    }
}

#[test]
fn allowed_things_pass() {
    let got = server(
        &[
            masked(0x01, b"he"),
            masked(0x89, b"ping between"),
            masked(0x00, b""),
            masked(0x80, b"llo"),
            masked(0x82, &[7; 1000]),
            masked(0x8A, b"pong nobody asked for"),
            [masked(0x02, b"1"), masked(0x00, b"2").repeat(2), masked(0x80, b"4")].concat(),
        ]
        .concat(),
    );
    assert_eq!(got.error, None);
    assert_eq!(got.frames, [Frame::text("hello"), Frame::binary(vec![7; 1000]), Frame::binary("1224")]);
    assert_eq!(got.out, raw(0x8A, b"ping between", false));
    assert_eq!(got.codec.activity(), 10, "every frame counts as life");
    assert!(!got.codec.is_mid_frame());
}

#[test]
fn close_of_the_peer_is_answered_and_nothing_after_it_counts() {
    let got = server(&[masked(0x88, b"\x0F\xA0why"), masked(0x81, b"late")].concat());
    assert_eq!((got.frames.len(), got.error), (0, None));
    assert_eq!(got.codec.closed(), Some(&Close::new(4000, "why")));
    assert_eq!(got.out, raw(0x88, b"\x0F\xA0why", false));

    let mut got = server(&masked(0x88, b""));
    assert_eq!(got.codec.closed(), Some(&Close::new(1005, "")));
    assert_eq!(got.codec.encode(Frame::text("late"), &mut OutBuf::new()), Err(WireError::Closing));
    assert_eq!(got.codec.ping(b"", &mut OutBuf::new()), Err(WireError::Closing));
}

#[test]
fn our_close_carries_a_short_reason_once() {
    let (mut codec, mut out) = (WsCodec::new(Role::Server, &limits()), OutBuf::new());
    codec.close(&Close::new(4410, "é".repeat(100)), &mut out);
    codec.close(&Close::normal(), &mut out);
    let bytes = out.to_vec();
    assert_eq!(bytes.len(), 2 + 2 + 122, "one frame, the reason cut between characters");
    assert_eq!(close_code(&bytes), Some(4410));
}

#[test]
fn end_of_stream_tells_gone_from_cut() {
    for (name, bytes, want) in [
        ("between frames", masked(0x81, b"x"), WireError::Gone),
        ("inside a header", vec![0x81], WireError::Truncated),
        ("inside a payload", masked(0x81, b"xyz")[..8].to_vec(), WireError::Truncated),
    ] {
        let mut codec = WsCodec::new(Role::Server, &limits());
        let (mut src, mut out) = (BytesMut::from(&bytes[..]), OutBuf::new());
        while let Ok(Some(_)) = codec.decode(&mut src, false, &mut out) {}
        assert_eq!(codec.decode(&mut src, true, &mut out), Err(want), "{name}");
    }
}

#[test]
fn headers_have_the_shortest_length() {
    let limits = Limits::default();
    for (len, head) in [
        (0, &[0x82, 0][..]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 255, 255]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let (mut codec, mut out) = (WsCodec::new(Role::Server, &limits), OutBuf::new());
        codec.encode(Frame::binary(vec![1; len]), &mut out).unwrap();
        assert_eq!(&out.to_vec()[..head.len()], head, "{len}");
        assert_eq!(out.len(), head.len() + len, "{len}");
    }
}

#[test]
fn large_payloads_of_a_server_are_not_copied() {
    let (mut codec, mut out) = (WsCodec::new(Role::Server, &Limits::default()), OutBuf::new());
    let payload = Bytes::from(vec![1; 100_000]);
    codec.encode(Frame::binary(payload.clone()), &mut out).unwrap();
    let mut slices = [io::IoSlice::new(&[]); 2];
    assert_eq!(out.chunks_vectored(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), payload.as_ptr());
}

#[test]
fn every_split_gives_the_same_frames_in_both_roles() {
    let frames = [
        Frame::text("ü"),
        Frame::binary(vec![3; 200]),
        Frame::text(""),
        Frame::binary(""),
        Frame::text("x".repeat(70)),
    ];
    for (sender, receiver) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
        spandrel_transport::conformance::codec_splits_anywhere(&frames, || {
            (WsCodec::new(sender, &Limits::default()), WsCodec::new(receiver, &Limits::default()))
        });
    }
}

#[test]
fn a_client_masks_and_refuses_masked_frames() {
    let (mut codec, mut out) = (WsCodec::new(Role::Client, &limits()), OutBuf::new());
    codec.encode(Frame::text("secret"), &mut out).unwrap();
    let bytes = out.to_vec();
    assert_eq!(bytes.len(), 2 + 4 + 6);
    assert_eq!(bytes[1] & 0x80, 0x80);
    let mut src = BytesMut::from(&masked(0x81, b"x")[..]);
    assert!(matches!(codec.decode(&mut src, false, &mut out), Err(WireError::Protocol(_))));
}

proptest::proptest! {
    /// No bytes make the codec panic, and splitting them changes nothing.
    #[test]
    fn prop_never_panics(data in proptest::collection::vec(proptest::num::u8::ANY, 0..120)) {
        crate::fuzz::fuzz_ws_frame(&data);
        crate::fuzz::fuzz_ws_handshake(&data);
    }

    /// The same for what looks like frames.
    #[test]
    fn prop_never_panics_on_near_misses(
        frames in proptest::collection::vec((0_u8..=255, "[a-zé\\x00]{0,12}", proptest::bool::weighted(0.9)), 0..12),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(first, text, mask)| raw(first & 0x8F, text.as_bytes(), *mask)).collect();
        crate::fuzz::fuzz_ws_frame(&bytes);
    }
}

proptest::proptest! {
    /// Giving memory back at any point changes nothing of what comes or goes.
    #[test]
    fn prop_giving_memory_back_changes_nothing(
        lens in proptest::collection::vec((0_usize..5, 0_usize..20_000), 1..8),
        cuts in proptest::collection::vec(1_usize..9_000, 1..30),
    ) {
        let mut bytes = Vec::new();
        for (kind, len) in lens {
            bytes.extend(match kind {
                0 => masked(0x89, &vec![b'p'; len % 126]),
                1 => [masked(0x02, &vec![1; len]), masked(0x89, b""), masked(0x80, &vec![2; len])].concat(),
                2 => masked(0x82, &vec![3; len % 50]),
                _ => masked(0x81, &vec![b'x'; len]),
            });
        }
        let run = |shrinks: bool| {
            let limits = Limits::default().with_frame_bytes_max(100_000);
            let mut codec = WsCodec::new(Role::Server, &limits);
            let (mut src, mut out, mut frames) = (BytesMut::new(), OutBuf::new(), Vec::new());
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                rest = after;
                src.extend_from_slice(chunk);
                loop {
                    let frame = codec.decode(&mut src, false, &mut out).unwrap();
                    if shrinks {
                        codec.shrink();
                    }
                    let Some(frame) = frame else { break };
                    frames.push(frame);
                }
            }
            (frames, out.to_vec(), codec.activity())
        };
        proptest::prop_assert!(run(true) == run(false));
    }
}
