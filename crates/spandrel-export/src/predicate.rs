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
        Data::Int(values) => whole(test, values, rows, int_of),
        Data::Time { values, per_s } => {
            let unit = i128::from(1_000_000_000 / (*per_s).max(1));
            whole(test, values, rows, |v| Ticks::of(time_of(v)?, unit))
        }
        Data::WideTime(values) => whole(test, values, rows, |v| time_of(v).map(Ticks::exactly)),
        Data::Decimal128 { values, scale } => whole(test, values, rows, |v| match v {
            Value::Decimal(v) => Some(unscaled(v, *scale)),
            _ => None,
        }),
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
        Data::Decimal256 { values, scale } => each(test, rows, |i| {
            let text = values.get(i).copied().unwrap_or_default().to_string();
            Some(Value::Decimal(decimal_of_digits(&text, *scale)))
        }),
        Data::DecimalText(array) => each(test, rows, |i| Decimal::parse(array.value(i)).map(Value::Decimal)),
        Data::Text(array) => {
            let test = TextTest::new(test);
            BooleanBuffer::collect_bool(rows, |i| test.passes(array.value(i)))
        }
        Data::Dictionary { keys, values } => {
            let (test, values) = (TextTest::new(test), values.as_string::<i32>());
            let passes: Vec<bool> = (0..values.len()).map(|i| test.passes(values.value(i))).collect();
            BooleanBuffer::collect_bool(rows, |i| {
                let key = keys.get(i).and_then(|k| usize::try_from(*k).ok());
                key.and_then(|k| passes.get(k)).copied().unwrap_or(false)
            })
        }
    }
}

/// A test of text, prepared for many cells.
enum TextTest<'a> {
    Contains(Box<memchr::memmem::Finder<'a>>),
    StartsWith(&'a str),
    /// Sorted by length, then text: a length that no value has costs no comparison of text.
    In(Vec<&'a str>),
    Other(&'a Test),
}

impl<'a> TextTest<'a> {
    fn new(test: &'a Test) -> Self {
        match test {
            Test::Contains(part) => Self::Contains(Box::new(memchr::memmem::Finder::new(part))),
            Test::StartsWith(part) => Self::StartsWith(part),
            Test::In(values) => {
                let text = |v: &'a Value| match v {
                    Value::String(v) => Some(v.as_str()),
                    _ => None,
                };
                let mut texts: Vec<&str> = values.iter().filter_map(text).collect();
                texts.sort_unstable_by_key(|t| (t.len(), *t));
                Self::In(texts)
            }
            other => Self::Other(other),
        }
    }

    #[inline]
    fn passes(&self, cell: &str) -> bool {
        match self {
            Self::Contains(finder) => finder.find(cell.as_bytes()).is_some(),
            Self::StartsWith(part) => cell.starts_with(part),
            Self::In(texts) => {
                let order = |t: &&str| t.len().cmp(&cell.len()).then_with(|| (*t).cmp(cell));
                texts.binary_search_by(order).is_ok()
            }
            Self::Other(test) => holds(test, |v| match v {
                Value::String(v) => Some(cell.cmp(v)),
                _ => None,
            }),
        }
    }
}

/// A filter value counted in the unit of whole-numbered cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    /// The largest whole number not above the value; `None` when it lies below all of 128 bits.
    floor: Option<i128>,
    /// No whole number equals the value: the next one is above it.
    is_between: bool,
}

impl Ticks {
    const BELOW_ALL: Self = Self { floor: None, is_between: true };
    const ABOVE_ALL: Self = Self { floor: Some(i128::MAX), is_between: true };

    fn exactly(value: i128) -> Self {
        Self { floor: Some(value), is_between: false }
    }

    /// `value` in units of `unit`, 1 or more.
    fn of(value: i128, unit: i128) -> Option<Self> {
        let floor = value.checked_div_euclid(unit)?;
        Some(Self { floor: Some(floor), is_between: value.checked_rem_euclid(unit)? != 0 })
    }

    /// The first number not below the value; `None`: there is none.
    fn first(self) -> Option<i128> {
        if self.is_between { self.after() } else { self.floor }
    }

    /// The last number below the value.
    fn before(self) -> Option<i128> {
        if self.is_between { self.floor } else { self.floor?.checked_sub(1) }
    }

    /// The first number above the value.
    fn after(self) -> Option<i128> {
        match self.floor {
            Some(floor) => floor.checked_add(1),
            None => Some(i128::MIN),
        }
    }
}

fn int_of(value: &Value) -> Option<Ticks> {
    match value {
        Value::Int(v) => Some(Ticks::exactly(i128::from(*v))),
        _ => None,
    }
}

fn time_of(value: &Value) -> Option<i128> {
    match value {
        Value::Timestamp(t) => Some(t.nanos()),
        _ => None,
    }
}

/// A decimal in units of 10^-scale.
fn unscaled(value: &Decimal, scale: i8) -> Ticks {
    const DIGITS_MAX: usize = 39; // of 128 bits
    let far = if value.is_negative() { Ticks::BELOW_ALL } else { Ticks::ABOVE_ALL };
    // The value is 0.digits x 10^exponent: this many digits stand before the point once it is counted in units.
    let before = usize::try_from(value.exponent().saturating_add(i32::from(scale))).unwrap_or(0);
    if value.digits().is_empty() {
        return Ticks::exactly(0);
    }
    if before > DIGITS_MAX {
        return far;
    }
    let sign = if value.is_negative() { -1 } else { 1 };
    let digit = |i: usize| value.digits().get(i).map_or(0, |b| sign * i128::from(b.wrapping_sub(b'0')));
    let towards_zero = (0..before).try_fold(0_i128, |n, i| n.checked_mul(10)?.checked_add(digit(i)));
    let is_between = value.digits().len() > before;
    match towards_zero {
        None => far,
        Some(n) if is_between && value.is_negative() => Ticks { floor: n.checked_sub(1), is_between },
        Some(n) => Ticks { floor: Some(n), is_between },
    }
}

/// Cells that are whole numbers: tests become ranges of cells, or a list.
fn whole<T: Copy + Ord + TryFrom<i128> + Edges>(
    test: &Test,
    values: &[T],
    rows: usize,
    ticks: impl Fn(&Value) -> Option<Ticks>,
) -> BooleanBuffer {
    let none = || BooleanBuffer::new_unset(rows);
    if let Test::In(wanted) = test {
        let exact = |v: &Value| ticks(v).filter(|t| !t.is_between).and_then(|t| T::try_from(t.floor?).ok());
        let mut list: Vec<T> = wanted.iter().filter_map(exact).collect();
        list.sort_unstable();
        return BooleanBuffer::collect_bool(rows, |i| {
            values.get(i).is_some_and(|v| list.binary_search(v).is_ok())
        });
    }
    let Some((low, high)) = window(test, &ticks) else { return none() };
    // A window past the cells' own range holds no cell; one that reaches past it is cut.
    let (Some(low), Some(high)) = (T::at_least(low), T::at_most(high)) else { return none() };
    BooleanBuffer::collect_bool(rows, |i| values.get(i).is_some_and(|v| (*v >= low) & (*v <= high)))
}

/// The ends of a type of cell.
trait Edges: Sized {
    /// The smallest value that is not below `v`.
    fn at_least(v: i128) -> Option<Self>;
    /// The largest value that is not above `v`.
    fn at_most(v: i128) -> Option<Self>;
}

impl Edges for i64 {
    fn at_least(v: i128) -> Option<Self> {
        Self::try_from(v.max(i128::from(Self::MIN))).ok()
    }

    fn at_most(v: i128) -> Option<Self> {
        Self::try_from(v.min(i128::from(Self::MAX))).ok()
    }
}

impl Edges for i128 {
    fn at_least(v: i128) -> Option<Self> {
        Some(v)
    }

    fn at_most(v: i128) -> Option<Self> {
        Some(v)
    }
}

/// Smallest and largest cell that passes; `None` when none does.
fn window(test: &Test, ticks: &impl Fn(&Value) -> Option<Ticks>) -> Option<(i128, i128)> {
    Some(match test {
        Test::Eq(v) => (ticks(v)?.first()?, ticks(v)?.floor?),
        Test::Lt(v) => (i128::MIN, ticks(v)?.before()?),
        Test::Lte(v) => (i128::MIN, ticks(v)?.floor?),
        Test::Gt(v) => (ticks(v)?.after()?, i128::MAX),
        Test::Gte(v) => (ticks(v)?.first()?, i128::MAX),
        Test::Between(low, high) => (ticks(low)?.first()?, ticks(high)?.floor?),
        _ => return None,
    })
}

fn ordered(test: &Test, rows: usize, compare: impl Fn(usize, &Value) -> Option<Ordering>) -> BooleanBuffer {
    BooleanBuffer::collect_bool(rows, |i| holds(test, |v| compare(i, v)))
}

/// Tests cells that are costly to read: each is read once, however many values it is compared with.
fn each(test: &Test, rows: usize, cell: impl Fn(usize) -> Option<Value>) -> BooleanBuffer {
    BooleanBuffer::collect_bool(rows, |i| cell(i).is_some_and(|cell| holds(test, |v| value_cmp(&cell, v))))
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

impl Bounds {
    /// What is known about nulls alone.
    #[must_use]
    pub fn without_ends(self) -> Self {
        Self { min: None, max: None, ..self }
    }
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
