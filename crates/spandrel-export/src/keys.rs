//! Sort keys as bytes: comparing two keys with `memcmp` gives the order of protocol section 5.
//!
//! A key is the sort columns, then time ascending. Each cell is a class byte (0 value, 1 NaN, 2 null: NaN and nulls
//! come last in both directions) followed, for values, by an order-keeping encoding, inverted for `desc`.

use arrow_array::RecordBatch;
use spandrel_download_protocol::{ColumnType, Decimal, Query, Schema, SortKey, SortOrder};

use crate::ExportError;
use crate::cells::{Cells, Data, nanos};
use crate::error::row_end;
use crate::predicate::{decimal_of_digits, decimal128};

/// Writes the sort keys of batches that hold the columns of [`columns`](Self::columns) in that order.
#[derive(Debug, Clone)]
pub struct KeyWriter {
    columns: Vec<usize>,
    kinds: Vec<ColumnType>,
    orders: Vec<SortOrder>,
}

const VALUE: u8 = 0;
const NAN: u8 = 1;
const NULL: u8 = 2;

impl KeyWriter {
    /// Keys for the order of `query`.
    pub fn new(query: &Query, schema: &Schema) -> Self {
        let time = SortKey { column: schema.time_index(), order: SortOrder::Asc };
        let keys: Vec<SortKey> = query.sort.iter().copied().chain([time]).collect();
        Self {
            kinds: keys
                .iter()
                .map(|k| schema.column(k.column).map_or(ColumnType::String, |c| c.kind))
                .collect(),
            columns: keys.iter().map(|k| k.column).collect(),
            orders: keys.iter().map(|k| k.order).collect(),
        }
    }

    /// Schema indexes of the key columns, in key order; may repeat.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Appends the key of every row to `out`, and its end to `ends`. `batch` has exactly [`columns`](Self::columns).
    ///
    /// # Errors
    /// [`ExportError`] when the batch is not what was asked for, or `out` would pass 4 GiB.
    pub fn write(
        &self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
        ends: &mut Vec<u32>,
    ) -> Result<(), ExportError> {
        let cells = Cells::of_batch(&self.kinds, batch)?;
        for row in 0..batch.num_rows() {
            for (cells, order) in cells.iter().zip(&self.orders) {
                let start = out.len() + 1;
                cell(cells, row, out);
                if *order == SortOrder::Desc {
                    out.iter_mut().skip(start).for_each(|b| *b = !*b);
                }
            }
            ends.push(row_end(out.len())?);
        }
        Ok(())
    }
}

fn cell(cells: &Cells, row: usize, out: &mut Vec<u8>) {
    if cells.is_null(row) {
        return out.push(NULL);
    }
    match &cells.data {
        Data::Float(values) => {
            let v = values.get(row).copied().unwrap_or_default();
            if v.is_nan() {
                return out.push(NAN);
            }
            out.push(VALUE);
            // IEEE 754: flipped so that unsigned order is numeric order; minus zero is zero.
            let bits = (if v == 0.0 { 0.0 } else { v }).to_bits();
            let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
            out.extend_from_slice(&ordered.to_be_bytes());
        }
        data => {
            out.push(VALUE);
            match data {
                Data::Int(values) => signed(out, values.get(row).copied().unwrap_or_default()),
                Data::Time { values, per_s } => {
                    wide(out, nanos(values.get(row).copied().unwrap_or_default(), *per_s))
                }
                Data::WideTime(values) => wide(out, values.get(row).copied().unwrap_or_default()),
                Data::Bool(array) => out.push(u8::from(array.value(row))),
                Data::Decimal128 { values, scale } => {
                    decimal(out, &decimal128(values.get(row).copied().unwrap_or_default(), *scale));
                }
                Data::Decimal256 { values, scale } => {
                    decimal(
                        out,
                        &decimal_of_digits(&values.get(row).copied().unwrap_or_default().to_string(), *scale),
                    );
                }
                Data::DecimalText(array) => {
                    // Cells were checked when they were read; an unreadable one would sort as zero.
                    decimal(out, &Decimal::parse(array.value(row)).unwrap_or_else(|| decimal128(0, 0)));
                }
                _ => text(out, cells.text(row).unwrap_or("")),
            }
        }
    }
}

fn signed(out: &mut Vec<u8>, v: i64) {
    out.extend_from_slice(&(v ^ i64::MIN).to_be_bytes());
}

fn wide(out: &mut Vec<u8>, v: i128) {
    out.extend_from_slice(&(v ^ i128::MIN).to_be_bytes());
}

/// Text with its end marked below every continuation: 0 becomes `00 ff`, the end is `00 00`.
fn text(out: &mut Vec<u8>, s: &str) {
    for &b in s.as_bytes() {
        out.push(b);
        if b == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Sign, exponent, digits; the magnitude part is inverted below zero.
fn decimal(out: &mut Vec<u8>, d: &Decimal) {
    if d.digits().is_empty() {
        return out.push(1);
    }
    out.push(if d.is_negative() { 0 } else { 2 });
    let start = out.len();
    out.extend_from_slice(&(d.exponent() ^ i32::MIN).to_be_bytes());
    out.extend_from_slice(d.digits());
    out.push(0); // below every digit: a prefix is smaller
    if d.is_negative() {
        out.iter_mut().skip(start).for_each(|b| *b = !*b);
    }
}
