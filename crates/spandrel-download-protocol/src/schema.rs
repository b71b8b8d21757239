//! Columns of a data set: names, logical types and the time column (protocol sections 6 and 15).

use serde::{Deserialize, Serialize};

/// Logical type of a column; decides filter values, comparison and rendering (protocol section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// UTF-8 text, compared by code point.
    String,
    /// A 64-bit signed integer.
    Int,
    /// An exact decimal; keeps the scale it is stored with.
    Decimal,
    /// A binary64 number.
    Float,
    /// True or false.
    Bool,
    /// An instant, compared at nanosecond precision.
    Timestamp,
}

impl ColumnType {
    /// Name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Decimal => "decimal",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Timestamp => "timestamp",
        }
    }
}

/// One named, typed column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// Name as it stands in requests and headers.
    pub name: String,
    /// Logical type; `type` on the wire.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Fraction digits printed for a timestamp, 0 to 9; `None` for every other type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<u8>,
}

impl Column {
    /// A column without precision (every type but timestamp).
    pub fn new(name: impl Into<String>, kind: ColumnType) -> Self {
        Self { name: name.into(), kind, precision: None }
    }

    /// A timestamp column printing `precision` fraction digits.
    pub fn timestamp(name: impl Into<String>, precision: u8) -> Self {
        Self { name: name.into(), kind: ColumnType::Timestamp, precision: Some(precision) }
    }
}

/// Columns of a data set in order, and which of them is its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    columns: Vec<Column>,
    time: usize,
}

impl Schema {
    /// Builds a schema; `None` when names repeat, there are none, or `time` is not a timestamp column.
    pub fn new(columns: Vec<Column>, time: usize) -> Option<Self> {
        let mut names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        names.sort_unstable();
        let repeats = names.windows(2).any(|w| w.first() == w.last());
        let is_time = columns.get(time).is_some_and(|c| c.kind == ColumnType::Timestamp);
        (!repeats && is_time).then_some(Self { columns, time })
    }

    /// Every column, in data set order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Index of the time column.
    pub fn time_index(&self) -> usize {
        self.time
    }

    /// The column at `index`.
    pub fn column(&self, index: usize) -> Option<&Column> {
        self.columns.get(index)
    }

    /// Position of the column called `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }
}
