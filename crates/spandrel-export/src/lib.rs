//! Filters, row order and row writers (CSV, JSON, NDJSON) over Arrow batches, without I/O.

mod cells;
mod compress;
mod deflate;
mod digits;
mod error;
mod escape;
mod frames;
mod keys;
mod predicate;
mod source;
mod stamp;
mod text;
mod writer;

pub use cells::{time_extent, times, value_at};
pub use compress::{ChunkCompressor, crc32, crc32_join, file_header, file_trailer};
pub use error::ExportError;
pub use keys::KeyWriter;
pub use predicate::{Bounds, Predicate, columns_of, may_match, time_filter, value_cmp};
pub use source::{Batches, Facts, Order, Plan, Read, Rows, Source, SourceError, Unit};
pub use text::Text;
pub use writer::{Join, RowWriter};
