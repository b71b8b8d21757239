//! Vocabulary of the download protocol, version 1: envelope, events, requests, filters, errors.

mod query;
mod schema;
mod time;
mod value;

pub use query::{Codec, CsvOptions, Filter, Format, Output, Query, SortKey, SortOrder, Test};
pub use schema::{Column, ColumnType, Schema};
pub use time::{Timestamp, UtcOffset};
pub use value::{Decimal, Value};
