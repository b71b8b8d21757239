//! What holds for every codec, and the tables of each.

use super::*;
use crate::{Kind, Limits, fuzz::run};

fn small() -> Limits {
    let mut limits = Limits::default().with_frame_bytes_max(100);
    limits.depth_max = 3;
    limits
}

fn encoded(codec: &mut impl Codec, frames: &[Frame]) -> Vec<u8> {
    let mut out = OutBuf::new();
    for frame in frames {
        codec.encode(frame.clone(), &mut out).unwrap();
    }
    out.to_vec()
}

fn error<C: Codec>(mut codec: C, bytes: &[u8]) -> Option<WireError> {
    run(&mut codec, std::iter::once(bytes)).1
}

#[test]
fn every_split_gives_the_same_frames() {
    let texts = [r#"{"a":"}\"{ü"}"#, "[[1],[2,{}]]", r#"{"b":[]}"#].map(Frame::text);
    let limits = Limits::default();
    let mixed = [Frame::text(""), Frame::binary(vec![0; 300]), Frame::text("ü"), Frame::binary("")];
    let length = encoded(&mut LengthCodec::new(&limits), &mixed);
    let json = encoded(&mut JsonCodec::new(&limits), &texts);
    let lines = encoded(&mut LinesCodec::new(&limits), &texts);
    for at in 0..=length.len() {
        let (a, b) = length.split_at(at);
        let got = run(&mut LengthCodec::new(&limits), [a, b].into_iter());
        assert_eq!(got, (mixed.to_vec(), Some(WireError::Gone)), "length framing split at {at}");
    }
    for at in 0..=json.len() {
        let (a, b) = json.split_at(at);
        let got = run(&mut JsonCodec::new(&limits), [a, b].into_iter());
        assert_eq!(got, (texts.to_vec(), None), "json split at {at}");
    }
    for at in 0..=lines.len() {
        let (a, b) = lines.split_at(at);
        let got = run(&mut LinesCodec::new(&limits), [a, b].into_iter());
        assert_eq!(got, (texts.to_vec(), None), "lines split at {at}");
    }
}

#[test]
fn length_frames_over_the_limit_are_refused_from_the_header() {
    for (name, head, want) in [
        ("length 0", &[0, 0, 0, 0][..], Some(WireError::Empty)),
        ("at the limit", &[0, 0, 0, 101], Some(WireError::Truncated)),
        ("one over", &[0, 0, 0, 102], Some(WireError::TooLong { len: 101, max: 100 })),
        (
            "the largest",
            &[255, 255, 255, 255],
            Some(WireError::TooLong { len: u64::from(u32::MAX) - 1, max: 100 }),
        ),
        ("cut in the length", &[0, 0], Some(WireError::Truncated)),
        ("nothing at all", &[], Some(WireError::Gone)),
        (
            "hello after the start",
            &[0, 0, 0, 1, 0],
            Some(WireError::UnknownKind { kind: 0, expected: "1 (text), 2 (binary), 3 (close)" }),
        ),
        ("bad text", &[0, 0, 0, 2, 1, 0xff], Some(WireError::Utf8 { at: 0 })),
        (
            "close of one byte",
            &[0, 0, 0, 2, 3, 0],
            Some(WireError::Protocol("close of 1 byte, expected none or at least 2 for the code".into())),
        ),
    ] {
        assert_eq!(error(LengthCodec::new(&small()), head), want, "{name}");
    }
    assert_eq!(WireError::Empty.close_code(), 1009);
}

#[test]
fn length_announced_is_not_allocated() {
    let mut src = BytesMut::from(&[0, 15, 255, 255, 2][..]);
    let mut codec = LengthCodec::new(&Limits::default());
    assert_eq!(codec.decode(&mut src, false, &mut OutBuf::new()), Ok(None));
    assert!(src.capacity() < 1024 && codec.is_mid_frame());
    assert_eq!(codec.read_hint(), 64 << 10);
}

#[test]
fn length_close_carries_code_and_reason() {
    let (mut codec, mut out) = (LengthCodec::new(&small()), OutBuf::new());
    codec.close(&Close::new(4406, "no subprotocol"), &mut out);
    codec.close(&Close::normal(), &mut out);
    assert_eq!(codec.encode(Frame::text("late"), &mut out), Err(WireError::Closing));
    assert_eq!(&out.to_vec()[..7], b"\x00\x00\x00\x11\x03\x11\x36");

    let mut peer = LengthCodec::new(&small());
    let bytes = [out.to_vec(), vec![0; 50]].concat();
    assert_eq!(
        run(&mut peer, std::iter::once(&bytes[..])),
        (vec![], None),
        "nothing after a close is looked at"
    );
    assert_eq!(peer.closed(), Some(&Close::new(4406, "no subprotocol")));
}

#[test]
fn hello_offers_names_and_a_query() {
    let (mut codec, mut out) = (LengthCodec::new(&small()), OutBuf::new());
    let hello = Hello { names: vec!["v1+json".into(), "v1".into()], query: Some("kid=k1&cn=x".into()) };
    codec.encode_hello(&hello, &mut out);
    let bytes = out.to_vec();
    assert_eq!(&bytes[4..], b"\x00v1+json,v1 kid=k1&cn=x");
    let mut src = BytesMut::new();
    for byte in &bytes[..bytes.len() - 1] {
        src.extend_from_slice(&[*byte]);
        assert_eq!(codec.decode_hello(&mut src), Ok(None));
    }
    src.extend_from_slice(&bytes[bytes.len() - 1..]);
    assert_eq!(codec.decode_hello(&mut src), Ok(Some(hello)));
    let mut src = BytesMut::from(&b"\x00\x00\x00\x02\x01x"[..]);
    assert!(matches!(codec.decode_hello(&mut src), Err(WireError::UnknownKind { kind: 1, .. })));
    let mut src = BytesMut::from(&b"\x00\x00\x20\x02\x00"[..]);
    assert_eq!(codec.decode_hello(&mut src), Err(WireError::TooLong { len: 8193, max: 8192 }));
}

#[test]
fn json_stream_finds_the_ends() {
    for (name, bytes, frames, want) in [
        ("blanks between", " {}\n[] \t", 2, None),
        ("brackets in strings", r#"{"a":"]}\\"}"#, 1, None),
        ("depth at the limit", "[[[]]]", 1, None),
        ("depth one over", "[[[[]]]]", 0, Some(WireError::TooDeep { max: 3 })),
        (
            "number on top",
            "1 ",
            0,
            Some(WireError::Syntax { byte: b'1', at: 0, expected: "{ or [ at the start of a text" }),
        ),
        (
            "closed too often",
            "{}}",
            1,
            Some(WireError::Syntax { byte: b'}', at: 0, expected: "{ or [ at the start of a text" }),
        ),
        ("wrong bracket", "{]", 0, Some(WireError::Syntax { byte: b']', at: 1, expected: "} to close {" })),
        ("never finished", r#"{"a"#, 0, Some(WireError::Truncated)),
    ] {
        let (got, end) = run(&mut JsonCodec::new(&small()), std::iter::once(bytes.as_bytes()));
        assert_eq!((got.len(), end), (frames, want), "{name}");
    }
}

#[test]
fn streams_without_lengths_stop_at_the_limit() {
    let fits = format!("{{\"a\":\"{}\"}}", "x".repeat(92));
    let over = format!("{{\"a\":\"{}\"}}", "x".repeat(93));
    let too_long = Some(WireError::TooLong { len: 101, max: 100 });
    assert_eq!((fits.len(), over.len()), (100, 101));
    assert_eq!(error(JsonCodec::new(&small()), fits.as_bytes()), None);
    assert_eq!(error(JsonCodec::new(&small()), over.as_bytes()), too_long);
    assert_eq!(error(JsonCodec::new(&small()), &over.as_bytes()[..100]), Some(WireError::Truncated));
    assert_eq!(error(LinesCodec::new(&small()), format!("{fits}\r\n").as_bytes()), None);
    assert_eq!(error(LinesCodec::new(&small()), over.as_bytes()), too_long);
    assert_eq!(error(LinesCodec::new(&small()), format!("{over}\n").as_bytes()), too_long);
}

#[test]
fn lines_skip_empty_and_take_the_last() {
    let (frames, end) =
        run(&mut LinesCodec::new(&small()), std::iter::once(&b"\n\r\n{}\r\n[]\n\n{\"a\":1}"[..]));
    assert_eq!(frames, ["{}", "[]", "{\"a\":1}"].map(Frame::text));
    assert_eq!(end, None);
}

#[test]
fn a_line_that_is_not_utf8_is_the_readers_to_refuse() {
    let (frames, end) = run(&mut LinesCodec::new(&small()), std::iter::once(&b"{}\n{\xff}\r\nno json\n"[..]));
    let want = [Frame::text("{}"), Frame::binary(&b"{\xff}"[..]), Frame::text("no json")];
    assert_eq!((frames, end), (want.to_vec(), None));
}

#[test]
fn frames_a_wire_cannot_carry_are_refused_and_nothing_is_written() {
    let mut out = OutBuf::new();
    let long = Frame::text(format!("[{}]", "1".repeat(99)));
    for (name, got) in [
        ("binary as json", JsonCodec::new(&small()).encode(Frame::binary("{}"), &mut out)),
        ("number as json", JsonCodec::new(&small()).encode(Frame::text("1"), &mut out)),
        ("long json", JsonCodec::new(&small()).encode(long.clone(), &mut out)),
        ("line break", LinesCodec::new(&small()).encode(Frame::text("{\n}"), &mut out)),
        ("empty line", LinesCodec::new(&small()).encode(Frame::text(""), &mut out)),
        ("binary line", LinesCodec::new(&small()).encode(Frame::binary("{}"), &mut out)),
        ("long line", LinesCodec::new(&small()).encode(long.clone(), &mut out)),
        ("long frame", LengthCodec::new(&small()).encode(long, &mut out)),
    ] {
        assert!(got.is_err() && out.is_empty(), "{name}: {got:?}");
    }
}

#[test]
fn scanner_looks_at_each_byte_once() {
    // Fed byte by byte, a restart at each read would need the square of the length: minutes instead of milliseconds.
    let mut text = vec![b'['; 1];
    text.extend(std::iter::repeat_n(&b"\"\\\"x\","[..], 150_000).flatten());
    text.extend(b"0]");
    let mut codec = JsonCodec::new(&Limits::default());
    assert_eq!(run(&mut codec, text.chunks(1)).0.len(), 1);
}

fn json_text() -> impl proptest::strategy::Strategy<Value = String> {
    "(\\{\"[a-z\\[{é]{0,9}\":\\[(1|\"\\\\\\\\\"|\\{\\})?\\]\\}|\\[\\]|\\[\\{\\}\\])"
}

#[test]
fn lines_over_the_limit_are_passed_over_where_that_is_wanted() {
    let limits = small().with_long_lines(LongLines::Skip);
    let line = |n: usize| "x".repeat(n);
    for (name, text, want, dropped) in [
        ("at the limit", format!("{}\n1\n", line(100)), vec![line(100), "1".into()], 0),
        ("the limit and a CR", format!("{}\r\n1\n", line(100)), vec![line(100), "1".into()], 0),
        ("one over", format!("0\n{}\n1\n", line(101)), vec!["0".into(), "1".into()], 1),
        ("one over and a CR", format!("{}\r\n1\n", line(101)), vec!["1".into()], 1),
        ("two in a row", format!("{}\n{}\n1", line(500), line(102)), vec!["1".into()], 2),
        ("never ended", format!("0\n{}", line(5000)), vec!["0".into()], 1),
        ("nothing else", line(101), vec![], 1),
    ] {
        for cut in [1, 7, 101, 6000] {
            let mut codec = LinesCodec::new(&limits);
            let (got, end) = run(&mut codec, text.as_bytes().chunks(cut));
            let got: Vec<_> = got.iter().map(|frame| frame.as_text().unwrap().to_owned()).collect();
            assert_eq!((got, end, codec.dropped()), (want.clone(), None, dropped), "{name}, cut at {cut}");
        }
    }
}

#[test]
fn a_line_that_is_passed_over_holds_no_memory_and_each_byte_is_looked_at_once() {
    let limits = Limits::default().with_frame_bytes_max(1 << 16).with_long_lines(LongLines::Skip);
    let (mut codec, mut src, mut out) = (LinesCodec::new(&limits), BytesMut::new(), OutBuf::new());
    let mut most = 0;
    // Searched from its start with each chunk, this line would take minutes.
    for _ in 0..200_000 {
        src.extend_from_slice(&[b'x'; 200]);
        assert_eq!(codec.decode(&mut src, false, &mut out), Ok(None));
        most = most.max(src.capacity());
        assert!(codec.is_mid_frame());
    }
    assert!(most <= 2 << 16, "{most} bytes were held");
    assert_eq!((src.capacity(), codec.dropped()), (0, 1));
    src.extend_from_slice(b"\n{}\n");
    assert_eq!(codec.decode(&mut src, false, &mut out), Ok(Some(Frame::text("{}"))));
    assert!(!codec.is_mid_frame());
}

proptest::proptest! {
    /// Lines over the limit change nothing about the others, wherever the bytes are cut.
    #[test]
    fn prop_long_lines_leave_the_others_alone(text in "[a\\r\\n]{0,80}") {
        crate::fuzz::fuzz_long_lines(text.as_bytes());
    }

    /// Frames that were encoded come back the same, however the bytes are cut.
    #[test]
    fn prop_roundtrip_length(
        frames in proptest::collection::vec((proptest::bool::ANY, ".{0,40}"), 0..10),
        cut in 1_usize..40,
    ) {
        let frames: Vec<_> = frames.into_iter()
            .map(|(text, s)| if text { Frame::text(s) } else { Frame::binary(s) }).collect();
        let limits = Limits::default();
        let bytes = encoded(&mut LengthCodec::new(&limits), &frames);
        let (got, _) = run(&mut LengthCodec::new(&limits), bytes.chunks(cut));
        proptest::prop_assert_eq!(got, frames);
    }

    /// JSON texts that were encoded come back the same, however the bytes are cut.
    #[test]
    fn prop_roundtrip_json(texts in proptest::collection::vec(json_text(), 0..10), cut in 1_usize..20) {
        let frames: Vec<_> = texts.iter().map(Frame::text).collect();
        let limits = Limits::default();
        let bytes = encoded(&mut JsonCodec::new(&limits), &frames);
        proptest::prop_assert_eq!(run(&mut JsonCodec::new(&limits), bytes.chunks(cut)), (frames.clone(), None));
        let bytes = encoded(&mut LinesCodec::new(&limits), &frames);
        proptest::prop_assert_eq!(run(&mut LinesCodec::new(&limits), bytes.chunks(cut)), (frames, None));
    }

    /// No bytes make a codec panic, and splitting them changes nothing.
    #[test]
    fn prop_never_panics_and_splits_anywhere(data in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        crate::fuzz::fuzz_tcp_frame(&data);
        crate::fuzz::fuzz_json_stream(&data);
        crate::fuzz::fuzz_json_lines(&data);
        crate::fuzz::fuzz_endpoint(&data);
    }

    /// The same for bytes that look like JSON or like frames.
    #[test]
    fn prop_never_panics_on_near_misses(text in "[\\[\\]{}\"\\\\,a \\n\\r]{0,80}", kind in 0_u8..5, len in 0_u8..90) {
        crate::fuzz::fuzz_json_stream(text.as_bytes());
        crate::fuzz::fuzz_json_lines(text.as_bytes());
        let mut framed = vec![0, 0, 0, len, kind];
        framed.extend_from_slice(text.as_bytes());
        crate::fuzz::fuzz_tcp_frame(&framed);
    }
}

#[test]
fn kinds_survive() {
    let mut codec = LengthCodec::new(&small());
    let bytes = encoded(&mut codec, &[Frame::text("t"), Frame::binary("b")]);
    let kinds: Vec<_> = run(&mut codec, std::iter::once(&bytes[..])).0.iter().map(Frame::kind).collect();
    assert_eq!(kinds, [Kind::Text, Kind::Binary]);
    assert_eq!(codec.activity(), 2);
}

#[test]
fn lines_sent_have_a_bound_of_their_own() {
    for (limits, max) in [(small(), 100), (small().with_sent_line_bytes_max(300), 300)] {
        let mut codec = LinesCodec::new(&limits);
        let mut out = OutBuf::new();
        assert_eq!(codec.encode(Frame::text("x".repeat(max)), &mut out), Ok(()));
        let over = codec.encode(Frame::text("x".repeat(max + 1)), &mut out);
        assert_eq!(over, Err(WireError::TooLong { len: max as u64 + 1, max }));
        assert_eq!(out.len(), max + 1, "one line");
        let long = format!("{}\n", "x".repeat(101));
        let read = codec.decode(&mut BytesMut::from(long.as_bytes()), false, &mut out);
        assert_eq!(read, Err(WireError::TooLong { len: 101, max: 100 }), "what is read keeps its own");
    }
}

#[test]
fn objects_only_takes_no_list_outside_an_object() {
    let codec = || JsonCodec::new(&small()).objects_only();
    let got = run(&mut codec(), std::iter::once(&b"{\"a\":[]} {}[]"[..]));
    let want = WireError::Syntax { byte: b'[', at: 0, expected: "{ at the start of a text" };
    assert_eq!(got, (vec![Frame::text("{\"a\":[]}"), Frame::text("{}")], Some(want)));
    assert_eq!(error(JsonCodec::new(&small()), b"[]"), None);
}
