//! Rows from Parquet and CSV files: one file, a directory or a glob.

mod csv;
mod error;
mod files;
mod parquet_source;
mod sample;
mod table;
mod types;

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
        FileFormat::Parquet => Ok(Arc::new(parquet_source::ParquetSource::open(config, paths)?)),
        FileFormat::Csv => Ok(Arc::new(csv::CsvSource::open(config, &paths)?)),
    }
}

/// Entry points for fuzzing.
#[doc(hidden)]
pub mod fuzz {
    pub use crate::csv::fuzz_records;
}
