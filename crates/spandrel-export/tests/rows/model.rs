//! Filters, statistics and keys against the obvious way of doing the same.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};
use proptest::prelude::*;
use spandrel_download_protocol::{
    Column, ColumnType, Filter, Query, Schema, SortKey, SortOrder, Test, Timestamp, Value,
};
use spandrel_export::{
    Bounds, ExportError, KeyWriter, Predicate, may_match, time_extent, time_filter, times, value_at,
    value_cmp,
};

use crate::made::{self, Made, SHAPES, Shape, made, order};

const ROWS: usize = 10;

fn raw() -> impl Strategy<Value = Vec<Option<(i128, String)>>> {
    prop::collection::vec(made::raw(), ROWS)
}

fn shape() -> impl Strategy<Value = Shape> {
    prop::sample::select(SHAPES.to_vec())
}

/// A test on a column with values near its cells. `picks` are cells of a second column of the same kind.
fn test(op: usize, values: &[Value]) -> Test {
    let value = |i: usize| values[i % values.len()].clone();
    let text = |i: usize| match value(i) {
        Value::String(t) => Some(t.chars().skip(op / 16).take(2).collect::<String>()),
        _ => None,
    };
    match op % 11 {
        0 => Test::Eq(value(0)),
        1 => Test::Ne(value(0)),
        2 => Test::Lt(value(0)),
        3 => Test::Lte(value(0)),
        4 => Test::Gt(value(0)),
        5 => Test::Gte(value(0)),
        6 => Test::In(values.to_vec()),
        7 => {
            let (a, b) = (value(0), value(1));
            if order(&a, &b) == Some(Ordering::Greater) { Test::Between(b, a) } else { Test::Between(a, b) }
        }
        8 => text(0).map_or(Test::Exists(false), Test::Contains),
        9 => text(1).map_or(Test::Exists(true), Test::StartsWith),
        _ => Test::Exists(op % 2 == 0),
    }
}

/// What section 6 of the protocol says, cell by cell.
fn holds(test: &Test, cell: Option<&Value>) -> bool {
    let Some(cell) = cell else { return matches!(test, Test::Ne(_) | Test::Exists(false)) };
    let is = |v: &Value, wanted: &[Ordering]| order(cell, v).is_some_and(|o| wanted.contains(&o));
    use Ordering::{Equal, Greater, Less};
    match test {
        Test::Eq(v) => is(v, &[Equal]),
        Test::Ne(v) => !is(v, &[Equal]),
        Test::Lt(v) => is(v, &[Less]),
        Test::Lte(v) => is(v, &[Less, Equal]),
        Test::Gt(v) => is(v, &[Greater]),
        Test::Gte(v) => is(v, &[Greater, Equal]),
        Test::In(values) => values.iter().any(|v| is(v, &[Equal])),
        Test::Between(low, high) => is(low, &[Greater, Equal]) && is(high, &[Less, Equal]),
        Test::Contains(part) => matches!(cell, Value::String(t) if t.contains(part.as_str())),
        Test::StartsWith(part) => matches!(cell, Value::String(t) if t.starts_with(part.as_str())),
        Test::Exists(wanted) => *wanted,
    }
}

fn passes(filter: &Filter, columns: &[Made], row: usize) -> bool {
    match filter {
        Filter::Leaf { column, test } => holds(test, columns[*column].cells[row].as_ref()),
        Filter::And(all) => all.iter().all(|f| passes(f, columns, row)),
        Filter::Or(any) => any.iter().any(|f| passes(f, columns, row)),
        Filter::Not(one) => !passes(one, columns, row),
    }
}

/// Filter values: cells of another column of the same kind, so that some match; never NaN or infinite.
fn values(other: &Made) -> Vec<Value> {
    let finite = |v: &&Value| !matches!(v, Value::Float(f) if !f.is_finite());
    let found: Vec<Value> = other.cells.iter().flatten().filter(finite).cloned().collect();
    if !found.is_empty() {
        return found;
    }
    vec![match other.kind {
        ColumnType::Bool => Value::Bool(true),
        ColumnType::Int => Value::Int(0),
        ColumnType::Float => Value::Float(0.0),
        ColumnType::String => Value::String(String::new()),
        ColumnType::Timestamp => Value::Timestamp(Timestamp::from_millis(0)),
        ColumnType::Decimal => {
            Value::Decimal(spandrel_download_protocol::Decimal::parse("0").expect("a decimal"))
        }
    }]
}

/// Two columns of random shapes, and a filter tree over them.
fn filtered() -> impl Strategy<Value = (Vec<Made>, Filter)> {
    let leaves = prop::collection::vec((0_usize..2, 0_usize..64), 4);
    (raw(), raw(), shape(), shape(), leaves, 0_usize..6).prop_map(|(cells, wanted, a, b, leaves, form)| {
        let columns = vec![made(a, &cells), made(b, &cells)];
        // Values of any array of the same kind: the comparison is by meaning.
        let others: Vec<Vec<Value>> = [a, b].iter().map(|s| values(&made(*s, &wanted))).collect();
        let mut leaves =
            leaves.into_iter().map(|(column, op)| Filter::Leaf { column, test: test(op, &others[column]) });
        let mut leaf = || leaves.next().expect("four leaves");
        let filter = match form {
            0 | 1 => leaf(),
            2 => Filter::Not(Box::new(leaf())),
            3 => Filter::And(vec![leaf(), leaf()]),
            4 => Filter::Or(vec![leaf(), Filter::And(vec![leaf(), leaf()])]),
            _ => Filter::Not(Box::new(Filter::Or(vec![leaf(), leaf(), Filter::Not(Box::new(leaf()))]))),
        };
        (columns, filter)
    })
}

/// The columns with a time column after them, since every schema has one.
fn schema(columns: &[Made]) -> Schema {
    let mut all = made::columns(columns);
    for (column, made) in all.iter_mut().zip(columns) {
        column.kind = made.kind;
    }
    all.push(Column::timestamp("time", 3));
    let time = columns.len();
    Schema::new(all, time).expect("names differ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A predicate picks the rows that the definition picks, also from a slice of a batch.
    #[test]
    fn prop_predicate_agrees_with_model((columns, filter) in filtered(), from in 0_usize..ROWS) {
        let predicate = Predicate::new(filter.clone(), &schema(&columns));
        let batch = made::batch(&columns).project(predicate.columns()).unwrap().slice(from, ROWS - from);
        let bits = predicate.evaluate(&batch).unwrap();
        prop_assert_eq!(bits.len(), ROWS - from);
        for row in from..ROWS {
            prop_assert_eq!(bits.value(row - from), passes(&filter, &columns, row), "row {} of {:?}", row, columns);
        }
    }

    /// Statistics never rule out rows among which one passes.
    #[test]
    fn prop_statistics_rule_out_no_match((columns, filter) in filtered(), known in 0_u8..8) {
        let bounds = |column: usize| {
            let cells: Vec<&Value> = columns[column].cells.iter().flatten().collect();
            let is_nan = |v: &Value| matches!(v, Value::Float(f) if f.is_nan());
            // Writers leave NaN out of statistics.
            let numbers = || cells.iter().copied().filter(|v| !is_nan(v));
            let least = |a, b| if order(a, b) == Some(Ordering::Greater) { b } else { a };
            let most = |a, b| if order(a, b) == Some(Ordering::Less) { b } else { a };
            Some(Bounds {
                min: numbers().reduce(least).cloned().filter(|_| known & 1 > 0),
                max: numbers().reduce(most).cloned().filter(|_| known & 2 > 0),
                has_nulls: (known & 4 > 0).then_some(cells.len() < ROWS),
                all_null: known & 4 > 0 && cells.is_empty(),
            })
        };
        if (0..ROWS).any(|row| passes(&filter, &columns, row)) {
            prop_assert!(may_match(&filter, &bounds));
        }
        prop_assert!(may_match(&filter, &|_| None), "nothing known rules nothing out");
    }

    /// Keys compare as bytes like the rows compare by the definition of order.
    #[test]
    fn prop_keys_agree_with_model(cells in raw(), a in shape(), b in shape(), desc in any::<[bool; 2]>()) {
        let mut columns = vec![made(a, &cells), made(b, &cells)];
        let schema = schema(&columns);
        columns.push(made(Shape::Micros, &cells[..].iter().rev().cloned().collect::<Vec<_>>()));
        let direction = |d: bool| if d { SortOrder::Desc } else { SortOrder::Asc };
        let sort: Vec<SortKey> =
            desc.iter().enumerate().map(|(column, d)| SortKey { column, order: direction(*d) }).collect();
        let range = (Timestamp::from_millis(0), Timestamp::from_millis(1));
        let query = Query { from: range.0, to: range.1, filters: vec![], columns: vec![0], sort, limit: None };
        let keys = KeyWriter::new(&query, &schema);
        let batch = made::batch(&columns).project(keys.columns()).unwrap();
        let (mut bytes, mut ends) = (vec![], vec![]);
        keys.write(&batch, &mut bytes, &mut ends).unwrap();
        let key = |row: usize| {
            let from = row.checked_sub(1).map_or(0, |before| ends[before] as usize);
            &bytes[from..ends[row] as usize]
        };
        let class = |v: Option<&Value>| match v {
            Some(Value::Float(f)) if f.is_nan() => 1,
            Some(_) => 0,
            None => 2,
        };
        let compare = |x: usize, y: usize| {
            [(0, desc[0]), (1, desc[1]), (2, false)].iter().fold(Ordering::Equal, |so_far, (column, desc)| {
                let (x, y) = (columns[*column].cells[x].as_ref(), columns[*column].cells[y].as_ref());
                let by_value = x.zip(y).and_then(|(x, y)| order(x, y)).unwrap_or(Ordering::Equal);
                let by_value = if *desc { by_value.reverse() } else { by_value };
                so_far.then(class(x).cmp(&class(y))).then(by_value)
            })
        };
        for x in 0..ROWS {
            for y in 0..ROWS {
                prop_assert_eq!(key(x).cmp(key(y)), compare(x, y), "rows {} and {} of {:?}", x, y, columns);
            }
        }
    }

    /// Cells, times and extents are those that went in.
    #[test]
    fn prop_cells_come_back(cells in raw(), shape in shape()) {
        let column = made(shape, &cells);
        for (row, want) in column.cells.iter().enumerate() {
            let found = value_at(column.kind, &column.array, row).unwrap();
            let same = match (&found, want) {
                (Some(Value::Float(a)), Some(Value::Float(b))) => a.to_bits() == b.to_bits(),
                (a, b) => a == b,
            };
            prop_assert!(same, "{:?} {:?}", found, want);
        }
        prop_assert_eq!(value_at(column.kind, &column.array, ROWS).unwrap(), None);
        if column.kind == ColumnType::Timestamp {
            let want: Vec<Option<i128>> = column
                .cells
                .iter()
                .map(|c| match c { Some(Value::Timestamp(t)) => Some(t.nanos()), _ => None })
                .collect();
            prop_assert_eq!(&times(&column.array).unwrap(), &want);
            let present: Vec<i128> = want.iter().flatten().copied().collect();
            let (extent, is_sorted) = time_extent(&column.array).unwrap();
            let found = extent.map(|(a, b)| (a.nanos(), b.nanos()));
            prop_assert_eq!(found, present.iter().min().copied().zip(present.iter().max().copied()));
            prop_assert_eq!(is_sorted, present.is_sorted());
        }
    }
}

#[test]
fn a_bound_past_the_cells_own_range_matches_no_cell() {
    let cell = Arc::new(arrow_array::TimestampNanosecondArray::from(vec![i64::MAX, i64::MIN])) as ArrayRef;
    let schema = Schema::new(vec![Column::timestamp("t", 9)], 0).unwrap();
    let batch = arrow_array::RecordBatch::try_from_iter([("t", cell)]).unwrap();
    let far = |text| Value::Timestamp(Timestamp::parse(text).unwrap());
    for (test, want) in [
        (Test::Gte(far("9999-01-01T00:00:00Z")), vec![]),
        (Test::Gt(far("9999-01-01T00:00:00Z")), vec![]),
        (Test::Eq(far("9999-01-01T00:00:00Z")), vec![]),
        (Test::Lt(far("9999-01-01T00:00:00Z")), vec![0, 1]),
        (Test::Lt(far("0001-01-01T00:00:00Z")), vec![]),
        (Test::Gte(far("0001-01-01T00:00:00Z")), vec![0, 1]),
    ] {
        let predicate = Predicate::new(Filter::Leaf { column: 0, test }, &schema);
        let found: Vec<usize> = predicate.evaluate(&batch).unwrap().set_indices().collect();
        assert_eq!(found, want, "{predicate:?}");
    }
}

#[test]
fn the_time_range_is_half_open_and_leaves_nulls_out() {
    let cells: arrow_array::TimestampMillisecondArray =
        [Some(1), Some(2), None, Some(4), Some(0)].into_iter().collect();
    let schema = Schema::new(vec![Column::timestamp("t", 3)], 0).unwrap();
    let batch = arrow_array::RecordBatch::try_from_iter([("t", Arc::new(cells) as ArrayRef)]).unwrap();
    let pick = |from: i128, to: i128| {
        let (from, to) = (Timestamp::from_nanos(from), Timestamp::from_nanos(to));
        let query = Query { from, to, filters: vec![], columns: vec![0], sort: vec![], limit: None };
        let predicate = Predicate::new(time_filter(&query, &schema), &schema);
        predicate.evaluate(&batch).unwrap().set_indices().collect::<Vec<_>>()
    };
    assert_eq!(pick(1_000_000, 4_000_000), vec![0, 1]);
    assert_eq!(pick(1_000_001, 4_000_001), vec![1, 3]);
    assert_eq!(pick(i128::MIN, i128::MAX), vec![0, 1, 3, 4], "the whole of time");
}

#[test]
fn nothing_is_compared_across_types() {
    assert_eq!(value_cmp(&Value::Int(1), &Value::Float(1.0)), None);
    assert_eq!(value_cmp(&Value::Float(f64::NAN), &Value::Float(f64::NAN)), None);
    let ints = Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    assert!(matches!(times(&ints), Err(ExportError::Type { .. })));
    assert!(matches!(value_at(ColumnType::Bool, &ints, 0), Err(ExportError::Type { .. })));
}

#[test]
fn an_empty_batch_gives_no_bits_keys_or_extent() {
    for shape in SHAPES {
        let columns = vec![made(shape, &[])];
        let schema = schema(&columns);
        let filter = Filter::Leaf { column: 0, test: Test::Exists(true) };
        let bits = Predicate::new(filter, &schema).evaluate(&made::batch(&columns)).unwrap();
        assert_eq!(bits.len(), 0);
        if columns[0].kind == ColumnType::Timestamp {
            assert_eq!(time_extent(&columns[0].array).unwrap(), (None, true));
        }
    }
}
