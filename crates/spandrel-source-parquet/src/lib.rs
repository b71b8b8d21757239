//! Rows from Parquet and CSV files: one file, a directory or a glob.
//!
//! [`open`] reads the footers or indexes the text of the files and gives a [`Source`]: columns with logical types, a
//! snapshot that survives restarts, a plan of units for a query, and readers of batches. What statistics rule out is
//! not read: row groups, pages by the page index, blocks of a CSV file by their times. What can be read is decoded
//! column by column, filter columns first.
//!
//! Never writes to the files, follows them by itself ([`Source::reload`] does, when asked), holds rows in memory or
//! orders them: rows come in the order of the source. Never tells a client where the files are: an [`OpenError`] is for
//! the operator and names paths, a [`SourceError`](spandrel_export::SourceError) names files only.
//!
//! ```
//! use spandrel_download_protocol::{Column, ColumnType, Query, Timestamp};
//! use spandrel_export::Read;
//! use spandrel_source_parquet::{DatasetConfig, open};
//!
//! let folder = tempfile::tempdir()?;
//! let file = folder.path().join("logs.csv");
//! std::fs::write(&file, "time,bytes\r\n2024-03-01T00:00:00Z,5\r\n2024-03-01T09:30:00+09:00,7\r\n")?;
//!
//! let columns = vec![Column::timestamp("time", 3), Column::new("bytes", ColumnType::Int)];
//! let source = open(DatasetConfig { columns: Some(columns), ..DatasetConfig::new("logs", &file) })?;
//! assert_eq!(source.facts().rows, 2);
//!
//! // A job keeps the text of its snapshot; rows appended later are not among them.
//! let rows = source.rows(&source.snapshot())?;
//! let (from, to) = (Timestamp::parse("2024-03-01T00:00:00Z")?, Timestamp::parse("2024-03-01T00:30:00Z")?);
//! let query = Query { from, to, filters: vec![], columns: vec![1], sort: vec![], limit: None };
//! let plan = rows.plan(&query)?;
//! assert_eq!(plan.rows_exact, Some(1), "the range is half-open: 09:30 in Seoul is its end");
//! for unit in &plan.units {
//!     let mut batches = rows.open(&Read { query: &query, columns: &[1], batch_rows: 8_192 }, unit)?;
//!     while let Some(batch) = batches.next() {
//!         assert_eq!(batch?.num_rows(), 1);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Which files, which types, the CSV dialect and what a snapshot is: download protocol, version 1, section 15 (dialect:
//! section 7, typed cells: section 6).
//!
//! Decided here, where the protocol is silent: text columns come as dictionaries where all pages of a row group are,
//! so a value is escaped once. Files of one data set may hold integers of different widths, but not times of different
//! precision unless the configuration sets one. Statistics of old writers that do not say their order are used for
//! signed numbers only. INT96 is read as 64 bits of nanoseconds: years outside 1677 to 2262 do not fit and wrap.
//!
//! Limits, all of them constants of the format or of memory a reader, each with a test where a file can pass it:
//!
//! | limit | value | why |
//! |---|---|---|
//! | CSV record | 16 MiB | a quote left open would pull the file into memory |
//! | CSV block | 4,096 rows or 512 KiB | what is read and checked at once; the index holds some 100 bytes for each |
//! | CSV decimal | 76 digits | protocol, section 15 |
//! | batch | about 2 MiB of cells | rows may be wide; the engine asks for rows |
//! | filter columns kept for output | 4 MiB a reader | the Parquet library's own bound is 100 MB |
//! | boundary rows counted by a plan | 4,000,000 (CSV 1,000,000) | beyond it the count goes on beside the export |
//!
//! Reading order: `files`, `types` (the table of types), `table` (one Parquet file), `parquet_source`, `csv::record`
//! (the dialect), `csv::values`, `csv::index`, `csv::source`, `sample` (made-up trades for trials).

mod csv;
mod error;
mod files;
mod parquet_source;
mod sample;
mod table;
mod types;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use spandrel_download_protocol::{Column, UtcOffset};
use spandrel_export::Source;

pub use error::OpenError;
pub use sample::{SampleError, write_trades};

/// Format of the files of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// RFC 4180 text in the dialect of protocol section 7.
    Csv,
}

impl FileFormat {
    /// The format a file name's extension tells.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?;
        if extension.eq_ignore_ascii_case("parquet") {
            Some(Self::Parquet)
        } else if extension.eq_ignore_ascii_case("csv") {
            Some(Self::Csv)
        } else {
            None
        }
    }
}

/// Which files make up a data set and what is in them (protocol section 15).
#[derive(Debug, Clone)]
pub struct DatasetConfig {
    /// Name of the data set, for messages.
    pub name: String,
    /// A file, a directory (its files of one format, not deeper) or a glob.
    pub path: PathBuf,
    /// Overrides what the extension says.
    pub format: Option<FileFormat>,
    /// The time column; left out: the first timestamp column.
    pub time_column: Option<String>,
    /// Columns and their order; required for CSV, optional for Parquet.
    pub columns: Option<Vec<Column>>,
    /// Zone of timestamps and dates that have none.
    pub assume_zone: UtcOffset,
    /// Look at every time when opening, so that order and extent are known: right for a server. Without it
    /// statistics are trusted for extent, and order is checked while reading: right for a single export.
    pub scan: bool,
}

impl DatasetConfig {
    /// Everything by default for the files at `path`.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            format: None,
            time_column: None,
            columns: None,
            assume_zone: UtcOffset::Zulu,
            scan: true,
        }
    }
}

/// Opens a data set.
///
/// # Errors
/// [`OpenError`] names the file and what is wrong with it; the server refuses to start.
pub fn open(config: DatasetConfig) -> Result<Arc<dyn Source>, OpenError> {
    let (paths, format) = files::find(&config.name, &config.path, config.format)?;
    match format {
        FileFormat::Parquet => {
            let damaged = OpenError::Invalid {
                dataset: config.name.clone(),
                file: config.path.display().to_string(),
                what: "a file is damaged".to_owned(),
                found: None,
            };
            // The Parquet reader may panic over a damaged file.
            let open = AssertUnwindSafe(|| parquet_source::ParquetSource::open(config, paths));
            Ok(Arc::new(catch_unwind(open).unwrap_or(Err(damaged))?))
        }
        FileFormat::Csv => Ok(Arc::new(csv::CsvSource::open(config, &paths)?)),
    }
}

/// Entry points for fuzzing.
#[doc(hidden)]
pub mod fuzz {
    pub use crate::csv::fuzz_records;
}
