//! Rows as text: the output bytes of protocol section 7, for CSV, JSON and NDJSON.
//!
//! One typed loop a batch, row by row into one buffer. A dictionary value is escaped once and then copied.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use spandrel_download_protocol::{Column, ColumnType, CsvOptions, Format, Output};

use crate::cells::{Cells, Data};
use crate::digits::{self, NUMBER_ROOM};
use crate::error::row_end;
use crate::escape::Escape;
use crate::stamp::Stamp;
use crate::{ExportError, Text};

/// Turns batches of the output columns into text. Not shared between threads: each worker has its own.
#[derive(Debug)]
pub struct RowWriter {
    format: Format,
    csv: CsvOptions,
    names: Vec<String>,
    kinds: Vec<ColumnType>,
    columns: Vec<ColumnWriter>,
}

/// How rows follow each other in the buffer.
#[derive(Debug)]
pub enum Join<'a> {
    /// Separators between rows, none before the first: a run of rows as it stands in a file.
    Together,
    /// No separators; the end of every row is added to the list, so that rows can be put in another order.
    Apart(&'a mut Vec<u32>),
}

impl RowWriter {
    /// A writer of `columns` in the format and dialect of `output`.
    pub fn new(columns: &[Column], output: &Output) -> Self {
        let json = output.format != Format::Csv;
        let writers = columns.iter().enumerate().map(|(i, column)| {
            let mut before = Vec::new();
            if json {
                before.push(if i == 0 { b'{' } else { b',' });
                Escape::Json.write(&column.name, &mut before);
                before.push(b':');
            } else if i > 0 {
                before.push(output.csv.delimiter);
            }
            let escape = if json { Escape::Json } else { Escape::csv(&output.csv) };
            let precision = column.precision.unwrap_or(3);
            ColumnWriter {
                before: Piece::new(&before),
                stamp: Stamp::new(precision, output.time_zone),
                quote: json,
                null: if json { b"null" } else { b"" },
                escape,
                dictionary: Dictionary::default(),
                scratch: Vec::new(),
            }
        });
        Self {
            format: output.format,
            csv: output.csv,
            names: columns.iter().map(|c| c.name.clone()).collect(),
            kinds: columns.iter().map(|c| c.kind).collect(),
            columns: writers.collect(),
        }
    }

    /// Appends what a part begins with: byte order mark and header row, or the opening bracket.
    pub fn begin_part(&self, out: &mut Text) {
        match self.format {
            Format::Csv => {
                if self.csv.bom {
                    out.push("\u{feff}".as_bytes());
                }
                if self.csv.header {
                    // The guard is for data: names are the operator's own words.
                    let plain = Escape::csv(&CsvOptions { formula_guard: false, ..self.csv });
                    let mut line = Vec::new();
                    for (i, name) in self.names.iter().enumerate() {
                        if i > 0 {
                            line.push(self.csv.delimiter);
                        }
                        plain.write(name, &mut line);
                    }
                    line.extend_from_slice(b"\r\n");
                    out.push(&line);
                }
            }
            Format::Json => out.push(b"["),
            Format::Ndjson => {}
        }
    }

    /// Appends what a part ends with; an array without rows closes on its first line.
    pub fn end_part(&self, rows: u64, out: &mut Text) {
        if self.format == Format::Json {
            out.push(if rows == 0 { b"]\n" } else { b"\n]\n" });
        }
    }

    /// What stands between the beginning of a part and its first row, or between two rows.
    pub fn separator(&self, is_first: bool) -> &'static [u8] {
        match (self.format, is_first) {
            (Format::Json, true) => b"\n",
            (Format::Json, false) => b",\n",
            (Format::Csv | Format::Ndjson, _) => b"",
        }
    }

    /// Appends rows of a batch that has the output columns in order.
    ///
    /// # Errors
    /// [`ExportError::Type`] or [`ExportError::Columns`] when the batch is not what was asked for.
    pub fn write(
        &mut self,
        batch: &RecordBatch,
        rows: Range<usize>,
        mut join: Join<'_>,
        out: &mut Text,
    ) -> Result<(), ExportError> {
        let cells = Cells::of_batch(&self.kinds, batch)?;
        for (column, cells) in self.columns.iter_mut().zip(&cells) {
            column.dictionary.look_at(cells);
        }
        let (end, between): (&[u8], &[u8]) = match (self.format, &join) {
            (Format::Csv, _) => (b"\r\n", b""),
            (Format::Ndjson, _) => (b"}\n", b""),
            (Format::Json, Join::Together) => (b"}", b",\n"),
            (Format::Json, Join::Apart(_)) => (b"}", b""),
        };
        let (end, first) = (Piece::new(end), rows.start);
        // Without columns there is nobody to open the object.
        let open: &[u8] = if self.columns.is_empty() && self.format != Format::Csv { b"{" } else { b"" };
        let rows = rows.start..rows.end.min(batch.num_rows());
        for row in rows {
            if row > first && !between.is_empty() {
                out.push(between);
            }
            if !open.is_empty() {
                out.push(open);
            }
            for (column, cells) in self.columns.iter_mut().zip(&cells) {
                column.before.put(out);
                column.write(cells, row, out);
            }
            end.put(out);
            if let Join::Apart(ends) = &mut join {
                ends.push(row_end(out.len())?);
            }
        }
        Ok(())
    }
}

/// A short text that is copied as one block of 32 bytes.
#[derive(Debug)]
struct Piece {
    block: [u8; 32],
    len: usize,
    long: Vec<u8>,
}

impl Piece {
    fn new(text: &[u8]) -> Self {
        let mut block = [0; 32];
        for (slot, b) in block.iter_mut().zip(text) {
            *slot = *b;
        }
        Self { block, len: text.len(), long: if text.len() > 32 { text.to_vec() } else { Vec::new() } }
    }

    #[inline]
    fn put(&self, out: &mut Text) {
        if self.len <= 32 { out.push_short(&self.block, self.len) } else { out.push(&self.long) }
    }
}

#[derive(Debug)]
struct ColumnWriter {
    /// The delimiter, or `{"name":` and `,"name":`.
    before: Piece,
    stamp: Stamp,
    /// Whether decimals and timestamps stand between quotes.
    quote: bool,
    null: &'static [u8],
    escape: Escape,
    dictionary: Dictionary,
    scratch: Vec<u8>,
}

impl ColumnWriter {
    #[inline]
    fn write(&mut self, cells: &Cells, row: usize, out: &mut Text) {
        if cells.is_null(row) {
            return out.push(self.null);
        }
        match &cells.data {
            Data::Int(values) => {
                let v = values.get(row).copied().unwrap_or_default();
                out.with(NUMBER_ROOM, |o, at| digits::signed(o, at, v));
            }
            Data::Float(values) => {
                let v = values.get(row).copied().unwrap_or_default();
                if v.is_finite() {
                    out.with(NUMBER_ROOM, |o, at| digits::float(o, at, v));
                } else {
                    out.push(self.null);
                }
            }
            Data::Time { values, per_s } => {
                let v = values.get(row).copied().unwrap_or_default();
                let stamp = &mut self.stamp;
                quoted(self.quote, out, |o, at| stamp.write(o, at, v, *per_s));
            }
            Data::WideTime(values) => {
                let v = values.get(row).copied().unwrap_or_default();
                let stamp = &mut self.stamp;
                quoted(self.quote, out, |o, at| stamp.write_wide(o, at, v));
            }
            Data::Decimal128 { values, scale } => {
                let v = values.get(row).copied().unwrap_or_default();
                match (u64::try_from(v.unsigned_abs()), usize::try_from(*scale)) {
                    (Ok(small), Ok(scale @ 0..=18)) => {
                        quoted(self.quote, out, |o, at| digits::decimal(o, at, v < 0, small, scale));
                    }
                    _ => self.long_decimal(&v.to_string(), *scale, out),
                }
            }
            Data::Decimal256 { values, scale } => {
                let v = values.get(row).copied().unwrap_or_default();
                self.long_decimal(&v.to_string(), *scale, out);
            }
            Data::DecimalText(array) => {
                let text = array.value(row);
                // Whatever else a source lets through is escaped like text, so that it stays inside its cell.
                if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'-' | b'.')) {
                    return self.text(text, out);
                }
                let quote: &[u8] = if self.quote { b"\"" } else { b"" };
                out.push(quote);
                out.push(text.as_bytes());
                out.push(quote);
            }
            Data::Bool(array) => out.push(if array.value(row) { b"true" } else { b"false" }),
            Data::Dictionary { keys, .. } => {
                let key = usize::try_from(keys.get(row).copied().unwrap_or_default()).unwrap_or(0);
                self.dictionary.put(key, &self.escape, out);
            }
            Data::Text(array) => self.text(array.value(row), out),
        }
    }

    #[inline]
    fn text(&mut self, text: &str, out: &mut Text) {
        if !self.escape.is_plain(text) {
            self.scratch.clear();
            self.escape.write(text, &mut self.scratch);
            return out.push(&self.scratch);
        }
        if self.quote {
            out.push(b"\"");
            out.push(text.as_bytes());
            out.push(b"\"");
        } else {
            out.push(text.as_bytes());
        }
    }

    /// Decimals past 64 bits or 18 fraction digits.
    #[cold]
    fn long_decimal(&self, unscaled: &str, scale: i8, out: &mut Text) {
        let quote: &[u8] = if self.quote { b"\"" } else { b"" };
        out.push(quote);
        digits::long_decimal(out, unscaled, scale);
        out.push(quote);
    }
}

#[inline]
fn quoted(quote: bool, out: &mut Text, write: impl FnOnce(&mut [u8], usize) -> usize) {
    out.with(NUMBER_ROOM, |o, at| {
        if quote {
            let at = digits::byte(o, at, b'"');
            let at = write(o, at);
            digits::byte(o, at, b'"')
        } else {
            write(o, at)
        }
    });
}

/// Bytes of escaped dictionary values kept. Values that come up later are escaped each time: a dictionary of long
/// texts would otherwise hold up to six times its own size.
const ARENA_BYTES_MAX: usize = 8 << 20;

/// Escaped values of the dictionary seen last, made as keys come up.
#[derive(Debug, Default)]
struct Dictionary {
    values: Option<ArrayRef>,
    /// Where each value stands in the arena.
    spans: Vec<Option<Span>>,
    /// Every value is followed by at least 32 bytes, so that short ones are copied as one block.
    arena: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    len: u32,
}

const PADDING: [u8; 32] = [0; 32];

impl Dictionary {
    /// Keeps what is escaped already while batches share a dictionary.
    fn look_at(&mut self, cells: &Cells) {
        let Data::Dictionary { values, .. } = &cells.data else { return };
        if self.values.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, values)) {
            return;
        }
        self.values = Some(Arc::clone(values));
        self.arena.clear();
        self.spans.clear();
        self.spans.resize(values.len(), None);
    }

    #[inline]
    fn put(&mut self, key: usize, escape: &Escape, out: &mut Text) {
        let span = match self.spans.get(key) {
            Some(Some(span)) => *span,
            _ => match self.add(key, escape) {
                Some(span) => span,
                None => return self.put_once(key, escape, out),
            },
        };
        let start = span.start as usize;
        let short = self.arena.get(start..start + 32).and_then(|s| s.first_chunk::<32>());
        match short {
            Some(block) if span.len <= 32 => out.push_short(block, span.len as usize),
            _ => out.push(self.arena.get(start..start + span.len as usize).unwrap_or(&[])),
        }
    }

    fn text(&self, key: usize) -> &str {
        let values: Option<&StringArray> = self.values.as_ref().map(|v| v.as_string::<i32>());
        values.filter(|v| key < v.len()).map_or("", |v| v.value(key))
    }

    /// `None` when the arena is full.
    #[cold]
    fn add(&mut self, key: usize, escape: &Escape) -> Option<Span> {
        let start = self.arena.len();
        if start + self.text(key).len() > ARENA_BYTES_MAX {
            return None;
        }
        let mut arena = std::mem::take(&mut self.arena);
        escape.write(self.text(key), &mut arena);
        let len = arena.len() - start;
        arena.extend_from_slice(&PADDING);
        self.arena = arena;
        let span = Span { start: u32::try_from(start).ok()?, len: u32::try_from(len).ok()? };
        if let Some(slot) = self.spans.get_mut(key) {
            *slot = Some(span);
        }
        Some(span)
    }

    #[cold]
    fn put_once(&self, key: usize, escape: &Escape, out: &mut Text) {
        let mut escaped = Vec::new();
        escape.write(self.text(key), &mut escaped);
        out.push(&escaped);
    }
}
