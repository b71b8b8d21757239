//! Random columns of every type and every array that carries it, with the values they hold.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, Decimal128Array, Decimal256Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray,
};
use arrow_buffer::i256;
use proptest::prelude::*;
use spandrel_download_protocol::{Column, ColumnType, Decimal, Timestamp, Value};

/// A column with what its cells mean.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) kind: ColumnType,
    pub(crate) array: ArrayRef,
    pub(crate) cells: Vec<Option<Value>>,
    /// Digits of the decimals as stored.
    pub(crate) stored: Vec<Option<String>>,
}

/// Which array carries the values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Bool,
    Int,
    Float,
    Decimal128(i8),
    Decimal256(i8),
    DecimalText,
    Seconds,
    Millis,
    Micros,
    Nanos,
    WideTime,
    Text,
    Dictionary,
}

pub(crate) const SHAPES: [Shape; 17] = [
    Shape::Bool,
    Shape::Int,
    Shape::Float,
    Shape::Decimal128(0),
    Shape::Decimal128(2),
    Shape::Decimal128(38),
    Shape::Decimal128(-3),
    Shape::Decimal256(0),
    Shape::Decimal256(76),
    Shape::DecimalText,
    Shape::Seconds,
    Shape::Millis,
    Shape::Micros,
    Shape::Nanos,
    Shape::WideTime,
    Shape::Text,
    Shape::Dictionary,
];

impl Shape {
    pub(crate) fn kind(self) -> ColumnType {
        match self {
            Self::Bool => ColumnType::Bool,
            Self::Int => ColumnType::Int,
            Self::Float => ColumnType::Float,
            Self::Decimal128(_) | Self::Decimal256(_) | Self::DecimalText => ColumnType::Decimal,
            Self::Seconds | Self::Millis | Self::Micros | Self::Nanos | Self::WideTime => {
                ColumnType::Timestamp
            }
            Self::Text | Self::Dictionary => ColumnType::String,
        }
    }
}

/// Raw material of a cell: small numbers meet often, large ones reach the ends of their type.
pub(crate) fn raw() -> impl Strategy<Value = Option<(i128, String)>> {
    let number = prop_oneof![
        4 => -4_i128..5,
        2 => -2_000_i128..2_000,
        1 => any::<i64>().prop_map(i128::from),
        1 => any::<i128>(),
        1 => prop::sample::select(vec![i128::from(i64::MIN), i128::from(i64::MAX), i128::MIN, i128::MAX]),
    ];
    prop::option::weighted(0.8, (number, text()))
}

/// Text of the characters that dialects care about.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "",
        "a",
        "b",
        "\"",
        "\\",
        ",",
        ";",
        "\t",
        "|",
        "\r",
        "\n",
        " ",
        "=",
        "+",
        "-",
        "@",
        "'",
        "＝",
        "\0",
        "\u{1}",
        "\u{1f}",
        "\u{7f}",
        "é",
        "김철수",
        "😀",
        "\u{2028}",
        "\u{feff}",
        "x1",
        "0",
    ]);
    prop_oneof![prop::collection::vec(piece, 0..5).prop_map(|p| p.concat()), any::<String>()]
}

/// A column of `shape` from raw material. Numbers are wrapped into the type.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
pub(crate) fn made(shape: Shape, raw: &[Option<(i128, String)>]) -> Made {
    let int = |v: i128| v as i64;
    let numbers = || raw.iter().map(|r| r.as_ref().map(|(n, _)| *n));
    let times = |per_s: i128| {
        numbers().map(move |n| {
            n.map(|n| Value::Timestamp(Timestamp::from_nanos(i128::from(int(n)) * (1_000_000_000 / per_s))))
        })
    };
    let ints = || numbers().map(|n| n.map(int));
    let mut stored = vec![None; raw.len()];
    let mut decimals = |texts: Vec<Option<String>>| {
        let values: Vec<Option<Value>> = texts
            .iter()
            .map(|t| t.as_ref().map(|t| Value::Decimal(Decimal::parse(t).expect("a decimal"))))
            .collect();
        stored = texts;
        values
    };
    let (array, cells): (ArrayRef, Vec<Option<Value>>) = match shape {
        Shape::Bool => {
            let mut b = BooleanBuilder::new();
            numbers().for_each(|n| b.append_option(n.map(|n| n % 2 == 0)));
            (Arc::new(b.finish()), numbers().map(|n| n.map(|n| Value::Bool(n % 2 == 0))).collect())
        }
        Shape::Int => (Arc::new(ints().collect::<Int64Array>()), ints().map(|n| n.map(Value::Int)).collect()),
        Shape::Float => {
            let float = |n: i128| match n {
                -2 => f64::NAN,
                -3 => -0.0,
                -4 => f64::NEG_INFINITY,
                4 => f64::INFINITY,
                n if (-3_000..3_000).contains(&n) => n as f64 / 4.0,
                n => f64::from_bits(n as u64),
            };
            let floats = || numbers().map(|n| n.map(float));
            (Arc::new(floats().collect::<Float64Array>()), floats().map(|f| f.map(Value::Float)).collect())
        }
        Shape::Decimal128(scale) => {
            let array: Decimal128Array = numbers().collect();
            let array = array.with_data_type(arrow_schema::DataType::Decimal128(38, scale));
            (Arc::new(array), decimals(numbers().map(|n| n.map(|n| scaled(&n.to_string(), scale))).collect()))
        }
        Shape::Decimal256(scale) => {
            // Small ones, and some past 128 bits.
            let wide = |n: i128| {
                let n256 = i256::from_i128(n);
                if n % 3 == 0 { n256 } else { n256.wrapping_mul(i256::from_i128(1 << 100)) }
            };
            let array: Decimal256Array = numbers().map(|n| n.map(wide)).collect();
            let array = array.with_data_type(arrow_schema::DataType::Decimal256(76, scale));
            let texts = numbers().map(|n| n.map(|n| scaled(&wide(n).to_string(), scale))).collect();
            (Arc::new(array), decimals(texts))
        }
        Shape::DecimalText => {
            let texts: Vec<Option<String>> = numbers()
                .map(|n| n.map(|n| scaled(&n.to_string(), i8::try_from(n.rem_euclid(5)).expect("below 5"))))
                .collect();
            (Arc::new(StringArray::from(texts.clone())), decimals(texts))
        }
        Shape::Seconds => (Arc::new(ints().collect::<TimestampSecondArray>()), times(1).collect()),
        Shape::Millis => (Arc::new(ints().collect::<TimestampMillisecondArray>()), times(1_000).collect()),
        Shape::Micros => {
            (Arc::new(ints().collect::<TimestampMicrosecondArray>()), times(1_000_000).collect())
        }
        Shape::Nanos => {
            (Arc::new(ints().collect::<TimestampNanosecondArray>()), times(1_000_000_000).collect())
        }
        Shape::WideTime => {
            let array: Decimal128Array = numbers().collect();
            let array = array.with_data_type(arrow_schema::DataType::Decimal128(38, 0));
            let cell = |n| Value::Timestamp(Timestamp::from_nanos(n));
            (Arc::new(array), numbers().map(|n| n.map(cell)).collect())
        }
        Shape::Text | Shape::Dictionary => {
            let cells: Vec<Option<&str>> = raw.iter().map(|r| r.as_ref().map(|(_, t)| t.as_str())).collect();
            let values = cells.iter().map(|t| t.map(|t| Value::String(t.to_owned()))).collect();
            if matches!(shape, Shape::Text) {
                let mut b = StringBuilder::new();
                cells.iter().for_each(|t| b.append_option(*t));
                (Arc::new(b.finish()), values)
            } else {
                // Nulls both ways: a null key, and a key of a null value.
                let keys: Int32Array = cells
                    .iter()
                    .enumerate()
                    .map(|(i, t)| (t.is_some() || i % 2 == 0).then(|| i32::try_from(i).expect("few rows")))
                    .collect();
                let texts = Arc::new(StringArray::from(cells));
                (Arc::new(DictionaryArray::try_new(keys, texts).expect("keys are below")), values)
            }
        }
    };
    Made { kind: shape.kind(), array, cells, stored }
}

/// Digits with the point moved, the slow way.
fn scaled(digits: &str, scale: i8) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    match usize::try_from(scale) {
        Ok(0) => format!("{sign}{digits}"),
        Ok(scale) => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            format!("{sign}{whole}.{fraction}")
        }
        Err(_) if digits == "0" => "0".to_owned(),
        Err(_) => format!("{sign}{digits}{}", "0".repeat(usize::from(scale.unsigned_abs()))),
    }
}

/// Columns called `a`, `b` and so on as a batch.
pub(crate) fn batch(columns: &[Made]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.iter().enumerate().map(|(i, c)| (name(i), Arc::clone(&c.array), true)),
    )
    .expect("columns of one length")
}

pub(crate) fn columns(made: &[Made]) -> Vec<Column> {
    made.iter()
        .enumerate()
        .map(|(i, c)| Column { precision: Some(9), ..Column::new(name(i), c.kind) })
        .collect()
}

fn name(i: usize) -> String {
    char::from(b'a' + u8::try_from(i).expect("few columns")).to_string()
}

/// Order of two values of one column; `None` with a NaN.
pub(crate) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    a.partial_cmp_same(b)
}
