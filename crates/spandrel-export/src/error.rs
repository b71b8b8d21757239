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
    /// A batch's rows take more bytes than their ends can say. Use smaller batches.
    #[error("the rows of one batch take more than {max} bytes; use batches of fewer rows")]
    BatchTooLong {
        /// Most bytes of text or keys one buffer may hold.
        max: u32,
    },
    /// Arrow refused an operation.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// A compressor refused its input.
    #[error("compression failed: {0}")]
    Compress(String),
}

/// A position in a buffer of rows as it stands in a list of ends.
///
/// # Errors
/// [`ExportError::BatchTooLong`] past 32 bits.
pub(crate) fn row_end(len: usize) -> Result<u32, ExportError> {
    u32::try_from(len).map_err(|_| ExportError::BatchTooLong { max: u32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_over_is_refused_with_advice() {
        let max = usize::try_from(u32::MAX).unwrap();
        assert_eq!(row_end(max).unwrap(), u32::MAX);
        let told = row_end(max + 1).unwrap_err().to_string();
        assert_eq!(told, "the rows of one batch take more than 4294967295 bytes; use batches of fewer rows");
    }
}
