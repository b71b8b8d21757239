//! Files that are damaged, cut short, replaced or gone, before and while they are read.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use spandrel_download_protocol::{Column, ColumnType, Query, Timestamp};
use spandrel_export::{Read, Rows, Source, SourceError};
use spandrel_source_parquet::{DatasetConfig, open, write_trades};

fn query(columns: usize) -> Query {
    Query {
        from: Timestamp::parse("2000-01-01T00:00:00Z").unwrap(),
        to: Timestamp::parse("2100-01-01T00:00:00Z").unwrap(),
        filters: vec![],
        columns: (0..columns).collect(),
        sort: vec![],
        limit: None,
    }
}

/// Reads everything; `between` is called before each unit but the first.
fn read(rows: &Arc<dyn Rows>, mut between: impl FnMut()) -> Result<u64, SourceError> {
    let query = query(rows.schema().columns().len());
    let mut seen = 0;
    for (n, unit) in rows.plan(&query)?.units.iter().enumerate() {
        if n > 0 {
            between();
        }
        let read = Read { query: &query, columns: &query.columns, batch_rows: 1_000 };
        let mut batches = rows.open(&read, unit)?;
        while let Some(batch) = batches.next() {
            seen += batch?.num_rows() as u64;
        }
    }
    Ok(seen)
}

fn trades(dir: &Path) -> PathBuf {
    write_trades(3_000, dir, &mut |_| ()).unwrap();
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find(|p| p.extension().is_some()).unwrap()
}

/// A CSV file of several blocks.
fn lines(dir: &Path) -> (PathBuf, Arc<dyn Source>) {
    let path = dir.join("logs.csv");
    let row = |n: u32| format!("{n},2024-03-01T00:00:{:02}Z,{}\r\n", n % 60, "text ".repeat(20));
    fs::write(&path, "id,time,note\r\n".to_owned() + &(0..60_000).map(row).collect::<String>()).unwrap();
    let mut config = DatasetConfig::new("logs", &path);
    config.columns = Some(vec![
        Column::new("id", ColumnType::Int),
        Column::timestamp("time", 0),
        Column::new("note", ColumnType::String),
    ]);
    (path, open(config).unwrap())
}

/// One byte flipped, anywhere: an error or rows, and never a panic.
#[test]
fn damage_at_any_place_is_an_error_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = trades(dir.path());
    let whole = fs::read(&path).unwrap();
    let other = dir.path().join("damaged.parquet");
    let (mut refused, mut noticed) = (0, 0);
    // Every place of the footer, where the structure is, and some of the pages.
    let footer = whole.len().saturating_sub(600)..whole.len();
    for at in footer.chain((0..whole.len()).step_by(whole.len() / 150)) {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            fs::write(&other, &bytes).unwrap();
            match open(DatasetConfig::new("trades", &other)) {
                Err(_) => refused += 1,
                Ok(source) => {
                    let rows = source.rows(&source.snapshot()).unwrap();
                    noticed += u32::from(read(&rows, || ()).is_err());
                }
            }
        }
    }
    assert!(refused > 100 && noticed > 10, "{refused} refused, {noticed} noticed: the damage was real");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = trades(dir.path());
    let whole = fs::read(&path).unwrap();
    let other = dir.path().join("cut.parquet");
    for len in (0..whole.len()).step_by(whole.len() / 40) {
        fs::write(&other, &whole[..len]).unwrap();
        assert!(open(DatasetConfig::new("trades", &other)).is_err(), "cut to {len} bytes");
    }
}

#[test]
fn a_source_that_vanishes_or_changes_while_it_is_read_has_changed() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("gone", |path| fs::remove_file(path).unwrap()),
        ("cut short", |path| {
            let len = fs::metadata(path).unwrap().len();
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len / 10).unwrap();
        }),
        ("overwritten", |path| {
            let bytes = fs::read(path).unwrap().iter().map(|b| b.wrapping_add(1)).collect::<Vec<_>>();
            fs::write(path, bytes).unwrap();
        }),
        ("replaced", |path| {
            fs::write(path.with_extension("new"), "something else").unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
    ];
    for (name, harm) in harms {
        let dir = tempfile::tempdir().unwrap();
        let (path, source) = lines(dir.path());
        let rows = source.rows(&source.snapshot()).unwrap();
        let ended = read(&rows, || {
            if path.exists() {
                harm(&path)
            }
        });
        assert!(matches!(ended, Err(SourceError::Changed { .. })), "{name}: {ended:?}");
    }
    for (name, harm) in harms {
        let dir = tempfile::tempdir().unwrap();
        let path = trades(dir.path());
        let source = open(DatasetConfig::new("trades", &path)).unwrap();
        let snapshot = source.snapshot();
        harm(&path);
        let rows = source.rows(&snapshot);
        let ended = rows.and_then(|rows| read(&rows, || ()));
        assert!(ended.is_err(), "{name}: {ended:?}");
        if name != "overwritten" {
            assert!(matches!(ended, Err(SourceError::Changed { .. })), "{name}: {ended:?}");
        }
    }
}
