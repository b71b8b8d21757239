//! Data sets of real files: every type of column, snapshots over time, pruning, the CSV dialect, messages.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod csv;
mod finding;
mod pruning;
mod real;
mod snapshots;
mod types;

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use spandrel_download_protocol::{Column, ColumnType, Filter, Format, Output, Query, Schema, Timestamp};
use spandrel_export::{Join, Read, RowWriter, Rows, Source, SourceError, Text};
use spandrel_source_parquet::{DatasetConfig, open};

/// Every row and column.
fn all(schema: &Schema) -> Query {
    Query {
        from: Timestamp::from_nanos(i128::MIN),
        to: Timestamp::from_nanos(i128::MAX),
        filters: Vec::new(),
        columns: (0..schema.columns().len()).collect(),
        sort: Vec::new(),
        limit: None,
    }
}

fn between(schema: &Schema, from: &str, to: &str, filters: Vec<Filter>) -> Query {
    let time = |t| Timestamp::parse(t).unwrap();
    Query { from: time(from), to: time(to), filters, ..all(schema) }
}

/// What an export of the query prints as CSV without header, rows in source order, and the rows looked at.
fn printed(rows: &dyn Rows, query: &Query) -> Result<(String, u64), SourceError> {
    let schema = rows.schema();
    let columns: Vec<Column> = query.columns.iter().map(|c| schema.column(*c).unwrap().clone()).collect();
    let (mut writer, mut text) = (RowWriter::new(&columns, &Output::new(Format::Csv)), Text::new());
    let plan = rows.plan(query)?;
    let (mut scanned, mut found) = (0, 0);
    for unit in &plan.units {
        let read = Read { query, columns: &query.columns, batch_rows: 1_000 };
        let mut batches = rows.open(&read, unit)?;
        while let Some(batch) = batches.next() {
            let batch = batch?;
            found += batch.num_rows() as u64;
            writer.write(&batch, 0..batch.num_rows(), Join::Together, &mut text).unwrap();
        }
        assert!(batches.scanned() <= unit.rows, "a unit says how many rows it looks at, at most");
        scanned += batches.scanned();
    }
    assert!(plan.rows_exact.is_none_or(|exact| exact == found), "{:?} {found}", plan.rows_exact);
    assert!(found <= scanned && scanned <= plan.rows_scanned_max());
    Ok((String::from_utf8(text.as_bytes().to_vec()).unwrap(), scanned))
}

fn current(source: &dyn Source) -> Arc<dyn Rows> {
    source.rows(&source.snapshot()).unwrap()
}

/// All rows of a data set as CSV.
fn text(source: &dyn Source) -> String {
    printed(&*current(source), &all(&source.schema())).unwrap().0
}

fn kinds(source: &dyn Source) -> Vec<(String, ColumnType, Option<u8>)> {
    source.schema().columns().iter().map(|c| (c.name.clone(), c.kind, c.precision)).collect()
}

fn write(path: &Path, batches: &[RecordBatch], properties: WriterProperties) {
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).unwrap();
    batches.iter().for_each(|b| writer.write(b).unwrap());
    writer.close().unwrap();
}

fn batch(columns: impl IntoIterator<Item = (&'static str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
}

fn config(path: impl AsRef<Path>) -> DatasetConfig {
    DatasetConfig::new("d", path.as_ref())
}

fn refusal(config: DatasetConfig) -> String {
    open(config).map(|s| kinds(&*s)).unwrap_err().to_string()
}

/// A client never sees a folder of the server, nor what is in a file.
fn assert_tells_no_path(error: &SourceError, folder: &Path) {
    let told = error.to_string();
    assert!(!told.contains(folder.to_str().unwrap()), "{told}");
    assert!(!told.contains('/'), "{told}");
}
