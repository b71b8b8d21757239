//! One export from rows to bytes: the call that jobs and the command line share.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use spandrel_download_protocol::{Output, Query};
use spandrel_export::{Rows, SourceError};

/// What to export and with which means.
#[derive(Debug, Clone)]
pub struct Export {
    /// The frozen rows.
    pub rows: Arc<dyn Rows>,
    /// Which of them, in which order.
    pub query: Query,
    /// Which bytes.
    pub output: Output,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Folder for sort runs; created when first needed, its files removed at the end.
    pub scratch: PathBuf,
}

/// Receives the stored bytes of each part in order. Called from one thread at a time.
pub trait Sink: Send {
    /// A part begins; `part` counts from 1. Not called again for the part a checkpoint continues.
    ///
    /// # Errors
    /// Ends the export with [`ExportError::Sink`].
    fn begin(&mut self, part: u32) -> io::Result<()>;

    /// The next stored (maybe compressed) bytes.
    ///
    /// # Errors
    /// Ends the export with [`ExportError::Sink`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The part is complete.
    ///
    /// # Errors
    /// Ends the export with [`ExportError::Sink`].
    fn end(&mut self, part: &Part) -> io::Result<()>;

    /// The export could continue from here. Called after every chunk, cheap to ignore; a sink that
    /// keeps it must first make the bytes written so far durable.
    ///
    /// # Errors
    /// Ends the export with [`ExportError::Sink`].
    fn checkpoint(&mut self, at: &Checkpoint) -> io::Result<()>;

    /// Everything written so far is void: the rows turned out not to be in time order and are sorted now.
    /// Happens only for rows whose order the source does not know.
    ///
    /// # Errors
    /// Ends the export with [`ExportError::Sink`].
    fn restart(&mut self) -> io::Result<()>;
}

/// A finished part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// From 1.
    pub index: u32,
    /// Rows in it.
    pub rows: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
}

/// Where an export stands between two chunks; everything needed to continue it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The part under way, from 1; 0 before the first.
    pub part: u32,
    /// Rows in the part so far.
    pub part_rows: u64,
    /// Stored bytes of the part so far: a file longer than this is cut to it before continuing.
    pub part_bytes: u64,
    /// Bytes of the part before compression.
    pub part_raw_bytes: u64,
    /// CRC-32 of the part before compression.
    pub part_crc: u32,
    /// Rows emitted by the whole export.
    pub rows: u64,
    /// Position in the plan: unit, batch in it, row in that batch. Unused by sorted exports.
    pub unit: u64,
    /// See `unit`.
    pub batch: u64,
    /// See `unit`.
    pub row: u64,
}

/// The whole export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Rows in all parts.
    pub rows: u64,
    /// Parts, at least 1.
    pub parts: u32,
}

/// Shared with a running export: stops it and tells how far it is. All counters only grow.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    rows: AtomicU64,
    scanned: AtomicU64,
    bytes: AtomicU64,
}

impl Control {
    /// A control that was not stopped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the export to end with [`ExportError::Stopped`]; its threads and files are free within 100 ms.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Rows written, those before a checkpoint included.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Source rows looked at.
    pub fn scanned(&self) -> u64 {
        self.scanned.load(Ordering::Relaxed)
    }

    /// Stored bytes written by this run.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// An export did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// [`Control::stop`] was called; the last checkpoint given to the sink is where to continue.
    #[error("the export was stopped")]
    Stopped,
    /// The rows could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The sink refused bytes.
    #[error("the output could not be written: {0}")]
    Sink(#[source] io::Error),
    /// Sort runs could not be written or read.
    #[error("the sort scratch files failed: {0}")]
    Scratch(#[source] io::Error),
    /// A worker panicked; a bug.
    #[error("a worker failed unexpectedly")]
    Worker,
}

/// The first rows of a query as text cells before quoting, `None` for null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// At most the asked number of rows, one cell per output column.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Export {
    /// Runs the export on this thread and `workers` helpers; blocking. `from` continues an earlier run of
    /// the same export: the sink must already hold exactly `from.part_bytes` of part `from.part`.
    ///
    /// # Errors
    /// [`ExportError`]; nothing is left in `scratch` whatever happens.
    pub fn run(
        &self,
        sink: &mut dyn Sink,
        control: &Control,
        from: Option<&Checkpoint>,
    ) -> Result<Summary, ExportError> {
        let _ = (sink, control, from);
        Err(ExportError::Worker)
    }

    /// Counts matching rows (after `limit`), stopping when `control` is stopped; blocking.
    ///
    /// # Errors
    /// [`ExportError::Stopped`] when the control was stopped before the end; source errors.
    pub fn count(&self, control: &Control) -> Result<u64, ExportError> {
        let _ = control;
        Err(ExportError::Worker)
    }

    /// The first `rows` rows as text; blocking.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn preview(&self, rows: usize, control: &Control) -> Result<Preview, ExportError> {
        let _ = (rows, control);
        Err(ExportError::Worker)
    }

    /// Matching rows when statistics alone tell (unfiltered queries of file sources), `limit` applied.
    ///
    /// # Errors
    /// Source errors.
    pub fn rows_exact(&self) -> Result<Option<u64>, ExportError> {
        Ok(None)
    }

    /// Upper bound of the rows to look at: the denominator of progress while the total is not exact.
    ///
    /// # Errors
    /// Source errors.
    pub fn rows_scanned_max(&self) -> Result<u64, ExportError> {
        Ok(self.rows.plan(&self.query)?.rows_scanned_max())
    }
}
