//! Filters, row order and row writers (CSV, JSON, NDJSON) over Arrow batches, without I/O.

mod source;

pub use source::{Batches, Facts, Order, Plan, Read, Rows, Source, SourceError, Unit};
