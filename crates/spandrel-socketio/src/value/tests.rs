use proptest::prelude::*;

use super::*;
use crate::json::tests::json_text;

fn value(text: &str) -> Value {
    Value::parse(text.to_owned()).unwrap()
}

fn with_attachments(text: &str, attachments: &[&[u8]]) -> Value {
    let frames = attachments.iter().map(|data| [&[4], *data].concat().into()).collect();
    Value::checked(Bytes::from(text.to_owned()), Attachments::from_frames(frames))
}

#[test]
fn a_value_stays_as_it_was_written() {
    for text in
        ["12345678901234567890.10", r#"{"b":1,"a":2,"b":3}"#, r#""\ud83d\/""#, "1E400", "-0", "\"\u{2028}\""]
    {
        assert_eq!(value(text).as_json_str(), text);
        assert_eq!(value(&format!(" {text}\t")).as_json_str(), text, "white space around goes");
    }
}

#[test]
fn no_line_break_survives() {
    assert_eq!(value("\n[1,\r\n 2,\t\"\\n\"]\r").as_json_str(), "[1,   2,\t\"\\n\"]");
    assert_eq!(value("{\n}").member("a"), None);
}

#[test]
fn a_text_without_line_breaks_is_not_copied() {
    let text = Bytes::from_static(b" [1,2]");
    assert_eq!(Value::parse(text.clone()).unwrap().json().as_ptr(), text[1..].as_ptr());
}

#[test]
fn members_are_found_as_javascript_finds_them() {
    let object = value(r#"{"data":{"key":1},"key" : [1, 2] ,"k\u0065y":"last","":null,"ключ":0}"#);
    assert_eq!(object.member("key"), Some(value("\"last\"")), "of equal names the last");
    assert_eq!(object.member("data"), Some(value(r#"{"key":1}"#)));
    assert_eq!(object.member(""), Some(Value::NULL));
    assert_eq!(object.member("ключ"), Some(value("0")));
    assert_eq!(object.member("none"), None);
    for other in ["null", "1", "\"key\"", "[{\"key\":1}]", "{}", "{ }"] {
        assert_eq!(value(other).member("key"), None, "{other}");
    }
}

#[test]
fn kinds_texts_and_numbers() {
    for (text, kind) in [
        ("null", ValueKind::Null),
        ("true", ValueKind::Bool),
        ("-1", ValueKind::Number),
        ("\"\"", ValueKind::Text),
        ("[]", ValueKind::Array),
        ("{}", ValueKind::Object),
    ] {
        assert_eq!(value(text).kind(), kind);
        assert_eq!(value(text).text().is_some(), kind == ValueKind::Text);
    }
    assert_eq!(value(r#""a\n\ud83d""#).text().unwrap(), "a\n\u{fffd}");
    assert!(value(r#""m\u0065""#).is_text("me"));
    assert!(!value("me1".get(2..).unwrap()).is_text("1"));
    assert_eq!((value("18446744073709551615").as_u64(), value("1.0").as_u64()), (Some(u64::MAX), None));
    assert_eq!(Value::from(907_u64), value("907"));
    assert_eq!([Value::from(true), Value::from(false)], [value("true"), value("false")]);
    assert_eq!(Value::from_text("a\"\n한"), value(r#""a\"\n한""#));
}

#[test]
fn a_wrapped_value_is_a_member() {
    let wrapped = Value::wrapped("data", &with_attachments(r#"{"_placeholder":true,"num":0}"#, &[&[1]]));
    assert_eq!(wrapped.as_json_str(), r#"{"data":{"_placeholder":true,"num":0}}"#);
    assert_eq!(wrapped.to_json_with_buffers(), r#"{"data":{"type":"Buffer","data":[1]}}"#);
    assert_eq!(Value::empty_object().as_json_str(), "{}");
}

#[test]
fn buffers_are_written_as_node_writes_them() {
    for (name, text, attachments, want) in [
        (
            "two of them",
            r#"[{"_placeholder":true,"num":1},{"a": {"num":0,"_placeholder":true} }]"#,
            &[&[0, 9, 10, 99, 100, 255][..], &[]][..],
            r#"[{"type":"Buffer","data":[]},{"a": {"type":"Buffer","data":[0,9,10,99,100,255]} }]"#,
        ),
        (
            "the whole value",
            r#"{"_placeholder" : true , "num" : 0}"#,
            &[&[7]],
            r#"{"type":"Buffer","data":[7]}"#,
        ),
        (
            "repeats and strangers become null",
            r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0},{"_placeholder":true,"num":5}]"#,
            &[&[7]],
            r#"[{"type":"Buffer","data":[7]},null,null]"#,
        ),
        (
            "what only looks like one stays",
            r#"["{\"_placeholder\":true,\"num\":0}",{"_placeholder":false,"num":0},{"_placeholder":true},{"num":0},{"_placeholder":true,"num":-1}]"#,
            &[&[7]],
            r#"["{\"_placeholder\":true,\"num\":0}",{"_placeholder":false,"num":0},{"_placeholder":true},{"num":0},{"_placeholder":true,"num":-1}]"#,
        ),
    ] {
        let got = with_attachments(text, attachments).to_json_with_buffers();
        assert_eq!(String::from_utf8_lossy(&got), want, "{name}");
    }
    let plain = value(r#"{"_placeholder":true,"num":0}"#);
    assert_eq!(
        plain.to_json_with_buffers().as_ptr(),
        plain.json().as_ptr(),
        "nothing attached, nothing copied"
    );
}

#[test]
fn debug_is_short() {
    let long = Value::from_text(&"x".repeat(10_000));
    assert!(format!("{long:?}").len() < 300);
}

proptest! {
    /// A checked value holds no line break, reads as the same value and is stable.
    #[test]
    fn prop_line_breaks_go_and_nothing_else(text in json_text()) {
        let got = value(&text);
        prop_assert!(memchr::memchr2(b'\n', b'\r', got.json()).is_none());
        prop_assert_eq!(got.as_json_str(), text.trim().replace(['\n', '\r'], " "));
        prop_assert_eq!(value(got.as_json_str()), got);
    }

    /// Elements and members are those another reader finds.
    #[test]
    fn prop_parts_agree_with_another_reader(text in json_text()) {
        let text = text.replace(r#""\ud83d""#, "1").replace('\r', " ");
        let got = value(&text);
        let Ok(model) = serde_json::from_str::<serde_json::Value>(&text) else { return Ok(()) };
        let elements: Vec<serde_json::Value> =
            got.elements().map(|e| serde_json::from_str(e.as_json_str()).unwrap()).collect();
        prop_assert_eq!(elements, model.as_array().cloned().unwrap_or_default());
        for (name, member) in model.as_object().into_iter().flatten() {
            let found = got.member(name).unwrap();
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(found.as_json_str()).unwrap(), member);
        }
        let decoded = got.text();
        prop_assert_eq!(decoded.as_deref(), model.as_str());
    }

    /// Buffers make valid JSON of any text, and each attachment is in it at most once.
    #[test]
    fn prop_buffers_keep_json_valid(nums in prop::collection::vec(0_usize..4, 0..6), size in 0_usize..50) {
        let parts: Vec<_> = nums.iter().map(|n| format!(r#"{{"_placeholder":true,"num":{n}}}"#)).collect();
        let value = with_attachments(&format!("[{}]", parts.join(",")), &[&vec![200; size], &vec![1; size]]);
        let out = value.to_json_with_buffers();
        prop_assert!(json::check_all(&out).is_ok());
        prop_assert!(out.len() <= value.json().len() + 2 * (4 * size + 26));
    }
}
