//! Rows that statistics rule out are not read, and no others.

use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use spandrel_download_protocol::{Filter, Test, Value};
use spandrel_export::Order;
use spandrel_source_parquet::{DatasetConfig, open};

use crate::{all, batch, between, config, current, printed, text, write};

const ROWS: i64 = 40_000;
const GROUP_ROWS: usize = 10_000;
const PAGE_ROWS: usize = 1_000;

/// One row a second from 2024-03-01, ids ascending, a word per thousand rows.
fn rows(ids: impl Iterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.collect();
    let time = TimestampMillisecondArray::from_iter_values(ids.iter().map(|i| 1_709_251_200_000 + i * 1_000));
    let words = StringArray::from_iter_values(ids.iter().map(|i| format!("word-{:03}", i / 1_000)));
    batch([
        ("t", Arc::new(time) as ArrayRef),
        ("id", Arc::new(Int64Array::from(ids)) as ArrayRef),
        ("word", Arc::new(words) as ArrayRef),
    ])
}

fn small_pages() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Page)
}

fn folder_of(batch: RecordBatch, properties: WriterProperties) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("x.parquet"), &[batch], properties);
    folder
}

fn leaf(column: usize, test: Test) -> Vec<Filter> {
    vec![Filter::Leaf { column, test }]
}

#[test]
fn a_minute_reads_one_page() {
    let folder = folder_of(rows(0..ROWS), small_pages().build());
    for scan in [true, false] {
        let source = open(DatasetConfig { scan, ..config(folder.path()) }).unwrap();
        let rows = current(&*source);
        let query = between(&source.schema(), "2024-03-01T04:00:00Z", "2024-03-01T04:01:00Z", vec![]);
        let plan = rows.plan(&query).unwrap();
        let units: Vec<u64> = plan.units.iter().map(|u| u.rows).collect();
        assert_eq!(units, [PAGE_ROWS as u64], "seconds 14,400 to 14,459 lie in one page of one group");
        assert_eq!(plan.rows_exact, Some(60));
        let (text, scanned) = printed(&*rows, &query).unwrap();
        assert_eq!((text.lines().count(), scanned), (60, PAGE_ROWS as u64));
        assert!(text.starts_with("2024-03-01T04:00:00.000Z,14400,word-014\r\n"), "{text}");
    }
}

#[test]
fn filters_on_other_columns_prune_groups_and_pages() {
    let folder = folder_of(rows(0..ROWS), small_pages().build());
    let source = open(config(folder.path())).unwrap();
    let word = |w: &str| Value::String(w.to_owned());
    for (filters, found, scanned) in [
        (leaf(1, Test::Eq(Value::Int(12_345))), 1, 1_000),
        (leaf(1, Test::In(vec![Value::Int(5), Value::Int(39_999)])), 2, 2_000),
        (leaf(1, Test::Between(Value::Int(999), Value::Int(1_000))), 2, 2_000),
        (leaf(1, Test::Gte(Value::Int(ROWS))), 0, 0),
        (leaf(1, Test::Exists(false)), 0, 0),
        (leaf(2, Test::Eq(word("word-007"))), 1_000, 1_000),
        (leaf(2, Test::StartsWith("word-03".to_owned())), 10_000, 10_000),
        (leaf(2, Test::Lt(word("word-001"))), 1_000, 1_000),
        (leaf(2, Test::Contains("-007".to_owned())), 1_000, 40_000),
        ([leaf(1, Test::Gt(Value::Int(12_000))), leaf(2, Test::Eq(word("word-012")))].concat(), 999, 1_000),
        (vec![Filter::Or(leaf(1, Test::Eq(Value::Int(7))))], 1, 1_000),
        (vec![Filter::Not(Box::new(leaf(1, Test::Gte(Value::Int(10))).remove(0)))], 10, 40_000),
    ] {
        let query = spandrel_download_protocol::Query { filters, ..all(&source.schema()) };
        let (text, looked_at) = printed(&*current(&*source), &query).unwrap();
        assert_eq!((text.lines().count(), looked_at), (found, scanned), "{:?}", query.filters);
    }
}

#[test]
fn without_statistics_every_row_is_read_and_none_is_missed() {
    let bare = small_pages().set_statistics_enabled(EnabledStatistics::None).build();
    let folder = folder_of(rows(0..ROWS), bare);
    let trusting = open(DatasetConfig { scan: false, ..config(folder.path()) }).unwrap();
    assert_eq!(trusting.facts().time, None, "nothing tells");
    let query = between(&trusting.schema(), "2024-03-01T04:00:00Z", "2024-03-01T04:01:00Z", vec![]);
    let (text, scanned) = printed(&*current(&*trusting), &query).unwrap();
    assert_eq!((text.lines().count(), scanned), (60, 40_000));
    // A server looks at the times itself, so groups are ruled out all the same.
    let scanned = open(config(folder.path())).unwrap();
    assert!(scanned.facts().time.is_some());
    assert_eq!(printed(&*current(&*scanned), &query).unwrap().1, GROUP_ROWS as u64);
}

#[test]
fn rows_without_a_time_never_match_but_count_as_rows() {
    let time: TimestampMillisecondArray = [Some(5), None, Some(3), None].into_iter().collect();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2, 3]));
    let first = batch([("t", Arc::new(time) as ArrayRef), ("id", ids)]);
    let nothing: TimestampMillisecondArray = vec![None, None].into_iter().collect();
    let second = batch([
        ("t", Arc::new(nothing) as ArrayRef),
        ("id", Arc::new(Int64Array::from(vec![8, 9])) as ArrayRef),
    ]);
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.parquet"), &[first], WriterProperties::default());
    write(&folder.path().join("b.parquet"), &[second], WriterProperties::default());
    for scan in [true, false] {
        let source = open(DatasetConfig { scan, ..config(folder.path()) }).unwrap();
        assert_eq!(source.facts().rows, 6);
        assert_eq!(text(&*source), "1970-01-01T00:00:00.005Z,0\r\n1970-01-01T00:00:00.003Z,2\r\n");
        let plan = current(&*source).plan(&all(&source.schema())).unwrap();
        assert_eq!(plan.rows_exact, Some(2));
    }
}

#[test]
fn the_scan_finds_groups_out_of_order() {
    // The second group falls back inside; the third only at the border of two batches of the scan.
    let mut ids: Vec<i64> = (0..ROWS).collect();
    ids.swap(15_000, 15_001);
    let folder = folder_of(rows(ids.into_iter()), small_pages().build());
    let source = open(config(folder.path())).unwrap();
    let orders: Vec<Order> =
        current(&*source).plan(&all(&source.schema())).unwrap().units.iter().map(|u| u.order).collect();
    assert_eq!(orders, [Order::Ordered, Order::Unordered, Order::Ordered, Order::Ordered]);
    let trusting = open(DatasetConfig { scan: false, ..config(folder.path()) }).unwrap();
    let plan = current(&*trusting).plan(&all(&trusting.schema())).unwrap();
    assert!(plan.units.iter().all(|u| u.order == Order::Unknown));
    assert_eq!(plan.rows_exact, Some(40_000));
}

#[test]
fn years_beyond_four_digits_are_not_lost_to_the_order_of_their_text() {
    // As text "+10000…" sorts before "2024…", as a number after it: statistics of the numbers say nothing.
    let days = Date32Array::from(vec![19_783, 3_000_000, -1_000_000]);
    let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1, 2, 3]));
    let folder =
        folder_of(batch([("t", time), ("day", Arc::new(days) as ArrayRef)]), WriterProperties::default());
    let source = open(config(folder.path())).unwrap();
    for (test, want) in [
        (Test::Lt(Value::String("1".to_owned())), 2),
        (Test::StartsWith("+".to_owned()), 1),
        (Test::StartsWith("2024".to_owned()), 1),
        (Test::Gte(Value::String("2024-03-01".to_owned())), 1),
    ] {
        let query = spandrel_download_protocol::Query { filters: leaf(1, test), ..all(&source.schema()) };
        let (text, _) = printed(&*current(&*source), &query).unwrap();
        assert_eq!(text.lines().count(), want, "{:?}\n{text}", query.filters);
    }
}
