//! Runs exports: an ordered worker pipeline with bounded memory, an external sort, durable jobs.
//!
//! [`Export::run`] turns frozen [`Rows`](spandrel_export::Rows) into the bytes of one or more parts and hands them to a
//! [`Sink`]; the same bytes for any number of threads, and continuable from any [`Checkpoint`]. [`Jobs`] drives the job
//! table of `spandrel-jobs` with real files: what it accepted survives `kill -9`.
//!
//! It never opens a socket, knows no request as it stands on the wire, and decides nothing about rows: sources select them,
//! `spandrel-export` writes them. It owns threads, files and the clock of paced exports.
//!
//! ```
//! use std::io;
//! use spandrel_download_protocol::{Format, Output, Query, Timestamp};
//! use spandrel_export_engine::{Checkpoint, Control, Export, Part, Sink};
//! use spandrel_source_parquet::{DatasetConfig, open, write_trades};
//!
//! /// Keeps the bytes of a single part.
//! #[derive(Default)]
//! struct InMemory(Vec<u8>);
//!
//! impl Sink for InMemory {
//!     fn begin(&mut self, _part: u32) -> io::Result<()> { Ok(()) }
//!     fn write(&mut self, bytes: &[u8]) -> io::Result<()> { self.0.extend_from_slice(bytes); Ok(()) }
//!     fn end(&mut self, _part: &Part) -> io::Result<()> { Ok(()) }
//!     fn checkpoint(&mut self, _at: &Checkpoint) -> io::Result<()> { Ok(()) }
//!     fn restart(&mut self) -> io::Result<()> { self.0.clear(); Ok(()) }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! write_trades(1_000, folder.path(), &mut |_| ())?;
//! let source = open(DatasetConfig::new("trades", folder.path()))?;
//! let query = Query {
//!     from: Timestamp::parse("2024-01-01T00:00:00Z")?,
//!     to: Timestamp::parse("2025-01-01T00:00:00Z")?,
//!     filters: vec![],
//!     columns: vec![0, 1, 3],
//!     sort: vec![],
//!     limit: Some(10),
//! };
//! let export = Export {
//!     rows: source.rows(&source.snapshot())?,
//!     query,
//!     output: Output::new(Format::Csv),
//!     workers: 2,
//!     scratch: folder.path().join("scratch"),
//! };
//! let mut sink = InMemory::default();
//! assert_eq!(export.run(&mut sink, &Control::new(), None)?.rows, 10);
//! assert!(sink.0.starts_with(b"ts,symbol,price\r\n2024-01-01T00:"));
//! # Ok(())
//! # }
//! ```
//!
//! Output bytes: protocol section 7. Job life cycle: section 8. Limits: a window of `2 × workers + 1` chunks of 8,192 rows (fewer
//! where rows are wide) while streaming, 20 MiB of rows while sorting; those of jobs in [`JobsConfig`].
//!
//! What jobs survive: `kill -9` at any moment; any single step of the disk failing, and the disk going away for good; a
//! disk that fills up (checked before a job begins and while it writes; one job gives way, the others go on); a source
//! that fails, changes, panics or never answers; a wall clock that jumps. All in `jobs/fault_tests.rs`.
//!
//! Reading order: `run` (the call), `plan` (stream or sort), `pipeline` (who makes which chunk when), `emit` (parts and
//! checkpoints), `sort`, `disk` (every change of files), then `jobs`.

mod disk;
mod emit;
mod incident;
mod jobs;
mod pace;
mod pipeline;
mod plan;
mod preview;
mod run;
mod sort;
mod space;

pub use incident::{internal, panic_text};
pub use jobs::{
    Accepted, Catalog, Clock, Condition, JobRequest, Jobs, JobsConfig, JobsError, OnChange, SystemClock,
    Work, WorkError,
};
pub use run::{Checkpoint, Control, Export, ExportError, Part, Preview, Sink, Summary};
