use proptest::prelude::*;
use serde_json::Value;
use spandrel_crypto::hex;

use super::*;
use crate::secure::testing::{array, kid, number, secret, text, unhex};

fn data() -> Value {
    serde_json::from_str(include_str!("../../../tests/data/signed.json")).expect("the data file is json")
}

fn key() -> SecretKey {
    signing_key(&secret())
}

fn direction(case: &Value) -> Direction {
    let to = [Direction::ClientToServer, Direction::ServerToClient];
    to.into_iter().find(|to| to.as_str() == text(case, "to")).expect("a direction")
}

fn read(message: &str) -> Result<Signed<'_>, AuthFailure> {
    verify_message(&key(), &kid(), Direction::ClientToServer, message)
}

/// A good message, signed by the client.
fn signed() -> String {
    let text = r#"{"event":"status:check","data":{},"timestamp":1,"requestId":"r"}"#.to_owned();
    sign_message(
        &key(),
        &kid(),
        Direction::ClientToServer,
        &[5; 16],
        WallMillis::new(1_710_000_000_000),
        text,
    )
    .expect("an object")
}

#[test]
fn golden_messages_are_signed_and_read_alike() {
    let data = data();
    assert_eq!(hex(key().expose()), text(&data, "key"));
    assert_eq!((text(&data, "secret"), text(&data, "kid")), (hex(secret().expose()).as_str(), "k1"));
    let cases = data["good"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let (unsigned, message, at) = (text(case, "text"), text(case, "message"), number(case, "at"));
        let nonce = array(text(case, "nonce"));
        let ours =
            sign_message(&key(), &kid(), direction(case), &nonce, WallMillis::new(at), unsigned.to_owned());
        assert_eq!(ours.as_deref(), Ok(message));
        let signed = verify_message(&key(), &kid(), direction(case), message).unwrap();
        let head = unsigned.strip_suffix('}').unwrap();
        assert_eq!(signed, Signed { head, nonce, timestamp_ms: at });
        mac(text(case, "token"), &at.to_string(), head, direction(case), |parts| {
            assert_eq!(parts.concat(), unhex(text(case, "input")));
            assert_eq!(encode_base64url(&sign(&key(), parts)), text(case, "signature"));
        });
    }
}

#[test]
fn listed_messages_are_refused_as_listed() {
    let data = data();
    let cases = data["refused"].as_array().unwrap();
    assert_eq!(cases.len(), 13);
    for case in cases {
        let want = match text(case, "code") {
            "AUTH_REQUIRED" => AuthFailure::Required,
            _ => AuthFailure::Invalid,
        };
        assert_eq!(read(text(case, "message")), Err(want), "{}", case["why"]);
    }
}

#[test]
fn a_timestamp_is_fresh_up_to_the_last_millisecond() {
    let data = data();
    assert_eq!(number(&data, "window_ms"), Freshness::default().window_ms);
    let cases = data["clock"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let clock = number(case, "clock");
        let got = Freshness::default().check(WallMillis::new(clock), number(case, "at"));
        let want =
            if case["fresh"] == true { Ok(()) } else { Err(AuthFailure::Expired { server_time_ms: clock }) };
        assert_eq!(got, want, "{case}");
    }
}

#[test]
fn what_was_signed_before_the_start_has_expired() {
    let start = WallMillis::new(1_000_000);
    let freshness = Freshness { since: start, ..Freshness::default() };
    assert_eq!(freshness.check(start, 999_999), Err(AuthFailure::Expired { server_time_ms: 1_000_000 }));
    assert_eq!(freshness.check(start, 1_000_000), Ok(()));
    assert_eq!(Freshness::any().check(start, u64::MAX), Ok(()), "a client learns the clock from the hello");
    assert!(Freshness::default().check(WallMillis::MAX, u64::MAX).is_err());
}

#[test]
fn every_part_of_the_tail_has_one_spelling() {
    let good = signed();
    assert!(read(&good).is_ok());
    let token = "k1.BQUFBQUFBQUFBQUFBQUFBQ";
    let invalid: Vec<(&str, String)> = vec![
        ("space in front of auth", good.replace(",\"auth\":{", ",\"auth\":{ ")),
        ("space after a comma", good.replace(",\"timestamp\":17", ", \"timestamp\":17")),
        ("space before the end", good.replace("\"}}", "\"} }")),
        ("a brace too many", format!("{good}}}")),
        ("a brace too few", good[..good.len() - 1].to_owned()),
        ("nothing after auth", good.split_inclusive(",\"auth\":{").next().unwrap().to_owned()),
        ("token twice", good.replace("\"token\":", &format!("\"token\":\"{token}\",\"token\":"))),
        ("no key id", good.replace(token, &token[2..])),
        ("no dot", good.replace(token, "k1BQUFBQUFBQUFBQUFBQUFBQ")),
        ("a second dot", good.replace(token, &format!("{token}."))),
        ("nonce of 15 bytes", good.replace(token, "k1.BQUFBQUFBQUFBQUFBQUF")),
        ("nonce of 17 bytes", good.replace(token, "k1.BQUFBQUFBQUFBQUFBQUFBQU")),
        ("nonce with spare bits set", good.replace(token, "k1.BQUFBQUFBQUFBQUFBQUFBR")),
        ("key id in another case", good.replace(token, &token.replace("k1", "K1"))),
        ("an escape in the token", good.replace(token, &token.replace("k1", "\\u006b1"))),
        ("timestamp as text", good.replace("\"timestamp\":1710000000000", "\"timestamp\":\"1710000000000\"")),
        ("timestamp with a sign", good.replace("\"timestamp\":17", "\"timestamp\":+17")),
        ("timestamp with a fraction", good.replace(",\"signature", ".0,\"signature")),
        ("timestamp with an exponent", good.replace(",\"signature", "e0,\"signature")),
        ("timestamp of 17 digits", good.replace(",\"signature", "0000,\"signature")),
        ("timestamp missing", good.replace("\"timestamp\":1710000000000", "\"timestamp\":")),
        ("signature empty", format!("{}\"}}}}", good.split_inclusive("signature\":\"").next().unwrap())),
        ("a comma behind the signature", good.replace("\"}}", "\",}}")),
        ("member names in capitals", good.replace("\"token\"", "\"Token\"")),
    ];
    for (name, message) in &invalid {
        assert_ne!(message, &good, "{name}: nothing was changed");
        assert_eq!(read(message), Err(AuthFailure::Invalid), "{name}: {message}");
    }
    for (name, message) in [
        ("space around the colon", good.replace(",\"auth\":", ",\"auth\" :")),
        ("another name", good.replace("\"auth\"", "\"Auth\"")),
        ("auth is no object", good.replace(",\"auth\":{", ",\"auth\":[")),
        ("auth comes first", "{\"auth\":{\"token\":\"x\"}}".to_owned()),
    ] {
        assert_eq!(read(&message), Err(AuthFailure::Required), "{name}: {message}");
    }
}

#[test]
fn a_good_signature_does_not_excuse_the_form() {
    let head = r#"{"requestId":"r""#;
    let message = |token: &str, at: &str| {
        let tag = mac(token, at, head, Direction::ClientToServer, |parts| sign(&key(), parts));
        [head, AUTH, TOKEN, token, TIMESTAMP, at, SIGNATURE, &encode_base64url(&tag), END].concat()
    };
    let (token, at) = ("k1.BQUFBQUFBQUFBQUFBQUFBQ", "1710000000000");
    for (name, token, at, want) in [
        ("as it should be", token, at, true),
        ("timestamp 0", token, "0", true),
        ("timestamp of 16 digits", token, "9999999999999999", true),
        ("timestamp of 17 digits", token, "10000000000000000", false),
        ("timestamp with a zero in front", token, "01710000000000", false),
        ("timestamp of two zeros", token, "00", false),
        ("no timestamp", token, "", false),
        ("timestamp below zero", token, "-1", false),
        ("timestamp with a fraction", token, "1.0", false),
        ("timestamp in other digits", token, "\u{0661}", false),
        ("nonce of 15 bytes", "k1.BQUFBQUFBQUFBQUFBQUF", at, false),
        ("nonce of 17 bytes", "k1.BQUFBQUFBQUFBQUFBQUFBQU", at, false),
        ("nonce with spare bits set", "k1.BQUFBQUFBQUFBQUFBQUFBR", at, false),
        ("nonce in the standard alphabet", "k1.BQUFBQUFBQUFBQUFBQUF+Q", at, false),
        ("padded nonce", "k1.BQUFBQUFBQUFBQUFBQUFBQ==", at, false),
        ("no nonce", "k1.", at, false),
        ("no key id", ".BQUFBQUFBQUFBQUFBQUFBQ", at, false),
        ("another key id", "k2.BQUFBQUFBQUFBQUFBQUFBQ", at, false),
        ("a longer key id", "k1.k1.BQUFBQUFBQUFBQUFBQUFBQ", at, false),
    ] {
        assert_eq!(read(&message(token, at)).is_ok(), want, "{name}");
    }
}

#[test]
fn a_signature_has_one_spelling_too() {
    let good = signed();
    let (head, last) = (&good[..good.len() - 4], good.as_bytes()[good.len() - 4]);
    let accepted = (0..=127_u8).filter(|byte| read(&format!("{head}{}\"}}}}", char::from(*byte))).is_ok());
    assert_eq!(accepted.collect::<Vec<_>>(), [last], "unused bits are checked");
}

#[test]
fn fields_cannot_be_swapped_between_messages() {
    let sign_at = |nonce, at, text: &str| {
        sign_message(&key(), &kid(), Direction::ClientToServer, nonce, WallMillis::new(at), text.to_owned())
            .unwrap()
    };
    let one = sign_at(&[1; 16], 1_710_000_000_001, r#"{"requestId":"a"}"#);
    let two = sign_at(&[2; 16], 1_710_000_000_002, r#"{"requestId":"b"}"#);
    let fields = |message: &str| -> Vec<String> {
        let (head, tail) = message.split_at(find_tail(message).unwrap());
        let tail = Tail::read(tail).unwrap();
        let signature = encode_base64url(&tail.signature);
        vec![head.to_owned(), tail.token.to_owned(), tail.timestamp.to_owned(), signature]
    };
    let (one, two) = (fields(&one), fields(&two));
    for mix in 0..16_usize {
        let pick = |field: usize| if mix >> field & 1 == 0 { &one[field] } else { &two[field] };
        let [head, token, at, signature] = [0, 1, 2, 3].map(pick);
        let message = [head, AUTH, TOKEN, token, TIMESTAMP, at, SIGNATURE, signature, END].concat();
        assert_eq!(read(&message).is_ok(), mix == 0 || mix == 15, "{message}");
    }
}

#[test]
fn the_last_auth_is_the_one_that_counts() {
    let inner = signed();
    let text = inner.replace("status:check", "status:other");
    let outer =
        sign_message(&key(), &kid(), Direction::ClientToServer, &[6; 16], WallMillis::new(7), text.clone())
            .unwrap();
    assert_eq!(read(&outer).unwrap().head, text.strip_suffix('}').unwrap());
    assert_eq!(read(&text), Err(AuthFailure::Invalid));
}

#[test]
fn only_objects_with_a_member_are_signed() {
    for text in ["", "{}", "{", "}", "[1]", "\"x\"", "{\"a\":1} ", " {\"a\":1}", "{\"a\":1", "é"] {
        let refused = sign_message(
            &key(),
            &kid(),
            Direction::ClientToServer,
            &[0; 16],
            WallMillis::new(0),
            text.to_owned(),
        );
        assert_eq!(refused, Err(LayerError::Unsignable), "{text:?}");
    }
}

#[test]
fn every_bit_and_every_prefix_of_a_signed_message_counts() {
    let good = signed();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // What is no UTF-8 is refused before anyone looks for a signature.
        if let Ok(text) = String::from_utf8(bytes) {
            assert!(read(&text).is_err(), "bit {bit}: {text}");
        }
    }
    for len in 0..good.len() {
        assert!(read(&good[..len]).is_err(), "first {len} bytes");
        assert!(read(&good[good.len() - len..]).is_err(), "last {len} bytes");
    }
}

proptest! {
    /// What is signed verifies with its own key, name and direction only, and gives back head, nonce and time.
    #[test]
    fn prop_roundtrip_sign(
        inner in "\\PC{0,60}",
        nonce in any::<[u8; 16]>(),
        at in 0..=WallMillis::MAX.get(),
        kid in "[A-Za-z0-9_-]{1,32}",
    ) {
        let kid = KeyId::new(&kid).unwrap();
        let text = format!("{{{inner:?}:1}}");
        let message =
            sign_message(&key(), &kid, Direction::ServerToClient, &nonce, WallMillis::new(at), text.clone()).unwrap();
        prop_assert!(message.len() <= text.len() + TAIL_BYTES_MAX);
        let head = &text[..text.len() - 1];
        let back = verify_message(&key(), &kid, Direction::ServerToClient, &message);
        prop_assert_eq!(back, Ok(Signed { head, nonce, timestamp_ms: at }));
        let reflected = verify_message(&key(), &kid, Direction::ClientToServer, &message);
        prop_assert_eq!(reflected, Err(AuthFailure::Invalid));
        let other = verify_message(&secret(), &kid, Direction::ServerToClient, &message);
        prop_assert_eq!(other, Err(AuthFailure::Invalid));
    }

    /// No change of one character anywhere goes unseen.
    #[test]
    fn prop_any_changed_character_is_refused(at in any::<prop::sample::Index>(), with in any::<char>()) {
        let good = signed();
        let at = at.index(good.len());
        let mut chars: Vec<char> = good.chars().collect();
        prop_assume!(chars[at] != with);
        chars[at] = with;
        let changed: String = chars.into_iter().collect();
        prop_assert!(read(&changed).is_err(), "{}", changed);
    }

    /// Text from a stranger is never taken for a signed message, and never panics.
    #[test]
    fn prop_never_panics_on_foreign_text(text in "\\PC{0,40}", tail in "(,\"auth\":\\{)?(\"token\":\"k1.)?[\\PC]{0,60}(\"\\}\\})?") {
        let message = text + &tail;
        prop_assert!(read(&message).is_err(), "{}", message);
    }
}
