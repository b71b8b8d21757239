//! A checked request: names resolved against a schema, values typed, ready to run.
//!
//! [`Query`] says which rows and columns, [`Output`] says which bytes. Both are plain data without
//! wire spellings; they come out of `DownloadRequest::resolve`.

use serde::Serialize;

use crate::{Timestamp, UtcOffset, Value};

/// Rows and columns of an export.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// First instant inside the range.
    pub from: Timestamp,
    /// First instant past the range; greater than `from`.
    pub to: Timestamp,
    /// Joined by AND; empty matches every row.
    pub filters: Vec<Filter>,
    /// Columns to print, as schema indexes, 1 to 256, no repeats.
    pub columns: Vec<usize>,
    /// Leading sort keys, at most 4; time and source order always follow.
    pub sort: Vec<SortKey>,
    /// Most rows to print, counted after sorting.
    pub limit: Option<u64>,
}

/// One sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// Schema index.
    pub column: usize,
    /// Direction; NaN and then nulls come last in both.
    pub order: SortOrder,
}

/// Direction of a sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SortOrder {
    /// Smallest first.
    Asc,
    /// Largest first.
    Desc,
}

/// A filter with its column resolved and its values typed (protocol section 6).
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// One test on one column.
    Leaf {
        /// Schema index.
        column: usize,
        /// What is asked of the cell.
        test: Test,
    },
    /// All of them; never empty.
    And(Vec<Self>),
    /// At least one of them; never empty.
    Or(Vec<Self>),
    /// The opposite.
    Not(Box<Self>),
}

/// What a leaf asks of a cell. On a null cell all are false but `Ne` and `Exists(false)`.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Equal.
    Eq(Value),
    /// Not equal; true for null.
    Ne(Value),
    /// Less than.
    Lt(Value),
    /// Less than or equal.
    Lte(Value),
    /// Greater than.
    Gt(Value),
    /// Greater than or equal.
    Gte(Value),
    /// Equal to one of 1 to 1000 values.
    In(Vec<Value>),
    /// Between, both ends included.
    Between(Value, Value),
    /// String column: holds this text.
    Contains(String),
    /// String column: begins with this text.
    StartsWith(String),
    /// `true`: not null; `false`: null.
    Exists(bool),
}

/// File format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// RFC 4180.
    Csv,
    /// One array of row objects.
    Json,
    /// One row object a line.
    Ndjson,
}

/// Compression of the output files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// One-member gzip (RFC 1952).
    Gzip,
    /// Zstandard frames (RFC 8878).
    Zstd,
}

/// CSV dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CsvOptions {
    /// Begin every part with a row of column names.
    pub header: bool,
    /// One of `,` `;` tab `|`.
    pub delimiter: u8,
    /// Begin every part with a byte order mark.
    pub bom: bool,
    /// Put `'` before text that a spreadsheet would run as a formula.
    pub formula_guard: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { header: true, delimiter: b',', bom: false, formula_guard: false }
    }
}

/// Bytes of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// File format.
    pub format: Format,
    /// Compression, if asked for.
    pub codec: Option<Codec>,
    /// Offset for printed timestamps.
    pub time_zone: UtcOffset,
    /// Rows in a part; `None` writes one part whatever its length (the protocol caps it at 500,000).
    pub rows_per_part: Option<u64>,
    /// Pace in rows per second; `None` runs as fast as it can.
    pub rows_per_s: Option<u64>,
    /// CSV dialect; no effect on other formats.
    pub csv: CsvOptions,
}

impl Output {
    /// Uncompressed `format` in UTC, default dialect, one part, unpaced.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            codec: None,
            time_zone: UtcOffset::Zulu,
            rows_per_part: None,
            rows_per_s: None,
            csv: CsvOptions::default(),
        }
    }
}
