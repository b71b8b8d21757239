//! Filters, row order and row writers (CSV, JSON, NDJSON) over Arrow batches.
//!
//! [`Predicate`] says which rows of a batch pass, [`may_match`] whether statistics rule all of them out, [`KeyWriter`]
//! turns the sort columns of a row into bytes that compare like the row, [`RowWriter`] prints rows, [`ChunkCompressor`]
//! packs printed chunks so that they can be joined to one file. [`Source`] is what a store of rows must offer.
//!
//! Never opens a file, reads a clock or starts a thread: batches come in, bits and bytes go out, and equal inputs give
//! equal outputs, whatever the number of workers. Never converts types either: a source hands over the few arrays of
//! the table below, anything else is [`ExportError::Type`].
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
//! use spandrel_download_protocol::{Column, ColumnType, Filter, Format, Output, Query, Schema, Test, Timestamp, Value};
//! use spandrel_export::{Join, KeyWriter, Predicate, RowWriter, Text};
//!
//! let schema = Schema::new(vec![
//!     Column::timestamp("time", 3),
//!     Column::new("user", ColumnType::String),
//!     Column::new("price", ColumnType::Float),
//! ], 0).unwrap();
//! let batch = RecordBatch::try_from_iter([
//!     ("time", Arc::new(TimestampMillisecondArray::from(vec![1_000, 0])) as ArrayRef),
//!     ("user", Arc::new(StringArray::from(vec![Some("Kim, \"K\""), None]))),
//!     ("price", Arc::new(Float64Array::from(vec![99.5, 1e21]))),
//! ])?;
//!
//! // Rows as CSV text: null is an empty field, text is quoted where it must be.
//! let mut writer = RowWriter::new(schema.columns(), &Output::new(Format::Csv));
//! let mut text = Text::new();
//! writer.begin_part(&mut text);
//! writer.write(&batch, 0..2, Join::Together, &mut text)?;
//! assert_eq!(text.as_bytes(), "time,user,price\r\n\
//!     1970-01-01T00:00:01.000Z,\"Kim, \"\"K\"\"\",99.5\r\n\
//!     1970-01-01T00:00:00.000Z,,1e+21\r\n".as_bytes());
//!
//! // A filter sees its own columns only.
//! let test = Test::Lt(Value::Float(100.0));
//! let predicate = Predicate::new(Filter::Leaf { column: 2, test }, &schema);
//! let bits = predicate.evaluate(&batch.project(predicate.columns())?)?;
//! assert_eq!(bits.iter().collect::<Vec<_>>(), [true, false]);
//!
//! // Keys of rows compare as bytes: without a sort, by time.
//! let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(5_000));
//! let query = Query { from, to, filters: vec![], columns: vec![0, 1, 2], sort: vec![], limit: None };
//! let keys = KeyWriter::new(&query, &schema);
//! let (mut bytes, mut ends) = (Vec::new(), Vec::new());
//! keys.write(&batch.project(keys.columns())?, &mut bytes, &mut ends)?;
//! let (first, second) = bytes.split_at(ends[0] as usize);
//! assert!(second < first, "the second row is earlier");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The bytes are specified in the download protocol, version 1: sections 5 (order, compression), 6 (filters) and 7
//! (values, CSV, JSON, NDJSON).
//!
//! | logical type | Arrow arrays |
//! |---|---|
//! | bool | Boolean |
//! | string | Utf8, Dictionary(Int32, Utf8) |
//! | int | Int64 |
//! | decimal | Decimal128, Decimal256, Utf8 (digits as stored, each cell its own scale) |
//! | float | Float64 |
//! | timestamp | Timestamp of any unit, Decimal128 with scale 0 (nanoseconds beyond 64 bits) |
//!
//! Limits: the rows of one batch take at most 4 GiB of text or keys where their ends are listed
//! ([`ExportError::BatchTooLong`]); 8 MiB of escaped dictionary values are kept for a column, further ones are escaped
//! each time. A writer holds nothing else that grows with the rows.
//!
//! Reading order: `cells` (typed views), `predicate`, `keys`, `digits` and `stamp` (numbers and times as text),
//! `escape`, `writer`, `compress`, `deflate` and `frames`, `source`.

mod cells;
mod compress;
mod deflate;
mod digits;
mod error;
mod escape;
mod frames;
mod keys;
mod predicate;
mod source;
mod stamp;
mod text;
mod writer;

pub use cells::{time_extent, times, value_at};
pub use compress::{ChunkCompressor, crc32, crc32_join, file_header, file_trailer};
pub use error::ExportError;
pub use keys::KeyWriter;
pub use predicate::{Bounds, Predicate, columns_of, may_match, time_filter, value_cmp};
pub use source::{Batches, Facts, Order, Plan, Read, Rows, Source, SourceError, Unit};
pub use text::Text;
pub use writer::{Join, RowWriter};
