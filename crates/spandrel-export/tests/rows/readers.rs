//! What was written, read again by readers of other people.

use std::sync::Arc;

use arrow_array::{ArrayRef, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray};
use proptest::prelude::*;
use serde_json::Value as Json;
use spandrel_download_protocol::{Column, ColumnType, Format, Output, Timestamp, UtcOffset, Value};
use spandrel_export::{ExportError, Join, RowWriter, Text};

use crate::made::{self, Made, SHAPES, made};

fn written(columns: &[Column], batch: &RecordBatch, output: &Output) -> Vec<u8> {
    let (mut writer, mut text) = (RowWriter::new(columns, output), Text::new());
    writer.begin_part(&mut text);
    if batch.num_rows() > 0 {
        text.push(writer.separator(true));
    }
    // In two runs, as units of a plan follow each other.
    let middle = batch.num_rows() / 2;
    writer.write(batch, 0..middle, Join::Together, &mut text).expect("the columns fit");
    if middle > 0 {
        text.push(writer.separator(false));
    }
    writer.write(batch, middle..batch.num_rows(), Join::Together, &mut text).expect("the columns fit");
    writer.end_part(batch.num_rows() as u64, &mut text);
    text.as_bytes().to_vec()
}

/// The text a reader must find; `None` for null.
fn plain(column: &Made, row: usize) -> Option<String> {
    Some(match column.cells[row].as_ref()? {
        Value::String(t) => t.clone(),
        Value::Int(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        Value::Decimal(_) => column.stored[row].clone()?,
        Value::Timestamp(t) => rfc3339(*t),
        Value::Float(v) if v.is_finite() => return Some(format!("{v:?}")),
        Value::Float(_) => return None,
    })
}

fn rfc3339(time: Timestamp) -> String {
    let mut out = Vec::new();
    spandrel_download_protocol::write_timestamp(&mut out, time, 9, UtcOffset::Minutes(-210));
    String::from_utf8(out).expect("ASCII")
}

fn rows() -> impl Strategy<Value = Vec<Option<(i128, String)>>> {
    prop::collection::vec(made::raw(), 0..12)
}

proptest! {
    /// The csv crate reads every cell back, whatever the delimiter, guarded or not.
    #[test]
    fn prop_csv_reads_back(raw in rows(), delimiter in prop::sample::select(b",;\t|".to_vec()), guard in any::<bool>()) {
        let columns: Vec<Made> = SHAPES.iter().map(|s| made(*s, &raw)).collect();
        let mut output = Output { time_zone: UtcOffset::Minutes(-210), ..Output::new(Format::Csv) };
        (output.csv.delimiter, output.csv.formula_guard) = (delimiter, guard);
        let text = written(&made::columns(&columns), &made::batch(&columns), &output);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(false).from_reader(text.as_slice());
        prop_assert_eq!(reader.headers().unwrap().len(), columns.len());
        let records: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(records.len(), raw.len());
        for (row, record) in records.iter().enumerate() {
            for (column, found) in columns.iter().zip(record) {
                let want = plain(column, row).unwrap_or_default();
                match &column.cells[row] {
                    Some(Value::Float(v)) if v.is_finite() => {
                        let back: f64 = found.parse().unwrap();
                        prop_assert!(back.to_bits() == (v + 0.0).to_bits(), "{} {}", v, found);
                    }
                    Some(Value::String(_)) if guard && want.starts_with(FORMULA) => {
                        prop_assert_eq!(found, format!("'{want}"));
                    }
                    _ => prop_assert_eq!(found, want),
                }
            }
        }
    }

    /// Null and the empty string stay apart: only one of them has quotes.
    #[test]
    fn prop_csv_null_is_not_empty(cells in prop::collection::vec(prop::option::of(Just("")), 1..6)) {
        let batch = RecordBatch::try_from_iter(
            cells.iter().enumerate().map(|(i, c)| (i.to_string(), Arc::new(StringArray::from(vec![*c])) as ArrayRef)),
        ).unwrap();
        let columns: Vec<Column> =
            (0..cells.len()).map(|i| Column::new(i.to_string(), ColumnType::String)).collect();
        let mut output = Output::new(Format::Csv);
        output.csv.header = false;
        let text = String::from_utf8(written(&columns, &batch, &output)).unwrap();
        let want: Vec<&str> = cells.iter().map(|c| if c.is_some() { "\"\"" } else { "" }).collect();
        prop_assert_eq!(text, want.join(",") + "\r\n");
    }

    /// serde_json reads every cell back, from an array and from lines.
    #[test]
    fn prop_json_reads_back(raw in rows()) {
        let columns: Vec<Made> = SHAPES.iter().map(|s| made(*s, &raw)).collect();
        let (schema, batch) = (made::columns(&columns), made::batch(&columns));
        let output = |format| Output { time_zone: UtcOffset::Minutes(-210), ..Output::new(format) };
        let lines = String::from_utf8(written(&schema, &batch, &output(Format::Ndjson))).unwrap();
        let array = String::from_utf8(written(&schema, &batch, &output(Format::Json))).unwrap();
        // Line breaks stand between rows only.
        prop_assert_eq!(lines.matches('\n').count(), raw.len());
        let rows: Vec<Json> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        prop_assert_eq!(&serde_json::from_str::<Vec<Json>>(&array).unwrap(), &rows);
        for (row, object) in rows.iter().enumerate() {
            let object = object.as_object().unwrap();
            prop_assert_eq!(object.len(), columns.len());
            for (column, name) in columns.iter().zip(schema.iter().map(|c| &c.name)) {
                let (found, want) = (&object[name], plain(column, row));
                match (&column.cells[row], want) {
                    (_, None) => prop_assert!(found.is_null()),
                    (Some(Value::Int(v)), _) => prop_assert_eq!(found.as_i64(), Some(*v)),
                    (Some(Value::Bool(v)), _) => prop_assert_eq!(found.as_bool(), Some(*v)),
                    // serde_json is one unit off at times: floats have their own property.
                    (Some(Value::Float(_)), _) => prop_assert!(found.is_number()),
                    (_, Some(want)) => prop_assert_eq!(found.as_str(), Some(want.as_str())),
                }
            }
        }
    }

    /// A printed float has the bits it had, minus zero aside; JSON and CSV print the same.
    #[test]
    fn prop_floats_keep_their_bits(bits in prop::collection::vec(any::<u64>(), 1..20)) {
        let values: Vec<f64> = bits.iter().map(|b| f64::from_bits(*b)).collect();
        let batch = RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(values.clone())) as ArrayRef)]).unwrap();
        let columns = [Column::new("x", ColumnType::Float)];
        let csv = String::from_utf8(written(&columns, &batch, &Output::new(Format::Csv))).unwrap();
        let json = String::from_utf8(written(&columns, &batch, &Output::new(Format::Ndjson))).unwrap();
        for ((value, csv), json) in values.iter().zip(csv.split("\r\n").skip(1)).zip(json.lines()) {
            let json = json.strip_prefix("{\"x\":").and_then(|t| t.strip_suffix('}')).unwrap();
            if value.is_finite() {
                prop_assert_eq!(csv.parse::<f64>().unwrap().to_bits(), (value + 0.0).to_bits());
                prop_assert_eq!(csv, json);
            } else {
                prop_assert_eq!((csv, json), ("", "null"));
            }
        }
    }

    /// Rows written apart are the rows written together, without what stands between them.
    #[test]
    fn prop_rows_apart_join_to_rows_together(raw in rows()) {
        let columns: Vec<Made> = SHAPES.iter().map(|s| made(*s, &raw)).collect();
        let (schema, batch) = (made::columns(&columns), made::batch(&columns));
        for format in [Format::Csv, Format::Json, Format::Ndjson] {
            let mut writer = RowWriter::new(&schema, &Output::new(format));
            let (mut together, mut apart, mut ends) = (Text::new(), Text::new(), Vec::new());
            let all = 0..batch.num_rows();
            writer.write(&batch, all.clone(), Join::Together, &mut together).unwrap();
            writer.write(&batch, all, Join::Apart(&mut ends), &mut apart).unwrap();
            prop_assert_eq!(ends.len(), raw.len());
            let starts = std::iter::once(0).chain(ends.iter().map(|e| *e as usize));
            let rows: Vec<&[u8]> =
                starts.zip(&ends).map(|(from, to)| &apart.as_bytes()[from..*to as usize]).collect();
            prop_assert_eq!(rows.join(writer.separator(false)), together.as_bytes());
        }
    }
}

const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

#[test]
fn a_dictionary_too_large_to_keep_escaped_is_written_all_the_same() {
    // Control characters grow sixfold: 3 MiB of text pass the 8 MiB that are kept.
    let texts: Vec<String> = (0..3_u32).map(|i| "\u{1}".repeat(1 << 20) + &i.to_string()).collect();
    let keys = Int32Array::from(vec![0, 1, 2, 2, 1, 0]);
    let dictionary = DictionaryArray::try_new(keys, Arc::new(StringArray::from(texts.clone()))).unwrap();
    let batch = RecordBatch::try_from_iter([("x", Arc::new(dictionary) as ArrayRef)]).unwrap();
    let text = written(&[Column::new("x", ColumnType::String)], &batch, &Output::new(Format::Json));
    let rows: Vec<Json> = serde_json::from_slice(&text).unwrap();
    let found: Vec<&str> = rows.iter().map(|r| r["x"].as_str().unwrap()).collect();
    let want: Vec<&str> = [0, 1, 2, 2, 1, 0].iter().map(|i| texts[*i].as_str()).collect();
    assert!(found == want);
}

#[test]
fn a_writer_follows_dictionaries_that_change_between_batches() {
    let batch = |texts: Vec<&str>| {
        let dictionary =
            DictionaryArray::try_new(Int32Array::from(vec![1, 0]), Arc::new(StringArray::from(texts)))
                .unwrap();
        RecordBatch::try_from_iter([("x", Arc::new(dictionary) as ArrayRef)]).unwrap()
    };
    let columns = [Column::new("x", ColumnType::String)];
    let (mut writer, mut text) = (RowWriter::new(&columns, &Output::new(Format::Csv)), Text::new());
    for (texts, want) in [(vec!["a", "b"], "b\r\na\r\n"), (vec!["c,", "d"], "d\r\n\"c,\"\r\n")] {
        text.clear();
        writer.write(&batch(texts), 0..2, Join::Together, &mut text).unwrap();
        assert_eq!(text.as_bytes(), want.as_bytes());
    }
}

#[test]
fn text_where_digits_belong_cannot_break_out_of_its_cell() {
    let batch =
        RecordBatch::try_from_iter([("x", Arc::new(StringArray::from(vec!["1\",\"y\":\"2"])) as ArrayRef)])
            .unwrap();
    let text = written(&[Column::new("x", ColumnType::Decimal)], &batch, &Output::new(Format::Ndjson));
    assert_eq!(serde_json::from_slice::<Json>(&text).unwrap()["x"], "1\",\"y\":\"2");
}

#[test]
fn a_batch_of_another_shape_is_refused_by_name() {
    let batch =
        RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)]).unwrap();
    let refused = |columns: &[Column]| {
        let mut writer = RowWriter::new(columns, &Output::new(Format::Csv));
        writer.write(&batch, 0..1, Join::Together, &mut Text::new()).unwrap_err()
    };
    let wrong = refused(&[Column::new("x", ColumnType::Int)]);
    assert_eq!(wrong.to_string(), "a Int column cannot come as arrow Float64; convert it in the source");
    assert!(matches!(refused(&[]), ExportError::Columns { expected: 0, found: 1 }));
}

#[test]
fn rows_past_the_batch_and_no_columns_write_nothing_wrong() {
    let batch =
        RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)]).unwrap();
    let columns = [Column::new("x", ColumnType::Float)];
    let mut text = Text::new();
    let mut writer = RowWriter::new(&columns, &Output::new(Format::Ndjson));
    writer.write(&batch, 0..100, Join::Together, &mut text).unwrap();
    writer.write(&batch, 5..100, Join::Together, &mut text).unwrap();
    assert_eq!(text.as_bytes(), b"{\"x\":1}\n");
    text.clear();
    let none = batch.project(&[]).unwrap();
    RowWriter::new(&[], &Output::new(Format::Ndjson)).write(&none, 0..1, Join::Together, &mut text).unwrap();
    assert_eq!(text.as_bytes(), b"{}\n");
}
