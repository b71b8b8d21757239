//! Filters over one batch; the floor is one comparison of 64-bit integers a row.
//!
//! `cargo bench -p spandrel-export --bench filters`.

mod trades;

use std::hint::black_box;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_buffer::BooleanBuffer;
use divan::Bencher;
use divan::counter::ItemsCount;
use spandrel_download_protocol::{Decimal, Filter, Test, Timestamp, Value};
use spandrel_export::Predicate;

fn main() {
    divan::main();
}

fn run(bencher: Bencher<'_, '_>, column: usize, test: Test) {
    let predicate = Predicate::new(Filter::Leaf { column, test }, &trades::schema());
    let batch = trades::batch().project(&[column]).expect("a column of the batch");
    bencher
        .counter(ItemsCount::new(trades::ROWS))
        .bench_local(|| predicate.evaluate(black_box(&batch)).expect("the column fits"));
}

fn decimal(text: &str) -> Value {
    Value::Decimal(Decimal::parse(text).expect("a decimal"))
}

#[divan::bench]
fn floor_i64_above(bencher: Bencher<'_, '_>) {
    let batch = trades::batch();
    let values = batch.column(7).as_primitive::<Int64Type>().values().clone();
    bencher.counter(ItemsCount::new(trades::ROWS)).bench_local(|| {
        let values = black_box(&values);
        BooleanBuffer::collect_bool(values.len(), |i| values.get(i).is_some_and(|v| *v > 200_000))
    });
}

#[divan::bench]
fn int_above(bencher: Bencher<'_, '_>) {
    run(bencher, 7, Test::Gt(Value::Int(200_000)));
}

#[divan::bench]
fn int_in_100(bencher: Bencher<'_, '_>) {
    run(bencher, 7, Test::In((0..100).map(|i| Value::Int(100_000 + 1_000 * i)).collect()));
}

#[divan::bench]
fn time_from(bencher: Bencher<'_, '_>) {
    run(bencher, 0, Test::Gte(Value::Timestamp(Timestamp::from_millis(1_704_070_000_000))));
}

#[divan::bench]
fn decimal_between(bencher: Bencher<'_, '_>) {
    run(bencher, 5, Test::Between(decimal("10.5"), decimal("5000.25")));
}

#[divan::bench]
fn float_below(bencher: Bencher<'_, '_>) {
    run(bencher, 3, Test::Lt(Value::Float(1e6)));
}

#[divan::bench]
fn dictionary_equal(bencher: Bencher<'_, '_>) {
    run(bencher, 1, Test::Eq(Value::String("T007-KRW".to_owned())));
}

#[divan::bench]
fn text_in_100(bencher: Bencher<'_, '_>) {
    run(bencher, 8, Test::In((0..100).map(|i| Value::String(format!("word {i}"))).collect()));
}

#[divan::bench]
fn text_contains(bencher: Bencher<'_, '_>) {
    run(bencher, 8, Test::Contains("cancelled".to_owned()));
}
