//! What a row source must offer: a schema, a durable snapshot, a plan, and readers of batches.
//!
//! A source selects rows (time range and filters) itself, because only it can skip what it need not decode;
//! [`Predicate`](crate::Predicate) does the comparison for it. Everything else (order, text, files) is the engine's.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use spandrel_download_protocol::{Query, Schema, Timestamp};

/// A named set of rows that may grow; jobs read a snapshot of it.
pub trait Source: Send + Sync + fmt::Debug {
    /// Columns in order and the time column.
    fn schema(&self) -> Arc<Schema>;

    /// What is known without reading rows.
    fn facts(&self) -> Facts;

    /// Text that names the rows present now; survives restarts in a job record.
    fn snapshot(&self) -> String;

    /// The rows named by `snapshot`.
    ///
    /// # Errors
    /// [`SourceError::Changed`] when those rows can no longer be given exactly.
    fn rows(&self, snapshot: &str) -> Result<Arc<dyn Rows>, SourceError>;

    /// Looks at the store again (SIGHUP); on an error the old facts stay.
    ///
    /// # Errors
    /// Whatever keeps the store from being read.
    fn reload(&self) -> Result<(), SourceError>;

    /// A standing complaint for the health check, if any (for example "last record is incomplete").
    fn warning(&self) -> Option<String> {
        None
    }
}

/// Size and extent of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Rows, as indexed.
    pub rows: u64,
    /// Smallest and largest time; `None` when there is no row with a time.
    pub time: Option<(Timestamp, Timestamp)>,
}

/// One frozen set of rows.
pub trait Rows: Send + Sync + fmt::Debug {
    /// Columns in order and the time column.
    fn schema(&self) -> Arc<Schema>;

    /// The units that may hold rows of `query`, in source order. Looks at statistics only.
    ///
    /// # Errors
    /// [`SourceError`] when the store cannot be read.
    fn plan(&self, query: &Query) -> Result<Plan, SourceError>;

    /// Opens one unit of a plan made for the same query.
    ///
    /// # Errors
    /// [`SourceError`] when the store cannot be read.
    fn open(&self, read: &Read<'_>, unit: &Unit) -> Result<Box<dyn Batches>, SourceError>;
}

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a> {
    /// Rows: time range and filters (sort and limit are not the source's business).
    pub query: &'a Query,
    /// Columns every batch must have, as schema indexes, in this order, no repeats.
    pub columns: &'a [usize],
    /// Most rows in a batch; batch borders follow this number and the data only.
    pub batch_rows: usize,
}

/// Batches of one unit in source order; blocking.
pub trait Batches: Send {
    /// The next rows that match; `None` at the end.
    ///
    /// # Errors
    /// [`SourceError`]; the reader is over after one.
    fn next(&mut self) -> Option<Result<RecordBatch, SourceError>>;

    /// Rows looked at so far, matching or not.
    fn scanned(&self) -> u64;
}

/// Units to read for a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In source order (the row ordinal grows through them).
    pub units: Vec<Unit>,
    /// Matching rows, when statistics alone tell.
    pub rows_exact: Option<u64>,
}

impl Plan {
    /// Rows that reading all units looks at: an upper bound of the matching rows.
    pub fn rows_scanned_max(&self) -> u64 {
        self.units.iter().map(|u| u.rows).sum()
    }
}

/// A piece of a source that is read by one reader, such as a row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The source's own name for it.
    pub id: u64,
    /// Rows it looks at when read for this query.
    pub rows: u64,
    /// Smallest and largest time in it; `None` when unknown.
    pub time: Option<(Timestamp, Timestamp)>,
    /// Whether its rows are known to be in time order.
    pub order: Order,
}

/// What is known about the order of rows inside a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Every row was looked at: time never falls.
    Ordered,
    /// Time falls somewhere.
    Unordered,
    /// Nobody looked yet; the engine checks while it reads.
    Unknown,
}

/// A source could not give its rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The rows of the snapshot are gone or differ; the job cannot continue.
    #[error("the source changed since the snapshot was taken: {what}")]
    Changed {
        /// Which part of the store, without its path.
        what: String,
    },
    /// The store could not be read now; trying again may help.
    #[error("the source could not be read: {what}")]
    Unreadable {
        /// What failed.
        what: String,
    },
    /// The store holds something its schema does not allow; trying again does not help.
    #[error("the source does not match its schema: {what}")]
    Invalid {
        /// Where and what.
        what: String,
    },
}
