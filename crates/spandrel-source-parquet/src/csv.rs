//! CSV files as a row source: an index of blocks, each read and checked by itself.

mod index;
mod record;
mod source;
mod values;

pub(crate) use source::CsvSource;

#[doc(hidden)]
pub use record::fuzz_records;
