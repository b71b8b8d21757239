//! Listed cells and their exact text, listed filters and the rows they pick.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use serde_json::{Value as Json, json};
use spandrel_download_protocol::{
    Column, ColumnType, Defaults, DownloadRequest, Filter, Format, Limits, Lookup, Output, Query,
    RequestFilter, Schema, SortKey, SortOrder, Timestamp, UtcOffset,
};
use spandrel_export::{Join, KeyWriter, Predicate, RowWriter, Text};

const RENDERING: &str = include_str!("../data/rendering.json");
const FLOATS: &str = include_str!("../data/floats.json");
const FILTERS: &str = include_str!("../../../spandrel-download-protocol/tests/data/filters.json");

fn file(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// The whole part: beginning, rows, end.
fn part(columns: &[Column], batch: &RecordBatch, output: &Output) -> String {
    let (mut writer, mut text) = (RowWriter::new(columns, output), Text::new());
    writer.begin_part(&mut text);
    if batch.num_rows() > 0 {
        text.push(writer.separator(true));
    }
    writer.write(batch, 0..batch.num_rows(), Join::Together, &mut text).unwrap();
    writer.end_part(batch.num_rows() as u64, &mut text);
    String::from_utf8(text.as_bytes().to_vec()).unwrap()
}

fn rows(columns: &[Column], batch: &RecordBatch, output: &Output) -> String {
    let (mut writer, mut text) = (RowWriter::new(columns, output), Text::new());
    writer.write(batch, 0..batch.num_rows(), Join::Together, &mut text).unwrap();
    String::from_utf8(text.as_bytes().to_vec()).unwrap()
}

fn schema() -> Schema {
    let columns: Vec<Column> = serde_json::from_value(file(FILTERS)["columns"].clone()).unwrap();
    Schema::new(columns, 1).unwrap()
}

/// Columns of the listed rows: integers and decimals are strings there, times microseconds or RFC 3339.
fn array(kind: ColumnType, cells: &[&Json]) -> ArrayRef {
    let texts = || cells.iter().map(|c| c.as_str());
    match kind {
        ColumnType::Int => {
            Arc::new(texts().map(|t| t.map(|t| t.parse::<i64>().unwrap())).collect::<Int64Array>())
        }
        ColumnType::Timestamp => {
            let us = |c: &Json| match c {
                Json::String(t) => i64::try_from(Timestamp::parse(t).unwrap().nanos() / 1000).ok(),
                other => other.as_i64(),
            };
            Arc::new(cells.iter().map(|c| us(c)).collect::<TimestampMicrosecondArray>())
        }
        ColumnType::Bool => Arc::new(cells.iter().map(|c| c.as_bool()).collect::<BooleanArray>()),
        _ => Arc::new(texts().collect::<StringArray>()),
    }
}

fn listed_batch(schema: &Schema, rows: &[Vec<Json>]) -> RecordBatch {
    let column = |(i, c): (usize, &Column)| {
        let cells: Vec<&Json> = rows.iter().map(|row| &row[i]).collect();
        (c.name.clone(), array(c.kind, &cells), true)
    };
    RecordBatch::try_from_iter_with_nullable(schema.columns().iter().enumerate().map(column)).unwrap()
}

#[test]
fn listed_rows_print_as_listed() {
    let (file, schema) = (file(RENDERING), schema());
    for row in file["rows"].as_array().unwrap() {
        let cells: Vec<Json> = row["cells"].as_array().unwrap().clone();
        let batch = listed_batch(&schema, &[cells]);
        let csv = |change: &dyn Fn(&mut Output)| {
            let mut output = Output::new(Format::Csv);
            change(&mut output);
            rows(schema.columns(), &batch, &output)
        };
        let zone = Output { time_zone: UtcOffset::Minutes(540), ..Output::new(Format::Csv) };
        let found = [
            csv(&|_| ()),
            csv(&|o| o.csv.formula_guard = true),
            csv(&|o| o.csv.delimiter = b';'),
            csv(&|o| o.csv.delimiter = b'\t'),
            csv(&|o| o.csv.delimiter = b'|'),
            rows(schema.columns(), &batch, &Output::new(Format::Ndjson)),
            rows(&schema.columns()[1..2], &batch.project(&[1]).unwrap(), &zone),
        ];
        for ((found, want), what) in
            found.iter().zip(row["texts"].as_array().unwrap()).zip(file["texts"].as_array().unwrap())
        {
            let end = if what == "json" { "\n" } else { "\r\n" };
            assert_eq!(found.strip_suffix(end), want.as_str(), "{what}");
        }
    }
}

#[test]
fn precision_cuts_digits_off() {
    for listed in file(RENDERING)["precision"].as_array().unwrap() {
        let us = listed[0].as_i64().unwrap();
        let batch = RecordBatch::try_from_iter([(
            "t",
            Arc::new(TimestampMicrosecondArray::from(vec![us])) as ArrayRef,
        )])
        .unwrap();
        let columns = [Column::timestamp("t", u8::try_from(listed[1].as_u64().unwrap()).unwrap())];
        for (zone, want) in [(UtcOffset::Zulu, &listed[2]), (UtcOffset::Minutes(-210), &listed[3])] {
            let output = Output { time_zone: zone, ..Output::new(Format::Csv) };
            let text = rows(&columns, &batch, &output);
            assert_eq!(text.strip_suffix("\r\n"), want.as_str());
        }
    }
}

#[test]
fn parts_are_complete_by_themselves() {
    let columns = [Column::new("id", ColumnType::Int), Column::new("user", ColumnType::String)];
    let two = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, i64::MIN])) as ArrayRef),
        ("user", Arc::new(StringArray::from(vec![None, Some("")])) as ArrayRef),
    ])
    .unwrap();
    let none = two.slice(0, 0);
    let headless = |o: &mut Output| o.csv.header = false;
    let marked = |o: &mut Output| o.csv.bom = true;
    let nothing = |_: &mut Output| ();
    type Change<'a> = &'a dyn Fn(&mut Output);
    for (format, change, batch, want) in [
        (Format::Csv, &nothing as Change<'_>, &none, "id,user\r\n"),
        (Format::Csv, &headless, &none, ""),
        (Format::Csv, &marked, &none, "\u{feff}id,user\r\n"),
        (Format::Csv, &nothing, &two, "id,user\r\n1,\r\n-9223372036854775808,\"\"\r\n"),
        (Format::Json, &nothing, &none, "[]\n"),
        (
            Format::Json,
            &nothing,
            &two,
            "[\n{\"id\":1,\"user\":null},\n{\"id\":-9223372036854775808,\"user\":\"\"}\n]\n",
        ),
        (Format::Ndjson, &nothing, &none, ""),
        (
            Format::Ndjson,
            &nothing,
            &two,
            "{\"id\":1,\"user\":null}\n{\"id\":-9223372036854775808,\"user\":\"\"}\n",
        ),
    ] {
        let mut output = Output::new(format);
        change(&mut output);
        assert_eq!(part(&columns, batch, &output), want);
    }
}

#[test]
fn names_are_quoted_and_escaped_but_never_guarded() {
    let name = "=a \"b\",\n".to_owned() + &"long ".repeat(20);
    let columns = [Column::new(name.clone(), ColumnType::Int), Column::new("", ColumnType::Int)];
    let one = Arc::new(Int64Array::from(vec![7])) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("a", Arc::clone(&one)), ("b", one)]).unwrap();
    let mut output = Output::new(Format::Csv);
    output.csv.formula_guard = true;
    let want = format!("\"{}\",\"\"\r\n7,7\r\n", name.replace('"', "\"\""));
    assert_eq!(part(&columns, &batch, &output), want);
    let text = part(&columns, &batch, &Output::new(Format::Ndjson));
    assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), json!({name: 7, "": 7}));
}

#[test]
fn a_null_alone_is_an_empty_line() {
    let batch =
        RecordBatch::try_from_iter([("m", Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef)])
            .unwrap();
    let columns = [Column::new("m", ColumnType::String)];
    assert_eq!(rows(&columns, &batch, &Output::new(Format::Csv)), "\r\n");
}

fn float_columns() -> [Column; 2] {
    [Column::timestamp("t", 0), Column::new("x", ColumnType::Float)]
}

#[test]
fn listed_floats_print_as_listed() {
    let file = file(FLOATS);
    let columns = &float_columns()[1..];
    let check = |value: f64, listed: &Json| {
        let batch =
            RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(vec![value])) as ArrayRef)])
                .unwrap();
        let csv = rows(columns, &batch, &Output::new(Format::Csv));
        assert_eq!(csv.strip_suffix("\r\n"), listed[1].as_str(), "{listed}");
        let want = format!("{{\"x\":{}}}\n", listed[2].as_str().unwrap());
        assert_eq!(rows(columns, &batch, &Output::new(Format::Ndjson)), want);
    };
    for listed in file["text"].as_array().unwrap() {
        check(f64::from_bits(u64::from_str_radix(listed[0].as_str().unwrap(), 16).unwrap()), listed);
    }
    for listed in file["widened"].as_array().unwrap() {
        let narrow = f32::from_bits(u32::from_str_radix(listed[0].as_str().unwrap(), 16).unwrap());
        check(f64::from(narrow), listed);
    }
}

/// Resolves one filter the way a request does.
fn resolve(schema: &Schema, filter: &Json) -> Filter {
    let schema = Arc::new(schema.clone());
    let find = |_: Option<&str>| Lookup::Found { name: "d".into(), schema: Arc::clone(&schema) };
    let request = DownloadRequest::new(Timestamp::from_millis(0), Timestamp::from_millis(1), Format::Csv)
        .filter(RequestFilter::from_json(&filter.to_string()).unwrap());
    let text = serde_json::to_string(&request).unwrap();
    let request = DownloadRequest::from_body(text.as_bytes(), &Limits::default()).unwrap();
    request.resolve(&find, &Defaults::default()).unwrap().query.filters.remove(0)
}

fn picked(schema: &Schema, filter: Filter, batch: &RecordBatch) -> Vec<usize> {
    let predicate = Predicate::new(filter, schema);
    let bits = predicate.evaluate(&batch.project(predicate.columns()).unwrap()).unwrap();
    bits.set_indices().collect()
}

#[test]
fn listed_filters_pick_the_listed_rows() {
    let (file, schema) = (file(FILTERS), schema());
    let rows: Vec<Vec<Json>> = serde_json::from_value(file["rows"].clone()).unwrap();
    let text = listed_batch(&schema, &rows);
    // The same decimals as 128-bit integers of nine fraction digits.
    let price = schema.index_of("price").unwrap();
    let scaled = |t: &str| {
        let (whole, fraction) = t.split_once('.').unwrap_or((t, ""));
        format!("{whole}{fraction:0<9}").parse::<i128>().unwrap()
    };
    let prices: Decimal128Array = rows.iter().map(|r| r[price].as_str().map(scaled)).collect();
    let mut arrays = text.columns().to_vec();
    arrays[price] = Arc::new(prices.with_precision_and_scale(38, 9).unwrap());
    let names = schema.columns().iter().map(|c| c.name.clone());
    let binary =
        RecordBatch::try_from_iter_with_nullable(names.zip(arrays).map(|(n, a)| (n, a, true))).unwrap();
    for listed in file["matches"].as_array().unwrap() {
        let want: Vec<usize> = serde_json::from_value(listed[1].clone()).unwrap();
        for batch in [&text, &binary] {
            assert_eq!(picked(&schema, resolve(&schema, &listed[0]), batch), want, "{}", listed[0]);
        }
    }
}

fn listed_floats(file: &Json) -> (Schema, RecordBatch) {
    let bits = |c: &Json| c.as_str().map(|t| f64::from_bits(u64::from_str_radix(t, 16).unwrap()));
    let cells: Float64Array = file["cells"].as_array().unwrap().iter().map(bits).collect();
    let times = TimestampMicrosecondArray::from(vec![0; arrow_array::Array::len(&cells)]);
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("t", Arc::new(times) as ArrayRef, true),
        ("x", Arc::new(cells) as ArrayRef, true),
    ]);
    (Schema::new(float_columns().to_vec(), 0).unwrap(), batch.unwrap())
}

#[test]
fn listed_float_filters_pick_the_listed_cells() {
    let file = file(FLOATS);
    let (schema, batch) = listed_floats(&file);
    for listed in file["matches"].as_array().unwrap() {
        let filter = json!({"field": "x", "op": listed[0], "value": listed[1]});
        let want: Vec<usize> = serde_json::from_value(listed[2].clone()).unwrap();
        assert_eq!(picked(&schema, resolve(&schema, &filter), &batch), want, "{filter}");
    }
}

/// Rows in the order of `sort` on column 1, ties by row.
fn sorted(schema: &Schema, batch: &RecordBatch, order: SortOrder) -> Vec<usize> {
    let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
    let sort = vec![SortKey { column: 1, order }];
    let query = Query { from, to, filters: vec![], columns: vec![1], sort, limit: None };
    let keys = KeyWriter::new(&query, schema);
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    keys.write(&batch.project(keys.columns()).unwrap(), &mut bytes, &mut ends).unwrap();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let keys: Vec<&[u8]> = starts.zip(&ends).map(|(a, b)| &bytes[a as usize..*b as usize]).collect();
    let mut rows: Vec<usize> = (0..batch.num_rows()).collect();
    rows.sort_by_key(|r| keys[*r]);
    rows
}

#[test]
fn listed_floats_sort_as_listed() {
    let file = file(FLOATS);
    let (schema, batch) = listed_floats(&file);
    for (order, name) in [(SortOrder::Asc, "ascending"), (SortOrder::Desc, "descending")] {
        let want: Vec<usize> = serde_json::from_value(file[name].clone()).unwrap();
        assert_eq!(sorted(&schema, &batch, order), want, "{name}");
    }
}

#[test]
fn every_type_sorts_by_value_with_nulls_last() {
    let (text, decimal) = (ColumnType::String, ColumnType::Decimal);
    // U+FFFF sorts before U+10000 by code point, after it in UTF-16.
    let texts = vec![Some("b"), None, Some(""), Some("a\0b"), Some("\u{10000}"), Some("a"), Some("\u{ffff}")];
    let decimals =
        vec![Some("10"), Some("9.99"), None, Some("-0.5"), Some("-0.50"), Some("0.00"), Some("-12")];
    for (kind, cells, ascending, descending) in [
        (text, texts, vec![2, 5, 3, 0, 6, 4, 1], vec![4, 6, 0, 3, 5, 2, 1]),
        (decimal, decimals, vec![6, 3, 4, 5, 1, 0, 2], vec![0, 1, 5, 3, 4, 6, 2]),
    ] {
        let schema = Schema::new(vec![Column::timestamp("t", 0), Column::new("x", kind)], 0).unwrap();
        let times = TimestampMicrosecondArray::from(vec![0; cells.len()]);
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("t", Arc::new(times) as ArrayRef, true),
            ("x", Arc::new(StringArray::from(cells)) as ArrayRef, true),
        ])
        .unwrap();
        assert_eq!(sorted(&schema, &batch, SortOrder::Asc), ascending, "{kind:?}");
        assert_eq!(sorted(&schema, &batch, SortOrder::Desc), descending, "{kind:?}");
    }
    let schema = Schema::new(vec![Column::timestamp("t", 0), Column::new("x", ColumnType::Bool)], 0).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable([
        // Ties go by time, ascending in both directions.
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![3, 1, 2, 0])) as ArrayRef, true),
        (
            "x",
            Arc::new(BooleanArray::from(vec![Some(true), Some(true), None, Some(false)])) as ArrayRef,
            true,
        ),
    ])
    .unwrap();
    assert_eq!(sorted(&schema, &batch, SortOrder::Asc), vec![3, 1, 0, 2]);
    assert_eq!(sorted(&schema, &batch, SortOrder::Desc), vec![1, 0, 3, 2]);
}
