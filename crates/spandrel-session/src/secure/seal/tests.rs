use proptest::prelude::*;
use serde_json::{Value, json};
use spandrel_crypto::{encode_base64url, hex};

use super::*;
use crate::secure::testing::{array, keys, number, secret, text, unhex};

const MAX: u64 = 1 << 24;

fn data() -> Value {
    serde_json::from_str(include_str!("../../../tests/data/sealed.json")).expect("the data file is json")
}

fn golden_keys(data: &Value) -> SealKeys {
    SealKeys::derive(&secret(), &array(text(data, "client_nonce")), &array(text(data, "server_nonce")))
}

/// A sealer that has sent and received `n` messages and bears any number.
fn sealer_at(keys: SealKeys, side: Side, form: SealForm, n: u64) -> Sealer {
    Sealer { sent: n, received: n, ..Sealer::new(keys, side, form, u64::MAX) }
}

fn sender(case: &Value) -> Side {
    if case["to"] == "c2s" { Side::Client } else { Side::Server }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

fn seal(sealer: &mut Sealer, text: &[u8], iv: [u8; IV_LEN]) -> Frame {
    sealer.seal([&[0; IV_LEN], text].concat(), &iv).expect("short enough")
}

#[test]
fn golden_messages_seal_and_open_in_both_forms() {
    let data = data();
    assert_eq!(text(&data, "secret"), hex(secret().expose()));
    let salt = unhex(&[text(&data, "client_nonce"), text(&data, "server_nonce")].concat());
    for name in ["c2s", "s2c"] {
        let key = derive(&secret(), &salt, format!("aes {name}").as_bytes());
        assert_eq!(hex(key.expose()), text(&data, name));
    }
    let cases = data["good"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let (from, n, plain) = (sender(case), number(case, "n"), unhex(text(case, "text")));
        assert_eq!(aad(from.outbound(), n).to_vec(), unhex(text(case, "aad")));
        let (iv, tag) = (text(case, "iv"), text(case, "tag"));
        assert_eq!(
            [iv, text(case, "sealed"), tag].concat(),
            text(case, "binary"),
            "how a binary frame is laid out"
        );
        for (form, frame) in [
            (SealForm::Binary, Frame::binary(unhex(text(case, "binary")))),
            (SealForm::Json, Frame::text(text(case, "json"))),
        ] {
            let mut sealer = sealer_at(golden_keys(&data), from, form, n);
            assert_eq!(seal(&mut sealer, &plain, array(iv)), frame);
            assert_eq!(sealer.frame_len(plain.len()), frame.len());
            let mut opener = sealer_at(golden_keys(&data), other(from), SealForm::Binary, n);
            assert_eq!(opener.open(&frame).as_ref(), Ok(&plain));
            assert_eq!((sealer.sent, opener.received), (n + 1, n + 1));
        }
    }
}

#[test]
fn listed_frames_are_refused() {
    let data = data();
    let cases = data["refused"].as_array().unwrap();
    assert_eq!(cases.len(), 10);
    for case in cases {
        let frame = match case["json"].as_str() {
            Some(json) => Frame::text(json),
            None => Frame::binary(unhex(text(case, "binary"))),
        };
        let mut opener =
            sealer_at(golden_keys(&data), other(sender(case)), SealForm::Binary, number(case, "n"));
        let refused = opener.open(&frame).unwrap_err();
        assert_eq!((&refused, refused.close().code), (&LayerError::Unsealed, 4401), "{}", case["why"]);
    }
}

/// A frame of `{"a":1}` that a client sealed first, and its parts in base64url.
fn sealed(form: SealForm) -> Frame {
    seal(&mut Sealer::new(keys(), Side::Client, form, MAX), b"{\"a\":1}", [9; IV_LEN])
}

fn open(frame: &Frame) -> Result<Vec<u8>, LayerError> {
    Sealer::new(keys(), Side::Server, SealForm::Binary, MAX).open(frame)
}

#[test]
fn every_bit_and_every_prefix_of_a_sealed_frame_counts() {
    let good = sealed(SealForm::Binary);
    assert_eq!(open(&good), Ok(b"{\"a\":1}".to_vec()));
    for bit in 0..good.len() * 8 {
        let mut bytes = good.data().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&Frame::binary(bytes)), Err(LayerError::Unsealed), "bit {bit}");
    }
    for len in 0..good.len() {
        assert!(open(&Frame::binary(good.data().slice(..len))).is_err(), "first {len} bytes");
        assert!(open(&Frame::binary(good.data().slice(good.len() - len..))).is_err(), "last {len} bytes");
    }
    let json = sealed(SealForm::Json);
    for at in 0..json.len() {
        for bit in 0..7 {
            let mut bytes = json.data().to_vec();
            bytes[at] ^= 1 << bit;
            let changed = Frame::text(String::from_utf8(bytes).expect("seven bits"));
            assert!(open(&changed).is_err(), "bit {bit} of character {at}: {changed:?}");
        }
        assert!(open(&Frame::text(&json.as_text().unwrap()[..at])).is_err(), "first {at} characters");
    }
}

#[test]
fn frames_of_the_wrong_shape_do_not_open() {
    let good = sealed(SealForm::Binary);
    let (iv, rest) = good.data().split_at(IV_LEN);
    let (text, tag) = rest.split_at(rest.len() - SEAL_TAG_LEN);
    for (name, bytes) in [
        ("empty", vec![]),
        ("a vector and nothing", iv.to_vec()),
        ("27 bytes", vec![0; 27]),
        ("28 bytes of nothing", vec![0; 28]),
        ("vector of 11 bytes", [&iv[1..], text, tag].concat()),
        ("vector of 16 bytes", [&[0; 4], iv, text, tag].concat()),
        ("tag of 12 bytes", [iv, text, &tag[..12]].concat()),
        ("tag of 15 bytes", [iv, text, &tag[..15]].concat()),
        ("tag of 17 bytes", [iv, text, tag, &[0]].concat()),
        ("tag first", [tag, text, iv].concat()),
        ("tag before text", [iv, tag, text].concat()),
        ("tag of zeros", [iv, text, &[0; 16]].concat()),
        ("no text", [iv, tag].concat()),
        ("text twice", [iv, text, text, tag].concat()),
        ("not sealed", b"{\"event\":\"status:check\",\"data\":{}}".to_vec()),
        ("the json form in a binary frame", sealed(SealForm::Json).into_data().to_vec()),
    ] {
        assert_eq!(open(&Frame::binary(bytes)), Err(LayerError::Unsealed), "{name}");
    }
}

#[test]
fn the_json_form_has_exactly_three_members() {
    let json = sealed(SealForm::Json);
    let value: Value = serde_json::from_slice(json.data()).unwrap();
    let [e, i, t] = MEMBERS.map(|member| text(&value, member).to_owned());
    let members = [format!("\"encrypted\":\"{e}\""), format!("\"iv\":\"{i}\""), format!("\"tag\":\"{t}\"")];
    let [encrypted, iv, tag] = &members;
    for (name, text) in [
        ("as written", format!("{{{encrypted},{iv},{tag}}}")),
        ("another order", format!("{{{tag},{encrypted},{iv}}}")),
        ("spread out", format!("{{ {encrypted} ,\n\t{iv},\r\n {} }} ", tag.replace(':', " : "))),
    ] {
        assert_eq!(open(&Frame::text(&text)), Ok(b"{\"a\":1}".to_vec()), "{name}: {text}");
    }
    let standard = "ab+/";
    for (name, text) in [
        ("not sealed", r#"{"event":"status:check","data":{},"timestamp":1,"requestId":"r"}"#.to_owned()),
        ("empty", String::new()),
        ("no member", "{}".to_owned()),
        ("a list", format!("[{encrypted},{iv},{tag}]")),
        ("text missing", format!("{{{iv},{tag}}}")),
        ("vector missing", format!("{{{encrypted},{tag}}}")),
        ("tag missing", format!("{{{encrypted},{iv}}}")),
        ("tag twice, no vector", format!("{{{encrypted},{tag},{tag}}}")),
        ("vector twice", format!("{{{encrypted},{iv},{iv},{tag}}}")),
        ("a fourth member", format!("{{{encrypted},{iv},{tag},\"x\":1}}")),
        ("a fourth member first", format!("{{\"x\":\"\",{encrypted},{iv},{tag}}}")),
        ("another name", format!("{{{encrypted},{iv},{}}}", tag.replace("tag", "Tag"))),
        ("a name with an escape", format!("{{{encrypted},{iv},{}}}", tag.replace("tag", "t\\u0061g"))),
        (
            "a value with an escape",
            format!("{{{},{iv},{tag}}}", encrypted.replacen(&e, &format!("\\u0061{e}"), 1)),
        ),
        ("a value is null", format!("{{{encrypted},{iv},\"tag\":null}}")),
        ("a value is a number", format!("{{{encrypted},{iv},\"tag\":1}}")),
        ("a comma too many", format!("{{{encrypted},{iv},{tag},}}")),
        ("a comma too few", format!("{{{encrypted} {iv},{tag}}}")),
        ("something behind", format!("{{{encrypted},{iv},{tag}}}x")),
        ("twice", format!("{{{encrypted},{iv},{tag}}}{{{encrypted},{iv},{tag}}}")),
        ("space in front", format!(" {{{encrypted},{iv},{tag}}}")),
        ("a byte order mark", format!("\u{feff}{{{encrypted},{iv},{tag}}}")),
        ("padding on the text", format!("{{\"encrypted\":\"{e}==\",{iv},{tag}}}")),
        ("standard alphabet", format!("{{\"encrypted\":\"{standard}\",{iv},{tag}}}")),
        ("space in the text", format!("{{\"encrypted\":\"{e} \",{iv},{tag}}}")),
        ("vector of 11 bytes", format!("{{{encrypted},\"iv\":\"{}\",{tag}}}", encode_base64url(&[9; 11]))),
        ("vector of 13 bytes", format!("{{{encrypted},\"iv\":\"{}\",{tag}}}", encode_base64url(&[9; 13]))),
        ("tag of 15 bytes", format!("{{{encrypted},{iv},\"tag\":\"{}\"}}", &t[..20])),
        ("tag of 18 bytes", format!("{{{encrypted},{iv},\"tag\":\"{t}AA\"}}")),
        ("tag with spare bits set", format!("{{{encrypted},{iv},\"tag\":\"{}{}\"}}", &t[..21], spare(&t))),
        ("vector and tag swapped", format!("{{{encrypted},\"iv\":\"{t}\",\"tag\":\"{i}\"}}")),
        ("text and tag swapped", format!("{{\"encrypted\":\"{t}\",{iv},\"tag\":\"{e}\"}}")),
        ("a text with nothing in it", format!("{{\"encrypted\":\"\",{iv},{tag}}}")),
    ] {
        assert_eq!(open(&Frame::text(&text)), Err(LayerError::Unsealed), "{name}: {text}");
    }
}

/// The last character of a text of 16 bytes, with one of its four unused bits set.
fn spare(text: &str) -> char {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = text.chars().last().and_then(|last| alphabet.find(last)).expect("base64url");
    alphabet.chars().nth(last | 1).expect("in the alphabet")
}

#[test]
fn each_frame_opens_once_in_its_place_for_its_receiver() {
    let frames = || {
        let mut client = Sealer::new(keys(), Side::Client, SealForm::Binary, MAX);
        ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}"].map(|text| seal(&mut client, text.as_bytes(), [9; IV_LEN]))
    };
    let [a, b, c] = frames();
    let opened = |frames: &[&Frame]| {
        let mut server = Sealer::new(keys(), Side::Server, SealForm::Binary, MAX);
        frames.iter().take_while(|frame| server.open(frame).is_ok()).count()
    };
    for (name, order, want) in [
        ("in order", vec![&a, &b, &c], 3),
        ("replayed", vec![&a, &a, &b], 1),
        ("replayed later", vec![&a, &b, &a], 2),
        ("the first dropped", vec![&b, &c], 0),
        ("one dropped", vec![&a, &c], 1),
        ("reordered", vec![&a, &c, &b], 1),
    ] {
        assert_eq!(opened(&order), want, "{name}");
    }
    let mut client = Sealer::new(keys(), Side::Client, SealForm::Binary, MAX);
    assert_eq!(client.open(&a), Err(LayerError::Unsealed), "reflected");
    let another = SealKeys::derive(&secret(), &[1; 16], &[3; 16]);
    let mut server = Sealer::new(another, Side::Server, SealForm::Binary, MAX);
    assert_eq!(server.open(&a), Err(LayerError::Unsealed), "from another connection");
    let another = SealKeys::derive(&SecretKey::from_bytes([0x12; 32]), &[1; 16], &[2; 16]);
    let mut server = Sealer::new(another, Side::Server, SealForm::Binary, MAX);
    assert_eq!(server.open(&a), Err(LayerError::Unsealed), "with another secret");
}

#[test]
fn after_one_bad_frame_nothing_opens_or_is_sealed() {
    let good = sealed(SealForm::Binary);
    let mut server = Sealer::new(keys(), Side::Server, SealForm::Binary, MAX);
    assert!(server.open(&Frame::binary(vec![0; 40])).is_err());
    assert_eq!(server.open(&good), Err(LayerError::Unsealed));
    assert_eq!(server.seal(vec![0; 20], &[1; IV_LEN]), Err(LayerError::Unsealed));
}

#[test]
fn a_server_answers_in_the_form_of_the_newest_message() {
    let mut client = Sealer::new(keys(), Side::Client, SealForm::Json, MAX);
    let mut server = Sealer::new(keys(), Side::Server, SealForm::Binary, MAX);
    assert!(!seal(&mut server, b"{}", [1; IV_LEN]).is_text(), "binary before any");
    for form in [SealForm::Json, SealForm::Binary, SealForm::Json, SealForm::Json] {
        client.form = form;
        let frame = seal(&mut client, b"{}", [2; IV_LEN]);
        assert!(server.open(&frame).is_ok());
        assert_eq!(server.form, form);
        assert_eq!(seal(&mut server, b"{}", [3; IV_LEN]).kind(), frame.kind());
    }
}

#[test]
fn the_last_message_is_the_one_before_2_to_the_24th() {
    let config = crate::LayersConfig::new(Side::Server);
    assert_eq!(config.sealed_messages_max, MAX);
    let at = |n, side| Sealer { sent: n, received: n, ..Sealer::new(keys(), side, SealForm::Binary, MAX) };
    let (mut client, mut server) = (at(MAX - 1, Side::Client), at(MAX - 1, Side::Server));
    let last = seal(&mut client, b"{}", [1; IV_LEN]);
    assert_eq!(server.open(&last), Ok(b"{}".to_vec()));
    let refused = client.seal(vec![0; 14], &[2; IV_LEN]).unwrap_err();
    assert_eq!((&refused, refused.close().code), (&LayerError::Exhausted { max: MAX }, 1012));
    assert_eq!(server.open(&last), Err(LayerError::Exhausted { max: MAX }));
}

#[test]
fn keys_are_never_printed() {
    let shown = format!("{:?}", Sealer::new(keys(), Side::Server, SealForm::Json, MAX));
    assert!(shown.contains("SealKey(..)") && !shown.contains("17, 17"), "{shown}");
}

proptest! {
    /// What one side seals the other opens, whatever it is, and the frame has the length that was foretold.
    #[test]
    fn prop_roundtrip_seal(
        text in prop::collection::vec(any::<u8>(), 0..200),
        iv in any::<[u8; IV_LEN]>(),
        form in prop::sample::select(vec![SealForm::Binary, SealForm::Json]),
        from in prop::sample::select(vec![Side::Client, Side::Server]),
        n in any::<u32>(),
    ) {
        let mut sealer = sealer_at(keys(), from, form, n.into());
        let want = sealer.frame_len(text.len());
        let frame = seal(&mut sealer, &text, iv);
        prop_assert_eq!(frame.len(), want);
        let mut opener = sealer_at(keys(), other(from), SealForm::Binary, n.into());
        prop_assert_eq!(opener.open(&frame), Ok(text));
    }

    /// The reader of the JSON form takes nothing that a JSON parser refuses, and reads the same values.
    #[test]
    fn prop_json_form_agrees_with_a_parser(
        names in prop::collection::vec(prop::sample::select(vec!["encrypted", "iv", "tag", "x"]), 2..5),
        values in prop::collection::vec("[A-Za-z\"\\\\,:{} ]{0,4}", 5),
        space in "[ \n\t]{0,2}",
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let members: Vec<_> =
            names.iter().zip(&values).map(|(name, value)| format!("{space}\"{name}\"{space}:{space}\"{value}\"")).collect();
        let mut text = format!("{{{}{space}}}{space}", members.join(","));
        if let Some(cut) = cut {
            text.truncate(cut.index(text.len() + 1));
        }
        if let Some(got) = read_members(&text) {
            let parsed: Value = serde_json::from_str(&text).expect("what is read is json");
            prop_assert_eq!(parsed, json!({ "encrypted": got[0], "iv": got[1], "tag": got[2] }));
        }
    }
}
