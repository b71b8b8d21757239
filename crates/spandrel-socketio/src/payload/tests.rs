use proptest::prelude::*;

use super::*;

fn limits() -> Limits {
    Limits::default()
}

fn decode(body: impl Into<Bytes>, form: Form) -> Result<Vec<Frame>, EngineError> {
    decode_payload(body.into(), form, &limits())
}

#[test]
fn lengths_of_text_count_utf16_units() {
    let frames = [Frame::text(r#"42["message",{"data":{"v":"한글😀"}}]"#), Frame::text("40")];
    let body = r#"35:42["message",{"data":{"v":"한글😀"}}]2:40"#;
    assert_eq!(encode_payload(&frames, false), (Form::Text, body.into()));
    assert_eq!(decode(body, Form::Text).unwrap(), frames);
}

#[test]
fn binary_packets_in_each_form() {
    let one = [Frame::binary(vec![4, 1, 2, 255])];
    let bytes = vec![1, 4, 255, 4, 1, 2, 255];
    assert_eq!(encode_payload(&one, false), (Form::Binary, bytes.clone().into()));
    assert_eq!(decode(bytes, Form::Binary).unwrap(), one);
    assert_eq!(encode_payload(&one, true), (Form::Text, "6:b4AQL/".into()));
    assert_eq!(decode("6:b4AQL/", Form::Text).unwrap(), one);

    let mixed = [Frame::text("4한"), Frame::binary(vec![4; 12])];
    let bytes = [&[0, 4, 255][..], "4한".as_bytes(), &[1, 1, 2, 255], &[4; 12]].concat();
    assert_eq!(encode_payload(&mixed, false), (Form::Binary, bytes.clone().into()));
    assert_eq!(decode(bytes, Form::Binary).unwrap(), mixed);
}

#[test]
fn base64_is_read_with_padding_and_without() {
    for (text, want) in [("4:b4AQ", &[4, 1][..]), ("6:b4AQ==", &[4, 1]), ("2:b4", &[4])] {
        assert_eq!(decode(text, Form::Text).unwrap(), [Frame::binary(want.to_vec())], "{text}");
    }
}

#[test]
fn packets_share_the_body() {
    let body = Bytes::from_static(b"3:4ab2:40");
    let frames = decode(body.clone(), Form::Text).unwrap();
    assert_eq!(frames[1].data().as_ptr(), body[7..].as_ptr());
}

#[test]
fn broken_bodies_are_refused() {
    for (name, body) in [
        ("nothing", "".as_bytes()),
        ("no length", b":4a"),
        ("no colon", b"24"),
        ("no digits", b"x:4a"),
        ("a sign", b"+1:4"),
        ("more announced than there is", b"3:4a"),
        ("rest after the last packet", b"2:4ax"),
        ("a packet of nothing", b"0:"),
        ("a pair cut through", "2:4😀".as_bytes()),
        ("eleven digits", b"00000000001:4"),
        ("base64 of no type", b"1:b"),
        ("base64 of a type too far", b"6:b7AQL/"),
        ("base64 with other letters", b"6:b4AQL-"),
        ("base64 of a length that cannot be", b"3:b4A"),
        ("not utf-8", b"2:4\xff"),
    ] {
        assert!(decode(Bytes::copy_from_slice(body), Form::Text).is_err(), "{name}");
    }
    for (name, body) in [
        ("nothing", &[][..]),
        ("another sort", &[2, 1, 255, b'4']),
        ("no length", &[0, 255, b'4']),
        ("digits as text", &[0, b'1', 255, b'4']),
        ("no end of length", &[0, 1, 1, 1]),
        ("more announced than there is", &[0, 2, 255, b'4']),
        ("a packet of nothing", &[1, 0, 255]),
        ("text that is not utf-8", &[0, 2, 255, b'4', 0xff]),
    ] {
        assert!(decode(Bytes::copy_from_slice(body), Form::Binary).is_err(), "{name}");
    }
}

#[test]
fn one_over_each_limit_is_refused() {
    let mut small = limits().with_message_bytes_max(100);
    small.packets_per_payload_max = 3;
    let body = |packets: &[String]| -> Bytes {
        packets.iter().map(|p| format!("{}:{p}", p.len())).collect::<String>().into()
    };
    let (fits, over) = (format!("4{}", "x".repeat(100)), format!("4{}", "x".repeat(101)));
    assert!(decode_payload(body(std::slice::from_ref(&fits)), Form::Text, &small).is_ok());
    let got = decode_payload(body(&[over]), Form::Text, &small);
    assert_eq!(got, Err(EngineError::TooLong { len: 102, max: 100 }));

    let tiny = vec![String::from("2"); 4];
    assert_eq!(decode_payload(body(&tiny[..3]), Form::Text, &small).unwrap().len(), 3);
    let got = decode_payload(body(&tiny), Form::Text, &small);
    assert_eq!(got, Err(EngineError::TooManyPackets { max: 3 }));

    let max = small.payload_bytes_max;
    let got = decode_payload(vec![b'1'; max + 1].into(), Form::Text, &small);
    assert_eq!(got, Err(EngineError::TooLong { len: max + 1, max }));
    let got = decode_payload("9999999999:4".into(), Form::Text, &small);
    assert_eq!(got, Err(EngineError::TooLong { len: 9_999_999_999, max }));
}

#[test]
fn five_megabytes_pass_in_every_form() {
    let frames =
        [Frame::text(format!("42[\"{}\"]", "가😀x".repeat(700_000))), Frame::binary(vec![4; 5_000_000])];
    for b64 in [false, true] {
        let (form, body) = encode_payload(&frames, b64);
        assert!(decode(body, form).unwrap() == frames, "b64 {b64}");
    }
}

#[test]
fn content_types_name_the_form() {
    for (text, form) in [
        ("application/octet-stream", Form::Binary),
        ("Application/Octet-Stream ; x=1", Form::Binary),
        ("text/plain;charset=UTF-8", Form::Text),
        ("", Form::Text),
    ] {
        assert_eq!(Form::of_content_type(text), form, "{text}");
        assert_eq!(Form::of_content_type(form.content_type()), form);
    }
}

pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (0_u8..7, any::<String>()).prop_map(|(kind, text)| Frame::text(format!("{kind}{text}"))),
        (0_u8..7, "[a-z한😀é]{0,200}").prop_map(|(kind, text)| Frame::text(format!("{kind}{text}"))),
        (0_u8..7, prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(kind, data)| Frame::binary([&[kind], &data[..]].concat())),
    ]
}

proptest! {
    /// What was put into a body comes out of it, in whichever form.
    #[test]
    fn prop_roundtrip_payload(frames in prop::collection::vec(frame(), 1..12), b64 in any::<bool>()) {
        let (form, body) = encode_payload(&frames, b64);
        prop_assert_eq!(decode(body, form).unwrap(), frames);
    }

    /// Bodies put one behind the other hold the packets of both, so it does not matter how packets are spread.
    #[test]
    fn prop_bodies_merge(a in prop::collection::vec(frame(), 1..8), b in prop::collection::vec(frame(), 1..8)) {
        let ((form, first), (_, second)) = (encode_payload(&a, true), encode_payload(&b, true));
        let merged: Bytes = [first, second].concat().into();
        prop_assert_eq!(decode(merged, form).unwrap(), [a, b].concat());
    }

    /// A body with its end missing gives no packets at all, or those before the cut.
    #[test]
    fn prop_a_cut_body_invents_nothing(frames in prop::collection::vec(frame(), 1..6), b64 in any::<bool>(), cut in any::<prop::sample::Index>()) {
        let (form, body) = encode_payload(&frames, b64);
        let cut = cut.index(body.len());
        if let Ok(got) = decode(body.slice(..cut), form) {
            prop_assert!(got.len() < frames.len() && frames.starts_with(&got));
        }
    }

    /// The count of UTF-16 units agrees with the standard library's, and cutting undoes it.
    #[test]
    fn prop_utf16_len_agrees_with_model(text in "[a-zé한😀\u{10ffff}]{0,400}", rest in "[a한😀]{0,200}") {
        let units = text.encode_utf16().count();
        prop_assert_eq!(utf16_len(text.as_bytes()), units);
        let whole = format!("{text}{rest}");
        prop_assert_eq!(utf16_cut(whole.as_bytes(), units), Some(text.len()));
    }

    /// Any cut falls where a walk over characters says, or nowhere.
    #[test]
    fn prop_utf16_cut_agrees_with_model(text in "[aé한😀]{0,300}", units in 0_usize..700) {
        let mut at = 0;
        let mut ends = vec![Some(0)];
        for c in text.chars() {
            at += c.len_utf8();
            if c.len_utf16() == 2 { ends.push(None); }
            ends.push(Some(at));
        }
        prop_assert_eq!(utf16_cut(text.as_bytes(), units), ends.get(units).copied().flatten());
    }

    /// Foreign bytes never panic.
    #[test]
    fn prop_never_panics_on_any_body(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for form in [Form::Text, Form::Binary] {
            let _ = decode(body.clone(), form);
        }
    }
}
