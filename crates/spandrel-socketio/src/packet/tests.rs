use proptest::prelude::*;

use super::*;
use crate::{Encoded, JsonError, encode_ack, encode_connect, encode_disconnect, encode_error, encode_event};

fn decoder() -> Decoder {
    Decoder::new(&Limits::default())
}

fn read(text: &str) -> Result<Option<Packet>, PacketError> {
    decoder().push(Frame::text(text))
}

fn event(text: &str) -> Event {
    match read(text) {
        Ok(Some(Packet::Event(event))) => event,
        other => panic!("{text}: {other:?}"),
    }
}

fn values(args: impl Iterator<Item = Value>) -> Vec<String> {
    args.map(|v| v.to_string()).collect()
}

fn back(packet: &Encoded) -> Packet {
    let mut decoder = decoder();
    let mut got = None;
    for frame in packet.frames() {
        assert!(got.is_none(), "more frames than the packet announced");
        got = decoder.push(frame).unwrap();
    }
    got.expect("complete")
}

#[test]
fn events_of_every_shape() {
    for (text, name, args, ack_id, namespace) in [
        (r#"42["message",{"data":1.50}]"#, "message", &[r#"{"data":1.50}"#][..], None, "/"),
        (r#"427["message"]"#, "message", &[], Some(7), "/"),
        (r#"42 [ "a" , 1 , [2] ] "#, "a", &["1", "[2]"], None, "/"),
        (r#"42/admin,["a",1]"#, "a", &["1"], None, "/admin"),
        (r#"42/admin?token=1&x,18446744073709551615["a"]"#, "a", &[], Some(u64::MAX), "/admin?token=1&x"),
        (r#"42["\u006des\"sage","한😀"]"#, "mes\"sage", &["\"한😀\""], None, "/"),
        (r#"450-["none attached"]"#, "none attached", &[], None, "/"),
        (r#"42[""]"#, "", &[], None, "/"),
    ] {
        let event = event(text);
        assert_eq!(event.name(), name, "{text}");
        assert!(event.is_named(name) && !event.is_named("another"), "{text}");
        assert_eq!(values(event.args()), args, "{text}");
        assert_eq!(event.arg(0).map(|v| v.to_string()).as_deref(), args.first().copied(), "{text}");
        assert_eq!(event.arg(args.len()), None, "{text}");
        assert_eq!((event.ack_id(), event.namespace().as_str()), (ack_id, namespace), "{text}");
    }
}

#[test]
fn the_other_packets() {
    let name = |text: &str| Namespace(Bytes::from(text.to_owned()));
    for (text, want) in [
        ("40", Packet::Connect { namespace: Namespace::MAIN }),
        ("40/foo", Packet::Connect { namespace: name("/foo") }),
        ("40/foo?a=1,", Packet::Connect { namespace: name("/foo?a=1") }),
        ("41", Packet::Disconnect { namespace: Namespace::MAIN }),
        ("41/foo,", Packet::Disconnect { namespace: name("/foo") }),
        ("44", Packet::Error { namespace: Namespace::MAIN, value: None }),
        (
            "44/foo,\"Invalid namespace\"",
            Packet::Error { namespace: name("/foo"), value: Some(Value::from_text("Invalid namespace")) },
        ),
        (
            "44{\"a\":1}",
            Packet::Error { namespace: Namespace::MAIN, value: Some(Value::parse("{\"a\":1}").unwrap()) },
        ),
    ] {
        assert_eq!(read(text), Ok(Some(want)), "{text}");
    }
    let Ok(Some(Packet::Ack(ack))) = read("4312[1,\"b\"]") else { panic!("an ack") };
    assert_eq!((ack.id(), values(ack.args())), (12, vec!["1".to_owned(), "\"b\"".to_owned()]));
    assert_eq!(ack.arg(1), Some(Value::from_text("b")));
    let Ok(Some(Packet::Ack(ack))) = read("430[]") else { panic!("an ack") };
    assert_eq!((ack.id(), ack.args().count()), (0, 0));
}

#[test]
fn namespaces_tell_path_and_main() {
    for (text, path, is_main) in
        [("40", "/", true), ("40/,", "/", true), ("40/?a=1", "/", true), ("40/a?b=/c", "/a", false)]
    {
        let Ok(Some(Packet::Connect { namespace })) = read(text) else { panic!("{text}") };
        assert_eq!((namespace.path(), namespace.is_main()), (path, is_main), "{text}");
    }
}

#[test]
fn garbage_is_a_typed_error() {
    let digits = "9".repeat(400);
    let json = |at| PacketError::Json(JsonError::Syntax { at });
    for (text, want) in [
        ("4garb", PacketError::Kind),
        ("4", PacketError::Kind),
        ("47[]", PacketError::Kind),
        ("2probe", PacketError::NotMessage),
        ("x", PacketError::NotMessage),
        ("", PacketError::NotMessage),
        ("42", PacketError::NotArray),
        ("42{\"a\":1}", PacketError::NotArray),
        ("42\"a\"", PacketError::NotArray),
        ("40[1", json(2)),
        ("40{}", PacketError::NotArray),
        ("42[]", PacketError::Name),
        ("42[null]", PacketError::Name),
        ("42[{\"a\":1}]", PacketError::Name),
        ("42[\"a\"", json(4)),
        ("42[\"a\"]]", json(5)),
        ("42[\"a\",]", json(5)),
        ("42x[\"a\"]", json(0)),
        (&format!("42{digits}[\"a\"]"), PacketError::AckId),
        ("4218446744073709551616[\"a\"]", PacketError::AckId),
        ("43[1]", PacketError::NoAckId),
        ("437", PacketError::NotArray),
        ("45[\"a\"]", PacketError::Attachments),
        ("451[\"a\"]", PacketError::Attachments),
        ("45-[\"a\"]", PacketError::Attachments),
        ("4565-[\"a\"]", PacketError::TooManyAttachments { max: 64 }),
        (&format!("45{digits}-[\"a\"]"), PacketError::TooManyAttachments { max: 64 }),
        ("451-", PacketError::NotArray),
        ("451-[1]", PacketError::Name),
        ("461-[1]", PacketError::NoAckId),
    ] {
        assert_eq!(read(text), Err(want), "{text}");
    }
    let deep = format!("42[\"a\",{}{}]", "[".repeat(50_000), "]".repeat(50_000));
    assert!(matches!(read(&deep), Err(PacketError::Json(JsonError::TooDeep { .. }))));
}

#[test]
fn fifty_thousand_arguments_cost_nothing_but_their_text() {
    let event = event(&format!("42[\"a\"{}]", ",1".repeat(50_000)));
    assert_eq!((event.args().count(), event.arg(49_999)), (50_000, Some(Value::from(1))));
}

#[test]
fn attachments_are_collected() {
    let mut decoder = decoder();
    let text = r#"452-7["file",{"a":{"_placeholder":true,"num":1},"b":{"_placeholder":true,"num":0}}]"#;
    assert_eq!(decoder.push(Frame::text(text)), Ok(None));
    assert_eq!(decoder.awaited(), 2);
    assert_eq!(decoder.push(Frame::binary(vec![4, 1])), Ok(None));
    let Ok(Some(Packet::Event(event))) = decoder.push(Frame::binary(vec![4, 2, 255])) else {
        panic!("an event")
    };
    assert_eq!((decoder.awaited(), event.ack_id()), (0, Some(7)));
    assert_eq!(event.attachments().collect::<Vec<_>>(), [&[1][..], &[2, 255]]);
    let json = event.arg(0).unwrap().to_json_with_buffers();
    assert_eq!(json, r#"{"a":{"type":"Buffer","data":[2,255]},"b":{"type":"Buffer","data":[1]}}"#);
    assert!(
        matches!(decoder.push(Frame::text("40")), Ok(Some(Packet::Connect { .. }))),
        "ready for the next"
    );
}

#[test]
fn attachments_out_of_place_are_errors() {
    assert_eq!(decoder().push(Frame::binary(vec![4, 1])), Err(PacketError::NotAnnounced));
    assert_eq!(decoder().push(Frame::binary(vec![2])), Err(PacketError::NotMessage));
    let mut waiting = decoder();
    assert_eq!(waiting.push(Frame::text("452-[\"a\"]")), Ok(None));
    assert_eq!(waiting.push(Frame::binary(vec![4])), Ok(None));
    assert_eq!(waiting.push(Frame::text("42[\"b\"]")), Err(PacketError::AttachmentsMissing { missing: 1 }));
}

#[test]
fn one_over_each_limit_is_refused() {
    let limits = Limits::default().with_message_bytes_max(100);
    let text = |n: usize| Frame::text(format!("42[\"{}\"]", "x".repeat(n - 5)));
    assert!(Decoder::new(&limits).push(text(100)).is_ok());
    let got = Decoder::new(&limits).push(text(101));
    assert_eq!(got, Err(PacketError::TooLong { len: 102, max: 100 }));

    let mut decoder = Decoder::new(&limits);
    assert_eq!(decoder.push(Frame::text("452-[\"abcdef\"]")), Ok(None));
    assert_eq!(decoder.push(Frame::binary(vec![4; 87])), Ok(None));
    assert_eq!(decoder.push(Frame::binary(vec![4])), Err(PacketError::TooLong { len: 102, max: 100 }));

    let mut few = Limits::default().with_message_bytes_max(100);
    few.attachments_max = 1;
    assert_eq!(Decoder::new(&few).push(Frame::text("451-[\"a\"]")), Ok(None));
    let got = Decoder::new(&few).push(Frame::text("452-[\"a\"]"));
    assert_eq!(got, Err(PacketError::TooManyAttachments { max: 1 }));
}

#[test]
fn line_breaks_do_not_pass() {
    let event = event("42[\"a\",\n{\"b\":\r\n1}]");
    assert_eq!(event.arg(0).unwrap().as_json_str(), "{\"b\":  1}");
}

#[test]
fn packets_are_written_as_the_protocol_has_them() {
    let value = |text: &str| Value::parse(text.to_owned()).unwrap();
    for (packet, want) in [
        (
            encode_event("message", &[&value(r#"{"data":{"a":1}}"#)], None),
            r#"42["message",{"data":{"a":1}}]"#,
        ),
        (encode_event("m\"\n", &[], Some(7)), r#"427["m\"\n"]"#),
        (encode_event("m", &[&Value::NULL, &Value::TRUE], None), r#"42["m",null,true]"#),
        (encode_ack(7, &[&value("\"kk\"")]), r#"437["kk"]"#),
        (encode_ack(0, &[]), "430[]"),
        (encode_connect(), "40"),
        (encode_disconnect(), "41"),
        (encode_error("/foo", &Value::from_text("Invalid namespace")), r#"44/foo,"Invalid namespace""#),
        (encode_error("foo,bar", &Value::TRUE), "44/foo,true"),
        (encode_error("/", &Value::FALSE), "44false"),
    ] {
        assert_eq!(packet.text().as_text(), Some(want));
        assert_eq!((packet.len_frames(), packet.len_bytes()), (1, want.len()));
        assert_eq!(packet.frames().collect::<Vec<_>>(), [Frame::text(want)]);
        back(&packet);
    }
}

/// A binary event with these arguments and attachments, as it comes in.
fn received(args: &str, attachments: &[&[u8]]) -> Event {
    let mut decoder = decoder();
    let mut got = decoder.push(Frame::text(format!("45{}-[\"x\",{args}]", attachments.len()))).unwrap();
    for data in attachments {
        got = decoder.push(Frame::binary([&[4], *data].concat())).unwrap();
    }
    let Some(Packet::Event(event)) = got else { panic!("an event") };
    event
}

#[test]
fn attachments_are_passed_on_without_a_copy() {
    let event = received(r#"{"_placeholder":true,"num":0}"#, &[&[9, 8, 7]]);
    let packet = encode_event("message", &[&event.arg(0).unwrap()], Some(3));
    let frames: Vec<_> = packet.frames().collect();
    assert_eq!(frames[0], Frame::text(r#"451-3["message",{"_placeholder":true,"num":0}]"#));
    assert_eq!(frames[1], Frame::binary(vec![4, 9, 8, 7]));
    assert_eq!(frames[1].data()[1..].as_ptr(), event.attachments().next().unwrap().as_ptr());
    assert_eq!(packet.len_bytes(), frames.iter().map(Frame::len).sum::<usize>());
}

#[test]
fn attachments_of_several_packets_are_counted_anew() {
    let a = received(r#"{"_placeholder":true,"num":0}"#, &[&[1]]);
    let b = received(r#"[{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}],5"#, &[&[2], &[3]]);
    let args = [a.arg(0).unwrap(), b.arg(0).unwrap(), Value::NULL, b.arg(1).unwrap()];
    let packet = encode_event("m", &args.iter().collect::<Vec<_>>(), None);
    let want = r#"453-["m",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":2},{"_placeholder":true,"num":1}],null,5]"#;
    assert_eq!(packet.text().as_text(), Some(want));
    let Packet::Event(event) = back(&packet) else { panic!("an event") };
    let got: Vec<_> = event.args().map(|v| v.to_json_with_buffers()).collect();
    let want: Vec<_> = args.iter().map(Value::to_json_with_buffers).collect();
    assert_eq!(got, want);
}

use crate::json::tests::json_text;

proptest! {
    /// An event that is sent is the event that is received: name, arguments, number.
    #[test]
    fn prop_roundtrip_event(
        name in any::<String>(),
        args in prop::collection::vec(json_text(), 0..4),
        ack_id in any::<Option<u64>>(),
    ) {
        let args: Vec<_> = args.into_iter().map(|text| Value::parse(text).unwrap()).collect();
        let packet = encode_event(&name, &args.iter().collect::<Vec<_>>(), ack_id);
        let Packet::Event(event) = back(&packet) else { panic!("an event") };
        prop_assert_eq!(event.name(), &name[..]);
        prop_assert!(event.is_named(&name));
        prop_assert_eq!(event.args().collect::<Vec<_>>(), args);
        prop_assert_eq!(event.ack_id(), ack_id);
    }

    /// An acknowledgement that is sent is the one that is received.
    #[test]
    fn prop_roundtrip_ack(args in prop::collection::vec(json_text(), 0..4), id in any::<u64>()) {
        let args: Vec<_> = args.into_iter().map(|text| Value::parse(text).unwrap()).collect();
        let Packet::Ack(ack) = back(&encode_ack(id, &args.iter().collect::<Vec<_>>())) else { panic!("an ack") };
        prop_assert_eq!((ack.id(), ack.args().collect::<Vec<_>>()), (id, args));
    }

    /// Attachments come with the values that name them, however values are put together.
    #[test]
    fn prop_roundtrip_attachments(sizes in prop::collection::vec(0_usize..20, 1..8), picks in prop::collection::vec(0_usize..8, 1..6)) {
        let events: Vec<_> = sizes.iter().enumerate().map(|(i, n)| {
            let data = vec![u8::try_from(i).unwrap(); *n];
            received(r#"{"a":{"_placeholder":true,"num":1},"b":[{"_placeholder":true,"num":0}]}"#, &[&data, &[1, 2]])
        }).collect();
        let args: Vec<_> = picks.iter().map(|i| events[i % events.len()].arg(0).unwrap()).collect();
        let Packet::Event(event) = back(&encode_event("m", &args.iter().collect::<Vec<_>>(), None)) else { panic!("an event") };
        for (got, want) in event.args().zip(&args) {
            prop_assert_eq!(got.to_json_with_buffers(), want.to_json_with_buffers());
        }
        prop_assert_eq!(event.args().count(), args.len());
    }

    /// Foreign text never panics, and what is taken can be sent again with the same meaning.
    #[test]
    fn prop_never_panics_on_any_text(text in "4[0-9a-z]?[0-9]{0,3}-?(/[a-z?]{0,3},?)?[0-9]{0,3}[\\[\\]{}\",:a1 \\n]{0,12}") {
        if let Ok(Some(Packet::Event(event))) = read(&text) {
            let args: Vec<_> = event.args().collect();
            let packet = encode_event(&event.name(), &args.iter().collect::<Vec<_>>(), event.ack_id());
            let Packet::Event(again) = back(&packet) else { panic!("an event") };
            prop_assert_eq!(again.args().collect::<Vec<_>>(), args);
        }
    }
}
