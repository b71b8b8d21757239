//! Prints three rows as CSV, JSON and NDJSON, those a filter picks, and a gzip file of them:
//! `cargo run -p spandrel-export --example rows_as_text`.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_select::filter::filter_record_batch;
use spandrel_download_protocol::{
    Codec, Column, ColumnType, Filter, Format, Output, Schema, Test, UtcOffset, Value,
};
use spandrel_export::{ChunkCompressor, Join, Predicate, RowWriter, Text, crc32, file_header, file_trailer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let columns = vec![
        Column::timestamp("time", 6),
        Column::new("level", ColumnType::String),
        Column::new("bytes", ColumnType::Int),
    ];
    let schema = Schema::new(columns, 0).ok_or("names repeat")?;
    let time = TimestampMicrosecondArray::from(vec![1_709_251_200_123_456, 1_709_251_201_000_000, -1]);
    let batch = RecordBatch::try_from_iter([
        ("time", Arc::new(time) as ArrayRef),
        ("level", Arc::new(StringArray::from(vec!["INFO", "=WARN()", "say \"hi\"\n"]))),
        ("bytes", Arc::new(Int64Array::from(vec![Some(512), None, Some(-7)]))),
    ])?;

    let mut guarded = Output::new(Format::Csv);
    (guarded.csv.delimiter, guarded.csv.formula_guard) = (b';', true);
    let seoul = Output { time_zone: UtcOffset::Minutes(540), ..Output::new(Format::Csv) };
    let mut out = io::stdout();
    for output in
        [Output::new(Format::Csv), guarded, seoul, Output::new(Format::Json), Output::new(Format::Ndjson)]
    {
        out.write_all(part(&schema, &batch, &output)?.as_bytes())?;
        writeln!(out)?;
    }

    // Only rows with more than 100 bytes; a null never passes.
    let predicate = Predicate::new(Filter::Leaf { column: 2, test: Test::Gt(Value::Int(100)) }, &schema);
    let bits = predicate.evaluate(&batch.project(predicate.columns())?)?;
    let picked = filter_record_batch(&batch, &arrow_array::BooleanArray::new(bits, None))?;
    let text = part(&schema, &picked, &Output::new(Format::Csv))?;
    out.write_all(text.as_bytes())?;

    // One gzip member: header, chunks, trailer.
    let mut file = file_header(Some(Codec::Gzip)).to_vec();
    ChunkCompressor::new(Codec::Gzip)?.chunk(text.as_bytes(), &mut file)?;
    file.extend(file_trailer(Some(Codec::Gzip), crc32(text.as_bytes()), text.len() as u64));
    writeln!(out, "{} bytes of text, {} as .gz", text.len(), file.len())?;
    Ok(())
}

/// A whole part: its beginning, the rows, its end.
fn part(schema: &Schema, batch: &RecordBatch, output: &Output) -> Result<Text, spandrel_export::ExportError> {
    let (mut writer, mut text) = (RowWriter::new(schema.columns(), output), Text::new());
    writer.begin_part(&mut text);
    if batch.num_rows() > 0 {
        text.push(writer.separator(true));
    }
    writer.write(batch, 0..batch.num_rows(), Join::Together, &mut text)?;
    writer.end_part(batch.num_rows() as u64, &mut text);
    Ok(text)
}
