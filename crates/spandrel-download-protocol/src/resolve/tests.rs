use serde_json::{Value, json};

use super::*;
use crate::{Column, Filter, SortOrder, UtcOffset};

/// The columns of `tests/data/filters.json`.
pub(crate) fn schema() -> Arc<Schema> {
    let file: Value = serde_json::from_str(include_str!("../../tests/data/filters.json")).unwrap();
    let columns: Vec<Column> = serde_json::from_value(file["columns"].clone()).unwrap();
    Arc::new(Schema::new(columns, 1).unwrap())
}

pub(crate) fn judge(data: &Value) -> Result<Resolved, ErrorResponse> {
    judge_with(data, &Defaults::default())
}

pub(crate) fn judge_with(data: &Value, defaults: &Defaults) -> Result<Resolved, ErrorResponse> {
    let find = |name: Option<&str>| match name {
        None | Some("logs") => Lookup::Found { name: "logs".into(), schema: schema() },
        Some("secret") => Lookup::Forbidden,
        Some(_) => Lookup::Unknown,
    };
    let text = data.to_string();
    DownloadRequest::from_body(text.as_bytes(), &defaults.limits)?.resolve(&find, defaults)
}

/// A good request; `search` and `outer` replace or add members.
pub(crate) fn request(search: Value, outer: Value) -> Value {
    let mut data = json!({
        "searchParams": { "timeFrom": "2024-03-01T00:00:00Z", "timeTo": "2024-03-02T00:00:00Z", "filters": [] },
        "outputFormat": "csv", "compression": false,
    });
    let merge = |into: &mut Value, from: Value| {
        for (name, value) in from.as_object().unwrap() {
            into[name] = value.clone();
        }
    };
    merge(&mut data["searchParams"], search);
    merge(&mut data, outer);
    data
}

fn code(data: &Value) -> String {
    judge(data).map_or_else(|e| e.code.to_string(), |_| "accepted".to_owned())
}

#[test]
fn listed_requests_are_accepted_or_refused_with_their_code() {
    #[derive(serde::Deserialize)]
    struct Requests {
        accepted: Vec<Value>,
        refused: Vec<(String, Value)>,
    }
    let requests: Requests = serde_json::from_str(include_str!("../../tests/data/requests.json")).unwrap();
    for data in requests.accepted {
        assert_eq!(code(&data), "accepted", "{data}");
    }
    for (want, data) in requests.refused {
        let error = judge(&data).unwrap_err();
        assert_eq!(error.code.as_str(), want, "{data}");
        assert!(!error.recoverable);
        assert!(error.path().is_some_and(|path| path.starts_with('/')), "{data}: {error:?}");
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let resolved = judge(&request(json!({}), json!({}))).unwrap();
    assert_eq!(resolved.dataset.as_ref(), "logs");
    assert_eq!(resolved.query.columns, (0..9).collect::<Vec<_>>());
    assert_eq!((resolved.query.sort.len(), resolved.query.limit), (0, None));
    let want = Output { rows_per_part: Some(500_000), ..Output::new(Format::Csv) };
    assert_eq!(resolved.output, want);

    let guarded = Defaults { formula_guard: true, ..Defaults::default() };
    assert!(judge_with(&request(json!({}), json!({})), &guarded).unwrap().output.csv.formula_guard);
    let off = json!({"options": {"csv": {"formulaGuard": false}}});
    assert!(!judge_with(&request(json!({}), off), &guarded).unwrap().output.csv.formula_guard);
}

#[test]
fn everything_that_is_written_arrives() {
    let search = json!({
        "dataset": "logs", "columns": ["message", "id"], "limit": 9_007_199_254_740_991_u64,
        "sort": [{"field": "price", "order": "desc"}, {"field": "id", "order": "asc"}],
        "filters": [{"field": "id", "op": "exists", "value": true}],
    });
    let outer = json!({
        "outputFormat": "ndjson", "compression": true,
        "options": {"codec": "zstd", "timeZone": "+09:00", "maxRowsPerFile": 7, "maxRowsPerSecond": 5,
            "csv": {"header": false, "delimiter": "\t", "bom": true, "formulaGuard": true}},
    });
    let data = request(search, outer);
    let resolved = judge(&data).unwrap();
    let query = resolved.query;
    assert_eq!((query.columns, query.limit), (vec![8, 0], Some(9_007_199_254_740_991)));
    assert_eq!(
        query.sort,
        [SortKey { column: 6, order: SortOrder::Desc }, SortKey { column: 0, order: SortOrder::Asc }]
    );
    assert_eq!(query.filters, [Filter::Leaf { column: 0, test: crate::Test::Exists(true) }]);
    assert_eq!(
        resolved.output,
        Output {
            format: Format::Ndjson,
            codec: Some(Codec::Zstd),
            time_zone: UtcOffset::Minutes(540),
            rows_per_part: Some(7),
            rows_per_s: Some(5),
            csv: CsvOptions { header: false, delimiter: b'\t', bom: true, formula_guard: true },
        }
    );
    // The client's builder writes what the server reads.
    let read = DownloadRequest::from_body(data.to_string().as_bytes(), &Limits::default()).unwrap();
    assert!(crate::same_json(&serde_json::to_string(&read).unwrap(), &data.to_string()));
}

#[test]
fn the_first_fault_of_the_fixed_order_is_told() {
    // Each line mends the fault of the line before.
    let bad = |shape: bool, set: &str, to: &str, column: &str, field: &str, format: &str, codec: &str| {
        let filters = json!([{"field": field, "op": "eq", "value": 1}]);
        let search = json!({"dataset": set, "timeTo": to, "columns": [column], "filters": filters});
        let more = if shape { json!({"y": 1}) } else { json!({}) };
        let mut data = request(search, more);
        data["outputFormat"] = json!(format);
        data["compression"] = json!(true);
        data["options"] = json!({"codec": codec});
        code(&data)
    };
    let (late, early) = ("2024-03-02T00:00:00Z", "1999-01-01T00:00:00Z");
    assert_eq!(bad(true, "no", early, "no", "user", "xml", "rar"), "INVALID_REQUEST");
    assert_eq!(bad(false, "no", early, "no", "user", "xml", "rar"), "UNKNOWN_DATASET");
    assert_eq!(bad(false, "secret", early, "no", "user", "xml", "rar"), "FORBIDDEN");
    assert_eq!(bad(false, "logs", early, "no", "user", "xml", "rar"), "INVALID_TIME_RANGE");
    assert_eq!(bad(false, "logs", late, "no", "user", "xml", "rar"), "UNKNOWN_FIELD");
    assert_eq!(bad(false, "logs", late, "id", "user", "xml", "rar"), "INVALID_FILTER");
    assert_eq!(bad(false, "logs", late, "id", "id", "xml", "rar"), "UNSUPPORTED_FORMAT");
    assert_eq!(bad(false, "logs", late, "id", "id", "csv", "rar"), "UNSUPPORTED_COMPRESSION");
    assert_eq!(bad(false, "logs", late, "id", "id", "csv", "gzip"), "accepted");
}

#[test]
fn a_server_without_zstd_says_so() {
    let defaults = Defaults { zstd: false, ..Defaults::default() };
    let data = request(json!({}), json!({"compression": true, "options": {"codec": "zstd"}}));
    let error = judge_with(&data, &defaults).unwrap_err();
    assert_eq!((error.code, error.path()), (ErrorCode::UnsupportedCompression, Some("/options/codec")));
    assert_eq!(code(&request(json!({}), json!({"outputFormat": "parquet"}))), "UNSUPPORTED_FORMAT");
}

#[test]
fn one_over_each_bound_of_the_shape_is_refused() {
    let names = |n: usize| (0..n).map(|i| format!("c{i}")).collect::<Vec<_>>();
    let keys = |n: usize| vec![json!({"field": "id", "order": "asc"}); n];
    for (search, outer, want) in [
        // 256 unknown columns pass the shape and fail at the look-up.
        (json!({"columns": names(256)}), json!({}), "UNKNOWN_FIELD"),
        (json!({"columns": names(257)}), json!({}), "INVALID_REQUEST"),
        (json!({"sort": keys(4)}), json!({}), "accepted"),
        (json!({"sort": keys(5)}), json!({}), "INVALID_REQUEST"),
        (json!({"limit": 9_007_199_254_740_992_u64}), json!({}), "INVALID_REQUEST"),
        (json!({}), json!({"options": {"maxRowsPerFile": 500_000}}), "accepted"),
        (json!({}), json!({"options": {"maxRowsPerFile": 500_001}}), "INVALID_REQUEST"),
        (json!({}), json!({"options": {"maxRowsPerSecond": 0}}), "INVALID_REQUEST"),
        (json!({"limit": null}), json!({}), "INVALID_REQUEST"),
        (json!({"dataset": null}), json!({}), "INVALID_REQUEST"),
    ] {
        let data = request(search, outer);
        assert_eq!(code(&data), want, "{}", data.to_string().chars().take(200).collect::<String>());
    }
    let limits = Limits { message_bytes_max: 20, ..Limits::default() };
    let error = DownloadRequest::from_body(b"{\"x\":\"aaaaaaaaaaaaaa\"}", &limits).unwrap_err();
    assert_eq!(error.code, ErrorCode::BodyTooLarge);
}

#[test]
fn numbers_are_told_apart_as_they_are_written() {
    let good = request(json!({}), json!({})).to_string();
    for (limit, want) in [("5", true), ("5.0", false), ("5e0", false), ("-5", false), ("\"5\"", false)] {
        let text = good.replace("\"filters\":[]", &format!("\"filters\":[],\"limit\":{limit}"));
        let read = DownloadRequest::from_body(text.as_bytes(), &Limits::default());
        assert_eq!(read.is_ok(), want, "{limit}");
    }
}

#[test]
fn repeated_members_are_refused_wherever_they_are() {
    let good = request(json!({}), json!({})).to_string();
    for (find, put, path, want) in [
        (
            "\"compression\":false",
            "\"compression\":false,\"compression\":false",
            "/compression",
            "INVALID_REQUEST",
        ),
        ("\"filters\":[]", "\"filters\":[],\"filters\":[]", "/searchParams/filters", "INVALID_REQUEST"),
        ("\"filters\":[]", "\"filters\":[],\"x-a\":1,\"x-a\":1", "/searchParams/x-a", "INVALID_REQUEST"),
        (
            "\"filters\":[]",
            "\"filters\":[],\"x-a\":[{\"b\":1,\"b\":1}]",
            "/searchParams/x-a/0/b",
            "INVALID_REQUEST",
        ),
        (
            "\"filters\":[]",
            "\"filters\":[{\"field\":\"id\",\"op\":\"eq\",\"op\":\"eq\",\"value\":1}]",
            "/searchParams/filters/0/op",
            "INVALID_FILTER",
        ),
        ("\"filters\":[]", "\"filters\":[],\"a/b~c\":1", "/searchParams/a~1b~0c", "INVALID_REQUEST"),
    ] {
        let text = good.replace(find, put);
        let defaults = Defaults::default();
        let find = |_: Option<&str>| Lookup::Found { name: "logs".into(), schema: schema() };
        let error = DownloadRequest::from_body(text.as_bytes(), &defaults.limits)
            .and_then(|r| r.resolve(&find, &defaults))
            .unwrap_err();
        assert_eq!((error.code.as_str(), error.path()), (want, Some(path)), "{text}");
    }
    for bad in ["{", "[]", "", "1", "{} x", "{\"a\":\"\\ud800\"}"] {
        let error = DownloadRequest::from_body(bad.as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!(error.code, ErrorCode::MalformedMessage, "{bad}");
    }
    assert_eq!(
        DownloadRequest::from_body(b"{\"\xff\":1}", &Limits::default()).unwrap_err().code,
        ErrorCode::MalformedMessage
    );
}

#[test]
fn a_huge_unknown_name_does_not_make_a_huge_answer() {
    let data = request(json!({}), json!({"y".repeat(100_000): 1}));
    let answer = serde_json::to_string(&judge(&data).unwrap_err()).unwrap();
    assert!(answer.len() < 1000, "{}", answer.len());
}

#[test]
fn filter_builders_write_what_resolves() {
    use crate::RequestFilter as F;
    let (a, b) = (F::leaf("id", "eq", 1), F::leaf("user", "startsWith", "x"));
    let filter = F::or(&[F::and(&[a.clone(), b.clone()]), b.negate()]);
    let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
    let request = DownloadRequest::new(from, to, Format::Json).filter(filter).sort("id", SortOrder::Desc);
    let find = |_: Option<&str>| Lookup::Found { name: "logs".into(), schema: schema() };
    let query = request.resolve(&find, &Defaults::default()).unwrap().query;
    let Some(Filter::Or(list)) = query.filters.first() else { panic!("{query:?}") };
    assert!(matches!(list.as_slice(), [Filter::And(_), Filter::Not(_)]));
    assert!(F::from_json("[]").is_err() && F::from_json("{\"a\"").is_err());
    assert_eq!(F::from_json(" {\"field\" : \"id\", \"op\":\"eq\",\"value\":1.0}").unwrap(), a);
}

proptest::proptest! {
    /// A request built from any valid parts reads back as it was built.
    #[test]
    fn prop_roundtrip_requests(
        from in -60_000_000_000_i64..250_000_000_000, len in 1_i64..1_000_000,
        columns in proptest::option::of(proptest::collection::btree_set("[a-z~/\"é]{1,8}", 1..5)),
        limit in proptest::option::of(1_u64..9_007_199_254_740_991), value in ".{0,20}",
    ) {
        let to = Timestamp::from_millis((from + len) * 1000);
        let mut request = DownloadRequest::new(Timestamp::from_millis(from * 1000), to, Format::Csv)
            .filter(crate::RequestFilter::leaf("user", "eq", &value));
        if let Some(columns) = columns { request = request.columns(columns); }
        if let Some(limit) = limit { request = request.limit(limit); }
        let text = serde_json::to_string(&request).unwrap();
        proptest::prop_assert_eq!(DownloadRequest::from_body(text.as_bytes(), &Limits::default()), Ok(request));
    }

    /// Requests with parts cut out, doubled or swapped never panic.
    #[test]
    fn prop_never_panics_on_broken_requests(cut in 0_usize..400, len in 0_usize..40, put in ".{0,6}") {
        let mut text = request(
            serde_json::json!({"filters": [{"and": [{"field": "id", "op": "in", "value": [1, "2"]}]}]}),
            serde_json::json!({"options": {"csv": {"header": true}}}),
        ).to_string();
        let cut = cut.min(text.len());
        text.replace_range(cut..(cut + len).min(text.len()), &put);
        crate::fuzz::fuzz_request(text.as_bytes());
        let _ = serde_json::from_str(&text).map(|data: Value| judge(&data));
    }
}
