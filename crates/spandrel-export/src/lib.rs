//! Filters, row order and row writers (CSV, JSON, NDJSON) over Arrow batches, without I/O.
