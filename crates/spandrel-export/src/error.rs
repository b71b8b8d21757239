//! What can go wrong between a batch and its text.

use arrow_schema::{ArrowError, DataType};
use spandrel_download_protocol::ColumnType;

/// A batch could not be filtered, ordered or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The array's type does not carry the column's logical type: the source must convert it.
    #[error("a {kind:?} column cannot come as arrow {found}; convert it in the source")]
    Type {
        /// Logical type expected.
        kind: ColumnType,
        /// Arrow type found.
        found: DataType,
    },
    /// The batch has another number of columns than was asked for.
    #[error("expected a batch of {expected} columns, got {found}")]
    Columns {
        /// Columns asked for.
        expected: usize,
        /// Columns found.
        found: usize,
    },
    /// Arrow refused an operation.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// A compressor refused its input.
    #[error("compression failed: {0}")]
    Compress(String),
}
