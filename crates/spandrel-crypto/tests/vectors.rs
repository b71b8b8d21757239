//! The golden values of `tests/data`.

use serde_json::Value;
use spandrel_crypto::{SealKey, SecretKey, decode_base64url, derive, encode_base64url, hex, sign, verify};

fn data() -> Value {
    serde_json::from_str(include_str!("data/derive.json")).expect("the data file is json")
}

fn text<'a>(case: &'a Value, member: &str) -> &'a str {
    case[member].as_str().unwrap_or_else(|| panic!("{member} missing in {case}"))
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

fn key(hex: &str) -> SecretKey {
    SecretKey::from_slice(&unhex(hex)).expect("32 bytes")
}

#[test]
fn derived_keys_are_the_golden_ones() {
    let data = data();
    let cases = data["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let got =
            derive(&key(text(case, "secret")), &unhex(text(case, "salt")), text(case, "info").as_bytes());
        assert_eq!(hex(got.expose()), text(case, "key"), "{}", text(case, "name"));
    }
}

#[test]
fn tags_are_the_golden_ones() {
    let data = data();
    let cases = data["hmac"].as_array().unwrap();
    assert_eq!(cases.len(), 1);
    for case in cases {
        let (key, input) = (key(text(case, "key")), text(case, "input").as_bytes());
        assert_eq!(encode_base64url(&sign(&key, &[input])), text(case, "tag"), "{}", text(case, "name"));
        verify(&key, &[input], &decode_base64url(text(case, "tag")).unwrap()).unwrap();
    }
}

#[test]
fn sealed_texts_are_the_golden_ones_and_open() {
    let data: Value = serde_json::from_str(include_str!("data/seal.json")).expect("the data file is json");
    let cases = data["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let name = text(case, "name");
        let key = SealKey::new(&key(text(case, "key")));
        let (iv, aad) = (unhex(text(case, "iv")).try_into().unwrap(), unhex(text(case, "aad")));
        let mut bytes = unhex(text(case, "text"));
        let tag = key.seal(&iv, &aad, &mut bytes).unwrap();
        assert_eq!(
            (hex(&bytes).as_str(), hex(&tag).as_str()),
            (text(case, "sealed"), text(case, "tag")),
            "{name}"
        );
        key.open(&iv, &aad, &mut bytes, &tag).unwrap();
        assert_eq!(hex(&bytes), text(case, "text"), "{name}");
    }
}
