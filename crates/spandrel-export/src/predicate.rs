//! Filters evaluated over batches, and the question whether statistics rule a filter out (protocol section 6).
//!
//! Logic is two-valued: on a null cell every test is false but `ne` and `exists: false`.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_buffer::BooleanBuffer;
use spandrel_download_protocol::{Decimal, Filter, Query, Schema, Test, Value};

use crate::ExportError;
use crate::cells::{Cells, Data};

/// A filter bound to the columns of the batches it will see.
#[derive(Debug, Clone)]
pub struct Predicate {
    filter: Filter,
    columns: Vec<usize>,
    kinds: Vec<spandrel_download_protocol::ColumnType>,
}

impl Predicate {
    /// Binds `filter` to batches whose columns are those [`columns_of`] lists for it, in that order.
    pub fn new(filter: Filter, schema: &Schema) -> Self {
        let columns: Vec<usize> =
            columns_of(&filter).into_iter().filter(|c| schema.column(*c).is_some()).collect();
        let kinds = columns.iter().filter_map(|c| schema.column(*c)).map(|c| c.kind).collect();
        Self { filter, columns, kinds }
    }

    /// Schema indexes of the columns a batch must have, ascending.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// One bit a row: does it pass?
    ///
    /// # Errors
    /// [`ExportError`] when the batch does not have the columns.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanBuffer, ExportError> {
        let cells = Cells::of_batch(&self.kinds, batch)?;
        let find =
            |column: usize| self.columns.iter().position(|c| *c == column).and_then(|at| cells.get(at));
        Ok(evaluate(&self.filter, &find, batch.num_rows()))
    }
}

/// The time range of a query as filters on the time column.
pub fn time_filter(query: &Query, schema: &Schema) -> Filter {
    let leaf = |test| Filter::Leaf { column: schema.time_index(), test };
    Filter::And(vec![
        leaf(Test::Gte(Value::Timestamp(query.from))),
        leaf(Test::Lt(Value::Timestamp(query.to))),
    ])
}

/// Schema indexes of the columns a filter looks at, ascending.
pub fn columns_of(filter: &Filter) -> BTreeSet<usize> {
    fn collect(filter: &Filter, into: &mut BTreeSet<usize>) {
        match filter {
            Filter::Leaf { column, .. } => {
                into.insert(*column);
            }
            Filter::And(all) | Filter::Or(all) => all.iter().for_each(|f| collect(f, into)),
            Filter::Not(one) => collect(one, into),
        }
    }
    let mut columns = BTreeSet::new();
    collect(filter, &mut columns);
    columns
}

fn evaluate<'a>(filter: &Filter, find: &impl Fn(usize) -> Option<&'a Cells>, rows: usize) -> BooleanBuffer {
    match filter {
        Filter::Leaf { column, test } => match find(*column) {
            Some(cells) => leaf(cells, test, rows),
            None => BooleanBuffer::new_unset(rows),
        },
        Filter::And(all) => all
            .iter()
            .map(|f| evaluate(f, find, rows))
            .reduce(|a, b| &a & &b)
            .unwrap_or_else(|| BooleanBuffer::new_set(rows)),
        Filter::Or(any) => any
            .iter()
            .map(|f| evaluate(f, find, rows))
            .reduce(|a, b| &a | &b)
            .unwrap_or_else(|| BooleanBuffer::new_unset(rows)),
        Filter::Not(one) => !&evaluate(one, find, rows),
    }
}

fn leaf(cells: &Cells, test: &Test, rows: usize) -> BooleanBuffer {
    let present = || match &cells.nulls {
        Some(nulls) => nulls.inner().clone(),
        None => BooleanBuffer::new_set(rows),
    };
    match test {
        Test::Exists(true) => present(),
        Test::Exists(false) => !&present(),
        Test::Ne(value) => !&leaf(cells, &Test::Eq(value.clone()), rows),
        test => {
            let bits = compare(cells, test, rows);
            match &cells.nulls {
                Some(nulls) => &bits & nulls.inner(),
                None => bits,
            }
        }
    }
}

/// Tests every cell as if none were null.
fn compare(cells: &Cells, test: &Test, rows: usize) -> BooleanBuffer {
    match &cells.data {
        Data::Int(values) => integers(test, rows, |i| values.get(i).map_or(0, |v| i128::from(*v)), 1, int_of),
        Data::Time { values, per_s } => {
            let unit = i128::from(1_000_000_000 / (*per_s).max(1));
            match window(test, unit, &|v| time_of(v)) {
                // The usual case, a range of ticks, stays in 64 bits.
                Some((low, high)) => {
                    let (low, high) = (clamp(low), clamp(high));
                    let empty = low > high;
                    BooleanBuffer::collect_bool(rows, |i| {
                        let v = values.get(i).copied().unwrap_or_default();
                        !empty && (v >= low) & (v <= high)
                    })
                }
                None => integers(test, rows, |i| values.get(i).map_or(0, |v| i128::from(*v)), unit, time_of),
            }
        }
        Data::WideTime(values) => {
            integers(test, rows, |i| values.get(i).copied().unwrap_or_default(), 1, time_of)
        }
        Data::Float(values) => {
            let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
            ordered(test, rows, |i, v| match v {
                Value::Float(v) => at(i).partial_cmp(v),
                _ => None,
            })
        }
        Data::Bool(array) => ordered(test, rows, |i, v| match v {
            Value::Bool(v) => Some(array.value(i).cmp(v)),
            _ => None,
        }),
        Data::Decimal128 { values, scale } => ordered(test, rows, |i, v| match v {
            Value::Decimal(v) => Some(decimal128(values.get(i).copied().unwrap_or_default(), *scale).cmp(v)),
            _ => None,
        }),
        Data::Decimal256 { values, scale } => ordered(test, rows, |i, v| match v {
            Value::Decimal(v) => {
                let text = values.get(i).copied().unwrap_or_default().to_string();
                Some(decimal_of_digits(&text, *scale).cmp(v))
            }
            _ => None,
        }),
        Data::DecimalText(array) => ordered(test, rows, |i, v| match v {
            Value::Decimal(v) => Decimal::parse(array.value(i)).map(|d| d.cmp(v)),
            _ => None,
        }),
        Data::Text(array) => BooleanBuffer::collect_bool(rows, |i| text(test, array.value(i))),
        Data::Dictionary { keys, values } => {
            let values = values.as_string::<i32>();
            let passes: Vec<bool> = (0..values.len()).map(|i| text(test, values.value(i))).collect();
            BooleanBuffer::collect_bool(rows, |i| {
                let key = keys.get(i).and_then(|k| usize::try_from(*k).ok());
                key.and_then(|k| passes.get(k)).copied().unwrap_or(false)
            })
        }
    }
}

fn text(test: &Test, cell: &str) -> bool {
    match test {
        Test::Contains(part) => memchr::memmem::find(cell.as_bytes(), part.as_bytes()).is_some(),
        Test::StartsWith(part) => cell.starts_with(part.as_str()),
        test => holds(test, |v| match v {
            Value::String(v) => Some(cell.cmp(v)),
            _ => None,
        }),
    }
}

fn int_of(value: &Value) -> Option<i128> {
    match value {
        Value::Int(v) => Some(i128::from(*v)),
        _ => None,
    }
}

fn time_of(value: &Value) -> Option<i128> {
    match value {
        Value::Timestamp(t) => Some(t.nanos()),
        _ => None,
    }
}

fn clamp(v: i128) -> i64 {
    i64::try_from(v).unwrap_or(if v < 0 { i64::MIN } else { i64::MAX })
}

/// Cells that are whole numbers of `unit`: comparisons become ranges of cells.
fn integers(
    test: &Test,
    rows: usize,
    cell: impl Fn(usize) -> i128,
    unit: i128,
    of: impl Fn(&Value) -> Option<i128>,
) -> BooleanBuffer {
    if let Some((low, high)) = window(test, unit, &of) {
        return BooleanBuffer::collect_bool(rows, |i| {
            let v = cell(i);
            (v >= low) & (v <= high)
        });
    }
    ordered(test, rows, |i, v| of(v).map(|v| (cell(i) * unit).cmp(&v)))
}

/// Smallest and largest cell that passes, for tests that are ranges.
fn window(test: &Test, unit: i128, of: &impl Fn(&Value) -> Option<i128>) -> Option<(i128, i128)> {
    let floor = |v: i128| v.div_euclid(unit);
    let ceil = |v: i128| -(-v).div_euclid(unit);
    Some(match test {
        Test::Eq(v) => (ceil(of(v)?), floor(of(v)?)),
        Test::Lt(v) => (i128::MIN, ceil(of(v)?) - 1),
        Test::Lte(v) => (i128::MIN, floor(of(v)?)),
        Test::Gt(v) => (floor(of(v)?) + 1, i128::MAX),
        Test::Gte(v) => (ceil(of(v)?), i128::MAX),
        Test::Between(low, high) => (ceil(of(low)?), floor(of(high)?)),
        _ => return None,
    })
}

fn ordered(test: &Test, rows: usize, compare: impl Fn(usize, &Value) -> Option<Ordering>) -> BooleanBuffer {
    BooleanBuffer::collect_bool(rows, |i| holds(test, |v| compare(i, v)))
}

/// Applies a comparing test to one cell; `None` (a NaN, a foreign type) passes nothing.
fn holds(test: &Test, compare: impl Fn(&Value) -> Option<Ordering>) -> bool {
    match test {
        Test::Eq(v) => compare(v) == Some(Ordering::Equal),
        Test::Ne(v) => compare(v) != Some(Ordering::Equal),
        Test::Lt(v) => compare(v) == Some(Ordering::Less),
        Test::Lte(v) => compare(v).is_some_and(Ordering::is_le),
        Test::Gt(v) => compare(v) == Some(Ordering::Greater),
        Test::Gte(v) => compare(v).is_some_and(Ordering::is_ge),
        Test::In(values) => values.iter().any(|v| compare(v) == Some(Ordering::Equal)),
        Test::Between(low, high) => {
            compare(low).is_some_and(Ordering::is_ge) && compare(high).is_some_and(Ordering::is_le)
        }
        Test::Contains(_) | Test::StartsWith(_) | Test::Exists(_) => false,
    }
}

/// A decimal cell by value.
pub(crate) fn decimal128(unscaled: i128, scale: i8) -> Decimal {
    decimal_of_digits(&unscaled.to_string(), scale)
}

pub(crate) fn decimal_of_digits(text: &str, scale: i8) -> Decimal {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = i32::try_from(digits.len()).unwrap_or(i32::MAX) - i32::from(scale);
    Decimal::from_digits(negative, digits.bytes(), point)
}

/// Statistics of a column over some rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bounds {
    /// Not above any cell.
    pub min: Option<Value>,
    /// Not below any cell.
    pub max: Option<Value>,
    /// Whether there are nulls, if known.
    pub has_nulls: Option<bool>,
    /// Every cell is null.
    pub all_null: bool,
}

/// Whether some row with these column bounds may pass. `true` when in doubt.
pub fn may_match(filter: &Filter, bounds: &dyn Fn(usize) -> Option<Bounds>) -> bool {
    match filter {
        Filter::And(all) => all.iter().all(|f| may_match(f, bounds)),
        Filter::Or(any) => any.iter().any(|f| may_match(f, bounds)),
        Filter::Not(_) => true,
        Filter::Leaf { column, test } => bounds(*column).is_none_or(|b| leaf_may_match(test, &b)),
    }
}

fn leaf_may_match(test: &Test, bounds: &Bounds) -> bool {
    match test {
        Test::Ne(_) => return true,
        Test::Exists(false) => return bounds.has_nulls != Some(false) || bounds.all_null,
        _ if bounds.all_null => return false,
        Test::Exists(true) => return true,
        _ => {}
    }
    let side = |bound: &Option<Value>, v: &Value| bound.as_ref().and_then(|b| value_cmp(b, v));
    let min_is = |v: &Value, passes: fn(Ordering) -> bool| side(&bounds.min, v).is_none_or(passes);
    let max_is = |v: &Value, passes: fn(Ordering) -> bool| side(&bounds.max, v).is_none_or(passes);
    let holds_value = |v: &Value| min_is(v, Ordering::is_le) && max_is(v, Ordering::is_ge);
    match test {
        Test::Eq(v) => holds_value(v),
        Test::In(values) => values.iter().any(holds_value),
        Test::Lt(v) => min_is(v, Ordering::is_lt),
        Test::Lte(v) => min_is(v, Ordering::is_le),
        Test::Gt(v) => max_is(v, Ordering::is_gt),
        Test::Gte(v) => max_is(v, Ordering::is_ge),
        Test::Between(low, high) => min_is(high, Ordering::is_le) && max_is(low, Ordering::is_ge),
        Test::StartsWith(part) => {
            let after = match &bounds.min {
                Some(Value::String(min)) => min.as_str() > part.as_str() && !min.starts_with(part.as_str()),
                _ => false,
            };
            !after && max_is(&Value::String(part.clone()), Ordering::is_ge)
        }
        Test::Contains(_) | Test::Ne(_) | Test::Exists(_) => true,
    }
}

/// Order of two values of one type; `None` for different types or NaN.
pub fn value_cmp(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Decimal(a), Value::Decimal(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        _ => None,
    }
}
