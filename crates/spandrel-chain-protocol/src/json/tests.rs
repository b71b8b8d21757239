//! The strict reader: what it takes, what it refuses and as what, and that it agrees with another parser.

use proptest::prelude::*;

use super::*;
use crate::{FormError, Limits, NoteBlock, TxOut};

type Read<T> = Result<T, FormError>;

fn int(text: &str) -> Read<u64> {
    read_document(text, &Limits::default(), |reader| reader.int("n"))
}

fn string(text: &str) -> Read<String> {
    read_document(text, &Limits::default(), |reader| reader.string("s").map(|s| s.into_owned()))
}

fn any_json(text: &str) -> Read<()> {
    read_document(text, &Limits::default(), |reader| reader.skip().map(drop))
}

fn extra(text: &str) -> Read<String> {
    read_document(text, &Limits::default(), |reader| {
        let mut unknown = Unknown::new();
        reader.object("thing", |reader, key| unknown.keep(reader, key))?;
        Ok(unknown.finish("thing")?.as_str().to_owned())
    })
}

/// How an error is treated by a driver.
#[derive(Debug, PartialEq, Eq)]
enum Class {
    NoJson,
    Shape,
    Value,
}

fn class<T>(read: Read<T>) -> Option<Class> {
    read.err().map(|error| match (error.is_json(), error.is_shape()) {
        (false, _) => Class::NoJson,
        (true, true) => Class::Shape,
        (true, false) => Class::Value,
    })
}

#[test]
fn integers_are_plain_digits() {
    for (text, want) in
        [("0", 0), ("7", 7), (" 1655100600000\n", 1_655_100_600_000), ("9007199254740991", (1 << 53) - 1)]
    {
        assert_eq!(int(text), Ok(want), "{text}");
    }
    for (text, want) in [
        ("9007199254740992", Class::Value),
        ("18446744073709551616", Class::Value),
        ("99999999999999999999999999999999999999999", Class::Value),
        ("-1", Class::Value),
        ("-0", Class::Value),
        ("5.0", Class::Value),
        ("5.5", Class::Value),
        ("5e0", Class::Value),
        ("0e0", Class::Value),
        ("1E+400", Class::Value),
        ("\"5\"", Class::Shape),
        ("null", Class::Shape),
        ("true", Class::Shape),
        ("[5]", Class::Shape),
        ("{}", Class::Shape),
        ("", Class::NoJson),
        ("007", Class::NoJson),
        ("00", Class::NoJson),
        ("-", Class::NoJson),
        ("-01", Class::NoJson),
        ("+5", Class::NoJson),
        (".5", Class::NoJson),
        ("5.", Class::NoJson),
        ("5.e1", Class::NoJson),
        ("5e", Class::NoJson),
        ("0x10", Class::NoJson),
        ("5 5", Class::NoJson),
        ("NaN", Class::NoJson),
        ("Infinity", Class::NoJson),
        ("nul", Class::NoJson),
    ] {
        assert_eq!(class(int(text)), Some(want), "{text}");
    }
}

#[test]
fn strings_are_unescaped_and_halves_refused() {
    for (text, want) in [
        (r#""""#, ""),
        (r#""plain é 블록 🙂""#, "plain é 블록 🙂"),
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u0041\u00e9\uBE14""#, "Aé블"),
        (r#""\uD83D\uDE42x""#, "🙂x"),
        (r#""\ud800\udc00\udbff\udfff""#, "\u{10000}\u{10ffff}"),
        ("\"\u{7f}\u{2028}\"", "\u{7f}\u{2028}"),
    ] {
        assert_eq!(string(text).as_deref(), Ok(want), "{text}");
    }
    for (text, at) in [
        (r#""\ud800""#, 1),
        (r#""ab\udc00""#, 3),
        (r#""\ud800\u0041""#, 1),
        (r#""\ud800\ud800\udc00""#, 1),
        (r#""\udc00\ud800""#, 1),
        (r#""\ud83d x""#, 1),
        (r#""\ud83d\n""#, 1),
    ] {
        assert_eq!(string(text), Err(FormError::Surrogate { at }), "{text}");
        assert_eq!(class(string(text)), Some(Class::Value), "{text}");
    }
    for text in [
        "\"",
        "\"a",
        "\"\\\"",
        "\"\n\"",
        "\"\u{0}\"",
        r#""\x""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\u+123""#,
        r#""\"#,
        r#""\ud83d\u12""#,
    ] {
        assert_eq!(class(string(text)), Some(Class::NoJson), "{text}");
    }
}

#[test]
fn an_error_tells_bad_json_from_another_shape() {
    let block = |text: &str| NoteBlock::from_json(text, &Limits::default());
    for (name, text, want) in [
        ("another shape", r#"{"version":5}"#, Class::Shape),
        ("another shape, then no JSON", r#"{"version":5,}"#, Class::NoJson),
        ("another shape, then text", r#"{"version":5} x"#, Class::NoJson),
        ("a bad value, then no JSON", r#"{"height":-5,"#, Class::NoJson),
        ("a list", "[]", Class::Shape),
        ("a list that breaks off", "[", Class::NoJson),
        ("empty", "", Class::NoJson),
        ("a word", "hello", Class::NoJson),
        ("byte order mark", "\u{feff}{}", Class::NoJson),
        ("no members", "{}", Class::Shape),
        ("comma first", "{,}", Class::NoJson),
        ("comma last", r#"{"a":1,}"#, Class::NoJson),
        ("no colon", r#"{"a" 1}"#, Class::NoJson),
        ("no quotes", "{a:1}", Class::NoJson),
        ("comment", "{/**/}", Class::NoJson),
    ] {
        assert_eq!(class(block(text)), Some(want), "{name}: {text}");
    }
}

#[test]
fn members_stand_once() {
    let output = |text: &str| read_document(text, &Limits::default(), |r| crate::transaction::read_output(r));
    let account = "0bb580344804617879a14949cf22285f1bae3f27";
    let good: TxOut = output(&format!(r#"{{"amount":5,"x":1,"account":"{account}"}}"#)).unwrap();
    assert_eq!((good.amount.get(), good.extra.as_str()), (5, r#""x":1"#));
    for (name, text) in [
        ("known", format!(r#"{{"account":"{account}","amount":1,"amount":1}}"#)),
        ("known, escaped", format!(r#"{{"account":"{account}","amount":1,"\u0061mount":1}}"#)),
        ("unknown", format!(r#"{{"account":"{account}","amount":1,"x":1,"y":2,"x":1}}"#)),
        ("unknown, escaped", format!(r#"{{"account":"{account}","amount":1,"x":1,"\u0078":1}}"#)),
    ] {
        assert!(matches!(output(&text), Err(FormError::Repeated { object: "output", .. })), "{name}");
    }
    assert_eq!(
        output(&format!(r#"{{"account":"{account}"}}"#)),
        Err(FormError::Missing { object: "output", member: "amount" })
    );
}

#[test]
fn unknown_members_have_one_form() {
    for (text, want) in [
        ("{}", ""),
        (r#"{ "b" : [ 1 , 2.50 ] , "a":{ "x y" : "\u0041\/\n" } }"#, r#""b":[1,2.50],"a":{"x y":"A/\n"}"#),
        (r#"{"q\"\\":"\"\\ \ud83d\ude42"}"#, r#""q\"\\":"\"\\ 🙂""#),
        (r#"{"":null,"t":true,"f":false}"#, r#""":null,"t":true,"f":false"#),
        ("{\"\\u0001\":\"\\u001F\\u007f\"}", "\"\\u0001\":\"\\u001f\u{7f}\""),
    ] {
        assert_eq!(extra(text).as_deref(), Ok(want), "{text}");
        let again = format!("{{{want}}}");
        assert_eq!(extra(&again).as_deref(), Ok(want), "{text}, again");
    }
    assert_eq!(class(extra(r#"{"x":"\ud800"}"#)), Some(Class::Value), "also there nothing without UTF-8");
    assert_eq!(class(extra(r#"{"\ud800":1}"#)), Some(Class::Value));
}

#[test]
fn nesting_ends_at_the_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(any_json(&nested(32)), Ok(()));
    assert_eq!(any_json(&nested(33)), Err(FormError::TooDeep { at: 32, max: 32 }));
    assert_eq!(class(any_json(&nested(100_000))), Some(Class::NoJson));
    let limits = Limits::default().with_depth_max(2);
    assert!(read_document(&nested(2), &limits, |r| r.skip().map(drop)).is_ok());
    assert!(read_document(&nested(3), &limits, |r| r.skip().map(drop)).is_err());

    // An unknown member may nest 16 deep itself, wherever its block stands.
    let member = |depth| format!(r#"{{"x":{}}}"#, nested(depth));
    assert!(extra(&member(EXTRA_DEPTH_MAX)).is_ok());
    assert_eq!(class(extra(&member(EXTRA_DEPTH_MAX + 1))), Some(Class::Value));
    assert_eq!(class(extra(&member(40))), Some(Class::NoJson), "the bound of the document comes first");
}

#[test]
fn unknown_members_are_counted() {
    let members = |count: usize| {
        let all: Vec<String> = (0..count).map(|at| format!("\"m{at}\":{at}")).collect();
        format!("{{{}}}", all.join(","))
    };
    assert!(extra(&members(EXTRA_MEMBERS_MAX)).is_ok());
    assert_eq!(class(extra(&members(EXTRA_MEMBERS_MAX + 1))), Some(Class::Value));
}

#[test]
fn a_document_ends_at_the_limit() {
    let limits = Limits::default().with_document_bytes_max(4);
    assert!(read_document("1234", &limits, |r| r.int("n")).is_ok());
    let error = read_document("12345", &limits, |r| r.int("n")).unwrap_err();
    assert_eq!(error, FormError::TooLong { len: 5, max: 4 });
    assert!(!error.is_json());
}

/// Texts close to JSON.
fn near_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        "-?[0-9]{1,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?",
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
        "\"[a-z\\\\\"/u0-9]{0,8}\"",
    ];
    let tree = leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" ,\t"))),
            prop::collection::vec((any::<String>(), inner), 0..4).prop_map(|members| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("{} :\n{value}", serde_json::to_string(key).unwrap()))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    (tree, any::<prop::sample::Index>(), prop::option::of("[\\[\\]{}\",:0-9e. \\\\]")).prop_map(
        |(mut text, at, noise)| {
            if let Some(noise) = noise {
                let at = text.char_indices().map(|(at, _)| at).nth(at.index(text.chars().count().max(1)));
                text.insert_str(at.unwrap_or(0), &noise);
            }
            text
        },
    )
}

proptest! {
    /// A text is JSON here exactly when another parser says so.
    #[test]
    fn prop_agrees_with_another_parser(text in near_json()) {
        let other: Result<serde_json::Value, _> = serde_json::from_str(&text);
        // That parser also refuses numbers it cannot hold.
        let too_large = other.as_ref().is_err_and(|e| e.to_string().starts_with("number out of range"));
        prop_assume!(!too_large);
        prop_assert_eq!(any_json(&text).is_ok(), other.is_ok(), "{}", text);
    }

    /// Strings are read and written as another parser does.
    #[test]
    fn prop_strings_agree_with_another_parser(value in any::<String>()) {
        let theirs = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(string(&theirs), Ok(value.clone()));
        let (mut ours, mut count) = (Vec::new(), Count::default());
        ours.put_string(&value);
        count.put_string(&value);
        prop_assert_eq!(count.0, ours.len());
        prop_assert_eq!(serde_json::from_slice::<String>(&ours).unwrap(), value);
    }

    /// The form of unknown members is a fixed point and means the same.
    #[test]
    fn prop_unknown_members_keep_their_meaning(text in near_json()) {
        let object = format!("{{\"member\":{text}}}");
        if let Ok(form) = extra(&object) {
            let form = format!("{{{form}}}");
            prop_assert_eq!(format!("{{{}}}", extra(&form).unwrap()), form.clone());
            // Errors are numbers that the other parser cannot hold.
            let (before, after): (Option<serde_json::Value>, Option<serde_json::Value>) =
                (serde_json::from_str(&object).ok(), serde_json::from_str(&form).ok());
            prop_assert_eq!(before, after);
        }
    }

    /// Integers are written as another writer does.
    #[test]
    fn prop_integers_are_decimal(value in any::<u64>()) {
        let mut out = Vec::new();
        out.put_int(value);
        prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
    }
}
