//! Arrow types of Parquet columns as logical types (protocol section 15), and their conversion to the few
//! physical types that `spandrel-export` reads.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal32Type, Decimal64Type, Float16Type, Float32Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::types::{Date32Type, Date64Type};
use arrow_array::{
    Array, ArrayRef, Decimal128Array, Float64Array, Int64Array, PrimitiveArray, StringArray, new_null_array,
};
use arrow_schema::{DataType, TimeUnit};
use spandrel_download_protocol::{ColumnType, Timestamp, UtcOffset, Value};
use spandrel_export::Bounds;

/// How a column is read and turned into what the export understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) kind: ColumnType,
    /// Fraction digits of a timestamp.
    pub(crate) precision: Option<u8>,
    /// Type asked of the Parquet reader.
    pub(crate) read_as: DataType,
    /// Minutes east of UTC of wall-clock timestamps.
    assume: i16,
    convert: Convert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Convert {
    Nothing,
    Integer,
    UnsignedToDecimal,
    Float,
    SmallDecimal,
    WallClock,
    DateText,
    DateTime,
    TimeText,
    Hex,
    NullText,
}

/// Whether dates are wanted as text or as midnight instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dates {
    Text,
    Instants,
}

/// `None`: the type is not offered.
pub(crate) fn reading(found: &DataType, dates: Dates, assume: UtcOffset) -> Option<Reading> {
    use ColumnType as K;
    let assume = assume.minutes();
    let make = |kind, precision, read_as: DataType, convert| {
        Some(Reading { kind, precision, read_as, assume, convert })
    };
    match found {
        DataType::Boolean => make(K::Bool, None, DataType::Boolean, Convert::Nothing),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            make(K::String, None, DataType::Utf8, Convert::Nothing)
        }
        DataType::Int64 => make(K::Int, None, DataType::Int64, Convert::Nothing),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => make(K::Int, None, found.clone(), Convert::Integer),
        DataType::UInt64 => make(K::Decimal, None, DataType::UInt64, Convert::UnsignedToDecimal),
        DataType::Float64 => make(K::Float, None, DataType::Float64, Convert::Nothing),
        DataType::Float16 | DataType::Float32 => make(K::Float, None, found.clone(), Convert::Float),
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            make(K::Decimal, None, found.clone(), Convert::Nothing)
        }
        DataType::Decimal32(..) | DataType::Decimal64(..) => {
            make(K::Decimal, None, found.clone(), Convert::SmallDecimal)
        }
        DataType::Timestamp(unit, zone) => {
            let precision = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            let convert = if zone.is_none() && assume != 0 { Convert::WallClock } else { Convert::Nothing };
            make(K::Timestamp, Some(precision), found.clone(), convert)
        }
        DataType::Date32 | DataType::Date64 => match dates {
            Dates::Text => make(K::String, None, found.clone(), Convert::DateText),
            Dates::Instants => make(K::Timestamp, Some(0), found.clone(), Convert::DateTime),
        },
        DataType::Time32(_) | DataType::Time64(_) => make(K::String, None, found.clone(), Convert::TimeText),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            make(K::String, None, DataType::Binary, Convert::Hex)
        }
        DataType::FixedSizeBinary(_) => make(K::String, None, found.clone(), Convert::Hex),
        DataType::Dictionary(_, value) => reading(value, dates, UtcOffset::Minutes(assume)),
        DataType::RunEndEncoded(_, value) => reading(value.data_type(), dates, UtcOffset::Minutes(assume)),
        DataType::Null => make(K::String, None, DataType::Null, Convert::NullText),
        _ => None,
    }
}

impl Reading {
    /// Whether text of this column may be read as a dictionary.
    pub(crate) fn is_text(&self) -> bool {
        self.read_as == DataType::Utf8
    }

    /// Whether no cell lies outside `bounds` once it is converted.
    ///
    /// Numbers printed as text keep their order while all have the same number of digits; years beyond four and
    /// times beyond a day do not.
    pub(crate) fn keeps_order(&self, bounds: &Bounds) -> bool {
        match self.convert {
            Convert::NullText => false,
            Convert::DateText | Convert::TimeText => match (&bounds.min, &bounds.max) {
                (Some(Value::String(min)), Some(Value::String(max))) => {
                    let is_plain = |t: &str| t.starts_with(|c: char| c.is_ascii_digit()) && !t.contains(":-");
                    min.len() == max.len() && is_plain(min) && is_plain(max)
                }
                _ => false,
            },
            _ => true,
        }
    }

    /// The array in a type the export understands. `None` when the reader gave another type than was asked for.
    pub(crate) fn convert(&self, array: ArrayRef) -> Option<ArrayRef> {
        Some(match self.convert {
            Convert::Nothing => array,
            Convert::Integer => match array.data_type() {
                DataType::Int8 => widen::<Int8Type>(&array)?,
                DataType::Int16 => widen::<Int16Type>(&array)?,
                DataType::Int32 => widen::<Int32Type>(&array)?,
                DataType::UInt8 => widen::<UInt8Type>(&array)?,
                DataType::UInt16 => widen::<UInt16Type>(&array)?,
                DataType::UInt32 => widen::<UInt32Type>(&array)?,
                _ => return None,
            },
            Convert::UnsignedToDecimal => {
                let values = array.as_primitive_opt::<UInt64Type>()?;
                decimals(values.iter().map(|v| v.map(i128::from)), 20, 0)?
            }
            Convert::Float => match array.data_type() {
                DataType::Float32 => widen_float(array.as_primitive_opt::<Float32Type>()?, f64::from),
                DataType::Float16 => widen_float(array.as_primitive_opt::<Float16Type>()?, |v| v.to_f64()),
                _ => return None,
            },
            Convert::SmallDecimal => match array.data_type() {
                DataType::Decimal32(p, s) => decimals(
                    array.as_primitive_opt::<Decimal32Type>()?.iter().map(|v| v.map(i128::from)),
                    *p,
                    *s,
                )?,
                DataType::Decimal64(p, s) => decimals(
                    array.as_primitive_opt::<Decimal64Type>()?.iter().map(|v| v.map(i128::from)),
                    *p,
                    *s,
                )?,
                _ => return None,
            },
            Convert::WallClock => self.wall_clock(&array)?,
            Convert::DateText => texts(dates(&array)?.map(|day| day.map(date_text))),
            Convert::DateTime => {
                let shift = i64::from(self.assume) * 60;
                let seconds =
                    dates(&array)?.map(|day| day.map(|d| d.saturating_mul(86_400).saturating_sub(shift)));
                Arc::new(PrimitiveArray::<TimestampSecondType>::from_iter(seconds))
            }
            Convert::TimeText => clock_texts(&array)?,
            Convert::Hex => hex(&array)?,
            Convert::NullText => new_null_array(&DataType::Utf8, array.len()),
        })
    }

    /// Wall clock of an assumed zone as instants.
    fn wall_clock(&self, array: &ArrayRef) -> Option<ArrayRef> {
        fn shift<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef, by: i64) -> Option<ArrayRef> {
            Some(Arc::new(array.as_primitive_opt::<T>()?.unary::<_, T>(|v| v.saturating_sub(by))))
        }
        let s = i64::from(self.assume) * 60;
        match array.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => shift::<TimestampSecondType>(array, s),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                shift::<TimestampMillisecondType>(array, s * 1_000)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                shift::<TimestampMicrosecondType>(array, s * 1_000_000)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                shift::<TimestampNanosecondType>(array, s * 1_000_000_000)
            }
            _ => None,
        }
    }
}

fn widen<T>(array: &ArrayRef) -> Option<ArrayRef>
where
    T: ArrowPrimitiveType,
    i64: From<T::Native>,
{
    let from = array.as_primitive_opt::<T>()?;
    Some(Arc::new(from.unary::<_, Int64Type>(i64::from) as Int64Array))
}

fn widen_float<T: ArrowPrimitiveType>(from: &PrimitiveArray<T>, to: impl Fn(T::Native) -> f64) -> ArrayRef {
    Arc::new(from.unary::<_, arrow_array::types::Float64Type>(to) as Float64Array)
}

fn decimals(values: impl Iterator<Item = Option<i128>>, precision: u8, scale: i8) -> Option<ArrayRef> {
    let array: Decimal128Array = values.collect();
    Some(Arc::new(array.with_precision_and_scale(precision.max(1), scale).ok()?))
}

fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// Days since 1970.
fn dates(array: &ArrayRef) -> Option<Box<dyn Iterator<Item = Option<i64>> + '_>> {
    match array.data_type() {
        DataType::Date32 => {
            Some(Box::new(array.as_primitive_opt::<Date32Type>()?.iter().map(|v| v.map(i64::from))))
        }
        DataType::Date64 => Some(Box::new(
            array.as_primitive_opt::<Date64Type>()?.iter().map(|v| v.map(|ms| ms.div_euclid(86_400_000))),
        )),
        _ => None,
    }
}

fn date_text(day: i64) -> String {
    let at = Timestamp::from_nanos(i128::from(day) * 86_400_000_000_000);
    let text = at.to_rfc3339(0);
    text.split('T').next().unwrap_or_default().to_owned()
}

fn clock_texts(array: &ArrayRef) -> Option<ArrayRef> {
    fn print(value: i64, per_s: i64, digits: usize) -> String {
        let (s, fraction) = (value.div_euclid(per_s), value.rem_euclid(per_s));
        let clock = format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
        if digits == 0 { clock } else { format!("{clock}.{fraction:0digits$}") }
    }
    Some(match array.data_type() {
        DataType::Time32(TimeUnit::Second) => texts(
            array.as_primitive_opt::<Time32SecondType>()?.iter().map(|v| v.map(|v| print(v.into(), 1, 0))),
        ),
        DataType::Time32(_) => texts(
            array
                .as_primitive_opt::<Time32MillisecondType>()?
                .iter()
                .map(|v| v.map(|v| print(v.into(), 1_000, 3))),
        ),
        DataType::Time64(TimeUnit::Microsecond) => texts(
            array
                .as_primitive_opt::<Time64MicrosecondType>()?
                .iter()
                .map(|v| v.map(|v| print(v, 1_000_000, 6))),
        ),
        DataType::Time64(_) => texts(
            array
                .as_primitive_opt::<Time64NanosecondType>()?
                .iter()
                .map(|v| v.map(|v| print(v, 1_000_000_000, 9))),
        ),
        _ => return None,
    })
}

fn hex(array: &ArrayRef) -> Option<ArrayRef> {
    fn print(bytes: &[u8]) -> String {
        use std::fmt::Write;
        bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
            let _ = write!(s, "{b:02x}"); // writing to a String cannot fail
            s
        })
    }
    Some(match array.data_type() {
        DataType::Binary => texts(array.as_binary_opt::<i32>()?.iter().map(|v| v.map(print))),
        DataType::FixedSizeBinary(_) => texts(array.as_fixed_size_binary_opt()?.iter().map(|v| v.map(print))),
        _ => return None,
    })
}
