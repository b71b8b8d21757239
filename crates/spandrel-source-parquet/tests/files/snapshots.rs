//! A job's rows stay the same or it is told that they changed; what a client is told names no folder.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use parquet::file::properties::WriterProperties;
use spandrel_export::{Source, SourceError};
use spandrel_source_parquet::open;

use crate::{all, assert_tells_no_path, batch, config, printed, text, write};

fn save(folder: &Path, name: &str, ids: &[i64]) {
    let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(ids.to_vec()));
    let columns = [("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef), ("t", time)];
    write(&folder.join(name), &[batch(columns)], WriterProperties::default());
}

fn ids(text: &str) -> Vec<&str> {
    text.lines().map(|l| l.split(',').next().unwrap_or_default()).collect()
}

/// Reads a snapshot to its end.
fn read(source: &dyn Source, snapshot: &str) -> Result<String, SourceError> {
    printed(&*source.rows(snapshot)?, &all(&source.schema())).map(|(text, _)| text)
}

#[test]
fn files_that_come_later_belong_to_later_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "b.parquet", &[10, 11]);
    let source = open(config(folder.path())).unwrap();
    let old = source.snapshot();
    save(folder.path(), "a.parquet", &[1]);
    assert_eq!(ids(&text(&*source)), ["10", "11"], "nobody asked to look again");
    source.reload().unwrap();
    assert_eq!((source.facts().rows, ids(&text(&*source))), (3, vec!["1", "10", "11"]));
    assert_eq!(ids(&read(&*source, &old).unwrap()), ["10", "11"]);
    // A server that starts anew reads the snapshot of an old job.
    let restarted = open(config(folder.path())).unwrap();
    assert_eq!(ids(&read(&*restarted, &old).unwrap()), ["10", "11"]);
    assert_eq!(restarted.snapshot(), source.snapshot());
}

#[test]
fn a_file_that_is_gone_replaced_or_cut_changes_the_source() {
    type Harm = fn(&Path) -> io::Result<()>;
    let replace: Harm = |file| {
        save(file.parent().expect("a folder"), "a.parquet", &[1, 2, 4]);
        Ok(())
    };
    let other_columns: Harm = |file| {
        let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        write(file, &[batch([("id", text), ("t", time)])], WriterProperties::default());
        Ok(())
    };
    let cut: Harm = |file| fs::OpenOptions::new().write(true).open(file)?.set_len(100);
    let empty: Harm = |file| fs::write(file, "");
    let gone: Harm = |file| fs::remove_file(file);
    for (name, harm) in
        [("replace", replace), ("columns", other_columns), ("cut", cut), ("empty", empty), ("gone", gone)]
    {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), "a.parquet", &[1, 2, 3]);
        let source = open(config(folder.path())).unwrap();
        let snapshot = source.snapshot();
        let before = source.rows(&snapshot).unwrap();
        harm(&folder.path().join("a.parquet")).unwrap();
        // The rows were given out already: reading them notices.
        let error = printed(&*before, &all(&source.schema())).unwrap_err();
        assert!(matches!(error, SourceError::Changed { .. }), "{name}: {error}");
        assert_tells_no_path(&error, folder.path());
        // A server that came up after the harm notices too; its own data may be another file.
        save(folder.path(), "z.parquet", &[9]);
        let now = open(config(folder.path().join("z.parquet"))).unwrap();
        let error = read(&*now, &snapshot).unwrap_err();
        assert!(matches!(error, SourceError::Changed { .. }), "{name}: {error}");
        assert_tells_no_path(&error, folder.path());
    }
}

#[test]
fn equal_length_and_times_do_not_hide_a_change() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a.parquet", &[1, 2, 3]);
    let file = folder.path().join("a.parquet");
    let (len, modified) = {
        let m = fs::metadata(&file).unwrap();
        (m.len(), m.modified().unwrap())
    };
    let source = open(config(folder.path())).unwrap();
    let rows = source.rows(&source.snapshot()).unwrap();
    save(folder.path(), "a.parquet", &[1, 2, 4]);
    fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), len, "the case is what it says");
    assert!(matches!(printed(&*rows, &all(&source.schema())), Err(SourceError::Changed { .. })));
}

#[test]
fn a_file_written_again_with_the_same_bytes_has_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a.parquet", &[1, 2, 3]);
    let source = open(config(folder.path())).unwrap();
    let snapshot = source.snapshot();
    save(folder.path(), "a.parquet", &[1, 2, 3]);
    assert_eq!(ids(&read(&*source, &snapshot).unwrap()), ["1", "2", "3"]);
}

#[test]
fn a_failed_reload_keeps_the_old_rows_and_tells_no_path() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a.parquet", &[1]);
    let source = open(config(folder.path())).unwrap();
    let refused = |want: &str| {
        let error = source.reload().unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
        assert_tells_no_path(&error, folder.path());
        assert_eq!(source.facts().rows, 1);
    };
    fs::write(folder.path().join("b.parquet"), "PAR1").unwrap();
    refused("b.parquet: not a Parquet file");
    let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1]));
    write(&folder.path().join("b.parquet"), &[batch([("t", time)])], WriterProperties::default());
    refused("b.parquet: column \"id\" is missing");
    fs::remove_file(folder.path().join("b.parquet")).unwrap();
    assert_eq!(ids(&text(&*source)), ["1"]);
    fs::remove_file(folder.path().join("a.parquet")).unwrap();
    refused("no file found");
    fs::remove_dir(folder.path()).unwrap();
    refused("no file found");
}

#[test]
fn a_snapshot_that_is_no_snapshot_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a.parquet", &[1]);
    let source = open(config(folder.path())).unwrap();
    for snapshot in ["", "{}", "null", "{\"files\":[{}]}"] {
        assert!(matches!(source.rows(snapshot), Err(SourceError::Changed { .. })), "{snapshot}");
    }
}
