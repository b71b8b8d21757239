//! Exports of real Parquet files: order, parts, threads, continuing, limits, memory of sorts.

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a wrong index fails the test"
)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use spandrel_download_protocol::{
    Codec, Filter, Format, Output, Query, SortKey, SortOrder, Test, Timestamp, Value,
};
use spandrel_export_engine::{Checkpoint, Control, Export, ExportError, Part, Sink};
use spandrel_source_parquet::DatasetConfig;
use tempfile::TempDir;

/// Parts in memory, with every checkpoint and what was stored at that moment.
#[derive(Default)]
struct Memory {
    parts: Vec<Vec<u8>>,
    done: Vec<Part>,
    checkpoints: Vec<Checkpoint>,
    restarts: u32,
    stop_after: Option<(usize, Arc<Control>)>,
}

impl Sink for Memory {
    fn begin(&mut self, part: u32) -> io::Result<()> {
        assert_eq!(part as usize, self.parts.len() + 1, "parts begin in order");
        self.parts.push(Vec::new());
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.parts.last_mut().expect("a part was begun").extend_from_slice(bytes);
        Ok(())
    }
    fn end(&mut self, part: &Part) -> io::Result<()> {
        assert_eq!(part.bytes, self.parts.last().map_or(0, |p| p.len() as u64));
        self.done.push(part.clone());
        Ok(())
    }
    fn checkpoint(&mut self, at: &Checkpoint) -> io::Result<()> {
        assert_eq!(at.part_bytes, self.parts.last().map_or(0, |p| p.len() as u64));
        self.checkpoints.push(at.clone());
        if let Some((after, control)) = &self.stop_after
            && self.checkpoints.len() > *after
        {
            control.stop();
        }
        Ok(())
    }
    fn restart(&mut self) -> io::Result<()> {
        self.parts.clear();
        self.checkpoints.clear();
        self.restarts += 1;
        Ok(())
    }
}

const ROWS: i64 = 60_000;

fn batch(order: impl Iterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = order.collect();
    // Ties on purpose: four rows share an instant.
    let time: TimestampMicrosecondArray =
        ids.iter().map(|i| Some(1_700_000_000_000_000 + i / 4 * 1_000)).collect();
    let price: Float64Array =
        ids.iter().map(|i| (i % 7 != 0).then(|| (i * 7_919 % 1_000) as f64 / 8.0)).collect();
    let name: StringArray =
        ids.iter().map(|i| (i % 11 != 0).then(|| format!("row \"{}\", {}", i % 13, i))).collect();
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(ids)) as ArrayRef),
        ("time", Arc::new(time.with_timezone("UTC")) as ArrayRef),
        ("price", Arc::new(price) as ArrayRef),
        ("name", Arc::new(name) as ArrayRef),
    ])
    .expect("columns have one length")
}

fn write(path: &Path, batch: &RecordBatch) {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(9_000))
        .set_data_page_row_count_limit(1_000)
        .set_write_batch_size(500)
        .build();
    let file = std::fs::File::create(path).expect("the folder is there");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a plain schema");
    writer.write(batch).expect("the file can be written");
    writer.close().expect("the file can be closed");
}

fn ordered(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("ordered.parquet");
    write(&path, &batch(0..ROWS));
    path
}

/// The same rows in another order, so that ordinals within a tie differ but times do not.
fn shuffled(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("shuffled.parquet");
    write(&path, &batch((0..ROWS).map(|i| i * 7_919 % ROWS)));
    path
}

fn export(path: &Path, scan: bool, change: impl FnOnce(&mut Query, &mut Output)) -> Export {
    let source = spandrel_source_parquet::open(DatasetConfig { scan, ..DatasetConfig::new("data", path) })
        .expect("a data set");
    let (from, to) = (Timestamp::from_nanos(0), Timestamp::from_nanos(i128::from(i64::MAX)));
    let mut query = Query { from, to, filters: vec![], columns: vec![0, 1, 2, 3], sort: vec![], limit: None };
    let mut output = Output::new(Format::Csv);
    change(&mut query, &mut output);
    let scratch = path.with_extension("scratch");
    Export {
        rows: source.rows(&source.snapshot()).expect("the files are there"),
        query,
        output,
        workers: 2,
        scratch,
    }
}

fn run(export: &Export) -> Memory {
    let mut sink = Memory::default();
    export.run(&mut sink, &Control::new(), None).expect("the export finishes");
    assert!(!export.scratch.exists(), "nothing is left in the scratch folder");
    sink
}

fn ids(csv: &[u8]) -> Vec<i64> {
    csv::Reader::from_reader(csv)
        .records()
        .map(|r| r.expect("valid CSV")[0].parse().expect("an id"))
        .collect()
}

#[test]
fn every_row_comes_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let sink = run(&export(&ordered(&folder), true, |_, _| ()));
    assert_eq!(ids(&sink.parts[0]), (0..ROWS).collect::<Vec<_>>());
    assert_eq!(
        sink.done,
        [Part {
            index: 1,
            rows: ROWS as u64,
            bytes: sink.parts[0].len() as u64,
            raw_bytes: sink.parts[0].len() as u64
        }]
    );
}

#[test]
fn rows_out_of_time_order_come_sorted_with_ties_in_source_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = shuffled(&folder);
    let source: Vec<i64> = (0..ROWS).map(|i| i * 7_919 % ROWS).collect();
    let mut want = source;
    want.sort_by_key(|id| id / 4); // stable: ties keep the order of the file
    for (scan, restarts) in [(true, 0), (false, 1)] {
        // Statistics of an unscanned source already show that row groups overlap, so it need not start twice.
        let sink = run(&export(&path, scan, |_, _| ()));
        assert_eq!(ids(&sink.parts[0]), want, "scanned: {scan}");
        assert!(sink.restarts <= restarts);
    }
}

#[test]
fn an_unscanned_file_that_turns_out_unordered_starts_again_sorted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late.parquet");
    // Row groups do not overlap, but one row inside the last is out of order.
    write(
        &path,
        &batch((0..ROWS).map(|i| {
            if i == ROWS - 10 {
                ROWS - 20
            } else if i == ROWS - 20 {
                ROWS - 10
            } else {
                i
            }
        })),
    );
    let sink = run(&export(&path, false, |_, _| ()));
    assert_eq!(sink.restarts, 1);
    let got: Vec<i64> = ids(&sink.parts[0]).iter().map(|id| id / 4).collect();
    assert!(got.is_sorted());
    assert_eq!(got.len() as i64, ROWS);
}

#[test]
fn the_number_of_threads_never_shows() {
    let folder = tempfile::tempdir().unwrap();
    for path in [ordered(&folder), shuffled(&folder)] {
        for (format, codec) in
            [(Format::Csv, Some(Codec::Gzip)), (Format::Json, Some(Codec::Zstd)), (Format::Ndjson, None)]
        {
            let one = export(&path, true, |q, o| {
                q.filters.push(Filter::Leaf { column: 0, test: Test::Gt(Value::Int(100)) });
                (o.format, o.codec, o.rows_per_part) = (format, codec, Some(17_000));
            });
            let want = run(&Export { workers: 1, ..one.clone() });
            for workers in [2, 4, 8] {
                let got = run(&Export { workers, ..one.clone() });
                assert!(got.parts == want.parts, "{format:?} {codec:?} with {workers} threads");
            }
        }
    }
}

#[test]
fn an_export_continues_from_any_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    for path in [ordered(&folder), shuffled(&folder)] {
        for (format, codec) in
            [(Format::Csv, None), (Format::Json, Some(Codec::Gzip)), (Format::Ndjson, Some(Codec::Zstd))]
        {
            let whole = export(&path, true, |q, o| {
                q.filters.push(Filter::Leaf { column: 2, test: Test::Exists(true) });
                q.limit = Some(50_000);
                (o.format, o.codec, o.rows_per_part) = (format, codec, Some(9_999));
            });
            let want = run(&whole);
            for at in &want.checkpoints {
                let mut sink = Memory { parts: want.parts[..at.part as usize].to_vec(), ..Memory::default() };
                sink.parts.last_mut().unwrap().truncate(at.part_bytes as usize);
                whole.run(&mut sink, &Control::new(), Some(at)).unwrap();
                assert!(sink.parts == want.parts, "{format:?} {codec:?} from {at:?}");
            }
        }
    }
}

#[test]
fn a_stopped_export_says_so_and_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let whole = export(&ordered(&folder), true, |_, _| ());
    let want = run(&whole);
    let control = Arc::new(Control::new());
    let mut sink = Memory { stop_after: Some((2, Arc::clone(&control))), ..Memory::default() };
    assert!(matches!(whole.run(&mut sink, &control, None), Err(ExportError::Stopped)));
    let at = sink.checkpoints.last().unwrap().clone();
    sink.stop_after = None;
    whole.run(&mut sink, &Control::new(), Some(&at)).unwrap();
    assert!(sink.parts == want.parts);
}

#[test]
fn sort_keys_limit_and_columns_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = ordered(&folder);
    let price = |i: i64| (i % 7 != 0).then(|| i * 7_919 % 1_000);
    let mut want: Vec<i64> = (0..ROWS).collect();
    want.sort_by_key(|i| (price(*i).is_none(), std::cmp::Reverse(price(*i)), i / 4, *i));
    want.truncate(1_234);
    let sink = run(&export(&path, true, |q, o| {
        q.sort = vec![SortKey { column: 2, order: SortOrder::Desc }];
        q.limit = Some(1_234);
        q.columns = vec![0];
        o.rows_per_part = Some(1_000);
    }));
    assert_eq!(sink.done.iter().map(|p| p.rows).collect::<Vec<_>>(), [1_000, 234]);
    let got: Vec<i64> = sink.parts.iter().flat_map(|p| ids(p)).collect();
    assert_eq!(got, want);
}

#[test]
fn parts_are_complete_files_and_json_is_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = ordered(&folder);
    for limit in [0_usize, 1, 5_000, 5_001, 12_000] {
        let sink = run(&export(&path, true, |q, o| {
            if limit == 0 {
                q.to = Timestamp::from_nanos(1);
            } else {
                q.limit = Some(limit as u64);
            }
            (o.format, o.rows_per_part) = (Format::Json, Some(5_000));
        }));
        let rows: Vec<Vec<serde_json::Value>> =
            sink.parts.iter().map(|p| serde_json::from_slice(p).unwrap()).collect();
        assert_eq!(rows.iter().map(Vec::len).sum::<usize>(), limit);
        assert_eq!(rows.len(), limit.div_ceil(5_000).max(1));
        if limit == 0 {
            assert_eq!(sink.parts[0], b"[]\n");
        }
        let first = rows.iter().flatten().next();
        assert!(first.is_none_or(|r| r["time"] == "2023-11-14T22:13:20.000000Z"), "{first:?}");
    }
}

#[test]
fn counts_and_previews_agree_with_the_export() {
    let folder = tempfile::tempdir().unwrap();
    for path in [ordered(&folder), shuffled(&folder)] {
        let filtered = export(&path, true, |q, _| {
            q.filters = vec![Filter::Or(vec![
                Filter::Leaf { column: 3, test: Test::Contains("row \"5\"".to_owned()) },
                Filter::Leaf { column: 0, test: Test::Lt(Value::Int(3)) },
            ])];
        });
        let got = ids(&run(&filtered).parts[0]);
        let want = (0..ROWS).filter(|i| *i < 3 || (i % 13 == 5 && i % 11 != 0)).count();
        assert_eq!(got.len(), want);
        assert_eq!(filtered.count(&Control::new()).unwrap(), want as u64);
        assert_eq!(filtered.rows_exact().unwrap(), None);
        let preview = filtered.preview(3, &Control::new()).unwrap().rows;
        let first: Vec<i64> = preview.iter().map(|r| r[0].as_deref().unwrap().parse().unwrap()).collect();
        assert_eq!(first, got[..3]);
        let ranged = export(&path, true, |q, _| q.from = Timestamp::from_nanos(1_700_000_005_000_000_000));
        assert_eq!(ranged.rows_exact().unwrap(), Some(ROWS as u64 - 20_000));
        assert_eq!(ids(&run(&ranged).parts[0]).len() as i64, ROWS - 20_000);
    }
}
