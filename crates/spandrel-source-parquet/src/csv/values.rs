//! CSV cells as typed values, checked when indexed and built into arrays when read.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, Decimal128Array};
use spandrel_download_protocol::{ColumnType, Timestamp};

use super::record::Field;

/// Digits of a decimal cell, at most.
const DECIMAL_DIGITS_MAX: usize = 76;

/// Values of one column under way.
pub(crate) enum Builder {
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    /// Strings, and decimals as they stand.
    Text(StringBuilder, ColumnType),
    /// Nanoseconds: 64 bits do not hold every year a file may have.
    Time(Decimal128Builder),
}

impl Builder {
    pub(crate) fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Int => Self::Int(Int64Builder::new()),
            ColumnType::Float => Self::Float(Float64Builder::new()),
            ColumnType::Bool => Self::Bool(BooleanBuilder::new()),
            ColumnType::Timestamp => Self::Time(Decimal128Builder::new()),
            ColumnType::String | ColumnType::Decimal => Self::Text(StringBuilder::new(), kind),
        }
    }

    /// Appends a cell. The error says what was expected.
    pub(crate) fn push(&mut self, field: &Field<'_>) -> Result<(), &'static str> {
        let null = field.is_null();
        let text = std::str::from_utf8(&field.text).map_err(|_| "valid UTF-8")?;
        match self {
            Self::Int(b) => b.append_option(if null { None } else { Some(int(text)?) }),
            Self::Float(b) => b.append_option(if null { None } else { Some(float(text)?) }),
            Self::Bool(b) => b.append_option(if null { None } else { Some(boolean(text)?) }),
            Self::Time(b) => b.append_option(if null { None } else { Some(time(text)?.nanos()) }),
            Self::Text(b, kind) => {
                if *kind == ColumnType::Decimal && !null {
                    decimal(text)?;
                }
                b.append_option((!null).then_some(text));
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> ArrayRef {
        match &mut self {
            Self::Int(b) => Arc::new(b.finish()),
            Self::Float(b) => Arc::new(b.finish()),
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Text(b, _) => Arc::new(b.finish()),
            Self::Time(b) => {
                let array: Decimal128Array = b.finish();
                Arc::new(
                    array
                        .with_precision_and_scale(38, 0)
                        .unwrap_or_else(|_| Decimal128Array::from(Vec::<i128>::new())),
                )
            }
        }
    }
}

fn int(text: &str) -> Result<i64, &'static str> {
    const WANTED: &str = "an integer of 64 bits such as -12, without leading zeros";
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading = digits.len() > 1 && digits.starts_with('0');
    if leading || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WANTED);
    }
    text.parse().map_err(|_| WANTED)
}

/// A JSON number (RFC 8259 section 6) that has a finite nearest binary64.
fn float(text: &str) -> Result<f64, &'static str> {
    const WANTED: &str = "a JSON number such as -1.5e3";
    // The standard library finds the nearest binary64 always, but accepts more forms than JSON has.
    let value: f64 = text.parse().map_err(|_| WANTED)?;
    if is_json_number(text.as_bytes()) && value.is_finite() { Ok(value) } else { Err(WANTED) }
}

fn is_json_number(text: &[u8]) -> bool {
    let digits = |t: &[u8]| t.iter().take_while(|b| b.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text.first() == Some(&b'0')) {
        return false;
    }
    let mut rest = text.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = fraction.get(count..).unwrap_or_default();
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

fn boolean(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false"),
    }
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(text).map_err(|_| "an RFC 3339 time with its offset such as 2024-03-01T09:00:00.5+09:00")
}

fn decimal(text: &str) -> Result<(), &'static str> {
    const WANTED: &str = "a decimal of at most 76 digits such as -12.50";
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let count = rest.bytes().filter(u8::is_ascii_digit).count();
    if digits(whole) && digits(fraction) && count <= DECIMAL_DIGITS_MAX { Ok(()) } else { Err(WANTED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_checked_by_type() {
        for (kind, good, bad) in [
            (
                ColumnType::Int,
                &["0", "-5", "9223372036854775807", "-9223372036854775808"][..],
                &["01", "1.0", "+1", "-", "1e3", "9223372036854775808", " 1"][..],
            ),
            (ColumnType::Decimal, &["0", "1.50", "-0.5", "00.1"], &["1.", ".5", "1e5", "abc", "-", "1 "]),
            (
                ColumnType::Float,
                &["0", "-0.0", "1e21", "5e-324", "1E+2", "1.5e-3"],
                &["1.", ".5", "NaN", "inf", "1e999", " 1", "0x1", "01", "+1", "1e", "1e+", "1.e1", "-"],
            ),
            (ColumnType::Bool, &["true", "false"], &["True", "1"]),
            (ColumnType::Timestamp, &["2024-03-01T00:00:00Z"], &["2024-03-01", "2024-03-01T00:00:00"]),
        ] {
            let push =
                |text: &str| Builder::new(kind).push(&Field { text: text.as_bytes().into(), quoted: false });
            for text in good {
                assert_eq!(push(text), Ok(()), "{kind:?} {text}");
            }
            for text in bad {
                assert!(push(text).is_err(), "{kind:?} {text}");
            }
            let digits = "9".repeat(77);
            assert!(kind != ColumnType::Decimal || push(&digits).is_err(), "77 digits");
        }
    }

    proptest::proptest! {
        /// A float cell is the nearest binary64 of its digits.
        #[test]
        fn prop_floats_read_back(bits in proptest::num::u64::ANY) {
            let v = f64::from_bits(bits);
            if v.is_finite() {
                for text in [format!("{v:e}"), format!("{v}")] {
                    proptest::prop_assert_eq!(float(&text).map(f64::to_bits), Ok(v.to_bits()), "{}", text);
                }
            }
        }

        /// What is accepted as a float is what a JSON reader accepts as a number.
        #[test]
        fn prop_floats_are_json_numbers(text in "-?[0-9]{0,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?") {
            proptest::prop_assert_eq!(float(&text).is_ok(), serde_json::from_str::<f64>(&text).is_ok(), "{}", text);
        }
    }
}
