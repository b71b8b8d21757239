//! The table of section 15: which Arrow type becomes which logical type, and what its cells print.

use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::i256;
use arrow_schema::{DataType, Field, Fields};
use parquet::file::properties::WriterProperties;
use spandrel_download_protocol::{Column, ColumnType, Filter, Test, UtcOffset, Value};
use spandrel_source_parquet::{DatasetConfig, open};

use crate::{all, batch, config, current, kinds, printed, refusal, text, write};

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// A file of a time column and one more, two values and a null.
fn file_of(array: ArrayRef) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1, 2, 3]));
    write(
        &folder.path().join("x.parquet"),
        &[batch([("t", time), ("x", array)])],
        WriterProperties::default(),
    );
    folder
}

#[test]
fn every_type_of_the_table_is_read_and_printed() {
    use ColumnType as K;
    let small = |v: Vec<Option<i128>>, p, s| -> ArrayRef {
        Arc::new(Decimal128Array::from(v).with_precision_and_scale(p, s).unwrap())
    };
    let dictionary: DictionaryArray<Int8Type> = vec![Some("b"), Some("a"), None].into_iter().collect();
    let wide = i256::from_string(&"9".repeat(76)).unwrap();
    let keyed_ints = DictionaryArray::<Int16Type>::try_new(
        Int16Array::from(vec![Some(1), Some(0), None]),
        Arc::new(Int32Array::from(vec![-7, 8])),
    );
    let keyed_dates = DictionaryArray::<Int32Type>::try_new(
        Int32Array::from(vec![Some(1), Some(0), None]),
        Arc::new(Date32Array::from(vec![0, 19_783])),
    );
    let us = TimestampMicrosecondArray::from(vec![Some(-1), Some(1), None]);
    let cases: Vec<(ArrayRef, ColumnType, Option<u8>, [&str; 2])> = vec![
        (Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])), K::Bool, None, ["true", "false"]),
        (Arc::new(StringArray::from(vec![Some("é,"), Some(""), None])), K::String, None, ["\"é,\"", "\"\""]),
        (Arc::new(LargeStringArray::from(vec![Some("a"), Some("b"), None])), K::String, None, ["a", "b"]),
        (Arc::new(StringViewArray::from(vec![Some("a"), Some("b"), None])), K::String, None, ["a", "b"]),
        (Arc::new(Int8Array::from(vec![Some(-128), Some(127), None])), K::Int, None, ["-128", "127"]),
        (Arc::new(Int16Array::from(vec![Some(-32_768), Some(7), None])), K::Int, None, ["-32768", "7"]),
        (Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(7), None])), K::Int, None, ["-2147483648", "7"]),
        (
            Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
            K::Int,
            None,
            ["-9223372036854775808", "9223372036854775807"],
        ),
        (Arc::new(UInt8Array::from(vec![Some(255), Some(0), None])), K::Int, None, ["255", "0"]),
        (Arc::new(UInt16Array::from(vec![Some(65_535), Some(0), None])), K::Int, None, ["65535", "0"]),
        (Arc::new(UInt32Array::from(vec![Some(u32::MAX), Some(0), None])), K::Int, None, ["4294967295", "0"]),
        (
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(0), None])),
            K::Decimal,
            None,
            ["18446744073709551615", "0"],
        ),
        (
            Arc::new(Float16Array::from(vec![Some(F16::from_f32(0.1)), Some(F16::INFINITY), None])),
            K::Float,
            None,
            ["0.0999755859375", ""],
        ),
        (
            Arc::new(Float32Array::from(vec![Some(0.1), Some(-0.0), None])),
            K::Float,
            None,
            ["0.10000000149011612", "0"],
        ),
        (Arc::new(Float64Array::from(vec![Some(1e21), Some(f64::NAN), None])), K::Float, None, ["1e+21", ""]),
        (
            Arc::new(
                Decimal32Array::from(vec![Some(-5), Some(150), None]).with_precision_and_scale(9, 2).unwrap(),
            ),
            K::Decimal,
            None,
            ["-0.05", "1.50"],
        ),
        (
            Arc::new(
                Decimal64Array::from(vec![Some(-5), Some(150), None])
                    .with_precision_and_scale(18, 3)
                    .unwrap(),
            ),
            K::Decimal,
            None,
            ["-0.005", "0.150"],
        ),
        (small(vec![Some(-5), Some(150), None], 9, 2), K::Decimal, None, ["-0.05", "1.50"]),
        (small(vec![Some(-5), Some(150), None], 18, 0), K::Decimal, None, ["-5", "150"]),
        (
            small(vec![Some(10_i128.pow(37)), Some(-1), None], 38, 38),
            K::Decimal,
            None,
            ["0.10000000000000000000000000000000000000", "-0.00000000000000000000000000000000000001"],
        ),
        (
            Arc::new(
                Decimal256Array::from(vec![Some(wide), Some(i256::MINUS_ONE), None])
                    .with_precision_and_scale(76, 1)
                    .unwrap(),
            ),
            K::Decimal,
            None,
            ["999999999999999999999999999999999999999999999999999999999999999999999999999.9", "-0.1"],
        ),
        (
            Arc::new(TimestampSecondArray::from(vec![Some(-1), Some(1), None])),
            K::Timestamp,
            Some(0),
            ["1969-12-31T23:59:59Z", "1970-01-01T00:00:01Z"],
        ),
        (
            Arc::new(TimestampMillisecondArray::from(vec![Some(-1), Some(1), None])),
            K::Timestamp,
            Some(3),
            ["1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.001Z"],
        ),
        (
            Arc::new(us.clone()),
            K::Timestamp,
            Some(6),
            ["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000001Z"],
        ),
        (
            Arc::new(us.with_timezone("+09:00")),
            K::Timestamp,
            Some(6),
            ["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000001Z"],
        ),
        (
            Arc::new(TimestampNanosecondArray::from(vec![Some(i64::MIN), Some(1), None])),
            K::Timestamp,
            Some(9),
            ["1677-09-21T00:12:43.145224192Z", "1970-01-01T00:00:00.000000001Z"],
        ),
        (
            Arc::new(Date32Array::from(vec![Some(19_783), Some(-1), None])),
            K::String,
            None,
            ["2024-03-01", "1969-12-31"],
        ),
        (
            Arc::new(Date32Array::from(vec![Some(i32::MAX), Some(i32::MIN), None])),
            K::String,
            None,
            ["+5881580-07-11", "-5877641-06-23"],
        ),
        (
            Arc::new(Date64Array::from(vec![Some(19_783 * 86_400_000), Some(-86_400_000), None])),
            K::String,
            None,
            ["2024-03-01", "1969-12-31"],
        ),
        (
            Arc::new(Time32SecondArray::from(vec![Some(86_399), Some(0), None])),
            K::String,
            None,
            ["23:59:59", "00:00:00"],
        ),
        (
            Arc::new(Time32MillisecondArray::from(vec![Some(1), Some(86_399_999), None])),
            K::String,
            None,
            ["00:00:00.001", "23:59:59.999"],
        ),
        (
            Arc::new(Time64MicrosecondArray::from(vec![Some(1), Some(3_600_000_000), None])),
            K::String,
            None,
            ["00:00:00.000001", "01:00:00.000000"],
        ),
        (
            Arc::new(Time64NanosecondArray::from(vec![Some(1), Some(60_000_000_000), None])),
            K::String,
            None,
            ["00:00:00.000000001", "00:01:00.000000000"],
        ),
        (
            Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), Some(b""), None])),
            K::String,
            None,
            ["00ff", "\"\""],
        ),
        (
            Arc::new(LargeBinaryArray::from(vec![Some(&b"\x0a"[..]), Some(b"z"), None])),
            K::String,
            None,
            ["0a", "7a"],
        ),
        (
            Arc::new(BinaryViewArray::from(vec![Some(&b"\x0a"[..]), Some(b"z"), None])),
            K::String,
            None,
            ["0a", "7a"],
        ),
        (
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    [Some([0x12, 0xab]), Some([0, 1]), None].into_iter(),
                    2,
                )
                .unwrap(),
            ),
            K::String,
            None,
            ["12ab", "0001"],
        ),
        (Arc::new(dictionary), K::String, None, ["b", "a"]),
        (Arc::new(keyed_ints.unwrap()), K::Int, None, ["8", "-7"]),
        (Arc::new(keyed_dates.unwrap()), K::String, None, ["2024-03-01", "1970-01-01"]),
        (Arc::new(NullArray::new(3)), K::String, None, ["", ""]),
    ];
    for (array, kind, precision, [first, second]) in cases {
        let what = format!("{}", array.data_type());
        let folder = file_of(Arc::clone(&array));
        let source = open(config(folder.path())).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(kinds(&*source)[1], ("x".to_owned(), kind, precision), "{what}");
        let stamp = |ms| format!("1970-01-01T00:00:00.00{ms}Z");
        let want = format!("{},{first}\r\n{},{second}\r\n{},\r\n", stamp(1), stamp(2), stamp(3));
        assert_eq!(text(&*source), want, "{what}");
        cells_are_found_by_their_own_value(&*source, &array, kind, &what);
    }
}

/// Statistics are asked too, so a wrong reading of them would lose the row.
fn cells_are_found_by_their_own_value(
    source: &dyn spandrel_export::Source,
    array: &ArrayRef,
    kind: ColumnType,
    what: &str,
) {
    let rows = current(source);
    let query = all(&source.schema());
    let read = spandrel_export::Read { query: &query, columns: &[1], batch_rows: 100 };
    let unit = rows.plan(&query).unwrap().units[0].clone();
    let batch = rows.open(&read, &unit).unwrap().next().unwrap().unwrap();
    assert_eq!(batch.num_rows(), array.len());
    for row in 0..array.len() {
        let value = spandrel_export::value_at(kind, batch.column(0), row).unwrap();
        let Some(value) = value.filter(|v| !matches!(v, Value::Float(f) if !f.is_finite())) else { continue };
        for test in [
            Test::Eq(value.clone()),
            Test::Lte(value.clone()),
            Test::Gte(value.clone()),
            Test::In(vec![value.clone()]),
            Test::Between(value.clone(), value.clone()),
        ] {
            if kind == ColumnType::Bool && !matches!(test, Test::Eq(_)) {
                continue;
            }
            let filters = vec![Filter::Leaf { column: 1, test }];
            let query = spandrel_download_protocol::Query { filters, columns: vec![0], ..query.clone() };
            let (found, _) = printed(&*rows, &query).unwrap();
            let want = format!("1970-01-01T00:00:00.00{}Z", row + 1);
            assert!(found.contains(&want), "{what}: {value:?} is not found by {:?}", query.filters);
        }
    }
}

#[test]
fn int96_is_nanoseconds() {
    use parquet::data_type::{Int96, Int96Type};
    use parquet::file::writer::SerializedFileWriter;
    let folder = tempfile::tempdir().unwrap();
    let schema = parquet::schema::parser::parse_message_type("message m { OPTIONAL INT96 t; }").unwrap();
    let file = std::fs::File::create(folder.path().join("x.parquet")).unwrap();
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(schema), Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let mut value = Int96::new();
    // 5 ns after midnight of Julian day 2440589, 1970-01-02.
    value.set_data(5, 0, 2_440_589);
    column.typed::<Int96Type>().write_batch(&[value], Some(&[1, 0]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    for scan in [true, false] {
        let source = open(DatasetConfig { scan, ..config(folder.path()) }).unwrap();
        assert_eq!(kinds(&*source), [("t".to_owned(), ColumnType::Timestamp, Some(9))]);
        assert_eq!(
            text(&*source),
            "1970-01-02T00:00:00.000000005Z\r\n",
            "a row without a time never matches"
        );
    }
}

#[test]
fn wall_clocks_and_dates_are_of_the_assumed_zone() {
    let folder = tempfile::tempdir().unwrap();
    let clock: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![Some(0), None]));
    let zoned: ArrayRef =
        Arc::new(TimestampMillisecondArray::from(vec![Some(0), None]).with_timezone("Asia/Seoul"));
    let date: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), None]));
    let columns = [("clock", clock), ("zoned", zoned), ("date", date)];
    write(&folder.path().join("x.parquet"), &[batch(columns)], WriterProperties::default());
    let seoul = DatasetConfig { assume_zone: UtcOffset::Minutes(540), ..config(folder.path()) };
    let source = open(seoul.clone()).unwrap();
    assert_eq!(text(&*source), "1969-12-31T15:00:00.000Z,1970-01-01T00:00:00.000Z,1970-01-02\r\n");
    // As the time column, a date is its first instant in that zone.
    let by_date = DatasetConfig { time_column: Some("date".to_owned()), ..seoul };
    let source = open(by_date.clone()).unwrap();
    assert_eq!(kinds(&*source)[2], ("date".to_owned(), ColumnType::Timestamp, Some(0)));
    assert_eq!(text(&*source), "1969-12-31T15:00:00.000Z,1970-01-01T00:00:00.000Z,1970-01-01T15:00:00Z\r\n");
    // So it is where the configuration says so.
    let listed = vec![Column::timestamp("date", 3), Column::new("zoned", ColumnType::Timestamp)];
    let source = open(DatasetConfig { columns: Some(listed), time_column: None, ..by_date }).unwrap();
    assert_eq!(text(&*source), "1970-01-01T15:00:00.000Z,1970-01-01T00:00:00.000Z\r\n");
}

#[test]
fn nested_columns_are_left_out_and_asking_for_them_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let inner: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let fields = Fields::from(vec![Field::new("inner", DataType::Int32, true)]);
    let structs: ArrayRef = Arc::new(StructArray::new(fields, vec![inner], None));
    let lists: ArrayRef =
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), Some(2)])]));
    let after: ArrayRef = Arc::new(Int64Array::from(vec![9]));
    let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1]));
    let columns = [("s", structs), ("l", lists), ("after", after), ("t", time)];
    write(&folder.path().join("x.parquet"), &[batch(columns)], WriterProperties::default());
    let source = open(config(folder.path())).unwrap();
    let names: Vec<String> = kinds(&*source).into_iter().map(|k| k.0).collect();
    assert_eq!(names, ["after", "t"]);
    // Leaves before them do not shift what is read.
    assert_eq!(text(&*source), "9,1970-01-01T00:00:00.001Z\r\n");
    let asked = DatasetConfig {
        columns: Some(vec![Column::timestamp("t", 3), Column::new("s", ColumnType::String)]),
        ..config(folder.path())
    };
    assert_eq!(refusal(asked), "data set d: x.parquet has no column \"s\" of a type that can be offered");
}

#[test]
fn configured_columns_select_order_and_set_precision() {
    let folder = tempfile::tempdir().unwrap();
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_234_567]));
    let (a, b): (ArrayRef, ArrayRef) =
        (Arc::new(Int32Array::from(vec![1])), Arc::new(StringArray::from(vec!["two"])));
    write(
        &folder.path().join("x.parquet"),
        &[batch([("t", time), ("a", a), ("b", b)])],
        WriterProperties::default(),
    );
    let with = |columns: Vec<Column>| DatasetConfig { columns: Some(columns), ..config(folder.path()) };
    let source = open(with(vec![Column::new("b", ColumnType::String), Column::timestamp("t", 1)])).unwrap();
    assert_eq!(text(&*source), "two,1970-01-01T00:00:01.2Z\r\n");
    let time = || Column::timestamp("t", 3);
    for (config, want) in [
        (
            with(vec![time(), Column::new("c", ColumnType::Int)]),
            "x.parquet has no column \"c\" of a type that can be offered",
        ),
        (
            with(vec![time(), Column::new("a", ColumnType::String)]),
            "x.parquet: column \"a\" is configured as string but the file holds int",
        ),
        (with(vec![time(), time()]), "x.parquet: two columns have the same name"),
        (
            with(vec![Column::new("a", ColumnType::Int)]),
            "x.parquet has no timestamp column: name one with \"timeColumn\"",
        ),
        (
            DatasetConfig { time_column: Some("a".to_owned()), ..config(folder.path()) },
            "the time column \"a\" of x.parquet has type int, not timestamp",
        ),
        (
            DatasetConfig { time_column: Some("z".to_owned()), ..config(folder.path()) },
            "the time column \"z\" is not among the columns of x.parquet",
        ),
    ] {
        assert_eq!(refusal(config), format!("data set d: {want}"));
    }
}

#[test]
fn files_that_differ_in_a_used_column_are_refused_by_name() {
    let time = || -> ArrayRef { Arc::new(TimestampMillisecondArray::from(vec![1])) };
    let int = || -> ArrayRef { Arc::new(Int32Array::from(vec![1])) };
    let long: ArrayRef = Arc::new(Int64Array::from(vec![1 << 40]));
    let two = |first: RecordBatch, second: RecordBatch| {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("a.parquet"), &[first], WriterProperties::default());
        write(&folder.path().join("b.parquet"), &[second], WriterProperties::default());
        folder
    };
    let text_column: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
    for (second, want) in [
        (batch([("t", time()), ("x", text_column)]), "column \"x\" has type Utf8, not one of int"),
        (batch([("t", time())]), "column \"x\" is missing"),
        (
            batch([("t", micros), ("x", int())]),
            "column \"t\" has 6 fraction digits, in the first file 3: set its \"precision\" in \"columns\"",
        ),
    ] {
        let folder = two(batch([("t", time()), ("x", int())]), second);
        let file = folder.path().join("b.parquet");
        assert_eq!(refusal(config(folder.path())), format!("data set d: {}: {want}", file.display()));
    }
    // Integers of any width are one type, columns may stand elsewhere, and unused ones do not count.
    let more: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let folder =
        two(batch([("t", time()), ("x", int())]), batch([("more", more), ("x", long), ("t", time())]));
    let source = open(config(folder.path())).unwrap();
    assert_eq!(text(&*source), "1970-01-01T00:00:00.001Z,1\r\n1970-01-01T00:00:00.001Z,1099511627776\r\n");
}
