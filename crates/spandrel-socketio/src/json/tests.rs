use proptest::prelude::*;

use super::*;

fn is_json(text: &[u8]) -> bool {
    check_all(text).is_ok()
}

/// What another reader says. It stops at 128 levels; the texts here nest less.
fn model(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

#[test]
fn takes_what_is_json_and_nothing_else() {
    for good in [
        "null",
        " true ",
        "\t\r\nfalse\n",
        "0",
        "-0",
        "-0.0e-0",
        "12345678901234567890123",
        "1E+400",
        "\"\"",
        r#""\"\\\/\b\f\n\r\t\u00e9""#,
        r#""\ud83d""#,
        r#""\udead\ud83d""#,
        "\"한😀\u{2028}\u{7f}\"",
        "[]",
        "[ ]",
        "{}",
        "{ }",
        "[1 , [ ] , {\"\" : null}]",
        r#"{"a":1,"a":2}"#,
        "[[[{\"a\":[{}]}]]]",
    ] {
        assert!(is_json(good.as_bytes()), "{good}");
        assert!(model(good.as_bytes()), "{good}");
    }
    for bad in [
        "",
        " ",
        "nul",
        "nulll",
        "True",
        "NaN",
        "Infinity",
        "undefined",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "0x1",
        "1 2",
        "\"",
        "\"\\\"",
        "\"\n\"",
        "\"\0\"",
        r#""\x""#,
        r#""\u12g4""#,
        r#""\u123"#,
        "'a'",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "}",
        "{]",
        "[}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "[1]]",
        "\u{feff}1",
        "\u{a0}1",
        "/**/1",
    ] {
        assert!(!is_json(bad.as_bytes()), "{bad}");
        assert!(!model(bad.as_bytes()), "{bad}");
    }
}

#[test]
fn says_where_it_went_wrong() {
    for (text, at) in [("[1,x]", 3), ("[1", 2), ("  ", 2), ("{\"a\":01}", 6), ("1 1", 2), ("\"ab\u{1}\"", 3)]
    {
        assert_eq!(check_all(text.as_bytes()), Err(JsonError::Syntax { at }), "{text}");
    }
}

#[test]
fn nesting_has_a_bound_and_costs_no_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
        assert!(is_json(nested(DEPTH_MAX).as_bytes()));
        let over = check_all(nested(DEPTH_MAX + 1).as_bytes());
        assert!(matches!(over, Err(JsonError::TooDeep { max: DEPTH_MAX, .. })), "{over:?}");
    }
    assert!(check_all("[".repeat(1_000_000).as_bytes()).is_err());
    // Every level remembers what it is.
    let mixed = "[{\"a\":".repeat(DEPTH_MAX / 2) + "1" + &"}]".repeat(DEPTH_MAX / 2);
    assert!(is_json(mixed.as_bytes()));
    assert!(!is_json(mixed.replacen("}]", "]}", 300).as_bytes()));
}

#[test]
fn skip_finds_the_end_of_each_sort_of_value() {
    for value in ["1", "-1.5e3", "\"a\\\"b]\"", "\"\\\\\"", "[1,[\"]\"],{}]", "{\"}\":[1,2]}", "true", "null"]
    {
        for after in ["", ",1", "]", "}", " ", "\n"] {
            assert_eq!(skip(format!("{value}{after}").as_bytes(), 0), value.len(), "{value}{after}");
        }
    }
}

#[test]
fn checking_tells_where_the_first_two_parts_are() {
    for (text, want) in [
        ("[ \"a\" ,{\"b\":[1,2]}, 3]", [(2, 5), (7, 18)]),
        (" [1]", [(2, 3), (0, 0)]),
        ("[[],1]", [(1, 3), (4, 5)]),
        ("[]", [(0, 0), (0, 0)]),
        ("\"a\"", [(0, 0), (0, 0)]),
    ] {
        assert_eq!(check_all(text.as_bytes()).unwrap().parts, want, "{text}");
    }
}

#[test]
fn names_are_compared_decoded() {
    assert!(raw_is(b"key", "key"));
    assert!(raw_is(br"\u006bey", "key"));
    assert!(raw_is(br"\ud83d\ude00", "😀"));
    assert!(!raw_is(br"ke", "key"));
    assert!(!raw_is(br"a\b", "a\\b"), "an escape is not the text it looks like");
    assert!(raw_is(br"a\\b", "a\\b"));
    assert!(!raw_is(br"k\u0065", "key"));
}

#[test]
fn strings_decode_as_javascript_has_them() {
    for (raw, want) in [
        ("plain 한", "plain 한"),
        (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r"\ud83d\ude00", "😀"),
        (r"a\ud83db", "a\u{fffd}b"),
        (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
        (r"\ude00\n", "\u{fffd}\n"),
        (r"\u0000", "\0"),
    ] {
        assert_eq!(unescape(raw.as_bytes()).as_deref(), Some(want), "{raw}");
    }
}

#[test]
fn long_texts_are_read_in_linear_time() {
    // Would take minutes if any function looked at a byte more often than a fixed number of times.
    let text = format!("[{}\"\\\"\"]", "{\"a\":[\"\\n\",1]} , ".repeat(300_000));
    assert!(is_json(text.as_bytes()));
    assert_eq!(skip(text.as_bytes(), 0), text.len());
}

fn json_like() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"\":",
        "\\",
        "\\u00e9",
        "\\ud83d",
        "1",
        "-",
        "0",
        ".5",
        "e9",
        "true",
        "null",
        " ",
        "\n",
        "한",
        "\u{1f}",
        "[]",
        "{}",
        "\"key\":1",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

/// Valid JSON of some depth, with spaces here and there.
pub(crate) fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "0",
            "-1.50e+3",
            "12345678901234567890",
            r#""\ud83d""#,
            "\"한😀\"",
            " 1\n"
        ])
        .prop_map(String::from),
        ".{0,12}".prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let key = "[a-c\"한]{0,3}".prop_map(|s| serde_json::to_string(&s).unwrap());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|v| format!("[{}]", v.join(", "))),
            prop::collection::vec((key, inner), 0..5).prop_map(|v| {
                let members: Vec<_> = v.into_iter().map(|(k, v)| format!("{k} :\r{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    /// The checker says of any text what another JSON reader says.
    #[test]
    fn prop_check_agrees_with_another_reader(text in json_like()) {
        prop_assert_eq!(is_json(&text), model(&text), "{}", String::from_utf8_lossy(&text));
    }

    /// Texts with one byte changed are judged like another reader does.
    #[test]
    fn prop_check_agrees_after_damage(text in json_text(), at in any::<prop::sample::Index>(), byte in 0_u8..128) {
        let mut bytes = text.into_bytes();
        prop_assert!(is_json(&bytes));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        prop_assert_eq!(is_json(&bytes), model(&bytes));
    }

    /// Skipping a checked value ends where checking it ended.
    #[test]
    fn prop_skip_agrees_with_check(text in json_text(), after in prop::sample::select(vec!["", ",", " ]", "}"])) {
        let whole = format!("{text}{after}");
        let checked = check(whole.as_bytes(), 0).unwrap();
        prop_assert_eq!(skip(whole.as_bytes(), checked.start), checked.end);
        for (start, end) in checked.parts.into_iter().filter(|part| part.1 > 0) {
            prop_assert_eq!(skip(whole.as_bytes(), start), end);
        }
    }

    /// A string that is written is read back, and never breaks a line.
    #[test]
    fn prop_roundtrip_string(text in any::<String>()) {
        let mut out = Vec::new();
        write_string(&text, &mut out);
        prop_assert!(is_json(&out));
        prop_assert!(memchr::memchr2(b'\n', b'\r', &out).is_none());
        prop_assert_eq!(unescape(&out[1..out.len() - 1]).unwrap(), &text[..]);
        prop_assert!(raw_is(&out[1..out.len() - 1], &text));
    }

    /// Numbers are written as the standard library does.
    #[test]
    fn prop_numbers_agree_with_std(n in any::<u64>(), shift in 0_u32..64) {
        let mut out = Vec::new();
        write_number(n >> shift, &mut out);
        prop_assert_eq!(String::from_utf8(out).unwrap(), (n >> shift).to_string());
    }

    /// The scan of eight bytes at a time finds what a scan of single bytes finds.
    #[test]
    fn prop_plain_end_agrees_with_model(
        text in prop::collection::vec(prop_oneof![8 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\')], 0..64),
        clean in any::<bool>(),
    ) {
        let text: Vec<u8> = if clean { text.iter().map(|b| b | 0x80).collect() } else { text };
        let want = text.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(text.len());
        prop_assert_eq!(plain_end(&text, 0), want);
        prop_assert_eq!(plain_end(&text, want.min(3)), want);
    }
}
