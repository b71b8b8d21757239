//! Texts that are no messages, or no good ones.

use serde_json::json;

/// Texts that are not a JSON object, each with a name.
pub(super) fn malformed() -> Vec<(String, Vec<u8>)> {
    let good = r#"{"event":"status:check","data":{},"timestamp":1,"requestId":"m"}"#;
    let with = |data: &str| {
        format!(r#"{{"event":"status:check","data":{{"x-a":{data}}},"timestamp":1,"requestId":"m"}}"#)
    };
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, text: &str| all.push((name.to_owned(), text.as_bytes().to_vec()));
    for (name, text) in [
        ("nothing", ""),
        ("a space", " "),
        ("a line break", "\n"),
        ("a word", "nonsense"),
        ("null", "null"),
        ("true", "true"),
        ("a number", "1"),
        ("a string", "\"x\""),
        ("an array", "[]"),
        ("an array of a message", "[{}]"),
        ("two objects", "{}{}"),
        ("two objects apart", "{} {}"),
        ("an object and a comma", "{},"),
        ("an open object", "{"),
        ("two open objects", "{{"),
        ("a closed one", "}"),
        ("a name", "{\"event\""),
        ("a name and a colon", "{\"event\":"),
        ("an open string", "{\"event\":\"st"),
        ("a comma too many", "{\"event\":\"status:check\",}"),
        ("a comma too early", "{,\"event\":\"status:check\"}"),
        ("no comma", "{\"event\":\"status:check\" \"data\":{}}"),
        ("no colon", "{\"event\" \"status:check\"}"),
        ("single quotes", "{'event':'status:check'}"),
        ("a bare name", "{event:\"status:check\"}"),
        ("a comment", "{/* */}"),
        ("a line comment", "{}//"),
        ("xml", "<event/>"),
        ("a url", "GET /v1/ws HTTP/1.1"),
        ("hexadecimal", "{\"timestamp\":0x1}"),
    ] {
        add(name, text);
    }
    for (name, value) in [
        ("NaN", "NaN"),
        ("infinity", "Infinity"),
        ("minus infinity", "-Infinity"),
        ("a leading zero", "01"),
        ("a leading plus", "+1"),
        ("a leading point", ".5"),
        ("a trailing point", "1."),
        ("an empty exponent", "1e"),
        ("minus alone", "-"),
        ("two minus signs", "--1"),
        ("a number with a letter", "1a"),
        ("a broken escape", r#""\x41""#),
        ("a short unicode escape", r#""\u12""#),
        ("a lone high surrogate", r#""\ud800""#),
        ("a lone low surrogate", r#""\udc00""#),
        ("surrogates in the wrong order", r#""\udc00\ud800""#),
        ("a raw line break in a string", "\"a\nb\""),
        ("a raw tab in a string", "\"a\tb\""),
        ("a raw NUL in a string", "\"a\0b\""),
        ("an open array", "[1,2"),
        ("an array closed as an object", "[1}"),
        ("undefined", "undefined"),
        ("upper case", "TRUE"),
        ("half a word", "tru"),
    ] {
        add(name, &with(value));
    }
    for depth in [129, 200, 1_000, 10_000, 100_000] {
        add(&format!("{depth} arrays deep"), &with(&("[".repeat(depth) + &"]".repeat(depth))));
        add(&format!("{depth} objects deep"), &with(&(r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth))));
        add(&format!("{depth} arrays open"), &with(&"[".repeat(depth)));
    }
    add("text after the message", &format!("{good} x"));
    add("a message and half of one", &format!("{good}{{"));
    add("NUL after the message", &format!("{good}\0"));
    add("a byte order mark", &format!("\u{feff}{good}"));
    add("white space before", &format!(" {good}"));
    add("a no-break space before", &format!("\u{a0}{good}"));
    for cut in 1..good.len() {
        add(&format!("the first {cut} bytes"), &good[..cut]);
    }
    all
}

/// Objects whose envelope is wrong.
pub(super) fn ill_enveloped() -> Vec<(String, String)> {
    let good = || json!({ "event": "status:check", "data": {}, "timestamp": 1, "requestId": "e" });
    let mut all = vec![("empty".to_owned(), "{}".to_owned())];
    for field in ["event", "data", "timestamp", "requestId"] {
        let mut message = good();
        message.as_object_mut().expect("an object").remove(field);
        all.push((format!("no {field}"), message.to_string()));
        for (name, value) in [
            ("null", json!(null)),
            ("true", json!(true)),
            ("a number", json!(1.5)),
            ("a list", json!([1])),
            ("a text", json!("x y")),
            ("an object", json!({ "a": 1 })),
        ] {
            let is_fine = matches!((field, name), ("event", "a text") | ("data", "an object"));
            if !is_fine {
                let mut message = good();
                message[field] = value;
                all.push((format!("{field} is {name}"), message.to_string()));
            }
        }
        let twice = good().to_string();
        let value = good()[field].to_string();
        all.push((format!("{field} twice"), twice.replacen('{', &format!("{{\"{field}\":{value},"), 1)));
    }
    for bad in [
        "", "srv-1", "a b", "a/b", "a\nb", "ä", "😀", "a\0", "<x>", "a,b", "a;b", "'", "\"", "\\", "{", "%41",
    ] {
        let mut message = good();
        message["requestId"] = bad.into();
        all.push((format!("requestId {bad:?}"), message.to_string()));
    }
    for len in [65, 100, 10_000] {
        let mut message = good();
        message["requestId"] = "a".repeat(len).into();
        all.push((format!("requestId of {len}"), message.to_string()));
    }
    let stamps =
        ["-1", "1.0", "1e3", "9007199254740992", "18446744073709551616", "1e999", "-0", "\"1\"", "1.5"];
    for bad in stamps {
        all.push((
            format!("timestamp {bad}"),
            format!(r#"{{"event":"status:check","data":{{}},"timestamp":{bad},"requestId":"e"}}"#),
        ));
    }
    let long = "9".repeat(100_000);
    all.push((
        "timestamp of 100,000 digits".to_owned(),
        format!(r#"{{"event":"status:check","data":{{}},"timestamp":{long},"requestId":"e"}}"#),
    ));
    all
}

/// Data that no event takes, for events that take some.
pub(super) fn ill_shaped() -> Vec<(String, String)> {
    let events = ["request", "cancel", "pause", "resume", "attach", "detach"];
    let mut all = Vec::new();
    for event in events {
        for (name, data) in [
            ("nothing", json!({})),
            ("a misspelt member", json!({ "downloadID": "x", "searchParam": {} })),
            ("an id of another kind", json!({ "downloadId": 1 })),
            ("an id that is null", json!({ "downloadId": null })),
            ("an id that is a list", json!({ "downloadId": ["dl_AAAAAAAAAAAAAAAAAAAAAA"] })),
            ("an id with a path", json!({ "downloadId": "../../etc/passwd" })),
            ("an id too short", json!({ "downloadId": "dl_AAAA" })),
            ("an id too long", json!({ "downloadId": format!("dl_{}", "A".repeat(100_000)) })),
            ("an id that nobody has", json!({ "downloadId": "dl_AAAAAAAAAAAAAAAAAAAAAA" })),
            ("an id and more", json!({ "downloadId": "dl_AAAAAAAAAAAAAAAAAAAAAA", "force": true })),
        ] {
            let message = json!({ "event": format!("download:{event}"), "data": data, "timestamp": 1, "requestId": "s" });
            all.push((format!("download:{event}, {name}"), message.to_string()));
        }
    }
    for (name, data) in ill_requests() {
        let message = json!({ "event": "download:request", "data": data, "timestamp": 1, "requestId": "s" });
        all.push((format!("download:request, {name}"), message.to_string()));
    }
    all
}

/// Requests that must be refused.
pub(super) fn ill_requests() -> Vec<(String, serde_json::Value)> {
    let good = || {
        json!({ "searchParams": { "timeFrom": "2013-01-01T00:00:00Z", "timeTo": "2013-01-02T00:00:00Z", "filters": [] },
                "outputFormat": "csv", "compression": false })
    };
    let mut all = Vec::new();
    let mut set = |name: String, path: &str, value: serde_json::Value| {
        let mut request = good();
        if let Some(parent) = path.rsplit_once('/').map(|(parent, _)| parent)
            && request.pointer(parent).is_none()
        {
            request[&parent[1..]] = json!({});
        }
        let (parent, member) = path.rsplit_once('/').expect("a pointer");
        request.pointer_mut(parent).expect("it is there")[member] = value;
        all.push((name, request));
    };
    for time in [
        "",
        "now",
        "2013",
        "2013-01-01",
        "2013-01-01T00:00:00",
        "2013-02-30T00:00:00Z",
        "2013-13-01T00:00:00Z",
        "2013-01-01T24:00:00Z",
        "2013-01-01T00:60:00Z",
        "2016-12-31T23:59:60Z",
        "2013-01-01T00:00:00+99:99",
        "2013-01-01T00:00:00-00:00",
        "2013-01-01t00:00:00z",
        "2013-01-01 00:00:00Z",
        "275760-09-13T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "-2013-01-01T00:00:00Z",
        "2013-01-01T00:00:00.Z",
        "2013-01-01T00:00:00.1234567890Z",
        "２013-01-01T00:00:00Z",
        "2014-01-01T00:00:00Z",
        "2013-01-02T00:00:00Z",
    ] {
        set(format!("timeFrom {time:?}"), "/searchParams/timeFrom", time.into());
    }
    let deep = (0..9)
        .fold(json!({ "field": "dep_delay", "op": "eq", "value": 1 }), |inner, _| json!({ "not": inner }));
    let wide: Vec<_> = (0..257).map(|n| json!({ "field": "dep_delay", "op": "eq", "value": n })).collect();
    let far = (0..200).fold(json!(1), |inner, _| json!([inner]));
    for (name, filters) in [
        ("filters of another kind", json!({})),
        ("a filter that is a text", json!(["dep_delay > 1"])),
        ("a filter of an unknown field", json!([{ "field": "nobody", "op": "eq", "value": 1 }])),
        ("a filter with an unknown op", json!([{ "field": "dep_delay", "op": "regex", "value": "(a+)+$" }])),
        ("a filter without value", json!([{ "field": "dep_delay", "op": "eq" }])),
        (
            "a filter with a misspelt member",
            json!([{ "field": "dep_delay", "op": "eq", "value": 1, "vlaue": 2 }]),
        ),
        ("a filter too deep", json!([deep])),
        ("too many filters", json!(wide)),
        ("an empty group", json!([{ "and": [] }])),
        ("two groups in one", json!([{ "and": [], "or": [] }])),
        ("a text too long", json!([{ "field": "dest", "op": "eq", "value": "x".repeat(4_097) }])),
        ("a text for a number", json!([{ "field": "dep_delay", "op": "gt", "value": "abc" }])),
        ("a value far too deep", json!([{ "field": "dest", "op": "eq", "value": far }])),
        ("SQL", json!([{ "field": "dest'; DROP TABLE x; --", "op": "eq", "value": 1 }])),
    ] {
        set(name.to_owned(), "/searchParams/filters", filters);
    }
    for (name, path, value) in [
        ("an unknown data set", "/searchParams/dataset", json!("../../etc/passwd")),
        ("a data set of another kind", "/searchParams/dataset", json!(1)),
        ("an unknown column", "/searchParams/columns", json!(["nobody"])),
        ("a column twice", "/searchParams/columns", json!(["dest", "dest"])),
        ("no column", "/searchParams/columns", json!([])),
        ("257 columns", "/searchParams/columns", json!(vec!["dest"; 257])),
        ("five sorts", "/searchParams/sort", json!(vec![json!({ "field": "dest", "order": "asc" }); 5])),
        ("a sort sideways", "/searchParams/sort", json!([{ "field": "dest", "order": "sideways" }])),
        ("limit 0", "/searchParams/limit", json!(0)),
        ("limit -1", "/searchParams/limit", json!(-1)),
        ("limit 1.5", "/searchParams/limit", json!(1.5)),
        ("limit 2^53", "/searchParams/limit", json!(9_007_199_254_740_992_u64)),
        ("a format nobody has", "/outputFormat", json!("exe")),
        ("a format of another kind", "/outputFormat", json!(["csv"])),
        ("compression of another kind", "/compression", json!("yes")),
        ("a misspelt member", "/filter", json!([])),
        ("a codec nobody has", "/options/codec", json!("rar")),
        ("a zone by name", "/options/timeZone", json!("Asia/Seoul")),
        ("a zone out of range", "/options/timeZone", json!("+25:00")),
        ("parts of no rows", "/options/maxRowsPerFile", json!(0)),
        ("parts too long", "/options/maxRowsPerFile", json!(500_001)),
        ("a pace of none", "/options/maxRowsPerSecond", json!(0)),
        ("a delimiter of two characters", "/options/csv/delimiter", json!(",,")),
        ("options of another kind", "/options", json!([])),
    ] {
        if path.starts_with("/options/csv/") {
            set(name.to_owned(), "/options/csv", json!({ "delimiter": value }));
        } else {
            set(name.to_owned(), path, value);
        }
    }
    all
}
