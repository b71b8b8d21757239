//! Files, folders, globs, and what is said when there are none.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, TimestampMillisecondArray};
use parquet::file::properties::WriterProperties;
use spandrel_download_protocol::{Column, ColumnType};
use spandrel_source_parquet::{DatasetConfig, FileFormat, open};

use crate::{batch, config, refusal, text, write};

fn one(x: i32) -> arrow_array::RecordBatch {
    let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![i64::from(x)]));
    batch([("x", Arc::new(Int32Array::from(vec![x])) as ArrayRef), ("t", time)])
}

fn ids(config: DatasetConfig) -> Vec<String> {
    let source = open(config).unwrap();
    text(&*source).lines().map(|l| l.split(',').next().unwrap().to_owned()).collect()
}

#[test]
fn a_folder_is_its_files_of_one_format_in_byte_order() {
    let folder = tempfile::tempdir().unwrap();
    let names =
        ["b.parquet", "a.parquet", "B.PARQUET", "é.parquet", "a-1.parquet", "10.parquet", "9.parquet"];
    for (x, name) in names.iter().enumerate() {
        write(&folder.path().join(name), &[one(i32::try_from(x).unwrap())], WriterProperties::default());
    }
    for hidden in [".c.parquet", "_c.parquet"] {
        std::fs::write(folder.path().join(hidden), "not parquet").unwrap();
    }
    std::fs::write(folder.path().join("README.txt"), "not data").unwrap();
    std::fs::create_dir(folder.path().join("deeper.parquet")).unwrap();
    write(&folder.path().join("deeper.parquet/z.parquet"), &[one(99)], WriterProperties::default());
    let in_order = ["5", "6", "2", "4", "1", "0", "3"];
    assert_eq!(ids(config(folder.path())), in_order);
    assert_eq!(ids(config(folder.path().join("*.[pP]*"))), in_order);
    assert_eq!(ids(config(folder.path().join("a*.parquet"))), ["4", "1"]);
    assert_eq!(ids(config(folder.path().join("*/z.parquet"))), ["99"]);
    assert_eq!(ids(config(folder.path().join("b.parquet"))), ["0"]);
}

#[test]
fn the_format_may_be_said_where_names_do_not_tell() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("data.bin"), &[one(1)], WriterProperties::default());
    std::fs::write(folder.path().join("rows.txt"), "x,t\n7,2024-03-01T00:00:00Z\n").unwrap();
    let parquet =
        |path: &str| DatasetConfig { format: Some(FileFormat::Parquet), ..config(folder.path().join(path)) };
    assert_eq!(ids(parquet("data.bin")), ["1"]);
    assert_eq!(ids(parquet("*.bin")), ["1"]);
    let unclear =
        "data set d: the format is not clear from the file names: set \"format\" to \"parquet\" or \"csv\"";
    assert_eq!(refusal(config(folder.path().join("data.bin"))), unclear);
    let columns = vec![Column::new("x", ColumnType::Int), Column::timestamp("t", 0)];
    let csv = DatasetConfig {
        format: Some(FileFormat::Csv),
        columns: Some(columns),
        ..config(folder.path().join("rows.txt"))
    };
    assert_eq!(ids(csv), ["7"]);
}

#[test]
fn what_is_missing_mixed_or_broken_is_said_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display().to_string();
    assert_eq!(refusal(config(folder.path())), format!("data set d: no file found at {here}"));
    let gone = folder.path().join("gone.parquet");
    assert_eq!(refusal(config(&gone)), format!("data set d: no file found at {}", gone.display()));
    assert!(
        refusal(config(folder.path().join("a[.csv"))).contains("neither a file nor a directory nor a glob")
    );
    let broken = folder.path().join("broken.parquet");
    for (content, want) in [
        (&b"PAR1"[..], "not a Parquet file: it is too short"),
        (b"id,time\n1,2024-03-01T00:00:00Z\n", "not a Parquet file: there is no PAR1 at its end"),
        (b"PAR1\xff\xff\xff\x7fPAR1", "not a Parquet file: its footer is longer than the file"),
    ] {
        std::fs::write(&broken, content).unwrap();
        assert_eq!(refusal(config(folder.path())), format!("data set d: {}: {want}", broken.display()));
    }
    std::fs::write(folder.path().join("rows.csv"), "x\n").unwrap();
    let mixed = "data set d: there are Parquet and CSV files: set \"format\", or name one kind by a glob";
    assert_eq!(refusal(config(folder.path())), mixed);
    std::fs::remove_file(broken).unwrap();
    assert!(refusal(config(folder.path())).starts_with("data set d: a CSV data set needs \"columns\""));
}
