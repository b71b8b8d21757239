use serde_json::{Value as Any, json};

use crate::resolve::tests::{judge, judge_with, request};
use crate::{Decimal, Defaults, ErrorCode, Filter, Limits, Test, Timestamp, Value};

fn filters(list: Any) -> Result<Vec<Filter>, (String, Option<String>)> {
    judge(&request(json!({ "filters": list }), json!({})))
        .map(|resolved| resolved.query.filters)
        .map_err(|e| (e.code.to_string(), e.path().map(str::to_owned)))
}

fn code(filter: &Any) -> String {
    filters(json!([filter])).map_or_else(|(code, _)| code, |_| "accepted".to_owned())
}

#[test]
fn listed_filters_resolve_or_are_refused_with_their_code() {
    #[derive(serde::Deserialize)]
    struct Listed {
        matches: Vec<(Any, Vec<usize>)>,
        refused: Vec<(String, Any)>,
    }
    let listed: Listed = serde_json::from_str(include_str!("../../tests/data/filters.json")).unwrap();
    for (filter, _) in listed.matches {
        assert_eq!(code(&filter), "accepted", "{filter}");
    }
    for (want, filter) in listed.refused {
        assert_eq!(code(&filter), want, "{filter}");
    }
}

#[test]
fn values_take_the_type_of_their_column() {
    let decimal = |text| Value::Decimal(Decimal::parse(text).unwrap());
    for (field, value, want) in [
        ("id", json!(5), Value::Int(5)),
        ("id", json!("-9223372036854775808"), Value::Int(i64::MIN)),
        ("bytes", json!("-0"), Value::Int(0)),
        ("price", json!("1.50"), decimal("1.5")),
        ("price", json!(1.5), decimal("1.5")),
        ("price", json!("12345678901234567890.123456789"), decimal("12345678901234567890.123456789")),
        ("ok", json!(true), Value::Bool(true)),
        ("user", json!(""), Value::String(String::new())),
        ("time", json!("1970-01-01T09:00:00.5+09:00"), Value::Timestamp(Timestamp::from_millis(500))),
    ] {
        let got = filters(json!([{"field": field, "op": "eq", "value": value}])).unwrap();
        let want = Test::Eq(want);
        assert!(matches!(got.as_slice(), [Filter::Leaf { test, .. }] if *test == want), "{field} {value}");
    }
}

#[test]
fn decimals_never_pass_through_a_float() {
    let text = request(json!({}), json!({})).to_string().replace(
        "\"filters\":[]",
        "\"filters\":[{\"field\":\"price\",\"op\":\"eq\",\"value\":0.1000000000000000055511151231257827}]",
    );
    let limits = Limits::default();
    let schema = crate::resolve::tests::schema();
    let find = |_: Option<&str>| crate::Lookup::Found { name: "logs".into(), schema: schema.clone() };
    let request = crate::DownloadRequest::from_body(text.as_bytes(), &limits).unwrap();
    let query = request.resolve(&find, &Defaults::default()).unwrap().query;
    let want = Test::Eq(Value::Decimal(Decimal::parse("0.1000000000000000055511151231257827").unwrap()));
    assert!(matches!(query.filters.as_slice(), [Filter::Leaf { test, .. }] if *test == want));
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    for (filter, path) in [
        (json!({"field": "id", "op": "eq", "value": 1e3}), "/searchParams/filters/0/value"),
        (json!({"field": "id", "op": "eq", "value": "01"}), "/searchParams/filters/0/value"),
        (json!({"field": "id", "op": "eq", "value": "+1"}), "/searchParams/filters/0/value"),
        (json!({"field": "id", "op": "in", "value": [1, 1.5]}), "/searchParams/filters/0/value/1"),
        (json!({"field": "id", "op": "between", "value": [1, 2, 3]}), "/searchParams/filters/0/value"),
        (json!({"field": "price", "op": "eq", "value": "1."}), "/searchParams/filters/0/value"),
        (json!({"field": "ok", "op": "between", "value": [false, true]}), "/searchParams/filters/0/op"),
        (json!({"field": "user", "op": "exists", "value": null}), "/searchParams/filters/0/value"),
        (json!({"field": 5, "op": "eq", "value": 1}), "/searchParams/filters/0/field"),
        (json!({"field": "id", "op": "EQ", "value": 1}), "/searchParams/filters/0/op"),
        (json!({"field": "id", "op": "eq", "value": 1, "y": 1}), "/searchParams/filters/0/y"),
        (json!({"field": "id", "value": 1}), "/searchParams/filters/0/op"),
        (json!({"and": {}}), "/searchParams/filters/0/and"),
        (json!({"or": [{"not": []}]}), "/searchParams/filters/0/or/0/not"),
        (
            json!({"and": [{"field": "id", "op": "eq", "value": 1}], "field": "id"}),
            "/searchParams/filters/0/field",
        ),
        (json!({}), "/searchParams/filters/0/field"),
        (json!(null), "/searchParams/filters/0"),
    ] {
        let want = Err(("INVALID_FILTER".to_owned(), Some(path.to_owned())));
        assert_eq!(filters(json!([filter])), want, "{filter}");
    }
    assert_eq!(code(&json!({"field": "id", "op": "eq", "value": 1, "x-note": {"a": 1}})), "accepted");
}

#[test]
fn one_over_each_bound_is_refused() {
    let leaf = json!({"field": "user", "op": "eq", "value": "a"});
    let nest = |n: usize| (0..n).fold(leaf.clone(), |inner, _| json!({ "not": inner }));
    let group = |n: usize| json!({"or": vec![leaf.clone(); n]});
    let list = |n: usize| json!({"field": "user", "op": "in", "value": vec!["a"; n]});
    let text = |n: usize| json!({"field": "user", "op": "contains", "value": "a".repeat(n)});
    let digits = |n: usize| json!({"field": "price", "op": "gt", "value": "1".repeat(n)});
    for (name, filter, good) in [
        ("depth", nest(7), true),
        ("depth", nest(8), false),
        ("depth", nest(50), false),
        ("entries", group(256), true),
        ("entries", group(257), false),
        ("values", list(1000), true),
        ("values", list(1001), false),
        ("text", text(4096), true),
        ("text", text(4097), false),
        ("digits", digits(4096), true),
        ("digits", digits(4097), false),
    ] {
        assert_eq!(code(&filter) == "accepted", good, "{name}");
    }
    // The leaves of all filters count together.
    assert!(filters(json!([group(255), leaf])).is_ok());
    assert!(filters(json!([group(255), leaf, leaf])).is_err());

    let tight =
        Defaults { limits: Limits { filter_leaves_max: 1, ..Limits::default() }, ..Defaults::default() };
    let two = request(json!({"filters": [leaf, leaf]}), json!({}));
    assert_eq!(judge_with(&two, &tight).unwrap_err().code, ErrorCode::InvalidFilter);
}

#[test]
fn floats_are_finite_numbers() {
    let schema = std::sync::Arc::new(
        crate::Schema::new(
            vec![crate::Column::timestamp("t", 0), crate::Column::new("x", crate::ColumnType::Float)],
            0,
        )
        .unwrap(),
    );
    let find = |_: Option<&str>| crate::Lookup::Found { name: "f".into(), schema: schema.clone() };
    for (value, good) in
        [("1", true), ("-1e-7", true), ("1e21", true), ("1e999", false), ("\"1\"", false), ("true", false)]
    {
        let text = request(json!({}), json!({})).to_string().replace(
            "\"filters\":[]",
            &format!("\"filters\":[{{\"field\":\"x\",\"op\":\"lt\",\"value\":{value}}}]"),
        );
        let request = crate::DownloadRequest::from_body(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(request.resolve(&find, &Defaults::default()).is_ok(), good, "{value}");
    }
}
