//! RFC 6455 as a table, one family per test, named by section. Every case runs in both roles, whole, byte by byte and in
//! pieces of 7 bytes.

use super::*;

const TEXT: u8 = 0x81;
const BYTES: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
/// First, middle and last part of a message.
const TEXT_PART: u8 = 0x01;
const BYTES_PART: u8 = 0x02;
const PART: u8 = 0x00;
const LAST: u8 = 0x80;

const FRAME_BYTES_MAX: usize = 70_000;
const FRAGMENTS_MAX: usize = 16;

type Sent<'a> = (u8, &'a [u8]);

/// How a case ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Open,
    /// The peer's goodbye, with this code.
    Closed(u16),
    /// An error, with this code.
    Refused(u16),
}
use End::{Closed, Open, Refused};

/// What a peer sends.
fn wire(from: Role, sent: &[Sent<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (first, payload) in sent {
        bytes.extend(header(*first, payload.len() as u64, from));
        match from {
            Role::Client => {
                bytes.extend(payload.iter().zip([1, 0x80, 3, 0xF4].iter().cycle()).map(|(b, m)| b ^ m))
            }
            Role::Server => bytes.extend_from_slice(payload),
        }
    }
    bytes
}

fn header(first: u8, len: u64, from: Role) -> Vec<u8> {
    let bit = if from == Role::Client { 0x80 } else { 0 };
    let mut bytes = match len {
        0..=125 => vec![first, bit | u8::try_from(len).unwrap()],
        126..=0xFFFF => [&[first, bit | 126][..], &u16::try_from(len).unwrap().to_be_bytes()].concat(),
        _ => [&[first, bit | 127][..], &len.to_be_bytes()].concat(),
    };
    if from == Role::Client {
        bytes.extend([1, 0x80, 3, 0xF4]);
    }
    bytes
}

struct Came {
    frames: Vec<Frame>,
    end: End,
    /// What was answered before our own goodbye, as (first byte, payload).
    answers: Vec<(u8, Vec<u8>)>,
    /// Bytes that were there when it ended.
    taken: usize,
}

fn receive(from: Role, bytes: &[u8], piece: usize) -> Came {
    let role = if from == Role::Client { Role::Server } else { Role::Client };
    let mut limits = Limits::default().with_frame_bytes_max(FRAME_BYTES_MAX);
    limits.fragments_max = FRAGMENTS_MAX;
    let mut codec = WsCodec::new(role, &limits);
    let (mut src, mut out) = (BytesMut::new(), OutBuf::new());
    let mut came = Came { frames: Vec::new(), end: Open, answers: Vec::new(), taken: 0 };
    for piece in bytes.chunks(piece) {
        src.extend_from_slice(piece);
        came.taken += piece.len();
        while came.end == Open {
            match codec.decode(&mut src, false, &mut out) {
                Ok(Some(frame)) => came.frames.push(frame),
                Ok(None) => break,
                Err(e) => came.end = Refused(e.close_code()),
            }
        }
        if let Some(close) = codec.closed() {
            came.end = Closed(close.code);
        }
        if came.end != Open {
            break;
        }
    }
    came.answers = unframe(&out.to_vec(), role);
    if came.end != Open {
        assert_eq!(codec.decode(&mut src, false, &mut out), Ok(None), "nothing comes after the end");
        assert!(src.is_empty());
    }
    came
}

/// Takes apart what one end wrote; it writes whole messages and control frames only.
fn unframe(mut bytes: &[u8], from: Role) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        assert_eq!(second & 0x80 != 0, from == Role::Client, "a client masks, a server does not");
        let len = usize::from(second & 0x7F);
        assert!(len <= 125, "answers are short");
        let (mask, rest) = if from == Role::Client { rest.split_at(4) } else { (&[0; 4][..], rest) };
        let (payload, rest) = rest.split_at(len);
        frames.push((*first, payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect()));
        bytes = rest;
    }
    frames
}

/// One case: `sent` comes as `frames`, ends so, and is answered with `answers`.
#[track_caller]
fn check(rule: &str, sent: &[Sent<'_>], frames: &[Frame], end: End, answers: &[Sent<'_>]) {
    for from in [Role::Client, Role::Server] {
        let bytes = wire(from, sent);
        for piece in [usize::MAX, 7, 1] {
            let got = receive(from, &bytes, piece);
            let how = format!("{rule}, from the {from:?} in pieces of {piece}");
            assert_eq!(got.end, end, "{how}");
            assert!(got.frames == frames, "{how}: other frames, {} of {}", got.frames.len(), frames.len());
            let got: Vec<_> = got.answers.iter().map(|(first, payload)| (*first, &payload[..])).collect();
            assert_eq!(got, answers, "{how}");
        }
    }
}

fn text(text: &str) -> Frame {
    Frame::text(text)
}

#[test]
fn section_5_2_every_form_of_length() {
    for len in [0, 1, 125, 126, 127, 128, 254, 256, 65_535, 65_536, 65_537, FRAME_BYTES_MAX] {
        let payload = vec![b'*'; len];
        let frame = Frame::text(String::from_utf8(payload.clone()).unwrap());
        check(&format!("text of {len} bytes"), &[(TEXT, &payload)], &[frame], Open, &[]);
        let payload = vec![0xFE; len];
        check(
            &format!("binary of {len} bytes"),
            &[(BYTES, &payload)],
            &[Frame::binary(payload.clone())],
            Open,
            &[],
        );
    }
}

/// A length in more bytes than needed breaks section 5.2 for the sender; it is taken all the same, as the engine before
/// this one took it.
#[test]
fn compat_lengths_longer_than_needed_are_taken() {
    for head in [&[BYTES, 126, 0, 3][..], &[BYTES, 127, 0, 0, 0, 0, 0, 0, 0, 3]] {
        let got = receive(Role::Server, &[head, b"abc"].concat(), 1);
        assert!(got.frames == [Frame::binary("abc")] && got.end == Open, "{head:x?}");
    }
}

#[test]
fn section_5_2_reserved_bits() {
    for bits in 1..8_u8 {
        let with = |first: u8| first | bits << 4;
        let before = (TEXT, &b"before"[..]);
        for (rule, sent) in [
            ("text", vec![before, (with(TEXT), b"x")]),
            ("empty binary", vec![before, (with(BYTES), b"")]),
            ("first part", vec![before, (with(TEXT_PART), b"x"), (LAST, b"y")]),
            ("further part", vec![before, (TEXT_PART, b"x"), (with(LAST), b"y")]),
            ("ping", vec![before, (with(PING), b"")]),
            ("pong", vec![before, (with(PONG), b"x")]),
            ("close", vec![before, (with(CLOSE), b"")]),
        ] {
            check(&format!("bits {bits:03b} on a {rule}"), &sent, &[text("before")], Refused(1002), &[]);
        }
    }
}

#[test]
fn section_5_2_reserved_opcodes() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15_u8] {
        for (fin, payload) in [(0x80, &b""[..]), (0x80, b"x"), (0, b"x"), (0x80, &[0; 200])] {
            let rule = format!("opcode {opcode} of {} bytes, first bit {fin:x}", payload.len());
            let sent = [(PING, &b"p"[..]), (fin | opcode, payload), (TEXT, b"late")];
            check(&rule, &sent, &[], Refused(1002), &[(PONG, b"p")]);
        }
    }
}

#[test]
fn section_5_1_clients_mask_and_servers_do_not() {
    for (from, pretends) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
        for first in [TEXT, BYTES, TEXT_PART, CLOSE, PING, PONG] {
            for payload in [&b""[..], b"x"] {
                let got = receive(from, &wire(pretends, &[(first, payload)]), 1);
                assert_eq!((got.end, got.frames.len()), (Refused(1002), 0), "{first:x} from the {from:?}");
            }
        }
    }
}

#[test]
fn section_5_4_messages_in_parts() {
    let whole = [text("hello")];
    for (rule, sent, frames) in [
        ("two parts", vec![(TEXT_PART, &b"hel"[..]), (LAST, b"lo")], &whole[..]),
        (
            "a byte each",
            vec![(TEXT_PART, b"h"), (PART, b"e"), (PART, b"l"), (PART, b"l"), (LAST, b"o")],
            &whole,
        ),
        ("first part empty", vec![(TEXT_PART, b""), (LAST, b"hello")], &whole),
        ("middle part empty", vec![(TEXT_PART, b"hel"), (PART, b""), (LAST, b"lo")], &whole),
        ("last part empty", vec![(TEXT_PART, b"hello"), (LAST, b"")], &whole),
        ("all parts empty", vec![(TEXT_PART, b""), (PART, b""), (LAST, b"")], &[text("")]),
        ("binary in parts", vec![(BYTES_PART, b"\xFF"), (LAST, b"\xFE")], &[Frame::binary(&b"\xFF\xFE"[..])]),
        (
            "a message in parts, a whole one, one in parts",
            vec![(BYTES_PART, b"1"), (LAST, b"2"), (TEXT, b"3"), (TEXT_PART, b"4"), (LAST, b"5")],
            &[Frame::binary("12"), text("3"), text("45")],
        ),
    ] {
        check(rule, &sent, frames, Open, &[]);
    }
    let many: Vec<Sent<'_>> = std::iter::once((TEXT_PART, &b"x"[..]))
        .chain(std::iter::repeat_n((PART, &b"x"[..]), FRAGMENTS_MAX - 2))
        .chain([(LAST, &b"x"[..])])
        .collect();
    check("as many parts as allowed", &many, &[text(&"x".repeat(FRAGMENTS_MAX))], Open, &[]);
}

#[test]
fn section_5_4_parts_out_of_order() {
    for (rule, sent, frames) in [
        ("last part of nothing", vec![(LAST, &b"x"[..])], &[][..]),
        ("empty last part of nothing", vec![(LAST, b"")], &[]),
        ("middle part of nothing", vec![(PART, b"x")], &[]),
        (
            "one part more than the message has",
            vec![(TEXT_PART, b"a"), (LAST, b"b"), (LAST, b"c")],
            &[text("ab")],
        ),
        ("part after a whole message", vec![(TEXT, b"a"), (PART, b"b")], &[text("a")]),
        ("text inside a text", vec![(TEXT_PART, b"a"), (TEXT, b"b")], &[]),
        ("binary inside a text", vec![(TEXT_PART, b"a"), (BYTES, b"b")], &[]),
        ("a second first part", vec![(BYTES_PART, b"a"), (BYTES_PART, b"b")], &[]),
        ("first part after a middle one", vec![(TEXT_PART, b"a"), (PART, b"b"), (TEXT_PART, b"c")], &[]),
    ] {
        check(rule, &sent, frames, Refused(1002), &[]);
    }
}

#[test]
fn section_5_5_control_frames() {
    let long = [b'c'; 126];
    let longest = &long[..125];
    for (rule, sent, end) in [
        ("ping in parts", vec![(PING & 0x0F, &b"x"[..]), (LAST, b"y")], Refused(1002)),
        ("pong in parts", vec![(PONG & 0x0F, b"x")], Refused(1002)),
        ("close in parts", vec![(CLOSE & 0x0F, b"")], Refused(1002)),
        ("ping of 126 bytes", vec![(PING, &long)], Refused(1002)),
        ("pong of 126 bytes", vec![(PONG, &long)], Refused(1002)),
        ("close of 126 bytes", vec![(CLOSE, &long)], Refused(1002)),
        ("pong nobody asked for", vec![(PONG, b""), (PONG, longest)], Open),
    ] {
        check(rule, &sent, &[], end, &[]);
    }
    let between =
        [(TEXT_PART, &b"a"[..]), (PING, b"1"), (PART, b"b"), (PONG, b"2"), (PING, b""), (LAST, b"c")];
    check("between the parts of a message", &between, &[text("abc")], Open, &[(PONG, b"1"), (PONG, b"")]);
}

#[test]
fn section_5_5_2_pings_are_answered_in_order() {
    let all: Vec<u8> = (0..=255).collect();
    for payload in [&all[..0], &all[..1], &all[131..], b"\xC3"] {
        check("one ping", &[(PING, payload)], &[], Open, &[(PONG, payload)]);
    }
    let pings: Vec<Sent<'_>> = (0..10).map(|n| (PING, &all[n..2 * n])).collect();
    let pongs: Vec<Sent<'_>> = (0..10).map(|n| (PONG, &all[n..2 * n])).collect();
    check("ten pings", &pings, &[], Open, &pongs);
    let sent = [(PING, &b"1"[..]), (BYTES, b"m"), (PING, b"2")];
    check("around a message", &sent, &[Frame::binary("m")], Open, &[(PONG, b"1"), (PONG, b"2")]);
}

/// Texts every receiver must take: the borders of each length, the first and last characters, non-characters.
const GOOD: &[&str] = &[
    "",
    "\0",
    "\u{7F}",
    "\u{80}",
    "\u{7FF}",
    "\u{800}",
    "\u{D7FF}",
    "\u{E000}",
    "\u{FFFD}",
    "\u{FFFE}",
    "\u{FFFF}",
    "\u{FEFF}",
    "\u{10000}",
    "\u{1FFFE}",
    "\u{3FFFF}",
    "\u{40000}",
    "\u{FFFFF}",
    "\u{100000}",
    "\u{10FFFF}",
    "Grüße, 안녕하세요, 你好, 👋🏽",
];

/// Byte sequences no text can have, and how many of their bytes it takes to know.
const BAD: &[(&[u8], usize)] = &[
    (b"\x80", 1),
    (b"\xBF", 1),
    (b"\x80\xBF\x80\xBF\x80\xBF", 1),
    (b"\xC0\x80", 1),
    (b"\xC0\xAF", 1),
    (b"\xC1\xBF", 1),
    (b"\xC2 ", 2),
    (b"\xDF\xC0", 2),
    (b"\xE0\x80\x80", 2),
    (b"\xE0\x9F\xBF", 2),
    (b"\xE1\x80 ", 3),
    (b"\xED\xA0\x80", 2),
    (b"\xED\xAD\xBF\xED\xB0\x80", 2),
    (b"\xED\xBF\xBF", 2),
    (b"\xEF\xBF\xFF", 3),
    (b"\xF0\x80\x80\x80", 2),
    (b"\xF0\x8F\xBF\xBF", 2),
    (b"\xF0\x90 \x80", 3),
    (b"\xF1\x80\x80\xC0", 4),
    (b"\xF4\x90\x80\x80", 2),
    (b"\xF5\x80\x80\x80", 1),
    (b"\xF7\xBF\xBF\xBF", 1),
    (b"\xF8\x88\x80\x80\x80", 1),
    (b"\xFB\xBF\xBF\xBF\xBF", 1),
    (b"\xFC\x84\x80\x80\x80\x80", 1),
    (b"\xFD\xBF\xBF\xBF\xBF\xBF", 1),
    (b"\xFE", 1),
    (b"\xFF", 1),
    (b"\xC3\xC3\xA9", 2),
];

/// Beginnings of characters: nothing wrong until the text ends.
const CUT: &[&[u8]] = &[b"\xC3", b"\xE2\x82", b"\xE0\xA0", b"\xF0\x9F", b"\xF0\x9F\x98", b"\xF4\x8F\xBF"];

#[test]
fn section_8_1_good_texts_however_they_are_cut() {
    for good in GOOD {
        let frame = [text(good)];
        check(good, &[(TEXT, good.as_bytes())], &frame, Open, &[]);
        for at in 0..=good.len() {
            let (first, last) = good.as_bytes().split_at(at);
            let sent = [(TEXT_PART, first), (PING, b"\xFF"), (LAST, last)];
            check(&format!("{good:?} cut at {at}"), &sent, &frame, Open, &[(PONG, b"\xFF")]);
        }
    }
}

#[test]
fn section_8_1_bad_texts() {
    for (bad, _) in BAD {
        let bad = &[b"ok \xE2\x82\xAC ", *bad].concat()[..];
        check(&format!("{bad:x?}"), &[(TEXT, bad)], &[], Refused(1007), &[]);
        check(&format!("{bad:x?} as binary"), &[(BYTES, bad)], &[Frame::binary(bad.to_vec())], Open, &[]);
        for at in 0..=bad.len() {
            let (first, last) = bad.split_at(at);
            check(
                &format!("{bad:x?} cut at {at}"),
                &[(TEXT_PART, first), (LAST, last)],
                &[],
                Refused(1007),
                &[],
            );
        }
    }
    for cut in CUT {
        check(&format!("{cut:x?} and the end"), &[(TEXT, cut)], &[], Refused(1007), &[]);
        let sent = [(TEXT_PART, *cut), (PART, b""), (LAST, b"")];
        check(&format!("{cut:x?} and an empty end"), &sent, &[], Refused(1007), &[]);
        check(&format!("{cut:x?} and no end yet"), &[(TEXT_PART, *cut), (PART, b"")], &[], Open, &[]);
    }
}

#[test]
fn section_8_1_is_refused_with_the_first_byte_that_shows_it() {
    for from in [Role::Client, Role::Server] {
        for (bad, needed) in BAD {
            let text = [b"\xE2\x82\xAC", *bad, b"never needed"].concat();
            let one = wire(from, &[(TEXT, &text)]);
            let head = one.len() - text.len();
            assert_eq!(receive(from, &one, 1).taken, head + 3 + needed, "{bad:x?} in one frame");
            let part = wire(from, &[(TEXT_PART, b"before, "), (PING, b"")]);
            let two = [&part[..], &wire(from, &[(PART, &text)])].concat();
            let got = receive(from, &two, 1);
            assert_eq!(got.taken, part.len() + head + 3 + needed, "{bad:x?} in a second part");
            assert_eq!(got.end, Refused(1007));
        }
    }
}

#[test]
fn breaches_of_a_header_do_not_wait_for_the_payload() {
    for from in [Role::Client, Role::Server] {
        for (rule, first, len) in [
            ("reserved bit", 0xC1, 100),
            ("reserved opcode", 0x83, 100),
            ("part of nothing", LAST, 100),
            ("ping too long", PING, 126),
            ("ping in parts", 0x09, 5),
            ("message too long", BYTES, FRAME_BYTES_MAX as u64 + 1),
        ] {
            let head = header(first, len, from);
            let got = receive(from, &head, 1);
            assert!(matches!(got.end, Refused(1002 | 1009)), "{rule}: {:?}", got.end);
        }
    }
}

#[test]
fn section_5_5_1_closing() {
    let long = [b'r'; 123];
    let reason = |code: u16, reason: &[u8]| [&code.to_be_bytes(), reason].concat();
    for (rule, payload, code) in [
        ("no code", vec![], 1005),
        ("a code", reason(1000, b""), 1000),
        ("a reason", reason(1001, "größer".as_bytes()), 1001),
        ("the longest reason", reason(4999, &long), 4999),
    ] {
        let sent = [(TEXT, &b"x"[..]), (CLOSE, &payload), (PING, b""), (TEXT, b"late"), (CLOSE, b"")];
        check(rule, &sent, &[text("x")], Closed(code), &[(CLOSE, &payload)]);
        let sent = [(TEXT_PART, &b"x"[..]), (CLOSE, &payload)];
        check(&format!("{rule}, inside a message"), &sent, &[], Closed(code), &[(CLOSE, &payload)]);
    }
    check("one byte", &[(CLOSE, b"\x03")], &[], Refused(1002), &[]);
    for (bad, _) in BAD {
        check("a reason that is no text", &[(CLOSE, &reason(1000, bad))], &[], Refused(1007), &[]);
    }
    for cut in CUT {
        check("a reason that is cut", &[(CLOSE, &reason(1000, cut))], &[], Refused(1007), &[]);
    }
}

#[test]
fn section_7_4_close_codes() {
    for code in (0..=1100_u16).chain([1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 5001, 32_768, 65_535]) {
        let is_good = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        for from in [Role::Client, Role::Server] {
            let got = receive(from, &wire(from, &[(CLOSE, &code.to_be_bytes())]), usize::MAX);
            let want = if is_good { code } else { 1002 };
            assert_eq!(got.end, Closed(want), "{code}");
            let (first, answer) = got.answers.first().unwrap();
            assert_eq!((*first, &answer[..2]), (CLOSE, &want.to_be_bytes()[..]), "{code}");
        }
    }
}

#[test]
fn section_5_5_1_after_our_own_close() {
    let mut codec = WsCodec::new(Role::Server, &Limits::default());
    let mut out = OutBuf::new();
    codec.close(&Close::new(1001, "bye"), &mut out);
    let goodbye = out.len();
    let sent = [(TEXT, &b"under way"[..]), (PING, b"p"), (CLOSE, b"\x03\xE8")];
    let mut src = BytesMut::from(&wire(Role::Client, &sent)[..]);
    assert_eq!(codec.decode(&mut src, false, &mut out), Ok(Some(text("under way"))), "it was sent before");
    assert_eq!(codec.decode(&mut src, false, &mut out), Ok(None));
    assert_eq!(codec.closed(), Some(&Close::new(1000, "")), "the answer");
    assert_eq!(out.len(), goodbye, "nothing is sent after a close");
    assert_eq!(codec.encode(text("x"), &mut out), Err(WireError::Closing));
}

#[test]
fn section_7_1_5_the_end_of_the_stream() {
    for from in [Role::Client, Role::Server] {
        let role = if from == Role::Client { Role::Server } else { Role::Client };
        for (rule, bytes, want, is_mid_message) in [
            ("nothing", vec![], WireError::Gone, false),
            ("after a message", wire(from, &[(TEXT, b"x")]), WireError::Gone, false),
            ("between parts", wire(from, &[(TEXT_PART, b"x")]), WireError::Gone, true),
            ("after a byte", vec![TEXT], WireError::Truncated, false),
            ("after a header", header(TEXT, 5, from), WireError::Truncated, true),
            ("after the header of a part", header(TEXT_PART, 5, from), WireError::Truncated, true),
            ("after the header of a ping", header(PING, 5, from), WireError::Truncated, true),
            ("inside a part", [header(TEXT_PART, 5, from), vec![0x21]].concat(), WireError::Truncated, true),
        ] {
            let (mut codec, mut out) = (WsCodec::new(role, &Limits::default()), OutBuf::new());
            let mut src = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = codec.decode(&mut src, false, &mut out) {}
            assert_eq!(codec.is_mid_frame(), is_mid_message, "{rule}");
            assert_eq!(codec.decode(&mut src, true, &mut out), Err(want), "{rule}");
            assert_eq!(codec.encode(text("late"), &mut out), Err(WireError::Closing), "{rule}");
            codec.close(&Close::normal(), &mut out);
            assert!(out.is_empty(), "{rule}: nobody is there to hear it");
        }
    }
}

#[test]
fn section_7_4_1_codes_that_stay_off_the_wire_are_not_sent() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        let (mut codec, mut out) = (WsCodec::new(Role::Server, &Limits::default()), OutBuf::new());
        codec.close(&Close::new(code, ""), &mut out);
        assert!(out.is_empty(), "{code}");
        assert_eq!(codec.encode(text("x"), &mut out), Ok(()), "{code} was no goodbye");
    }
}

#[test]
fn section_10_4_limits() {
    let full = vec![0_u8; FRAME_BYTES_MAX];
    let over = vec![0_u8; FRAME_BYTES_MAX + 1];
    let (half, rest) = full.split_at(FRAME_BYTES_MAX / 2);
    let fits = [Frame::binary(full.clone())];
    check("a message of the limit", &[(BYTES, &full)], &fits, Open, &[]);
    check("one byte more", &[(BYTES, &over)], &[], Refused(1009), &[]);
    check("the limit in parts", &[(BYTES_PART, half), (LAST, rest)], &fits, Open, &[]);
    check(
        "one byte more in parts",
        &[(BYTES_PART, half), (PART, rest), (LAST, b"x")],
        &[],
        Refused(1009),
        &[],
    );
    check("an empty part more is none", &[(BYTES_PART, &full), (LAST, b"")], &fits, Open, &[]);
    let mut many: Vec<Sent<'_>> = vec![(BYTES_PART, b"x")];
    many.extend(std::iter::repeat_n((PART, &b"x"[..]), FRAGMENTS_MAX - 1));
    check("open after the most parts", &many, &[], Open, &[]);
    many.push((LAST, b""));
    check("one part more", &many, &[], Refused(1008), &[]);
    for from in [Role::Client, Role::Server] {
        for first in [TEXT, BYTES, TEXT_PART] {
            for len in [1 << 20, 1 << 31, 1 << 32, 1 << 53, (1 << 63) - 1, 1 << 63, u64::MAX] {
                assert_eq!(receive(from, &header(first, len, from), 1).end, Refused(1009), "{len} announced");
            }
        }
    }
}

#[test]
fn section_10_4_small_limits_leave_control_frames_alone() {
    let mut limits = Limits::default().with_frame_bytes_max(10);
    limits.fragments_max = 0;
    let mut codec = WsCodec::new(Role::Server, &limits);
    let (mut out, ping) = (OutBuf::new(), [b'p'; 125]);
    let mut src = BytesMut::from(&wire(Role::Client, &[(PING, &ping), (TEXT, b"x")])[..]);
    assert_eq!(codec.decode(&mut src, false, &mut out), Err(WireError::TooManyFragments { max: 0 }));
    assert_eq!(unframe(&out.to_vec(), Role::Server), [(PONG, ping.to_vec())]);
}

#[test]
fn section_10_4_no_limit_is_no_way_around_the_top_bit() {
    let mut codec = WsCodec::new(Role::Server, &Limits::default().with_frame_bytes_max(usize::MAX));
    let mut src = BytesMut::from(&header(BYTES, 1 << 63, Role::Client)[..]);
    assert_eq!(
        codec.decode(&mut src, false, &mut OutBuf::new()),
        Err(WireError::TooLong { len: 1 << 63, max: usize::MAX })
    );
}

#[test]
fn errors_name_what_came() {
    let told = |bytes: &[u8]| {
        let mut codec = WsCodec::new(Role::Client, &Limits::default().with_frame_bytes_max(200));
        let (mut src, mut out) = (BytesMut::from(bytes), OutBuf::new());
        while codec
            .decode(&mut src, false, &mut out)
            .map_err(|e| src = BytesMut::from(&*e.to_string()))
            .is_ok_and(|f| f.is_some())
        {}
        String::from_utf8(src.to_vec()).unwrap()
    };
    for (sent, want) in [
        (
            &[(0xD1, &b""[..])][..],
            "wire protocol broken: reserved bits 101, expected 000: no extension was agreed",
        ),
        (&[(0x83, b"")], "wire protocol broken: opcode 3 is reserved, expected 0, 1, 2, 8, 9 or 10"),
        (&[(PING, &[0; 126])], "wire protocol broken: control frame of 126 bytes, at most 125 are allowed"),
        (
            &[(TEXT, "ab€\u{1F}\u{1F600}".as_bytes()), (TEXT, b"ab\xFF")],
            "text frame is not valid UTF-8 at byte 2",
        ),
        (&[(TEXT_PART, b"ab\xE2"), (LAST, b"x")], "text frame is not valid UTF-8 at byte 2"),
        (
            &[(TEXT, b"before"), (TEXT_PART, b"a\xFF"), (LAST, b"x")],
            "text frame is not valid UTF-8 at byte 1",
        ),
        (&[(CLOSE, b"\x03\xE8ab\xFF")], "text frame is not valid UTF-8 at byte 4"),
        (&[(BYTES_PART, &[0; 150]), (PART, &[0; 60])], "frame of 210 bytes is over the limit of 200"),
    ] {
        assert_eq!(told(&wire(Role::Server, sent)), want);
    }
}
