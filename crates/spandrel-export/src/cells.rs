//! Typed views of batch columns: which Arrow types carry which logical type.
//!
//! A source hands over a small set of physical types; everything exotic is converted there:
//!
//! | logical | Arrow |
//! |---|---|
//! | bool | Boolean |
//! | string | Utf8, Dictionary(Int32, Utf8) |
//! | int | Int64 |
//! | decimal | Decimal128, Decimal256, Utf8 (digits as stored, each cell its own scale) |
//! | float | Float64 |
//! | timestamp | Timestamp of any unit, Decimal128 with scale 0 (nanoseconds beyond 64 bits) |

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow_buffer::{NullBuffer, ScalarBuffer, i256};
use arrow_schema::{DataType, TimeUnit};
use spandrel_download_protocol::{ColumnType, Decimal, Timestamp, Value};

use crate::ExportError;
use crate::predicate::{decimal_of_digits, decimal128};

/// One column of a batch, ready to be looked at by row.
#[derive(Debug, Clone)]
pub(crate) struct Cells {
    pub(crate) data: Data,
    pub(crate) nulls: Option<NullBuffer>,
}

#[derive(Debug, Clone)]
pub(crate) enum Data {
    Bool(BooleanArray),
    Int(ScalarBuffer<i64>),
    Float(ScalarBuffer<f64>),
    Decimal128 { values: ScalarBuffer<i128>, scale: i8 },
    Decimal256 { values: ScalarBuffer<i256>, scale: i8 },
    DecimalText(StringArray),
    Time { values: ScalarBuffer<i64>, per_s: i64 },
    WideTime(ScalarBuffer<i128>),
    Text(StringArray),
    Dictionary { keys: ScalarBuffer<i32>, values: ArrayRef },
}

impl Cells {
    /// # Errors
    /// [`ExportError::Type`] when the array does not carry `kind`.
    pub(crate) fn new(kind: ColumnType, array: &ArrayRef) -> Result<Self, ExportError> {
        let data = match (kind, array.data_type()) {
            (ColumnType::Bool, DataType::Boolean) => Data::Bool(array.as_boolean().clone()),
            (ColumnType::Int, DataType::Int64) => {
                Data::Int(array.as_primitive::<Int64Type>().values().clone())
            }
            (ColumnType::Float, DataType::Float64) => {
                Data::Float(array.as_primitive::<Float64Type>().values().clone())
            }
            (ColumnType::Decimal, DataType::Decimal128(_, scale)) => Data::Decimal128 {
                values: array.as_primitive::<Decimal128Type>().values().clone(),
                scale: *scale,
            },
            (ColumnType::Decimal, DataType::Decimal256(_, scale)) => Data::Decimal256 {
                values: array.as_primitive::<Decimal256Type>().values().clone(),
                scale: *scale,
            },
            (ColumnType::Decimal, DataType::Utf8) => Data::DecimalText(array.as_string::<i32>().clone()),
            (ColumnType::Timestamp, DataType::Timestamp(unit, _)) => match unit {
                TimeUnit::Second => Data::Time {
                    values: array.as_primitive::<TimestampSecondType>().values().clone(),
                    per_s: 1,
                },
                TimeUnit::Millisecond => Data::Time {
                    values: array.as_primitive::<TimestampMillisecondType>().values().clone(),
                    per_s: 1_000,
                },
                TimeUnit::Microsecond => Data::Time {
                    values: array.as_primitive::<TimestampMicrosecondType>().values().clone(),
                    per_s: 1_000_000,
                },
                TimeUnit::Nanosecond => Data::Time {
                    values: array.as_primitive::<TimestampNanosecondType>().values().clone(),
                    per_s: 1_000_000_000,
                },
            },
            (ColumnType::Timestamp, DataType::Decimal128(_, 0)) => {
                Data::WideTime(array.as_primitive::<Decimal128Type>().values().clone())
            }
            (ColumnType::String, DataType::Utf8) => Data::Text(array.as_string::<i32>().clone()),
            (ColumnType::String, DataType::Dictionary(key, value))
                if **key == DataType::Int32 && **value == DataType::Utf8 =>
            {
                let dictionary = array.as_dictionary::<Int32Type>();
                Data::Dictionary {
                    keys: dictionary.keys().values().clone(),
                    values: Arc::clone(dictionary.values()),
                }
            }
            (kind, found) => return Err(ExportError::Type { kind, found: found.clone() }),
        };
        Ok(Self { data, nulls: array.logical_nulls() })
    }

    pub(crate) fn of_batch(kinds: &[ColumnType], batch: &RecordBatch) -> Result<Vec<Self>, ExportError> {
        if kinds.len() != batch.num_columns() {
            return Err(ExportError::Columns { expected: kinds.len(), found: batch.num_columns() });
        }
        kinds.iter().zip(batch.columns()).map(|(kind, array)| Self::new(*kind, array)).collect()
    }

    /// The text of a string cell that is not null.
    #[inline]
    pub(crate) fn text(&self, row: usize) -> Option<&str> {
        match &self.data {
            Data::Text(array) => Some(array.value(row)),
            Data::Dictionary { keys, values } => {
                let key = usize::try_from(*keys.get(row)?).ok()?;
                let values = values.as_string::<i32>();
                (key < values.len()).then(|| values.value(key))
            }
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|n| n.is_null(row))
    }
}

/// Nanoseconds of a tick count in a unit of `per_s` ticks a second.
#[inline]
pub(crate) fn nanos(value: i64, per_s: i64) -> i128 {
    i128::from(value) * i128::from(1_000_000_000 / per_s.max(1))
}

/// The filter value of one cell; `None` for null.
///
/// # Errors
/// [`ExportError::Type`] when the array does not carry `kind`.
pub fn value_at(kind: ColumnType, array: &ArrayRef, row: usize) -> Result<Option<Value>, ExportError> {
    let cells = Cells::new(kind, array)?;
    if row >= array.len() || cells.is_null(row) {
        return Ok(None);
    }
    Ok(match &cells.data {
        Data::Bool(array) => Some(Value::Bool(array.value(row))),
        Data::Int(values) => values.get(row).map(|v| Value::Int(*v)),
        Data::Float(values) => values.get(row).map(|v| Value::Float(*v)),
        Data::Decimal128 { values, scale } => values.get(row).map(|v| Value::Decimal(decimal128(*v, *scale))),
        Data::Decimal256 { values, scale } => {
            values.get(row).map(|v| Value::Decimal(decimal_of_digits(&v.to_string(), *scale)))
        }
        Data::DecimalText(array) => Decimal::parse(array.value(row)).map(Value::Decimal),
        Data::Time { values, per_s } => {
            values.get(row).map(|v| Value::Timestamp(Timestamp::from_nanos(nanos(*v, *per_s))))
        }
        Data::WideTime(values) => values.get(row).map(|v| Value::Timestamp(Timestamp::from_nanos(*v))),
        Data::Text(_) | Data::Dictionary { .. } => cells.text(row).map(|t| Value::String(t.to_owned())),
    })
}

/// Nanoseconds since 1970 of a time column, `None` for null, one entry a row.
///
/// # Errors
/// [`ExportError::Type`] when the array is not a time column.
pub fn times(array: &ArrayRef) -> Result<Vec<Option<i128>>, ExportError> {
    let cells = Cells::new(ColumnType::Timestamp, array)?;
    let at = |row: usize| match &cells.data {
        Data::Time { values, per_s } => values.get(row).map(|v| nanos(*v, *per_s)),
        Data::WideTime(values) => values.get(row).copied(),
        _ => None,
    };
    Ok((0..array.len()).map(|row| if cells.is_null(row) { None } else { at(row) }).collect())
}

/// Smallest and largest instant of a time column, and whether no row is earlier than the one before it.
/// Nulls do not count.
///
/// # Errors
/// [`ExportError::Type`] when the array is not a time column.
pub fn time_extent(array: &ArrayRef) -> Result<(Option<(Timestamp, Timestamp)>, bool), ExportError> {
    let cells = Cells::new(ColumnType::Timestamp, array)?;
    // The usual case stays in 64 bits and needs no branch a row.
    if let (Data::Time { values, per_s }, None) = (&cells.data, &cells.nulls) {
        let (Some(min), Some(max)) = (values.iter().min(), values.iter().max()) else {
            return Ok((None, true));
        };
        let stamp = |v: i64| Timestamp::from_nanos(nanos(v, *per_s));
        return Ok((Some((stamp(*min), stamp(*max))), values.is_sorted()));
    }
    let present: Vec<i128> = times(array)?.into_iter().flatten().collect();
    let extent = present.iter().min().zip(present.iter().max());
    Ok((extent.map(|(a, b)| (Timestamp::from_nanos(*a), Timestamp::from_nanos(*b))), present.is_sorted()))
}
