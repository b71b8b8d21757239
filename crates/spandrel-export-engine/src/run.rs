//! One export from rows to bytes: the call that jobs and the command line share.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use spandrel_download_protocol::{Column, Format, Output, Query, Schema};
use spandrel_export::{Batches, Read, RowWriter, Rows, SourceError, Unit, time_extent};

use crate::disk::Disk;
use crate::emit::{Emitter, Place};
use crate::pace::Pace;
use crate::pipeline::{Ended, Feed, Item, Pipeline};
use crate::plan::{self, Flow};
use crate::{preview, sort};

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
    /// Whether the rows came out of a sort: continuing sorts again and skips what is written.
    #[serde(default)]
    pub is_sorted: bool,
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
    wake: (Mutex<()>, Condvar),
    rows: AtomicU64,
    scanned: AtomicU64,
    bytes: AtomicU64,
    disk: Disk,
}

impl Control {
    /// A control that was not stopped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sort runs go to `disk`.
    pub(crate) fn on(disk: Disk) -> Self {
        Self { disk, ..Self::default() }
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Asks the export to end with [`ExportError::Stopped`]; its threads and files are free within 100 ms.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let _held = self.wake.0.lock();
        self.wake.1.notify_all();
    }

    /// Waits for `at_most`, or less when stopped.
    pub(crate) fn wait_stopped(&self, at_most: Duration) -> Result<(), ExportError> {
        let held = self.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_stopped() {
            drop(self.wake.1.wait_timeout(held, at_most));
        }
        if self.is_stopped() { Err(ExportError::Stopped) } else { Ok(()) }
    }

    pub(crate) fn set_rows(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    pub(crate) fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Begins the counters again, for an export whose output is void.
    pub(crate) fn restart(&self) {
        for counter in [&self.rows, &self.scanned, &self.bytes] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_scanned(&self, rows: u64) {
        self.scanned.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
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
    /// Rows could not be turned into text or compressed.
    #[error(transparent)]
    Text(#[from] spandrel_export::ExportError),
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
        let schema = self.rows.schema();
        let (units, flow) = plan::arrange(self.rows.plan(&self.query)?, &self.query, &schema);
        if flow != Flow::Sort && !from.is_some_and(|c| c.is_sorted) {
            let mut emitter = self.emitter(&schema, sink, control, from)?;
            match self.stream(&schema, &units, flow, &mut emitter, control, from)? {
                Ended::Complete => return emitter.finish(),
                Ended::OutOfOrder => drop(emitter),
            }
            sink.restart().map_err(ExportError::Sink)?;
            control.restart();
            return self.sorted(&schema, &units, sink, control, None);
        }
        self.sorted(&schema, &units, sink, control, from)
    }

    fn columns(&self, schema: &Schema) -> Vec<Column> {
        self.query.columns.iter().filter_map(|c| schema.column(*c)).cloned().collect()
    }

    fn emitter<'a>(
        &self,
        schema: &Schema,
        sink: &'a mut dyn Sink,
        control: &'a Control,
        from: Option<&Checkpoint>,
    ) -> Result<Emitter<'a>, ExportError> {
        let writer = RowWriter::new(&self.columns(schema), &self.output);
        Emitter::new(&self.output, self.query.limit, writer, sink, control, from)
    }

    fn batch_rows(&self) -> usize {
        let paced = self.output.rows_per_s.map_or(BATCH_ROWS, Pace::batch_rows);
        let limited =
            self.query.limit.map_or(BATCH_ROWS, |l| usize::try_from(l).unwrap_or(BATCH_ROWS).max(1));
        BATCH_ROWS.min(paced).min(limited)
    }

    fn stream(
        &self,
        schema: &Arc<Schema>,
        units: &[Unit],
        flow: Flow,
        emitter: &mut Emitter<'_>,
        control: &Control,
        from: Option<&Checkpoint>,
    ) -> Result<Ended, ExportError> {
        let mut columns = self.query.columns.clone();
        let outputs = columns.len();
        let time = schema.time_index();
        let time_at = (flow == Flow::StreamChecked).then(|| {
            columns.iter().position(|c| *c == time).unwrap_or_else(|| {
                columns.push(time);
                outputs
            })
        });
        let batch_rows = self.batch_rows();
        let open = |unit: usize| -> Result<Box<dyn Feed>, ExportError> {
            let unit = units.get(unit).ok_or(ExportError::Worker)?;
            let read = Read { query: &self.query, columns: &columns, batch_rows };
            Ok(Box::new(Reader { batches: self.rows.open(&read, unit)?, outputs, time_at, told: 0 }))
        };
        let writer = || RowWriter::new(&self.columns(schema), &self.output);
        let pipeline = Pipeline {
            workers: self.workers,
            // Filters are evaluated when a unit is opened: worth doing for several units at once.
            ahead_max: if self.query.filters.is_empty() { self.workers + 1 } else { self.workers * 2 + 1 },
            units: units.len(),
            open: &open,
            writer: &writer,
            codec: self.output.codec,
            from: from.map_or_else(Place::default, |c| Place { unit: c.unit, batch: c.batch, row: c.row }),
            keep_batches: self.output.rows_per_part.is_some() || self.query.limit.is_some(),
            control,
        };
        pipeline.run(emitter)
    }

    fn sorted(
        &self,
        schema: &Arc<Schema>,
        units: &[Unit],
        sink: &mut dyn Sink,
        control: &Control,
        from: Option<&Checkpoint>,
    ) -> Result<Summary, ExportError> {
        let merge = sort::sort(self, schema, units, control)?;
        let mut emitter = self.emitter(schema, sink, control, from)?;
        emitter.mark_sorted();
        let skip = emitter.rows();
        let feed = Mutex::new(Some(merge.into_feed(self, skip, control)?));
        let open = |_: usize| -> Result<Box<dyn Feed>, ExportError> {
            let feed = feed.lock().unwrap_or_else(PoisonError::into_inner).take();
            feed.map(|f| Box::new(f) as Box<dyn Feed>).ok_or(ExportError::Worker)
        };
        let writer = || RowWriter::new(&self.columns(schema), &self.output);
        let pipeline = Pipeline {
            workers: self.workers,
            ahead_max: 0,
            units: 1,
            open: &open,
            writer: &writer,
            codec: self.output.codec,
            from: Place::default(),
            keep_batches: false,
            control,
        };
        pipeline.run(&mut emitter)?;
        emitter.finish()
    }

    /// Counts matching rows (after `limit`), stopping when `control` is stopped; blocking.
    ///
    /// # Errors
    /// [`ExportError::Stopped`] when the control was stopped before the end; source errors.
    pub fn count(&self, control: &Control) -> Result<u64, ExportError> {
        let schema = self.rows.schema();
        let plan = self.rows.plan(&self.query)?;
        let limit = self.query.limit.unwrap_or(u64::MAX);
        if let Some(rows) = plan.rows_exact {
            return Ok(rows.min(limit));
        }
        let columns = [schema.time_index()];
        let read = Read { query: &self.query, columns: &columns, batch_rows: 65_536 };
        let mut rows = 0_u64;
        for unit in &plan.units {
            let mut batches = self.rows.open(&read, unit)?;
            while let Some(batch) = batches.next() {
                rows += batch?.num_rows() as u64;
                if rows >= limit {
                    return Ok(limit);
                }
                if control.is_stopped() {
                    return Err(ExportError::Stopped);
                }
            }
        }
        Ok(rows)
    }

    /// The first `rows` rows as text; blocking.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn preview(&self, rows: usize, control: &Control) -> Result<Preview, ExportError> {
        let limit = self.query.limit.unwrap_or(u64::MAX).min(rows as u64);
        if limit == 0 {
            return Ok(Preview { rows: Vec::new() });
        }
        let mut head = self.clone();
        head.query.limit = Some(limit);
        head.output = Output { time_zone: self.output.time_zone, ..Output::new(Format::Ndjson) };
        let mut text = preview::Lines::default();
        head.run(&mut text, control, None)?;
        preview::cells(&self.columns(&self.rows.schema()), text)
    }

    /// Matching rows when statistics alone tell (unfiltered queries of file sources), `limit` applied.
    ///
    /// # Errors
    /// Source errors.
    pub fn rows_exact(&self) -> Result<Option<u64>, ExportError> {
        let rows = self.rows.plan(&self.query)?.rows_exact;
        Ok(rows.map(|r| r.min(self.query.limit.unwrap_or(u64::MAX))))
    }

    /// Upper bound of the rows to look at: the denominator of progress while the total is not exact.
    ///
    /// # Errors
    /// Source errors.
    pub fn rows_scanned_max(&self) -> Result<u64, ExportError> {
        Ok(self.rows.plan(&self.query)?.rows_scanned_max())
    }
}

/// Rows in a batch: about a mebibyte of text, small enough that several stay in cache and in the memory bound.
const BATCH_ROWS: usize = 8_192;

/// One unit of the source as a feed.
struct Reader {
    batches: Box<dyn Batches>,
    outputs: usize,
    time_at: Option<usize>,
    told: u64,
}

impl Feed for Reader {
    fn next(&mut self) -> Option<Result<Item, ExportError>> {
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(e) => return Some(Err(e.into())),
        };
        Some(self.item(batch))
    }

    fn scanned(&mut self) -> u64 {
        let now = self.batches.scanned();
        let new = now.saturating_sub(self.told);
        self.told = now;
        new
    }
}

impl Reader {
    fn item(&self, batch: RecordBatch) -> Result<Item, ExportError> {
        let mut times = None;
        if let Some(array) = self.time_at.and_then(|at| batch.columns().get(at)) {
            let (extent, ordered) = time_extent(array)?;
            times = Some(extent.filter(|_| ordered).map(|(a, b)| (a.nanos(), b.nanos())));
        }
        let outputs: Vec<usize> = (0..self.outputs).collect();
        let batch = if batch.num_columns() > self.outputs {
            batch.project(&outputs).map_err(spandrel_export::ExportError::from)?
        } else {
            batch
        };
        Ok(Item::Batch { batch, times })
    }
}
